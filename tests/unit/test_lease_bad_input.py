"""What comes of bad and odd lease files: the outcome, its counter, and that nothing live is lost."""

import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from enricher.leases import LeaseRows
from enricher.snapshots import Limits
from enricher.sources.files import FileSource

HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
PORTED = "prefix,port_from,port_to,from,to,subscriber,group,service,segment,access\n"
LIVE = HEADER + "".join(f"198.51.100.{number},0,,S{number},,fixed,personal,pppoe\n" for number in range(10))
LIMITS = Limits(0.6, 0.9, 0.25, 0.05)


def lease(prefix: str = "192.0.2.1", begin: str = "0", end: str = "", subscriber: str = "A") -> str:
    return f"{prefix},{begin},{end},{subscriber},,fixed,personal,pppoe\n"


def shared(prefix: str, first: str, last: str) -> str:
    return f"{prefix},{first},{last},0,,A,,fixed,personal,pppoe\n"


def many(count: int) -> str:
    return "".join(lease(f"203.0.113.{number}") for number in range(count))


def overlapping(count: int) -> str:
    return "".join(lease(f"10.0.0.{number}", begin, "9") for number in range(count) for begin in ("1", "2"))


REFUSED = [
    ("not UTF-8", (HEADER + lease()).encode() + b"192.0.2.2,0,,A\xff,,fixed,personal,pppoe\n", "text",
     ":3: is not UTF-8"),
    ("UTF-16", (HEADER + lease()).encode("utf-16"), "text", ":1: is UTF-16"),
    ("empty", b"", "text", ": has no header"),
    ("NUL bytes, as a crashed writer leaves", b"\0" * 100, "columns", ":1: unknown column"),
    ("no header", lease().encode(), "columns", ":1: unknown column '192.0.2.1'"),
    ("a column unknown", HEADER.replace("group", "vlan").encode(), "columns", ":1: unknown column 'vlan'"),
    ("a column twice", (HEADER.rstrip() + ",to\n").encode(), "columns", ":1: a column is named twice"),
    ("one port column", ("port_from," + HEADER).encode(), "columns", ":1: the column port_to is missing"),
    ("host bits set", (HEADER + lease("192.0.2.1/24")).encode(), "row", ":2: '192.0.2.1/24' has bits set behind"),
    ("host bits of a mapped one", (HEADER + lease("::ffff:192.0.2.1/120")).encode(), "row",
     ":2: '::ffff:192.0.2.1/120' has bits set"),
    ("length beyond 32", (HEADER + lease("192.0.2.0/33")).encode(), "row", ":2: '192.0.2.0/33' is not a prefix"),
    ("from = to", (HEADER + lease() + lease(begin="5", end="5")).encode(), "row", ":3: from 5 is not before to 5"),
    ("from > to", (HEADER + lease(begin="6", end="5")).encode(), "row", ":2: from 6 is not before to 5"),
    ("no zone", (HEADER + lease(begin="2024-06-03T00:00:00")).encode(), "row",
     ":2: time 2024-06-03T00:00:00 has no zone"),
    ("milliseconds", (HEADER + lease(begin="1717372800000")).encode(), "row", ":2: time 1717372800000 is after"),
    ("half a line", (HEADER + lease() + "192.0.2.2,0,,A").encode(), "row", ":3: 4 values where the header names 8"),
    ("a quote left open", (HEADER + '"192.0.2.2,0,,A,,fixed,personal,pppoe\n').encode(), "row", ":2: "),
    ("one port only", (PORTED + shared("192.0.2.1", "5", "")).encode(), "row", ":2: port_from and port_to: give both"),
    ("port 65536", (PORTED + shared("192.0.2.1", "1", "65536")).encode(), "row", ":2: port_to '65536' is not a port"),
    ("port -1", (PORTED + shared("192.0.2.1", "-1", "5")).encode(), "row", ":2: port_from '-1' is not a port"),
    ("ports the wrong way", (PORTED + shared("192.0.2.1", "9", "8")).encode(), "row",
     ":2: port_from 9 is after port_to 8"),
    ("40 % fewer rows", (HEADER + many(6)).encode(), "rows", ": 6 leases are no more than 60% of the 10 in force"),
    ("a header alone", HEADER.encode(), "rows", ": 0 leases are no more than 60%"),
    ("two subscribers for one key", (HEADER + many(9) + lease("203.0.113.0", subscriber="B")).encode(), "ambiguous",
     ": 1 of 10 leases name another subscriber"),
    ("overlapping", (HEADER + many(6) + overlapping(4)).encode(), "overlaps", ": 4 of 14 leases"),
    ("too large", (HEADER + many(250) * 10).encode(), "size", "is larger than 20,000 bytes"),
]  # fmt: skip

