"""What the simulated exporters send over NetFlow v9 and IPFIX: their templates, and flows as records of these."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowtide.simulator.encoder import (
    VARIABLE,
    EncodedSet,
    Field,
    MessageEncoder,
    Template,
    Version,
    data_set,
    octets_set,
    template_set,
)

Form = Literal["fixed", "variable", "biflow"]

REVERSE = 29_305
"""Enterprise number of the elements of the other direction (RFC 5103 section 6.1)."""

# Information elements: IANA IPFIX registry; below 128 the same in NetFlow v9.
_COMMON: tuple[Field, ...] = ((10, 4), (14, 4), (16, 4), (17, 4), (7, 2), (11, 2), (4, 1), (6, 1), (5, 1))
_V9_END: tuple[Field, ...] = ((2, 4), (1, 4), (22, 4), (21, 4))
_IPFIX_END: tuple[Field, ...] = ((2, 8), (1, 8), (152, 8), (153, 8))
_ENDS: dict[Version, tuple[Field, ...]] = {9: _V9_END, 10: _IPFIX_END}
_V4: tuple[Field, ...] = ((8, 4), (12, 4))
_V6: tuple[Field, ...] = ((27, 16), (28, 16))
_NEXT_HOP: dict[Version, tuple[Field, ...]] = {9: (), 10: ((15, 4),)}
# The name of the application in the midst of the record, so that what is behind it moves with its length.
_NAME: tuple[Field, ...] = ((96, VARIABLE),)
# The direction of a biflow is arbitrary (element 239 is 0): who began it is not known here.
_BACKWARD: tuple[Field, ...] = (
    (239, 1), (2, 8, REVERSE), (1, 8, REVERSE), (6, 1, REVERSE), (152, 8, REVERSE), (153, 8, REVERSE),
)  # fmt: skip

_APPLICATIONS = {
    (6, 443): "tls", (17, 443): "quic", (6, 80): "http", (17, 53): "dns", (6, 22): "ssh", (6, 993): "imaps",
    (17, 4500): "ipsec-nat-t", (6, None): "tcp", (17, None): "udp", (50, None): "esp", (47, None): "gre",
    (1, None): "icmp", (58, None): "ipv6-icmp", (None, None): "",
}  # fmt: skip
"""Names by protocol and lower port, None: any other.  One is empty, as a length of 0 is allowed, too."""
_TEXTS = list(_APPLICATIONS.values())
# RFC 7011 section 7: the length is one octet, or 255 and two octets; a short text may have the long form.
_CODED = [form + text.encode() for text in _TEXTS for form in (bytes([len(text)]), b"\xff\0" + bytes([len(text)]))]
_ROOM = max(map(len, _CODED))
_CODED_TEXTS = np.array([coded.ljust(_ROOM, b"\0") for coded in _CODED], f"V{_ROOM}")
_CODED_OCTETS = np.array([len(coded) for coded in _CODED])
_LONG_EVERY = 8

# Scope type 1 is the system (RFC 3954 section 6.1); 34 is the sampling interval, 35 its algorithm (2: random).
_V9_SAMPLING = Template(260, ((1, 4), (34, 4), (35, 1)), scopes=1)
# The observation domain (149) takes 1 packet (305) and skips 999 (306): RFC 5477 section 8.2.
_IPFIX_SAMPLING = Template(260, ((149, 4), (304, 2), (305, 4), (306, 4)), scopes=1)

# Interface (scope type 2 in NetFlow v9, the ingress interface in IPFIX), its name and its description.
_NAMES: dict[Version, Template] = {
    9: Template(261, ((2, 4), (82, 16), (83, 16)), scopes=1),
    10: Template(261, ((10, 4), (82, 16), (83, 16)), scopes=1),
}
INTERFACES = {
    **{line: (f"ge-0/0/{line}", f"access lines {line}") for line in range(1, 5)},
    **{uplink: (f"xe-1/0/{uplink - 101}", f"uplink {uplink - 100}") for uplink in (101, 102)},
}
"""Name and description of every interface that flows pass, the same at all exporters."""


@dataclass(frozen=True, slots=True)
class Templates:
    """All that an exporter announces; ids are 256 to 261, and 16 higher after each restart."""

    v4: Template
    v6: Template
    sampling: Template
    names: Template
    form: Form = "fixed"

    @classmethod
    def of(cls, version: Version, form: Form = "fixed", restarts: int = 0) -> "Templates":
        """Those of a version and a form (of IPFIX only)."""
        middle = _NAME if form == "variable" else ()
        behind = _BACKWARD if form == "biflow" else ()
        end = (*middle, (9, 1), (13, 1), *_ENDS[version], *behind)
        v4 = Template(256, (*_V4, *_NEXT_HOP[version], *_COMMON, *end), room=_ROOM)
        end = (*middle, (29, 1), (30, 1), *_ENDS[version], *behind)
        v6 = Template(257, (*_V6, *_COMMON, *end), room=_ROOM)
        sampling = _V9_SAMPLING if version == 9 else _IPFIX_SAMPLING
        step = 16 * (restarts % 4_000)  # ids end at 65,535

        def moved(template: Template) -> Template:
            return replace(template, template_id=template.template_id + step)

        return cls(moved(v4), moved(v6), moved(sampling), moved(_NAMES[version]), form)


_FIXED: dict[Version, Templates] = {9: Templates.of(9), 10: Templates.of(10)}
FLOW_TEMPLATES: dict[Version, tuple[Template, Template]] = {
    version: (each.v4, each.v6) for version, each in _FIXED.items()
}
"""IPv4 and IPv6 template by version."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one template in one piece; ``ends`` (n + 1,) says where each begins, and the last ends."""

    template_id: int
    octets: memoryview
    ends: NDArray[np.int64]

    def part(self, begin: int, end: int) -> EncodedSet:
        """A set of these records."""
        octets = self.octets[int(self.ends[begin]) : int(self.ends[end])]
        return octets_set(self.template_id, octets, end - begin)


