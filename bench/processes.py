"""What processes cost: CPU and memory as Linux tells them in /proc."""

import os
from collections.abc import Iterable
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all that it has begun, and these in their turn."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far, with that of their children that have ended."""
    return sum(sum(_times(pid)[1]) for pid in pids)


def own_seconds(pid: int) -> tuple[str, float]:
    """A process' name, and its user and system time so far without that of its children; OSError when it has ended."""
    name, times = _times(pid)
    return name, sum(times[:2])


def _times(pid: int) -> tuple[str, list[float]]:
    """Its name; its own user and system time, then those of its children that have ended."""
    head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    return head.partition("(")[2], [int(word) / os.sysconf("SC_CLK_TCK") for word in rest.split()[11:15]]


def peak_bytes(pids: Iterable[int]) -> int:
    """The most memory that each has had resident, summed."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total
