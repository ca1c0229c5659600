import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError
from structlog.testing import capture_logs

from enricher.leases import LeaseRows
from enricher.settings import EnricherSettings, SourceSettings
from enricher.sources import SourceStatus
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_id
from enricher.watch import TablesInForce
from flowtide.settings import load

HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
KEY = "0123456789abcdef"
KEA = "address,client_id,valid_lifetime,expire,state\n"


def text(*leases: tuple[str, str]) -> str:
    """Lines of (prefix, subscriber)."""
    return HEADER + "".join(f"{prefix},0,,{who},,fixed,personal,pppoe\n" for prefix, who in leases)


def put(path: Path, content: str, changed_at: float = 100) -> Path:
    draft = path.with_suffix(".new")
    draft.write_text(content)
    os.utime(draft, (changed_at, changed_at))
    draft.replace(path)
    return path


def made(tmp_path: Path, *sources: SourceSettings, leases: str = "", **extra: object) -> TablesInForce:
    settings = EnricherSettings(leases=leases, sources=sources, key=KEY, reload_seconds=1)
    return TablesInForce(settings, tmp_path / "state" / "subscriber.key", **extra)  # type: ignore[arg-type]


def holder(tables: TablesInForce, address: str, at: int = 1_000) -> int:
    """sub_id of who held it at that second."""
    parsed = ip_address(address)
    value = int(parsed) if parsed.version == 6 else int(parsed) | 0xFFFF << 32
    asked = np.frombuffer(value.to_bytes(16), "V16")
    table = tables.tables().leases
    found = table.lookup(asked, np.array([at * 1000], "M8[ms]"))
    return int(table.sub_id[found][0]) if found[0] >= 0 else 0


def hashed(who: str, access: str = "pppoe") -> int:
    return sub_id(KEY.encode(), "fixed", who, access)


def look(tables: TablesInForce, now: float) -> None:
    tables.reload_if_changed(now)
    tables.settle()


def gauge(name: str, source: str) -> float | None:
    return REGISTRY.get_sample_value(f"enricher_lease_source_{name}", {"source": source})


def test_one_file_is_taken_at_the_first_look_and_swapped_when_it_changes(tmp_path: Path) -> None:
    path = put(tmp_path / "leases.csv", text(("192.0.2.1", "A")))
    tables = made(tmp_path, leases=str(path))
    tables.reload_if_changed(100)  # without a thread: before the first flow
    before = tables.tables()
    assert holder(tables, "192.0.2.1") == hashed("A")
    put(path, text(("192.0.2.1", "B")), 200)
    look(tables, 100.5)  # sooner than reload_seconds
    assert tables.tables() is before
    look(tables, 210)
    assert holder(tables, "192.0.2.1") == hashed("B")
    assert tables.failed is None
    put(path, text(("192.0.2.1", "C")) + "nonsense\n", 300)
    with capture_logs() as logs:
        look(tables, 310)
        look(tables, 320)
    assert [one["reason"] for one in logs if one["log_level"] == "error"] == [tables.failed]
    assert str(tables.failed).startswith(f"{path}:3: ")
    assert holder(tables, "192.0.2.1") == hashed("B")
    assert REGISTRY.get_sample_value("enricher_lease_file_ok") == 0
    put(path, text(("192.0.2.2", "D")), 400)  # the one file is never held against the last one
    look(tables, 410)
    assert (holder(tables, "192.0.2.1"), holder(tables, "192.0.2.2"), tables.failed) == (0, hashed("D"), None)
    assert REGISTRY.get_sample_value("enricher_lease_file_ok") == 1
    tables.close()


def test_no_source_is_no_subscriber_and_no_thread(tmp_path: Path) -> None:
    tables = made(tmp_path)
    look(tables, 100)
    look(tables, 200)
    assert (len(tables.tables().leases), tables.failed, tables.statuses(200)) == (0, None, ())
    tables.close()


