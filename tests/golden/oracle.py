"""What a capture's oracle says each row must be, column by column; plain Python, shares nothing with the decoder.

An expected row is a dictionary of all columns that the oracle settles.  Times are Unix milliseconds, addresses text,
IPv4 where the address is IPv4, and "" for none.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Any

from sinks.schema import Flag, SamplingSource
from tests.golden.frames import read_frame
from tests.shared import shared_folder

Row = dict[str, Any]

_LARGEST_PACKET = 65_575
_UNSIGNED = {
    "src_port": ("sourceTransportPort", "udpSourcePort", "tcpSourcePort"),
    "dst_port": ("destinationTransportPort", "udpDestinationPort", "tcpDestinationPort"),
    "proto": ("protocolIdentifier",),
    "tcp_flags": ("tcpControlBits",),
    "in_if": ("ingressInterface", "ingressPhysicalInterface"),
    "out_if": ("egressInterface", "egressPhysicalInterface"),
    "src_as": ("bgpSourceAsNumber",),
    "dst_as": ("bgpDestinationAsNumber",),
    "vlan": ("vlanId", "dot1qVlanId", "postVlanId"),
    "tos": ("ipClassOfService",),
}
_FOUR = {
    "src_addr": ("sourceIPv4Address", "sourceIPv4Prefix"),
    "dst_addr": ("destinationIPv4Address", "destinationIPv4Prefix"),
}
_SIX = {
    "src_addr": ("sourceIPv6Address", "sourceIPv6Prefix"),
    "dst_addr": ("destinationIPv6Address", "destinationIPv6Prefix"),
}
_OCTETS = (
    ("octetDeltaCount",), ("postOctetDeltaCount",), ("octetTotalCount",), ("initiatorOctets", "responderOctets"),
)  # fmt: skip
_PACKETS = (
    ("packetDeltaCount",), ("postPacketDeltaCount",), ("packetTotalCount",), ("initiatorPackets", "responderPackets"),
)  # fmt: skip
_ICMP = (
    ("icmpTypeCodeIPv4",), ("icmpTypeCodeIPv6",), ("icmpTypeIPv4", "icmpCodeIPv4"), ("icmpTypeIPv6", "icmpCodeIPv6"),
)  # fmt: skip
_SWAPPED = (("src_addr", "dst_addr"), ("src_port", "dst_port"), ("in_if", "out_if"), ("src_as", "dst_as"),
            ("src_mask", "dst_mask"))  # fmt: skip


@cache
def index() -> dict[str, dict[str, Any]]:
    """The captures by name."""
    lines = shared_folder("captures", "index.jsonl").read_text().splitlines()
    return {each["name"]: each for each in map(json.loads, lines)}


@cache
def records(name: str) -> tuple[dict[str, Any], ...]:
    """All records of a capture's oracle, in order of arrival."""
    lines = shared_folder("captures", "oracle", f"{name}.jsonl").read_text().splitlines()
    return tuple(map(json.loads, lines))


@dataclass
class Expected:
    """Expected rows by number of the packet in the capture."""

    rows: dict[int, list[Row]] = field(default_factory=dict)
    options: int = 0

    def all(self) -> list[Row]:
        """All of them, in order."""
        return [row for _, rows in sorted(self.rows.items()) for row in rows]


def expected(name: str) -> Expected:
    """The rows that a capture holds by its oracle; reverse halves behind their records."""
    found = Expected()
    said = _Said(records(name))
    for record in records(name):
        fields = {key: value[0] if isinstance(value, list) else value for key, value in record["fields"].items()}
        if record["kind"] == "options":
            found.options += 1
            continue
        rows = found.rows.setdefault(record["packet"], [])
        row = _sample(record, fields) if record["kind"] == "sample" else _flow(record, fields, said)
        rows.append(row)
        rows += _reverse(row, fields)
    return found


