"""What was found of users, in words."""

from dashboards.report import concentration, hours_items, usage
from dashboards.report.model import IN, OUT, SERVICE_NAMES, Material, ServiceWeek
from dashboards.report.telling import USER_DECIMALS
from dashboards.report.text import NOUNS, Text, compared, told
from dashboards.report.weeks import is_published, previous, year_of
from dashboards.report.words import NBSP, as_printed, change, from_to, listed, moved, printed

EDGE = 10
"""Ratio from which one speaks of an order of magnitude."""


def users(material: Material, service: str) -> Text:
    """Mean, median and mode of a service's users, and what moved."""
    text, week, then = Text(), material.week.get(service), previous(material, service)
    if week is None or len(week.users) < 2:
        return text
    decimals, name = USER_DECIMALS[service], SERVICE_NAMES[service]
    values = {(at, what): usage.daily(week, at, what) for at in (IN, OUT) for what in ("mean", "median", "mode")}

    def mb(at: int, what: str) -> str:
        number = values[at, what]
        return f"{text.value(number, decimals)}{NBSP}MB" if number and number.value is not None else "nothing"

    text.say(
        f"on average, a {name} user downloaded {mb(OUT, 'mean')} and uploaded {mb(IN, 'mean')} a day; the medians were "
        f"{mb(OUT, 'median')} and {mb(IN, 'median')}"
    )
    if values[OUT, "mode"] and values[IN, "mode"]:
        text.say(
            f"the most frequent volume, the mode, was {mb(OUT, 'mode')} for downloads and {mb(IN, 'mode')} for uploads"
        )
    if then is not None:
        _moves(text, week, then, compared(material, service))
    _ratios(text, week)
    return text


def _moves(text: Text, week: ServiceWeek, then: ServiceWeek, when: str) -> None:
    clauses = []
    for what in ("mean", "mode"):
        parts = [_move(text, week, then, at, what) for at in (OUT, IN)]
        if all(parts):
            clauses.append(f"the {what} of {NOUNS[OUT]} {parts[0]} and that of {NOUNS[IN]} {parts[1]}")
    text.say(f"against {when.removeprefix('in ')}, {'; '.join(clauses)}" if clauses else "")


def _move(text: Text, week: ServiceWeek, then: ServiceWeek, direction: int, what: str) -> str:
    new, old = (usage.daily(one, direction, what) for one in (week, then))
    if new is None or old is None or new.value is None or old.value is None:
        return ""
    decimals = USER_DECIMALS[week.service]
    verb, before = moved(change(new.value, old.value, decimals)), text.value(old, decimals)
    return verb if verb == moved(0) else f"{verb} from {before}{NBSP}MB"


def _ratios(text: Text, week: ServiceWeek) -> None:
    modes = usage.out_over_in(week)
    if modes is not None and modes.value:
        text.numbers.append(modes)
        decimals = 0 if modes.value >= EDGE else 1
        more = ", more than an order of magnitude" if modes.value > EDGE else ""
        text.say(f"the most frequent download is {printed(modes.value, decimals)} times the most frequent upload{more}")
    skewed = [(at, one) for at in (OUT, IN) for one in told([usage.mean_over_median(week, at)])]
    if skewed:
        parts = [f"{text.value(one, 1)} times the median for {NOUNS[at]}" for at, one in skewed]
        heavy = ": a minority moves much of the volume" if all((one.value or 0) >= 2 for _, one in skewed) else ""
        text.say(f"the mean is {listed(parts)}{heavy}")


def heaviest(material: Material) -> Text:
    """How much the heaviest users move, and in which direction it is more uneven."""
    text = Text()
    for service in material.services:
        week = material.week.get(service)
        if week is None:
            continue
        tops = {(at, what): concentration.top(week, at, what) for what in ("top10", "top1") for at in (OUT, IN)}
        if len(told(tops.values())) < len(tops):
            continue
        for what, size in concentration.TOPS.items():
            shares = [text.percent(one) for (_, name), one in tops.items() if name == what and one]
            whose = f"of {SERVICE_NAMES[service]} users" if what == "top10" else "of the same users"
            text.say(
                f"{whose}, the heaviest {size}{NBSP}% account for {shares[0]} of downloads and {shares[1]} of uploads"
            )
        out, into = (as_printed(one.value or 0, 0) for (_, what), one in tops.items() if one and what == "top10")
        if out != into:
            first, second = (NOUNS[IN], NOUNS[OUT]) if into > out else (NOUNS[OUT], NOUNS[IN])
            text.numbers += [one for (_, what), one in tops.items() if one and what == "top10"]
            text.say(f"{first} are more concentrated than {second}")
    return text


def over_years(material: Material) -> Text:
    """Modes of years ago, and the daytime's share of uploads against before the pandemic."""
    text = Text()
    for service in material.services:
        for now, then, span in concentration.mode_pairs(material, service):
            if span != concentration.FIVE or now is not material.week.get(service):
                continue
            factors = {at: concentration.mode_factor(now, then, at, material) for at in (OUT, IN)}
            parts = [f"{text.value(one, 2)} for {NOUNS[at]}" for at, one in factors.items() if one]
            if len(parts) == len(factors):
                values = [as_printed(one.value or 0, 2) for one in factors.values() if one]
                verb = "grew" if min(values) > 1 else "shrank" if max(values) < 1 else "changed"
                text.say(
                    f"from {year_of(then)} to {year_of(now)}, the most frequent volume of {SERVICE_NAMES[service]} "
                    f"users {verb} by factors of {listed(parts)}"
                )
        _step(text, material, service)
    base, week = hours_items.first_before_pandemic(material), material.week.get("fixed")
    if base is not None and week is not None and week is not base:
        ends = [hours_items.daytime_share(one) for one in (base, week)]
        if len(told(ends)) == 2:
            then_, now_ = told(ends)
            text.numbers += [then_, now_]
            words = from_to("the share of weekday uploads from 9:00 to 18:00", then_.value or 0, now_.value or 0)
            text.say(f"since February 2020, {words}")
    return text


def _step(text: Text, material: Material, service: str) -> None:
    """The largest growth from one year to the next: of the weeks measured here, else of the published years."""
    steps = [pair[:2] for pair in concentration.mode_pairs(material, service) if pair[2] == concentration.STEP]
    for now, then in steps[-1:]:
        factor, at = concentration.largest_factor(now, then, material)
        number = concentration.mode_factor(now, then, at, material)
        if number is not None and as_printed(factor, 2) > 1:
            whose = "published years" if is_published(now) else "weeks measured here"
            text.say(
                f"among the {whose}, the mode of {SERVICE_NAMES[service]} users grew most in {NOUNS[at]} from "
                f"{year_of(then)} to {year_of(now)}, {text.value(number, 2)} times"
            )
