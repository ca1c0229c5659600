"""Columns that are the same in all records are constants; what they say is what the records say."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.decoder.filling import all_same
from collector.settings import DecoderSettings
from sinks.batch import is_constant
from sinks.schema import Flag

NOW = 1_700_000_000
# Element, octets: source, destination, next hop, octets, packets, ports, protocol, ingress interface, type of service.
PLAIN = ((8, 4), (12, 4), (15, 4), (1, 4), (2, 4), (7, 2), (11, 2), (4, 1), (10, 4), (5, 1))
NARROW = ((8, 4), (12, 4), (1, 4), (2, 4), (10, 4))  # says nothing of next hop, ports, protocol, service
COLUMNS = {1: "octets", 2: "packets", 7: "src_port", 11: "dst_port", 4: "proto", 10: "in_if", 5: "tos"}
ADDRESSES = {8: "src_addr", 12: "dst_addr", 15: "next_hop"}

Record = dict[int, int]


def datagram(number: int, fields: tuple[tuple[int, int], ...], records: list[Record], sequence: int) -> bytes:
    template = struct.pack("!HH", number, len(fields)) + b"".join(struct.pack("!HH", *each) for each in fields)
    body = b"".join(record[element].to_bytes(length, "big") for record in records for element, length in fields)
    sets = struct.pack("!HH", 0, 4 + len(template)) + template + struct.pack("!HH", number, 4 + len(body)) + body
    return struct.pack("!HHIIII", 9, 1 + len(records), 3_600_000, NOW, sequence, 7) + sets


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.tuples(st.booleans(), st.integers(1, 1_500)), min_size=1, max_size=4))
def test_columns_say_what_the_records_say(seed: int, groups: list[tuple[bool, int]]) -> None:
    random = np.random.default_rng(seed)
    decoder = Decoder(DecoderSettings(rows=65_536), "c")
    sent: dict[bool, list[Record]] = {True: [], False: []}
    sequence = 0
    for is_plain, count in groups:
        fields = PLAIN if is_plain else NARROW
        same = {element for element, _ in PLAIN if random.random() < 0.6}
        records = [
            {
                element: 1 if element in same and n != count - 1 else 1 + int(random.integers(0, 3))
                for element, _ in PLAIN
            }
            for n in range(count)
        ]
        if random.random() < 0.5:
            records[-1] |= dict.fromkeys(same, 1)
        sent[is_plain] += records
        for first in range(0, count, 50):
            part = datagram(300 + is_plain, fields, records[first : first + 50], sequence)
            decoder.add(Datagrams(["192.0.2.1"], [memoryview(part)], NOW * 1000))
            sequence += 1
    batch = decoder.take()
    assert batch is not None and decoder.take() is None
    # Records of one layout come together, in order; which layout comes first is not said.
    kinds = [groups[0][0], not groups[0][0]]
    expected = [(kind, record) for kind in kinds for record in sent[kind]]
    for element, name in COLUMNS.items():
        known = {each for each, _ in NARROW}
        assert batch.columns[name].tolist() == [
            record[element] if kind or element in known else 0 for kind, record in expected
        ], name
    for element, name in ADDRESSES.items():
        assert [value.tobytes() for value in np.array(batch.columns[name])] == [
            bytes(10) + b"\xff\xff" + record[element].to_bytes(4, "big") if kind or element != 15 else bytes(16)
            for kind, record in expected
        ], name
    for name in ("exporter", "domain", "received", "flags", "sampling", "ip_version", "vlan", "copy", "extra"):
        assert is_constant(batch.columns[name]), name
    assert (batch.columns["domain"][0], batch.columns["ip_version"][0]) == (7, 4)
    assert batch.columns["flags"][0] == Flag.NO_FLOW_TIME


@given(st.lists(st.integers(0, 1), min_size=1, max_size=40))
def test_all_same(values: list[int]) -> None:
    assert all_same(np.array(values)) == (len(set(values)) == 1)


def test_a_field_that_differs_in_one_record_is_not_constant() -> None:
    decoder = Decoder(DecoderSettings(rows=65_536), "c")
    record = {element: 1 for element, _ in PLAIN}
    for number in range(40):
        records = [record] * 50
        if number == 17:
            records = [*[record] * 23, record | {5: 2, 15: 9}, *[record] * 26]
        part = datagram(300, PLAIN, records, number)
        decoder.add(Datagrams(["192.0.2.1"], [memoryview(part)], NOW * 1000))
    batch = decoder.take()
    assert batch is not None
    assert is_constant(batch.columns["in_if"]) and not is_constant(batch.columns["tos"])
    assert np.flatnonzero(batch.columns["tos"] == 2).tolist() == [17 * 50 + 23]
    hops = batch.columns["next_hop"].view("u1").reshape(-1, 16)[:, 15]
    assert np.flatnonzero(hops == 9).tolist() == [17 * 50 + 23]


@pytest.mark.parametrize("packets", [0, 1])
def test_flags_of_some_rows_are_of_those_only(packets: int) -> None:
    decoder = Decoder(DecoderSettings(rows=65_536), "c")
    record = {element: 1 for element, _ in PLAIN}
    records = [record, record | {1: 70_000, 2: packets}, record]
    decoder.add(Datagrams(["192.0.2.1"], [memoryview(datagram(300, PLAIN, records, 0))], NOW * 1000))
    batch = decoder.take()
    assert batch is not None
    none = Flag.NO_FLOW_TIME.value
    assert batch.columns["flags"].tolist() == [none, none | Flag.IMPLAUSIBLE.value, none]
