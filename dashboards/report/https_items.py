"""Port 443 of TCP and UDP by IP version, and the definitions of the share of QUIC."""

from collections.abc import Sequence

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import (
    ALL,
    SERVICE_NAMES,
    Cell,
    Material,
    Number,
    ServiceWeek,
    Table,
)
from dashboards.report.ports import HTTPS, TCP, UDP, Part, Parts
from dashboards.report.statistics import share_error
from dashboards.report.telling import Item, blank, cell, number_of, port_population
from dashboards.report.weeks import key

_ALL = ((0, ALL),)
_HTTPS: tuple[tuple[str, str, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...], str], ...] = (
    ("whole", "of all volume", _ALL, (), "octets of this IP version over those of both"),
    ("tcp443", "TCP 443", ((TCP, HTTPS),), _ALL, "octets of TCP 443 over those of all protocols"),
    ("udp443", "UDP 443 (Q1)", ((UDP, HTTPS),), _ALL, "Q1: octets of UDP 443 over those of all protocols"),
    ("both443", "TCP and UDP 443", ((TCP, HTTPS), (UDP, HTTPS)), _ALL, "octets of TCP and UDP 443 over those of all"),
    ("q2", "UDP 443 of port 443 (Q2)", ((UDP, HTTPS),), ((TCP, HTTPS), (UDP, HTTPS)),
     "Q2: octets of UDP 443 over those of TCP 443 and UDP 443"),
    ("q3", "UDP 443 of UDP (Q3)", ((UDP, HTTPS),), ((UDP, ALL),), "Q3: octets of UDP 443 over those of UDP"),
)  # fmt: skip


def https_table(material: Material) -> Item:
    """Port 443 of TCP and UDP by IP version, and the three definitions of the share of QUIC."""
    columns = [
        (service, version) for service in material.services if service in material.week for version in (4, 6, None)
    ]
    made = {at: Parts(material.week[at[0]], at[1]) for at in columns}
    wholes = {service: Parts(material.week[service]).whole for service, _ in columns}
    rows = []
    for name, label, above, below, words in _HTTPS:
        cells = []
        for service, version in columns:
            number = _ratio(made[service, version], name, above, below, words, version, wholes[service])
            cells.append(cell(number, 1) if number else blank())
        rows.append((Cell(label), *cells))
    versions = {4: "IPv4", 6: "IPv6", None: "both"}
    return Item(
        Table(
            "https",
            "Port 443 by IP version, percent",
            ("", *(f"{SERVICE_NAMES[service]} {versions[version]}" for service, version in columns)),
            tuple(rows),
            "Shares of the volume of the same IP version unless the row says otherwise; QUIC is told by its port, so "
            "UDP 443 is an upper bound of it. Broadband is PPPoE alone. "
            + " ".join(provenance(material, one, volumes=False, name=True) for one in material.services),
            missing=tuple(
                dict.fromkeys(note for one in material.services for note in missing_of(material, "https", one))
            ),
            notes=("IPv6 over IPoE has no port data and is in none of the shares.",),
        )
    )


def _sum(table: Parts, rows: Sequence[tuple[int, int]]) -> Part:
    found = [table.whole if at == (0, ALL) else table.at(*at) or Part(0.0, 0, 0) for at in rows]
    return Part(
        sum(part.share for part in found), sum(part.octets for part in found), sum(part.packets for part in found)
    )


def _ratio(
    table: Parts,
    name: str,
    above: Sequence[tuple[int, int]],
    below: Sequence[tuple[int, int]],
    words: str,
    version: int | None,
    whole: Part,
) -> Number | None:
    week, part = table.week, _sum(table, above)
    base = _sum(table, below) if below else whole
    # Only shares are known of a week that was not measured here; they are of the same whole, so that they divide alike.
    value, total = (part.octets, base.octets) if base.octets else (part.share, base.share)
    if not table or not total:
        return None
    error = share_error(min(1.0, value / total), base.packets, week.quality.sampling)
    versions = {4: ", of IPv4", 6: ", of IPv6", None: ""}
    return number_of(
        week,
        f"https/{week.service}/{key(week)}/{'all' if version is None else f'ipv{version}'}/{name}",
        100 * value / total,
        "percent",
        words + versions[version],
        port_population(week.service),
        "netflow",
        n=base.packets or None,
        n_of="sampled packets",
        error=None if error is None else 100 * error,
    )


def https_share(week: ServiceWeek, row: str, version: int | None) -> Number | None:
    """A row of that table for a week: of IPv4, of IPv6, or of both."""
    name, _, above, below, words = next(one for one in _HTTPS if one[0] == row)
    return _ratio(Parts(week, version), name, above, below, words, version, Parts(week).whole)
