"""The report from its material: what is told, in which order."""

from collections.abc import Iterable
from datetime import UTC

from dashboards.report import (
    captions,
    concentration,
    distributions,
    hours_items,
    https_items,
    port_sentences,
    port_weeks,
    ports_items,
    quality_items,
    sentences,
    usage,
    user_sentences,
    volume_sentences,
    volumes_items,
    years_items,
)
from dashboards.report.model import PUBLISHED, SERVICE_NAMES, Material, Report, Section
from dashboards.report.telling import Item, sources_told, unique
from dashboards.report.text import Text
from dashboards.report.words import listed, week_name

SOURCE = "IIJ, Internet Infrastructure Review Vol. 64, chapter 1: Broadband Traffic Report (September 2024)"
"""Whose definitions these are, and whose numbers the published years are."""


def compose(material: Material) -> Report:
    """All figures, tables and words of a report; what cannot be told says what it lacks."""
    chapters = tuple(_chapters(material))
    lead = sentences.summary(material)
    texts = [lead, *(text for _, _, words, _ in chapters for text in words)]
    items = [item for *_, items in chapters for item in items]
    return Report(
        title=f"{listed([SERVICE_NAMES[one] for one in material.services])} traffic report".capitalize(),
        subtitle=_subtitle(material),
        draft=captions.draft_reasons(material),
        warnings=captions.warnings(material),
        summary=(lead.paragraph,) if lead.spoken else (),
        sections=tuple(
            Section(
                name, title, tuple(text.paragraph for text in words if text.spoken), tuple(item.shown for item in items)
            )
            for name, title, words, items in chapters
        ),
        numbers=unique(
            [number for item in items for number in item.all()] + [number for text in texts for number in text.numbers]
        ),
        facts=tuple(_facts(material)),
        said=tuple(dict.fromkeys(one for text in texts for one in text.spoken)),
    )


def _chapters(material: Material) -> Iterable[tuple[str, str, list[Text], list[Item]]]:
    services = material.services
    fixed = "fixed" in services
    totals = [volumes_items.month_figure(material), volumes_items.volume_table(material)]
    if fixed:
        totals += [volumes_items.ipoe_table(material), hours_items.weekday_figure(material)]
    yield (
        "volumes",
        "Traffic volume",
        [
            *(volume_sentences.volumes(material, one) for one in services),
            volume_sentences.segments(material),
            volume_sentences.hours(material),
        ],
        [*totals, hours_items.peak_table(material), volumes_items.week_table(material)],
    )
    for service in services:
        yield (
            f"users-{service}",
            f"Daily use of {SERVICE_NAMES[service]} users",
            [user_sentences.users(material, service)],
            [
                distributions.distribution(material, service),
                usage.daily_table(material, service),
                distributions.scatter(material, service),
            ],
        )
    yield "concentration", "Heavy users", [user_sentences.heaviest(material)], [concentration.concentration(material)]
    for service in services:
        yield (
            f"ports-{service}",
            f"{SERVICE_NAMES[service].capitalize()} usage by port",
            [port_sentences.ports(material, service)],
            [
                ports_items.port_table(material, service),
                port_weeks.week_figure(material, service),
                ports_items.largest(material, service),
            ],
        )
    yield (
        "https",
        "Port 443 over IPv4 and IPv6",
        [port_sentences.by_version(material)],
        [https_items.https_table(material)],
    )
    drawn = [*hours_items.years_figures(material), distributions.by_year(material)] if fixed else []
    yield (
        "years",
        "Over the years",
        [user_sentences.over_years(material)],
        [*drawn, concentration.mode_growth(material), years_items.weeks_table(material)],
    )
    yield "quality", "What the numbers rest on", [sentences.quality(material)], [quality_items.quality_table(material)]


def _subtitle(material: Material) -> str:
    weeks = dict.fromkeys(week_name(week.week) for week in material.week.values())
    before = dict.fromkeys(week_name(week.week) for week in material.compare.values())
    text = f"Week of {listed(list(weeks))}" if weeks else "No week"
    return f"{text}, compared with {listed(list(before))}" if before else text


def _facts(material: Material) -> Iterable[tuple[str, str]]:
    own = {week.method: None for week in material.week.values()}
    yield "Method", listed(list(own)) or "none"
    yield "Definitions", SOURCE
    if any(week.origin == PUBLISHED for weeks in material.years.values() for week in weeks):
        yield "Published years", SOURCE
    yield "Local time", listed(sorted({week.week.zone for week in material.week.values()})) or "none"
    for service in material.services:
        if service in material.week:
            week = material.week[service]
            yield f"Source, {SERVICE_NAMES[service]}", sources_told(week) or "none"
            if week.made is not None:
                yield f"{FROZEN}, {SERVICE_NAMES[service]}", f"{week.made.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    yield "Directions", "IN is upload from the user, OUT is download to the user; MB is 10⁶ octets"


FROZEN = "Frozen"
"""The fact that tells when a week was frozen; never published."""
