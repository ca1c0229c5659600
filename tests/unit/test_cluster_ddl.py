"""The DDL of a cluster: rendered whole and compared with the files that people read (``tests/golden/ddl/``)."""

import os
from pathlib import Path

import pytest

from sinks.cluster import NotForClusters, databases, missing_window, named, shard_of, statements_on
from sinks.migrations import Step, _values, migrations, statements
from sinks.settings import StoreSettings

GOLDEN = Path(__file__).parent.parent / "golden" / "ddl"
VALUES = _values(StoreSettings(), "Asia/Tokyo")
PLAIN = [statement for migration in migrations() for statement in statements(migration.text, VALUES)]


def on(*plain: str) -> tuple[str, ...]:
    return statements_on("c", "flowtide", plain, named(PLAIN))


def rendered() -> str:
    steps = [Step(None, "cluster", databases("c", "flowtide"))]
    steps += [Step(m.version, m.name, on(*statements(m.text, VALUES))) for m in migrations()]
    return "\n\n".join(str(step) for step in steps) + "\n"


def test_the_rendered_form_is_the_golden_one() -> None:
    path = GOLDEN / "cluster.sql"
    if os.environ.get("FLOWTIDE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(), encoding="utf-8")
    assert rendered() == path.read_text(encoding="utf-8"), "look at the change, then FLOWTIDE_GOLDEN=write"


def test_every_table_is_replicated_and_keeps_a_week_of_tokens() -> None:
    for name in named(PLAIN):
        made = [s for s in on(*PLAIN) if s.startswith(f"CREATE TABLE IF NOT EXISTS {name} ")]
        for statement in made:
            assert "ENGINE = Replicated" in statement
            assert "non_replicated" not in statement
            assert ("/{shard}/" in statement) != ("/all/" in statement)
            if "deduplication_window" in statement:
                assert missing_window(statement, 100_000) is None
    assert not any("{" + left + "}" in s for s in on(*PLAIN) for left in VALUES)


def test_a_table_is_written_on_its_shard_and_read_from_all() -> None:
    plain = ("CREATE TABLE IF NOT EXISTS t\n(\n    a UInt8\n)\nENGINE = SummingMergeTree((x, y))\nORDER BY a\n"
             "SETTINGS non_replicated_deduplication_window = 7")  # fmt: skip
    assert on(plain) == (
        "CREATE TABLE IF NOT EXISTS t ON CLUSTER c\n(\n    a UInt8\n)\n"
        "ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/t', '{replica}', (x, y))\n"
        "ORDER BY a\n"
        "SETTINGS replicated_deduplication_window = 7, replicated_deduplication_window_seconds = 604800",
        "CREATE TABLE IF NOT EXISTS flowtide_all.t ON CLUSTER c AS flowtide.t\nENGINE = Distributed(c, flowtide, t)",
    )


def test_a_new_column_and_a_view_are_of_both_databases() -> None:
    assert on("ALTER TABLE flows ADD COLUMN IF NOT EXISTS a Int64 CODEC(T64, ZSTD(1)) AFTER b") == (
        "ALTER TABLE flows ON CLUSTER c ADD COLUMN IF NOT EXISTS a Int64 CODEC(T64, ZSTD(1)) AFTER b",
        "ALTER TABLE flowtide_all.flows ON CLUSTER c ADD COLUMN IF NOT EXISTS a Int64 AFTER b",
    )
    assert on("ALTER TABLE flows MODIFY TTL toDateTime(received) + INTERVAL 3 DAY") == (
        "ALTER TABLE flows ON CLUSTER c MODIFY TTL toDateTime(received) + INTERVAL 3 DAY",
    )
    local, everywhere = on("CREATE OR REPLACE VIEW v AS\nSELECT flows FROM flows AS f JOIN v_flow USING (a)")
    assert local == "CREATE OR REPLACE VIEW v ON CLUSTER c AS\nSELECT flows FROM flows AS f JOIN v_flow USING (a)"
    assert everywhere.endswith("SELECT flows FROM flowtide_all.flows AS f JOIN flowtide_all.v_flow USING (a)")


def test_a_statement_of_another_kind_is_refused() -> None:
    with pytest.raises(NotForClusters, match="no form for a cluster: 'OPTIMIZE TABLE flows'"):
        on("OPTIMIZE TABLE flows")


@pytest.mark.parametrize(
    ("create", "lacks"),
    [
        ("ENGINE = MergeTree SETTINGS non_replicated_deduplication_window = 5", None),
        ("ENGINE = MergeTree SETTINGS replicated_deduplication_window = 5", "non_replicated_deduplication_window = 5"),
        ("ENGINE = ReplicatedMergeTree('a', 'b') SETTINGS non_replicated_deduplication_window = 5",
         "replicated_deduplication_window = 5"),
        ("ENGINE = ReplicatedMergeTree SETTINGS replicated_deduplication_window = 5",
         "replicated_deduplication_window_seconds = 604800"),
        ("ENGINE = ReplicatedMergeTree SETTINGS replicated_deduplication_window = 5, "
         "replicated_deduplication_window_seconds = 604800", None),
    ],
)  # fmt: skip
def test_the_window_that_a_table_lacks(create: str, lacks: str | None) -> None:
    assert missing_window(create, 5) == lacks


def test_a_partition_has_one_shard() -> None:
    assert [shard_of(partition, 3) for partition in range(6)] == [0, 1, 2, 0, 1, 2]
