"""Chosen elements land in column ``extra`` by name; what is not chosen, empty or too much does not."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from collector.decoder import Decoder, extra
from collector.settings import DecoderSettings
from tests.wire import add, counts, flowset, ipfix, rows, take, template, v9

_IXIA = 3054


def extras(decoder: Decoder) -> list[dict[str, Any]]:
    return [json.loads(text) for (text,) in rows(decoder, "extra")]


def chosen(*choices: str, **others: Any) -> Decoder:
    return Decoder(DecoderSettings(extra=choices, **others), "test")


def test_nothing_chosen_is_one_blank_label() -> None:
    decoder = chosen()
    add(decoder, ipfix(flowset(2, template(256, (96, 65_535))), flowset(256, b"\x03dns\x04http")))
    batch = take(decoder)
    assert batch is not None
    assert batch.labels["extra"] == ("{}",)
    assert batch.columns["extra"].tolist() == [0, 0]


def test_elements_of_iana_and_of_an_enterprise() -> None:
    decoder = chosen("applicationName", "ixia:dnsQueryName=3054/189 string", "cpu=9/500")
    fields = (7, 2), (96, 65_535), (189, 65_535, _IXIA), (189, 2), (500, 4, 9)
    records = [
        (b"\x03dns", b"\x0bexample.com", 1),
        (b"\x04http", b"\x00", 2),  # an empty value is not there
        (b"\x03dns", b"\xff\0\x0bexample.com", 1),  # another length encoding, the same value
        (b"\x02\xff'", b'\x03a\n"', 0),
    ]
    body = b"".join(b"\0\x50" + app + name + b"\0\0" + struct.pack("!I", cpu) for app, name, cpu in records)
    add(decoder, ipfix(flowset(2, template(256, *fields)), flowset(256, body)))
    batch = take(decoder)
    assert batch is not None
    assert [json.loads(text) for text in batch.text("extra")] == [
        {"applicationName": "dns", "ixia:dnsQueryName": "example.com", "cpu": "1"},
        {"applicationName": "http", "cpu": "2"},
        {"applicationName": "dns", "ixia:dnsQueryName": "example.com", "cpu": "1"},
        {"applicationName": "\ufffd'", "ixia:dnsQueryName": 'a\n"', "cpu": "0"},
    ]
    assert len(batch.labels["extra"]) == 1 + 3


@pytest.mark.parametrize(
    ("choice", "field", "value", "text"),
    [
        ("sourceMacAddress", (56, 6), bytes.fromhex("0242ac110002"), "02:42:ac:11:00:02"),
        ("mplsTopLabelStackSection", (70, 3), b"\x00\x01\x01", "000101"),
        ("exporterIPv4Address", (130, 4), b"\xc0\0\x02\x01", "192.0.2.1"),
        ("exporterIPv6Address", (131, 16), bytes.fromhex("20010db8") + bytes(11) + b"\1", "2001:db8::1"),
        ("mibObjectValueInteger", (434, 2), b"\xff\xfe", "-2"),
        ("interfaceName", (82, 8), b"ge-0\0\0\0\0", "ge-0"),
        ("samplingProbability", (311, 8), struct.pack("!d", 0.5), "0.5"),
        ("dataRecordsReliability", (276, 1), b"\2", "false"),
        ("flowEndReason", (136, 1), b"\3", "3"),
        ("any=0/32000", (32_000, 9), bytes(8) + b"\1", "000000000000000001"),
    ],
)
def test_values_as_text(choice: str, field: tuple[int, int], value: bytes, text: str) -> None:
    decoder = chosen(choice)
    add(decoder, v9(flowset(0, template(256, (7, 2), field)), flowset(256, b"\0\x50" + value)))
    assert extras(decoder) == [{choice.partition("=")[0]: text}]


def test_values_of_equal_sums_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "_weights", lambda width: np.ones(width, "u8"))
    decoder = chosen("applicationName")
    add(decoder, ipfix(flowset(2, template(256, (96, 65_535))), flowset(256, b"\x02ab\x02ba\x02ab\x02cc")))
    assert [said["applicationName"] for said in extras(decoder)] == ["ab", "ba", "ab", "cc"]


def test_a_value_is_cut_and_a_batch_has_so_many_texts() -> None:
    decoder = chosen("applicationName", "flowId", rows=10_000)
    add(decoder, ipfix(flowset(2, template(256, (96, 65_535))), flowset(256, b"\xff\x03\xe8" + b"x" * 1000)))
    assert extras(decoder) == [{"applicationName": "x" * 255}]
    counts(decoder)
    add(decoder, ipfix(flowset(2, template(257, (148, 4)))))
    for first in range(0, 6000, 300):
        body = b"".join(struct.pack("!I", number + 1) for number in range(first, first + 300))
        add(decoder, ipfix(flowset(257, body)))
    batch = take(decoder)
    assert batch is not None
    assert len(batch.labels["extra"]) == 4096
    blank = batch.text("extra").count("{}")
    assert blank == counts(decoder)["rows_extra_refused"] == 6000 - 4095


def test_reverse_rows_have_them_too() -> None:
    decoder = chosen("applicationName")
    add(decoder, ipfix(flowset(2, template(256, (1, 1), (1, 1, 29_305), (96, 65_535))), flowset(256, b"\1\2\x03dns")))
    assert rows(decoder, "octets", "extra") == [(1, '{"applicationName":"dns"}'), (2, '{"applicationName":"dns"}')]


@pytest.mark.parametrize(
    "choice", ["", "noSuchElement", "a=1", "a=1/0", "a=1/40000", "a=4294967296/1", "a=1/2 text", "a b=1/2", "x=1/2 "]
)
def test_a_choice_that_means_nothing_is_refused(choice: str) -> None:
    with pytest.raises(ValidationError):
        DecoderSettings(extra=(choice,))


def test_a_name_stands_for_one_element() -> None:
    with pytest.raises(ValidationError, match="chosen twice: a"):
        DecoderSettings(extra=("a=1/2", "a=1/3"))
