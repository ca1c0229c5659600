"""A process beside the path, as a child: the console, the alerts.  Nothing that happens to it ends its parent."""

import contextlib
import json
import threading
import time
from collections.abc import Callable

import structlog

from flowtide.children import Child, ChildFailed, Fork, address_of
from flowtide.settings import Settings, reveal, with_setting
from sinks.telemetry import limited

log = structlog.get_logger("flowtide")

_LOOK_SECONDS = 0.2
_READY_SECONDS = 20.0
_STOP_SECONDS = 10.0


class Beside:
    """One such child: started again when it dies, unless its settings are wrong."""

    def __init__(self, name: str, fork: Fork | None = None) -> None:
        """``name``: of the child, of its part of the settings, and of the fact that says where it answers."""
        self.name, self.child = name, Child(name, fork=fork)
        self._message = ""
        self._wanted = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Let it import what it needs, before anybody knows where the store answers."""
        with contextlib.suppress(OSError):  # told by ``begin``
            self.child.prepare()

    def begin(self, settings: Settings, meanwhile: Callable[[], object]) -> str:
        """Start it and wait until it answers; its URL, empty when it cannot start.

        ``meanwhile`` is called again and again: its parent has other children.
        """
        self._message, self._wanted = _message(settings), True
        try:
            self.child.start(self._message)
        except OSError as error:
            self._wanted = False
            log.error(f"going on without the {self.name}: no process for it", reason=str(error))
            return ""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.child.listen(_LOOK_SECONDS):
            self.tend()
            meanwhile()
            if not self._wanted:
                return ""
            if time.monotonic() > deadline:
                log.error(f"the {self.name} process is not ready, going on without it", after_seconds=_READY_SECONDS)
                return ""
        address = address_of(self.child.facts[self.name])
        # One that starts again takes the same port: browsers have it in their address line.
        self._message = _message(with_setting(settings, self.name, "listen", address))
        return f"http://{address}"

    def tend(self) -> None:
        """Start it again if it died; call it often."""
        if not self._wanted:
            return
        try:
            self.child.tend(self._message)
        except ChildFailed:
            self._wanted = False
            log.error(f"going on without the {self.name}: see the message above")
        except OSError as error:  # no memory for a process, say: tried again
            limited(log.error, self.name, f"the {self.name} process cannot be started now", reason=str(error))

    def tend_on_a_thread(self) -> None:
        """Where nobody calls ``tend``."""

        def tend() -> None:
            while not self._stop.wait(_LOOK_SECONDS):
                self.tend()

        self._thread = threading.Thread(target=tend, name=self.name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._wanted = False
        self.child.stop(_STOP_SECONDS)


def _message(settings: Settings) -> str:
    return json.dumps({"settings": json.loads(reveal(settings)), "fds": []})
