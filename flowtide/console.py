"""The console's process: what it runs, and who starts it beside a stack."""

import threading
from collections.abc import Callable

import structlog

from collector.sockets import BindError
from dashboards.settings import is_loopback
from flowtide.beside import Beside
from flowtide.children import Fork
from flowtide.roles import Ready
from flowtide.settings import Settings, SettingsError, with_setting

log = structlog.get_logger("flowtide")


def run_console(settings: Settings, stop: threading.Event, ready: Ready) -> None:
    """Serve the dashboards until ``stop``, over the store at ``console.store_url``; BindError, SettingsError."""
    try:
        from dashboards.asked import Target
        from dashboards.console.server import ConsoleServer
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


class ConsoleProcess(Beside):
    """The console of a stack."""

    def __init__(self, fork: Fork | None = None) -> None:
        super().__init__("console", fork)

    def start(
        self,
        settings: Settings,
        store_url: str,
        meanwhile: Callable[[], object] = lambda: None,
        *,
        alerts_url: str = "",
    ) -> str:
        """Start it over this store and wait until it answers; its URL, empty when there is none or it cannot start."""
        if not settings.console.listen:
            return ""
        if not settings.console.store_url:
            settings = with_setting(settings, "console", "store_url", store_url)
        if alerts_url and not settings.console.alerts_url:
            settings = with_setting(settings, "console", "alerts_url", alerts_url)
        return self.begin(settings, meanwhile)
