"""What the simulated exporters send: their templates, and flows as records of these."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.encoder import EncodedSet, MessageEncoder, Template, Version, data_set, template_set

# Information elements: IANA IPFIX registry; below 128 the same in NetFlow v9.
_COMMON = ((10, 4), (14, 4), (16, 4), (17, 4), (7, 2), (11, 2), (4, 1), (6, 1), (5, 1))
_V9_V4 = Template(256, ((8, 4), (12, 4), *_COMMON, (9, 1), (13, 1), (2, 4), (1, 4), (22, 4), (21, 4)))
_V9_V6 = Template(257, ((27, 16), (28, 16), *_COMMON, (29, 1), (30, 1), (2, 4), (1, 4), (22, 4), (21, 4)))
_IPFIX_V4 = Template(256, ((8, 4), (12, 4), (15, 4), *_COMMON, (9, 1), (13, 1), (2, 8), (1, 8), (152, 8), (153, 8)))
_IPFIX_V6 = Template(257, ((27, 16), (28, 16), *_COMMON, (29, 1), (30, 1), (2, 8), (1, 8), (152, 8), (153, 8)))
FLOW_TEMPLATES: dict[Version, tuple[Template, Template]] = {9: (_V9_V4, _V9_V6), 10: (_IPFIX_V4, _IPFIX_V6)}
"""IPv4 and IPv6 template by version."""

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


def announcements(encoder: MessageEncoder, sampling: int | None) -> list[EncodedSet]:
    """Templates, and options data that tell the sampling interval; None: nothing is said of sampling."""
    version = encoder.version
    sets = [template_set(version, FLOW_TEMPLATES[version])]
    if sampling is None:
        return sets
    if version == 9:
        options = _V9_SAMPLING
        # A v9 scope of the system has no value of its own.
        records = options.records(1, {34: sampling, 35: 2})
    else:
        options = _IPFIX_SAMPLING
        records = options.records(1, {149: encoder.domain, 304: 1, 305: 1, 306: sampling - 1})
    return [*sets, template_set(version, [options]), data_set(options, records)]


def interface_names(version: Version) -> list[EncodedSet]:
    """Options data that name the exporter's interfaces, with their template."""
    template = _NAMES[version]
    texts = [np.array([pair[at] for pair in INTERFACES.values()], "S16").view("V16") for at in (0, 1)]
    scope = template.fields[0][0]
    records = template.records(len(INTERFACES), {scope: list(INTERFACES), 82: texts[0], 83: texts[1]})
    return [template_set(version, [template]), data_set(template, records)]


def flow_sets(encoder: MessageEncoder, flows: NDArray[np.void], end_ms: int) -> list[EncodedSet]:
    """Data sets of flows (dtype ``traffic.FLOW``) that ended ``age_ms`` before ``end_ms``, Unix milliseconds."""
    v4, v6 = FLOW_TEMPLATES[encoder.version]
    is_v6 = flows["is_v6"]
    return [
        data_set(template, _records(encoder, template, part, end_ms))
        for template, part in ((v4, flows[~is_v6]), (v6, flows[is_v6]))
        if len(part)
    ]


def record_octets(version: Version) -> Sequence[int]:
    """Octets of an IPv4 and of an IPv6 record."""
    return [template.dtype.itemsize for template in FLOW_TEMPLATES[version]]


def _records(encoder: MessageEncoder, template: Template, flows: NDArray[np.void], end_ms: int) -> NDArray[np.void]:
    end = end_ms - flows["age_ms"]
    start = end - flows["duration_ms"]
    source, destination = np.ascontiguousarray(flows["src"]), np.ascontiguousarray(flows["dst"])
    columns = {
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
        6: flows["tcp_flags"],
        5: flows["tos"],
        9: 24,
        13: 24,
        29: 48,
        30: 48,
        2: flows["packets"],
        1: flows["octets"],
        22: encoder.uptime(start),
        21: encoder.uptime(end),
        152: start,
        153: end,
    }
    return template.records(len(flows), columns)
