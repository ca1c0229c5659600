"""Alert rules on trial: the shipped file, judged over a time as its evaluator judges it, and what fired when."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dashboards.alerts.build import FILE
from dashboards.alerts.evaluate import Ask, Judgement, Verdict, judge
from dashboards.alerts.ranges import is_ranged, over
from dashboards.alerts.rulefile import Rule, RuleSet, load_rules
from dashboards.alerts.rules import BY_UID
from dashboards.alerts.states import NEW, Event, step
from sinks import Store

_PIECE_SECONDS = 86_400
_EVERY = 300


class Fired(NamedTuple):
    """An instance that began to fire."""

    rule: str  # R0 to R10
    severity: str
    service: str
    exporter: str
    at: int  # Unix time of the evaluation


class Asked:
    """A store in this process as the evaluator asks it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, sql: str) -> Sequence[Mapping[str, object]]:
        rows: list[Mapping[str, object]] = self._store.query(sql).to_pylist()
        return rows


def shipped() -> RuleSet:
    """The rules of the repository's file."""
    return load_rules(FILE)


def judged(
    ask: Ask, begin: int, end: int, rules: Iterable[str] = (), *, before: Callable[[int], None] | None = None
) -> list[Event]:
    """All that happens in the evaluations of (begin, end], Unix seconds, from no state on.

    ``rules``: names as R1, empty: all.  ``before`` is called before each evaluation; without one, rules that can be
    judged over a range are.
    """
    wanted = set(rules)
    events: list[Event] = []
    due: list[tuple[int, Rule]] = []
    for group in shipped().groups:
        for rule in group.rules:
            if wanted and rule.name not in wanted:
                continue
            if is_ranged(rule.uid) and before is None:
                events += at_once(ask, rule, begin, end, group.interval)
            else:
                first = begin // group.interval * group.interval + group.interval
                due += [(at, rule) for at in range(first, end + 1, group.interval)]
    states = dict.fromkeys((rule.uid for _, rule in due), NEW)
    for at, rule in sorted(due, key=lambda each: each[0]):
        if before is not None:
            before(at)
        states[rule.uid], happened = step(rule, states[rule.uid], judge(rule, ask, at), at)
        events += happened
    return sorted(events, key=_at)


def at_once(ask: Ask, rule: Rule, begin: int, end: int, interval: int) -> list[Event]:
    """The same of one rule by few questions: each closed bucket at the evaluation that comes next."""
    rows = [row for first, last in _pieces(begin, end) for row in ask(over(rule.uid, first, last))]
    return _stepped(rule, rows, begin, end, interval)


def both_ways(ask: Ask, begin: int, end: int) -> list[Event]:
    """R1 and R2 at once, for half of the price: their queries differ in the column that they name only."""
    up, down = (next(rule for rule in shipped().rules if rule.name == name) for name in ("R1", "R2"))
    rose, fell = (f"toFloat64({BY_UID[rule.uid].judgement}) AS value" for rule in (up, down))
    rising: list[Mapping[str, object]] = []
    falling: list[Mapping[str, object]] = []
    for first, last in _pieces(begin, end):
        sql = over(up.uid, first, last)
        assert sql.count(rose) == 1 and over(down.uid, first, last) == sql.replace(rose, fell)
        for row in ask(sql.replace(rose, f"{rose}, {fell.replace('value', 'other')}")):
            own = {name: value for name, value in row.items() if name not in ("value", "other")}
            rising.append(own | {"value": row["value"]})
            falling.append(own | {"value": row["other"]})
    return sorted(_stepped(up, rising, begin, end, _EVERY) + _stepped(down, falling, begin, end, _EVERY), key=_at)


def _pieces(begin: int, end: int) -> list[tuple[int, int]]:
    return [(first, min(first + _PIECE_SECONDS, end)) for first in range(begin, end, _PIECE_SECONDS)]


def _stepped(rule: Rule, rows: Iterable[Mapping[str, object]], begin: int, end: int, interval: int) -> list[Event]:
    state, events = NEW, []
    found: dict[int, list[Verdict]] = {}
    for row in rows:
        labels = {name: str(value) for name, value in row.items() if name not in ("time", "value")}
        value = float(str(row["value"]))
        at = -(-_seconds(row["time"]) // interval) * interval
        found.setdefault(at, []).append(Verdict(labels, value > 0.5, {"A": value}))
    for at in range(begin // interval * interval + interval, end + 1, interval):
        state, happened = step(rule, state, Judgement(tuple(found.get(at, ()))), at)
        events += happened
    return events


def _at(event: Event) -> float:
    return event.at


def fired(events: Iterable[Event], *, info: bool = False) -> list[Fired]:
    """Those that began to fire; ``info``: also those that only say why there is no judgement."""
    return [
        Fired(
            event.instance.rule, event.instance.severity, event.instance.labels.get("service", ""),
            event.instance.labels.get("exporter", ""), int(event.at),
        )
        for event in events
        if event.kind == "firing" and (info or event.instance.severity != "info")
    ]  # fmt: skip


def troubled(events: Iterable[Event]) -> list[str]:
    """Why rules could not be asked: never in a trial."""
    return [f"{event.instance.uid}: {event.reason}" for event in events if event.kind == "error"]


def told(events: Iterable[Event]) -> str:
    """For the message of a failing assertion."""
    return "\n".join(
        f"{datetime.fromtimestamp(event.at, UTC):%m-%d %H:%M} {event.kind} {event.instance.uid}"
        f" {dict(event.instance.labels)} {dict(event.instance.values)} {event.reason}"
        for event in events
    )


def _seconds(time: Any) -> int:
    """Of a DateTime as this process' store gives it, or as JSON has it."""
    if isinstance(time, str):
        return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp())
    return int(time)
