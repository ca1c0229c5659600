"""Tells webhooks of alerts: who is told of what, when, and until it has arrived.

``take`` is called after each evaluation and writes down what changed; ``tend`` sends what is due and is called about
once a second by a thread that may wait for the network.  What goes wrong is said by ``problems`` and tried again.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from dashboards.alerts import outbox, outbox_file
from dashboards.alerts.notify_metrics import ATTEMPTS, GIVEN_UP, OVERFLOW, WAITING
from dashboards.alerts.outbox import Box, Flight, Told, rank
from dashboards.alerts.outbox_file import NAME, OutboxError
from dashboards.alerts.payloads import ALERT_NAME, SEVERITY, UID_LABEL, Alert, alert_of
from dashboards.alerts.post import OUTCOMES, REFUSED, TOLD, Answer, Post, post
from dashboards.alerts.silences import NAME as SILENCES
from dashboards.alerts.silences import Silences
from dashboards.alerts.states import Event, Instance
from dashboards.alerts.webhook_settings import Webhook
from sinks.telemetry import limited

log = structlog.get_logger("alerts")

_TEND_SECONDS = 30.0  # of one tend; what is left over is first in the next
_TOLD = {"firing", "error"}  # states of instances of which people are told
_OF_ONE = {ALERT_NAME, SEVERITY, UID_LABEL}  # in which alerts of one rule may differ and still say the same
RULE = "rule"


class Notifier:
    """All webhooks of the settings."""

    def __init__(
        self,
        webhooks: Sequence[Webhook],
        folder: Path,
        *,
        external_url: str = "",
        clock: Callable[[], float] = time.monotonic,
        post: Post = post,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``folder`` keeps what was told, and the silences; ``clock`` measures how long sending takes.

        ``stopping`` is asked before each message: one on its way is not cut off, the next is for the next process.
        """
        self.silences = Silences(folder / SILENCES)
        self._webhooks = {webhook.name: webhook for webhook in webhooks}
        self._path, self._external_url, self._clock, self._post = folder / NAME, external_url, clock, post
        self._stopping = stopping
        self._state = threading.Lock()  # never held while something is sent
        self._sending = threading.Lock()
        self._disk_problem = ""
        self._written = b""
        self._boxes = self._read()
        self._unseen = set(self._webhooks)
        for name in self._webhooks:
            for outcome in OUTCOMES:
                ATTEMPTS.labels(name, outcome)
            GIVEN_UP.labels(name)
            OVERFLOW.labels(name)

    def take(self, events: Sequence[Event], firing: Sequence[Instance], now: float) -> None:
        """What happened and what fires at Unix time ``now``; it is on the disk when this returns.

        ``firing`` alone decides, so an event that was lost, or comes twice, does no harm; events say when one ended.
        Instances in state ``error`` are told as alerts of that name.  OSError when it cannot be written: webhooks are
        told all the same, perhaps twice after a crash.
        """
        alerts = {alert.fingerprint: Told(alert) for each in firing if each.state in _TOLD
                  for alert in [alert_of(each)]}  # fmt: skip
        _inhibit(alerts.values())
        ended = {alert_of(event.instance).fingerprint: event.at for event in events if event.kind == "resolved"}
        with self._state:
            for name, webhook in self._webhooks.items():
                if left_out := self._boxes[name].take(webhook, alerts, ended, now):
                    OVERFLOW.labels(name).inc(left_out)
                    limited(log.error, f"overflow {name}", "too many alerts for a webhook", webhook=name,
                            left_out=left_out, most=outbox.MOST_ALERTS)  # fmt: skip
            self._write()

    def tend(self, now: float) -> None:
        """Send what is due at Unix time ``now``; takes no longer than half a minute and one attempt more."""
        if not self._sending.acquire(blocking=False):
            return
        began = self._clock()
        try:
            waiting = set(self._webhooks)
            while waiting and not self._stopping() and (taken := self._clock() - began) <= _TEND_SECONDS:
                found = self._next(waiting, now + taken)
                if found is None:
                    return
                name, key, flight = found
                answer = self._post(self._webhooks[name], flight.body.encode("utf-8", "replace"), flight.key)
                self._answered(name, key, flight, answer, now + self._clock() - began)
                if not answer.reached:  # its other messages would wait for the same
                    waiting.discard(name)
        finally:
            self._sending.release()

    def problems(self) -> list[str]:
        """What keeps people from being told, without anything secret; for /healthz and the console."""
        with self._state:
            found = [self._disk_problem, self.silences.problem]
            for box in self._boxes.values():
                tried = [flight.problem for flight in box.flights() if flight.problem]
                found += [*tried[-1:], box.given_up]
        return [text for text in found if text]

    def as_json(self) -> list[dict[str, object]]:
        """For the console: each webhook's name, of how many alerts it knows, and what waits."""
        with self._state:
            return [
                {"name": name, "form": self._webhooks[name].form,
                 "told": sum(known.told for known in box.alerts.values()), "waiting": len(box.flights()),
                 "problem": next((flight.problem for flight in box.flights() if flight.problem), box.given_up)}
                for name, box in self._boxes.items()
            ]  # fmt: skip

    def _next(self, names: set[str], now: float) -> tuple[str, str, Flight] | None:
        """The next message of these webhooks; it is on the disk before it is first sent."""
        with self._state:
            made = False
            while self._unseen:
                name = self._unseen.pop()
                self._boxes[name].regroup(self._webhooks[name], now)
            for name in names:
                made |= self._boxes[name].due(self._webhooks[name], self._mute(now), now, self._external_url)
            if made:
                self._save()
            found = [(name, *each) for name in names if (each := self._boxes[name].next_flight(now)) is not None]
            return min(found, key=lambda each: (each[2].place, each[0]), default=None)

    def _answered(self, name: str, key: str, flight: Flight, answer: Answer, now: float) -> None:
        ATTEMPTS.labels(name, answer.outcome).inc()
        with self._state:
            box = self._boxes[name]
            if answer.outcome == TOLD:
                box.told(key, flight, now)
                log.info("webhook told", webhook=name, group=key, firing=len(flight.firing),
                         resolved=len(flight.resolved), tries=flight.tries + 1)  # fmt: skip
            elif box.failed(key, flight, answer.problem, answer.wait_seconds, answer.outcome == REFUSED, now):
                GIVEN_UP.labels(name).inc()
                log.error("a message to a webhook is given up", reason=answer.problem, group=key, tries=flight.tries)
            else:
                limited(log.warning, f"webhook {name}", "a webhook was not told, trying again", reason=answer.problem,
                        tries=flight.tries, in_seconds=round(flight.next_try - now, 1))  # fmt: skip
            self._save()

    def _mute(self, now: float) -> outbox.Mute:
        return lambda labels: self.silences.is_silenced(labels, now)

    def _read(self) -> dict[str, Box]:
        try:
            found = outbox_file.read(self._path)
        except OutboxError as error:
            aside = self._path.with_name(f"{self._path.name}.broken")
            log.error(
                "what webhooks were told cannot be read: they may be told again", reason=str(error), kept=str(aside)
            )
            if self._path.exists():
                self._path.replace(aside)
            found = {}
        for name in sorted(found.keys() - self._webhooks.keys()):
            if left := sum(known.told for known in found[name].alerts.values()) + len(found[name].flights()):
                log.warning("a webhook is no longer in the settings: it will not be told the end of its alerts",
                            webhook=name, alerts=left)  # fmt: skip
        return {name: found.get(name, Box()) for name in self._webhooks}

    def _save(self) -> None:
        """Under the lock.  A full disk keeps nobody from being told: what is not written may be told twice."""
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        for name, box in self._boxes.items():
            WAITING.labels(name).set(len(box.flights()))
        mark = json.dumps([_structure(box) for box in self._boxes.values()]).encode()
        if mark == self._written:
            return
        try:
            outbox_file.write(self._path, self._boxes)
        except OSError as error:
            self._disk_problem = f"{self._path}: {error.strerror}: after a crash webhooks may be told again"
            limited(log.error, "outbox", "what webhooks were told cannot be written", reason=self._disk_problem)
            raise
        self._written, self._disk_problem = mark, ""


def _structure(box: Box) -> object:
    """What must survive; the texts and values of an alert change at each evaluation and come again with the next."""
    return [
        sorted((name, known.told, known.inhibited, known.alert.starts, known.alert.ends or 0)
               for name, known in box.alerts.items()),
        sorted((key, group.next, group.sent or 0, group.flight.key if group.flight else "",
                group.flight.tries if group.flight else 0) for key, group in box.groups.items()),
        box.sequence, box.given_up,
    ]  # fmt: skip


def _inhibit(alerts: Collection[Told]) -> None:
    """A graver alert of the same rule with the same labels speaks for the others: R0's page for its warning."""
    gravest: dict[object, int] = {}
    for found in alerts:
        if (same := _family(found.alert)) is not None:
            gravest[same] = max(gravest.get(same, 0), rank(found.alert.labels))
    for found in alerts:
        found.inhibited = rank(found.alert.labels) < gravest.get(_family(found.alert), 0)


def _family(alert: Alert) -> object:
    """What alerts of one rule, of several severities, have in common; None: it stands alone."""
    if RULE not in alert.labels or alert.is_error:
        return None
    return frozenset((name, text) for name, text in alert.labels.items() if name not in _OF_ONE)
