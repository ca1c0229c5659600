"""The texts of annotations: a small part of Go's templates that Grafana and we expand alike.

``{{ $labels.x }}``, ``{{ $values.X.Value }}``, ``{{ humanize … }}``, ``{{ humanizePercentage … }}`` and
``{{ printf "%.1f" … }}`` of a value.  Everything else is refused when the file is read, never at three in the morning.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOTHING = "[no value]"
"""What stands where a label or a number is missing."""
_TAG = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$labels\.(\w+)")
_VALUE = re.compile(r"(?:(humanize|humanizePercentage)\s+|printf\s+\"([^\"]*)\"\s+)?\$values\.(\w+)(?:\.Value)?")
_FORMAT = re.compile(r"(?:[^%]|%%)*%\+?(?:\.\d)?[fg](?:[^%]|%%)*")
_LARGE, _SMALL = ("", "k", "M", "G", "T", "P", "E", "Z", "Y"), ("", "m", "u", "n", "p", "f", "a", "z", "y")
_MOST = 4_000  # characters of a text, before and after


class TemplateError(Exception):
    """Not of the part that is understood; the message says what is."""


@dataclass(frozen=True, slots=True)
class _Label:
    name: str


@dataclass(frozen=True, slots=True)
class _Value:
    ref: str
    form: str  # humanize, humanizePercentage, a format of printf, or empty


@dataclass(frozen=True, slots=True)
class Template:
    """A text with holes."""

    parts: Sequence[str | _Label | _Value]

    def expand(self, labels: Mapping[str, str], values: Mapping[str, float]) -> str:
        """The text; what is missing is said, never 0."""
        return "".join(_filled(part, labels, values) for part in self.parts)[:_MOST]

    @property
    def refs(self) -> frozenset[str]:
        """refIds of its numbers."""
        return frozenset(part.ref for part in self.parts if isinstance(part, _Value))


def parse(text: str) -> Template:
    """A template; TemplateError."""
    if len(text) > _MOST:
        raise TemplateError(f"{len(text)} characters: at most {_MOST}")
    parts: list[str | _Label | _Value] = []
    at = 0
    for tag in _TAG.finditer(text):
        parts += [_plain(text[at : tag.start()]), _hole(tag[1])]
        at = tag.end()
    return Template(tuple(part for part in (*parts, _plain(text[at:])) if part != ""))


def humanize(value: float) -> str:
    """Four digits and a prefix of SI, as Prometheus writes it."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.4g}"
    step = 0
    if abs(value) >= 1:
        while abs(value) >= 1000 and step < len(_LARGE) - 1:
            value, step = value / 1000, step + 1
        return f"{value:.4g}{_LARGE[step]}"
    while abs(value) < 1 and step < len(_SMALL) - 1:
        value, step = value * 1000, step + 1
    return f"{value:.4g}{_SMALL[step]}"


def humanize_percentage(value: float) -> str:
    """A share of 1 in per cent, as Prometheus writes it."""
    return f"{value * 100:.4g}%"


def _plain(text: str) -> str:
    if "{{" in text or "}}" in text:
        raise TemplateError(f"{text[:60]!r}: a {{{{ or }}}} without its other end")
    return text


def _hole(inner: str) -> _Label | _Value:
    if found := _LABEL.fullmatch(inner):
        return _Label(found[1])
    found = _VALUE.fullmatch(inner)
    if found is None or (found[2] is not None and not _FORMAT.fullmatch(found[2])):
        raise TemplateError(
            f"{{{{ {inner[:80]} }}}} is not understood: write $labels.NAME, $values.X.Value, or humanize,"
            ' humanizePercentage or printf "%.1f" before the value'
        )
    return _Value(found[3], found[1] or found[2] or "")


def _filled(part: str | _Label | _Value, labels: Mapping[str, str], values: Mapping[str, float]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, _Label):
        return labels.get(part.name, NOTHING)
    value = values.get(part.ref)
    if value is None:
        return NOTHING
    if part.form == "humanize":
        return humanize(value)
    if part.form == "humanizePercentage":
        return humanize_percentage(value)
    return part.form % value if part.form else f"{value:.15g}"
