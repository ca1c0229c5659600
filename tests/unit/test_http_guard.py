"""The judgement of syntax trees, on small ones written by hand."""

import json
from typing import Any

import pytest

from sinks import StoreRefused
from sinks.query_guard import judge, substitute


def select(**parts: Any) -> str:
    body = {"type": "SelectQuery", "select": {"type": "ExpressionList", "children": []}, **parts}
    return json.dumps(
        {"type": "SelectWithUnionQuery", "list_of_selects": {"type": "ExpressionList", "children": [body]}}
    )


def setting(name: str, value: object, kind: str = "UInt64") -> dict[str, Any]:
    return {"type": "SetQuery", "changes": [{"name": name, "value": {"field_type": kind, "value": value}}]}


def test_settings_and_tables_are_told() -> None:
    tree = select(settings=setting("max_threads", 3), tables={"type": "TableIdentifier", "name": "flows"})
    judged = judge(tree, {})
    assert (judged.settings, judged.tables, judged.format) == ({"max_threads": 3}, frozenset({"flows"}), None)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "Function", "name": "FILE"}, "function FILE"),
        ({"type": "Function", "name": "newlydenied"}, "function newlydenied"),
        ({"type": "Identifier", "name": "file"}, "function file is not for readers"),
        ({"type": "ColumnsApplyTransformer", "func_name": "file"}, "function file"),
        ({"type": "TableExpression", "table_function": {"type": "Function", "name": "url"}}, "table function url"),
        ({"type": "TableIdentifier", "name": "system.users", "name_parts": ["system", "users"]}, "table system.users"),
        ({"type": "Identifier", "name": "SYSTEM.x.y", "name_parts": ["SYSTEM", "x", "y"]}, "table SYSTEM.x"),
        ({"type": "DropQuery"}, "DROP statements"),
        ({"type": "ExplainQuery", "kind": "EXPLAIN TABLE OVERRIDE"}, "EXPLAIN TABLE OVERRIDE"),
        ({"type": "Literal", "out_file": {}}, "INTO OUTFILE"),
        ({"type": "SetQuery", "default_settings": ["readonly"]}, "SET default_settings"),
        ({"type": "SetQuery", "query_parameters": [{"name": "t", "value": "x"}]}, "SET query_parameters"),
        (setting("x", "CustomType_('AST', 'y')", "CustomType"), "neither a number nor a string"),
    ],
)
def test_what_is_refused_wherever_it_stands(part: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreRefused, match=message):
        judge(select(where={"type": "ExpressionList", "children": [[part]]}), {}, frozenset({"newlydenied"}))


@pytest.mark.parametrize("root", ["InsertQuery", "TransactionControl", "SystemQuery", "Function", None])
def test_only_known_statements_are_run(root: str | None) -> None:
    with pytest.raises(StoreRefused) as refused:
        judge(json.dumps({"type": root}), {})
    assert refused.value.code == 164


def test_a_name_that_is_a_parameter_is_judged_filled() -> None:
    parameter = {"type": "QueryParameter", "name": "t", "param_type": "Identifier"}
    tree = select(tables={"type": "TableIdentifier", "name": "", "name_parts": ["system", ""], "children": [parameter]})
    assert judge(tree, {"t": "tables"})
    for value in ("users", "ta\\x62les", "tables.x", ""):
        with pytest.raises(StoreRefused):
            judge(tree, {"t": value})


@pytest.mark.parametrize(
    ("formatted", "judged_as"),
    [
        ("DESCRIBE TABLE file('x') FORMAT JSON", "SELECT * FROM file('x') FORMAT JSON"),
        ("EXISTS TABLE a.b", "SELECT * FROM a.b"),
        ("SHOW CREATE VIEW a INTO OUTFILE 'x'", "SELECT * FROM a INTO OUTFILE 'x'"),
        ("SHOW FUNCTIONS LIKE 'a'", "SHOW TABLES LIKE 'a'"),
    ],
)
def test_statements_without_a_tree_are_judged_by_another(formatted: str, judged_as: str) -> None:
    assert substitute(formatted) == judged_as


@pytest.mark.parametrize("formatted", ["SHOW PROCESSLIST", "KILL QUERY WHERE 1", "DESCRIBE FILESYSTEM CACHE 'x'", ""])
def test_other_statements_are_refused(formatted: str) -> None:
    with pytest.raises(StoreRefused, match="readers may not run"):
        substitute(formatted)