def _flow(record: dict[str, Any], fields: Row, said: "_Said") -> Row:
    row: Row = {"exporter": str(ip_address(record["exporter"])), "domain": record["domain"], "copy": 0}
    if record["version"] == 5:
        row["domain"] = record["engineType"] << 8 | record["domain"]
    row |= {name: _first(fields, elements) for name, elements in _UNSIGNED.items()}
    row |= _addresses(fields)
    row["octets"], row["packets"] = _together(fields, _OCTETS), _together(fields, _PACKETS)
    row["icmp"] = _icmp(fields)
    six = row["ip_version"] == 6
    for column, way in (("src_mask", "source"), ("dst_mask", "destination")):
        four_mask, six_mask = fields.get(f"{way}IPv4PrefixLength"), fields.get(f"{way}IPv6PrefixLength")
        chosen = six_mask if four_mask is None or (six and six_mask is not None) else four_mask
        row[column] = chosen or 0
    if "dataLinkFrameSection" in fields:
        seen = read_frame(bytes.fromhex(fields["dataLinkFrameSection"]))
        size = seen.pop("octets")
        row |= {key: value for key, value in seen.items() if not row.get(key)}
        if "octetDeltaCount" not in fields:
            row["octets"], row["packets"] = fields.get("dataLinkFrameSize", size), 1
    row["flags"] = 0
    start, end = record["startMs"], record["endMs"]
    if start is None and end is None:
        observed = fields.get("observationTimeMilliseconds")
        micros = fields.get("observationTimeMicroseconds")
        start = end = observed or (micros // 1000 if micros else None)
    if start is None and "flowEndSysUpTime" in fields and (init := said.init_ms(record)):
        # The oracle reads a packet's records in order; what its options data say holds for the packet.
        start, end = init + fields["flowStartSysUpTime"], init + fields["flowEndSysUpTime"]
    if start is None and end is None:
        start = end = record["exportTime"] * 1000
        row["flags"] |= Flag.NO_FLOW_TIME.value
        if not start:  # an export time of 1970 is no time either (design: ts = received)
            row["flags"] |= Flag.TIME_OUT_OF_BOUNDS.value
    row["ts"] = start if end is None else end
    row["ts_start"] = end if start is None else start
    row["sampling"], row["sampling_source"] = said.of(record, fields)
    if row["sampling_source"] == SamplingSource.UNKNOWN:
        row["flags"] |= Flag.SAMPLING_UNKNOWN.value
    if row["octets"] > row["packets"] * _LARGEST_PACKET and _together_present(fields, _PACKETS):
        row["flags"] |= Flag.IMPLAUSIBLE.value
    return row


def _sample(record: dict[str, Any], fields: Row) -> Row:
    vlan = fields["vlanId"]
    row: Row = {"exporter": str(ip_address(record["exporter"])), "domain": record["domain"], "copy": 0, "flags": 0}
    row |= {name: _first(fields, elements) for name, elements in _UNSIGNED.items() if name not in ("vlan", "tos")}
    row |= _addresses(fields)
    for column in ("in_if", "out_if"):
        row[column] = _interface(row[column], "inputIfFormat" in fields)
    if row["ip_version"] == 6 and row["proto"] == 0:
        # scapy's first next header; hop by hop is no protocol, and RFC 7012 wants that of the last extension header
        del row["proto"]
    if row.get("proto") == 132:
        # the header was read without SCTP; scapy with it is asked in tests/properties
        del row["src_port"], row["dst_port"]
    # sFlow: the AS path leads to the destination, which is this AS where it is empty
    row["dst_as"] = (record["fields"].get("asPath") or [0])[-1]
    row["next_hop"] = _text(fields.get("nextHop"))
    row |= {"octets": fields["frameLength"], "packets": 1}
    if vlan < 2**12:  # 4294967295: the agent does not know it; what the header says then, the oracle does not
        row["vlan"] = vlan
    row["sampling"], row["sampling_source"] = fields["samplingRate"], SamplingSource.HEADER.value
    return row


def _interface(said: int, expanded: bool) -> int:
    """sFlow's interface formats: of the compact ones only 0 in the upper two bits names one; 0x3fffffff is none."""
    return 0 if said == 0x3FFFFFFF or (said >> 30 and not expanded) else said


def _first(fields: Row, elements: tuple[str, ...]) -> int:
    return next((fields[element] for element in elements if element in fields), 0)


def _together(fields: Row, alternatives: tuple[tuple[str, ...], ...]) -> int:
    for elements in alternatives:
        if all(element in fields for element in elements):
            return sum(fields[element] for element in elements)
    return 0


def _together_present(fields: Row, alternatives: tuple[tuple[str, ...], ...]) -> bool:
    return any(all(element in fields for element in elements) for elements in alternatives)


def _icmp(fields: Row) -> int:
    for elements in _ICMP:
        values = [int(fields[element]) for element in elements if element in fields]
        if len(values) == len(elements):
            return values[0] if len(values) == 1 else values[0] << 8 | values[1]
    return 0


def _addresses(fields: Row) -> Row:
    """Addresses and the version; a record that has both families is IPv6 where its IPv4 fields are zero."""
    four = {column: _text(_any(fields, names)) for column, names in _FOUR.items()}
    six = {column: _text(_any(fields, names)) for column, names in _SIX.items()}
    has_four = any(name in fields for names in _FOUR.values() for name in names)
    has_six = any(name in fields for names in _SIX.values() for name in names)
    zero = all(value in ("", "0.0.0.0") for value in four.values())
    use_six = has_six and (not has_four or (zero and any(six.values())))
    row: Row = dict(six if use_six else four)
    row["ip_version"] = 6 if use_six else 4 if has_four else 0
    if fields.get("ipVersion") in (4, 6):
        row["ip_version"] = fields["ipVersion"]
    near = _any(fields, ("ipNextHopIPv4Address", "bgpNextHopIPv4Address"))
    far = _any(fields, ("ipNextHopIPv6Address", "bgpNextHopIPv6Address"))
    row["next_hop"] = _text(far if far is not None and near in (None, "0.0.0.0") else near)
    return row


def _any(fields: Row, names: tuple[str, ...]) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


def _text(address: str | None) -> str:
    """As we show it: IPv4 where it is IPv4, mapped or not."""
    if address in (None, "::"):
        return ""
    found = ip_address(address)
    return str(getattr(found, "ipv4_mapped", None) or found)


def _reverse(row: Row, fields: Row) -> Iterator[Row]:
    """RFC 5103: the row of the other direction, where it has counted anything."""
    back = {
        key.removeprefix("reverse")[0].lower() + key.removeprefix("reverse")[1:]: value
        for key, value in fields.items()
        if key.startswith("reverse")
    }
    octets, packets = _together(back, _OCTETS), _together(back, _PACKETS)
    if not octets and not packets:
        return
    other = row | {"copy": 2, "octets": octets, "packets": packets, "tcp_flags": back.get("tcpControlBits", 0)}
    for one, two in _SWAPPED:
        other[one], other[two] = row[two], row[one]
    if "ipClassOfService" in back:
        other["tos"] = back["ipClassOfService"]
    yield other


class _Said:
    """What the options records of the capture say before or in the packet of a flow record."""

    def __init__(self, all_records: tuple[dict[str, Any], ...]) -> None:
        self._all = all_records

    def of(self, record: dict[str, Any], fields: Row) -> tuple[int, int]:
        """Interval and its source of a flow record."""
        if record["version"] == 5:
            interval = record["samplingInterval"]
            return (interval, SamplingSource.HEADER.value) if interval else (1, SamplingSource.ASSUMED.value)
        own = _interval(fields)
        if own:
            return own, SamplingSource.RECORD.value
        named = fields.get("selectorId", fields.get("samplerId"))
        above: int | None = None
        for options in self._all:
            if options["kind"] != "options" or options["packet"] > record["packet"]:
                continue
            if (options["exporter"], options["domain"]) != (record["exporter"], record["domain"]):
                continue
            said = options["fields"] | options["scope"]
            interval = _interval({key: _one(value) for key, value in said.items()})
            about = said.get("selectorId", said.get("samplerId"))
            if interval and about is None:
                above = interval
            elif interval and about == named:
                return interval, SamplingSource.SAMPLER.value
        if named:
            return 1, SamplingSource.UNKNOWN.value
        return (1, SamplingSource.ASSUMED.value) if above is None else (above, SamplingSource.DOMAIN.value)

    def init_ms(self, record: dict[str, Any]) -> int | None:
        """When the exporter's uptime was 0, by options data of the record's own packet."""
        for options in self._all:
            if options["kind"] == "options" and options["packet"] == record["packet"]:
                return options["fields"].get("systemInitTimeMilliseconds")  # type: ignore[no-any-return]
        return None


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _interval(said: Row) -> int:
    """N of 1-in-N that one record says; 0: nothing.  RFC 5477 sections 8.2 and 8.3, RFC 3954 section 8."""
    if said.get("samplingSize") and said.get("samplingPopulation"):
        return round(int(said["samplingPopulation"]) / int(said["samplingSize"]))
    if packets := said.get("samplingPacketInterval"):
        space = said.get("samplingPacketSpace")
        return int(packets if space is None else round((packets + space) / packets))
    return int(said.get("samplerRandomInterval") or said.get("samplingInterval") or 0)
