"""One owner a directory: a lock file that names who has it."""

import fcntl
import os
import sys
import time
from pathlib import Path


class AlreadyOwned(Exception):  # noqa: N818
    """Another process has the directory; the message names it and says what to do."""


class Ownership:
    """Holds a directory for this process until closed or dead."""

    def __init__(self, folder: Path, what: str) -> None:
        """AlreadyOwned when another process has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{what}.lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 500, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(self._fd)
            raise AlreadyOwned(
                f"{folder.resolve()} is in use by {owner}. Stop that process, or choose another directory."
            ) from None
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"process {os.getpid()} ({' '.join(sys.argv)[:200]}), since {since}\n".encode(), 0)

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)
