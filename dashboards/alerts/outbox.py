"""What each webhook was told, is being told and will be told next; ``outbox_file`` keeps it over restarts.

The rules are Alertmanager's: a group waits a little before its first message, then has at most one an interval, which
says what fires now and what has resolved since; what was never told is never told to be over.  A message is fixed and
written down, with its key, before it is first sent: when nobody knows whether it arrived, the same goes out again
under the same key.  One thing is done better: an alert that was told is told to be over also while it is silenced.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dashboards.alerts.matchers import match, matchers
from dashboards.alerts.payloads import SEVERITY, Alert, group_key, group_labels, payload
from dashboards.alerts.webhook_settings import SEVERITIES, Webhook

MOST_ALERTS = 2_000
"""That one webhook hears of at the same time; more is a fault of a rule."""
MOST_REFUSALS = 5
"""Answers such as 403 before a message is given up; the group's next one may fare better."""
LONGEST_SECONDS = 86_400.0
"""A message that nobody took for so long is given up."""

LONGEST_WAIT_SECONDS = 3_600.0
"""That a receiver may ask for by Retry-After."""

_MOST_READY = 20  # messages made before their turn: each is on the disk from then on
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0

Mute = Callable[[Mapping[str, str]], bool]


@dataclass(slots=True)
class Told:
    """An alert as a webhook knows it."""

    alert: Alert
    group: str = ""  # key of its group
    told: bool = False  # the webhook knows that it fires
    inhibited: bool = False  # a graver one of the same says it


@dataclass(slots=True)
class Flight:
    """A message that is being sent."""

    key: str
    body: str
    firing: list[str]  # fingerprints
    resolved: list[str]
    grave: int  # of the gravest of its alerts
    made: float
    next_try: float
    tries: int = 0
    refusals: int = 0
    problem: str = ""

    @property
    def place(self) -> tuple[float, ...]:
        """In the order of sending: the gravest, then what waits longest."""
        return (-self.grave, self.next_try, self.made)


@dataclass(slots=True)
class Group:
    """Alerts that share messages."""

    labels: dict[str, str]
    next: float  # when it is looked at again
    sent: float | None = None  # when the last message was taken
    flight: Flight | None = None


