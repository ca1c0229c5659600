"""Laws of enrichment: nothing is lost, doubled or reordered, and a batch is only a way to carry rows."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.enrichment import Tables, enrich
from enricher.leases import LeaseTable
from enricher.ports import buckets, lower_ports, port_table
from enricher.prefixes import PrefixSet
from enricher.sources.tables import parse_leases
from sinks.batch import Batch
from sinks.schema import ENRICHED, RAW, Direction

LEASES = b"""prefix,from,to,subscriber,group,service,segment,access
10.0.0.0/31,2,,A,north,fixed,personal,pppoe
10.0.0.1/32,5,7,B,,mobile,unknown,mobile
10.0.0.2/32,0,,C,,fixed,enterprise,ipoe
10.0.0.2/32,0,6,D,,fixed,enterprise,ipoe
"""
TABLES = Tables(LeaseTable.of(parse_leases(LEASES, Path("leases.csv")), bytes(32)), PrefixSet.of(["10.0.0.4/31"]))

flow = st.tuples(
    st.integers(0, 6),  # last octet of the source: two subscribers, a doubtful one, local ones, strangers
    st.integers(0, 6),
    st.integers(0, 9),  # flow end in seconds
    st.sampled_from([6, 17, 1, 50]),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.integers(0, 10**6),  # octets
    st.sampled_from([0, 1, 100]),  # sampling interval
    st.sampled_from([0, 2]),  # copy
)


def raw(rows: list[tuple[int, ...]]) -> Batch:
    batch = Batch.empty(RAW, len(rows))
    if not rows:
        return batch
    src, dst, end, proto, src_port, dst_port, octets, interval, copy = (
        np.array(part) for part in zip(*rows, strict=True)
    )
    for name, octet in (("src_addr", src), ("dst_addr", dst)):
        address = np.zeros((len(rows), 16), "u1")
        address[:, 10:13], address[:, 12], address[:, 15] = 255, 10, octet
        batch.columns[name] = address.view("V16")[:, 0]
    batch.columns["ts"] = (end * 1000).view("M8[ms]")
    values = {"proto": proto, "src_port": src_port, "dst_port": dst_port, "octets": octets, "packets": octets // 100}
    values |= {"sampling": interval, "sampling_source": np.minimum(interval, 1), "copy": copy}
    for name, value in values.items():
        batch.columns[name][:] = value
    return batch


def numbered(rows: list[tuple[int, ...]]) -> Batch:
    batch = raw(rows)
    batch.columns["in_if"] = np.arange(len(rows)).astype("u4")
    return batch


@settings(deadline=None)
@given(st.lists(flow, max_size=30))
def test_copies_0_and_2_are_the_input(rows: list[tuple[int, ...]]) -> None:
    batch = raw(rows)
    result = enrich([batch], TABLES)
    first = result.batch.columns["copy"] != 1
    for column in RAW:
        if column.name != "flags":
            assert result.batch.columns[column.name][first].tobytes() == batch.columns[column.name].tobytes()
    estimates = [octets * max(interval, 1) for *_, octets, interval, _ in rows]
    assert result.batch.columns["octets_est"][first].tolist() == estimates
    coverage = result.coverage
    assert coverage.matched.flows + coverage.unmatched.flows == len(rows)
    assert coverage.matched.octets_est + coverage.unmatched.octets_est == sum(estimates)


@settings(deadline=None)
@given(st.lists(flow, max_size=30), st.integers(0, 30))
def test_a_second_row_is_the_same_flow_seen_from_its_destination(rows: list[tuple[int, ...]], cut: int) -> None:
    batch = numbered(rows)
    sources = [batch.slice(0, cut), batch.slice(cut, len(rows))]
    result = enrich(sources, TABLES)
    columns, begin = result.batch.columns, 0
    for source, end in zip(sources, result.ends, strict=True):
        first, second = np.arange(begin, begin + len(source)), np.arange(begin + len(source), end)
        assert columns["in_if"][first].tolist() == source.columns["in_if"].tolist()
        assert (columns["copy"][first] != 1).all()
        assert (columns["copy"][second] == 1).all()
        assert (columns["direction"][second] == Direction.OUT).all()
        assert (np.diff(columns["in_if"][second].astype("i8")) > 0).all()
        its = begin + columns["in_if"][second] - (columns["in_if"][begin] if len(source) else 0)
        assert (columns["direction"][its] == Direction.IN).all()
        for name in ("octets", "octets_est", "src_addr", "dst_addr", "ts", "bucket", "in_if"):
            assert columns[name][second].tobytes() == columns[name][its].tobytes()
        begin = end
    assert begin == len(result.batch)


@settings(deadline=None)
@given(st.lists(flow, max_size=30), st.integers(0, 30))
def test_a_batch_in_two_gives_the_rows_of_the_whole(rows: list[tuple[int, ...]], cut: int) -> None:
    batch = numbered(rows)
    sources = [batch.slice(0, cut), batch.slice(cut, len(rows))]
    whole, together = enrich([batch], TABLES), enrich(sources, TABLES)
    parts = [enrich([source], TABLES) for source in sources]
    joined = Batch.concat([part.batch for part in parts])
    same = [np.lexsort((each.columns["copy"], each.columns["in_if"])) for each in (whole.batch, together.batch)]
    for column in ENRICHED:
        name = column.name
        assert joined.columns[name].tobytes() == together.batch.columns[name].tobytes(), name
        assert whole.batch.columns[name][same[0]].tobytes() == together.batch.columns[name][same[1]].tobytes(), name
        if column.is_label:
            assert joined.text(name) == together.batch.text(name)
    assert together.ends == (len(parts[0].batch), len(whole.batch))
    assert together.coverage == whole.coverage


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 65_535), st.integers(0, 65_535)), min_size=1))
def test_swapped_ports_change_no_bucket(rows: list[tuple[int, int, int]]) -> None:
    proto, one, other = (
        np.array(part, kind) for part, kind in zip(zip(*rows, strict=True), ("u1", "u2", "u2"), strict=True)
    )
    table = port_table()
    there, back = lower_ports(proto, one, other), lower_ports(proto, other, one)
    assert there.tolist() == back.tolist()
    assert buckets(proto, there, table).tolist() == buckets(proto, back, table).tolist()
