"""What was found of volumes, in words."""

from collections.abc import Sequence

from dashboards.report import hours_items, volumes_items
from dashboards.report.model import IN, OUT, SERVICE_NAMES, Material, Number
from dashboards.report.months import FIVE_YEARS, Months, before
from dashboards.report.text import NOUNS, Text, told
from dashboards.report.words import as_printed, hour_span, listed, month_name, moved, points


def growths(text: Text, pairs: Sequence[tuple[str, Number]]) -> str:
    """Uploads rose by 14 % and downloads by 12 %."""
    words, last = [], ""
    for noun, number in pairs:
        verb = moved(as_printed(number.value or 0.0, 0))
        if verb == moved(0):
            words.append(f"{noun} {verb}")
            text.numbers.append(number)
        else:
            words.append(f"{noun} {'' if verb == last else f'{verb} '}by {text.size(number)}")
        last = verb
    return listed(words)


def volumes(material: Material, service: str) -> Text:
    """Growth of a service's total, beside that of the year before, and over longer spans."""
    text, months, name = Text(), Months(material, service), SERVICE_NAMES[service]
    now = months.analysed
    year = [(NOUNS[at], one) for at in (IN, OUT) for one in told([months.yoy(at)])]
    if now is None or not year:
        return text
    text.say(f"in the year to {month_name(now)}, {name} {growths(text, year)}")
    earlier = [(NOUNS[at], one) for at in (IN, OUT) for one in told([months.yoy(at, 1)])]
    if len(earlier) == len(year):
        text.say(f"in the year before, {growths(text, earlier)}{_pace(year, earlier)}")
    if service == "fixed":
        _ipoe(text, months)
    level = told([volumes_items.level_now(months, OUT)])
    if level and months.base and months.base != now:
        text.say(f"{NOUNS[OUT]} were at {text.value(level[0], 2)} times their level of {month_name(months.base)}")
    spans = {at: volumes_items.five_years(months, at) for at in (IN, OUT)}
    if all(factor and root for factor, root in spans.values()):
        parts = [
            f"{NOUNS[at]} {'have come ' if at == IN else ''}to {text.value(factor, 2)} times"
            for at, (factor, _) in spans.items()
            if factor
        ]
        yearly = listed([text.value(root, 2) for _, root in spans.values() if root])
        since = before(now, FIVE_YEARS)
        told_since = f"since {month_name(since)}, {name} {listed(parts)} what they were" if since else ""
        text.say(f"{told_since}, that is {yearly} times a year")
    return text


def _pace(year: Sequence[tuple[str, Number]], earlier: Sequence[tuple[str, Number]]) -> str:
    """Whether growth has quickened, where all of it is growth."""
    pairs = [
        (noun, as_printed(now.value or 0, 0), as_printed(then.value or 0, 0))
        for (noun, now), (_, then) in zip(year, earlier, strict=True)
    ]
    if any(min(now, then) <= 0 for _, now, then in pairs):
        return ""
    words = {"rose": "quickened", "fell": "slowed", moved(0): "kept its pace"}
    paces = {noun: words[moved(now - then)] for noun, now, then in pairs}
    if len(set(paces.values())) == 1 and len(paces) > 1:
        return f": growth has {next(iter(paces.values()))} in both directions"
    return ": growth has " + listed([f"{pace} for {noun}" for noun, pace in paces.items()])


def _ipoe(text: Text, months: Months) -> None:
    shares = {at: months.share(months.analysed, at, volumes_items.IPOE) for at in (IN, OUT)}
    if volumes_items.IPOE not in months.accesses or len(told(shares.values())) < 2:
        return
    parts = [f"{text.percent(one, 1)} of {NOUNS[at]}" for at, one in shares.items() if one]
    text.say(f"IPoE carried {listed(parts)}{_ipoe_change(text, months)}")


def _ipoe_change(text: Text, months: Months) -> str:
    changes = [(at, one) for at in (IN, OUT) for one in told([months.share_change(at, volumes_items.IPOE)])]
    if len(changes) < 2:
        return ""
    words: list[str] = []
    last = ""
    for at, one in changes:
        text.numbers.append(one)
        verb = moved(one.value or 0)
        told_verb = "" if verb == last and one.value else f" {verb}"
        by = f" by {points(one.value or 0)}" if one.value else ""
        words.append(f"{'its share' if not words else 'that'} of {NOUNS[at]}{told_verb}{by}")
        last = verb
    return f"; against a year before, {listed(words)}"


def segments(material: Material) -> Text:
    """How much of each direction is of personal subscribers."""
    text = Text()
    for service in material.services:
        week = material.week.get(service)
        shares = {at: volumes_items.segment_share(week, at, "personal") if week else None for at in (IN, OUT)}
        if len(told(shares.values())) == len(shares):
            parts = [f"{text.percent(one, 1)} of {NOUNS[at]}" for at, one in shares.items() if one]
            text.say(f"of {SERVICE_NAMES[service]}, personal subscribers made up {listed(parts)}")
    return text


def hours(material: Material) -> Text:
    """When weekdays have their peaks."""
    text = Text()
    for service in material.services:
        week = material.week.get(service)
        if week is None or not week.volumes:
            continue
        peaks = {at: hours_items.peak_hour(week, at) for at in (OUT, IN)}
        parts = [f"{NOUNS[at]}{' peak' if at == OUT else ''} at {_hour(text, one)}" for at, one in peaks.items() if one]
        if len(parts) < len(peaks):
            continue
        text.say(f"on weekdays, {SERVICE_NAMES[service]} {listed(parts)}")
        dip = hours_items.lunch_dip(week)
        if dip is not None and as_printed(dip.value or 0, 1) > 0:
            text.say(
                f"{SERVICE_NAMES[service]} uploads dip at noon: the hour from 12:00 is {text.percent(dip, 1)} below "
                "the lower of those beside it"
            )
        maxima = hours_items.maxima(week)
        if service == "mobile" and maxima is not None and (maxima.value or 0) > 1:
            at = listed([f"{hour}:00" for hour in hours_items.peaks_a_day(week, OUT)])
            text.say(f"mobile downloads have {text.value(maxima, 0)} peaks a weekday, in the hours from {at}")
    return text


def _hour(text: Text, number: Number) -> str:
    text.numbers.append(number)
    return hour_span(int(number.value or 0))
