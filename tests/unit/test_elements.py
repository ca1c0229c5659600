"""``flowtide elements`` tells what the decoder does: each element fills its column, at each length listed."""

from collections.abc import Iterator

import pytest

from collector.decoder import Decoder
from collector.decoder.build_registry import table, unit
from collector.decoder.registry import by_name, elements
from collector.settings import DecoderSettings
from flowtide.elements import lines, show
from tests.wire import add, counts, flowset, ipfix, rows, template

_TOGETHER = {231: 232, 232: 231, 298: 299, 299: 298, 176: 177, 177: 176, 178: 179, 179: 178, 309: 310, 310: 309}
_NOT_ALONE = {21, 22, 48, 302, 306, 304}  # uptimes want an init time, samplers options data


def iana() -> Iterator[tuple[str, int, int]]:
    for line in lines(()):
        if line.pen == 0 and line.element not in _NOT_ALONE:
            first, _, last = line.lengths.partition("-")
            for length in range(int(first), int(last or first) + 1):
                yield line.column, line.element, length


@pytest.mark.parametrize(("column", "element", "length"), sorted(iana()))
def test_a_listed_element_fills_its_column(column: str, element: int, length: int) -> None:
    value = 6 if column == "ip_version" else 5
    octets = value.to_bytes(length, "big")
    fields = [(element, length), *([(_TOGETHER[element], 1)] if element in _TOGETHER else [])]
    decoder = Decoder(DecoderSettings(), "test")
    blank = Decoder(DecoderSettings(), "test")
    body = octets + ((b"\xc8" if element == 309 else b"\1") if element in _TOGETHER else b"")
    add(decoder, ipfix(flowset(2, template(256, *fields)), flowset(256, body)))
    add(blank, ipfix(flowset(2, template(256, (210, 1))), flowset(256, b"\0")))
    counted = counts(decoder)
    assert "fields_ignored" not in counted
    if column in ("ts", "ts_start"):
        ((flags,),) = rows(decoder, "flags")
        assert not flags & 1  # NO_FLOW_TIME: the record has one, if not one to believe
    else:
        assert rows(decoder, column) != rows(blank, column)


def test_reverse_and_chosen_elements_are_listed() -> None:
    found = lines(("ixia:dnsQueryName=3054/189 string", "applicationName"))
    reverse = {line.element: line.name for line in found if line.pen == 29_305}
    assert reverse[1] == "reverseOctetDeltaCount"
    assert "ixia:dnsQueryName" in show(found, 3054)
    assert [line.element for line in found if line.column == "extra['applicationName']"] == [96]
    assert "no element of PEN 9" in show(found, 9)


def test_registry_has_what_the_rfcs_say() -> None:
    """RFC 5102 sections 5.1-5.11, RFC 5477 section 8, RFC 8038, RFC 9487, by hand."""
    expected = {
        1: ("octetDeltaCount", "unsigned64", "octets"), 8: ("sourceIPv4Address", "ipv4Address", ""),
        58: ("vlanId", "unsigned16", ""), 82: ("interfaceName", "string", ""),
        152: ("flowStartMilliseconds", "dateTimeMilliseconds", "milliseconds"),
        161: ("flowDurationMilliseconds", "unsigned32", "milliseconds"),
        86: ("packetTotalCount", "unsigned64", "packets"),
        192: ("ipTTL", "unsigned8", "hops"), 311: ("samplingProbability", "float64", ""),
        56: ("sourceMacAddress", "macAddress", ""), 292: ("subTemplateList", "subTemplateList", ""),
        445: ("mibObjectIdentifier", "octetArray", ""), 494: ("srhSegmentIPv6", "ipv6Address", ""),
    }  # fmt: skip
    for number, said in expected.items():
        assert elements()[number][1:] == said
        assert by_name()[said[0].lower()].number == number
    assert len(by_name()) == len(elements()) > 450


def test_the_table_is_read_from_its_source_form() -> None:
    found = table("octetDeltaCount(1)<unsigned64>[8]\nsourceMacAddress(56)<macAddress>[6]\n")
    assert found[1] == ("octetDeltaCount", "unsigned64")
    assert found[56] == ("sourceMacAddress", "macAddress")
    assert found[494] == ("srhSegmentIPv6", "ipv6Address")
    assert (unit(*found[1]), unit(*found[56])) == ("octets", "")
