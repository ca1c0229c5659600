"""What a rule says of rows: numbers, verdicts, no data, errors; and the parts of expressions that are understood."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.alerts.evaluate import Ask, AskFailed, AskSilent, Verdict, judge
from dashboards.alerts.expressions import NO_LABELS, ExpressionError, Last, Threshold, parse_math
from dashboards.alerts.rulefile import Query, Rule
from dashboards.alerts.rulesteps import Step, needed

NOW = 1_700_003_600.0
Rows = Sequence[Mapping[str, object]]


def rule(**steps: Step) -> Rule:
    all_steps: dict[str, Step] = {"A": Query("a", 300), "N": Query("n", 300), **steps}
    all_steps["C"] = steps.get("C", Threshold("A", "gt", (0.5,)))
    return Rule("uid", "Title", "C", all_steps, needed=needed(all_steps, "C"))


def answers(**rows: Rows) -> Ask:
    return lambda sql: rows[sql]


def test_one_verdict_for_each_set_of_labels() -> None:
    a = [{"service": "fixed", "value": 1.0}, {"service": "mobile", "value": 0.0}]
    n = [{"service": "fixed", "value": 12.0}, {"service": "mobile", "value": 13.0}]
    assert judge(rule(), answers(a=a, n=n), NOW).verdicts == (
        Verdict({"service": "fixed"}, True, {"A": 1.0, "C": 1.0, "N": 12.0}),
        Verdict({"service": "mobile"}, False, {"A": 0.0, "C": 0.0, "N": 13.0}),
    )


def test_what_only_texts_need_is_not_asked_for_nothing() -> None:
    asked: list[str] = []

    def ask(sql: str) -> Rows:
        asked.append(sql)
        return [{"value": 0.0}]

    judge(rule(), ask, NOW)
    assert asked == ["a"]
    judge(rule(), ask, NOW, always=True)
    assert asked == ["a", "a", "n"]


def test_the_time_of_a_question_is_the_time_that_is_given() -> None:
    asked: list[str] = []

    def ask(sql: str) -> Rows:
        asked.append(sql)
        return []

    query = Query("$__fromTime $__toTime $__timeFilter(t)", 300, 60)
    judge(rule(A=query), ask, NOW)
    assert asked == [
        "toDateTime(1700003300) toDateTime(1700003540) t >= toDateTime(1700003300) AND t <= toDateTime(1700003540)"
    ]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf])
def test_no_number_is_no_data_and_never_0(nothing: float | None) -> None:
    rows: Rows = [{"service": "a", "value": nothing}, {"service": "b", "value": 1.0}]
    (verdict,) = judge(rule(), answers(a=rows, n=[]), NOW).verdicts
    assert (verdict.labels, verdict.firing, verdict.values) == ({"service": "b"}, True, {"A": 1.0, "C": 1.0})
    found = judge(rule(), answers(a=rows[:1], n=[]), NOW)
    assert (found.verdicts, found.error) == ((), "")
    # Nor does a threshold below make it fire.
    below = judge(rule(C=Threshold("A", "lt", (5.0,))), answers(a=rows[:1], n=[]), NOW)
    assert (below.verdicts, below.error) == ((), "")


def test_no_row_is_no_data() -> None:
    found = judge(rule(), answers(a=[]), NOW)
    assert (found.verdicts, found.error) == ((), "")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"a": 1.0, "b": 2.0}], "exactly one number, not 2"),
        ([{"a": "x"}], "exactly one number, not 0"),
        ([{"a": ["x"], "b": "y"}], "exactly one number"),
        ([{"s": "x", "v": 1.0}, {"s": "x", "v": 2.0}], "two rows have the labels"),
        ([{"s": str(n), "v": 1.0} for n in range(1_001)], "more than 1000 rows"),
    ],
)
def test_answers_of_another_shape_are_errors(rows: Rows, says: str) -> None:
    found = judge(rule(), answers(a=rows), NOW)
    assert says in found.error
    assert found.verdicts == ()


def test_a_refusal_is_an_error_and_silence_is_raised() -> None:
    def refuse(sql: str) -> Rows:
        raise AskFailed("Unknown table x")

    def silent(sql: str) -> Rows:
        raise AskSilent("nobody there")

    assert judge(rule(), refuse, NOW).error == "Unknown table x"
    assert "no macro" in judge(rule(A=Query("$__timeGroup(t)", 300)), refuse, NOW).error
    with pytest.raises(AskSilent):
        judge(rule(), silent, NOW)


def test_numbers_meet_by_labels() -> None:
    n = [{"value": 4.0}]  # of all services together
    a = [{"service": "a", "value": 1.0}, {"service": "b", "value": 3.0}]
    found = judge(rule(M=parse_math("$A / $N > 0.5"), C=Last("M")), answers(a=a, n=n), NOW)
    assert [(verdict.labels["service"], verdict.firing) for verdict in found.verdicts] == [("a", False), ("b", True)]
    assert found.verdicts[1].values == {"A": 3.0, "N": 4.0, "M": 1.0, "C": 1.0}


def test_labels_that_contradict_do_not_meet() -> None:
    a, n = [{"service": "a", "value": 1.0}], [{"service": "b", "value": 1.0}]
    found = judge(rule(C=parse_math("$A + $N")), answers(a=a, n=n), NOW)
    assert found.verdicts == ()


@pytest.mark.parametrize(
    ("kind", "bounds", "fires"),
    [("gt", (2.0,), [3.0]), ("lt", (2.0,), [1.0]), ("within_range", (1.0, 3.0), [2.0]),
     ("outside_range", (1.5, 2.5), [1.0, 3.0]), ("outside_range", (1.0, 3.0), [])],
)  # fmt: skip
def test_thresholds(kind: str, bounds: tuple[float, ...], fires: list[float]) -> None:
    rows = [{"v": str(number), "value": number} for number in (1.0, 2.0, 3.0)]
    found = judge(rule(C=Threshold("A", kind, bounds)), answers(a=rows, n=[]), NOW)
    assert [float(verdict.labels["v"]) for verdict in found.verdicts if verdict.firing] == fires


@pytest.mark.parametrize(
    ("text", "value"),
    [("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("8 / 4 / 2", 1), ("7 - 2 - 1", 4), ("-$A + 5", 3), ("1 < 2 == 1", 1),
     ("1 > 2 || 3 >= 3", 1), ("1 && 0 || 1", 1), ("1 || 0 && 0", 1), ("!($A > 1)", 0), ("!0 && 1", 1),
     ("${A} * 1e2", 200),
     ("2 != 2", 0), (".5 + 1.", 1.5), ("- -1", 1)],
)  # fmt: skip
def test_math(text: str, value: float) -> None:
    assert parse_math(text).of({"A": {NO_LABELS: 2.0}}) == {NO_LABELS: value}


def test_a_division_by_zero_is_no_number() -> None:
    labels = frozenset({("s", "x")})
    assert parse_math("1 / $A").of({"A": {labels: 0.0}}) == {}
    assert parse_math("1 / $A > 0 || 1").of({"A": {labels: 0.0}}) == {}


@pytest.mark.parametrize(
    "text",
    ["", "$A +", "(1", "1)", "1 1", "abs($A)", "$A ** 2", "$A % 2", "A > 1", "1 +* 2", "'x'", "(" * 80, "!" * 80],
)
def test_no_math(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_math(text)


_numbers = st.integers(0, 9).map(str)
_SIGNS = ["+", "-", "*", ">", "<", ">=", "<=", "==", "!=", "&&", "||"]
_texts = st.recursive(
    _numbers | st.just("$A"),
    lambda inner: st.tuples(inner, st.sampled_from(_SIGNS), inner)
    .map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
    | inner.map(lambda part: f"(- {part})") | inner.map(lambda part: f"(! {part})"),
    max_leaves=10,
)  # fmt: skip


@given(text=_texts, value=st.integers(-9, 9))
@settings(deadline=None)
def test_math_is_pythons_where_all_is_in_parentheses(text: str, value: int) -> None:
    python = text.replace("&&", " and ").replace("||", " or ").replace("! ", " not ").replace("$A", f"({value})")
    # Python's and/or give one of their sides, here they give 1 or 0.
    expected: Any = _python(python)
    assert parse_math(text).of({"A": {NO_LABELS: float(value)}}) == {NO_LABELS: float(expected)}


def _python(text: str) -> float:
    import ast

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() as number):
                return float(number)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -value(inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return float(not value(inner))
            case ast.BoolOp(op=ast.And(), values=values):
                return float(all(value(each) for each in values))
            case ast.BoolOp(values=values):
                return float(any(value(each) for each in values))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = value(left), value(right)
                return float({ast.Gt: a > b, ast.Lt: a < b, ast.GtE: a >= b, ast.LtE: a <= b, ast.Eq: a == b,
                              ast.NotEq: a != b}[type(op)])  # fmt: skip
            case ast.BinOp(left=left, op=op, right=right):
                a, b = value(left), value(right)
                return {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b}[type(op)]
        raise AssertionError(ast.dump(node))

    return value(ast.parse(text.strip(), mode="eval").body)