def announcements(
    encoder: MessageEncoder, sampling: int | None, templates: Templates | None = None
) -> list[EncodedSet]:
    """Templates, and options data that tell the sampling interval; None: nothing is said of sampling."""
    version = encoder.version
    templates = templates or _FIXED[version]
    sets = [template_set(version, [templates.v4, templates.v6])]
    if sampling is None:
        return sets
    options = templates.sampling
    if version == 9:
        # A v9 scope of the system has no value of its own.
        records = options.records(1, {34: sampling, 35: 2})
    else:
        # An interval of 0 has no packet that is taken.
        taken, skipped = min(sampling, 1), max(sampling - 1, 0)
        records = options.records(1, {149: encoder.domain, 304: 1, 305: taken, 306: skipped})
    return [*sets, template_set(version, [options]), data_set(options, records)]


def interface_names(version: Version, templates: Templates | None = None) -> list[EncodedSet]:
    """Options data that name the exporter's interfaces, with their template."""
    template = (templates or _FIXED[version]).names
    texts = [np.array([pair[at] for pair in INTERFACES.values()], "S16").view("V16") for at in (0, 1)]
    scope = template.fields[0][0]
    records = template.records(len(INTERFACES), {scope: list(INTERFACES), 82: texts[0], 83: texts[1]})
    return [template_set(version, [template]), data_set(template, records)]


def flow_sets(encoder: MessageEncoder, flows: NDArray[np.void]) -> list[EncodedSet]:
    """Data sets of flows (dtype ``flow.FLOW``) in fixed records: those of IPv4, then those of IPv6."""
    is_v6 = flows["is_v6"]
    parts = zip(FLOW_TEMPLATES[encoder.version], (flows[~is_v6], flows[is_v6]), strict=True)
    return [flow_records(encoder, template, part).part(0, len(part)) for template, part in parts if len(part)]


