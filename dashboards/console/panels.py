"""A dashboard's panels and variables: their queries expanded, asked, and the answers as JSON."""

import asyncio
import gzip
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dashboards import library, macros
from dashboards.console.annotations import events_of, is_asked
from dashboards.console.frames import Frame
from dashboards.console.requests import BadRequest, PanelRequest, Range
from dashboards.console.shared import Answer, Shared
from dashboards.console.store import QueryRefused, StoreClient
from dashboards.macros import MacroError, Window
from dashboards.settings import ConsoleSettings

_LEAST_INTERVAL = "1s"  # of a panel that names none
_PACKED_FROM = 4 << 10  # bytes of an answer
_MOST_OPTIONS = 1_000  # of a variable: a longer list is not one to choose from


class NotThere(Exception):  # noqa: N818
    """There is no such dashboard, panel or target; the message names it."""


class Panels:
    """Answers for dashboards of the library, shared by who asks the same."""

    def __init__(self, store: StoreClient, settings: ConsoleSettings) -> None:
        self._store, self._settings = store, settings
        self._shared = Shared(settings.cache_seconds, settings.cache_bytes)

    async def panel(self, uid: str, panel_id: int, asked: PanelRequest) -> bytes:
        """The frames of a panel; NotThere, BadRequest, StoreSilent."""
        dashboard, panel = find(uid, panel_id)
        window = _window(panel, asked)
        variables = _bound(dashboard, asked.variables)
        # Of what was chosen, not of what is bound: All's literal and the same words as a value are equal there.
        key = (uid, panel_id, window, tuple(sorted(asked.variables.items())))
        return await self._shared.get(key, lambda: self._frames(panel, window, variables))

    def panel_sql(self, uid: str, panel_id: int, asked: PanelRequest, ref: str) -> tuple[str, str]:
        """A panel's title and the query of one target (empty: the first) as the store gets it; NotThere, BadRequest."""
        dashboard, panel = find(uid, panel_id)
        targets = {target["refId"]: target for target in _targets(panel)}
        if not targets or (ref and ref not in targets):
            raise NotThere(f"panel {panel_id} of {uid} has no target {ref or 'to ask'}")
        target = targets[ref] if ref else next(iter(targets.values()))
        try:
            sql = macros.expand(target["rawSql"], _window(panel, asked), _bound(dashboard, asked.variables))
        except MacroError as error:
            raise BadRequest(str(error)) from None
        return panel.get("title", ""), sql

    async def variables(self, uid: str, window: Range) -> bytes:
        """Every variable of a dashboard with what may be chosen; NotThere, BadRequest, StoreSilent."""
        dashboard = find_dashboard(uid)
        return await self._shared.get((uid, window), lambda: self._variables(dashboard, window))

    async def annotations(self, uid: str, window: Range) -> bytes:
        """What happened, for the charts of a dashboard: each of its annotations with events; NotThere, StoreSilent."""
        dashboard = find_dashboard(uid)
        return await self._shared.get(("annotations", uid, window), lambda: self._annotations(dashboard, window))

    async def _frames(self, panel: Mapping[str, Any], window: Window, variables: Mapping[str, Sequence[str]]) -> Answer:
        frames = await _all(self._frame(target, window, variables) for target in _targets(panel))
        body = {"from": window.from_ms, "to": window.to_ms, "frames": frames}
        return Answer(_packed(body), keep=not any("error" in frame for frame in frames))

    async def _frame(
        self, target: Mapping[str, Any], window: Window, variables: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        began = time.monotonic()
        try:
            frame = await self._ask(sql := macros.expand(target["rawSql"], window, variables))
        except (QueryRefused, MacroError) as error:
            return {"ref": target["refId"], "error": str(error)}
        if frame.truncated:
            what = f"more than {self._settings.max_rows:,} rows: choose a shorter range or fewer values"
            return {"ref": target["refId"], "error": what}
        return {
            "ref": target["refId"], "interval_ms": window.interval_ms, "sql": sql, "columns": frame.columns,
            "rows": frame.rows,
            "elapsed_ms": round((time.monotonic() - began) * 1000),
        }  # fmt: skip

    async def _annotations(self, dashboard: Mapping[str, Any], window: Range) -> Answer:
        listed = [one for one in dashboard.get("annotations", {}).get("list", ()) if is_asked(one)]
        found = await _all(self._annotation(dashboard, annotation, window) for annotation in listed)
        body = {"from": window.from_ms, "to": window.to_ms, "annotations": found}
        return Answer(_packed(body), keep=not any("error" in entry for entry in found))

    async def _annotation(
        self, dashboard: Mapping[str, Any], annotation: Mapping[str, Any], window: Range
    ) -> dict[str, Any]:
        whole = Window(window.from_ms, window.to_ms, macros.interval_of("1m"))
        found: dict[str, Any] = {"name": annotation["name"], "color": annotation.get("iconColor", "")}
        try:
            frame = await self._ask(macros.expand(annotation["target"]["rawSql"], whole, _bound(dashboard, {})))
            return found | {"events": events_of(frame), "more": frame.truncated}
        except (QueryRefused, MacroError, ValueError) as error:
            return found | {"events": [], "error": str(error)}

    async def _variables(self, dashboard: Mapping[str, Any], window: Range) -> Answer:
        listed = dashboard["templating"]["list"]
        found = await _all(self._variable(dashboard, variable, window) for variable in listed)
        named = {variable["name"]: entry for variable, entry in zip(listed, found, strict=True)}
        return Answer(_packed(named), keep=not any("error" in entry for entry in found))

    async def _variable(
        self, dashboard: Mapping[str, Any], variable: Mapping[str, Any], window: Range
    ) -> dict[str, Any]:
        current = variable.get("current", {}).get("value", [])
        found: dict[str, Any] = {
            "label": variable.get("label") or variable["name"],
            "multi": bool(variable.get("multi")),
            "include_all": bool(variable.get("includeAll")),
            "hide": variable.get("hide", 0),
            "current": current if isinstance(current, list) else [current],
        }
        if variable["type"] != "query":
            options = [option for option in variable.get("options", []) if option["value"] != library.ALL]
            return found | {"options": [{"text": option["text"], "value": option["value"]} for option in options]}
        whole = Window(window.from_ms, window.to_ms, macros.interval_of("1m"))
        try:
            frame = await self._ask(macros.expand(_query_of(variable), whole, _bound(dashboard, {})))
        except (QueryRefused, MacroError) as error:
            return found | {"options": [], "error": str(error)}
        return found | {"options": _options(frame)}

    async def _ask(self, sql: str) -> Frame:
        settings = self._settings
        return await self._store.ask(sql, kind="panel", max_rows=settings.max_rows, max_seconds=settings.panel_seconds)


def find_dashboard(uid: str) -> dict[str, Any]:
    """The file's content; NotThere."""
    found = library.dashboards()
    if uid not in found:
        raise NotThere(f"there is no dashboard {uid[:100]!r}; there are {', '.join(found) or 'none'}")
    return found[uid]


def find(uid: str, panel_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dashboard and one of its panels; NotThere."""
    dashboard = find_dashboard(uid)
    for panel in dashboard["panels"]:
        for here in (panel, *panel.get("panels", ())):  # a folded row holds its own
            if here.get("id") == panel_id:
                return dashboard, here
    raise NotThere(f"dashboard {uid} has no panel {panel_id}")


def _targets(panel: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [target for target in panel.get("targets", ()) if not target.get("hide")]


def _window(panel: Mapping[str, Any], asked: PanelRequest) -> Window:
    least = macros.interval_of(panel.get("interval") or _LEAST_INTERVAL)
    points = min(asked.max_points, panel.get("maxDataPoints") or asked.max_points)
    since, until = asked.window.from_ms, asked.window.to_ms
    return Window(since, until, macros.interval_ms(until - since, points, least))


def _bound(dashboard: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    try:
        return library.bound(dashboard, chosen)
    except MacroError as error:
        raise BadRequest(str(error)) from None


def _query_of(variable: Mapping[str, Any]) -> str:
    query = variable.get("query")
    if isinstance(query, dict):
        query = query.get("rawSql") or query.get("query")
    return str(query or variable.get("definition") or "")


def _options(frame: Frame) -> list[dict[str, str]]:
    """What Grafana reads of a variable's answer: ``__text`` and ``__value``, or the first column for both."""
    names = [column["name"] for column in frame.columns]
    value = names.index("__value") if "__value" in names else 0
    text = names.index("__text") if "__text" in names else value
    found = {str(row[value]): str(row[text]) for row in frame.rows if row[value] is not None}
    return [{"text": shown, "value": chosen} for chosen, shown in list(found.items())[:_MOST_OPTIONS]]


async def _all(questions: Iterator[Any]) -> list[Any]:
    """All answers in order; the first error ends the other questions, too."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def is_packed(body: bytes) -> bool:
    """Whether an answer is gzip, as large ones are: JSON never begins so."""
    return body.startswith(b"\x1f\x8b")


def _packed(value: Any) -> bytes:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")
    # Once for all who share it; the fastest level makes a tenth of it in a millisecond per 100 KB.
    return gzip.compress(body, 1, mtime=0) if len(body) > _PACKED_FROM else body
