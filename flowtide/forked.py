"""A child that is a copy of its parent, with all that the parent has imported: half a second sooner than a new Python.

For a parent of one thread only: a lock that another thread held would stay held in the copy for ever.  The copy keeps
nothing of the parent's but memory: other descriptors are closed, so that locks of directories, sockets and the inputs
of its siblings end with their owners.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

_LOOK_SECONDS = 0.01
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def can_fork() -> bool:
    """Whether this process may be copied."""
    return sys.platform.startswith("linux") and threading.active_count() == 1


class Forked:
    """The copy, with what ``subprocess.Popen`` has of one."""

    def __init__(self, run: Callable[[], int], fds: Collection[int]) -> None:
        """It calls ``run`` and ends with its status; ``fds`` stay open in it.  OSError: no room for a process."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else both would write what waits
        theirs, stdin = os.pipe()
        stdout, said = os.pipe()
        # A signal for the child must not meet the handlers of the parent, which it still has.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.pid = os.fork()
            if not self.pid:
                _be(run, theirs, said, fds, before)
        except OSError:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(theirs)
            os.close(said)
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb", buffering=0)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended: its status, or less than 0 the signal; None: it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it ended; subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked child", timeout or 0)
            time.sleep(_LOOK_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def _be(
    run: Callable[[], int], stdin: int, stdout: int, fds: Collection[int], mask: set[int | signal.Signals]
) -> NoReturn:
    """In the child: never back into the frames of the parent, whose clean-up is not ours."""
    status = 1
    try:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
            if fd > 2 and fd not in fds:
                with contextlib.suppress(OSError):  # the one of the listing
                    os.close(fd)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = run()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except BaseException:  # as an interpreter does at its end
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def name_process(name: str) -> None:
    """What ``ps -e`` and ``top`` show of this process, of which Linux keeps 15 characters."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15], encoding="ascii")
