"""A week's volume by port: rows of a port table, their shares, and differences between two weeks."""

from dataclasses import replace
from typing import NamedTuple

from dashboards.report.model import (
    ALL,
    DYNAMIC,
    OTHER,
    WELL_KNOWN,
    Material,
    Number,
    ServiceWeek,
)
from dashboards.report.statistics import share_error
from dashboards.report.telling import PORT_ACCESS, between, number_of, port_population
from dashboards.report.weeks import is_published, key
from dashboards.report.words import change

TABLES = {"fixed": "table-3", "mobile": "table-4"}
TCP, UDP = 6, 17
HTTPS = 443
PROTOCOLS = {
    6: "TCP", 17: "UDP", 50: "ESP", 47: "GRE", 4: "IP-ENCAP", 1: "ICMP", 41: "IPv6-in-IP", 58: "ICMPv6", OTHER: "other",
}  # fmt: skip
GROUPS = {WELL_KNOWN: "<1024", DYNAMIC: ">=1024"}
NAMES = {443: "https", 80: "http", 993: "imaps", 22: "ssh", 1935: "rtmp", 4500: "nat-t", 53: "dns", 0: "fragment"}
"""Of lower ports, as the source report prints them."""

SHARE = "estimated octets of this row over those of all protocols, both directions; the port is the lower one"


class Part(NamedTuple):
    """A row of a port table: share 0 to 1, octets and sampled packets."""

    share: float
    octets: int
    packets: int


class Parts:
    """A week's port table, by protocol and port, of the access whose ports are known."""

    def __init__(self, week: ServiceWeek, ip_version: int | None = None) -> None:
        self.week = week
        self._parts: dict[tuple[int, int], Part] = {}
        for port in week.ports:
            if port.access == PORT_ACCESS[week.service] and ip_version in (None, port.ip_version):
                share, octets, packets = self._parts.get((port.proto, port.port), Part(0.0, 0, 0))
                self._parts[port.proto, port.port] = Part(
                    share + port.share, octets + port.octets, packets + port.packets
                )

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def whole(self) -> Part:
        """All protocols."""
        if (0, ALL) in self._parts:
            return self._parts[0, ALL]
        each = [part for (proto, port), part in self._parts.items() if proto and port == ALL]
        return Part(*(sum(column) for column in zip(*each, strict=True))) if each else Part(0.0, 0, 0)

    def at(self, proto: int, port: int) -> Part | None:
        """One row; nothing of a port was seen where a measured week has no row, a published one has not told it."""
        found = self._parts.get((proto, port))
        if found is None and self._parts and not is_published(self.week):
            return Part(0.0, 0, 0)
        return found

    def ports(self) -> list[tuple[int, int]]:
        """Single lower ports, the largest first."""
        single = [at for at in self._parts if at[1] >= 0]
        return sorted(single, key=lambda at: (-self._parts[at].octets, -self._parts[at].share, at))


def row_id(proto: int, port: int) -> str:
    """Of a row in a number's id: tcp, tcp/443, tcp/<1024, esp."""
    name = PROTOCOLS.get(proto, str(proto)).lower()
    return name if port == ALL else f"{name}/{GROUPS.get(port, port)}"


def row_name(proto: int, port: int) -> str:
    """Of a row as it is printed in words: TCP 443."""
    name = PROTOCOLS.get(proto, f"protocol {proto}")
    return name if port == ALL else f"{name} {GROUPS.get(port, port)}"


def share(table: Parts, proto: int, port: int, item: str = "") -> Number | None:
    """A row's share in percent; None where it was not told."""
    week, part = table.week, table.at(proto, port)
    if part is None:
        return None
    packets = table.whole.packets
    error = None if is_published(week) else share_error(min(1.0, part.share), packets, week.quality.sampling)
    return number_of(
        week,
        f"{item or TABLES[week.service]}/{key(week)}/{row_id(proto, port)}",
        100 * part.share,
        "percent",
        SHARE,
        port_population(week.service),
        "netflow",
        n=packets or None,
        n_of="sampled packets",
        error=None if error is None else 100 * error,
    )


def error_of(number: Number) -> Number:
    """Half the width of a share's 95 % interval; it tells how many packets there are, so it is never published."""
    return replace(
        number,
        id=f"{number.id}/error",
        value=number.error,
        unit="points",
        definition="1.96 sqrt(p (1 - p) / n), p the share and n the sampled packets of all protocols",
        error=None,
        absolute=True,
    )


def comparable(now: ServiceWeek, then: ServiceWeek, material: Material) -> bool:
    """Whether shares of ports may be compared: published years are all of PPPoE alone, whatever users they count."""
    return material.across_breaks or alike(now, then)


def alike(now: ServiceWeek, then: ServiceWeek) -> bool:
    """Whether their shares of ports are counted in the same way."""
    return now.origin == then.origin and (is_published(now) or now.method == then.method)


def share_change(now: Parts, then: Parts, proto: int, port: int) -> Number | None:
    """Difference of two shares as they are printed, in points."""
    new, old = share(now, proto, port), share(then, proto, port)
    if new is None or old is None or new.value is None or old.value is None:
        return None
    name = f"{TABLES[now.week.service]}/{key(now.week)}-{key(then.week)}/{row_id(proto, port)}"
    moved = change(new.value, old.value, 1)
    return between(new, old, name, moved, "points", "difference of the two shares as they are printed")
