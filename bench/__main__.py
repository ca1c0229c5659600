"""``make bench``: flows a second and CPU-seconds per million flows for each stage and for the whole."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

STAGES = ("receive", "decode", "bus", "enrich", "store", "whole")


def machine() -> str:
    """What the figures were made on."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "chdb-core"))
    return (
        f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {libraries}; load average {os.getloadavg()[0]:.1f} before the start"
    )


def main() -> int:
    print(machine(), flush=True)
    failed = 0
    for stage in sys.argv[1:] or STAGES:
        print(f"\n== {stage}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{stage}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
