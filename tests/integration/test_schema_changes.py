"""A store changes while flows come: a new column, old and new writers side by side, and every earlier version.

A migration adds the column before anybody writes it: a sink migrates at its start, so the first new sink does.  Old
sinks that run on name the columns they know, and the new one is blank in their rows.  A new writer that is before the
migration (it runs where nobody may migrate) is refused for the column; that is no fault of the message, which waits.
"""

import threading

import pyarrow as pa
import pytest

from sinks import StoreRefused
from sinks.embedded import EmbeddedStore
from sinks.migrations import Migration, MigrationError, migrate, migrations, plan, problems
from sinks.store_errors import is_about_content
from tests.stored import FOR_EVER, TIMEZONE, flows, table

NEXT = len(migrations())
KNOWN = [
    *migrations(),
    Migration(NEXT, "made_up", "ALTER TABLE flows ADD COLUMN IF NOT EXISTS made_up UInt32 DEFAULT 0 AFTER vlan;\n"),
]


def newer(rows: int) -> pa.Table:
    """Rows as a writer of the next version has them."""
    return table(flows(rows)).append_column("made_up", pa.array([7] * rows, pa.uint32()))


def made_up(store: EmbeddedStore) -> list[dict[str, int]]:
    sql = "SELECT made_up, count() AS n FROM flows GROUP BY made_up ORDER BY made_up"
    found: list[dict[str, int]] = store.query(sql).to_pylist()
    return found


def test_old_and_new_writers_side_by_side(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(1)), token="old, before")
    (step,) = plan(store, FOR_EVER, TIMEZONE, KNOWN)
    assert str(step) == f"-- {NEXT:04} made_up\n\n{KNOWN[-1].text.strip()}"
    with pytest.raises(StoreRefused, match="made_up") as refused:
        store.insert("flows", newer(2), token="new")
    assert not is_about_content(refused.value)  # it waits, and is not buried
    migrate(store, FOR_EVER, TIMEZONE, known=KNOWN)
    store.insert("flows", newer(2), token="new")
    store.insert("flows", table(flows(4)), token="old, after")
    for _ in range(2):  # repeats, by writers of either version
        store.insert("flows", newer(2), token="new")
        store.insert("flows", table(flows(4)), token="old, after")
    assert made_up(store) == [{"made_up": 0, "n": 5}, {"made_up": 7, "n": 2}]
    assert problems(store) == []
    with pytest.raises(MigrationError, match="written by a newer Flowtide"):
        migrate(store, FOR_EVER, TIMEZONE)  # an old one that starts anew


def test_ingest_goes_on_while_the_column_is_added(store: EmbeddedStore) -> None:
    failures: list[Exception] = []
    begun, stop = threading.Event(), threading.Event()
    inserted = 0

    def write() -> None:
        nonlocal inserted
        while not stop.is_set() or inserted < 5:
            try:
                store.insert("flows", table(flows(10, bus_offset=inserted)), token=f"{inserted}")
            except Exception as error:
                failures.append(error)
                return
            inserted += 1
            begun.set()

    writing = threading.Thread(target=write)
    writing.start()
    assert begun.wait(30)
    migrate(store, FOR_EVER, TIMEZONE, known=KNOWN)
    stop.set()
    writing.join(30)
    assert failures == []
    assert made_up(store) == [{"made_up": 0, "n": 10 * inserted}]


@pytest.mark.parametrize("version", range(1, NEXT))
def test_a_store_of_every_earlier_version_is_brought_up(empty_store: EmbeddedStore, version: int) -> None:
    migrate(empty_store, FOR_EVER, TIMEZONE, known=migrations()[:version])
    if 2 <= version <= 7:
        # The files make today's columns; the one that came by 0007 was not there.
        empty_store.command("ALTER TABLE flows DROP COLUMN extra")
    if version >= 2:
        empty_store.insert("flows", table(flows(3)), token="then")  # blank extras are left out
    steps = migrate(empty_store, FOR_EVER, TIMEZONE)
    assert [step.version for step in steps] == list(range(version, NEXT))
    assert problems(empty_store) == []
    empty_store.insert("flows", table(flows(3)), token="now")
    assert empty_store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 6 if version >= 2 else 3}]
    assert plan(empty_store, FOR_EVER, TIMEZONE) == []
