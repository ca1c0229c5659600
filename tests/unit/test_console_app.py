"""The console over HTTP, before a stand-in for the store."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards.asked import Target
from dashboards.console import files
from dashboards.console.server import ConsoleServer, listening_socket
from dashboards.macros import interval_ms
from dashboards.settings import ConsoleSettings
from flowtide.cli import app
from tests.console_store import Address, FakeStore, Reply, ask, console, error, refusal, rows, send
from tests.unit.test_console_access import USERS, login

HOUR = 3_600_000
TO = 1_700_003_600_000
FROM = TO - HOUR
WINDOW = {"from": FROM, "to": TO}

BOARD: dict[str, Any] = {
    "uid": "board", "title": "A board", "description": "For tests.",
    "templating": {"list": [
        {"name": "service", "type": "query", "label": "Service", "multi": True, "includeAll": True, "allValue": "'*'",
         "query": "SELECT __value, __text FROM s WHERE $__timeFilter(time)", "hide": 0,
         "current": {"text": "All", "value": ["$__all"]}},
        {"name": "top", "type": "custom", "label": "Top", "hide": 0, "options": [
            {"text": "five", "value": "5", "selected": True}, {"text": "ten", "value": "10", "selected": False}],
         "current": {"text": "five", "value": "5"}},
    ]},
    "panels": [
        {"id": 1, "type": "timeseries", "title": "Rates, ü", "interval": "1m", "targets": [
            {"refId": "A", "rawSql": "SELECT $__timeInterval(time) AS time, a FROM t WHERE $__timeFilter(time)"
             " AND service IN (${service:singlequote}) LIMIT ${top}", "format": 0},
            {"refId": "B", "rawSql": "SELECT b", "format": 1}]},
        {"id": 2, "type": "text", "title": "Words"},
        {"id": 3, "type": "row", "title": "More", "panels": [
            {"id": 4, "type": "stat", "title": "Bad", "targets": [{"refId": "A", "rawSql": "SELECT $__nothing"}]}]},
        {"id": 5, "type": "stat", "title": "Coarse", "interval": "5m", "maxDataPoints": 10,
         "targets": [{"refId": "A", "rawSql": "SELECT $__interval_s"}]},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.library.dashboards", lambda: {"board": BOARD})


@pytest.fixture
def store() -> Iterator[FakeStore]:
    made = FakeStore()
    yield made
    made.close()


@pytest.fixture
def address(store: FakeStore) -> Iterator[Address]:
    with console(store.url, timezone="Asia/Tokyo") as started:
        yield started


def panel(address: Address, number: int = 1, **asked: Any) -> Any:
    return ask(address, f"/api/dashboards/board/panels/{number}", WINDOW | asked)


def test_a_panel_is_expanded_asked_and_answered_in_frames(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: (
        rows({"n": "UInt64"}, ["7"]) if sql == "SELECT b"
        else rows({"time": "DateTime", "a": "Nullable(Float64)"}, ["1700000040", 1.5], ["1700000100", None])
    )  # fmt: skip
    found = panel(address, max_points=100, variables={"service": ["fixed", "it's"], "top": ["10"]})
    assert (found["from"], found["to"]) == (FROM, TO)
    first, second = found["frames"]
    assert first.pop("elapsed_ms") >= 0 and second.pop("elapsed_ms") >= 0
    assert {first.pop("sql"), second.pop("sql")} == {sql for sql, _ in store.asked}
    assert first == {
        "ref": "A", "interval_ms": 60_000, "columns": [{"name": "time", "type": "DateTime"},
                                                      {"name": "a", "type": "Nullable(Float64)"}],
        "rows": [[1_700_000_040_000, 1.5], [1_700_000_100_000, None]],
    }  # fmt: skip
    assert (second["ref"], second["rows"]) == ("B", [[7]])
    asked = {sql for sql, _ in store.asked}
    assert asked == {
        "SELECT b",
        "SELECT toStartOfInterval(toDateTime(time), INTERVAL 60 second) AS time, a FROM t"
        " WHERE time >= toDateTime(1700000000) AND time <= toDateTime(1700003600)"
        " AND service IN ('fixed','it\\'s') LIMIT 10",
    }


def test_the_store_is_asked_as_a_reader_within_limits(store: FakeStore, address: Address) -> None:
    panel(address, 5)
    _, fields = store.asked[0]
    assert fields["readonly"] == "1"
    assert fields["session_timezone"] == "Asia/Tokyo"
    assert fields["database"] == "flowtide"
    assert int(fields["max_execution_time"]) == 20
    assert int(fields["limit"]) == 10_001
    assert store.headers[0]["x-clickhouse-user"] == "reader"
    assert "authorization" not in store.headers[0]


def test_a_panels_own_interval_and_points_bound_the_number_of_rows(store: FakeStore, address: Address) -> None:
    assert panel(address, 5, max_points=2000)["frames"][0]["interval_ms"] == interval_ms(HOUR, 10, 300_000) == 300_000
    assert store.asked[0][0] == "SELECT 300"


def test_an_error_is_told_beside_the_frames_that_work_and_is_not_kept(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: (
        rows({"n": "UInt8"}, [1]) if sql == "SELECT b"
        else refusal(60, "Unknown table expression identifier 't' in scope SELECT", 404)
    )  # fmt: skip
    for _ in range(2):
        first, second = panel(address)["frames"]
        assert first == {"ref": "A", "error": "Unknown table expression identifier 't' in scope SELECT. (NAME)"}
        assert second["rows"] == [[1]]
    assert len(store.asked) == 4


def test_a_macro_that_is_none_is_the_frames_error(address: Address) -> None:
    (frame,) = panel(address, 4)["frames"]
    assert "$__nothing" in frame["error"]


def test_a_panel_with_too_many_rows_says_so(store: FakeStore) -> None:
    store.answer = lambda sql: rows({"n": "UInt8"}, [1], [2], [3])
    with console(store.url, max_rows=2) as address:
        assert "more than 2 rows" in panel(address, 5)["frames"][0]["error"]
        sql = ask(address, "/api/sql", {"sql": "SELECT n"})
        assert (sql["rows"], sql["truncated"]) == ([[1], [2]], True)
        assert store.asked[0][1]["limit"] == "3"


def test_large_answers_are_packed_for_who_takes_it(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: rows({"s": "String"}, *(["row"] for _ in range(2_000)))
    path = "/api/dashboards/board/panels/5"
    plain, packed = send(address, path, WINDOW), send(address, path, WINDOW, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain[1] and packed[1]["content-encoding"] == "gzip"
    assert gzip.decompress(packed[2]) == plain[2]
    assert len(json.loads(plain[2])["frames"][0]["rows"]) == 2_000
    assert len(store.asked) == 1


def test_ten_viewers_cost_one_query(store: FakeStore, address: Address) -> None:
    go = threading.Event()

    def answer(sql: str) -> Reply:
        assert go.wait(30)
        return rows({"n": "UInt8"}, [1])

    store.answer = answer
    found: list[Any] = []
    viewers = [threading.Thread(target=lambda: found.append(panel(address, 5))) for _ in range(10)]
    for viewer in viewers:
        viewer.start()
    go.set()
    for viewer in viewers:
        viewer.join()
    assert len(found) == 10 and len(store.asked) == 1
    # Another choice is another question.
    panel(address, 5, variables={"top": ["10"]})
    assert len(store.asked) == 2


def test_live_ranges_are_moved_to_five_seconds_and_said(store: FakeStore, address: Address) -> None:
    now = time.time_ns() // 1_000_000
    found = panel(address, 5, **{"from": now - HOUR, "to": now})
    assert found["to"] % 5_000 == 0 and 0 <= now - found["to"] < 5_000
    assert found["to"] - found["from"] == HOUR


def test_variables_with_what_may_be_chosen(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: rows({"__value": "UInt64", "__text": "String"}, ["1", "one"], [2, "two"], [None, "?"])
    assert ask(address, "/api/dashboards/board/variables", WINDOW) == {
        "service": {
            "label": "Service", "multi": True, "include_all": True, "hide": 0, "current": ["$__all"],
            "options": [{"text": "one", "value": "1"}, {"text": "two", "value": "2"}],
        },
        "top": {
            "label": "Top", "multi": False, "include_all": False, "hide": 0, "current": ["5"],
            "options": [{"text": "five", "value": "5"}, {"text": "ten", "value": "10"}],
        },
    }  # fmt: skip
    assert store.asked[0][0].endswith("WHERE time >= toDateTime(1700000000) AND time <= toDateTime(1700003600)")
    store.answer = lambda sql: rows({"name": "String"}, ["fixed"])
    found = ask(address, "/api/dashboards/board/variables", {"from": FROM, "to": TO + HOUR})
    assert found["service"]["options"] == [{"text": "fixed", "value": "fixed"}]
    store.answer = lambda sql: refusal(60, "Unknown table s")
    found = ask(address, "/api/dashboards/board/variables", {"from": FROM, "to": TO + 2 * HOUR})
    assert "Unknown table s" in found["service"]["error"] and found["top"]["options"]


def test_what_is_there(address: Address) -> None:
    assert ask(address, "/api/dashboards") == [{"uid": "board", "title": "A board", "description": "For tests."}]
    assert ask(address, "/api/dashboards/board") == BOARD
    me = ask(address, "/api/me")
    assert me["user"] is None and me["timezone"] == "Asia/Tokyo"
    assert me["plotly"].startswith("/static/plotly.min.js?v=")
    worked = {query["name"]: query for query in ask(address, "/api/queries")}
    assert worked["noc_quic_share"]["group"] == "NOC"
    assert worked["noc_quic_share"]["parameters"] == {"since": "2026-09-21 13:00:00", "until": "2026-09-21 14:00:00"}
    assert worked["noc_quic_share"]["sql"].startswith("SELECT")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/dashboards/none", None, 404, "no dashboard 'none'; there are board"),
        ("/api/dashboards/none/variables", WINDOW, 404, "no dashboard"),
        ("/api/dashboards/none/panels/1", WINDOW, 404, "no dashboard"),
        ("/api/dashboards/board/panels/99", WINDOW, 404, "no panel 99"),
        ("/api/dashboards/board/panels/x", WINDOW, 404, "nothing at"),
        ("/api/dashboards/board/panels/2/csv?from=1&to=2", None, 404, "no target"),
        ("/api/dashboards/board/panels/1/csv?from=1&to=2&ref=Z", None, 404, "no target Z"),
        ("/api/dashboards/board/panels/1/csv?from=x&to=2", None, 400, "from: send"),
        ("/api/dashboards/board/panels/1", b"{", 400, "not JSON"),
        ("/api/dashboards/board/panels/1", [], 400, "no object"),
        ("/api/dashboards/board/panels/1", {"from": TO, "to": FROM}, 400, "not before"),
        ("/api/dashboards/board/panels/1", {"from": 0, "to": TO}, 400, "ten years"),
        ("/api/dashboards/board/panels/1", WINDOW | {"variables": {"evil": ["x"]}}, 400, "no variable evil"),
        ("/api/dashboards/board/panels/1", WINDOW | {"variables": {"top": ["5; DROP"]}}, 400, "is not one of"),
        ("/api/dashboards/board/panels/1", WINDOW | {"variables": {"top": ["5", "10"]}}, 400, "takes one value"),
        ("/api/dashboards/board/panels/1", b" " * (1 << 20) + b"{}", 413, "more than 1024 KB"),
        ("/api/sql", {"sql": ""}, 400, "write a query"),
        ("/api/sql?format=parquet", {"sql": "SELECT 1"}, 400, "json and csv"),
        ("/api/nothing", None, 404, "nothing at /api/nothing"),
        ("/d/", None, 404, "nothing at"),
    ],
)
def test_wrong_requests_are_told_and_never_asked(
    store: FakeStore, address: Address, path: str, body: Any, status: int, said: str
) -> None:
    found, text = error(address, path, body, headers={"Content-Type": "application/json"})
    assert found == status and said in text
    assert store.asked == []


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/nothing", "/healthz", "/metrics", "/static/none.js"])
def test_every_answer_keeps_the_page_to_itself(address: Address, path: str) -> None:
    _, headers, _ = send(address, path)
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe-eval" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_rebinding_and_other_sites_get_nothing(store: FakeStore, address: Address) -> None:
    for path in ("/", "/api/me", "/api/dashboards/board", "/static/app.js", "/metrics"):
        assert error(address, path, headers={"Host": "evil.example"})[0] == 403
    body = json.dumps({"sql": "SELECT 1"}).encode()
    assert error(address, "/api/sql", body, headers={"Content-Type": "text/plain"})[0] == 415
    told = {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}
    assert error(address, "/api/sql", body, headers=told)[0] == 403
    assert send(address, "/api/sql", method="OPTIONS", headers={"Origin": "http://evil.example"})[0] in (404, 405)
    assert store.asked == []


def test_users_log_in_and_are_named(store: FakeStore) -> None:
    with console(store.url, users=USERS) as address:
        for path in ("/", "/api/me", "/metrics", "/static/app.js"):
            status, headers, _ = send(address, path)
            assert status == 401 and headers["www-authenticate"].startswith("Basic ")
        ann = {"Authorization": login("ann", "pässword")["authorization"], "Host": "noc.example"}
        assert ask(address, "/api/me", headers=ann)["user"] == "ann"
        assert send(address, "/healthz")[0] == 200


def test_a_proxys_word_is_not_taken_from_who_says_to_speak_for_another(store: FakeStore) -> None:
    forwarded = {"X-Forwarded-User": "ann", "X-Forwarded-For": "10.0.0.1"}
    with console(store.url, proxy_header="X-Forwarded-User") as address:
        assert ask(address, "/api/me", headers={"X-Forwarded-User": "ann"})["user"] == "ann"
    with console(store.url, proxy_header="X-Forwarded-User", trusted_proxies=["10.0.0.1"]) as address:
        assert error(address, "/api/me", headers=forwarded)[0] == 403


def test_a_store_that_is_away_is_said_so_and_found_again(store: FakeStore) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with console(f"http://127.0.0.1:{nobody.getsockname()[1]}") as address:
            status, text = error(address, "/api/dashboards/board/panels/1", WINDOW)
            assert status == 503 and "does not answer" in text and "is it running?" in text
            assert error(address, "/api/sql", {"sql": "SELECT 1"})[0] == 503
            status, _, body = send(address, "/healthz")
            assert status == 503 and json.loads(body)["ok"] is False
            assert ask(address, "/api/me")["user"] is None


@pytest.mark.parametrize("code", [192, 193, 194, 516])
def test_a_store_that_does_not_let_us_in_names_the_settings(store: FakeStore, code: int) -> None:
    store.probe = lambda fields: refusal(code, "reader: Authentication failed", 403)
    with console(store.url) as address:
        status, text = error(address, "/api/sql", {"sql": "SELECT 1"})
        assert status == 503 and "console.store_user" in text and "Authentication failed" in text


def test_an_account_that_may_set_nothing_is_asked_plainly_and_its_text_is_read(store: FakeStore) -> None:
    store.probe = lambda fields: (
        Reply("America/New_York\t1\n", form="TSV") if fields.keys() == {"database", "default_format"}
        else refusal(164, "Cannot modify 'readonly' setting in readonly mode")
    )  # fmt: skip
    store.answer = lambda sql: rows({"t": "DateTime", "n": "UInt64"}, ["2026-07-01 08:00:00", "5"])
    with console(store.url, timezone="UTC") as address:
        found = ask(address, "/api/sql", {"sql": "SELECT t, n", "parameters": {"a": "x"}})
        assert found["rows"] == [[1_782_907_200_000, 5]]  # 2026-07-01 12:00:00 UTC
        assert store.asked[0][1].keys() == {"database", "default_format", "wait_end_of_query", "param_a"}
        assert ask(address, "/api/me")["timezone"] == "America/New_York"


def test_an_account_that_could_write_is_not_used(store: FakeStore) -> None:
    store.probe = lambda fields: Reply("UTC\t0\n", form="TSV")
    with console(store.url) as address:
        status, text = error(address, "/api/sql", {"sql": "SELECT 1"})
        assert status == 503 and "may write" in text and "console.store_user" in text
    assert store.asked == []


def test_a_query_that_names_its_format_is_refused(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: Reply("1\n", form="CSV")
    status, text = error(address, "/api/sql", {"sql": "SELECT 1 FORMAT CSV"})
    assert status == 400 and "FORMAT" in text


def test_parameters_are_text_whatever_they_hold(store: FakeStore, address: Address) -> None:
    hard = "a\\b\tc\nd'e&f=g\0ü"
    ask(address, "/api/sql", {"sql": "SELECT {x:String}", "parameters": {"x": hard}})
    assert store.asked[0][1]["param_x"] == "a\\\\b\\tc\\nd'e&f=g\0ü"
    assert not {"readonly", "max_execution_time"} & {name for name in store.asked[0][1] if name.startswith("param_")}


def test_csv_of_a_panel_and_of_a_query(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: Reply('"n"\n1\n', form="CSVWithNames")
    link = f"/api/dashboards/board/panels/1/csv?from={FROM}&to={TO}&max_points=100&var-service=a&var-service=b&ref=A"
    status, headers, body = send(address, link)
    assert (status, body) == (200, b'"n"\n1\n')
    assert headers["content-type"].startswith("text/csv")
    assert headers["content-disposition"] == 'attachment; filename="board-rates.csv"'
    sql, fields = store.asked[0]
    assert "IN ('a','b') LIMIT 5" in sql
    assert fields["default_format"] == "CSVWithNames" and "limit" not in fields
    assert send(address, "/api/sql?format=csv", {"sql": "SELECT 1"})[2] == b'"n"\n1\n'
    store.answer = lambda sql: refusal(62, "Syntax error")
    assert error(address, link) == (400, "Syntax error. (NAME)")


def test_a_browser_that_asks_again_gets_what_changed_only(address: Address) -> None:
    for path in ("/", "/static/plotly.min.js"):
        status, headers, body = send(address, path)
        if path == "/" and not (files.FOLDER / "index.html").exists():
            continue
        assert status == 200 and body
        again = send(address, path, headers={"If-None-Match": headers["etag"]})
        assert (again[0], again[2]) == (304, b"")
    assert send(address, "/d/board")[2] == send(address, "/")[2] == send(address, "/sql")[2]


def test_plotly_is_sent_packed_and_for_ever(address: Address) -> None:
    status, headers, packed = send(address, files.PLOTLY_URL, headers={"Accept-Encoding": "gzip, br"})
    assert status == 200 and headers["content-encoding"] == "gzip"
    assert "immutable" in headers["cache-control"] and headers["content-type"].startswith("text/javascript")
    whole = send(address, files.PLOTLY_URL)
    assert "content-encoding" not in whole[1]
    assert gzip.decompress(packed) == whole[2]
    assert b"plotly.js v" in whole[2][:300]


@pytest.mark.parametrize(
    "name",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "../../settings.py", "/etc/passwd", "%2fetc/passwd", "none.js", "",
     ".", "x%00.js", "../static/../app.py"],
)  # fmt: skip
def test_nothing_but_the_pages_files_is_sent(address: Address, name: str) -> None:
    status, _, body = send(address, f"/static/{name}")
    assert status == 404 and b"import" not in body and b"root:" not in body


def test_metrics_count_what_was_asked(store: FakeStore, address: Address) -> None:
    def counted() -> dict[str, float]:
        text = send(address, "/metrics")[2].decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("console_")]
        return {name: float(value) for name, _, value in lines}

    before = counted()
    panel(address, 5)
    panel(address, 5)
    error(address, "/api/me", headers={"Host": "evil.example"})
    after = counted()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert more('console_answers_total{source="asked"}') == 1
    assert more('console_answers_total{source="kept"}') == 1
    assert more('console_questions_total{kind="panel",outcome="ok"}') == 1
    assert more('console_refused_total{reason="host"}') == 1


def test_a_busy_port_is_left_for_the_next_and_one_of_nobody_is_an_error(store: FakeStore) -> None:
    with console(store.url) as (host, taken), console(store.url, listen=f"{host}:{taken}") as other:
        assert taken < other[1] <= taken + 100
        assert ask(other, "/api/me")["user"] is None
    server = ConsoleServer(ConsoleSettings(listen="192.0.2.1:0", proxy_header="X-User"), Target(store.url))
    with pytest.raises(OSError):
        server.start()
    server.close()


def test_the_text_of_a_password_comes_from_the_command(store: FakeStore) -> None:
    done = CliRunner().invoke(app, ["console", "--hash"], input="pässword\npässword\n")
    assert done.exit_code == 0
    text = done.stdout.strip().splitlines()[-1]
    with console(store.url, users={"ann": text}) as address:
        ann = {"Authorization": login("ann", "pässword")["authorization"]}
        assert ask(address, "/api/me", headers=ann)["user"] == "ann"
    assert CliRunner().invoke(app, ["console", "--hash"], input="one\ntwo\n").exit_code == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_answers_are_not_held_back_for_an_acknowledgement(host: str) -> None:
    # asyncio turns Nagle's algorithm off only where a socket names its protocol.
    with listening_socket(host, 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_an_answer_that_breaks_off_is_no_answer_and_a_file_is_not_taken_for_whole(
    store: FakeStore, address: Address
) -> None:
    store.answer = lambda sql: Reply(rows({"n": "UInt8"}, [1]).body, ends="early")
    status, text = error(address, "/api/sql", {"sql": "SELECT 1"})
    assert status == 503 and "broke off" in text
    store.answer = lambda sql: Reply('"n"\n1\n', form="CSVWithNames", ends="early")
    with pytest.raises(http.client.IncompleteRead):
        send(address, "/api/sql?format=csv", {"sql": "SELECT 1"})


def test_a_connection_that_the_store_closed_meanwhile_is_no_error(store: FakeStore, address: Address) -> None:
    store.answer = lambda sql: Reply(rows({"n": "UInt8"}, [1]).body, ends="after")
    for _ in range(5):
        assert ask(address, "/api/sql", {"sql": "SELECT 1"})["rows"] == [[1]]


def test_a_giant_answer_is_not_taken_in(store: FakeStore, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.console.store.MOST_BYTES", 1 << 20)
    store.answer = lambda sql: rows({"s": "String"}, ["x" * (1 << 20)])
    assert error(address, "/api/sql", {"sql": "SELECT 1"}) == (
        400, "the answer has more than 1 MB: ask for fewer rows or columns"
    )  # fmt: skip


def test_more_questions_than_wait_are_sent_away(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.console.store.MOST_WAITING", 1)
    go, begun = threading.Event(), threading.Event()

    def answer(sql: str) -> Reply:
        begun.set()
        assert go.wait(30)
        return rows({"n": "UInt8"}, [1])

    store.answer = answer
    found: list[int] = []
    with console(store.url, sql_queries=1) as address:

        def viewer() -> None:
            found.append(send(address, "/api/sql", {"sql": "SELECT 1"})[0])
            if found == [503]:  # one is asked, one waits, and the third is told
                go.set()

        viewers = [threading.Thread(target=viewer) for _ in range(3)]
        for one in viewers:
            one.start()
        for one in viewers:
            one.join()
        assert begun.is_set() and sorted(found) == [200, 200, 503]
        assert ask(address, "/api/sql", {"sql": "SELECT 1"})["rows"] == [[1]]


def test_a_heavy_query_does_not_keep_panels_waiting(store: FakeStore) -> None:
    go, begun = threading.Event(), threading.Event()

    def answer(sql: str) -> Reply:
        if sql == "SELECT heavy":
            begun.set()
            assert go.wait(30)
        return rows({"n": "UInt8"}, [1])

    store.answer = answer
    with console(store.url, sql_queries=1, queries=1) as address:
        heavy = threading.Thread(target=send, args=(address, "/api/sql", {"sql": "SELECT heavy"}))
        heavy.start()
        assert begun.wait(30)
        assert panel(address, 5)["frames"][0]["rows"] == [[1]]
        go.set()
        heavy.join()
