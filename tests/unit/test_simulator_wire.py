"""An exporter's domain: what is in its datagrams, in which order, and what it refuses."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator.flow import FLOW
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.templates import conversations
from flowtide.simulator.wire import Wire

NOW_MS = 1_717_400_000_123  # in the analysed week of 2024
BOOT_MS = NOW_MS - 86_400_000
FORMS = [
    ("netflow5", "fixed"), ("netflow9", "fixed"), ("ipfix", "fixed"), ("ipfix", "variable"), ("ipfix", "biflow"),
    ("sflow", "fixed"),
]  # fmt: skip


def drawn(count: int, *, v6: float = 0.3, sampled: bool = False, seed: int = 1) -> NDArray[np.void]:
    """Any flows that end within two seconds before ``NOW_MS``; ``sampled``: single packets."""
    random, flows = np.random.default_rng(seed), np.zeros(count, FLOW)
    flows["is_v6"] = random.random(count) < v6
    for end in ("src", "dst"):
        address = random.integers(0, 256, (count, 16))
        address[:, :4] = (0x20, 0x01, 0x0D, 0xB8)
        mapped = np.concatenate([np.zeros((count, 10), int), np.full((count, 2), 255), address[:, 12:]], axis=1)
        flows[end] = np.where(flows["is_v6"][:, None], address, mapped)
    proto = random.choice([6, 17, 1, 50, 47], count, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    flows["proto"] = np.where((proto == 1) & flows["is_v6"], 58, proto)
    ported, echo = np.isin(proto, (6, 17)), np.isin(proto, (1, 58))
    flows["src_port"] = np.where(ported, random.integers(0, 65_536, count), 0)
    flows["dst_port"] = np.where(ported, random.choice([443, 80, 53, 22, 40_000], count), np.where(echo, 2_048, 0))
    flows["tcp_flags"], flows["tos"] = np.where(proto == 6, 0x1B, 0), random.choice([0, 184], count)
    flows["packets"] = 1 if sampled else random.integers(1, 1_000, count)
    flows["octets"] = flows["packets"] * random.integers(80, 1_500, count)
    flows["in_if"], flows["out_if"] = random.integers(1, 5, count), random.integers(101, 103, count)
    flows["src_as"], flows["dst_as"] = 64_500, random.choice([64_496, 65_537], count)
    flows["user"] = random.integers(0, 100, count)
    flows["end_ms"] = NOW_MS - random.integers(0, 2_000, count)
    flows["start_ms"] = flows["end_ms"] - random.integers(0, 60_000, count)
    return flows


def planned(protocol: Any, form: Any = "fixed", *, told: Any = None, **fields: Any) -> ExporterPlan:
    """A plan that tells its sampling interval where its protocol can."""
    told = told or ("header" if protocol in ("netflow5", "sflow") else "options")
    return ExporterPlan(source="127.0.0.5", protocol=protocol, form=form, told=told, **fields)


def of_protocol(protocol: str, count: int, **fields: Any) -> NDArray[np.void]:
    """Flows that a protocol can tell."""
    return drawn(count, v6=0.0 if protocol == "netflow5" else 0.3, sampled=protocol == "sflow", **fields)


def paired(flows: NDArray[np.void], every: int) -> NDArray[np.void]:
    """Flows with, behind each that counts, its reverse, which is otherwise another flow."""
    back = flows.copy()
    for one, other in (("src", "dst"), ("src_port", "dst_port")):
        back[one], back[other] = flows[other], flows[one]
    back["packets"] += 1
    back["octets"] += 41
    back["tcp_flags"] = 0x02
    back["start_ms"] -= 10
    rows: list[Any] = []
    for at in range(len(flows)):
        rows += [flows[at], back[at]] if at % every == 0 else [flows[at]]
    return np.array(rows, flows.dtype)


@pytest.mark.parametrize(("protocol", "form"), FORMS)
def test_datagrams_are_full_and_none_is_too_large(protocol: str, form: str) -> None:
    wire = Wire.of(planned(protocol, form), 7, BOOT_MS)
    flows = of_protocol(protocol, 1_000)
    datagrams = wire.datagrams(flows, NOW_MS)
    assert max(map(len, datagrams)) <= 1_472
    # What is left over is less than the largest record (a sample of IPv6 and TCP, a biflow of IPv6), and the padding
    # that two sets could need.
    largest = {"sflow": 208, "netflow5": 48}.get(protocol, 144)
    assert all(len(datagram) > 1_472 - largest - 14 for datagram in datagrams[:-1])
    assert sum(wire.rows(flows)) == 1_000
    assert len(wire.rows(flows)) == len(wire.records(flows)) == len(datagrams)
    announced = wire.announcements(NOW_MS)
    assert len(announced) == (protocol != "netflow5")
    assert all(len(datagram) <= 1_472 for datagram in announced)


@pytest.mark.parametrize("v6", [0.0, 0.5, 1.0])
def test_records_of_any_length_fill_datagrams_to_the_last_octet(v6: float) -> None:
    wire = Wire.of(planned("ipfix", "variable"), 7, BOOT_MS)
    flows = drawn(20_000, v6=v6)
    flows["proto"] = np.random.default_rng(1).choice([132, 6, 17, 58], len(flows))  # texts of 0, 5, 11, 9 octets
    flows["dst_port"] = np.select([flows["proto"] == 6, flows["proto"] == 17], [993, 4_500], 0)
    flows["src_port"] |= 0x8000
    datagrams = wire.datagrams(flows, NOW_MS)
    assert max(map(len, datagrams)) == 1_472
    # A record of IPv4 is 69 octets and the text's, of IPv6 89; the text is 14 with its length in the long form.
    assert min(map(len, datagrams[:-1])) > 1_472 - 14 - (69 if v6 == 0 else 89) - 14


@pytest.mark.parametrize(("protocol", "form"), FORMS)
def test_the_same_flows_are_the_same_octets(protocol: str, form: str) -> None:
    flows = of_protocol(protocol, 200)
    made = [Wire.of(planned(protocol, form), 7, BOOT_MS) for _ in range(2)]
    assert len({b"".join([*wire.announcements(NOW_MS), *wire.datagrams(flows, NOW_MS)]) for wire in made}) == 1
    assert made[0].datagrams(flows[:0], NOW_MS) == []


def sequence_and_count(protocol: str, datagram: bytes) -> tuple[int, int]:
    """Sequence number, and by how much the next one is higher (RFC 3954 5.1, RFC 7011 3.1, Cisco's v5, sFlow v5)."""
    if protocol == "netflow5":
        return int.from_bytes(datagram[16:20], "big"), int.from_bytes(datagram[2:4], "big")
    if protocol == "netflow9":
        return int.from_bytes(datagram[12:16], "big"), 1
    if protocol == "sflow":
        return int.from_bytes(datagram[16:20], "big"), 1
    at, records = 16, 0
    sizes = {256: 69, 257: 89, 260: 14, 261: 36}
    while at < len(datagram):
        number, length = struct.unpack_from(">HH", datagram, at)
        records += (length - 4) // sizes[number] if number >= 256 else 0
        at += length
    return int.from_bytes(datagram[8:12], "big"), records


@pytest.mark.parametrize("protocol", ["netflow5", "netflow9", "ipfix", "sflow"])
def test_sequence_numbers_have_no_gap_over_announcements_and_calls(protocol: str) -> None:
    wire = Wire.of(planned(protocol), 7, BOOT_MS)
    wire.sequence = 2**32 - 40
    datagrams = []
    for call in range(4):
        datagrams += wire.announcements(NOW_MS + call)
        datagrams += wire.datagrams(of_protocol(protocol, 100, seed=call), NOW_MS)
    expected = 2**32 - 40
    for datagram in datagrams:
        sequence, step = sequence_and_count(protocol, datagram)
        assert sequence == expected
        expected = (expected + step) % 2**32
    assert wire.sequence == expected


def test_after_a_restart_numbers_begin_anew_and_templates_have_other_ids() -> None:
    wire = Wire.of(planned("netflow9"), 7, BOOT_MS)
    flows = drawn(10, v6=0)
    first = wire.datagrams(flows, NOW_MS)
    wire.restart(NOW_MS - 70_000)
    again = wire.datagrams(flows, NOW_MS)
    ids = [int.from_bytes(each[0][20:22], "big") for each in (first, again)]
    assert ids == [256, 272]
    assert [each[0][12:16] for each in (first, again)] == [bytes(4), bytes(4)]
    # The template announced now is the one that data refer to: id after headers of message and set.
    assert wire.announcements(NOW_MS)[0][24:26] == again[0][20:22]
    uptime = int.from_bytes(again[0][4:8], "big")
    assert 70_000 - 1_000 <= uptime <= 71_000


def test_the_interval_is_told_as_planned_otherwise_or_not_at_all() -> None:
    flows = drawn(1, v6=0, sampled=True)

    def told(protocol: str, **announced: Any) -> int:
        wire = Wire.of(planned(protocol, sampling=200, says=100), 7, BOOT_MS)
        [*_, last] = [*wire.announcements(NOW_MS, **announced), *wire.datagrams(flows, NOW_MS)]
        # v5: last field of the header; sFlow: behind the datagram's 28 octets and type, length, number and source.
        return int.from_bytes(last[22:24] if protocol == "netflow5" else last[44:48], "big")

    assert [told("netflow5"), told("sflow")] == [2 << 14 | 100, 100]
    assert [told(each, sampling=500) & 0x3FFF for each in ("netflow5", "sflow")] == [500, 500]
    assert [told(each, sampling=None) for each in ("netflow5", "sflow")] == [0, 0]
    # Of v9 and IPFIX: an options template (set id 1 or 3) of 260 only where something is told.
    for protocol, head in (("netflow9", 10), ("ipfix", 10)):
        wire = Wire.of(planned(protocol, sampling=200), 7, BOOT_MS)
        template = struct.pack(">HHH", 260, *((4, 8) if protocol == "netflow9" else (4, 1)))
        [silent], [telling] = wire.announcements(NOW_MS, sampling=None), wire.announcements(NOW_MS)
        assert (template in silent, template in telling) == (False, True), head


def test_conversations_are_neighbours_of_one_user_and_no_flow_has_two() -> None:
    flows = drawn(12, v6=0.5)
    flows["proto"] = 6
    both = paired(flows, 2)
    expected = [at % 3 == 0 for at in range(18)]
    assert conversations(both).tolist() == expected
    for name, value in (
        ("user", 1_000),
        ("proto", 17),
        ("src_port", 1),
        ("dst_port", 1),
        ("is_v6", not both[1]["is_v6"]),
    ):
        other = both.copy()
        other[1][name] = value
        assert conversations(other).tolist() == [False, *expected[1:]], name
    # To and fro five times: two pairs, and one that is left.
    assert conversations(np.concatenate([both[:2], both[:2], both[:1]])).tolist() == [True, False, True, False, False]
    assert conversations(both[:0]).tolist() == []


def test_a_biflow_is_one_record_and_stays_whole() -> None:
    flows = paired(drawn(300, v6=0.4), 3)
    wire = Wire.of(planned("ipfix", "biflow"), 7, BOOT_MS)
    pairs = int(conversations(flows).sum())
    assert pairs == 100
    assert sum(wire.records(flows)) == 400 - pairs
    assert sum(wire.rows(flows)) == 400
    # Datagrams cut between records, never within one.
    bounds = np.cumsum(wire.rows(flows))[:-1]
    assert not conversations(flows)[bounds - 1].any()


@pytest.mark.parametrize(
    ("protocol", "change", "message"),
    [
        ("netflow5", {"octets": 2**32}, "octets 4294967296: netflow5 tells 0 to 4294967295"),
        ("netflow9", {"packets": 2**32}, "packets 4294967296"),
        ("ipfix", {"octets": -1}, "octets -1"),
        ("netflow5", {"is_v6": True}, "no flows of IPv6"),
        ("netflow5", {"in_if": 65_536}, "in_if 65536"),
        ("netflow9", {"start_ms": BOOT_MS - 1_000}, "from the boot"),
        ("netflow5", {"start_ms": BOOT_MS - 1_000}, "from the boot"),
        ("netflow9", {"end_ms": NOW_MS + 2**31 + 1}, "from the export"),
        ("ipfix", {"start_ms": NOW_MS + 1, "end_ms": NOW_MS}, "ends before it starts"),
        ("ipfix", {"start_ms": -1}, "before 1970"),
        ("sflow", {"packets": 2}, "one sampled packet"),
        ("sflow", {"octets": 27}, "octets 27"),
        ("sflow", {"octets": 65_536}, "octets 65536"),
    ],
)
def test_what_a_version_cannot_say_is_refused(protocol: str, change: dict[str, Any], message: str) -> None:
    flows = drawn(3, v6=0, sampled=True)
    wire = Wire.of(planned(protocol), 7, BOOT_MS)
    before = wire.sequence
    for name, value in change.items():
        flows[name][1] = value
    with pytest.raises(ValueError, match=message):
        wire.datagrams(flows, NOW_MS)
    assert wire.sequence == before


def test_a_plan_that_a_version_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="14 bits"):
        Wire.of(planned("netflow5"), 7, BOOT_MS).announcements(NOW_MS, sampling=16_384)
    with pytest.raises(ValueError, match="domain 65536"):
        Wire.of(planned("netflow5"), 65_536, BOOT_MS)
    with pytest.raises(ValueError, match="32 bits"):
        Wire.of(planned("ipfix"), 2**32, BOOT_MS)
    with pytest.raises(ValueError, match="interval 4294967296"):
        Wire.of(planned("netflow9"), 1, BOOT_MS).announcements(NOW_MS, sampling=2**32)
    with pytest.raises(ValueError, match="export at"):
        Wire.of(planned("ipfix"), 1, NOW_MS).datagrams(drawn(1), NOW_MS - 5_000)
    Wire.of(planned("sflow", sampling=16_384), 7, BOOT_MS)


