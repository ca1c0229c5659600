"""What must not be in a rules' file: keys and values that one version of Grafana lacks, and pitfalls seen when it ran.

A value that a version does not know makes Grafana exit at its start; a share of nothing fires; two numbers in a row,
or a rule that is only taken out of the file, do what nobody meant.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from dashboards.alerts import build, templates
from dashboards.alerts.expressions import ExpressionError, parse_math
from dashboards.alerts.rules import REMOVED
from dashboards.library import DATA_SOURCE, dashboards
from dashboards.macros import MacroError, Window, expand
from sinks.grants import readable

Json = Mapping[str, Any]

LONGEST_UID = 40
_FILE = frozenset({"apiVersion", "groups", "deleteRules"})
_GROUP = frozenset({"orgId", "name", "folder", "interval", "rules"})
_RULE = frozenset({
    "uid", "title", "condition", "data", "noDataState", "execErrState", "for", "labels", "annotations", "dashboardUid",
    "panelId",
})  # fmt: skip
_QUERY = frozenset({"refId", "relativeTimeRange", "datasourceUid", "model"})
_MODEL = frozenset({"refId", "datasource", "editorType", "rawSql", "queryType", "format", "pluginVersion"})
_EXPRESSIONS = {
    "threshold": frozenset({"refId", "datasource", "type", "expression", "conditions"}),
    "math": frozenset({"refId", "datasource", "type", "expression"}),
    "reduce": frozenset({"refId", "datasource", "type", "expression", "reducer"}),
}
_NO_DATA = ("NoData", "Alerting", "OK")  # KeepLast came with 10.4
_ERROR = ("Error", "Alerting", "OK")
_SEVERITIES = ("page", "warn", "notice", "info")
_RUNS_EVERY = 10  # seconds of Grafana's scheduler
_LEAST_BOUND = 1e-6  # bounds are printed with six decimals
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_TABLES = re.compile(r"\b(?:FROM|JOIN)\s+([a-z]\w*)\b(?!\s*\()", re.IGNORECASE)
_CTE = re.compile(r"\b(\w+)\s+AS\s*\(")
_TRY = Window(1_700_000_000_000, 1_700_000_300_000, 60_000)


def problems(document: Json | None = None, removed: Sequence[str] = REMOVED) -> list[str]:
    """What is wrong with a rules' file (None: ours), each with the rule it is about; empty when nothing is.

    ``removed``: uids that were shipped once, which the file must delete.
    """
    return list(_of_file(build.document() if document is None else document, removed))


def _of_file(document: Json, removed: Sequence[str]) -> Iterator[str]:
    yield from _keys("the file", document, _FILE)
    if document.get("apiVersion") != 1:
        yield "apiVersion must be 1: the only one that all versions read"
    rules = [rule for group in document.get("groups", ()) for rule in group.get("rules", ())]
    for what in ("uid", "title"):
        names = [rule.get(what) for rule in rules]
        for name in sorted({str(name) for name in names if names.count(name) > 1}):
            yield f"{what} {name!r} belongs to several rules"
    deleted = {rule.get("uid") for rule in document.get("deleteRules", ())}
    for uid in sorted(set(removed) - deleted):
        yield f"deleteRules lacks {uid}: Grafana keeps a rule that is only gone from the file"
    for uid in sorted(deleted & {rule.get("uid") for rule in rules}, key=str):
        yield f"deleteRules has {uid}, which is a rule of the file"
    for group in document.get("groups", ()):
        yield from (f"group {group.get('name')!r}: {found}" for found in _of_group(group))
    for rule in rules:
        yield from (f"rule {rule.get('uid')}: {found}" for found in _of_rule(rule))


def _keys(what: str, found: Json, known: frozenset[str]) -> Iterator[str]:
    if unknown := found.keys() - known:
        yield f"{what} has keys outside the common form: {', '.join(sorted(unknown))}"


def _seconds(text: object) -> int | None:
    found = re.fullmatch(r"(\d+)([smhd])", str(text))
    return int(found[1]) * _UNITS[found[2]] if found else None


def _of_group(group: Json) -> Iterator[str]:
    yield from _keys("it", group, _GROUP)
    interval = _seconds(group.get("interval"))
    if not interval or interval % _RUNS_EVERY:
        yield f"interval {group.get('interval')!r}: Grafana looks every {_RUNS_EVERY} s, write a multiple"
    if not group.get("rules"):
        yield "it has no rules"


def _of_rule(rule: Json) -> Iterator[str]:
    yield from _keys("it", rule, _RULE)
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{LONGEST_UID}}}", str(rule.get("uid"))):
        yield f"a uid is 1 to {LONGEST_UID} letters, digits, - and _"
    if rule.get("noDataState") not in _NO_DATA:
        yield f"noDataState {rule.get('noDataState')!r}: Grafana 9.4 knows {', '.join(_NO_DATA)}, and exits at others"
    if rule.get("execErrState") not in _ERROR:
        yield f"execErrState {rule.get('execErrState')!r}: Grafana 9.4 knows {', '.join(_ERROR)}, and exits at others"
    if _seconds(rule.get("for")) is None:
        yield f"for {rule.get('for')!r}: write a number and s, m, h or d"
    data = rule.get("data", ())
    refs = [query.get("refId") for query in data]
    if len(set(refs)) < len(refs):
        yield "two of its queries have the same refId"
    if rule.get("condition") not in refs:
        yield f"its condition {rule.get('condition')!r} is none of its refIds"
    labels: dict[str, tuple[str, ...]] = {}
    for query in data:
        where = f"query {query.get('refId')}"
        yield from (f"{where}: {found}" for found in _of_query(query, refs))
        sql = query.get("model", {}).get("rawSql")
        if sql is not None:
            labels[query["refId"]] = _labels(sql) or ()
    if len(set(labels.values())) > 1:
        yield "its queries have other label columns: numbers and judgement would not meet"
    yield from _of_texts(rule, refs, next(iter(labels.values()), ()))
    yield from _of_panel(rule)


def _of_query(query: Json, refs: Sequence[str]) -> Iterator[str]:
    yield from _keys("it", query, _QUERY)
    model = query.get("model", {})
    span = query.get("relativeTimeRange", {})
    if not span.get("from", 0) > span.get("to", 0) >= 0:
        yield "its time range must begin before it ends"
    if model.get("refId") != query.get("refId"):
        yield "its model has another refId"
    if query.get("datasourceUid") == DATA_SOURCE["uid"]:
        yield from _keys("its model", model, _MODEL)
        if (model.get("queryType"), model.get("format")) != ("table", 1):
            yield "queryType table and format 1: rows of labels and one number"
        yield from _of_sql(str(model.get("rawSql")))
    elif query.get("datasourceUid") == "__expr__":
        yield from _of_expression(model, refs)
    else:
        yield f"datasourceUid {query.get('datasourceUid')!r}: {DATA_SOURCE['uid']} or __expr__"


@lru_cache(256)
def _of_sql(sql: str) -> tuple[str, ...]:
    return tuple(_looked_through(sql))


def _looked_through(sql: str) -> Iterator[str]:
    if re.search(r"\bFORMAT\s+\w+\s*$", sql, re.IGNORECASE):
        yield "FORMAT at the end: the data source wants Native"
    if ";" in sql:
        yield "a semicolon: one statement, without an end"
    if re.search(r"\bnow(64)?\s*\(|\btoday\s*\(", sql):
        yield "now(): write $__toTime, so that the same query judges any moment"
    if "WITH FILL" in sql:
        yield "WITH FILL: a filled row is no judgement, and would be one"
    if "$__interval" in sql or "$__timeInterval" in sql or "${" in sql:
        yield "an interval or a variable of a panel: a rule has none"
    try:
        expand(sql, _TRY, {})
    except MacroError as error:
        yield str(error)
    if unknown := set(_TABLES.findall(sql)) - set(readable("noc")) - set(_CTE.findall(sql)):
        yield f"reads {', '.join(sorted(unknown))}, which the role noc may not"
    if _labels(sql) is None:
        yield "its last SELECT must be label columns and toFloat64(...) AS value: one number"


def _labels(sql: str) -> tuple[str, ...] | None:
    """Label columns of a query's last SELECT; None when it is not labels and one number."""
    at = sql.rfind("\nSELECT ") + 1 if "\nSELECT " in sql else 0
    if not sql[at:].startswith("SELECT "):
        return None
    columns = re.split(r"\nFROM\b", sql[at + len("SELECT ") :], maxsplit=1)[0]
    found = re.fullmatch(r"((?:\w+, )*)toFloat64\(.*\) AS value", columns, re.DOTALL)
    return tuple(found[1].split(", ")[:-1]) if found else None


