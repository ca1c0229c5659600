"""When rules would have fired: the same judgements and states over a time that has passed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dashboards.alerts.evaluate import Ask, AskFailed, AskSilent, Judgement, judge, judgement_of, series
from dashboards.alerts.rulefile import Query, Rule
from dashboards.alerts.states import NEW, Instance, step

TIME = "time"
"""Column of a range's rows: as of when a row is judged."""


@dataclass(slots=True)
class Episode:
    """An instance from its firing to its end; times are Unix seconds."""

    rule: Rule
    labels: Mapping[str, str]
    since: float
    until: float | None = None  # None: it fires at the end of the range
    reason: str = ""  # of the end
    peak: dict[str, float] = field(default_factory=dict)  # by refId, the value farthest from 0
    summary: str = ""  # as it began


@dataclass(slots=True)
class Trial:
    """What became of one rule."""

    episodes: list[Episode] = field(default_factory=list)
    judged: int = 0  # evaluations with a row
    empty: int = 0  # evaluations without one
    errors: int = 0
    error: str = ""  # the last one


def stepped(rule: Rule, ask: Ask, moments: Sequence[float]) -> Iterator[tuple[float, Judgement]]:
    """The judgement at each moment, each asked for."""
    for moment in moments:
        try:
            yield moment, judge(rule, ask, moment)
        except AskSilent as error:
            yield moment, Judgement(error=str(error))


def ranged(
    rule: Rule, rows: Sequence[Mapping[str, object]], since: float, until: float, every: float
) -> Iterator[tuple[float, Judgement]]:
    """The judgement at each moment in (since, until], ``every`` so many seconds, from rows that have their time.

    A moment without rows is one without data.  AskFailed for rows of other times.
    """
    (ref,) = [ref for ref in rule.needed if isinstance(rule.steps[ref], Query)]
    by_time: dict[float, list[dict[str, object]]] = {}
    for row in rows:
        at = _seconds(row.get(TIME))
        by_time.setdefault(at, []).append({name: value for name, value in row.items() if name != TIME})
    first = since + every - (since - min(by_time, default=since)) % every
    moments = [first + number * every for number in range(-1, int((until - since) // every) + 1)]
    moments = [moment for moment in moments if since < moment <= until]
    if strays := by_time.keys() - set(moments):
        raise AskFailed(f"rows of {len(strays)} times are not of the range, or between its moments")
    for moment in moments:
        known = {ref: series(by_time.get(moment, []), ref)}
        for name, each in rule.steps.items():
            if name in rule.needed and not isinstance(each, Query):
                known[name] = each.of(known)
        yield moment, judgement_of(rule, known)


def trial(rule: Rule, judgements: Iterable[tuple[float, Judgement]]) -> Trial:
    """What the states make of them, beginning with none."""
    found, state, open_now = Trial(), NEW, dict[str, Episode]()
    for moment, judgement in judgements:
        found.judged += bool(judgement.verdicts)
        found.errors += bool(judgement.error)
        found.empty += not judgement.verdicts and not judgement.error
        found.error = judgement.error or found.error
        state, events = step(rule, state, judgement, moment)
        for event in events:
            key = event.instance.key
            if event.kind == "firing":
                open_now[key] = _begun(rule, event.instance, moment)
                found.episodes.append(open_now[key])
            elif event.kind == "resolved":
                ended = open_now.pop(key)
                ended.until, ended.reason = moment, event.reason
        for instance in state.firing():
            _raise_peak(open_now[instance.key].peak, instance.values)
    return found


def _begun(rule: Rule, instance: Instance, moment: float) -> Episode:
    return Episode(rule, instance.labels, moment, summary=instance.annotations.get("summary", rule.title))


def _raise_peak(peak: dict[str, float], values: Mapping[str, float]) -> None:
    for ref, value in values.items():
        if abs(value) >= abs(peak.get(ref, 0.0)):
            peak[ref] = value


def _seconds(value: object) -> float:
    """The time of a row: Unix seconds, or as ClickHouse writes a DateTime in UTC."""
    if isinstance(value, float | int):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise AskFailed(f"column {TIME}: {value!r} is no time") from None
