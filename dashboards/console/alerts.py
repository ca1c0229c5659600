"""What the evaluator of alert rules says, and what happened lately: for the page of alerts and the count in the bar.

Nothing here may read as "all is well" that is not: an evaluator that is not there, does not answer or stands still is
told as that, with what to do.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import aiohttp

from dashboards.alerts.matchers import MatcherError, match, matchers
from dashboards.alerts.rules import BY_UID
from dashboards.console.shared import Answer, Shared
from dashboards.console.store import StoreClient
from dashboards.settings import ConsoleSettings

HISTORY_DAYS = 7
MOST_EVENTS = 200

_NOBODY = (
    "Nobody evaluates the alert rules for this console: console.alerts_url is empty. flowtide run and flowtide serve do"
    " it over their own engine unless alerts.enabled is false; over a server of ClickHouse set alerts.enabled = true,"
    " or let Grafana do it."
)
_SILENT = (
    "The evaluator of alert rules at {url} does not answer ({why}): no rule is judged and nobody is told. flowtide"
    " doctor says whether flowtide run is alive; flowtide alerts run starts it alone."
)
_SECONDS = 5.0
_LATE_SECONDS = 300  # one group is evaluated every minute
_MOST_BYTES = 16 << 20
_KEPT_SECONDS = 2.0
_KEPT_BYTES = 8 << 20
_HISTORY_SECONDS = 20
_HISTORY = f"""
SELECT time, rule, title, severity, state, labels, summary, reason, started
FROM alert_history
WHERE time > now() - INTERVAL {HISTORY_DAYS} DAY AND state IN ('firing', 'resolved', 'error', 'nodata')
    AND (severity <> 'info' OR state IN ('firing', 'resolved'))
ORDER BY time DESC, rule, title
"""


class EvaluatorSilent(Exception):  # noqa: N818 - a state, told by its name
    """Nobody evaluates, or nobody answers; the message says what to do."""


class Alerts:
    """Asks the evaluator and the store; of one event loop, between ``open`` and ``close``."""

    def __init__(self, settings: ConsoleSettings, store: StoreClient) -> None:
        self._url, self._store = settings.alerts_url.rstrip("/"), store
        self._shared = Shared(_KEPT_SECONDS, _KEPT_BYTES)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make the pool; called in the event loop."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def report(self) -> bytes:
        """Rules with their instances and silences as JSON; without an evaluator ``running`` is false, with a reason."""
        return await self._shared.get("report", self._report)

    async def firing(self) -> bytes:
        """Only how many fire, by severity: what every page shows."""
        return await self._shared.get("firing", self._firing)

    async def history(self) -> bytes:
        """What happened in the last days, newest first; StoreSilent, QueryRefused."""
        return await self._shared.get("history", self._history)

    async def _report(self) -> Answer:
        try:
            return _answer(shown(await self._ask(), time.time()))
        except EvaluatorSilent as silent:
            return _answer({"running": False, "wanted": bool(self._url), "problem": str(silent), "rules": [],
                            "silences": []})  # fmt: skip

    async def _firing(self) -> Answer:
        try:
            found = shown(await self._ask(), time.time())
        except EvaluatorSilent as silent:
            return _answer({"running": False, "wanted": bool(self._url), "problem": str(silent), "firing": {}})
        count: dict[str, int] = {}
        for rule in found["rules"]:
            firing = sum(one["state"] == "firing" and not one["silenced"] for one in rule["instances"])
            if firing:
                count[rule["severity"]] = count.get(rule["severity"], 0) + firing
        return _answer({"running": True, "wanted": True, "problem": found["problem"], "firing": count})

    async def _history(self) -> Answer:
        frame = await self._store.ask(_HISTORY, kind="panel", max_rows=MOST_EVENTS, max_seconds=_HISTORY_SECONDS)
        names = [column["name"] for column in frame.columns]
        events = [dict(zip(names, row, strict=True)) for row in frame.rows]
        return _answer({"days": HISTORY_DAYS, "more": frame.truncated, "events": events})

    async def _ask(self) -> Mapping[str, Any]:
        if not self._url:
            raise EvaluatorSilent(_NOBODY)
        assert self._session is not None, "open() first"
        try:
            async with self._session.get(f"{self._url}/api/alerts") as answer:
                if answer.status != 200:
                    raise self._silent(f"status {answer.status}")
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise self._silent(f"its answer has more than {_MOST_BYTES >> 20} MB")
            found = json.loads(body)
        except TimeoutError:
            raise self._silent(f"nothing within {_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._silent(str(error) or type(error).__name__) from None
        except ValueError:
            raise self._silent("its answer is not JSON") from None
        if not isinstance(found, dict) or not isinstance(found.get("rules"), list):
            raise self._silent("its answer is no list of rules")
        return found

    def _silent(self, why: str) -> EvaluatorSilent:
        return EvaluatorSilent(_SILENT.format(url=self._url, why=why))


def shown(found: Mapping[str, Any], now: float) -> dict[str, Any]:
    """An evaluator's report for people: which instances are silenced, what to do, and whether it stands still."""
    rules, silences = found["rules"], _dicts(found.get("silences"))
    problems = [str(found.get("problem") or "")]
    evaluated = _moment(found.get("evaluated_at"))
    if evaluated is None:
        problems.append("No rule has been evaluated yet.")
    elif now - evaluated > _LATE_SECONDS:
        problems.append(f"The last evaluation was {round((now - evaluated) / 60)} minutes ago: what stands below is of"
                        " then. flowtide doctor and the log of flowtide run say why.")  # fmt: skip
    active = [one for one in silences if _is_active(one, now)]
    return {
        "running": True, "wanted": True, "problem": " ".join(filter(None, problems)),
        "evaluated_at": found.get("evaluated_at"), "rules": [_rule(rule, active) for rule in _dicts(rules)],
        "silences": silences,
    }  # fmt: skip


def _rule(rule: Mapping[str, Any], active: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    title, ours = str(rule.get("title", "")), BY_UID.get(str(rule.get("uid", "")))
    instances = [
        {**one, "silenced": _silenced({**one.get("labels", {}), "alertname": title}, active)}
        for one in _dicts(rule.get("instances"))
    ]
    runbook = ours and {"meaning": ours.meaning, "first": ours.first, "then": ours.then, "silent": ours.silent}
    known = {name: rule.get(name) for name in ("uid", "rule", "severity", "state", "since", "last_evaluation", "error")}
    # Never judged is not normal.
    known["state"] = known["state"] if known["last_evaluation"] else "unknown"
    return {**known, "title": title, "annotations": rule.get("annotations") or {}, "instances": instances,
            "runbook": runbook}  # fmt: skip


def _silenced(labels: Mapping[str, str], active: Sequence[Mapping[str, Any]]) -> str:
    """Id of the first silence that keeps it from being told; empty when none does."""
    for silence in active:
        try:
            if match(matchers(silence.get("matchers") or ()), labels):
                return str(silence.get("id", "?"))
        except MatcherError:  # of a newer evaluator
            continue
    return ""


def _is_active(silence: Mapping[str, Any], now: float) -> bool:
    starts, ends = _moment(silence.get("starts")), _moment(silence.get("ends"))
    return starts is not None and ends is not None and starts <= now < ends and bool(silence.get("matchers"))


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def _dicts(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _answer(value: Mapping[str, Any]) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