def test_texts_of_variable_length_have_both_forms_and_may_be_empty() -> None:
    flows = drawn(3_000, v6=0)
    body = b"".join(Wire.of(planned("ipfix", "variable"), 7, BOOT_MS).datagrams(flows, NOW_MS))
    lower, long = np.minimum(flows["src_port"], flows["dst_port"]), flows["src_port"] % 8 == 0
    for proto, port, text in ((6, 443, b"tls"), (17, 443, b"quic"), (17, 53, b"dns"), (6, 22, b"ssh")):
        wanted = (flows["proto"] == proto) & (lower == port)
        for rows, length in ((wanted & ~long, bytes([len(text)])), (wanted & long, bytes([255, 0, len(text)]))):
            # Behind protocol, flags and type of service, before the masks of 24 (RFC 7011 section 7).
            head = (bytes([proto, 0x1B if proto == 6 else 0, tos]) for tos in (0, 184))
            found = sum(body.count(each + length + text + bytes([24, 24])) for each in head)
            assert (found, found > 0) == (rows.sum(), True), text
    other = drawn(1, v6=0)
    other["proto"], other["src_port"] = 132, 1
    [datagram] = Wire.of(planned("ipfix", "variable"), 7, BOOT_MS).datagrams(other, NOW_MS)
    # Addresses 12 octets, then 23 to the type of service; the text's length is 0.
    assert datagram[20 + 35 : 20 + 38] == bytes([0, 24, 24])
    other["src_port"] = 8
    [datagram] = Wire.of(planned("ipfix", "variable"), 7, BOOT_MS).datagrams(other, NOW_MS)
    assert datagram[20 + 35 : 20 + 40] == bytes([255, 0, 0, 24, 24])
