"""Evaluates rules in time, remembers over restarts, and hands on what happened: to the notifier, and to the history.

Groups are due at multiples of their interval, one after the other; an evaluation that takes too long delays the next
and never overlaps it.  The state and what is to be handed on are one file, written before anybody is told: after a
crash the same event may be told again under the same id, none is lost.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from dashboards.alerts import memory as memories
from dashboards.alerts import metrics
from dashboards.alerts.evaluate import Ask, AskSilent, Judgement, judge
from dashboards.alerts.history import MOST_WAITING, bounded
from dashboards.alerts.memory import Memory
from dashboards.alerts.rulefile import Group, Rule, RuleSet
from dashboards.alerts.states import NEW, ORDER, Event, Instance, RuleState, forget, step
from sinks.telemetry import limited

log = structlog.get_logger("alerts")

_HISTORY_AGAIN_SECONDS = 10.0


class Takes(Protocol):
    """Who tells people; ``dashboards.alerts.notify.Notifier``."""

    def take(self, events: Sequence[Event], firing: Sequence[Instance], now: float) -> None:
        """Durable when it returns; OSError.  The same event may come again."""
        ...


class Writes(Protocol):
    """Who keeps the history; ``History``."""

    @property
    def failed(self) -> str:
        """Why some are left."""
        ...

    def write(self, events: Sequence[Event]) -> list[Event]:
        """Those that are left for later."""
        ...


class Evaluator:
    """For one thread; others may read ``memory``, which is replaced and never changed."""

    def __init__(
        self, rules: RuleSet, ask: Ask, path: Path, *, notifier: Takes | None = None, history: Writes | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """``stopping``: asked in the middle of a round.  OSError: the state cannot be read."""
        self.rules, self._ask, self._path = rules, ask, path
        self._notifier, self._history, self._stopping = notifier, history, stopping
        self.memory = memories.recall(path)
        self.silent = ""
        """Why the store does not answer; for /healthz."""
        self.untakable = ""
        """Why events or the state cannot be kept; for /healthz."""
        self.unwritable = ""
        """Why events are not in the history yet; for /healthz."""
        self._history_at, self._left = float("-inf"), False  # when the store was last written to; some were left
        self._begun: set[str] = set()  # groups that this process has evaluated
        self._turn = ""  # silence met in this round: the other rules are not asked, they would wait as long
        self._forget_others()

    def tend(self, now: float) -> int:
        """Evaluate what is due at Unix time ``now``, and hand on what happened; how many groups were due."""
        self._turn, count = "", 0
        for group in self.rules.groups:
            due = self._due(group, now)
            if due is None or self._stopping():
                continue
            count += 1
            self._evaluate(group, due)
            self._count_instances()  # before anybody is told: the other groups may take seconds
            self._hand_on(now, evaluated=True)
        if count:
            self._note_silence(self._turn)
        else:
            self._hand_on(now, evaluated=False)
        return count

    def firing(self) -> list[Instance]:
        """Every instance that fires, and every rule that cannot be evaluated (state ``error``)."""
        return [each for state in self.memory.rules.values() for each in state.all()
                if each.state in ("firing", "error")]  # fmt: skip

    def late(self, now: float) -> str:
        """Which group was not evaluated for three of its intervals; empty: none."""
        late = [group.name for group in self.rules.groups
                if now - self.memory.due.get(group.name, 0) > 3 * group.interval]  # fmt: skip
        return f"group {late[0]} was not evaluated for three intervals" if late else ""

    def _due(self, group: Group, now: float) -> float | None:
        due = now // group.interval * group.interval
        last = self.memory.due.get(group.name)
        # A clock that was set back far must not end the evaluation until it has caught up.
        if last is None or last - due > group.interval:
            return due
        if due <= last:
            return None
        missed = int((due - last) // group.interval) - 1
        if missed and group.name in self._begun:  # not while no process was there
            metrics.SKIPPED.inc(missed)
            limited(
                log.warning, "late", "evaluations were left out: the store is slow", group=group.name, left_out=missed
            )
        return due

    def _evaluate(self, group: Group, due: float) -> None:
        states, events = dict(self.memory.rules), list[Event]()
        for rule in group.rules:
            state = states.get(rule.uid, NEW)
            judgement = self._judge(rule, state, due)
            if self._stopping():
                return  # as if it had not begun: the store may be stopping too
            after, happened = step(rule, state, judgement, due)
            states[rule.uid] = after
            events += happened
        for event in events:
            metrics.EVENTS.labels(event.kind).inc()
        self._begun.add(group.name)
        metrics.EVALUATED.set(due)
        untold = (*self.memory.untold, *events)
        self.memory = Memory(
            {**self.memory.due, group.name: due}, states, untold if self._notifier else (),
            tuple(bounded([*self.memory.unwritten, *events])) if self._history else (), due,
        )  # fmt: skip
        self._save()

    def _judge(self, rule: Rule, state: RuleState, due: float) -> Judgement:
        if self._turn:
            metrics.EVALUATIONS.labels("silent").inc()
            return Judgement(error=self._turn)
        began = time.monotonic()
        try:
            found = judge(rule, self._ask, due, always=bool(state.firing()))
        except AskSilent as error:
            self._turn = str(error)
            metrics.EVALUATIONS.labels("silent").inc()
            return Judgement(error=self._turn)
        metrics.SECONDS.observe(time.monotonic() - began)
        metrics.EVALUATIONS.labels("error" if found.error else "ok" if found.verdicts else "no data").inc()
        if found.error:
            limited(log.error, rule.uid, "a rule cannot be evaluated", rule=rule.uid, reason=found.error)
        return found

    def _hand_on(self, now: float, *, evaluated: bool) -> None:
        before = self.memory
        if self._notifier is not None and (evaluated or before.untold):
            try:
                self._notifier.take(before.untold, self.firing(), now)
                self.memory = replace(self.memory, untold=())
                self.untakable = ""
            except OSError as error:
                self._cannot_keep("what is to be told", error)
        # Time of its own: a store that is away must not be asked at every look.
        pause = _HISTORY_AGAIN_SECONDS if self._left else 0.0
        if self._history is not None and before.unwritten and abs(now - self._history_at) >= pause:
            self._history_at = now
            left = self._history.write(before.unwritten)
            self.memory = replace(self.memory, unwritten=tuple(left))
            self._left = bool(left)
            self.unwritable = self._history.failed
        metrics.WAITING.set(len(self.memory.unwritten))
        if (self.memory.untold, self.memory.unwritten) != (before.untold, before.unwritten):
            self._save()

    def _save(self) -> None:
        try:
            memories.write(self._path, self.memory)
        except OSError as error:
            self._cannot_keep("the state", error)

    def _cannot_keep(self, what: str, error: OSError) -> None:
        self.untakable = f"{what} of the alerts cannot be written: {error.strerror or error}"
        limited(log.error, "alerts state", "alerts cannot be kept; trying again", reason=self.untakable)

    def _forget_others(self) -> None:
        """Rules that are not in the files any more resolve."""
        known = self.rules.by_uid()
        gone = [event for uid, state in self.memory.rules.items() if uid not in known
                for event in forget(state, self.memory.evaluated_at)]  # fmt: skip
        names = {group.name for group in self.rules.groups}
        self.memory = replace(
            self.memory, rules={uid: state for uid, state in self.memory.rules.items() if uid in known},
            due={name: due for name, due in self.memory.due.items() if name in names},
            untold=(*self.memory.untold, *gone), unwritten=(*self.memory.unwritten, *gone)[-MOST_WAITING:],
        )  # fmt: skip

    def _note_silence(self, silent: str) -> None:
        if silent and not self.silent:
            log.error("the store does not answer, no rule is judged", reason=silent)
        elif self.silent and not silent:
            log.info("the store answers again, rules are judged")
        self.silent = silent

    def _count_instances(self) -> None:
        severities = {rule.severity for rule in self.rules.rules}
        counts: dict[tuple[str, str], int] = {(state, severity): 0 for state in ORDER for severity in severities}
        for each in (each for state in self.memory.rules.values() for each in state.all()):
            counts[each.state, each.severity] = counts.get((each.state, each.severity), 0) + 1
        for (state, severity), count in counts.items():
            metrics.INSTANCES.labels(state, severity).set(count)
