"""Column ``extra`` in the engine: a map, and a store made before it gets it."""

import json

import numpy as np

from sinks.batch import Batch
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate, problems
from sinks.schema import FLOW
from tests.stored import FOR_EVER, TIMEZONE, flows, label, table

_TEXTS = [{}, {"ixia:dnsQueryName": 'it\'s \\ "quoted"\n'}, {"a": "1", "b": "\ufffd"}, {}]


def rows() -> Batch:
    batch = flows(4, octets=np.arange(4))
    return label(batch, "extra", [json.dumps(said) for said in _TEXTS])


def read(store: EmbeddedStore) -> list[dict[str, str]]:
    return [json.loads(row["said"]) for row in store.query(
        "SELECT toJSONString(extra) AS said FROM flows ORDER BY octets"
    ).to_pylist()]  # fmt: skip


def test_texts_are_maps_at_rest(store: EmbeddedStore) -> None:
    store.insert("flows", table(rows()), token="t/0/0")
    assert read(store) == _TEXTS
    assert store.query("SELECT octets FROM flows WHERE extra['a'] = '1'").to_pylist() == [{"octets": 2}]


def test_a_blank_column_is_left_out(store: EmbeddedStore) -> None:
    assert "extra" not in table(flows(3)).column_names
    store.insert("flows", table(flows(3)), token="t/0/0")
    assert read(store) == [{}, {}, {}]


def test_a_store_made_before_the_column_gets_it(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(2, octets=np.arange(-2, 0))), token="t/0/0")
    store.command("ALTER TABLE flows DROP COLUMN extra")
    store.command("ALTER TABLE schema_version DELETE WHERE version = 7 SETTINGS mutations_sync = 1")
    assert any("flows.extra is missing" in problem for problem in problems(store))
    migrate(store, FOR_EVER, TIMEZONE)
    assert problems(store) == []
    store.insert("flows", table(rows()), token="t/0/1")
    assert read(store) == [{}, {}, *_TEXTS]
    columns = store.query("DESCRIBE TABLE flows").to_pylist()
    assert [column["name"] for column in columns] == [column.name for column in FLOW]
