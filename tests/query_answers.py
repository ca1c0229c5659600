"""What each worked query answers on the known flows, in plain Python over the same rows."""

import ipaddress
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

from tests.known_flows import (
    EXPORTERS,
    NOW,
    SINCE,
    UNTIL,
    WEEK,
    Row,
    known_observations,
    known_rows,
    local,
    ms,
    shares,
    sound,
)

Answer = list[tuple[Any, ...]]
ROWS = known_rows()
NOTED = known_observations()
WAYS = ("none", "in", "out")
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 58: "icmp6"}
SECONDS = 3600
FIRST_DAY, MONDAY, LAST_DAY = date(2026, 9, 14), date(2026, 9, 21), date(2026, 9, 22)


def within(rows: Iterable[Row], since: datetime = SINCE, until: datetime = UNTIL) -> list[Row]:
    return [row for row in rows if ms(since) <= row["ts"] < ms(until)]


def noted(table: str, since: datetime = SINCE, until: datetime = UNTIL) -> list[Row]:
    return [row for row in NOTED[table] if since <= row["time"] < until]


def sums(rows: Iterable[Row], key: Callable[[Row], Any], what: str = "octets_est") -> dict[Any, int]:
    found: dict[Any, int] = defaultdict(int)
    for row in rows:
        found[key(row)] += row[what]
    return dict(found)


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def port(row: Row) -> str:
    return f"{PROTOCOLS[row['proto']]}/{row['lower_port']}" if row["proto"] in (6, 17) else row["bucket"]


