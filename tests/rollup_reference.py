"""What every rollup must hold, by walking over the rows one by one: plain Python, no SQL, no division tricks."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sinks.schema import Flag

Row = Mapping[str, Any]
Sums = dict[tuple[object, ...], list[int]]

MINUTE, DAY = 60_000, 86_400_000


def measures(row: Row) -> list[int]:
    return [1, row["packets"], row["packets_est"], row["octets"], row["octets_est"]]


def shares(row: Row) -> dict[int, list[int]]:
    """Measures by minute (Unix ms), by walking over every minute of the flow."""
    end, lasted = row["ts"], row["ts"] - row["ts_start"]
    if not MINUTE < lasted <= DAY:
        return {end // MINUTE * MINUTE: measures(row)}
    start, found = row["ts_start"], {}
    minute = start // MINUTE * MINUTE
    while minute < end:
        since, until = max(minute, start) - start, min(minute + MINUTE, end) - start
        found[minute] = [int(since == 0)] + [v * until // lasted - v * since // lasted for v in measures(row)[1:]]
        minute += MINUTE
    return found


def local(ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(zone)


def local_hour(ms: int, zone: ZoneInfo) -> int:
    """Unix seconds at which the local hour of a moment began: its minutes and seconds on the wall taken away."""
    wall = local(ms, zone)
    return ms // 1000 - wall.minute * 60 - wall.second


def prefix_text(address: bytes) -> str:
    """The /24 or /48 of an address at rest, as people write it."""
    found = ipaddress.IPv6Address(address)
    if found.ipv4_mapped is not None:
        return str(ipaddress.ip_network((found.ipv4_mapped, 24), strict=False))
    return str(ipaddress.ip_network((found, 48), strict=False))


def recomputed(name: str, rows: Iterable[Row], zone: ZoneInfo) -> Sums:
    """Sums by key; keys as the table has them, times as Unix seconds, days as dates."""
    found: Sums = defaultdict(list)

    def add(key: tuple[object, ...], values: list[int]) -> None:
        found[key] = [a + b for a, b in zip(found[key] or [0] * len(values), values, strict=True)]

    for row in rows:
        flags, copy = row["flags"], row["copy"]
        sound = not flags & (Flag.IMPLAUSIBLE | Flag.SAMPLING_UNKNOWN)
        of_service = sound and not flags & Flag.OTHER_POINT
        end = row["ts"]
        bucket = (row["exporter"], row["service"], row["segment"], row["access"], row["sub_group"], row["ip_version"],
                  row["direction"], row["bucket"])  # fmt: skip
        has_port = row["proto"] in (6, 17)
        port = (row["service"], row["segment"], row["access"], row["ip_version"], row["direction"], row["proto"],
                row["lower_port"] if has_port else 0, "" if has_port else row["bucket"])  # fmt: skip
        match name:
            case "bucket_1m" | "bucket_5m" | "bucket_1h" if of_service:
                for minute, values in shares(row).items():
                    step = {"bucket_1m": minute // 1000, "bucket_5m": minute // 300_000 * 300}.get(name)
                    add((local_hour(minute, zone) if step is None else step, *bucket), values)
            case "bucket_end_5m" if of_service:
                add((end // 300_000 * 300, *bucket), measures(row))
            case "port_1h" if of_service:
                add((local_hour(end, zone), *port), measures(row))
            case "port_1d" if of_service:
                add((local(end, zone).date(), *port), measures(row))
            case "subscriber_1d" if of_service and row["sub_id"]:
                key = (row["sub_id"], row["service"], row["segment"], row["access"], row["direction"])
                add((local(end, zone).date(), *key), measures(row))
            case "interface_1m" if sound and copy != 1:
                for minute, values in shares(row).items():
                    for interface, direction in ((row["in_if"], 1), (row["out_if"], 2)):
                        add((minute // 1000, row["exporter"], interface, direction), values)
            case "exporter_1m" if copy != 1:
                implausible = bool(flags & Flag.IMPLAUSIBLE)
                unknown = not implausible and bool(flags & Flag.SAMPLING_UNKNOWN)
                unmatched, other = sound and not row["sub_id"], sound and bool(flags & Flag.OTHER_POINT)
                add(
                    (end // MINUTE * 60, row["exporter"]),
                    [v * sound for v in measures(row)]
                    + [unmatched, unmatched * row["octets_est"], unknown, unknown * row["octets"], implausible]
                    + [other, other * row["octets_est"], bool(flags)],
                )
            case "as_5m" if of_service and copy != 1:
                add((end // 300_000 * 300, row["src_as"], row["dst_as"]), measures(row))
            case "lease_coverage_5m" if of_service and copy != 1:  # complete as long as no piece has more than 200
                at, octets = end // 300_000 * 300, row["octets_est"]
                said = 2 if not row["sub_id"] else int(bool(flags & Flag.AMBIGUOUS_LEASE))
                counts = [v for kind in range(3) for v in (int(kind == said), octets * (kind == said))]
                add((at, row["exporter"], ""), [1, octets, *counts])
                ends = {1: ("src_addr",), 2: ("dst_addr",)}.get(row["direction"], ("src_addr", "dst_addr"))
                for end_ in ends if said == 2 else ():
                    add((at, row["exporter"], prefix_text(row[end_])), [0, 0, 0, 0, 0, 0, 1, octets])
            case "talker_5m" if of_service and copy != 1:  # complete as long as no piece has more than 1,000
                for side, address in ((1, row["src_addr"]), (2, row["dst_addr"])):
                    is_v4 = address[:12] == bytes(10) + b"\xff\xff"
                    kept = 15 if is_v4 else 6
                    prefix = address[:kept] + bytes(16 - kept)
                    add((end // 300_000 * 300, side, "address", address, 128), measures(row))
                    add((end // 300_000 * 300, side, "prefix", prefix, kept * 8), measures(row))
    return dict(found)
