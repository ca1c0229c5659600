"""What a rule makes of its numbers: ``math`` and ``threshold`` of Grafana's expressions, and ``reduce`` by ``last``.

A number belongs to a set of labels.  Two sets meet where one has all labels of the other with the same values.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Labels = frozenset[tuple[str, str]]
Series = Mapping[Labels, float]
"""One number a set of labels; no entry, no number."""

NO_LABELS: Labels = frozenset()


class ExpressionError(Exception):
    """Not of the part that is understood; the message says what is."""


@dataclass(frozen=True, slots=True)
class Math:
    """Numbers, ``$A``, + - * /, comparisons, && || !, parentheses."""

    text: str
    node: "_Node"

    @property
    def refs(self) -> frozenset[str]:
        """refIds it reads."""
        return _refs(self.node)

    def of(self, known: Mapping[str, Series]) -> Series:
        """Its numbers."""
        return _finite(_evaluate(self.node, known))


@dataclass(frozen=True, slots=True)
class Threshold:
    """1 where a number is beyond the bounds, else 0."""

    ref: str
    kind: str  # gt, lt, within_range, outside_range
    bounds: tuple[float, ...]

    @property
    def refs(self) -> frozenset[str]:
        """refIds it reads."""
        return frozenset((self.ref,))

    def of(self, known: Mapping[str, Series]) -> Series:
        """Its numbers."""
        compare = THRESHOLDS[self.kind][1]
        return {labels: float(compare(value, self.bounds)) for labels, value in known[self.ref].items()}


@dataclass(frozen=True, slots=True)
class Last:
    """``reduce`` of a row's one number: itself."""

    ref: str

    @property
    def refs(self) -> frozenset[str]:
        """refIds it reads."""
        return frozenset((self.ref,))

    def of(self, known: Mapping[str, Series]) -> Series:
        """Its numbers."""
        return known[self.ref]


Expression = Math | Threshold | Last

THRESHOLDS: Mapping[str, tuple[int, Callable[[float, tuple[float, ...]], bool]]] = {
    "gt": (1, lambda value, bounds: value > bounds[0]),
    "lt": (1, lambda value, bounds: value < bounds[0]),
    "within_range": (2, lambda value, bounds: bounds[0] < value < bounds[1]),
    "outside_range": (2, lambda value, bounds: value < bounds[0] or value > bounds[1]),
}
"""How many bounds each kind has, and what it says."""


def parse_math(text: str) -> Math:
    """An expression; ExpressionError."""
    if len(text) > 1_000:
        raise ExpressionError(f"{len(text)} characters: at most 1000")
    parser = _Parser(text)
    node = parser.either(0)
    parser.end()
    return Math(text, node)


@dataclass(frozen=True, slots=True)
class _Node:
    kind: str  # number, ref, an operator; "neg" and "!" have one part
    parts: tuple["_Node", ...] = ()
    number: float = 0.0
    ref: str = ""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)|\$(?:(?P<ref>\w+)|\{(?P<braced>\w+)\})"
    r"|(?P<sign>&&|\|\||==|!=|>=|<=|[-+*/<>!()]))"
)
_LEVELS = (("||",), ("&&",), ("==", "!=", ">", "<", ">=", "<="), ("+", "-"), ("*", "/"))
_DEEPEST = 50


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ExpressionError(f"{text[at : at + 20]!r} is not understood: write numbers, $A, + - * /,"
                                      " comparisons, && || ! and parentheses")  # fmt: skip
            kind = found.lastgroup or ""
            self._tokens.append(("ref" if kind == "braced" else kind, found[kind]))
            at = found.end()
        self._at = 0

    def either(self, level: int, depth: int = 0) -> _Node:
        """An operator of this level or above, left to right."""
        if level == len(_LEVELS):
            return self._one(depth)
        node = self.either(level + 1, depth)
        while self._sign() in _LEVELS[level]:
            sign = self._take()[1]
            node = _Node(sign, (node, self.either(level + 1, depth)))
        return node

    def end(self) -> None:
        """Nothing may be left."""
        if self._at < len(self._tokens):
            raise ExpressionError(f"{self._tokens[self._at][1]!r} is one too many")

    def _one(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise ExpressionError(f"more than {_DEEPEST} levels deep")
        kind, text = self._take()
        if kind == "number":
            return _Node("number", number=float(text))
        if kind == "ref":
            return _Node("ref", ref=text)
        if text in ("-", "!"):
            return _Node("neg" if text == "-" else "!", (self._one(depth + 1),))
        if text == "(":
            node = self.either(0, depth + 1)
            if self._take()[1] != ")":
                raise ExpressionError("a parenthesis is not closed")
            return node
        raise ExpressionError(f"{text!r} stands where a number or $A should")

    def _sign(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise ExpressionError("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]


def _over(a: float, b: float) -> float:
    return a / b if b else math.nan


_SIGNS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _over,
    "&&": lambda a, b: bool(a) and bool(b), "||": lambda a, b: bool(a) or bool(b),
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


def _evaluate(node: _Node, known: Mapping[str, Series]) -> Series:
    if node.kind == "number":
        return {NO_LABELS: node.number}
    if node.kind == "ref":
        return known[node.ref]
    first = _finite(_evaluate(node.parts[0], known))
    if node.kind == "neg":
        return {labels: -value for labels, value in first.items()}
    if node.kind == "!":
        return {labels: float(not value) for labels, value in first.items()}
    second, compute = _finite(_evaluate(node.parts[1], known)), _SIGNS[node.kind]
    return {labels: float(compute(a, b)) for labels, a, b in _met(first, second)}


def _met(first: Series, second: Series) -> list[tuple[Labels, float, float]]:
    if first.keys() == second.keys():
        return [(labels, a, second[labels]) for labels, a in first.items()]
    return [(one | other, a, b) for one, a in first.items() for other, b in second.items()
            if one <= other or other <= one]  # fmt: skip


def _finite(series: Series) -> Series:
    """A division by zero and the like is no number."""
    return {labels: value for labels, value in series.items() if math.isfinite(value)}


def _refs(node: _Node) -> frozenset[str]:
    return frozenset((node.ref,)) if node.kind == "ref" else frozenset().union(*(_refs(part) for part in node.parts))