def _of_expression(model: Json, refs: Sequence[str]) -> Iterator[str]:
    kind = model.get("type")
    if kind not in _EXPRESSIONS:
        yield f"type {kind!r}: {', '.join(_EXPRESSIONS)} are evaluated by both"
        return
    yield from _keys("its model", model, _EXPRESSIONS[kind])
    text = str(model.get("expression"))
    if kind == "math":
        try:
            used = set(parse_math(text).refs)
        except ExpressionError as error:
            yield f"math {text!r}: {error}"
            return
    else:
        used = {text}
    if unknown := used - set(refs):
        yield f"it reads {', '.join(sorted(unknown))}, which is none of the rule's refIds"
    for condition in model.get("conditions", ()):
        bounds = condition.get("evaluator", {}).get("params", ())
        if any(0 < abs(bound) < _LEAST_BOUND for bound in bounds):
            yield f"a bound below {_LEAST_BOUND} is 0 to Grafana 9.4"


def _of_texts(rule: Json, refs: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    labels, annotations = rule.get("labels", {}), rule.get("annotations", {})
    if labels.get("severity") not in _SEVERITIES:
        yield f"label severity: one of {', '.join(_SEVERITIES)}"
    if "rule" not in labels:
        yield "label rule is missing: R0 to R10, or a name of one's own"
    if overlap := set(columns) & labels.keys():
        yield f"label {', '.join(sorted(overlap))} is also a column of its query"
    if "QUIC" in str(rule.get("title")) and f"({labels.get('definition')})" not in str(rule.get("title")):
        yield "the title must say which share it is, as the label definition does: (Q1), (Q2) or (Q3)"
    for name in ("summary", "description", "runbook_url"):
        if not annotations.get(name):
            yield f"annotation {name} is missing"
    for name, text in annotations.items():
        try:
            template = templates.parse(str(text))
        except templates.TemplateError as error:
            yield f"annotation {name}: {error}"
            continue
        if absent := template.refs - set(refs):
            yield f"annotation {name}: {', '.join(sorted(absent))} is none of the rule's refIds"
        if missing := set(re.findall(r"\$labels\.(\w+)", str(text))) - {*columns, *labels}:
            yield f"annotation {name}: the rule has no label {', '.join(sorted(missing))}"


def _of_panel(rule: Json) -> Iterator[str]:
    uid, panel, annotations = rule.get("dashboardUid"), rule.get("panelId"), rule.get("annotations", {})
    if uid is None:
        return
    if (annotations.get("__dashboardUid__"), annotations.get("__panelId__")) != (uid, str(panel)):
        yield "__dashboardUid__ and __panelId__ must say the same panel as dashboardUid and panelId"
    known = {each["id"] for each in dashboards().get(uid, {}).get("panels", ())}
    if panel not in known:
        yield f"there is no panel {panel} on dashboard {uid}"