@dataclass(slots=True)
class Box:
    """All of one webhook."""

    alerts: dict[str, Told] = field(default_factory=dict)  # by fingerprint
    groups: dict[str, Group] = field(default_factory=dict)  # by key
    sequence: int = 0
    given_up: str = ""  # the last message that was, and why, until one is taken again

    def take(self, webhook: Webhook, firing: Mapping[str, Told], ended: Mapping[str, float], now: float) -> int:
        """Make it agree with what fires now, as far as this webhook wants it; how many did not fit."""
        left_out = 0
        for name, found in firing.items():
            known = self.alerts.get(name)
            if known is None:
                if not wants(webhook, found.alert):
                    continue
                if len(self.alerts) >= MOST_ALERTS:
                    left_out += 1
                    continue
                known = self.alerts[name] = Told(found.alert)
                self._expect(webhook, known, now)
            elif known.alert.ends is not None:  # it fires again: news unless it was not told to be over
                self._expect(webhook, known, now)
            known.alert, known.inhibited = replace(found.alert), found.inhibited
        for name, known in list(self.alerts.items()):
            if name not in firing and known.alert.ends is None:
                known.alert.ends = max(ended.get(name, now), known.alert.starts)
            self._forget(name)
        return left_out

    def due(self, webhook: Webhook, mute: Mute, now: float, external_url: str) -> bool:
        """Make the messages for which it is time; whether anything changed."""
        changed, ready = False, sum(flight.next_try <= now for flight in self.flights())
        for key in self._gravest_first():
            group = self.groups[key]
            # A clock that was set back must not silence a group for as long.
            group.next = min(group.next, now + max(webhook.group_wait_seconds, webhook.group_interval_seconds))
            if group.flight is not None:
                group.flight.next_try = min(group.flight.next_try, now + LONGEST_WAIT_SECONDS)
            if group.flight is not None or group.next > now or ready >= _MOST_READY:
                continue
            changed = True
            group.next = now + webhook.group_interval_seconds
            group.flight = self._flight(webhook, key, group, mute, now, external_url)
            ready += group.flight is not None
            if group.flight is None and not self._members(key):
                del self.groups[key]
        return changed

    def next_flight(self, now: float) -> tuple[str, Flight] | None:
        """The message to send now, the gravest that is due: its group's key, and itself."""
        waiting = [
            (key, group.flight) for key, group in self.groups.items()
            if group.flight is not None and group.flight.next_try <= now
        ]  # fmt: skip
        return min(waiting, key=lambda each: each[1].place, default=None)

    def told(self, key: str, flight: Flight, now: float) -> None:
        """The webhook took it."""
        group = self._landed(key, flight)
        group.sent = now
        self.given_up = ""
        for name in flight.firing:
            if name in self.alerts:
                self.alerts[name].told = True
        for name in flight.resolved:
            if name in self.alerts:
                self.alerts[name].told = False
        for name in (*flight.firing, *flight.resolved):
            self._forget(name)
        if not self._members(key):  # what fires next is a new group, and waits no longer than one
            del self.groups[key]

    def failed(self, key: str, flight: Flight, problem: str, wait: float, refused: bool, now: float) -> bool:
        """It did not; whether the message is given up.  Its alerts are as they were, for the group's next message."""
        flight.tries += 1
        flight.refusals = flight.refusals + 1 if refused else 0
        flight.problem = problem
        if flight.refusals < MOST_REFUSALS and abs(now - flight.made) < LONGEST_SECONDS:
            pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(flight.tries - 1, 30), _LONGEST_PAUSE_SECONDS)
            flight.next_try = now + max(pause, min(wait, LONGEST_WAIT_SECONDS))
            return False
        self._landed(key, flight)
        self.given_up = f"{problem}; a message was given up after {flight.tries} tries"
        for name in (*flight.firing, *flight.resolved):
            known = self.alerts.get(name)
            if known and known.alert.ends is not None and now - known.alert.ends >= LONGEST_SECONDS:
                known.told = False  # who did not hear of its end for a day need not any more
            self._forget(name)
        return True

    def regroup(self, webhook: Webhook, now: float) -> None:
        """After a start, when the settings may be others: every alert has its group."""
        for known in self.alerts.values():
            self._expect(webhook, known, now)

    def flights(self) -> list[Flight]:
        """Messages that wait."""
        return [group.flight for group in self.groups.values() if group.flight is not None]

    def _flight(
        self, webhook: Webhook, key: str, group: Group, mute: Mute, now: float, external_url: str
    ) -> Flight | None:
        members = self._members(key)
        firing = [
            known for known in members
            if known.alert.ends is None and not known.inhibited and not mute(known.alert.labels)
            and not (known.alert.is_error and now - known.alert.starts < webhook.error_wait_seconds)
        ]  # fmt: skip
        over = [known for known in members if known.alert.ends is not None and known.told]
        news = bool(over) or any(not known.told for known in firing)
        if group.sent is None or group.sent > now:  # of a group that others' settings made: as if it were told now
            group.sent = now
        again = bool(firing) and now - group.sent >= webhook.repeat_interval_seconds
        if not news and not again:
            return None
        alerts = [known.alert for known in (*_in_order(firing), *_in_order(over))]
        body = json.dumps(
            payload(webhook, group.labels, key, alerts, external_url), ensure_ascii=False, allow_nan=False
        )
        self.sequence += 1
        mark = json.dumps([webhook.name, key, self.sequence, now, body])
        return Flight(
            hashlib.sha256(mark.encode()).hexdigest(), body, [known.alert.fingerprint for known in firing],
            [known.alert.fingerprint for known in over], max(rank(alert.labels) for alert in alerts), made=now,
            next_try=now,
        )  # fmt: skip

    def _gravest_first(self) -> list[str]:
        found = dict.fromkeys(self.groups, 0)
        for known in self.alerts.values():
            if known.group in found:
                found[known.group] = max(found[known.group], rank(known.alert.labels))
        return sorted(found, key=lambda key: -found[key])

    def _members(self, key: str) -> list[Told]:
        return [known for known in self.alerts.values() if known.group == key]

    def _expect(self, webhook: Webhook, known: Told, now: float) -> None:
        """A group for it; an alert that fires since long, as after a loss of this file, is told at once."""
        labels = group_labels(webhook.group_by, known.alert.labels)
        known.group = group_key(webhook, labels)
        wait = webhook.group_wait_seconds if now - known.alert.starts < webhook.group_wait_seconds else 0.0
        self.groups.setdefault(known.group, Group(labels, now + wait))

    def _landed(self, key: str, flight: Flight) -> Group:
        group = self.groups[key]
        assert group.flight is flight
        group.flight = None
        return group

    def _forget(self, name: str) -> None:
        """An alert that is over and of which the webhook knows nothing, nor will."""
        known = self.alerts.get(name)
        if known is None or known.alert.ends is None or known.told:
            return
        if not any(name in flight.firing for flight in self.flights()):
            del self.alerts[name]


def wants(webhook: Webhook, alert: Alert) -> bool:
    """Whether a webhook is told of an alert; one whose severity is none of ours is as grave as any."""
    if alert.is_error and not webhook.errors:
        return False
    grave = rank(alert.labels) >= SEVERITIES.index(webhook.least_severity)
    return grave and match(matchers(webhook.match), alert.labels)


def rank(labels: Mapping[str, str]) -> int:
    """How grave."""
    found = labels.get(SEVERITY, "")
    return SEVERITIES.index(found) if found in SEVERITIES else len(SEVERITIES)


def _in_order(found: Sequence[Told]) -> list[Told]:
    return sorted(found, key=lambda known: (known.alert.starts, known.alert.fingerprint))
