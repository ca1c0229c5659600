"""The console's port, served on a thread of its own."""

import importlib.metadata
import socket
import threading

import uvicorn

from dashboards.asked import Target
from dashboards.console.app import Console
from dashboards.console.store import StoreClient
from dashboards.settings import ConsoleSettings
from sinks.listening import accepting, host_and_port, next_free

_MAX_WAITING = 500  # requests at once
_IDLE_SECONDS = 65
_STOP_SECONDS = 3


class ConsoleServer:
    """Serves the dashboards until closed."""

    def __init__(self, settings: ConsoleSettings, target: Target) -> None:
        """``target`` is the store that is asked; nothing is asked of it yet."""
        self._settings = settings
        store = StoreClient(target, panels=settings.queries, sql=settings.sql_queries)
        self._app = Console(settings, store, importlib.metadata.version("flowtide")).app()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> tuple[str, int]:
        """Listen and serve; the address, whose port is the next free one where the wanted one is busy.

        OSError: the address is not ours, or a hundred ports are busy.
        """
        host, wanted = host_and_port(self._settings.listen)
        listening = next_free(wanted, lambda port: listening_socket(host, port))
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="on", ws="none", server_header=False,
            # Who is at the other end is judged here: uvicorn would believe X-Forwarded-For.
            proxy_headers=False,
            # Longer than browsers wait between two refreshes, so that they need no new connection each time.
            timeout_keep_alive=_IDLE_SECONDS,
            limit_concurrency=_MAX_WAITING, timeout_graceful_shutdown=_STOP_SECONDS,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="console", daemon=True
        )
        address: tuple[str, int] = listening.getsockname()[:2]
        self._thread.start()
        return address

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop listening and end the questions under way."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(3 * _STOP_SECONDS)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that takes connections; OSError when the address is busy or not ours."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return accepting(found[0], found[4])
