"""The lead and what the numbers rest on, in words.

Every verb follows from the values as they are printed, and every value is one of the report's numbers.
"""

from datetime import date

from dashboards.report import ports, quality_items, usage
from dashboards.report.concentration import top
from dashboards.report.model import IN, OUT, SERVICE_NAMES, Material
from dashboards.report.months import Months
from dashboards.report.port_sentences import both_443
from dashboards.report.ports import Parts
from dashboards.report.telling import USER_DECIMALS
from dashboards.report.text import NOUNS, Text, told
from dashboards.report.volume_sentences import growths
from dashboards.report.words import NBSP, from_to, month_name, week_name


def quality(material: Material) -> Text:
    """Coverage, completeness and sampling in a few words."""
    text = Text()
    for service in material.services:
        week = material.week.get(service)
        if week is None:
            continue
        matched = quality_items.coverage(week)
        state = "complete" if week.quality.complete else "incomplete"
        sampled = quality_items.sampling(week)
        rate = f", with 1 packet in {text.value(sampled, 0)} sampled" if week.quality.sampling > 1 else ", unsampled"
        share = f"; {text.percent(matched, 1)} of all octets belong to a known subscriber" if matched else ""
        text.say(f"{SERVICE_NAMES[service]}, {week_name(week.week)}, is {state}{rate}{share}")
    return text


def summary(material: Material) -> Text:
    """The lead: what one must know if one reads no further."""
    text = Text()
    _growth(text, material)
    _daily(text, material)
    _heaviest(text, material)
    for service in material.services:
        _https(text, material, service)
    return text


def _growth(text: Text, material: Material) -> None:
    by_month: dict[date, list[str]] = {}
    for service in material.services:
        months = Months(material, service)
        year = [(NOUNS[at], one) for at in (IN, OUT) for one in told([months.yoy(at)])]
        if months.analysed and year:
            by_month.setdefault(months.analysed, []).append(f"{SERVICE_NAMES[service]} {growths(text, year)}")
    parts = [f"in the year to {month_name(first)}, {'; '.join(words)}" for first, words in by_month.items()]
    text.say("; ".join(parts))


def _daily(text: Text, material: Material) -> None:
    parts = []
    for service in material.services:
        week = material.week.get(service)
        mean, mode = (usage.daily(week, OUT, what) if week else None for what in ("mean", "mode"))
        if mean and mode and mode.value is not None:
            decimals = USER_DECIMALS[service]
            parts.append(
                f"a {SERVICE_NAMES[service]} user downloads {text.value(mean, decimals)}{NBSP}MB a day on average and "
                f"{text.value(mode, decimals)}{NBSP}MB most often"
            )
    text.say("; ".join(parts))


def _heaviest(text: Text, material: Material) -> None:
    parts = []
    for service in material.services:
        week = material.week.get(service)
        tops = [top(week, at, "top10") if week else None for at in (OUT, IN)]
        if len(told(tops)) == len(tops):
            shares = [text.percent(one) for one in told(tops)]
            parts.append(f"{shares[0]} of {SERVICE_NAMES[service]} downloads and {shares[1]} of uploads")
    text.say(f"the heaviest tenth of users account for {'; for '.join(parts)}" if parts else "")


def _https(text: Text, material: Material, service: str) -> None:
    week, then = material.week.get(service), material.compare.get(service)
    both = both_443(Parts(week)) if week else None
    if week is None or both is None or both.value is None:
        return
    comparable = then is not None and then.ports and ports.comparable(week, then, material)
    was = both_443(Parts(then)) if then is not None and comparable else None
    name = SERVICE_NAMES[service]
    if was is None or was.value is None:
        text.say(f"port 443, TCP and UDP, carries {text.percent(both, 1)} of {name} volume")
        return
    text.numbers += [both, was]
    text.say(from_to(f"the share of port 443, TCP and UDP, in {name} volume", was.value, both.value))
