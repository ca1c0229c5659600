"""Where one is in a file of rules: typed values of its keys, and errors that say where and what to do."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z_]\w{0,99}")
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS = (604_800, 86_400, 3_600, 60, 1)
LONGEST = 400 * 86_400
"""Seconds: no range of a rule is longer."""

_WHY = {
    "keepFiringFor": "only Grafana from 12.1.2 on reads it from a file: let the query remember instead",
    "keep_firing_for": "that is Prometheus' key: let the query remember instead",
    "missing_series_evals_to_resolve": "only newer versions of Grafana read it from a file",
    "notification_settings": "only newer versions of Grafana read it: route by labels",
    "record": "recording rules are not evaluated here",
    "expr": "that is Prometheus' form; write Grafana's provisioning form",
}


class RuleFileError(Exception):
    """A file of rules that is not understood; the message says where, and what to do."""


def seconds_of(text: object) -> int:
    """Seconds of ``90s``, ``5m`` or ``1h30m``; ValueError."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if found is None and text not in ("0", 0):
        raise ValueError(f"{text!r} is no duration: write 30s, 5m or 1h30m")
    seconds = sum(int(part or 0) * unit for part, unit in zip(found.groups() if found else (), _UNITS, strict=False))
    if seconds > LONGEST:
        raise ValueError(f"{text!r} is longer than {LONGEST // 86_400} days")
    return seconds


def is_name(text: str) -> bool:
    """Whether it may be a refId, a label or an annotation."""
    return _NAME.fullmatch(text) is not None


class Place:
    """Where one is in a file, for its errors."""

    def __init__(self, file: Path, names: Sequence[str] = ()) -> None:
        self._file, self._names = file, tuple(names)

    def within(self, name: str) -> "Place":
        """One level further in."""
        return Place(self._file, (*self._names, name))

    def wrong(self, why: object) -> RuleFileError:
        """The error, with the way to here before it."""
        return RuleFileError(": ".join((str(self._file), *self._names, str(why))))

    def mapping(self, value: Any, known: frozenset[str] | None = None) -> dict[str, Any]:
        """Names with values; of a closed list, when one is ``known``."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.wrong("here are names with values")
        for key in value:
            if known is not None and key not in known:
                raise self.within(key).wrong(
                    _WHY.get(key, f"not understood: remove it; known are {', '.join(sorted(known))}")
                )
        return value

    def sequence(self, value: Any) -> list[Any]:
        """A list."""
        if not isinstance(value, list):
            raise self.wrong("here is a list")
        return value

    def text(self, inner: Mapping[str, Any], key: str, default: str | None = None) -> str:
        """A key's text, not empty unless that is the default."""
        value = inner.get(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.within(key).wrong("missing or no text: write it in quotes")
        return value

    def seconds(self, inner: Mapping[str, Any], key: str, default: str | None = None) -> int:
        """A key's duration."""
        try:
            return seconds_of(inner.get(key, default))
        except ValueError as error:
            raise self.within(key).wrong(error) from None

    def texts(self, value: Any) -> dict[str, str]:
        """Names with texts."""
        found = {}
        for name, text in self.mapping(value).items():
            if not is_name(name):
                raise self.within(name).wrong("names are letters, digits and _")
            if not isinstance(text, str):
                raise self.within(name).wrong("no text: write it in quotes")
            found[name] = text
        return found
