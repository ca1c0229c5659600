"""Real exporters' captures against the oracle: every flow record of NetFlow and IPFIX, by value."""

import json
from collections import Counter
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest

from collector.capture import Capture
from collector.datagrams import Datagrams
from collector.decoder import COUNTERS, Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from sinks.batch import Batch
from sinks.schema import Flag
from tests.shared import shared_folder
from tests.wire import assert_adds_up, counts, take

pytestmark = pytest.mark.shared

KNOWN: dict[str, str] = {}
"""Captures that do not agree yet, and why; one that begins to agree fails here, so that the list cannot rot."""

HELD = {"v9_data_before_template": 21, "v9_ak_data_and_templates": 11, "mixed_bitkeks": 8}
"""Records that came before their template: goflow2 drops them, we hold and decode them, flagged."""

_KEYS = {
    "src_addr": ("sourceIPv4Address", "sourceIPv6Address"),
    "dst_addr": ("destinationIPv4Address", "destinationIPv6Address"),
}
_NUMBERS = {
    "src_port": "sourceTransportPort", "dst_port": "destinationTransportPort", "proto": "protocolIdentifier",
    "tcp_flags": "tcpControlBits", "in_if": "ingressInterface", "out_if": "egressInterface",
    "src_as": "bgpSourceAsNumber", "dst_as": "bgpDestinationAsNumber", "tos": "ipClassOfService",
}  # fmt: skip
_WRAP = 2**32
_TOLERANCE_MS = 1


@cache
def index() -> dict[str, dict[str, Any]]:
    """The captures with NetFlow or IPFIX, by name."""
    file = shared_folder("captures", "index.jsonl")
    found = {each["name"]: each for each in map(json.loads, file.read_text().splitlines())}
    return {
        name: each for name, each in found.items() if {"v5", "v9", "v10"} & each["totals"]["packets_by_version"].keys()
    }


def oracle(name: str) -> list[dict[str, Any]]:
    lines = shared_folder("captures", "oracle", f"{name}.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "flow" and record["version"] in (5, 9, 10)]


def decode(name: str) -> tuple[Batch | None, dict[str, int], Decoder]:
    decoder = Decoder(DecoderSettings(times=TRUST_ALL, reverse=False), "test")
    for each in Capture(shared_folder("captures", "pcap", f"{name}.pcap")):
        decoder.add(Datagrams([each.exporter], [memoryview(each.payload)], each.time_ms))
    batch = take(decoder)
    return batch, counts(decoder), decoder


def names() -> list[str]:
    try:
        return sorted(index())
    except (pytest.skip.Exception, pytest.fail.Exception):
        return ["without captures"]  # the test itself says so


def ours(batch: Batch | None) -> Counter[tuple[object, ...]]:
    """Records by value, without those that were held."""
    if batch is None:
        return Counter()
    batch = batch.take(batch.columns["flags"] & Flag.HELD.value == 0)
    columns: list[Any] = [batch.text("exporter"), batch.columns["domain"].tolist()]
    for name in _KEYS:
        columns.append([ip_text(value.tobytes()) for value in batch.columns[name]])
    for name in (*_NUMBERS, "octets", "packets"):
        columns.append(batch.columns[name].tolist())
    return Counter(zip(*columns, strict=True))


def theirs(records: list[dict[str, Any]]) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for record in records:
        fields = {name: first(value) for name, value in record["fields"].items()}
        row: list[object] = [record["exporter"], record["domain"]]
        four = [fields.get(elements[0]) for elements in _KEYS.values()]
        six = [fields.get(elements[1]) for elements in _KEYS.values()]
        use_six = all(address in (None, "0.0.0.0") for address in four) and any(six)
        use_six = use_six and (any(address not in (None, "::") for address in six) or not any(four))
        for old, new in zip(four, six, strict=True):
            address = new if use_six else old
            row.append(str(ip_address(address)) if address and address != "::" else "")
        row += [fields.get(element) or 0 for element in _NUMBERS.values()]
        row.append(fields.get("octetDeltaCount", fields.get("octetTotalCount", 0)))
        row.append(fields.get("packetDeltaCount", fields.get("packetTotalCount", 0)))
        found[tuple(row)] += 1
    return found


def first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def ip_text(octets: bytes) -> str:
    if not any(octets):
        return ""
    address = ip_address(octets)
    return str(getattr(address, "ipv4_mapped", None) or address)


@pytest.mark.parametrize("name", names())
def test_flow_records_are_the_oracles(name: str) -> None:
    entry = index()[name]
    batch, counted, decoder = decode(name)
    assert_adds_up(counted, decoder.held()[0])
    assert set(counted) <= set(COUNTERS)
    if name in KNOWN:
        assert ours(batch) != theirs(oracle(name)), f"{name} agrees now: take it off the list of known differences"
        return
    assert ours(batch) == theirs(oracle(name))
    held = int((batch.columns["flags"] & Flag.HELD.value != 0).sum()) if batch else 0
    assert held == HELD.get(name, 0)
    assert counted.get("records_options", 0) == entry["totals"]["options_records"]


@pytest.mark.parametrize("name", sorted({*names()} - KNOWN.keys()))
def test_times_are_the_oracles(name: str) -> None:
    """By pairs of start and end, modulo 2^32 ms: of a wrapped uptime the oracle tells one of two lawful readings."""
    index()
    batch, _, _ = decode(name)
    records = [record for record in oracle(name) if None not in (record["startMs"], record["endMs"])]
    expected = Counter((record["startMs"] % _WRAP, record["endMs"] % _WRAP) for record in records)
    if batch is None:
        assert not records
        return
    usable = batch.columns["flags"] & (Flag.HELD | Flag.NO_FLOW_TIME | Flag.TIME_OUT_OF_BOUNDS).value == 0
    mine = batch.take(usable)
    start, end = (mine.columns[column].view("i8") for column in ("ts_start", "ts"))
    found = Counter(zip((start % _WRAP).tolist(), (end % _WRAP).tolist(), strict=True))
    # A start after its end is moved to the end; NTP fractions may be rounded either way.
    for began, ended in list((expected - found).elements()):
        near = next(
            (pair for pair in found - expected if close(pair, (began, ended)) or close(pair, (ended, ended))), None
        )
        assert near is not None, (began, ended)
        expected[began, ended] -= 1
        expected[near] += 1
    assert not +expected - found


def close(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return all(abs(a - b) <= _TOLERANCE_MS for a, b in zip(one, other, strict=True))


SAMPLING = {
    # name: (interval, source); what the options data of the capture say, read by hand from the oracle
    "v9_ak_iosxr_full": (30_000, 2),
    "v9_softflowd_sampled10": (10, 4),
    "ipfix_pm_cisco_ipv6_sampling": (256, 2),  # size 1, population 256; packet interval 1 is not the answer
    "ipfix_pm_cisco_501_mpls": (1, 2),
    "v9_ak_samplingrate": (2048, 1),
    "v9_cisco_1941": (1, 8),
    "v5_juniper_mx80": (1000, 5),  # of the header
    "v5_vflow": (1000, 5),
    "v5_mikrotik": (1, 8),
}


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_sampling_is_what_the_exporter_said(name: str) -> None:
    batch, _, _ = decode(name)
    assert batch is not None
    found = set(zip(batch.columns["sampling"].tolist(), batch.columns["sampling_source"].tolist(), strict=True))
    assert found == {SAMPLING[name]}
