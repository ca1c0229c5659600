"""The page on paper, by a headless Chromium where there is one."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_SECONDS = 90
_SETTLED_SECONDS = 2.0
_DATE = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}")
_NODE = re.compile(rb"\(node\d{8}\)")
_MAKER = re.compile(rb"/Creator \(((?:[^\\)]|\\.)*)\)")


class NotPrinted(Exception):  # noqa: N818
    """Why there is no PDF."""


def browser() -> str | None:
    """The Chromium of this machine."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def print_page(page: Path, out: Path, command: str, patience: float = _PATIENCE_SECONDS) -> None:
    """Write ``page`` to ``out`` as PDF; NotPrinted."""
    with tempfile.TemporaryDirectory(prefix="flowtide-print-") as profile, _started(command, page, out, profile) as run:
        try:
            _wait(run, out, patience)
        finally:
            _end(run)
    if not _whole(out):
        out.unlink(missing_ok=True)
        raise NotPrinted(f"{command} ended with status {run.returncode} without a PDF")
    out.write_bytes(_impersonal(out.read_bytes()))


def _impersonal(printed: bytes) -> bytes:
    """Without what differs from print to print, and the machine; as long, so that all offsets hold."""
    printed = _DATE.sub(rb"/\1 (D:20000101000000", printed)
    # Names of elements count all that the browser has ever made, be it for itself.
    order = {name: number for number, name in enumerate(sorted(set(_NODE.findall(printed))))}
    printed = _NODE.sub(lambda found: b"(node%08d)" % order[found[0]], printed)
    return _MAKER.sub(lambda found: b"/Creator (" + b"flowtide".ljust(len(found[1])) + b")", printed)


def _started(command: str, page: Path, out: Path, profile: str) -> subprocess.Popen[bytes]:
    arguments = [
        command, "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", f"--user-data-dir={profile}", "--no-pdf-header-footer",
        f"--print-to-pdf={out}", page.resolve().as_uri(),
    ]  # fmt: skip
    if os.geteuid() == 0:  # Chromium refuses its sandbox to root; the page is ours and has no script
        arguments.insert(1, "--no-sandbox")
    try:
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise NotPrinted(f"{command} does not start: {error}") from None


def _wait(run: subprocess.Popen[bytes], out: Path, patience: float) -> None:
    """Until it ends, or the file is whole and does not grow: some versions print and then never end."""
    end, size, since = time.monotonic() + patience, -1, 0.0
    while run.poll() is None:
        now = time.monotonic()
        if now > end:
            raise NotPrinted(f"no PDF after {patience:g} s")
        grown = out.stat().st_size if out.exists() else -1
        if grown != size:
            size, since = grown, now
        elif size > 0 and now - since > _SETTLED_SECONDS and _whole(out):
            return
        time.sleep(0.05)


def _end(run: subprocess.Popen[bytes]) -> None:
    """It and its children, which have its group; its profile can be removed then."""
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def _whole(out: Path) -> bool:
    return out.is_file() and out.read_bytes()[-16:].rstrip().endswith(b"%%EOF")
