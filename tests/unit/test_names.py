"""Names that exporters tell, and the operator's table over them; speeds judge counters."""

import struct
from pathlib import Path

import pytest

from collector.decoder import Decoder
from collector.decoder.names import Name
from collector.interfaces import InterfaceFile, InterfaceFileError, read_interfaces
from collector.settings import DecoderSettings
from sinks.schema import OBSERVATIONS, Flag
from tests.wire import NOW, add, counts, flowset, ipfix, options9, options10, rows, template, v9

INTERFACES9 = flowset(1, options9(300, [(1, 4)], (10, 4), (82, 16), (83, 24)))
"""Cisco's `option interface-table`: scope system; interface, name, description."""


def interface(number: int, name: str, description: str) -> bytes:
    return flowset(300, struct.pack("!II16s24s", 0, number, name.encode(), description.encode()))


def names(decoder: Decoder) -> list[tuple[object, ...]]:
    """(exporter, domain, kind, id, name, description, speed) of each row."""
    found = []
    for table, told in decoder.take_observations():
        assert table == "exporter_name"
        for row in told:
            assert set(row) == {column.name for column in OBSERVATIONS[table]}
            assert row["collector"] == "test"
            found.append(
                tuple(row[key] for key in ("exporter", "domain", "kind", "id", "name", "description", "speed"))
            )
    return found


def test_interfaces_are_told_when_new_and_when_changed() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(INTERFACES9, interface(7, "Gi0/7", "to the core"), interface(8, "Gi0/8", "")))
    assert names(one) == [
        ("192.0.2.1", 1, "interface", 7, "Gi0/7", "to the core", 0),
        ("192.0.2.1", 1, "interface", 8, "Gi0/8", "", 0),
    ]
    add(one, v9(interface(7, "Gi0/7", "to the core"), interface(8, "Gi0/8", "customer 12")))
    assert names(one) == [("192.0.2.1", 1, "interface", 8, "Gi0/8", "customer 12", 0)]


def test_the_scope_may_name_the_interface() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(flowset(1, options9(301, [(2, 4)], (82, 8))), flowset(301, struct.pack("!I8s", 9, b"xe-0/0/1"))))
    add(one, ipfix(flowset(3, options10(301, 1, (14, 4), (82, 0xFFFF))), flowset(301, b"\0\0\0\x0a\x04ae10")))
    assert [row[2:5] for row in names(one)] == [("interface", 9, "xe-0/0/1"), ("interface", 10, "ae10")]


def test_applications_vrfs_and_samplers() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(
        one,
        v9(
            flowset(1, options9(302, [(1, 4)], (95, 4), (96, 8), (94, 12))),
            flowset(302, struct.pack("!II8s12s", 0, 13 << 24 | 453, b"ssl", b"secure web")),
            flowset(1, options9(303, [(1, 4)], (234, 4), (236, 8))),
            flowset(303, struct.pack("!II8s", 0, 3, b"mgmt")),
            flowset(1, options9(304, [(1, 4)], (48, 2), (84, 8), (50, 4))),
            flowset(304, struct.pack("!IH8sI", 0, 2, b"edge", 1000)),
        ),
    )
    assert [row[2:6] for row in names(one)] == [
        ("application", 13 << 24 | 453, "ssl", "secure web"),
        ("vrf", 3, "mgmt", ""),
        ("sampler", 2, "edge", "1 in 1000"),
    ]


def test_names_of_any_bytes_are_shown_as_text() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(
        one,
        v9(
            flowset(1, options9(301, [(2, 4)], (82, 12))),
            flowset(301, struct.pack("!I12s", 9, b"\xffa\nb\x1b  \0junk")),
        ),
    )
    assert names(one)[0][4] == "\ufffda b"


def test_names_are_bounded_and_survive_a_stop() -> None:
    one = Decoder(DecoderSettings(names=2), "test")
    add(one, v9(INTERFACES9, *(interface(number, f"Gi{number}", "") for number in range(1, 5))))
    assert len(names(one)) == 2
    assert counts(one)["names_refused"] == 2
    again = Decoder(DecoderSettings(), "test")
    again.restore(one.state())
    add(again, v9(interface(1, "Gi1", ""), interface(2, "Gi2", "new")))
    assert [row[3:6] for row in names(again)] == [(2, "Gi2", "new")]


