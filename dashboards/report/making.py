"""The whole report on one screen: which weeks, where they come from, what is made of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboards.report.asking import measure, months, zone_of
from dashboards.report.compose import compose
from dashboards.report.files import Progress
from dashboards.report.frozen import Header, freeze, listed, load
from dashboards.report.model import DRAFT_UNMATCHED, OWN, SERVICE_NAMES, SERVICES, Material, Report, ServiceWeek, Week
from dashboards.report.months import SINCE
from dashboards.report.publishing import publish
from sinks import Store

YEAR = timedelta(days=364)
"""Between weeks that are compared: whole weeks, so that each day meets its weekday."""
PROFILE_WEEKS = (52, 35, 17, 0)
"""How many weeks before the analysed one figure 2 has its weeks: about four months apart."""
BEFORE_PANDEMIC = date(2020, 2, 17)
"""The middle of the month whose week the source report draws beside those of later years."""
LEFT_BY_CORRECTIONS = 0.9
"""A week measured again has at least this part of its users, octets and rows of ports: less is not a correction."""
_COMPARED = {"fixed": ("figure-3", "figure-7"), "mobile": ("figure-4", "figure-8")}
_OF_YEARS = ("figure-9", "figure-10", "figure-11")


class NoWeek(Exception):  # noqa: N818
    """There is nothing to report on; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; weeks by their Mondays."""

    week: date
    compare: date | None = None  # None: YEAR before
    profile_weeks: Sequence[date] = ()  # none: PROFILE_WEEKS
    years: Sequence[date] = ()  # none: of each year the frozen week nearest to the analysed one
    services: Sequence[str] = SERVICES
    across_breaks: bool = False
    publish: bool = False
    freeze: bool = True  # weeks that are complete
    measure_again: bool = False  # also where a frozen week is in force


def make(
    store: Store, request: Request, progress: Progress = lambda text, done: None, *, today: date | None = None
) -> Report:
    """The report of a week; NoWeek, StoreUnavailable, StoreRefused."""
    weeks = _Weeks(store, request, today or _today(zone_of(store)))
    material = gather(store, request, weeks, progress)
    report = compose(material)
    if not weeks.is_over(request.week):
        report = replace(report, draft=(*report.draft, f"the week is not over before {weeks.week(request.week).end}"))
    return publish(report) if request.publish else report


def gather(store: Store, request: Request, weeks: "_Weeks", progress: Progress) -> Material:
    """All that the report is made from; what is found complete is frozen on the way."""
    compared = request.compare or request.week - YEAR
    profiles = request.profile_weeks or [request.week - timedelta(weeks=number) for number in PROFILE_WEEKS]
    headers = listed(store)
    others = {name: _years(headers, name, request, compared) for name in request.services}
    asked = 2 * len(request.services) + len(profiles) + sum(map(len, others.values()))
    steps = _Steps(progress, asked + 1)
    week = weeks.of([request.week], request.services, steps)
    if not week:
        raise NoWeek(f"nothing is known of the week {weeks.week(request.week)}: {_there(store, weeks.zone)}")
    compare = weeks.of([compared], request.services, steps)
    missing: dict[str, list[str]] = {}
    for name in (name for name in request.services if name in week and name not in compare):
        for item in _COMPARED[name]:
            missing.setdefault(item, []).append(f"nothing is known of the week {weeks.week(compared)}")
    by_service: dict[str, tuple[ServiceWeek, ...]] = {}
    if "fixed" in request.services:  # figure 2 has no other
        found = [weeks.one(monday, "fixed", steps) for monday in sorted(profiles)]
        by_service["fixed"] = tuple(each for each in found if each is not None)
        missing["figure-2"] = _lacking(weeks, sorted(profiles), found)
    steps.say("months", 1)
    years = {name: _loaded(store, weeks, name, others[name], steps) for name in request.services}
    for item in _OF_YEARS:
        missing[item] = _years_lacking(request, weeks, years.get("fixed", ()), compared)
    return Material(
        services=tuple(request.services),
        week={name: found[0] for name, found in week.items()},
        compare={name: found[0] for name, found in compare.items()},
        profiles=by_service,
        years=years,
        months=months(store, min(SINCE, request.week - 6 * YEAR), weeks.week(request.week).days[3], request.services),
        missing={item: tuple(words) for item, words in missing.items() if words},
        made=_made([found[0] for found in week.values()]),
        across_breaks=request.across_breaks,
    )


class _Steps:
    """Counts weeks, and tells what of a week is asked."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def say(self, text: str, done: int = 0) -> None:
        self._done += done
        self._progress(text, min(self._done / self._total, 1.0))


