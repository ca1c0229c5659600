"""What a reader may ask: judged on the engine's own syntax tree, never by looking for words.

``readonly=1`` alone is not safe here: ``file()`` reads host files, ``INTO OUTFILE`` writes them, ``KILL QUERY`` works.
The tree is ``parseQueryToJSON()``'s: what ``EXPLAIN AST`` prints, with all that this leaves out (``* APPLY file``,
settings, where a name stands), of one statement that is a parameter and so cannot act while it is judged.

Statements without such a tree (DESCRIBE, EXISTS, SHOW CREATE …) are taken in the engine's formatting and judged as the
SELECT or SHOW with the same words behind their first ones.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sinks import StoreRefused

SYNTAX_ERROR, BAD_ARGUMENTS, READONLY, TOO_DEEP, ACCESS_DENIED = 62, 36, 164, 306, 497

TREE_SQL = "SELECT parseQueryToJSON({sql:String})"
FORMAT_SQL = "SELECT formatQuerySingleLine({sql:String})"

_STATEMENTS = frozenset({
    "SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery",  # SELECTS
    "TablesInSelectQuery", "ShowTablesQuery", "ShowColumnsQuery", "ShowIndexesQuery", "ExplainQuery",
})  # fmt: skip
SELECTS = frozenset({"SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery"})
_EXPLAINED = frozenset({
    "EXPLAIN", "EXPLAIN AST", "EXPLAIN SYNTAX", "EXPLAIN QUERY TREE", "EXPLAIN PIPELINE", "EXPLAIN ESTIMATE",
})  # fmt: skip
_TABLE_FUNCTIONS = frozenset({
    "numbers", "numbers_mt", "values", "view", "generate_series", "generateseries",
})  # fmt: skip
_FUNCTIONS = frozenset({
    "file", "catboostevaluate",  # read files of the host
    "filesystemavailable", "filesystemcapacity", "filesystemunreserved",  # tell of the host's disks
    "showcertificate", "naivebayesclassifier", "naivebayesclassifierwithprob", "naivebayesclassifierwithallprobs",
    "sleep", "sleepeachrow",  # hold one of few threads and do nothing
    "logtrace", "generateserialid",  # write
})  # fmt: skip
DENIED_CATEGORIES = ("AI", "Introspection")
"""Categories of ``system.functions`` that call out to the network or look into the process."""
_SYSTEM = frozenset({"system", "information_schema"})
_SYSTEM_TABLES = frozenset({
    "one", "numbers", "numbers_mt", "zeros", "zeros_mt",
    "tables", "columns", "databases", "parts", "parts_columns", "data_skipping_indices", "merges",
    "settings", "merge_tree_settings", "functions", "table_functions", "formats", "data_type_families",
    "table_engines", "time_zones", "keywords", "build_options", "contributors", "licenses",
    "metrics", "events", "asynchronous_metrics",
    "schemata", "views", "key_column_usage", "referential_constraints", "statistics",
})  # fmt: skip

_SETTING_TYPES = frozenset({"UInt64", "Int64", "Float64", "String", "Bool"})

_AS_SELECT = re.compile(
    r"(?:DESCRIBE TABLE|EXISTS (?:TABLE|VIEW|DATABASE|DICTIONARY)|SHOW CREATE (?:TABLE|VIEW|DATABASE)) (?=\S)"
)
_AS_SHOW = re.compile(r"SHOW (?:FUNCTIONS|ENGINES)\b")


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement that a reader may run."""

    format: str | None  # of its FORMAT clause
    settings: dict[str, str | int | float] = field(default_factory=dict)  # of its SETTINGS clauses, not judged
    tables: frozenset[str] = frozenset()  # as they are written
    selects: bool = False  # it is a SELECT, and no EXPLAIN, SHOW or the like
    totals: bool = False  # WITH TOTALS: a block of another kind follows the rows


def refuse(what: str, code: int = ACCESS_DENIED) -> StoreRefused:
    """The error that tells a reader what is not for readers."""
    name = {READONLY: "READONLY", ACCESS_DENIED: "ACCESS_DENIED", TOO_DEEP: "TOO_DEEP_RECURSION"}.get(code, "BAD")
    return StoreRefused(code, f"Code: {code}. DB::Exception: {what}. ({name})")


def substitute(formatted: str) -> str:
    """The SELECT or SHOW by which a statement without a tree is judged; StoreRefused for any other statement.

    ``formatted`` is the engine's formatting of one statement, in one line.
    """
    if match := _AS_SELECT.match(formatted):
        return "SELECT * FROM " + formatted[match.end() :]
    if match := _AS_SHOW.match(formatted):
        return "SHOW TABLES" + formatted[match.end() :]
    words = " ".join(re.findall(r"[A-Za-z]+", formatted)[:2]).upper()
    raise refuse(f"readers may not run {words}: SELECT, SHOW, DESCRIBE, EXPLAIN and EXISTS are for readers", READONLY)


