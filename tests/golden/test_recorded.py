"""Recorded messages of real programs, and of our simulator, against what they were made of."""

import json
from collections import Counter

import numpy as np
import pytest

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from enricher.ports import buckets, lower_ports, port_table
from tests.golden.compare import Row, read_rows
from tests.golden.record import RECORDED, simulate, truths
from tests.golden.traffic import Flow
from tests.wire import NOW, assert_adds_up, counts, take

NAMES = sorted(path.stem for path in RECORDED.glob("*.hex"))


def datagrams(name: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in (RECORDED / f"{name}.hex").read_text().splitlines()]


def rows(payloads: list[bytes]) -> list[Row]:
    """With fresh state; nothing may be left over."""
    decoder = Decoder(DecoderSettings(times=TRUST_ALL, held_sampler_seconds=0), "test")
    for payload in payloads:
        decoder.add(Datagrams(["192.0.2.1"], [memoryview(payload)], (NOW + 1) * 1000))
    found = read_rows(take(decoder))
    counted = counts(decoder)
    assert_adds_up(counted, decoder.held()[0])
    assert {name: value for name, value in counted.items() if "dropped" in name} == {}
    assert decoder.held()[0] == 0
    return [row for row in found if row["copy"] != 1]


def flow(row: Row) -> Flow:
    """As ``traffic.Flow``: exporters tell ICMP's type and code as such, or as the second port."""
    proto, second = row["proto"], row["dst_port"]
    if proto in (1, 58):
        assert not (row["icmp"] and second)
        second = row["icmp"] or second
    return row["src_addr"], row["dst_addr"], row["src_port"], second, proto, row["packets"], row["octets"]


@pytest.mark.parametrize("name", NAMES)
def test_recorded(name: str) -> None:
    assert_true(name, rows(datagrams(name)))


def assert_true(name: str, found: list[Row]) -> None:
    truth = json.loads((RECORDED / f"{name}.json").read_text())
    totals = [len(found), sum(row["packets"] for row in found), sum(row["octets"] for row in found)]
    assert totals == truth["totals"]
    wanted, got = Counter(tuple(each) for each in truth["flows"]), Counter(flow(row) for row in found)
    assert (wanted - got, got - wanted) == (Counter(), Counter())  # missing, not expected
    assert {row["sampling"] for row in found} == {truth["sampling"]}
    if truth["buckets"]:
        assert by_bucket(found) == truth["buckets"]


def by_bucket(found: list[Row]) -> dict[str, list[int]]:
    """Flows, packets and octets by the enricher's lower-port rule."""
    table = port_table()
    proto, source, destination = (
        np.array([row[name] for row in found], kind)
        for name, kind in (("proto", "u1"), ("src_port", "u2"), ("dst_port", "u2"))
    )
    sums: dict[str, list[int]] = {}
    codes = buckets(proto, lower_ports(proto, source, destination), table)
    for row, code in zip(found, codes, strict=True):
        entry = sums.setdefault(table.labels[code], [0, 0, 0])
        for at, value in enumerate((1, row["packets"], row["octets"])):
            entry[at] += value
    return sums


def test_files_are_what_the_traffic_and_the_simulator_say() -> None:
    """The messages hold the time they were recorded; what they must come to does not."""
    wanted = truths()
    assert sorted(wanted) == NAMES == sorted(path.stem for path in RECORDED.glob("*.json"))
    for name, truth in wanted.items():
        assert (RECORDED / f"{name}.json").read_text() == truth.text(), f"run: python -m tests.golden.record ({name})"


def test_the_simulator_sends_the_same_octets_every_time() -> None:
    for name, (_, sent) in simulate().items():
        assert datagrams(name) == sent, f"run: python -m tests.golden.record ({name})"
