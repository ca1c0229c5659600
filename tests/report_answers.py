"""What the panels Subscribers and Years, and the report's worked queries show of known flows, accounting and weeks."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from tests.known_flows import Row, local, sound
from tests.known_weeks import HOURS, known_accounting, known_seen, known_weeks
from tests.panel_asked import Asked
from tests.query_answers import ROWS, Answer, day, mode

ACCOUNTING, SEEN, WEEKS = known_accounting(), known_seen(), known_weeks()
PARTS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
SLOTS = 4
User = tuple[int, str]


def accounted(service: str, access: str) -> bool:
    return service == "mobile" or access == "ipoe"


class Users:
    """Of a range of days: octets of each, who told of them, and of how many days."""

    def __init__(self, first: date, until: date, takes: Callable[[Row], bool]) -> None:
        self.octets: dict[User, list[int]] = defaultdict(lambda: [0, 0])
        self.days: set[date] = set()
        self.recorded: set[User] = set()
        self.told: dict[tuple[str, str], list[tuple[date, int, int, int]]] = defaultdict(list)
        rows = [("netflow", day(row), row, [row["octets_est"] * (row["direction"] == way) for way in (1, 2)])
                for row in sound(ROWS) if row["sub_id"]]  # fmt: skip
        rows += [("accounting", row["day"], row, [row["in_octets"], row["out_octets"]]) for row in ACCOUNTING]
        for source, when, row, (sent, got) in rows:
            if not (first <= when < until and takes(row)):
                continue
            self.told[row["access"], source].append((when, row["sub_id"], sent, got))
            if accounted(row["service"], row["access"]) == (source == "accounting"):
                user = row["sub_id"], row["access"]
                self.recorded.add(user)
                self.days.add(when)
                self.octets[user][0] += sent
                self.octets[user][1] += got
        self.leased = {(row["sub_id"], row["access"]) for row in SEEN if first <= row["day"] < until and takes(row)}
        for user in self.leased:
            self.octets[user][0] += 0

    def a_day(self, way: int) -> list[float]:
        return [octets[way] / max(1, len(self.days)) for octets in self.octets.values()]


def asked_users(asked: Asked) -> Users:
    first, until = local(asked.since * 1000).date(), local(asked.until * 1000 + 1000).date()
    return Users(first, until, lambda row: asked.takes(row, "service", "segment", "access"))


def top(values: list[float], part: float) -> float | None:
    heaviest = sorted(values, reverse=True)
    return sum(heaviest[: round(part * len(values))]) / sum(values) if sum(values) else None


def figures(way: int) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        values = asked_users(asked).a_day(way)
        return [(statistics.fmean(values), statistics.median(values), mode(values))] if values else []  # type: ignore[arg-type]

    return answer


def statistics_of(asked: Asked) -> Answer:
    users = asked_users(asked)
    rows = []
    for way, name in enumerate(("in (upload)", "out (download)")):
        if values := users.a_day(way):
            rows.append((
                name, len(values), len(users.leased), len(users.recorded), values.count(0), statistics.fmean(values),
                statistics.median(values), mode(values), top(values, 0.1), top(values, 0.01),  # type: ignore[arg-type]
            ))  # fmt: skip
    return rows


def sources(asked: Asked) -> Answer:
    service = asked.chosen["service"][0]
    rows = [
        (access, source, "yes" if accounted(service, access) == (source == "accounting") else "no",
         len({row[0] for row in told}), len({row[1] for row in told}), sum(row[3] for row in told),
         sum(row[2] for row in told))
        for (access, source), told in asked_users(asked).told.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row[0], row[2] == "no"))


def distribution(asked: Asked) -> Answer:
    users = asked_users(asked)
    bins = [[round(10 * math.log10(max(value, 1))) for value in users.a_day(way) if value > 0] for way in (0, 1)]
    there = [*bins[0], *bins[1]]
    return [
        (10 ** (bin_ / 10), *(each.count(bin_) / len(each) if each else None for each in bins))
        for bin_ in (range(min(there), max(there) + 1) if there else ())
    ]


def at_least(asked: Asked) -> Answer:
    users = asked_users(asked)
    values = [users.a_day(way) for way in (0, 1)]
    bins = sorted({math.floor(10 * math.log10(value)) for each in values for value in each if value > 0})

    def part(each: list[float], bin_: int) -> float | None:
        number = sum(value > 0 and math.floor(10 * math.log10(value)) >= bin_ for value in each)
        return number / len(each) if number else None

    return [(10 ** (bin_ / 10), *(part(each, bin_) for each in values)) for bin_ in bins]


def scatter(asked: Asked) -> Answer:
    """In no order: there are fewer than are drawn."""
    users = asked_users(asked)
    pairs = zip(users.a_day(1), users.a_day(0), strict=True)
    return sorted((got, sent) for got, sent in pairs if got and sent)


def concentration(asked: Asked) -> Answer:
    users = asked_users(asked)
    count = len(users.octets)
    return [(part, *(top(users.a_day(way), part) for way in (0, 1))) for part in PARTS if round(part * count)]


def heaviest(asked: Asked) -> Answer:
    users = asked_users(asked)
    way = int(asked.chosen["direction"][0]) - 1
    days, whole = max(1, len(users.days)), sum(octets[way] for octets in users.octets.values())
    found = sorted(users.recorded, key=lambda user: (-users.octets[user][way], user))
    return [
        (str(user[0]), user[1], users.octets[user][1] / days, users.octets[user][0] / days,
         users.octets[user][way] / whole if whole else None, "yes" if user in users.leased else "no")
        for user in found[: int(asked.chosen["top"][0])]
    ]  # fmt: skip


def numbered(asked: Asked) -> list[Row]:
    """Weeks of the service that were chosen, the newest first."""
    found = []
    for week in WEEKS:
        (head,) = week["report_week"]
        key = f"{head['monday']}/{head['origin']}"
        if asked.takes(head, "service") and key in asked.chosen.get("weeks", (key,)):
            name = f"{head['label']} IIJ" if head["label"] else str(head["monday"])
            found.append({**week, **head, "name": name})
    return sorted(found, key=lambda week: (-week["monday"].toordinal(), week["origin"] != "own"))


def users_of(week: Row) -> int | None:
    return max(max(row["seen"], row["users"]) for row in week["report_week_user"]) or None


def completeness(week: Row) -> str:
    if week["origin"] != "own":
        return "published"
    return "no: 1 h without a flow, 2 exporters silent, no ipoe of gateway" if week["missing_hours"] else "yes"


def weeks(asked: Asked) -> Answer:
    rows: Answer = []
    for number, week in enumerate(numbered(asked), 1):
        own, complete = week["origin"] == "own", completeness(week)
        population = f"personal {week['service']}"
        rows.append((number, week["name"], week["monday"], week["method"], population, users_of(week), week["sampling"],
                     complete, 0.01 if own else None, week["made"]))  # fmt: skip
    return rows


def before(week: Row, others: list[Row]) -> Row | None:
    older = [one for one in others if (one["origin"], one["method"]) == (week["origin"], week["method"])
             and one["monday"] < week["monday"]]  # fmt: skip
    return max(older, key=lambda one: one["monday"], default=None)


def of(week: Row | None, what: str, way: int) -> Any:
    return week and week["report_week_user"][way - 1][what]


def usage(asked: Asked) -> Answer:
    found = numbered(asked)
    rows = []
    for at, week in enumerate(found):
        parts: list[Any] = []
        for way in (1, 2):
            last, now = of(before(week, found), "mode", way), of(week, "mode", way)
            parts += [
                *(of(week, what, way) for what in ("mean", "median", "mode")),
                now / last if now and last else None,
            ]
        behind = found[at + 1] if at + 1 < len(found) else week
        apart = (behind["origin"], behind["method"]) != (week["origin"], week["method"])
        rows.append(
            (week["name"], week["method"], *parts, users_of(week), completeness(week), "break" if apart else "")
        )
    return rows


def over_years(way: int) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        rows = []
        for week in numbered(asked):
            when = week["monday"]
            year = when.year + (when.timetuple().tm_yday - 1) / 365.25
            rows.append(
                (year, *(of(week, what, way) for what in ("mean", "median", "mode")), week["name"], week["method"])
            )
        return sorted(rows, key=lambda row: (row[0], row[4]))

    return answer


def slots(asked: Asked) -> list[Row | None]:
    found: list[Row | None] = [*numbered(asked)]
    return (found + [None] * SLOTS)[:SLOTS]


def weeks_distribution(way: int) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        parts = []
        for week in slots(asked):
            numbers = dict(zip(of(week, "bins", way) or (), of(week, "numbers", way) or (), strict=True))
            parts.append({bin_: number / sum(numbers.values()) for bin_, number in numbers.items()})
        return [(10 ** (bin_ / 10), *(part.get(bin_) for part in parts)) for bin_ in sorted(set().union(*parts))]

    return answer


def hours(asked: Asked) -> Answer:
    found: dict[int, list[float | None]] = {}
    for at, week in enumerate(slots(asked)):
        for row in (week or {}).get("report_week_hour", ()):
            if row["kind"] == "volume" and row["hour"] < 120:
                line = found.setdefault(row["hour"] % 24, [None] * (2 * SLOTS))
                place = at + SLOTS * (row["direction"] - 1)
                line[place] = (line[place] or 0) + row["octets"] * 8 / 3600 / 5
    assert HOURS == 168
    return [(hour, *found[hour]) for hour in sorted(found)]


NAMES = {0: "all", 6: "tcp", 17: "udp", 50: "esp"}


def shares(week: Row | None) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = defaultdict(float)
    for row in (week or {}).get("report_week_port", ()):
        if row["access"] in ("pppoe", "mobile"):
            found[row["proto"], row["port"]] += row["share"]
    return found


def ports(asked: Asked) -> Answer:
    """Published years count ports alike, whatever their method for users."""
    every = [{**week, "method": week["method"] if week["origin"] == "own" else ""} for week in numbered(asked)]
    there = [*filter(shares, every), *[None] * SLOTS]
    drawn = [week if shares(week) else None for week in (every + [None] * SLOTS)[:SLOTS]]
    numbers = {id(week): number for number, week in enumerate(every, 1)}
    breaks = [
        f"{numbers[id(week)]}|{numbers[id(week)] + 1}"
        for week, behind in pairwise(there)
        if week and behind and numbers[id(week)] < SLOTS
        and (week["origin"], week["method"]) != (behind["origin"], behind["method"])
    ]  # fmt: skip
    words = {-1: "", -2: "/<1024", -3: "/>=1024"}
    rows = []
    for key in {key for week in drawn for key in shares(week)}:
        line: list[float | None] = []
        for week in drawn:
            now = shares(week).get(key)
            older = before(week, [one for one in every if key in shares(one)]) if week else None
            line += [now, None if now is None or older is None else 100 * (now - shares(older)[key])]
        name = NAMES[key[0]] + words.get(key[1], f"/{key[1]}")
        place = (
            key[0] != 0,
            {6: 1, 17: 2}.get(key[0], 3),
            key[0],
            key[1] != -1,
            -max(n for n in line[::2] if n is not None),
        )
        rows.append(((*place, name), (name, *line, ", ".join(breaks))))
    return [row for _, row in sorted(rows)]


def heavy_part(asked: Asked) -> Answer:
    return [
        (week["name"], week["method"], *(of(week, what, way) for way in (1, 2) for what in ("top10", "top1")),
         users_of(week))
        for week in numbered(asked) if of(week, "top10", 1) is not None
    ]  # fmt: skip


def volumes(asked: Asked) -> dict[date, dict[tuple[int, str], tuple[float, int]]]:
    """By month: octets a day of each direction and access, and the days that were told."""
    first, last = local(asked.since * 1000).date().replace(day=1), local(asked.until * 1000).date()
    told: dict[Any, int] = defaultdict(int)
    days: dict[Any, set[date]] = defaultdict(set)
    for source, when, row, pair in month_rows():
        if accounted(row["service"], row["access"]) == (source == "accounting") and asked.takes(row, "service"):
            month = when.replace(day=1)
            days[month, row["access"]].add(when)
            for way, octets in enumerate(pair, 1):
                told[month, way, row["access"]] += octets
    found: dict[date, dict[tuple[int, str], tuple[float, int]]] = defaultdict(dict)
    for (month, way, access), octets in told.items():
        if first <= month <= last:
            number = len(days[month, access])
            found[month][way, access] = octets / number, number
    return found


def month_rows() -> list[tuple[str, date, Row, tuple[int, int]]]:
    from tests.known_flows import shares as minutes

    rows: list[tuple[str, date, Row, tuple[int, int]]] = [
        ("accounting", row["day"], row, (row["in_octets"], row["out_octets"])) for row in ACCOUNTING
    ]
    for row in sound(ROWS):
        if row["service"] and row["direction"]:
            for minute, octets in minutes(row, "octets_est").items():
                pair = (octets, 0) if row["direction"] == 1 else (0, octets)
                rows.append(("netflow", local(minute * 1000).date(), row, pair))
    return rows


def month_lines(asked: Asked) -> list[tuple[date, list[float], list[float], int]]:
    return [
        (month, [sum(told[way, access][0] for way_, access in told if way_ == way) for way in (2, 1)],
         [told.get((way, "ipoe"), (0, 0))[0] for way in (2, 1)], min(number for _, number in told.values()))
        for month, told in sorted(volumes(asked).items())
    ]  # fmt: skip


def months(asked: Asked) -> Answer:
    """The known flows are of one month, so that there is no year before."""
    found = month_lines(asked)
    rows: Answer = [
        (month, *both, *(one / found[0][1][0] for one in both), None, None,
         *(part / whole for part, whole in zip(ipoe, both, strict=True)), number)
        for month, both, ipoe, number in found
    ]  # fmt: skip
    return rows[::-1]


def levels(asked: Asked) -> Answer:
    found = month_lines(asked)
    return [
        (month.year + (month.month - 1) / 12, *(one / found[0][1][0] for one in both)) for month, both, _, _ in found
    ]


PANELS: Mapping[str, Mapping[str, Callable[[Asked], Answer]]] = {
    "subscribers": {
        "1A": figures(1), "2A": figures(0), "3A": statistics_of, "4A": sources, "5A": distribution, "6A": at_least,
        "7A": scatter, "8A": concentration, "9A": heaviest,
    },
    "years": {
        "1A": weeks, "2A": usage, "3A": over_years(2), "4A": over_years(1), "5A": ports, "6A": hours,
        "7A": weeks_distribution(2), "8A": weeks_distribution(1), "9A": months, "10A": levels, "11A": heavy_part,
    },
}  # fmt: skip


def _of_week(service: str, segment: str) -> Users:
    monday = date(2026, 9, 21)
    return Users(monday, monday + timedelta(7), lambda row: (row["service"], row["segment"]) == (service, segment))


def report_users_week() -> Answer:
    users = _of_week("mobile", "personal")
    rows = []
    for way, name in enumerate(("in", "out")):
        values = [octets[way] / 7 for octets in users.octets.values()]
        rows.append((
            name, len(values), len(users.leased), len(users.recorded), values.count(0), statistics.fmean(values),
            statistics.median(values), mode(values),  # type: ignore[arg-type]
        ))  # fmt: skip
    return rows


def report_concentration() -> Answer:
    users = _of_week("fixed", "personal")
    rows: Answer = []
    for way, name in enumerate(("in", "out")):
        values = [float(users.octets[user][way]) for user in users.recorded]
        rows.append((name, len(values), *(100 * (top(values, part) or 0) for part in (0.1, 0.01))))
    return rows


def _fixed() -> list[Row]:
    found = numbered(Asked(0, 0, 1, {"service": ("fixed",)}, 0))
    return sorted(found, key=lambda week: (week["monday"], week["origin"]))


def report_frozen_weeks() -> Answer:
    return [
        (week["monday"], week["origin"], week["label"] or str(week["monday"]), week["method"], "Asia/Tokyo", 1,
         week["hours"], len(week["missing_hours"]), 1.0 if week["hours"] else None, week["sampling"],
         int(week["made"].timestamp() * 1000))
        for week in _fixed()
    ]  # fmt: skip


def report_years_tables() -> Answer:
    rows: Answer = []
    for way, name in ((1, "in"), (2, "out")):
        for week in _fixed():
            now, last = of(week, "mode", way), of(before(week, _fixed()), "mode", way)
            rows.append((
                week["monday"], week["origin"], week["label"] or str(week["monday"]), week["method"], name,
                users_of(week) or 0, of(week, "mean", way) / 1e6, of(week, "median", way) / 1e6, now and now / 1e6,
                now / last if now and last else None,
            ))  # fmt: skip
    return rows
