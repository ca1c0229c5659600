"""A stand-in for the store's HTTP interface, and requests to a console: for tests without an engine."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dashboards.asked import Target
from dashboards.console.server import ConsoleServer
from dashboards.settings import ConsoleSettings

Address = tuple[str, int]
PROBE = "SELECT timezone(), getSetting('readonly')"


class Reply:
    """What a store says to one question."""

    def __init__(self, body: str, status: int = 200, form: str = "JSONCompact", ends: str = "") -> None:
        """``ends``: "early", before all that was announced; "after", closes the connection without a word."""
        self.body, self.status, self.form, self.ends = body, status, form, ends


def rows(names: Mapping[str, str], *found: list[Any]) -> Reply:
    """An answer with these columns (name: type)."""
    meta = [{"name": name, "type": kind} for name, kind in names.items()]
    return Reply(json.dumps({"meta": meta, "data": list(found), "rows": len(found)}))


def refusal(code: int, text: str, status: int = 400) -> Reply:
    """An error as the server words it."""
    return Reply(f"Code: {code}. DB::Exception: {text}. (NAME) (version 26.9.2.1 (official build))\n", status)


class FakeStore:
    """Answers ``SELECT`` by ``answer``, and what the console asks first by ``probe``; remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Reply] = lambda sql: rows({"n": "UInt8"}, [1])
        self.probe: Callable[[dict[str, str]], Reply] = lambda fields: Reply("UTC\t1\n", form="TSV")
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # an answer in one piece

            def do_GET(self) -> None:
                self._send(Reply("Ok.\n", form="TSV"))

            def do_POST(self) -> None:
                fields = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
                sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if sql == PROBE:
                    self._send(store.probe(fields))
                    return
                with store.lock:
                    store.asked.append((sql, fields))
                    store.headers.append({name.lower(): value for name, value in self.headers.items()})
                self._send(store.answer(sql))

            def _send(self, reply: Reply) -> None:
                body = reply.body.encode()
                self.send_response(reply.status)
                if reply.status == 200:
                    self.send_header("X-ClickHouse-Format", reply.form)
                self.send_header("Content-Length", str(len(body) + (reply.ends == "early")))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = bool(reply.ends)

            def log_message(self, format: str, *args: Any) -> None:
                """Not news."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def console(
    url: str,
    database: str = "flowtide",
    timezone: str = "UTC",
    login: tuple[str, str] = ("reader", ""),
    **settings: Any,
) -> Iterator[Address]:
    """A console on a free port over this store, as the account of ``login``."""
    chosen = ConsoleSettings(**{"listen": "127.0.0.1:0", **settings})
    server = ConsoleServer(chosen, Target(url, *login, database, timezone))
    try:
        yield server.start()
    finally:
        server.close()


def send(
    address: Address, path: str, body: Any = None, *, method: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body; a body that is no bytes goes as JSON."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    told = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        told = {"Content-Type": "application/json", **told}
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, told)
        with connection.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask(address: Address, path: str, body: Any = None, **told: Any) -> Any:
    """The JSON of an answer with status 200."""
    status, _, answer = send(address, path, body, **told)
    assert status == 200, answer
    return json.loads(answer)


def error(address: Address, path: str, body: Any = None, **told: Any) -> tuple[int, str]:
    """Status and message of an answer that is an error."""
    status, headers, answer = send(address, path, body, **told)
    assert status >= 400 and headers["content-type"] == "application/json", answer
    return status, str(json.loads(answer)["error"])
