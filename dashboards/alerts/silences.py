"""Silences: for how long nobody wants to hear of certain alerts; commands write the file, the evaluator reads it.

A silenced alert is evaluated, shown and written to the history as always; only its notification waits.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dashboards.alerts.matchers import Matcher, match, matchers
from sinks.segments import write_atomic

log = structlog.get_logger("alerts")

NAME = "silences.json"
_MOST = 1_000  # silences in the file, ended ones included
_MOST_BYTES = 4 << 20
_MEND = "mend it, or remove it: then nothing is silenced"
_KEPT_SECONDS = 7 * 86_400  # an ended silence is listed for so long


class SilenceError(Exception):
    """The file cannot be used, or has no such silence; says which and what to do."""


class Silence(BaseModel):
    """One of them; it holds from ``starts`` up to ``ends``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    matchers: tuple[str, ...] = Field(min_length=1)
    starts: AwareDatetime
    ends: AwareDatetime
    author: str = Field(min_length=1, max_length=100)
    comment: str = Field(min_length=1, max_length=1_000)
    made: AwareDatetime

    @field_validator("matchers")
    @classmethod
    def _mean_something(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if match(matchers(texts), {}):
            raise ValueError("these matchers hold for an alert without labels, so for nearly all: name a value")
        return texts

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.ends < self.starts:
            raise ValueError("it ends before it starts")
        return self

    @property
    def conditions(self) -> tuple[Matcher, ...]:
        """Its matchers, read."""
        return matchers(self.matchers)

    def state(self, now: float) -> str:
        """``pending``, ``active`` or ``expired``."""
        if now >= self.ends.timestamp():
            return "expired"
        return "active" if now >= self.starts.timestamp() else "pending"

    def as_json(self, now: float) -> dict[str, object]:
        """For the console."""
        return self.model_dump(mode="json") | {"state": self.state(now)}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    silences: tuple[Silence, ...] = Field((), max_length=_MOST)


class Silences:
    """Those of a file, read again when it changes; a file that cannot be read leaves the last good ones in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        """Why the file is not in force; for /healthz."""
        self._all: tuple[Silence, ...] = ()
        self._seen: tuple[int, int, int] | None = None

    def all(self) -> tuple[Silence, ...]:
        """Every silence of the file, ended ones too."""
        self._look()
        return self._all

    def silencing(self, labels: Mapping[str, str], now: float) -> Silence | None:
        """The silence that an alert with these labels falls under, if any."""
        return next(
            (one for one in self.all() if one.state(now) == "active" and match(one.conditions, labels)), None
        )  # fmt: skip

    def is_silenced(self, labels: Mapping[str, str], now: float) -> bool:
        """Whether nobody is to be told of an alert with these labels now."""
        return self.silencing(labels, now) is not None

    def as_json(self, now: float) -> list[dict[str, object]]:
        """Those that have not ended, for the console."""
        return [one.as_json(now) for one in self.all() if one.state(now) != "expired"]

    def _look(self) -> None:
        try:
            found = self.path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            mark = (0, 0, 0)
        except OSError as error:
            self._refused(f"{self.path}: {error.strerror}")
            return
        if mark == self._seen:
            return
        self._seen = mark
        try:
            self._all, self.problem = read(self.path), ""
        except SilenceError as error:
            self._refused(str(error))

    def _refused(self, reason: str) -> None:
        if reason != self.problem:
            log.error("silences: the last good ones stay in force", in_force=len(self._all), reason=reason)
        self.problem = reason


def read(path: Path) -> tuple[Silence, ...]:
    """All of a file; none where there is no file; SilenceError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SilenceError(f"{path}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise SilenceError(f"{path}: larger than {_MOST_BYTES} bytes; remove ended silences from it")
    try:
        return _File.model_validate(json.loads(data)).silences
    except ValidationError as error:
        raise SilenceError(f"{path}: {_first(error)}; {_MEND}") from None
    except ValueError as error:
        raise SilenceError(f"{path}: not JSON: {error}; {_MEND}") from None


def add(
    path: Path, texts: Sequence[str], starts: float, ends: float, author: str, comment: str, now: float
) -> Silence:  # fmt: skip
    """Write one more; SilenceError, also when it says nothing or nobody would be silenced by it."""
    if ends <= now:
        raise SilenceError("it ends before it begins: give a later --until, or --for")
    try:
        silence = Silence(
            id=secrets.token_hex(4), matchers=tuple(texts), starts=_time(starts), ends=_time(ends),
            author=author.strip(), comment=comment.strip(), made=_time(now),
        )  # fmt: skip
    except ValidationError as error:
        raise SilenceError(_first(error)) from None
    with _changing(path) as all_of_them:
        kept = [one for one in all_of_them if one.ends.timestamp() > now - _KEPT_SECONDS]
        if len(kept) >= _MOST:
            raise SilenceError(f"{path}: has {_MOST} silences already; expire some, or use a matcher for several")
        all_of_them[:] = [*kept, silence]
    return silence


def expire(path: Path, id_or_begin: str, now: float) -> Silence:
    """End one now; SilenceError when there is no such one, several, or it has ended."""
    with _changing(path) as all_of_them:
        found = [one for one in all_of_them if one.id.startswith(id_or_begin) and one.state(now) != "expired"]
        if len(found) != 1 or not id_or_begin:
            raise SilenceError(f"{id_or_begin!r}: {'several silences begin' if found else 'no silence in force begins'}"
                               " so; see flowtide alerts silence list")  # fmt: skip
        moment = _time(now)
        ended = found[0].model_copy(update={"ends": moment, "starts": min(found[0].starts, moment)})
        all_of_them[:] = [ended if one is found[0] else one for one in all_of_them]
    return ended


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[list[Silence]]:
    """What the file holds, to be changed in place and written; two commands at once take turns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise SilenceError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = list(read(path))
        yield found
        write_atomic(path, _File(silences=tuple(found)).model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise SilenceError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        os.close(lock)


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(int(moment * 1000) / 1000, UTC)  # never later: what begins now has begun
