"""The console's process: what it runs, and who starts it beside a stack."""

import json
import threading
import time
from collections.abc import Callable

import structlog

from collector.sockets import BindError
from dashboards.settings import is_loopback
from flowtide.children import Child, ChildFailed, address_of
from flowtide.roles import Ready
from flowtide.settings import Settings, SettingsError, reveal, with_setting
from sinks.telemetry import limited

log = structlog.get_logger("flowtide")

_LOOK_SECONDS = 0.2
_READY_SECONDS = 20.0
_STOP_SECONDS = 10.0


def run_console(settings: Settings, stop: threading.Event, ready: Ready) -> None:
    """Serve the dashboards until ``stop``, over the store at ``console.store_url``; BindError, SettingsError."""
    try:
        from dashboards.console.server import ConsoleServer
        from dashboards.console.store import Target
    except ModuleNotFoundError as error:
        raise SettingsError(f"console.listen: the console wants {error.name}, which is not installed; empty: no console"
                            ) from None  # fmt: skip

    chosen = settings.console
    try:
        server = ConsoleServer(
            chosen,
            Target(
                chosen.store_url.rstrip("/"), chosen.store_user, chosen.store_password.get_secret_value(),
                settings.store.database, settings.timezone, settings.store.ca_file,
            ),
        )  # fmt: skip
    except OSError as error:
        raise SettingsError(f"store.ca_file {settings.store.ca_file!r}: {error}") from None
    try:
        host, port = server.start()
    except OSError as error:
        raise BindError(f"console.listen {chosen.listen!r}: {error.strerror or error}; choose another") from error
    if chosen.users and not is_loopback(host):
        log.warning("passwords come unencrypted: put a proxy with TLS before the console", listen=f"{host}:{port}")
    try:
        ready({"console": [host, port]})
        while not stop.wait(1.0):
            if not server.alive:
                raise RuntimeError("the console's port ended; start this process again")
    finally:
        server.close()


class ConsoleProcess:
    """A console as a child: started again when it dies; nothing that happens to it ends its parent."""

    def __init__(self) -> None:
        self.child = Child("console")
        self._message = ""
        self._wanted = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, settings: Settings, store_url: str, meanwhile: Callable[[], object] = lambda: None) -> str:
        """Start it over this store and wait until it answers; its URL, empty when there is none or it cannot start.

        ``meanwhile`` is called again and again: its parent has other children.
        """
        if not settings.console.listen:
            return ""
        if not settings.console.store_url:
            settings = with_setting(settings, "console", "store_url", store_url)
        self._message, self._wanted = _message(settings), True
        try:
            self.child.start(self._message)
        except OSError as error:
            self._wanted = False
            log.error("going on without the console: no process for it", reason=str(error))
            return ""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.child.ready.wait(_LOOK_SECONDS):
            self.tend()
            meanwhile()
            if not self._wanted:
                return ""
            if time.monotonic() > deadline:
                log.error("the console is not ready, going on without it", after_seconds=_READY_SECONDS)
                return ""
        address = address_of(self.child.facts["console"])
        # One that starts again takes the same port: browsers have it in their address line.
        self._message = _message(with_setting(settings, "console", "listen", address))
        return f"http://{address}"

    def tend(self) -> None:
        """Start it again if it died; call it often."""
        if not self._wanted:
            return
        try:
            self.child.tend(self._message)
        except ChildFailed:
            self._wanted = False
            log.error("going on without the console: see the message above")
        except OSError as error:  # no memory for a process, say: tried again
            limited(log.error, "console", "the console cannot be started now", reason=str(error))

    def tend_on_a_thread(self) -> None:
        """Where nobody calls ``tend``."""

        def tend() -> None:
            while not self._stop.wait(_LOOK_SECONDS):
                self.tend()

        self._thread = threading.Thread(target=tend, name="console", daemon=True)
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
