"""What each panel shows of the known flows, in plain Python over the same rows; no SQL, no rollup."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from tests.known_flows import EXPORTERS, Row, local, shares, sound
from tests.panel_asked import Asked
from tests.query_answers import (
    AS,
    NOTED,
    ROWS,
    Answer,
    one_each,
    port,
    prefix_of,
    quic,
    ratio,
    said,
    without_lease,
)
from tests.report_answers import PANELS as REPORT

WEEK_SECONDS = 7 * 86_400
SOURCES = ("unknown", "record", "sampler", "interface", "domain", "header", "setting", "override", "assumed")


SCOPE = ("service", "exporter", "ip_version")
PORT_SCOPE = ("service", "ip_version", "direction")


def lines(values: Mapping[tuple[int, str], float | None], asked: Asked, missing: float | None) -> Answer:
    """Series by time, filled."""
    labels = sorted({label for _, label in values}, key=lambda label: (label == "Other", label))
    return [(at, label, values.get((at, label), missing)) for at in asked.buckets() for label in labels]


def volume(rows: Iterable[Row], asked: Asked, key: Callable[[Row], Any], step: int = 0) -> dict[tuple[int, Any], int]:
    """Octets by bucket and key, spread over the minutes a flow lasted."""
    found: dict[tuple[int, Any], int] = defaultdict(int)
    step = step or asked.step
    for row in rows:
        for minute, octets in shares(row, "octets_est").items():
            if asked.begin <= minute < asked.end:
                found[minute // step * step, key(row)] += octets
    return dict(found)


def ended(rows: Iterable[Row], asked: Asked, bucket: int, back: int = 0) -> list[tuple[int, Row]]:
    """Rows by the table's bucket of their end, as seen ``back`` seconds later."""
    found = []
    for row in rows:
        at = row["ts"] // 1000 // bucket * bucket + back
        if asked.begin <= at < asked.end:
            found.append((at // asked.step * asked.step, row))
    return found


def bits(values: Mapping[tuple[int, Any], int], asked: Asked) -> dict[tuple[int, Any], float]:
    return {key: octets * 8 / asked.step for key, octets in values.items()}


def no_label(answer: Answer) -> Answer:
    return [(at, value) for at, _, value in answer]


def largest(values: Mapping[tuple[int, str], int], asked: Asked) -> dict[tuple[int, str], int]:
    """The top of a key; the rest as Other."""
    whole: dict[str, int] = defaultdict(int)
    for (_, key), octets in values.items():
        whole[key] += octets
    kept = sorted(whole, key=lambda key: (-whole[key], key))[: int(asked.chosen["top"][0])]
    found: dict[tuple[int, str], int] = defaultdict(int)
    for (at, key), octets in values.items():
        found[at, key if key in kept else "Other"] += octets
    return dict(found)


def scoped(asked: Asked, *names: str) -> list[Row]:
    return [row for row in sound(ROWS) if asked.takes(row, *names)]


def total_bits(direction: int) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        rows = [row for row in scoped(asked, *SCOPE) if row["direction"] == direction]
        found = bits(volume(rows, asked, lambda _: ""), asked)
        return [(at, found.get((at, ""), 0)) for at in asked.buckets()]

    return answer


def by_bucket(direction: int) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        rows = [row for row in scoped(asked, *SCOPE) if row["direction"] == direction]
        return lines(bits(volume(rows, asked, lambda r: r["bucket"]), asked), asked, 0)

    return answer


def share(which: int, back: int = 0, *, by_service: bool = True) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
        rows = [row for row in scoped(asked, *SCOPE) if row["direction"] and row["access"] != "ipoe"]
        for at, row in ended(rows, asked, 300, back):
            groups[at, row["service"] if by_service else ""].append(row)
        found = {key: quic(group)[which] for key, group in groups.items()}
        if by_service:
            return lines(found, asked, None)
        return [(at, found.get((at, ""))) for at in asked.buckets()]

    return answer


def exported(asked: Asked) -> list[tuple[int, Row]]:
    return ended([row for row in one_each(ROWS) if asked.takes(row, "exporter")], asked, 60)


def flow_records(asked: Asked) -> Answer:
    found: dict[int, int] = defaultdict(int)
    for at, _ in exported(asked):
        found[at] += 1
    return [(at, found[at] / asked.step) for at in asked.buckets()]


def flow_records_by_exporter(asked: Asked) -> Answer:
    found: dict[tuple[int, str], int] = defaultdict(int)
    for at, row in exported(asked):
        found[at, row["exporter"]] += 1
    return lines({key: number / asked.step for key, number in found.items()}, asked, 0)


def top_of(key: Callable[[Row], str]) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        rows = scoped(asked, *SCOPE, "direction")
        return lines(bits(largest(volume(rows, asked, key), asked), asked), asked, 0)

    return answer


def top_interfaces(asked: Asked) -> Answer:
    found: dict[tuple[int, str], int] = defaultdict(int)
    rows = [row for row in one_each(sound(ROWS, of_service=False)) if asked.takes(row, "exporter")]
    for way, end in (("in", "in_if"), ("out", "out_if")):
        for (at, (exporter, number)), octets in volume(rows, asked, lambda r, e=end: (r["exporter"], r[e])).items():  # type: ignore[misc]
            told = exporter in EXPORTERS[:2] and number < 6
            found[at, f"{exporter} {f'xe-{number}' if told else f'if {number}'} {way}"] += octets
    return lines(bits(largest(found, asked), asked), asked, 0)


def top_as(asked: Asked) -> Answer:
    found: dict[tuple[int, str], int] = defaultdict(int)
    for at, row in ended(one_each(sound(ROWS)), asked, 300):
        number = row["src_as"]
        found[at, f"AS{number} {AS[number]}" if number in AS else f"AS{number}"] += row["octets_est"]
    return lines(bits(largest(found, asked), asked), asked, 0)


def hour_of(row: Row) -> int:
    """Unix seconds at which the flow's local hour began."""
    wall = local(row["ts"])
    return int(row["ts"]) // 1000 - wall.minute * 60 - wall.second


def by_port(asked: Asked, back: int = 0) -> dict[str, int]:
    """Of hours, or in ranges of two days and more of days."""
    first, last = (local(at * 1000).date() for at in (asked.since, asked.until))
    found: dict[str, int] = defaultdict(int)
    for row in scoped(asked, *PORT_SCOPE):
        hours = asked.since - 3600 < hour_of(row) + back <= asked.until
        days = first <= local(row["ts"]).date() + timedelta(seconds=back) <= last
        if days if asked.until - asked.since >= 2 * 86_400 else hours:
            found[port(row)] += row["octets_est"]
    return dict(found)


def top_ports(asked: Asked) -> Answer:
    found = by_port(asked)
    whole = sum(found.values())
    kept = sorted(found, key=lambda name: (-found[name], name))[: int(asked.chosen["top"][0])]
    rows = [(name, found[name], ratio(found[name], whole)) for name in kept]
    if rest := [found[name] for name in found if name not in kept]:
        rows.append(("Other", sum(rest), ratio(sum(rest), whole)))
    return rows


def of_subscribers(asked: Asked) -> Asked:
    """Only rows with a direction: where the choice is All, both."""
    return Asked(asked.since, asked.until, asked.step, {"direction": ("1", "2"), **asked.chosen}, asked.now)


def port_table(*, dynamic: bool) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        asked = of_subscribers(asked)

        def kept(found: dict[str, int]) -> dict[str, int]:
            return {name: octets for name, octets in found.items()
                    if not dynamic or ("/" in name and int(name.partition("/")[2]) >= 1024)}  # fmt: skip

        now, before = kept(by_port(asked)), kept(by_port(asked, WEEK_SECONDS))
        rows = []
        for name in {*now, *before}:
            a, b = now.get(name, 0), before.get(name, 0)
            part, was = ratio(a, sum(now.values())), ratio(b, sum(before.values()))
            change = None if part is None or was is None else 100 * (part - was)
            rows.append((name, a, part, was, change, b))
        return sorted(rows, key=lambda row: (-row[1], -row[5], row[0]))[: int(asked.chosen["top"][0])]

    return answer


def hours_of_the_week(asked: Asked) -> Answer:
    octets: dict[tuple[int, int], int] = defaultdict(int)
    hours: dict[tuple[int, int], set[int]] = defaultdict(set)
    for row in scoped(of_subscribers(asked), *PORT_SCOPE):
        for minute, value in shares(row, "octets_est").items():
            wall = local(minute * 1000)
            hour = minute - wall.minute * 60
            if asked.since <= hour <= asked.until - 3600:
                octets[wall.weekday(), wall.hour] += value
                hours[wall.weekday(), wall.hour].add(hour)
    mean = {key: value / len(hours[key]) for key, value in octets.items()}
    found = sorted({hour for _, hour in mean})
    return [
        (f"{hour:02}", *(mean[day, hour] / max(mean.values()) if (day, hour) in mean else None for day in range(7)))
        for hour in found
    ]


def subscriber_buckets(asked: Asked) -> dict[tuple[int, str], int]:
    return volume(scoped(of_subscribers(asked), *PORT_SCOPE), asked, lambda r: r["bucket"])


def normalised(asked: Asked) -> Answer:
    found = bits(subscriber_buckets(asked), asked)
    peak: dict[str, float] = defaultdict(float)
    for (_, name), value in found.items():
        peak[name] = max(peak[name], value)
    return lines({key: value / peak[key[1]] for key, value in found.items()}, asked, 0)


def one_port(asked: Asked) -> Answer:
    words = {1: "in (upload)", 2: "out (download)"}
    found: dict[tuple[int, str], int] = defaultdict(int)
    for row in scoped(of_subscribers(asked), *PORT_SCOPE):
        if port(row) == asked.chosen["port"][0] and asked.begin <= hour_of(row) < asked.end:
            found[hour_of(row) // asked.step * asked.step, words[row["direction"]]] += row["octets_est"]
    return lines(bits(found, asked), asked, 0)


def dynamic_share(asked: Asked) -> Answer:
    found = subscriber_buckets(asked)
    whole: dict[int, int] = defaultdict(int)
    for (at, _), octets in found.items():
        whole[at] += octets
    names = {"tcp/>=1024": "TCP", "udp/>=1024": "UDP"}
    there = {label for (_, name) in found if (label := names.get(name))}
    by = {(at, names[name]): octets for (at, name), octets in found.items() if name in names}
    return [(at, name, ratio(by.get((at, name), 0), whole[at])) for at in asked.buckets() for name in sorted(there)]


def noted(table: str, asked: Asked) -> list[Row]:
    return [row for row in NOTED[table] if asked.since <= row["time"].timestamp() <= asked.until
            and asked.takes({"exporter": "", **row}, *(("exporter",) if "exporter" in row else ()))]  # fmt: skip


def judged(asked: Asked) -> list[Row]:
    return [row for row in noted("audit_1m", asked) if row["time"].timestamp() < asked.until]


def stage_rows(rows: list[Row]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        found[row["stage"]] += row["rows"]
    return found


def lacking(asked: Asked) -> Answer:
    rows = judged(asked)
    return [(stage_rows(rows)["decoded"] - stage_rows(rows)["inserted"],)] if rows else []


def dropped(*, kernel: bool) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        rows = noted("stage_1m", asked)
        wanted = ("dropped_datagrams_kernel",) if kernel else ("dropped_", "lost_")
        return [(sum(row["value"] for row in rows if row["counter"].startswith(wanted)),)] if rows else []

    return answer


def missed(asked: Asked) -> Answer:
    rows = noted("exporter_health_1m", asked)
    return [(sum(row["value"] for row in rows if row["counter"] == "sequence_missed"),)] if rows else []


def in_range(asked: Asked) -> list[Row]:
    """As exported, minutes within both ends."""
    return [row for row in one_each(ROWS) if asked.takes(row, "exporter")
            and asked.since <= row["ts"] // 60_000 * 60 <= asked.until]  # fmt: skip


def rateless(asked: Asked) -> Answer:
    rows = in_range(asked)
    return [(sum(row["flags"] & 24 == 16 for row in rows) / len(rows),)] if rows else []


def unmatched(asked: Asked) -> Answer:
    rows = sound(in_range(asked), of_service=False)
    whole = sum(row["octets_est"] for row in rows)
    return [(sum(row["octets_est"] for row in rows if not row["sub_id"]) / whole,)] if whole else []


def exporters(asked: Asked) -> Answer:
    health = noted("exporter_health_1m", asked)
    flow_rows = in_range(asked)
    found: Answer = []
    for name in sorted({row["exporter"] for row in (*flow_rows, *health)}):
        own = [row for row in flow_rows if row["exporter"] == name]
        told = [row for row in health if row["exporter"] == name]

        def count(counter: str, told: list[Row] = told) -> int:
            return sum(row["value"] for row in told if row["counter"] == counter)

        good = sound(own, of_service=False)
        octets = sum(row["octets_est"] for row in good)
        templates = [row["time"].timestamp() for row in told if row["counter"] == "templates_accepted"]
        newest = max((row["ts"] // 60_000 * 60 for row in own), default=None)
        found.append((
            name, len(own) / (asked.until - asked.since), newest and asked.now - newest - 60,
            count("sequence_missed"), count("sequence_duplicate"),
            asked.now - max(templates) if templates else None,
            min((row["sampling"] for row in own), default=0), max((row["sampling"] for row in own), default=0),
            ", ".join(SOURCES[n] for n in sorted({row["sampling_source"] for row in own})),
            ratio(sum(row["flags"] & 24 == 16 for row in own), len(own)),
            ratio(sum(row["octets_est"] for row in good if not row["sub_id"]), octets), None,
            sum(row["value"] for row in told if "_dropped_" in row["counter"]), count("sets_held"),
        ))  # fmt: skip
    return found


def rows_by_stage(asked: Asked) -> Answer:
    by: dict[str, list[Row]] = defaultdict(list)
    for row in judged(asked):
        by[row["exporter"]].append(row)
    found: Answer = []
    for name, rows in by.items():
        counted = stage_rows(rows)
        stages = [counted[stage] for stage in ("decoded", "published", "enriched", "inserted")]
        found.append((name, *stages, stages[0] - stages[3]))
    return sorted(found, key=lambda row: (-abs(row[5]), row[0]))


def counters(table: str, label: Callable[[Row], str | None]) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        found: dict[tuple[int, str], int] = defaultdict(int)
        for row in NOTED[table]:
            at, name = int(row["time"].timestamp()), label(row)
            if name is None or not asked.begin <= at < asked.end:
                continue
            if "exporter" in row and not asked.takes(row, "exporter"):
                continue
            found[at // asked.step * asked.step, name] += row["value"]
        return lines(found, asked, 0)

    return answer


def stage_label(row: Row) -> str | None:
    return f"{row['stage']}: {row['counter']}" if row["counter"].startswith(("dropped_", "lost_")) else None


def reason_label(row: Row) -> str | None:
    return row["counter"] if "_dropped_" in row["counter"] else None


def missed_by_exporter(asked: Asked) -> Answer:
    """Also exporters that missed nothing have a line."""
    found: dict[tuple[int, str], int] = defaultdict(int)
    for row in NOTED["exporter_health_1m"]:
        at = int(row["time"].timestamp())
        if asked.begin <= at < asked.end and asked.takes(row, "exporter"):
            found[at // asked.step * asked.step, row["exporter"]] += (row["counter"] == "sequence_missed") * row[
                "value"
            ]
    return lines(found, asked, 0)


def unmatched_by_exporter(asked: Asked) -> Answer:
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for at, row in exported(asked):
        groups[at, row["exporter"]].append(row)
    found = {}
    for key, rows in groups.items():
        good = sound(rows, of_service=False)
        part = sum(row["octets_est"] for row in good if not row["sub_id"])
        found[key] = ratio(part, sum(row["octets_est"] for row in good))
    return lines(found, asked, None)


def sampling_by_exporter(asked: Asked) -> Answer:
    found: dict[tuple[int, str], float | None] = {}
    for at, row in exported(asked):
        found[at, row["exporter"]] = max(found.get((at, row["exporter"])) or 0, row["sampling"])
    return lines(found, asked, None)


def judged_by_leases(asked: Asked) -> list[Row]:
    """Of buckets of five minutes within both ends."""
    return [row for row in one_each(sound(ROWS)) if asked.takes(row, "exporter")
            and asked.since <= row["ts"] // 300_000 * 300 <= asked.until]  # fmt: skip


def coverage(asked: Asked) -> Answer:
    by: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in judged_by_leases(asked):
        by[row["exporter"]][said(row)] += row["octets_est"]
    rows = [(name, *parts, parts[0] / sum(parts), parts[2] / sum(parts)) for name, parts in by.items()]
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def prefixes_without_lease(asked: Asked) -> Answer:
    found: dict[str, list[Row]] = defaultdict(list)
    unmatched_rows = [row for row in judged_by_leases(asked) if said(row) == 2]
    for row in unmatched_rows:
        for address in without_lease(row):
            found[prefix_of(address)].append(row)
    whole = sum(row["octets_est"] for row in unmatched_rows)
    rows = []
    for prefix, mine in found.items():
        octets = sum(row["octets_est"] for row in mine)
        rows.append((prefix, ", ".join(sorted({row["exporter"] for row in mine})), octets, octets / whole))
    return sorted(rows, key=lambda row: (-row[2], row[0]))[:20]


def nothing(asked: Asked) -> Answer:
    """All known flows are older than a day."""
    assert max(row["ts"] for row in ROWS) // 1000 < asked.now - 86_400
    return []


ANSWERS: dict[str, dict[str, Callable[[Asked], Answer]]] = {
    "noc": {
        "1A": nothing, "2A": total_bits(2), "3A": total_bits(1), "4A": share(1, by_service=False),
        "5A": flow_records, "6A": nothing, "7A": by_bucket(2), "8A": by_bucket(1),
        "9A": share(0), "9B": share(0, WEEK_SECONDS), "10A": share(1), "10B": share(1, WEEK_SECONDS),
        "11A": top_of(lambda r: r["sub_group"] or "(none)"), "12A": top_of(lambda r: r["exporter"]),
        "13A": top_interfaces, "14A": top_as, "15A": top_ports, "16A": flow_records_by_exporter,
    },
    "ports": {
        "1A": port_table(dynamic=False), "2A": hours_of_the_week, "3A": normalised, "4A": one_port,
        "5A": dynamic_share, "6A": port_table(dynamic=True),
    },
    "trust": {
        "1A": lacking, "2A": dropped(kernel=False), "3A": dropped(kernel=True), "4A": missed, "5A": rateless,
        "6A": unmatched, "7A": exporters, "8A": nothing, "9A": rows_by_stage, "10A": flow_records_by_exporter,
        "11A": counters("stage_1m", stage_label), "12A": missed_by_exporter,
        "13A": counters("exporter_health_1m", reason_label), "14A": unmatched_by_exporter, "15A": sampling_by_exporter,
        "16A": coverage, "17A": prefixes_without_lease,
    },
    **{uid: dict(answers) for uid, answers in REPORT.items()},
}  # fmt: skip
"""By dashboard, and panel with target."""
