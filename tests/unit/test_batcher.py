from collections import Counter
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.batcher import cut, slot_of
from sinks.batch import Batch
from sinks.schema import RAW


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 5), st.integers(1, 60))
def test_every_row_comes_once_in_order_and_an_exporter_has_one_slot(codes: list[int], slots: int, most: int) -> None:
    batch = Batch.empty(RAW, len(codes))
    batch.labels["exporter"] = tuple(f"192.0.2.{n}" for n in range(10))
    batch.columns["exporter"] = np.array(codes, "u4")
    batch.columns["octets"] = np.arange(len(codes), dtype="i8")
    seen: dict[str, list[int]] = {}
    for slot, part in cut(batch, slots, most):
        assert 0 < len(part) <= most
        for exporter, octets in zip(part.text("exporter"), part.columns["octets"].tolist(), strict=True):
            assert slot == slot_of(exporter, slots)
            seen.setdefault(exporter, []).append(octets)
    expected: dict[str, list[int]] = {}
    for number, code in enumerate(codes):
        expected.setdefault(f"192.0.2.{code}", []).append(number)
    assert seen == expected


def test_slots_are_the_same_everywhere() -> None:
    # The language's own hash differs between processes.  CRC-32 (RFC 1952) of each address, as gzip writes it.
    assert [slot_of(exporter, 4) for exporter in ("192.0.2.1", "192.0.2.2", "2001:db8::1")] == [
        int(np.uint32(value) % 4) for value in (0xDB610037, 0x4268518D, 0x00B4AF0E)
    ]


@pytest.mark.parametrize("slots", [2, 4, 8, 16, 64])
@pytest.mark.parametrize(
    "first", ["10.0.0.1", "10.255.255.1", "192.0.2.250", "100.64.0.0", "2001:db8::1", "fe80::fff0"]
)
def test_exporters_of_consecutive_addresses_leave_no_slot_empty(first: str, slots: int) -> None:
    """8 exporters a slot: each has some, and none more than twice its share."""
    exporters = [str(ip_address(first) + number) for number in range(8 * slots)]
    found = Counter(slot_of(exporter, slots) for exporter in exporters)
    assert sorted(found) == list(range(slots))
    assert max(found.values()) < 16
