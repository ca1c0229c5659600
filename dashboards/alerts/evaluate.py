"""What a rule says now: its queries asked, its numbers put together, one verdict for each set of labels.

No clock and no store in here: who asks is given, and ``now`` is a number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dashboards.alerts.expressions import Labels, Series
from dashboards.alerts.rulefile import Query, Rule, load_rules
from dashboards.macros import MacroError, Window, expand

__all__ = ["Ask", "AskFailed", "AskSilent", "Judgement", "Verdict", "judge", "load_rules"]

MOST_ROWS = 1_000
"""Instances of one rule: an answer of more is no alert's."""


class AskFailed(Exception):  # noqa: N818 - a state, told by its name
    """The store refuses the question; the message is its word."""


class AskSilent(AskFailed):
    """Nobody answers there, or not in time: the next question would wait as long."""


class Ask(Protocol):
    """Who asks the store."""

    def __call__(self, sql: str) -> Sequence[Mapping[str, object]]:
        """Rows, numbers as float and None for NULL and NaN; AskFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """One set of labels."""

    labels: Mapping[str, str]  # of the row
    firing: bool
    values: Mapping[str, float]  # by refId


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says; no verdicts and no error is no data."""

    verdicts: tuple[Verdict, ...] = ()
    error: str = ""


def judge(rule: Rule, ask: Ask, now: float, *, always: bool = False) -> Judgement:
    """The judgement at Unix time ``now``; AskSilent, all else is in it.

    Numbers that only texts need are asked for when the condition is true somewhere, or ``always``.
    """
    known: dict[str, Series] = {}
    try:
        _find(rule, ask, now, known, rule.needed)
        condition = known[rule.condition]
        if always or any(condition.values()):
            _find(rule, ask, now, known, frozenset(rule.steps))
    except AskSilent:
        raise
    except (AskFailed, MacroError) as error:
        return Judgement(error=str(error))
    return judgement_of(rule, known)


def judgement_of(rule: Rule, known: Mapping[str, Series]) -> Judgement:
    """A verdict for each set of labels that the condition has a number of, in an order that does not change."""
    return Judgement(
        tuple(Verdict(dict(labels), firing=value != 0, values=_numbers(known, labels))
              for labels, value in sorted(known[rule.condition].items(), key=lambda each: sorted(each[0])))
    )  # fmt: skip


def expanded(query: Query, now: float) -> str:
    """The SQL as of a time."""
    to_ms = round(now * 1000)
    window = Window(to_ms - query.since * 1000, to_ms - query.until * 1000, query.interval_ms)
    return expand(query.sql, window, {})


def series(rows: Sequence[Mapping[str, object]], ref: str) -> Series:
    """One number a set of labels; AskFailed for an answer of another shape.  NULL and NaN are no number."""
    if len(rows) > MOST_ROWS:
        raise AskFailed(f"query {ref}: more than {MOST_ROWS} rows; give labels of fewer values")
    found: dict[Labels, float] = {}
    for row in rows:
        labels = frozenset((name, value) for name, value in row.items() if isinstance(value, str))
        numbers = [value for value in row.values() if not isinstance(value, str)]
        if len(numbers) != 1 or not isinstance(numbers[0], float | int | None):
            raise AskFailed(f"query {ref}: a row has labels as text and exactly one number, not {len(numbers)}:"
                            f" columns {', '.join(row)}")  # fmt: skip
        if labels in found:
            raise AskFailed(f"query {ref}: two rows have the labels {dict(sorted(labels))}")
        number = math.nan if numbers[0] is None else float(numbers[0])
        found[labels] = number
    return {labels: number for labels, number in found.items() if math.isfinite(number)}


def _find(rule: Rule, ask: Ask, now: float, known: dict[str, Series], refs: frozenset[str]) -> None:
    for ref, each in rule.steps.items():  # each stands behind what it reads
        if ref in refs and ref not in known:
            known[ref] = series(ask(expanded(each, now)), ref) if isinstance(each, Query) else each.of(known)


def _numbers(known: Mapping[str, Series], labels: Labels) -> dict[str, float]:
    """Of each refId the number of these labels, or of those of them that it has."""
    found = {}
    for ref, numbers in known.items():
        fitting = [theirs for theirs in numbers if theirs <= labels]
        if labels in numbers:
            found[ref] = numbers[labels]
        elif len(fitting) == 1:
            found[ref] = numbers[fitting[0]]
    return found