def judge(
    tree: str,
    parameters: Mapping[str, str],
    denied: frozenset[str] = frozenset(),
    hidden: frozenset[str] = frozenset(),
    *,
    substituted: bool = False,
) -> Judged:
    """The statement of this tree, if a reader may run it; StoreRefused says what is not for readers.

    ``tree`` is JSON; ``parameters`` the values of ``{name:Type}``; ``denied`` more functions and ``hidden`` tables of
    any database, in lower case.  ``substituted``: the tree is of the statement's ``substitute``.
    """
    denied = denied | _FUNCTIONS
    try:
        root = json.loads(tree)
    except RecursionError as error:
        raise refuse("the query is nested too deeply", TOO_DEEP) from error
    if root.get("type") not in _STATEMENTS:
        raise refuse(f"readers may not run {root.get('type')} statements", READONLY)
    settings: dict[str, str | int | float] = {}
    tables = set()
    totals = False
    options: Any = None  # of EXPLAIN: which parts to show
    for node in _nodes(root):
        kind = node.get("type", "")
        if kind.endswith("Query") and kind not in _STATEMENTS and kind != "SetQuery":
            raise refuse(f"readers may not run {kind.removesuffix('Query').upper()} statements", READONLY)
        if "out_file" in node or node.get("is_into_outfile_with_stdout"):
            raise refuse("INTO OUTFILE is not for readers: the file would be on the server")
        totals = totals or bool(node.get("group_by_with_totals"))
        if kind == "ExplainQuery":
            _judge_explain(node)
            options = node.get("settings")
        elif kind == "SetQuery" and node is not options:
            settings.update(_settings(node))
        elif kind in ("Identifier", "TableIdentifier"):
            _judge_identifier(node, parameters, denied, hidden)
            if kind == "TableIdentifier":
                tables.add(str(node.get("name", "")))
        elif kind == "Function":
            _judge_function(node.get("name", ""), denied)
        if "func_name" in node:  # * APPLY name
            _judge_function(node["func_name"], denied)
        if "table_function" in node:
            _judge_table_function(node["table_function"])
    form = root.get("format_ast", {}).get("name")
    selects = root["type"] in SELECTS and not substituted
    return Judged(form, settings, frozenset(tables), selects, totals)


def told(tree: str) -> Judged:
    """What the tree of an admin's statement, of any kind, tells of its answer; nothing is judged."""
    try:
        root = json.loads(tree)
    except (RecursionError, ValueError):
        return Judged(None)
    totals = any(node.get("group_by_with_totals") for node in _nodes(root))
    return Judged(root.get("format_ast", {}).get("name"), selects=root.get("type") in SELECTS, totals=totals)


def readers_of(hidden: frozenset[str], trees: Mapping[str, str]) -> frozenset[str]:
    """The hidden tables and all views over them; ``trees`` are the views' SELECTs by name.  In lower case."""
    named = {view.lower(): {part.lower() for node in _nodes(json.loads(tree)) for part in _parts(node)}
             for view, tree in trees.items()}  # fmt: skip
    found = {name.lower() for name in hidden}
    while more := {view for view, names in named.items() if names & found} - found:
        found |= more
    return frozenset(found)


def _nodes(root: Any) -> Iterator[dict[str, Any]]:
    waiting = [root]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            yield here
            waiting.extend(here.values())
        elif isinstance(here, list):
            waiting.extend(here)


def _judge_explain(node: Mapping[str, Any]) -> None:
    if node.get("kind") not in _EXPLAINED:
        raise refuse(f"readers may not run {node.get('kind')}")


def _judge_table_function(function: Mapping[str, Any]) -> None:
    name = str(function.get("name", ""))
    if name.lower() not in _TABLE_FUNCTIONS:
        raise refuse(f"table function {name}() is not for readers: {', '.join(sorted(_TABLE_FUNCTIONS))} are")


def _judge_function(name: str, denied: frozenset[str]) -> None:
    if name.lower() in denied:
        raise refuse(f"function {name}() is not for readers")


def _parts(node: Mapping[str, Any]) -> list[str]:
    if node.get("type") not in ("Identifier", "TableIdentifier"):
        return []
    return [str(part) for part in node.get("name_parts") or [node.get("name", "")]]


def _judge_identifier(
    node: Mapping[str, Any], parameters: Mapping[str, str], denied: frozenset[str], hidden: frozenset[str]
) -> None:
    parts = _parts(node)
    # Parts that a parameter {name:Identifier} fills are empty, and in order.
    filled = iter(child for child in node.get("children", ()) if child.get("type") == "QueryParameter")
    parts = [part or _filled(next(filled, {}), parameters) for part in parts]
    if len(parts) == 1 and parts[0].lower() in denied:
        # arrayMap(file, …) calls the function by its bare name.
        raise refuse(f"function {parts[0]} is not for readers (a column of this name: write table.{parts[0]})")
    # Also where it might be a column: WHERE x IN name reads the table.
    if not hidden.isdisjoint(part.lower() for part in parts):
        raise refuse(f"table {'.'.join(parts)} is not for readers (http.hidden_tables)")
    if len(parts) > 1 and parts[0].lower() in _SYSTEM and parts[1].lower() not in _SYSTEM_TABLES:
        raise refuse(f"table {parts[0]}.{parts[1]} is not for readers")


def _filled(parameter: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    value = parameters.get(str(parameter.get("name")), "")
    # The engine unescapes values (\\x73 is s), and a dot might divide: only plain names are judged as they stand.
    if not re.fullmatch(r"\w*", value):
        raise refuse(f"parameter {parameter.get('name')}: {value!r} is no plain name", BAD_ARGUMENTS)
    return value


def _settings(node: Mapping[str, Any]) -> dict[str, str | int | float]:
    other = {key for key, value in node.items() if value and key not in ("type", "changes")}
    if other:
        raise refuse(f"readers may not SET {', '.join(sorted(other))}", READONLY)
    found: dict[str, str | int | float] = {}
    for change in node.get("changes", ()):
        value = change.get("value", {}).get("value")
        if change.get("value", {}).get("field_type") not in _SETTING_TYPES:
            raise refuse(f"the value of setting {change.get('name')} is neither a number nor a string", READONLY)
        found[str(change["name"])] = value
    return found