def test_sources_are_in_force_together_the_one_of_higher_priority_first(tmp_path: Path) -> None:
    low = put(tmp_path / "low.csv", text(("192.0.2.1", "low"), ("192.0.2.2", "low"), ("192.0.2.4", "low")))
    high = put(tmp_path / "high.csv", text(("192.0.2.2", "high"), ("192.0.2.3", "high")))
    kea = tmp_path / "kea4.csv"
    kea.write_text(KEA + "192.0.2.4,kea,500,1400,0\n")
    tables = made(
        tmp_path,
        SourceSettings(kind="csv", path=str(high), name="high", priority=200),
        SourceSettings(kind="csv", path=str(low), name="low", priority=100),
        SourceSettings(kind="kea4", path=str(kea), name="kea", priority=150, subscriber="client_id"),
    )
    look(tables, 1_500)
    found = [holder(tables, f"192.0.2.{number}") for number in (1, 2, 3, 4)]
    assert found == [hashed("low"), hashed("high"), hashed("high"), hashed("kea", "ipoe")]
    assert holder(tables, "192.0.2.4", at=1_401) == hashed("low")  # Kea's has ended by then
    assert [(one.name, one.kind, one.leases) for one in tables.statuses(1_500)] == [
        ("high", "csv", 2), ("low", "csv", 3), ("kea", "kea4", 1),
    ]  # fmt: skip
    put(high, text(("192.0.2.2", "new"), ("192.0.2.3", "new")), 1_600)
    with kea.open("a") as file:
        file.write("192.0.2.5,kea,500,2000,0\n")
    look(tables, 1_610)
    assert [holder(tables, f"192.0.2.{number}", 1_700) for number in (2, 5)] == [hashed("new"), hashed("kea", "ipoe")]
    assert holder(tables, "192.0.2.1") == hashed("low")
    assert (gauge("leases", "kea"), gauge("ok", "kea"), gauge("age_seconds", "low")) == (2, 1, 110)
    tables.close()


def test_a_refused_source_leaves_the_others_alone_and_is_named(tmp_path: Path) -> None:
    one = put(tmp_path / "one.csv", text(*((f"192.0.2.{number}", "A") for number in range(10))))
    other = put(tmp_path / "other.csv", text(("198.51.100.1", "B")))
    sources = [SourceSettings(path=str(path), name=path.stem) for path in (one, other)]
    tables = made(tmp_path, *sources)
    look(tables, 110)
    put(one, text(("192.0.2.1", "C")), 200)
    put(other, text(("198.51.100.1", "D")), 200)
    look(tables, 210)
    assert str(tables.failed).startswith(f"one: {one}: 1 leases are no more than 60% of the 10 in force")
    assert [holder(tables, "192.0.2.1"), holder(tables, "198.51.100.1")] == [hashed("A"), hashed("D")]
    assert [gauge("ok", "one"), gauge("ok", "other")] == [0, 1]
    assert gauge("leases", "one") == 10
    tables.close()


def test_a_silent_source_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "one.csv", text(("192.0.2.1", "A")))
    tables = made(tmp_path, SourceSettings(path=str(path), name="one", stale_seconds=60))
    look(tables, 110)
    look(tables, 170)
    assert tables.failed is None
    look(tables, 171)
    assert tables.failed == "one: has been silent for longer than its limit"
    assert gauge("ok", "one") == 0
    tables.close()


def test_sources_that_are_missing_at_a_start_have_the_leases_of_the_last_run(tmp_path: Path) -> None:
    path = put(tmp_path / "one.csv", text(*((f"192.0.2.{number}", "A") for number in range(10))))
    kea = tmp_path / "kea4.csv"
    kea.write_text(KEA + "192.0.2.99,kea,4294967295,4294967295,0\n")
    sources = (
        SourceSettings(path=str(path), name="one"),
        SourceSettings(kind="kea4", path=str(kea), name="kea", subscriber="client_id"),
    )
    first = made(tmp_path, *sources, leases=str(put(tmp_path / "leases.csv", text(("198.51.100.7", "B")))))
    look(first, 110)
    first.close()
    saved = tmp_path / "state" / "leases"
    assert sorted(one.name for one in saved.iterdir()) == ["kea.parquet", "leases.parquet", "one.parquet"]
    for file in (path, kea, tmp_path / "leases.csv"):
        file.unlink()
    tables = made(tmp_path, *sources, leases=str(tmp_path / "leases.csv"))
    look(tables, 200)
    assert holder(tables, "192.0.2.3") == hashed("A")
    assert holder(tables, "192.0.2.99") == hashed("kea", "ipoe")
    assert holder(tables, "198.51.100.7") == hashed("B")
    assert "is not there" in str(tables.failed)
    put(path, text(("192.0.2.1", "C")), 300)  # and they are what a new file is held against
    look(tables, 310)
    assert holder(tables, "192.0.2.1") == hashed("A")
    tables.close()
    fewer = made(tmp_path, sources[1])
    look(fewer, 400)
    assert [one.name for one in saved.iterdir()] == ["kea.parquet"]  # names of others are not kept
    fewer.close()


def test_damaged_saved_leases_are_left(tmp_path: Path) -> None:
    saved = tmp_path / "state" / "leases" / "one.parquet"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(b"PAR1")
    path = put(tmp_path / "one.csv", text(("192.0.2.1", "A")))
    tables = made(tmp_path, SourceSettings(path=str(path), name="one"))
    look(tables, 110)
    assert holder(tables, "192.0.2.1") == hashed("A")
    tables.close()


