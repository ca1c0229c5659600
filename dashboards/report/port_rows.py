"""The rows of a week's port table, from the octets of its lower ports."""

import numpy as np
from numpy.typing import NDArray

from dashboards.report.model import ALL, DYNAMIC, OTHER, WELL_KNOWN, Port

TCP, UDP = 6, 17
LISTED = {TCP: (0, 22, 80, 183, 443, 993, 1935, 8080, 31000), UDP: (0, 53, 443, 4500, 8801, 51820)}
"""Lower ports that have a row whatever they carry: the published ones, and 0, where fragments are found."""
PROTOCOLS = (1, 4, 41, 47, 50, 58)
"""ICMP, IP in IP, IPv6 in IP, GRE, ESP and ICMPv6 have a row each and no ports."""
LARGEST = 500
"""Lower ports of each of TCP and UDP, by octets, that have a row too."""
_DYNAMIC = 1_024  # the first of them
_VERSIONS = (4, 6)

Column = NDArray[np.int64]


def port_rows(
    access: str, version: Column, proto: Column, port: Column, octets: Column, packets: Column
) -> tuple[Port, ...]:
    """Of one access; shares are of its octets of both IP versions.  None where it has no octets."""
    total = int(octets.sum())
    if not total:
        return ()
    found: list[Port] = []

    def add(of_proto: int, of_port: int, sums: Column) -> None:
        """Rows of both IP versions; ``sums`` are octets and packets of each."""
        for of_version, (carried, seen) in zip(_VERSIONS, sums.tolist(), strict=True):
            found.append(Port(access, of_version, of_proto, of_port, carried, seen, carried / total))

    six = (version == 6).astype("i8")
    values = np.stack([octets, packets], axis=1)

    def sums_of(which: NDArray[np.bool_]) -> Column:
        return np.stack([values[which & (six == each)].sum(axis=0) for each in (0, 1)])

    add(0, ALL, sums_of(np.ones(len(octets), bool)))
    for number in PROTOCOLS:
        add(number, ALL, sums_of(proto == number))
    add(OTHER, ALL, sums_of(~np.isin(proto, (TCP, UDP, *PROTOCOLS))))
    for number in (TCP, UDP):
        mine = proto == number
        by_port = np.zeros((2, 1 << 16, 2), "i8")  # IP version, port, octets and packets
        np.add.at(by_port, (six[mine], port[mine]), values[mine])
        add(number, ALL, by_port.sum(axis=1))
        add(number, WELL_KNOWN, by_port[:, :_DYNAMIC].sum(axis=1))
        add(number, DYNAMIC, by_port[:, _DYNAMIC:].sum(axis=1))
        for lower in sorted({*LISTED[number], *_largest(by_port[:, :, 0].sum(axis=0))}):
            add(number, lower, by_port[:, lower])
    return tuple(sorted(found, key=lambda row: (row.ip_version, row.proto, row.port)))


def _largest(octets: Column) -> list[int]:
    """The ports that carry most, of equal ones the lowest; none that carries nothing."""
    order = np.argsort(-octets, kind="stable")[:LARGEST]
    ports: list[int] = order[octets[order] > 0].tolist()
    return ports