def instant(row: Row, step: int) -> int:
    """Begin of the bucket of the flow's end, Unix seconds."""
    return int(row["ts"] // 1000 // step * step)


def one_each(rows: Iterable[Row]) -> list[Row]:
    """A flow between two subscribers once."""
    return [row for row in rows if row["copy"] != 1]


def network(text: str) -> str:
    """By eye, from the three prefixes of networks.csv."""
    if text.startswith("198.51.100."):
        return "Example Video cache" if int(text.rpartition(".")[2]) >= 128 else "Example Video"
    return "Example Search" if text.startswith("2001:db8:f::") else ""


AS = {64500: "Transit One", 64501: "Video AS"}


def spread(rows: Iterable[Row], key: Callable[[Row], Any], since: datetime, until: datetime) -> dict[Any, int]:
    """Octets by (minute, key) of minutes within."""
    found: dict[Any, int] = defaultdict(int)
    for row in rows:
        for minute, octets in shares(row, "octets_est").items():
            if ms(since) <= minute * 1000 < ms(until):
                found[minute, key(row)] += octets
    return dict(found)


def noc_bits_by_bucket() -> Answer:
    by = spread(sound(ROWS), lambda r: (WAYS[r["direction"]], r["bucket"]), SINCE, UNTIL)
    found: dict[Any, int] = defaultdict(int)
    for (minute, key), octets in by.items():
        found[(minute // 300 * 300, *key)] += octets
    return [(*key, octets * 8 / 300) for key, octets in sorted(found.items())]


def quic(rows: list[Row]) -> tuple[float | None, float | None, float | None]:
    by = sums(rows, lambda r: r["bucket"])
    part = by.get("udp/443", 0)
    udp = sum(octets for name, octets in by.items() if name.startswith("udp/"))
    return ratio(part, sum(by.values())), ratio(part, part + by.get("tcp/443", 0)), ratio(part, udp)


def with_ports(rows: list[Row]) -> list[Row]:
    return [row for row in sound(rows) if row["direction"] and row["access"] != "ipoe"]


def noc_quic_share() -> Answer:
    found: Answer = []
    for service in ("fixed", "mobile"):
        now = [row for row in with_ports(within(ROWS)) if row["service"] == service]
        before = [row for row in with_ports(within(ROWS, SINCE - WEEK, UNTIL - WEEK)) if row["service"] == service]
        q2, q2_before = quic(now)[1], quic(before)[1]
        assert q2 is not None and q2_before is not None
        found.append((service, *quic(now), q2_before, q2 - q2_before))
    return found


def top(found: Answer, by: int, count: int) -> Answer:
    """Largest first by one figure; equal ones by the others in order."""
    return sorted(found, key=lambda row: (-row[by], *row))[:count]


def noc_top_exporters() -> Answer:
    rows = one_each(sound(within(ROWS), of_service=False))
    by, whole = sums(rows, lambda r: r["exporter"]), sum(row["octets_est"] for row in rows)
    number = sums(({**row, "one": 1} for row in rows), lambda r: r["exporter"], "one")
    return top([(key, number[key], octets * 8 / SECONDS, octets / whole) for key, octets in by.items()], 2, 10)


def noc_top_interfaces() -> Answer:
    found: dict[Any, int] = defaultdict(int)
    rows = one_each(sound(ROWS, of_service=False))
    for way, end in (("in", "in_if"), ("out", "out_if")):
        for (_, key), octets in spread(rows, lambda r, end=end: (r["exporter"], r[end]), SINCE, UNTIL).items():  # type: ignore[misc]
            found[(*key, way)] += octets
    answer: Answer = []
    for (exporter, number, way), octets in found.items():
        told = exporter in EXPORTERS[:2] and number < 6
        bits = octets * 8 / SECONDS
        full = bits / (10_000_000 * number) if told else None
        answer.append((exporter, number, f"xe-{number}" if told else "", way, bits, full))
    return top(answer, 4, 10)


def noc_top_as() -> Answer:
    by = sums(one_each(sound(within(ROWS))), lambda r: (r["src_as"], r["dst_as"]))
    return top([(src, AS.get(src, ""), dst, AS.get(dst, ""), octets) for (src, dst), octets in by.items()], 4, 10)


def noc_top_ports() -> Answer:
    by = sums((row for row in sound(within(ROWS)) if row["direction"]), port)
    whole = sum(by.values())
    return top([(name, octets, octets / whole) for name, octets in by.items()], 1, 10)


def noc_top_talkers() -> Answer:
    by = sums(one_each(sound(within(ROWS))), lambda r: r["dst"])
    return top([(who, network(who), octets, 0) for who, octets in by.items()], 2, 10)


def noc_newest_data() -> Answer:
    newest: dict[str, int] = {}
    for row in sound(ROWS):
        newest[row["service"]] = max([newest.get(row["service"], 0), *shares(row, "octets_est")])
    now = ms(NOW) // 1000
    return top([(service, minute, now - minute - 60) for service, minute in newest.items()], 2, 10)


def noc_what_stands_out() -> Answer:
    def key(row: Row) -> Any:
        return row["service"], WAYS[row["direction"]], row["bucket"]

    now = sums(sound(within(ROWS)), key)
    before = sums(sound(within(ROWS, SINCE - WEEK, UNTIL - WEEK)), key)
    answer = []
    for each in {*now, *before}:
        a, b = now.get(each, 0), before.get(each, 0)
        answer.append((*each, a, b, a - b, ratio(a, b)))
    return sorted(answer, key=lambda row: (-abs(row[5]), *row[:3]))[:10]


def eng_who_talked_to_prefix() -> Answer:
    to: dict[str, int] = defaultdict(int)
    back: dict[str, int] = defaultdict(int)
    number: dict[str, int] = defaultdict(int)
    for row in one_each(sound(within(ROWS), of_service=False)):
        inside_src, inside_dst = (row[end].startswith("198.51.100.") for end in ("src", "dst"))
        if inside_src or inside_dst:
            peer = row["dst"] if inside_src else row["src"]
            number[peer] += 1
            to[peer] += row["octets_est"] * inside_dst
            back[peer] += row["octets_est"] * inside_src
    answer = [(peer, network(peer), number[peer], to[peer], back[peer]) for peer in number]
    return sorted(answer, key=lambda row: (-row[3] - row[4], row[0]))[:100]


FLAGS = {8: ["implausible"], 16: ["sampling_unknown"], 512: ["other_point"], 0: []}


def eng_flows_of_subscriber() -> Answer:
    rows = [row for row in within(ROWS) if row["sub_id"] == 1003]
    return sorted(
        (row["ts"], row["lasted"] / 1000, WAYS[row["direction"]], PROTOCOLS[row["proto"]], row["src"], row["src_port"],
         row["dst"], row["dst_port"], row["octets_est"], row["packets_est"], FLAGS[row["flags"]])
        for row in rows
    )  # fmt: skip


def day(row: Row) -> date:
    return local(row["ts"]).date()


def days(since: date = FIRST_DAY, until: date = LAST_DAY) -> list[Row]:
    return [row for row in sound(ROWS) if since <= day(row) < until]


def eng_port_over_a_week() -> Answer:
    rows = [{**row, "one": 1} for row in days() if row["proto"] == 6 and row["lower_port"] == 22]
    number = sums(rows, lambda r: (day(r), WAYS[r["direction"]]), "one")
    octets = sums(rows, lambda r: (day(r), WAYS[r["direction"]]))
    return [(*key, number[key], octets[key]) for key in sorted(number)]


def eng_icmp() -> Answer:
    rows = [row for row in one_each(within(ROWS)) if row["proto"] in (1, 58)]

    def key(row: Row) -> Any:
        return PROTOCOLS[row["proto"]], row["icmp"] >> 8, row["icmp"] & 255

    packets = sums(rows, key, "packets_est")
    answer = []
    for each in packets:
        mine = [row for row in rows if key(row) == each]
        answer.append((*each, len(mine), packets[each], len({row["dst"] for row in mine})))
    return sorted(answer, key=lambda row: (-row[4], *row[:3]))


def eng_dns() -> Answer:
    rows = [row for row in sound(within(ROWS)) if row["proto"] in (6, 17) and row["lower_port"] == 53]

    def key(row: Row) -> Any:
        return instant(row, 3600), PROTOCOLS[row["proto"]], WAYS[row["direction"]]

    octets, packets = sums(rows, key), sums(rows, key, "packets_est")
    number = sums(({**row, "one": 1} for row in rows), key, "one")
    return [(*each, number[each], octets[each], octets[each] / packets[each]) for each in sorted(octets)]


def eng_tcp_scans() -> Answer:
    # The one that knocks at forty doors, ports 22 and 23 in turn; who knocks at ten is below the least.
    return [("203.0.113.1", 40, 40, [22, 23])]


def eng_share_with_error() -> Answer:
    answer: Answer = []
    for service in ("fixed", "mobile"):
        rows = [row for row in with_ports(within(ROWS)) if row["service"] == service]
        share, n = quic(rows)[0], sum(row["packets"] for row in rows)
        assert share is not None
        answer.append((service, share, n, 1.96 * math.sqrt(share * (1 - share) / n)))
    return answer


def eng_suspected_duplicates() -> Answer:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in sound(within(ROWS), of_service=False):
        if row["copy"] == 0:
            five = tuple(row[name] for name in ("src", "dst", "src_port", "dst_port", "proto"))
            groups[(row["ts"] // 60_000, *five)].append(row)
    found: dict[str, list[int]] = {}
    for rows in groups.values():
        told_by = sorted({row["exporter"] for row in rows})
        if len(told_by) > 1:
            entry = found.setdefault(", ".join(told_by), [0, 0])
            octets = sorted(row["octets_est"] for row in rows)
            entry[0] += 1
            entry[1] += sum(octets[:-1])
    return top([(names, *entry) for names, entry in found.items()], 2, 10)


def eng_unmatched_addresses() -> Answer:
    rows = [row for row in sound(within(ROWS), of_service=False) if row["copy"] == 0 and not row["sub_id"]]
    ends = [{"who": row[end], "octets_est": row["octets_est"], "one": 1} for row in rows for end in ("src", "dst")]
    octets, number = sums(ends, lambda r: r["who"]), sums(ends, lambda r: r["who"], "one")
    return top([(who, network(who), number[who], octets[who]) for who in octets], 3, 20)


def eng_long_flows() -> Answer:
    rows = [row for row in one_each(sound(within(ROWS), of_service=False)) if row["lasted"] >= 300_000]
    rows.sort(key=lambda row: (-row["lasted"], row["ts"], row["src"], row["src_port"]))
    return [
        (row["ts"], row["lasted"] / 1000, row["exporter"], PROTOCOLS[row["proto"]], row["src"], row["src_port"],
         row["dst"], row["dst_port"], row["octets_est"], row["octets_est"] * 8000 / row["lasted"])
        for row in rows[:100]
    ]  # fmt: skip


def health(exporter: str, counter: str) -> int:
    return sum(
        row["value"] for row in noted("exporter_health_1m") if row["exporter"] == exporter and row["counter"] == counter
    )


def trust_sequence_gaps() -> Answer:
    answer: Answer = []
    for exporter in EXPORTERS:
        missed, twice = health(exporter, "sequence_missed"), health(exporter, "sequence_duplicate")
        if missed or twice:
            share = missed / (missed + health(exporter, "records_flow"))
            answer.append((exporter, 0, missed, 0, twice, 0, share))
    return top(answer, 2, 10)


def trust_drops() -> Answer:
    rows = [row for row in noted("stage_1m") if row["counter"].startswith(("dropped_", "lost_"))]
    answer: Answer = []
    for key in {(row["stage"], row["counter"]) for row in rows}:
        mine = [row for row in rows if (row["stage"], row["counter"]) == key]
        times = [ms(row["time"]) // 1000 for row in mine]
        answer.append((*key, sum(row["value"] for row in mine), min(times), max(times)))
    return top(answer, 2, 10)


def trust_template_age() -> Answer:
    answer: Answer = []
    for exporter in EXPORTERS:
        rows = [row for row in NOTED["exporter_health_1m"] if row["exporter"] == exporter]
        told = [ms(row["time"]) // 1000 for row in rows if row["counter"] == "templates_accepted"]
        age = ms(NOW) // 1000 - max(told) if told else None
        answer.append((exporter, 0, max(told, default=None), age, health(exporter, "sets_held")))
    return sorted(answer, key=lambda row: (row[3] is not None, -(row[3] or 0), row[0]))


def trust_sampling() -> Answer:
    answer: Answer = []
    for exporter in EXPORTERS:
        rows = [row for row in one_each(within(ROWS)) if row["exporter"] == exporter]
        rates = [row["sampling"] for row in rows]
        without = sum(row["flags"] == 16 for row in rows)
        whole = len(sound(rows, of_service=False)) + without
        answer.append((exporter, min(rates), max(rates), without, without / whole))
    return answer


def trust_sampling_sources() -> Answer:
    sources = ("unknown", "record", "sampler", "", "", "", "", "", "assumed")
    rows = [{**row, "one": 1} for row in one_each(within(ROWS))]

    def key(row: Row) -> Any:
        return row["exporter"], sources[row["sampling_source"]], row["sampling"]

    number, octets = sums(rows, key, "one"), sums(rows, key)
    answer = [(*each, number[each], octets[each]) for each in number]
    return sorted(answer, key=lambda row: (row[0], -row[3], row[1], row[2]))


def counted() -> list[Row]:
    """What is judged by leases: as all figures of services, a flow once."""
    return one_each(sound(within(ROWS)))


def said(row: Row) -> int:
    """0 attributed, 1 ambiguous, 2 unmatched."""
    return 2 if not row["sub_id"] else int(row["flags"] & 128 != 0)


def prefix_of(text: str) -> str:
    """The /24 or /48 that an address lies in."""
    return str(ipaddress.ip_network(f"{text}/{48 if ':' in text else 24}", strict=False))


def without_lease(row: Row) -> list[str]:
    """The addresses of an unmatched flow that should have had a lease."""
    return {1: [row["src"]], 2: [row["dst"]]}.get(row["direction"], [row["src"], row["dst"]])


def trust_coverage() -> Answer:
    by = sums(counted(), lambda r: (r["exporter"], said(r)))
    answer: Answer = []
    for exporter in EXPORTERS:
        parts = [by.get((exporter, kind), 0) for kind in range(3)]
        answer.append((exporter, *parts, parts[0] / sum(parts), parts[2] / sum(parts)))
    return top(answer, 3, 10)


def trust_coverage_prefixes() -> Answer:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in counted():
        for address in without_lease(row) if said(row) == 2 else ():
            found[prefix_of(address)].append(row)
    answer = [(prefix, ", ".join(sorted({row["exporter"] for row in rows})), len(rows),
               sum(row["octets_est"] for row in rows)) for prefix, rows in found.items()]  # fmt: skip
    return top(answer, 3, 20)


def trust_decode_errors() -> Answer:
    rows = [row for row in noted("exporter_health_1m") if "_dropped_" in row["counter"]]
    by = sums(rows, lambda r: (r["exporter"], *r["counter"].split("_dropped_")), "value")
    return top([(*key, value) for key, value in by.items()], 3, 10)


def trust_lag() -> Answer:
    newest: dict[str, int] = {"rolled up": max(minute for row in sound(ROWS) for minute in shares(row, "octets_est"))}
    for row in NOTED["audit_1m"]:
        newest[row["stage"]] = max(newest.get(row["stage"], 0), ms(row["time"]) // 1000)
    answer = [(stage, at, ms(NOW) // 1000 - at) for stage, at in newest.items()]
    return sorted(answer, key=lambda row: (row[2], row[0]))


def trust_audit() -> Answer:
    stages = ("decoded", "published", "enriched", "inserted")
    by = sums(noted("audit_1m"), lambda r: (ms(r["time"]) // 300_000 * 300, r["stage"]), "rows")
    answer: Answer = []
    for at in sorted({at for at, _ in by}):
        numbers = [by.get((at, stage), 0) for stage in stages]
        answer.append((at, *numbers, numbers[0] - numbers[3]))
    return answer


def mode(values: Iterable[int]) -> float | None:
    """As the report's specification says in words: bins of a tenth of a decade, a parabola, the nearest twentieth."""
    bins: dict[int, int] = defaultdict(int)
    for value in values:
        if value > 0:
            bins[round(10 * math.log10(value))] += 1
    if not bins:
        return None
    fullest = min(bins, key=lambda bin_: (-bins[bin_], bin_))
    left, most, right = bins.get(fullest - 1, 0), bins[fullest], bins.get(fullest + 1, 0)
    place = fullest / 10 + 0.05 * (left - right) / (left - 2 * most + right)
    return float(10 ** (round(20 * place) / 20))


def quantile(values: list[int], q: float) -> float:
    """Linear between the two neighbours, ends included (type 7)."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def report_daily_volume() -> Answer:
    rows = [row for row in days() if row["service"] == "fixed" and row["segment"] == "personal" and row["direction"]]
    by = sums(rows, lambda r: (day(r), r["direction"], r["sub_id"], r["access"]))
    answer: Answer = []
    for when, way in sorted({key[:2] for key in by}):
        values = [octets for key, octets in by.items() if key[:2] == (when, way)]
        answer.append((
            when, WAYS[way], len(values), values.count(0), statistics.fmean(values), statistics.median(values),
            quantile(values, 0.1), quantile(values, 0.9), mode(values),
        ))  # fmt: skip
    return answer


def report_port_table() -> Answer:
    rows = [row for row in sound(ROWS) if (row["service"], row["access"]) == ("fixed", "pppoe") and row["direction"]]
    this = sums((row for row in rows if MONDAY <= day(row) < MONDAY + timedelta(7)), port)
    last = sums((row for row in rows if MONDAY - timedelta(7) <= day(row) < MONDAY), port)
    answer = []
    for name in {*this, *last}:
        a, b = this.get(name, 0), last.get(name, 0)
        now, before = 100 * a / sum(this.values()), 100 * b / sum(last.values())
        answer.append((name, a, b, now, before, now - before))
    return sorted(answer, key=lambda row: (-row[3], -row[4], row[0]))[:20]


def report_443_by_ip_version() -> Answer:
    answer: Answer = []
    for version in (4, 6):
        rows = [r for r in days() if r["service"] == "mobile" and r["direction"] and r["ip_version"] == version]
        by, whole = sums(rows, lambda r: r["bucket"]), sum(row["octets_est"] for row in rows)
        tcp, udp = by["tcp/443"], by["udp/443"]
        answer.append((version, 100 * tcp / whole, 100 * udp / whole, udp / (tcp + udp), whole))
    return answer


def report_hour_by_weekday() -> Answer:
    since, until = datetime.fromisoformat("2026-09-13T15:00Z"), datetime.fromisoformat("2026-09-22T15:00Z")
    rows = [row for row in sound(ROWS) if row["service"] == "fixed"]
    by: dict[Any, int] = defaultdict(int)
    seen: dict[Any, set[int]] = defaultdict(set)
    for (minute, way), octets in spread(rows, lambda r: r["direction"], since, until).items():
        when = local(minute * 1000)
        key = when.isoweekday(), when.hour
        by[key, way] += octets
        seen[key].add(minute // 3600)
    return [
        (*key, *(by[key, way] * 8 / 3600 / len(seen[key]) for way in (1, 2)))
        for key in sorted(seen)
    ]  # fmt: skip


ANSWERS: dict[str, Callable[[], Answer]] = {
    name: answer for name, answer in globals().items() if name.startswith(("noc_", "eng_", "trust_", "report_"))
}
"""Of flows; those of weeks are in ``report_answers``."""