@dataclass
class Told:
    """A source of what the test says."""

    name: str = "told"
    priority: int = 9
    said: list[LeaseRows] = field(default_factory=list)
    closed: bool = False

    def poll(self, now: float) -> LeaseRows | None:
        return self.said.pop() if self.said else None

    def status(self, now: float) -> SourceStatus:
        return SourceStatus(self.name, "radius", self.priority, 0, now, 0, stale=False, error=None)

    def close(self) -> None:
        self.closed = True


def test_a_further_source_is_asked_and_closed(tmp_path: Path) -> None:
    source = Told()
    path = put(tmp_path / "leases.csv", text(("192.0.2.1", "file")))
    tables = made(tmp_path, leases=str(path), sources=(source,))
    look(tables, 110)
    source.said.append(parse_leases(text(("192.0.2.1", "A")).encode(), Path("x")))
    look(tables, 120)
    assert holder(tables, "192.0.2.1") == hashed("A")
    tables.close()
    assert source.closed
    again = made(tmp_path, sources=(Told(),))
    look(again, 130)
    # What it said is saved for others to read, and not restored: it has a memory of its own.
    assert (tmp_path / "state" / "leases" / "told.parquet").exists()
    assert len(again.tables().leases) == 0
    again.close()


def test_a_few_changes_of_a_log_are_put_into_the_table_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kea = tmp_path / "kea4.csv"
    kea.write_text(KEA + "".join(f"10.0.{n >> 8}.{n & 255},c{n},5000,5000,0\n" for n in range(2_000)))
    path = put(tmp_path / "low.csv", text(("10.0.0.7", "low"), ("10.0.0.0/16", "wide")))
    tables = made(
        tmp_path,
        SourceSettings(kind="kea4", path=str(kea), name="kea", priority=5, subscriber="client_id"),
        SourceSettings(path=str(path), name="low"),
    )
    look(tables, 1_000)

    def refuse(*_: object) -> None:
        raise AssertionError("built anew")

    with monkeypatch.context() as patched:
        patched.setattr("enricher.watch.LeaseTable.of", refuse)
        with kea.open("a") as file:
            file.write("10.0.0.7,c7,0,1500,0\n10.0.0.8,other,500,2100,0\n172.16.0.1,new,500,2100,0\n")
        look(tables, 2_000)
        assert [holder(tables, "10.0.0.7", at) for at in (1_499, 1_601)] == [hashed("c7", "ipoe"), hashed("low")]
        assert [holder(tables, "10.0.0.8", at) for at in (1_599, 1_600, 2_100)] == [
            hashed("c8", "ipoe"), hashed("other", "ipoe"), hashed("wide"),
        ]  # fmt: skip
        assert holder(tables, "172.16.0.1", 1_600) == hashed("new", "ipoe")
        assert holder(tables, "10.0.0.9", 4_999) == hashed("c9", "ipoe")
        before = tables.tables()
        look(tables, 2_010)
        assert tables.tables() is before
    tables.close()


def test_what_breaks_in_the_thread_is_raised_by_the_next_look(tmp_path: Path) -> None:
    class Broken(Told):
        def poll(self, now: float) -> LeaseRows | None:
            if now > 150:
                raise RuntimeError("no source raises")
            return None

    tables = made(tmp_path, sources=(Broken(),))
    look(tables, 100)
    look(tables, 200)
    with pytest.raises(RuntimeError, match="no source raises"):
        look(tables, 300)


@pytest.mark.parametrize(
    "sources",
    [
        [{"path": "a.csv", "name": "x"}, {"path": "b.csv", "name": "x"}],
        [{"path": "/a/x.csv"}, {"path": "/b/x.csv"}],
        [{"path": "a.csv", "name": "leases"}],
        [{"path": "a.csv", "name": "radius"}],
        [{"path": "a.csv", "name": "../x"}],
        [{"path": ""}],
        [{"path": "a.csv", "kind": "xlsx"}],
        [{"path": "a.csv", "priority": 256}],
        [{"path": "a.csv", "least_share_of_rows": 1}],
    ],
)
def test_settings_that_cannot_be_are_refused(sources: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        EnricherSettings.model_validate({"sources": sources})


def test_sources_are_written_as_tables_of_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "flowtide.toml"
    path.write_text(
        '[[enricher.sources]]\nkind = "kea6"\npath = "/var/lib/kea/leases6.csv"\npriority = 50\nsubscriber = "duid"\n'
        '[[enricher.sources]]\npath = "/etc/leases/*.csv"\n'
    )
    first, second = load(path).enricher.sources
    assert (first.label, first.priority, first.subscriber, first.access) == ("kea6-leases6.csv", 50, "duid", "ipoe")
    assert (second.label, second.kind, second.least_share_of_rows) == ("csv-leases", "csv", 0.6)
