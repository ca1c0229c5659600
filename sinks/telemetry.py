"""Log format with limited rates, /metrics and /healthz."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

_READ_SECONDS = 10.0  # for a request to be there
_MAX_KEYS = 10_000  # of remembered log lines; beyond it the memory starts anew


def configure_logging(level: str = "info", *, json_lines: bool = False) -> None:
    """Log lower-case phrases with key/values to standard error."""
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class RateLimit:
    """Lets one event a key and period through, and tells how many it held back since."""

    def __init__(self, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._held: dict[object, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def allow(self, key: object) -> int | None:
        """How many were held back since the last one let through; None: hold this one back too."""
        now = self._clock()
        with self._lock:
            last, held = self._held.get(key, (float("-inf"), 0))
            if now - last < self._seconds:
                self._held[key] = (last, held + 1)
                return None
            if len(self._held) >= _MAX_KEYS:
                self._held.clear()
            self._held[key] = (now, 0)
            return held


_limit = RateLimit()


def limited(write: Callable[..., Any], key: object, event: str, **fields: object) -> None:
    """Log through ``write`` (for example ``log.warning``) at most once in ten seconds for each key."""
    held = _limit.allow((event, key))
    if held is not None:
        write(event, **fields, **({"held_back": held} if held else {}))


class TelemetryServer:
    """/metrics for Prometheus and /healthz for supervisors, on a thread of its own."""

    def __init__(
        self, host: str, port: int, health: Callable[[], Mapping[str, object]],
        pages: Mapping[str, Callable[[], Mapping[str, object]]] | None = None,
    ) -> None:  # fmt: skip
        """``health`` returns facts; its key ``ok`` decides between status 200 and 503.  ``pages``: more, as JSON.

        OSError when the address cannot be bound.
        """

        class Handler(BaseHTTPRequestHandler):
            timeout = _READ_SECONDS

            def do_GET(self) -> None:
                page = (pages or {}).get(self.path.partition("?")[0])
                if page is None:
                    status, kind, body = answer(self.path, health)
                else:
                    facts = json.dumps(page(), ensure_ascii=False).encode() + b"\n"
                    status, kind, body = 200, "application/json", facts
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are not news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.address: tuple[str, int] = (host, self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def answer(path: str, health: Callable[[], Mapping[str, object]]) -> tuple[int, str, bytes]:
    """Status, content type and body for /metrics or /healthz."""
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    if path == "/healthz":
        facts = health()
        return (200 if facts.get("ok") else 503), "application/json", json.dumps(facts).encode() + b"\n"
    return 404, "text/plain", b"see /metrics and /healthz\n"
