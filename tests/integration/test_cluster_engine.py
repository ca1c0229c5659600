"""The DDL of a cluster, read by the engine; which refuses to be one."""

import pytest

from sinks.embedded import EmbeddedStore
from sinks.migrations import MigrationError, migrate
from tests.stored import FOR_EVER, TIMEZONE
from tests.unit.test_cluster_ddl import PLAIN, on


def test_the_engine_reads_every_statement(engine: EmbeddedStore) -> None:
    wrong = []
    for statement in on(*PLAIN):
        written = engine.query("SELECT formatQuerySingleLine({s:String}) AS sql", s=statement).to_pylist()[0]["sql"]
        if " ON CLUSTER c" not in written:
            wrong.append(written)
    assert wrong == []


def test_the_engine_in_process_is_no_cluster(empty_store: EmbeddedStore) -> None:
    with pytest.raises(
        MigrationError, match=r"store\.cluster 'c': the store knows no such cluster.*leave store\.cluster"
    ):
        migrate(empty_store, FOR_EVER.model_copy(update={"cluster": "c"}), TIMEZONE)
    assert empty_store.query(
        "SELECT count() AS n FROM system.tables WHERE database = currentDatabase()"
    ).to_pylist() == [{"n": 0}]
