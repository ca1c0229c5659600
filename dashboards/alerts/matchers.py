"""Which alerts are meant: ``rule=R1``, or with a pattern of the whole value, ``exporter=~192\\.0\\.2\\..*``.

A label that an alert does not have reads as empty, as in Alertmanager.  Patterns come from people in a hurry and are
tried on the evaluator's own thread, so those that can take for ever are refused.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

MOST = 16
"""Matchers of one silence or one webhook."""

_FORM = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)(=~|=)(.*)", re.DOTALL)
_MOST_CHARACTERS = 200
# A repeated group, a back-reference or many repetitions in one pattern can cost more than a polynomial of small degree.
_REPEATED_GROUP = re.compile(r"\)[*+?{]")
_SPECIAL_GROUP = re.compile(r"\(\?|\\[1-9]")
_REPETITION = re.compile(r"\\.|[*+?{]")
_MOST_REPETITIONS = 3
_MOST_TRIED = 300  # characters of a value that a pattern is tried on


class MatcherError(ValueError):
    """A matcher cannot be read; says which, why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label."""

    name: str
    value: str
    pattern: re.Pattern[str] | None = None  # where it is ``=~``

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the alert with these labels is meant."""
        found = labels.get(self.name, "")
        if self.pattern is None:
            return found == self.value
        return len(found) <= _MOST_TRIED and self.pattern.fullmatch(found) is not None

    def __str__(self) -> str:
        return f"{self.name}{'=~' if self.pattern else '='}{self.value}"


@lru_cache(maxsize=1_024)
def matcher(text: str) -> Matcher:
    """Of ``name=value`` or ``name=~pattern``; MatcherError."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise MatcherError(f"{text!r}: write label=value or label=~pattern, as rule=R1 or exporter=~192[.]0[.]2[.].*")
    name, operator, value = form.groups()
    if len(value) > _MOST_CHARACTERS or not value.isprintable():
        raise MatcherError(f"the value for {name} is longer than {_MOST_CHARACTERS} characters or not printable")
    if operator == "=":
        return Matcher(name, value)
    bare = re.sub(r"\\.", "", value)
    if _REPEATED_GROUP.search(bare) or _SPECIAL_GROUP.search(value):
        raise MatcherError(f"{text!r}: a group may not be repeated, and (? and \\1 are not taken: they can take for"
                           " ever; write the alternatives out, or use several silences")  # fmt: skip
    if len([found for found in _REPETITION.findall(value) if not found.startswith("\\")]) > _MOST_REPETITIONS:
        raise MatcherError(f"{text!r}: more than {_MOST_REPETITIONS} of * + ? {{ can take for ever; shorten it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of what will be read otherwise, as [[
            return Matcher(name, value, re.compile(value))
    except (re.error, FutureWarning) as error:
        raise MatcherError(f"{text!r}: no pattern: {error}") from None


def matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Of several; MatcherError, also when they are too many."""
    found = tuple(matcher(text) for text in texts)
    if len(found) > MOST:
        raise MatcherError(f"{len(found)} matchers: more than {MOST}")
    return found


def match(conditions: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all hold."""
    return all(condition.matches(labels) for condition in conditions)