class _Weeks:
    """Where a week of a service comes from: frozen, or measured and then frozen."""

    def __init__(self, store: Store, request: Request, today: date) -> None:
        self._store, self._request, self._today = store, request, today
        self.zone = zone_of(store)
        self._known: dict[tuple[date, str], ServiceWeek | None] = {}

    def week(self, monday: date) -> Week:
        return Week(monday, self.zone)

    def is_over(self, monday: date) -> bool:
        return self._today >= self.week(monday).end

    def of(self, mondays: Iterable[date], services: Sequence[str], steps: _Steps) -> dict[str, list[ServiceWeek]]:
        """By service, those that there are."""
        found: dict[str, list[ServiceWeek]] = {}
        for monday in mondays:
            for service in services:
                if (one := self.one(monday, service, steps)) is not None:
                    found.setdefault(service, []).append(one)
        return found

    def one(self, monday: date, service: str, steps: _Steps) -> ServiceWeek | None:
        """None: nothing is known of it."""
        if (monday, service) not in self._known:
            steps.say(f"{SERVICE_NAMES[service]}, week of {monday}")
            self._known[monday, service] = self._found(monday, service, steps)
        steps.say("", 1)
        return self._known[monday, service]

    def _found(self, monday: date, service: str, steps: _Steps) -> ServiceWeek | None:
        kept = load(self._store, monday, service)
        if kept is not None and not self._request.measure_again:
            return kept
        measured = measured_week(self._store, self.week(monday), service, steps.say)
        if measured is None or (kept is not None and has_lost(measured, kept)):
            return kept
        if not self._request.freeze or not self.is_over(monday) or reasons_against(measured):
            return measured
        freeze(self._store, measured)
        # As the next report will find it, so that this one is the same.
        return load(self._store, monday, service)


def measured_week(
    store: Store, week: Week, service: str, say: Callable[[str], object], *, school_week: bool = True
) -> ServiceWeek | None:
    """A week as the store's tables have it; None where they have nothing of the service."""
    measured = measure(store, service, week, school_week=school_week, progress=say)
    return measured if measured.volumes or measured.ports or measured.users else None


def reasons_against(week: ServiceWeek) -> tuple[str, ...]:
    """Why a week is not frozen unasked: it may become better."""
    reasons = []
    if not week.quality.complete:
        reasons.append("it is incomplete")
    if week.quality.unmatched > DRAFT_UNMATCHED:
        reasons.append(f"{week.quality.unmatched:.1%} of the octets have no subscriber")
    return tuple(reasons)


def has_lost(measured: ServiceWeek, kept: ServiceWeek) -> bool:
    """Whether what a frozen week was measured from is gone in part: a measure of what is left must not replace it."""
    pairs = [(len(measured.ports), len(kept.ports)), (_octets(measured), _octets(kept))]
    pairs += [(measured.users[way].users if way in measured.users else 0, one.users) for way, one in kept.users.items()]
    return any(now < LEFT_BY_CORRECTIONS * before for now, before in pairs)


def _octets(week: ServiceWeek) -> int:
    return sum(int(volume.octets.sum()) for volume in week.volumes)


def mondays_there(store: Store, zone: str) -> dict[date, set[str]]:
    """Weeks of which anything is known, by service: in the tables of hours and days, or frozen."""
    rows = store.query(
        "SELECT DISTINCT toMonday(toDate(time, {zone:String})) AS monday, toString(service) AS service FROM bucket_1h"
        " WHERE service != '' UNION DISTINCT"
        " SELECT DISTINCT toMonday(day) AS monday, toString(service) AS service FROM v_accounting",
        zone=zone,
    ).to_pylist()
    found: dict[date, set[str]] = {}
    for monday, service in [(row["monday"], row["service"]) for row in rows] + [
        (header.monday, header.service) for header in listed(store) if header.origin == OWN
    ]:
        found.setdefault(monday, set()).add(service)
    return dict(sorted(found.items()))