def test_the_operators_word_is_over_the_exporters() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(INTERFACES9, interface(7, "Gi0/7", "old"), interface(8, "Gi0/8", "other")))
    names(one)
    one.override_interfaces(
        {("192.0.2.1", 7): Name("", "transit", 10**9), ("192.0.2.5", 1): Name("x", "y", 5)}, NOW * 1000
    )
    assert sorted(names(one), key=str) == [
        ("192.0.2.1", 0, "interface", 7, "", "transit", 10**9),
        ("192.0.2.1", 1, "interface", 7, "Gi0/7", "transit", 10**9),
        ("192.0.2.5", 0, "interface", 1, "x", "y", 5),
    ]
    add(one, v9(interface(7, "Gi0/7", "newer"), interface(8, "Gi0/8", "newer")))
    assert [row[3:] for row in names(one)] == [(7, "Gi0/7", "transit", 10**9), (8, "Gi0/8", "newer", 0)]
    one.override_interfaces({}, NOW * 1000)
    assert ("192.0.2.1", 1, "interface", 7, "Gi0/7", "newer", 0) in names(one)


@pytest.mark.parametrize(
    ("octets", "seconds", "in_if", "out_if", "flagged"),
    [
        (2_500_000, 9, 1, 2, False),  # 1 Mbit/s: 10 s with the second of slack allow twice 1.25 MB
        (2_500_001, 9, 1, 2, True),
        (2_500_001, 9, 2, 1, True),
        (2_500_001, 9, 3, 4, False),  # of unknown speed
        (250_000, 0, 1, 3, False),
        (250_001, 0, 1, 3, True),
    ],
)
def test_counters_beyond_an_interfaces_speed(octets: int, seconds: int, in_if: int, out_if: int, flagged: bool) -> None:
    one = Decoder(DecoderSettings(), "test")
    one.override_interfaces({("192.0.2.1", 1): Name(speed=10**6), ("192.0.2.1", 2): Name(speed=10**9)}, NOW * 1000)
    flows = template(256, (152, 8), (153, 8), (1, 4), (2, 4), (10, 4), (14, 4))
    record = struct.pack("!QQIIII", (NOW - seconds) * 1000, NOW * 1000, octets, 10**5, in_if, out_if)
    add(one, ipfix(flowset(2, flows), flowset(256, record)))
    ((flags,),) = rows(one, "flags")
    assert bool(flags & Flag.IMPLAUSIBLE) == flagged
    assert counts(one).get("rows_implausible", 0) == flagged


GOOD = 'exporter,interface,name,description,speed\n192.0.2.1,7,Gi0/7,"a, b",1000000000\n::ffff:192.0.2.2,1,,,\n'


def test_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text(GOOD)
    assert read_interfaces(tmp_path / "i.csv") == {
        ("192.0.2.1", 7): ("Gi0/7", "a, b", 10**9),
        ("192.0.2.2", 1): ("", "", 0),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1: the first line has to be exporter,interface,"),
        ("exporter,interface\n", "1: the first line has to be exporter,interface,"),
        (GOOD + "router,1,a,b,1\n", "4: exporter 'router' is no address"),
        (GOOD + "192.0.2.1,1,a,b\n", "4: 4 fields instead of 5"),
        (GOOD + "192.0.2.1,-1,a,b,1\n", "4: interface '-1' is no whole number"),
        (GOOD + "192.0.2.1,1,a,b,10G\n", "4: speed '10G' is no whole number"),
        (GOOD + "192.0.2.1,7,a,b,1\n", "4: interface 7 of 192.0.2.1 comes twice"),
        (GOOD + "192.0.2.1,9," + "a" * 300 + ",b,1\n", "4: a name or description longer"),
    ],
)
def test_a_bad_table_is_refused_whole(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(InterfaceFileError, match=f"i.csv:{reason}"):
        read_interfaces(tmp_path / "i.csv")


def test_a_table_is_read_again_when_it_changes_and_refused_once(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    file = InterfaceFile(path)
    with pytest.raises(InterfaceFileError, match="is not there"):
        file.read_if_changed()
    assert file.read_if_changed() is None
    path.write_text(GOOD)
    assert len(file.read_if_changed() or {}) == 2
    assert file.read_if_changed() is None
    path.write_text(GOOD + "bad\n")
    with pytest.raises(InterfaceFileError, match="1 fields"):
        file.read_if_changed()
    assert file.read_if_changed() is None