TAKEN = [
    ("byte order mark", b"\xef\xbb\xbf" + (HEADER + many(9)).encode(), 9),
    ("CRLF", (HEADER + many(9)).replace("\n", "\r\n").encode(), 9),
    ("no line end at the end", (HEADER + many(9)).encode().rstrip(), 9),
    ("30 % fewer rows", (HEADER + many(7)).encode(), 7),
    ("the same line twice", (HEADER + many(9) + lease("203.0.113.0")).encode(), 10),
    ("a key of the same subscriber with an end", (HEADER + many(9) + lease("203.0.113.0", end="9")).encode(), 10),
    ("a missing end, closed by the next lease", (HEADER + many(9) + lease("203.0.113.0", "7")).encode(), 10),
    ("ports beside whole addresses",
     (PORTED + shared("10.0.0.1", "", "") * 6 + shared("10.0.0.1", "0", "0")).encode(), 7),
]  # fmt: skip


def put(path: Path, data: bytes, changed_at: int) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    os.utime(draft, (changed_at, changed_at))
    draft.replace(path)


def source_of(path: Path, name: str) -> tuple[FileSource, LeaseRows]:
    put(path, LIVE.encode(), 100)
    source = FileSource(name, str(path), "csv", 20_000, limits=LIMITS)
    live = source.poll(110)
    assert live is not None
    assert len(live) == 10
    return source, live


def refusals(name: str) -> dict[str, float]:
    metric = next(one for one in REGISTRY.collect() if one.name == "enricher_lease_source_refused")
    samples = [one for one in metric.samples if one.labels.get("source") == name and one.name.endswith("_total")]
    return {one.labels["reason"]: one.value for one in samples if one.value}


@pytest.mark.parametrize(("what", "data", "counter", "says"), REFUSED, ids=[case[0] for case in REFUSED])
def test_it_is_refused_counted_and_costs_nothing_live(
    tmp_path: Path, what: str, data: bytes, counter: str, says: str
) -> None:
    path, name = tmp_path / "leases.csv", f"refused {what}"
    source, _ = source_of(path, name)
    put(path, data, 200)
    assert source.poll(210) is None
    status = source.status(210)
    assert status.error is not None
    assert says in status.error
    assert status.error.startswith(str(path))
    assert (status.leases, refusals(name)) == (10, {counter: 1.0})
    assert source.poll(220) is None  # told once
    assert refusals(name) == {counter: 1.0}
    put(path, LIVE.replace("S3", "T3").encode(), 300)
    assert source.poll(310) is not None
    assert source.status(310).error is None


@pytest.mark.parametrize(("what", "data", "leases"), TAKEN, ids=[case[0] for case in TAKEN])
def test_it_is_taken(tmp_path: Path, what: str, data: bytes, leases: int) -> None:
    path, name = tmp_path / "leases.csv", f"taken {what}"
    source, _ = source_of(path, name)
    put(path, data, 200)
    rows = source.poll(210)
    assert rows is not None
    assert (len(rows), source.status(210).error, refusals(name)) == (leases, None, {})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::FFFF:C000:0200/120", "192.0.2.0/24"),
        ("0:0:0:0:0:ffff:192.0.2.1/128", "192.0.2.1/32"),
    ],
)
def test_an_ipv4_mapped_prefix_is_the_ipv4_prefix(tmp_path: Path, written: str, meant: str) -> None:
    keys = []
    for number, prefix in enumerate((written, meant)):
        path = tmp_path / f"{number}.csv"
        path.write_text(HEADER + lease(prefix))
        rows = FileSource("mapped", str(path), "csv", 1_000).poll(0)
        assert rows is not None
        keys.append((int(rows.high[0]), int(rows.low[0]), int(rows.bits[0])))
    assert keys[0] == keys[1]


def test_ports_are_read_and_both_are_included(tmp_path: Path) -> None:
    path = tmp_path / "leases.csv"
    path.write_text(
        PORTED + shared("192.0.2.1", "1024", "2047") + shared("192.0.2.1", "", "") + shared("192.0.2.2", "0", "65535")
    )
    rows = FileSource("ports", str(path), "csv", 1_000).poll(0)
    assert rows is not None
    assert rows.port_from.tolist() == [1024, 0, 0]
    assert rows.port_to.tolist() == [2047, 65_535, 65_535]
