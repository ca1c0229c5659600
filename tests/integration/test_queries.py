"""Each worked query: its answer on known flows, through the port as a reader; and on an empty store."""

import json
import math
import os
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.migrations import migrate
from sinks.queries import GROUPS, WorkedQuery, worked_queries
from sinks.settings import HttpSettings
from tests import report_answers
from tests.query_answers import ANSWERS as OF_FLOWS
from tests.sql_page import PAGE, page
from tests.stored import FOR_EVER, TIMEZONE

QUERIES = worked_queries()
ANSWERS = OF_FLOWS | {name: each for name, each in vars(report_answers).items() if name.startswith("report_")}
by_name = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
Port = tuple[str, int]


@pytest.fixture(scope="module")
def reader(known: EmbeddedStore) -> Iterator[Port]:
    """Where readers of the known flows ask."""
    port = HttpPort(known, HttpSettings(listen="127.0.0.1:0"), dict, TIMEZONE)
    yield port.start()
    port.close()


def ask(port: Port, query: WorkedQuery) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of the query with its example, asked over HTTP without a password."""
    fields = {f"param_{name}": value for name, value in query.example.items()}
    fields |= {"default_format": "JSONCompact", "output_format_json_quote_64bit_integers": "0"}
    fields |= {"output_format_json_quote_denormals": "1", "session_timezone": "UTC"}
    request = Request(f"http://{port[0]}:{port[1]}/?{urlencode(fields)}", query.sql.encode())
    with urlopen(request, timeout=60) as answer:
        found = json.loads(answer.read())
    return [column["name"] for column in found["meta"]], found["data"]


def plain(value: Any, wanted: Any) -> Any:
    """A value of JSON as the reference has it: times as numbers, dates as dates."""
    if isinstance(value, str) and isinstance(wanted, date):
        return date.fromisoformat(value)
    if isinstance(value, str) and isinstance(wanted, int):
        when = datetime.fromisoformat(value + "+00:00")
        milliseconds = round(when.timestamp() * 1000)
        return milliseconds if "." in value else milliseconds // 1000
    return value


def same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(value, int | float):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == wanted)


@by_name
def test_the_answer_is_what_walking_over_the_flows_gives(reader: Port, query: WorkedQuery) -> None:
    wanted = ANSWERS[query.name]()
    assert wanted, "the known flows must have something to answer"
    _, rows = ask(reader, query)
    assert len(rows) == len(wanted)
    for row, expected in zip(rows, wanted, strict=True):
        assert len(row) == len(expected)
        shown = [plain(value, other) for value, other in zip(row, expected, strict=True)]
        assert all(map(same, shown, expected)), f"{shown} is not {list(expected)}"


@pytest.fixture(scope="module")
def bare(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """A store with all tables and no row."""
    store = engine.in_database("bare")
    migrate(store, FOR_EVER, TIMEZONE)
    yield store
    engine.command("DROP DATABASE bare SYNC")


@by_name
def test_an_empty_store_has_no_rows_and_no_error(bare: EmbeddedStore, query: WorkedQuery) -> None:
    assert bare.query(query.sql, **query.example).num_rows == 0


@by_name
def test_it_reads_what_it_says(known: EmbeddedStore, query: WorkedQuery) -> None:
    plan = known.query("EXPLAIN " + query.sql, **query.example).column("explain").to_pylist()
    read = set(re.findall(r"ReadFromMergeTree \(known\.(\w+)\)", "\n".join(plan)))
    assert read == set(query.reads)


@by_name
def test_its_example_fills_every_parameter(query: WorkedQuery) -> None:
    assert set(query.example) == set(query.parameters)


def test_there_is_an_answer_to_each_and_each_group_asks() -> None:
    assert sorted(ANSWERS) == sorted(query.name for query in QUERIES)
    assert {query.group for query in QUERIES} == set(GROUPS)
    assert len(QUERIES) >= 25


def test_the_page_is_written_from_the_queries(reader: Port) -> None:
    written = page([(query, *ask(reader, query)) for query in QUERIES])
    if os.environ.get("WRITE_PAGES") == "1":
        Path(PAGE).write_text(written, encoding="utf-8")
    assert Path(PAGE).read_text(encoding="utf-8") == written, (
        "deploy/SQL.md is not as the queries are: run this test with WRITE_PAGES=1 and look at the difference"
    )
