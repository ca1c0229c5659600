"""Reading and filling migrations, without a store."""

from typing import Any, cast

import pyarrow as pa
import pytest

from sinks.migrations import MigrationError, Step, _understood, column_type, migrations, statements


def test_versions_are_dense_and_begin_at_zero() -> None:
    assert [migration.version for migration in migrations()] == list(range(len(migrations())))


def test_statements_are_split_at_line_ends_and_lose_their_comments() -> None:
    text = (
        "-- what; this is\nCREATE TABLE a\n(\n    -- why;\n    x {kind} DEFAULT ';',\n\n    y UInt8\n);\n\nSELECT 1;\n"
    )
    assert statements(text, {"kind": "String"}) == (
        "CREATE TABLE a\n(\n    x String DEFAULT ';',\n    y UInt8\n)",
        "SELECT 1",
    )


def test_a_placeholder_nobody_fills_is_an_error() -> None:
    with pytest.raises(MigrationError, match=r"\{colums\} has no value: known are columns"):
        statements("CREATE TABLE a ({colums});", {"columns": "x UInt8"})


def test_every_statement_of_the_package_is_idempotent() -> None:
    for migration in migrations():
        for line in migration.text.splitlines():
            if line.startswith(("CREATE", "ALTER", "DROP")):
                said = ("IF NOT EXISTS", "OR REPLACE", "IF EXISTS", "MODIFY SETTING")
                assert any(word in line for word in said), line


class Settings:
    """A store whose tables have these settings only."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def query(self, sql: str) -> pa.Table:
        assert "system.merge_tree_settings" in sql
        return pa.table({"name": list(self.names)})


def test_a_setting_that_the_engine_has_not_is_left_out() -> None:
    wanted = ("CREATE TABLE t", "ALTER TABLE t MODIFY SETTING a = '', b = 5", "ALTER TABLE t MODIFY SETTING a = ''")
    for names, found in (
        (("a", "b"), wanted),
        (("b",), ("CREATE TABLE t", "ALTER TABLE t MODIFY SETTING b = 5")),
        ((), ("CREATE TABLE t",)),
    ):
        assert _understood(cast(Any, Settings(*names)), wanted) == found


def test_a_step_reads_as_sql() -> None:
    assert str(Step(3, "views", ("SELECT 1", "SELECT 2"))) == "-- 0003 views\n\nSELECT 1;\n\nSELECT 2;"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Int64 CODEC(T64, ZSTD(1))", "Int64"),
        ("DateTime64(3,'UTC') CODEC(Delta, ZSTD(1))", "DateTime64(3, 'UTC')"),
        ("LowCardinality(String)", "LowCardinality(String)"),
    ],
)
def test_types_as_the_server_shows_them(written: str, shown: str) -> None:
    assert column_type(written) == shown
