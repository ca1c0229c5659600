"""What must not be in a dashboard's file: keys that one version of Grafana lacks, and pitfalls seen when it was run.

Each rule is one that a real Grafana with the ClickHouse data source broke: a rate below the table's resolution, a share
of nothing that is NaN, a series out of order, a gap joined by a straight line, a clause FORMAT.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.library import DATA_SOURCE, bound
from dashboards.macros import MacroError, Window, expand, interval_of
from sinks.grants import Role, readable

Json = Mapping[str, Any]

_DASHBOARD = frozenset({
    "uid", "title", "description", "tags", "timezone", "editable", "graphTooltip", "refresh", "time", "schemaVersion",
    "version", "annotations", "links", "templating", "panels",
})  # fmt: skip
_PANEL = frozenset({"id", "type", "title", "description", "gridPos"})
_QUERIED = _PANEL | {"datasource", "interval", "targets", "fieldConfig", "options"}
_KINDS = {"row": _PANEL | {"collapsed", "panels"}, "timeseries": _QUERIED, "stat": _QUERIED, "table": _QUERIED,
          "xychart": _QUERIED}  # fmt: skip
# Of a chart over numbers: as 9.4 stores them, and as later versions read them when no version of the panel is named.
_XY = frozenset({"seriesMapping", "dims", "series", "legend", "tooltip"})
_XY_FIELD = frozenset({
    "show", "lineWidth", "lineStyle", "pointSize", "axisPlacement", "axisLabel", "scaleDistribution",
})  # fmt: skip
_TARGET = frozenset({"refId", "datasource", "editorType", "rawSql", "queryType", "format", "pluginVersion"})
_VARIABLE = frozenset({
    "name", "label", "type", "hide", "multi", "includeAll", "allValue", "current", "skipUrlSync", "datasource", "query",
    "definition", "refresh", "regex", "sort", "options",
})  # fmt: skip
_ANNOTATION = frozenset({"name", "enable", "hide", "iconColor", "datasource", "target"})
_SCHEMA_VERSIONS = range(36, 40)
_LEAST_REFRESH_MS = 5_000  # what Grafana allows unless it is told otherwise
_EVENT = ("time", "timeEnd", "title", "text", "tags")
# The bucket of each table in seconds: no panel may ask for finer ones.
_BUCKET = {
    "bucket_1m": 60, "bucket_5m": 300, "bucket_end_5m": 300, "bucket_1h": 3600, "port_1h": 3600, "port_1d": 86_400,
    "interface_1m": 60, "exporter_1m": 60, "talker_5m": 300, "as_5m": 300, "exporter_health_1m": 60, "stage_1m": 60,
    "audit_1m": 60,
}  # fmt: skip
_TABLES = re.compile(r"\b(?:FROM|JOIN)\s+([a-z]\w*)\b(?!\s*\()", re.IGNORECASE)
_GUARDED = re.compile(r"\bFROM (\w+) AS \w+ WHERE \$__interval_s >= (\d+)")
_CTE = re.compile(r"\bWITH\s+(\w+)\s+AS\s*\(")
_TRY = Window(1_700_000_000_000, 1_700_003_600_000, 60_000)


def problems(dashboard: Json) -> list[str]:
    """What is wrong with a dashboard, each with the panel it is about; empty when nothing is."""
    return [f"{dashboard.get('uid')}: {problem}" for problem in _of_dashboard(dashboard)]


def _of_dashboard(dashboard: Json) -> Iterator[str]:
    yield from _keys("the dashboard", dashboard, _DASHBOARD)
    if dashboard["schemaVersion"] not in _SCHEMA_VERSIONS:
        yield f"schemaVersion {dashboard['schemaVersion']}: 9.4 and 12 both read 36 to 39"
    if dashboard["refresh"] and interval_of(dashboard["refresh"]) < _LEAST_REFRESH_MS:
        yield f"refresh {dashboard['refresh']}: Grafana allows 5s and more"
    # Who may see single subscribers is another account: such a dashboard says so where people look for it.
    role: Role = "engineer" if "engineer" in dashboard["tags"] else "noc"
    ids = [panel["id"] for panel in dashboard["panels"]]
    if doubled := {number for number in ids if ids.count(number) > 1}:
        yield f"panels share the ids {sorted(doubled)}"
    for variable in dashboard["templating"]["list"]:
        yield from (f"variable {variable['name']}: {found}" for found in _of_variable(variable, role))
    try:
        values = bound(dashboard, {})
    except MacroError as error:
        yield str(error)
        return
    for annotation in dashboard["annotations"]["list"]:
        yield from (f"annotation {annotation['name']!r}: {found}" for found in _of_annotation(annotation, values))
    for panel in dashboard["panels"]:
        yield from (f"panel {panel['id']} {panel['title']!r}: {found}" for found in _of_panel(panel, values, role))


def _keys(what: str, found: Json, known: frozenset[str]) -> Iterator[str]:
    if unknown := found.keys() - known:
        yield f"{what} has keys outside the common form: {', '.join(sorted(unknown))}"


def _of_variable(variable: Json, role: Role) -> Iterator[str]:
    yield from _keys("it", variable, _VARIABLE)
    if variable["type"] == "query":
        if variable.get("datasource") != DATA_SOURCE:
            yield "its data source must be {type, uid}"
        yield from _of_sql(variable["query"], {}, role)
    elif any("," in str(option["text"]) for option in variable["options"]):
        yield "a comma in an option's text parts it in two"
    if variable["includeAll"] and not re.fullmatch(r"'[^']*'", variable.get("allValue", "")):
        yield "All needs a value that is an SQL text: without one an empty list becomes IN ()"


def _of_annotation(annotation: Json, values: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield from _keys("it", annotation, _ANNOTATION)
    target = annotation["target"]
    yield from _keys("its target", target, _TARGET)
    if annotation.get("datasource") != DATA_SOURCE or target.get("datasource") != DATA_SOURCE:
        yield "its data source and its target's must be {type, uid}"
    if target.get("format") != 1:
        yield "events are a table (format 1): a time series becomes one frame a label"
    sql = target["rawSql"]
    yield from _of_sql(sql, values, "noc")
    head = sql[: sql.upper().find("\nFROM")]
    if missing := [name for name in _EVENT if not re.search(rf"\b{name}\b", head)]:
        yield f"its first SELECT has no column {', '.join(missing)}"
    if not re.search(r"\$__(?:toTime|timeFilter)\b", sql):
        yield "it asks for all times: use $__timeFilter, or $__fromTime and $__toTime"
    if not re.search(r"ORDER BY time\b", sql) or not re.search(r"\bLIMIT \d+$", sql):
        yield "events come in ORDER BY time, and no more than a LIMIT"


def _of_panel(panel: Json, values: Mapping[str, tuple[str, ...]], role: Role) -> Iterator[str]:
    kind = panel["type"]
    if kind not in _KINDS:
        yield f"type {kind}: {', '.join(_KINDS)} are drawn by both"
        return
    yield from _keys("it", panel, frozenset(_KINDS[kind]))
    if kind == "row":
        return
    if not panel["description"].strip():
        yield "no description: say what it means, and what to do when it is red"
    if "QUIC" in panel["title"] and not re.search(r"\(Q[123]\)", panel["title"]):
        yield "the title must say which share it is: (Q1), (Q2) or (Q3)"
    if panel.get("datasource") != DATA_SOURCE:
        yield "its data source must be {type, uid}"
    if kind == "xychart":
        yield from _of_xy(panel)
    refs = [target["refId"] for target in panel["targets"]]
    if len(set(refs)) < len(refs):
        yield "two targets have the same refId"
    for target in panel["targets"]:
        yield from _keys("its target", target, _TARGET)
        if target["datasource"] != DATA_SOURCE:
            yield "its target's data source must be {type, uid}"
        yield from _of_sql(target["rawSql"], values, role)
        yield from _resolution(target["rawSql"], interval_of(panel["interval"]) // 1000)
        yield from (_of_series if target["format"] == 0 else _of_figures)(panel, target["rawSql"])


def _of_sql(sql: str, values: Mapping[str, tuple[str, ...]], role: Role) -> Iterator[str]:
    if re.search(r"\bFORMAT\s+\w+\s*$", sql, re.IGNORECASE):
        yield "FORMAT at the end: the data source wants Native"
    if ";" in sql:
        yield "a semicolon: one statement, without an end"
    try:
        expand(sql, _TRY, values)
    except MacroError as error:
        yield str(error)
    unknown = set(_TABLES.findall(sql)) - set(readable(role)) - set(_CTE.findall(sql))
    if unknown:
        yield f"reads {', '.join(sorted(unknown))}, which the role {role} may not"


def _resolution(sql: str, interval: int) -> Iterator[str]:
    rest = sql
    for table, least in _GUARDED.findall(sql):
        if int(least) < _BUCKET[table]:
            yield f"{table} from {least} s on: its buckets have {_BUCKET[table]} s"
        rest = rest.replace(f"FROM {table} AS b WHERE $__interval_s >= {least}", "")
    for table in sorted(set(_TABLES.findall(rest)) & _BUCKET.keys()):
        if interval < _BUCKET[table] and "$__interval_s" in sql:
            yield f"min interval {interval} s is finer than the buckets of {table}: rates would be too high"


def _of_series(panel: Json, sql: str) -> Iterator[str]:
    if panel["type"] == "table":
        yield "a time series in a table"
    if not re.match(r"\s*SELECT\s+(time\b|[^\n]*?\bAS time\b)", sql):
        yield "the first column of a time series is named time"
    if not re.search(r"ORDER BY time\b[^()]*(WITH FILL.*)?$", sql, re.DOTALL):
        yield "a time series ends in ORDER BY time"
    if "WITH FILL" not in sql:
        yield "WITH FILL is missing: a gap would be joined by a straight line"


def _of_figures(panel: Json, sql: str) -> Iterator[str]:
    if panel["type"] == "xychart" and f"AS `{_x(panel)}`," not in sql:
        yield f"no column is named {_x(panel)}, as dims.x says"
    if panel["type"] == "timeseries":
        yield "figures where a time series belongs"
    if panel["type"] == "stat" and "HAVING" not in sql:
        yield "HAVING is missing: over nothing it would say NaN or 0, not that there is no data"


def _of_xy(panel: Json) -> Iterator[str]:
    yield from _keys("its options", panel["options"], _XY)
    yield from _keys("its fields", panel["fieldConfig"]["defaults"]["custom"], _XY_FIELD)
    if panel["options"].get("seriesMapping") != "auto" or panel["options"]["dims"].get("frame") != 0:
        yield "series are mapped automatically, from frame 0: that is what both forms know"
    if len(panel["targets"]) != 1:
        yield "one target: versions before 11 draw the first frame only"


def _x(panel: Json) -> str:
    return str(panel["options"]["dims"]["x"])