def _there(store: Store, zone: str) -> str:
    there = list(mondays_there(store, zone))
    if not there:
        return "the store has no week at all"
    shown = [str(monday) for monday in there[-8:]]
    return f"there are {'' if len(there) <= 8 else f'{len(there)} weeks, the last of them '}{', '.join(shown)}"


def _years(headers: Iterable[Header], service: str, request: Request, compared: date) -> tuple[tuple[date, str], ...]:
    """Which other weeks stand beside: (Monday, origin); of each year the one nearest to the analysed week's days."""
    own = [header for header in headers if header.service == service and header.origin == OWN]
    published = [(each.monday, each.origin) for each in headers if each.service == service and each.origin != OWN]
    if request.years:
        return (*published, *((monday, OWN) for monday in sorted(request.years)))
    chosen: dict[int, Header] = {}
    taken = {_year(request.week), _year(compared)}
    for header in own:
        year = _year(header.monday)
        if year in taken or header.monday > request.week:
            continue
        if year not in chosen or _rank(header, request.week) < _rank(chosen[year], request.week):
            chosen[year] = header
    mondays = {header.monday for header in chosen.values()}
    february = [
        each for each in own if (each.monday.year, each.monday.month) == (2020, 2) and each.monday < request.week
    ]
    if february:
        mondays.add(min(february, key=lambda each: abs(each.monday - BEFORE_PANDEMIC)).monday)
    return (*published, *((monday, OWN) for monday in sorted(mondays)))


def _rank(header: Header, near: date) -> tuple[bool, int]:
    """School weeks first, then by how far its days are from those of another year's week."""
    apart = abs((header.monday.timetuple().tm_yday - near.timetuple().tm_yday + 182) % 365 - 182)
    return not header.school_week, apart


def _year(monday: date) -> int:
    """That most of a week's days are in."""
    return (monday + timedelta(days=3)).year


def _loaded(
    store: Store, weeks: _Weeks, service: str, wanted: Sequence[tuple[date, str]], steps: _Steps
) -> tuple[ServiceWeek, ...]:
    service_weeks = []
    for monday, origin in wanted:
        if origin == OWN:
            found = weeks.one(monday, service, steps)
        else:
            found = load(store, monday, service, origin)
            steps.say("", 1)
        if found is not None:
            service_weeks.append(found)
    return tuple(sorted(service_weeks, key=lambda each: (each.week.monday, each.origin)))


def _lacking(weeks: _Weeks, mondays: Sequence[date], found: Sequence[ServiceWeek | None]) -> list[str]:
    return [f"nothing is known of the week {weeks.week(monday)}"
            for monday, one in zip(mondays, found, strict=True) if one is None]  # fmt: skip


def _years_lacking(
    request: Request, weeks: _Weeks, there: Sequence[ServiceWeek], compared: date
) -> list[str]:  # fmt: skip
    own = {each.week.monday for each in there if each.origin == OWN}
    if request.years:
        return [f"nothing is known of the week {weeks.week(monday)}" for monday in sorted(set(request.years) - own)]
    told = {_year(monday) for monday in (*own, request.week, compared)}
    if not own:
        return [f"no week of a year before {min(told)} is frozen"]
    lacking = sorted(set(range(min(told), max(told))) - told)
    return [f"no week of {year} is frozen" for year in lacking]


def _made(week: Sequence[ServiceWeek]) -> datetime:
    """When the analysed week was frozen, or else its end: never when the report was written."""
    frozen = [each.made for each in week if each.made is not None]
    return max(frozen) if frozen else datetime.fromtimestamp(week[0].week.until, UTC)


def _today(zone: str) -> date:
    return datetime.now(ZoneInfo(zone)).date()
