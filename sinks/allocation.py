"""Memory that arrays give back stays with the process, for the next ones.

glibc returns large pieces to the system when they are freed, and the kernel clears each page anew when the next batch
touches it: a third of what a batch costs.  What a process keeps is bounded by what it once needed at the same time.
"""

import ctypes
import sys

# malloc.h of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 1 << 30
_LARGEST = 32 << 20  # DEFAULT_MMAP_THRESHOLD_MAX: larger pieces are mapped whatever is asked


def keep_freed() -> None:
    """Before threads allocate; without glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_ARENA_MAX, 1)  # what one thread frees serves the others