def flow_records(
    encoder: MessageEncoder, template: Template, flows: NDArray[np.void], backward: NDArray[np.void] | None = None
) -> Records:
    """Flows of one address family as records of its template.

    ``backward``: to each flow its reverse, of a template that has elements of it.
    """
    columns: dict[int | tuple[int, int], ArrayLike] = flow_columns(encoder, flows)
    if backward is not None:
        columns.update({(element, REVERSE): value for element, value in _counters(backward)})
    variable = any(field[1] == VARIABLE for field in template.fields)
    if variable:
        coded = _applications(flows)
        columns[96] = _CODED_TEXTS[coded]
    records = template.records(len(flows), columns)
    if not variable:
        ends = np.arange(len(flows) + 1) * template.dtype.itemsize
        return Records(template.template_id, memoryview(records.tobytes()), ends)
    used = _CODED_OCTETS[coded]
    begin = template.offset(96)
    keep = np.ones((len(flows), template.dtype.itemsize), np.bool_)
    keep[:, begin : begin + _ROOM] = np.arange(_ROOM) < used[:, None]
    octets = records.view(np.uint8).reshape(keep.shape)[keep]
    ends = np.concatenate([[0], np.cumsum(template.dtype.itemsize - _ROOM + used)])
    return Records(template.template_id, memoryview(octets.tobytes()), ends)


def record_octets(templates: Templates, flows: NDArray[np.void]) -> NDArray[np.int64]:
    """Of each flow's record."""
    octets = np.where(flows["is_v6"], templates.v6.dtype.itemsize, templates.v4.dtype.itemsize)
    return octets + _CODED_OCTETS[_applications(flows)] - _ROOM if templates.form == "variable" else octets


def conversations(flows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Of flows each, whether the next one is its reverse, so that the two are one biflow.

    That is: the same user, protocol and address family, addresses and ports exchanged.  No flow is in two pairs.
    """
    pairs = np.zeros(len(flows), np.bool_)
    one, other = flows[:-1], flows[1:]
    pairs[:-1] = one["user"] == other["user"]
    for left, right in (("proto", "proto"), ("is_v6", "is_v6"), ("src_port", "dst_port"), ("dst_port", "src_port")):
        pairs[:-1] &= one[left] == other[right]
    for left, right in (("src", "dst"), ("dst", "src")):
        pairs[:-1] &= (one[left] == other[right]).all(axis=1)
    # In a row of such flows every second one begins a pair.
    at = np.arange(len(flows))
    begins = pairs & ~np.concatenate([[False], pairs[:-1]])
    chosen: NDArray[np.bool_] = pairs & ((at - np.maximum.accumulate(np.where(begins, at, 0))) % 2 == 0)
    return chosen


def _counters(flows: NDArray[np.void]) -> list[tuple[int, Any]]:
    """Columns that a biflow has for each direction."""
    names = {1: "octets", 2: "packets", 6: "tcp_flags", 152: "start_ms", 153: "end_ms"}
    return [(element, flows[name]) for element, name in names.items()]


def flow_columns(encoder: MessageEncoder, flows: NDArray[np.void]) -> dict[int | tuple[int, int], Any]:
    """What a template may have of flows (dtype ``flow.FLOW``), by element."""
    source, destination = np.ascontiguousarray(flows["src"]), np.ascontiguousarray(flows["dst"])
    return {
        8: source[:, 12:].copy().view(">u4")[:, 0],
        12: destination[:, 12:].copy().view(">u4")[:, 0],
        27: source.view("V16")[:, 0],
        28: destination.view("V16")[:, 0],
        10: flows["in_if"],
        14: flows["out_if"],
        16: flows["src_as"],
        17: flows["dst_as"],
        7: flows["src_port"],
        11: flows["dst_port"],
        4: flows["proto"],
        5: flows["tos"],
        9: 24,
        13: 24,
        29: 48,
        30: 48,
        22: encoder.uptime(flows["start_ms"]),
        21: encoder.uptime(flows["end_ms"]),
        **dict(_counters(flows)),
    }


def _applications(flows: NDArray[np.void]) -> NDArray[np.int64]:
    """Which of ``_CODED``: by protocol and lower port, every eighth source port in the long form."""
    lower = np.minimum(flows["src_port"], flows["dst_port"])
    found = np.full(len(flows), _TEXTS.index(""))
    # From the last to the first: a port's name goes over its protocol's.
    for at, (proto, port) in reversed(list(enumerate(_APPLICATIONS))):
        if proto is not None:
            found[(flows["proto"] == proto) & (True if port is None else lower == port)] = at
    coded: NDArray[np.int64] = 2 * found + (flows["src_port"] % _LONG_EVERY == 0)
    return coded
