"""The ``data`` of a rule: questions to the store, and what is made of their numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.alerts.expressions import THRESHOLDS, Expression, ExpressionError, Last, Threshold, parse_math
from dashboards.alerts.place import LONGEST, Place, is_name
from dashboards.library import DATA_SOURCE

EXPRESSION = "__expr__"
_DATA_KEYS = frozenset({"refId", "relativeTimeRange", "datasourceUid", "model", "queryType"})


@dataclass(frozen=True, slots=True)
class Query:
    """A question to the store; ``since`` and ``until``: seconds before now."""

    sql: str
    since: int
    until: int = 0
    interval_ms: int = 1_000

    @property
    def refs(self) -> frozenset[str]:
        """It reads no other."""
        return frozenset()


Step = Query | Expression


def read_steps(outer: Place, value: Any) -> dict[str, Step]:
    """By refId, each behind those it reads."""
    found: dict[str, Step] = {}
    for each in outer.within("data").sequence(value):
        inner = outer.within("data").mapping(each, _DATA_KEYS)
        ref = outer.within("data").text(inner, "refId")
        place = outer.within(f"refId {ref}")
        if ref in found or not is_name(ref):
            raise place.wrong("twice, or no name: letters, digits and _")
        model = place.within("model").mapping(inner.get("model"))
        source = place.text(inner, "datasourceUid")
        if source == EXPRESSION:
            found[ref] = _expression(place.within("model"), model)
        elif source == DATA_SOURCE["uid"]:
            found[ref] = _query(place, inner, model)
        else:
            raise place.within("datasourceUid").wrong(f"{source!r}: write {DATA_SOURCE['uid']} or {EXPRESSION}")
    for ref, step in found.items():
        if unknown := step.refs - found.keys():
            raise outer.within(f"refId {ref}").wrong(f"reads {', '.join(sorted(unknown))}, which is not in data")
    ordered: dict[str, Step] = {}
    while len(ordered) < len(found):
        ready = [ref for ref, step in found.items() if ref not in ordered and step.refs <= ordered.keys()]
        if not ready:
            left = ", ".join(sorted(found.keys() - ordered.keys()))
            raise outer.within("data").wrong(f"{left} read each other in a circle")
        ordered |= {ref: found[ref] for ref in ready}
    return ordered


def _query(place: Place, inner: Mapping[str, Any], model: Mapping[str, Any]) -> Query:
    span = place.within("relativeTimeRange").mapping(inner.get("relativeTimeRange"), frozenset({"from", "to"}))
    since, until = span.get("from", 0), span.get("to", 0)
    if type(since) is not int or type(until) is not int or not 0 <= until <= since <= LONGEST:
        raise place.within("relativeTimeRange").wrong("write seconds before now, as from: 300 and to: 0")
    if model.get("format", 1) != 1 or model.get("queryType", "table") != "table":
        raise place.within("model").wrong("write format: 1 and queryType: table; series are not judged here")
    sql = place.within("model").text(model, "rawSql")
    return Query(sql, since, until)


def _expression(place: Place, model: Mapping[str, Any]) -> Expression:
    kind, text = place.text(model, "type"), place.text(model, "expression")
    if kind == "math":
        try:
            return parse_math(text)
        except ExpressionError as error:
            raise place.within("expression").wrong(error) from None
    ref = text.removeprefix("$")
    if kind == "reduce":
        if model.get("reducer") != "last" or model.get("settings", {}).get("mode", "") not in ("", "dropNN"):
            raise place.within("reducer").wrong("write last: a row has one number")
        return Last(ref)
    if kind != "threshold":
        raise place.within("type").wrong(f"{kind!r}: write threshold or math")
    conditions = place.within("conditions").sequence(model.get("conditions"))
    if len(conditions) != 1 or not isinstance(conditions[0], dict) or "unloadEvaluator" in conditions[0]:
        raise place.within("conditions").wrong("write one, without unloadEvaluator: let the query remember")
    evaluator = place.within("evaluator").mapping(conditions[0].get("evaluator"))
    compare, bounds = evaluator.get("type"), evaluator.get("params")
    if not isinstance(compare, str) or compare not in THRESHOLDS:
        raise place.within("evaluator").wrong(f"type {compare!r}: write {', '.join(THRESHOLDS)}")
    count = THRESHOLDS[compare][0]
    if not isinstance(bounds, list) or len(bounds) < count or any(type(b) not in (int, float) for b in bounds):
        raise place.within("evaluator").within("params").wrong(f"write {count} number{'s' * (count > 1)}")
    return Threshold(ref, compare, tuple(float(b) for b in bounds[:count]))


def needed(steps: Mapping[str, Step], wanted: str) -> frozenset[str]:
    """A refId and all that it reads."""
    found = {wanted}
    for ref in reversed(list(steps)):  # each stands behind what it reads
        if ref in found:
            found |= steps[ref].refs
    return frozenset(found)
