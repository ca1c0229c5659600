"""Questions of rules over HTTP: what a store may answer, and a store that does not."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards.alerts import asking
from dashboards.alerts.asking import StoreAsk
from dashboards.alerts.evaluate import AskFailed, AskSilent
from dashboards.asked import Target


class Store:
    """Answers as it is told, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[dict[str, str], str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fields = {name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()}
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append((fields, body, dict(self.headers)))
                status, answer = outer.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if status in (301, 307):
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store()
    yield found
    found.close()


def table(columns: dict[str, str], *rows: list[object]) -> tuple[int, bytes]:
    meta = [{"name": name, "type": kind} for name, kind in columns.items()]
    return 200, json.dumps({"meta": meta, "data": rows, "rows": len(rows)}).encode()


def error(code: int, text: str, status: int = 500) -> tuple[int, bytes]:
    return status, f"Code: {code}. DB::Exception: {text}. (NAME) (version 26.9.1 (official build))\n".encode()


def test_rows_with_labels_as_text_and_numbers_as_numbers(store: Store) -> None:
    columns = {"s": "LowCardinality(String)", "i": "UInt64", "f": "Nullable(Float64)", "d": "Decimal(9, 2)"}
    # 64-bit integers may come in quotes, NaN as null or as a word.
    store.answers = [table(columns, ["1", "7", None, "0.25"], ["b", 8, "nan", 1], ["c", 9, "inf", 2])]
    assert StoreAsk(Target(store.url))("SELECT 1") == [
        {"s": "1", "i": 7.0, "f": None, "d": 0.25}, {"s": "b", "i": 8.0, "f": None, "d": 1.0},
        {"s": "c", "i": 9.0, "f": None, "d": 2.0},
    ]  # fmt: skip


def test_as_whom_and_how_it_is_asked(store: Store) -> None:
    store.answers = [table({})]
    StoreAsk(Target(store.url, "noc", "5ecret", "flows"), max_seconds=7)("SELECT 'ü'")
    ((fields, body, headers),) = store.asked
    assert body == "SELECT 'ü'"
    assert (fields["database"], fields["readonly"], fields["max_execution_time"]) == ("flows", "1", "7")
    assert (headers["X-ClickHouse-User"], headers["X-ClickHouse-Key"]) == ("noc", "5ecret")
    assert "5ecret" not in repr(Target(store.url, "noc", "5ecret"))


def test_an_account_that_may_set_nothing_is_asked_all_the_same(store: Store) -> None:
    store.answers = [error(164, "Cannot modify 'readonly'"), error(452, "constraint"), table({"v": "UInt8"}, [1]),
                     table({"v": "UInt8"}, [2])]  # fmt: skip
    ask = StoreAsk(Target(store.url))
    assert [ask("x"), ask("x")] == [[{"v": 1.0}], [{"v": 2.0}]]
    assert ["readonly" in fields for fields, _, _ in store.asked] == [True, False, False, False]
    assert len(store.asked) == 4


def test_a_query_that_is_wrong_and_a_store_that_is_busy(store: Store) -> None:
    ask = StoreAsk(Target(store.url, "noc", "5ecret"))
    store.answers = [error(60, "Unknown table expression 'x'", 404)]
    with pytest.raises(AskFailed, match=r"^Unknown table expression 'x'") as raised:
        ask("x")
    assert not isinstance(raised.value, AskSilent)
    assert "version" not in str(raised.value)
    for answer in (error(159, "Timeout exceeded"), error(202, "Too many simultaneous queries"), (502, b"bad gateway"),
                   (301, b""), (307, b""), error(516, "noc: Authentication failed", 401)):  # fmt: skip
        store.answers = [answer]
        with pytest.raises(AskSilent, match=r"127\.0\.0\.1") as silent:
            ask("x")
        assert "5ecret" not in str(silent.value)


@pytest.mark.parametrize(
    "answer", [(200, b"not json"), (200, b"{}"), (200, b"[]"), table({"a": "UInt8"}, [1], [1, 2]), (200, b"")]
)
def test_an_answer_of_another_form(store: Store, answer: tuple[int, bytes]) -> None:
    store.answers = [answer]
    with pytest.raises(AskFailed):
        StoreAsk(Target(store.url))("SELECT 1 FORMAT CSV")


def test_an_answer_without_end_is_cut_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MOST_BYTES", 1000)
    store.answers = [(200, b"x" * 5_000)]
    with pytest.raises(AskFailed, match="more than"):
        StoreAsk(Target(store.url))("x")


def test_a_store_that_is_not_there_is_asked_again_for_a_while() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        waits: list[float] = []

        def wait(seconds: float) -> bool:
            waits.append(seconds)
            return len(waits) == 3

        ask = StoreAsk(Target(url), patience_seconds=60, wait=wait)
        with pytest.raises(AskSilent, match="is it running"):
            ask("x")
        assert len(waits) == 3  # told to stop then
        with pytest.raises(AskSilent, match="is it running"):
            StoreAsk(Target(url))("x")


def test_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_GRACE_SECONDS", -0.8)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        with pytest.raises(AskSilent, match="no answer in 1 s"):
            StoreAsk(Target(url), max_seconds=1)("x")


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "127.0.0.1:80"])
def test_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="write http"):
        StoreAsk(Target(url))
