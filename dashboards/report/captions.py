"""What stands below every item: whose volume it is, who told it, how much of it was seen, and what is missing."""

from dashboards.report.model import DRAFT_UNMATCHED, SERVICE_NAMES, Material, ServiceWeek, Volume
from dashboards.report.telling import ACCESS_NAMES, PORT_ACCESS, sources_told
from dashboards.report.weeks import hour_label, is_published
from dashboards.report.words import NBSP, listed, percent, printed, sentence, week_name

NAMED = 6
"""Hours or days that a warning names one by one; of more it names the first and the last."""


def provenance(material: Material, service: str, *, volumes: bool = True, name: bool = False) -> str:
    """Source, sampling, coverage and completeness of the analysed week, in a sentence or two."""
    week = material.week.get(service)
    if week is None:
        return ""
    start = f"{SERVICE_NAMES[service]}: " if name else ""
    access = f"{ACCESS_NAMES[PORT_ACCESS[service]]} by " if service == "fixed" else ""
    source = sources_told(week) if volumes else f"{access}NetFlow"
    parts = [f"{start}{source or 'source not known'}", _sampling(week, volumes)]
    if week.quality.octets:
        parts.append(f"{percent(100 * (1 - week.quality.unmatched), 1)} of octets matched")
    parts.append("complete" if week.quality.complete else "incomplete")
    return sentence(", ".join(part for part in parts if part))


def _sampling(week: ServiceWeek, volumes: bool) -> str:
    sampling = week.quality.sampling
    if volumes and "netflow" not in week.quality.sources.values():
        return ""  # accounting counts every octet
    return f"sampled 1 in {printed(sampling, 0)}" if sampling > 1 else "not sampled"


def laid_over(weeks: tuple[ServiceWeek, ...]) -> str:
    """Whose hours the days of accounting were laid over, where hours are shown."""
    shapes = {
        "own flows": "by the hours of the same access\u2019s own flows",
        "flat": "evenly over its hours, because no flow tells of them",
    }
    told: dict[str, None] = {}
    for week in weeks:
        for volume in week.volumes:
            if volume.source == "accounting" and volume.profile:
                told[f"{ACCESS_NAMES.get(volume.access, volume.access)} {_shape(volume, shapes)}"] = None
    return sentence(f"accounting tells days: they are laid over the day, {listed(list(told))}") if told else ""


def _shape(volume: Volume, shapes: dict[str, str]) -> str:
    if volume.profile in shapes:
        return shapes[volume.profile]
    return f"by the hours of {ACCESS_NAMES.get(volume.profile, volume.profile)}\u2019s flows"


def missing_of(
    material: Material, item: str, service: str, *, compare: bool = False, without: str = ""
) -> tuple[str, ...]:
    """What an item lacks: what was wanted and not there, and the compared week where the item needs one."""
    told = list(material.missing.get(item, ()))
    if service not in material.week:
        told.append(f"nothing is known of {SERVICE_NAMES[service]} in the analysed week")
    elif compare and service not in material.compare and not told:
        told.append(f"the week that {SERVICE_NAMES[service]} would be compared with is not there")
    return tuple(dict.fromkeys([*told, without] if without else told))


# ---------------------------------------------------------------------------------------------------------------------
# At the top of the report.


def draft_reasons(material: Material) -> tuple[str, ...]:
    """Why the report is a draft: too much that belongs to nobody."""
    unmatched = {week.quality.unmatched for week in material.week.values()}
    return tuple(
        f"{percent(100 * share, 1)} of the week\u2019s octets belong to no subscriber; "
        f"above {percent(100 * DRAFT_UNMATCHED)} a report is a draft"
        for share in sorted(unmatched)
        if share > DRAFT_UNMATCHED
    )


def warnings(material: Material) -> tuple[str, ...]:
    """What is incomplete, by name of hour and day; also of the weeks that this one is compared with."""
    found: dict[str, None] = {}
    for service in material.services:
        weeks = [chosen[service] for chosen in (material.week, material.compare) if service in chosen]
        weeks += list(material.profiles.get(service, ())) + list(material.years.get(service, ()))
        for week in weeks:
            if not is_published(week):
                found |= dict.fromkeys(incomplete(week))
    for service, week in material.compare.items():
        if not is_published(week) and week.quality.unmatched > DRAFT_UNMATCHED:
            share = percent(100 * week.quality.unmatched, 1)
            found[
                f"{SERVICE_NAMES[service]}, {week_name(week.week)}: {share} of the octets belong to no subscriber"
            ] = None
    for week in material.week.values():
        if not week.school_week:
            found[
                f"the week of {week_name(week.week)} is not a school week: its hours are not those of other reports"
            ] = None
    return tuple(sentence(one) for one in found)


def incomplete(week: ServiceWeek) -> tuple[str, ...]:
    """What of a week is missing, without the names of exporters, which the table of quality has."""
    name, quality, zone = f"{SERVICE_NAMES[week.service]}, {week_name(week.week)}", week.quality, week.week.zone
    found = []
    if quality.missing_hours:
        hours = _some([hour_label(second, zone) for second in quality.missing_hours])
        if len(quality.missing_hours) >= len(week.week.hours):
            found.append(f"{name}: incomplete, no hour of the week has flows of it")
        elif len(quality.missing_hours) == 1:
            found.append(f"{name}: incomplete, the hour {hours} is missing and left out of every mean of hours")
        else:
            found.append(f"{name}: incomplete, the hours {hours} are missing and left out of every mean of hours")
    silent = sorted({second for seconds in quality.silent.values() for second in seconds})
    if silent:
        hours = _some([hour_label(second, zone) for second in silent])
        found.append(f"{name}: incomplete, an exporter that sends at other times sent nothing in {hours}")
    for source, days in sorted(quality.missing_days.items()):
        if days:
            told = _some([f"{day:%a %Y-%m-%d}" for day in days])
            access = ACCESS_NAMES.get(source.split(" ")[0], source.split(" ")[0])
            found.append(f"{name}: incomplete, accounting of {access} lacks {told}")
    return tuple(found)


def _some(names: list[str]) -> str:
    if len(names) <= NAMED:
        return listed(names)
    return f"{names[0]} to {names[-1]} ({len(names)}{NBSP}in all)"
