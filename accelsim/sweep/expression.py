"""Conditions over figures and keys, such as ``area_mm2 <= 12 and bank.mram.capacity >= 2 MiB``.

Python's grammar for comparisons and arithmetic, nothing else of it; quantities with units become numbers in
base units (bytes, ps, Hz, pJ, mW, mm2). A text is never executed: its tree is walked.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from accelsim import units
from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError

Value = float | int | str | bool
_DIMENSIONS: Final = (
    units.SIZE,
    units.DURATION,
    units.FREQUENCY,
    units.BANDWIDTH,
    units.ENERGY,
    units.ENERGY_PER_BIT,
    units.ENERGY_PER_BIT_MM,
    units.POWER,
    units.AREA,
    units.LENGTH,
)
_UNITS: Final = {
    name: size for d in _DIMENSIONS for name, size in d.units.items() if name not in units.CYCLES
} | {"nm": Fraction(1), "K": Fraction(1)}
_NUMBER: Final = r"(?<![\w.])(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*"
_QUANTITY = re.compile(rf"""("[^"]*"|'[^']*')|{_NUMBER}(?![eE][+-]?\d)([A-Za-z][\w/]*)""")
_WORDS: Final = frozenset({"and", "or", "in", "not", "if", "else"})
_OPERATORS: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_CALLS: Final[dict[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
}


class ExpressionError(InputError):
    """A text that is no expression, or that names what there is not."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: its text as written, and its tree."""

    text: str
    tree: ast.expr

    @property
    def names(self) -> tuple[str, ...]:
        """The dotted names that it refers to, each once, in order."""
        return tuple(dict.fromkeys(_names(self.tree)))

    def value(self, names: Mapping[str, Any]) -> Any:
        """Return its value.

        Raises:
            ExpressionError: A name that is not there, or values that do not go together.
        """
        try:
            return _value(self.tree, names)
        except (TypeError, ZeroDivisionError, ValueError, OverflowError) as exc:
            raise ExpressionError(f'"{self.text}": {exc}') from None

    def excess(self, names: Mapping[str, Any]) -> float:
        """Return how far it is from holding: 0 where it holds, else more than 0.

        Of one comparison of numbers that is the relative distance, which a search can follow downhill.
        """
        if self.value(names):
            return 0.0
        tree = self.tree
        if isinstance(tree, ast.Compare) and len(tree.ops) == 1:
            left, right = _value(tree.left, names), _value(tree.comparators[0], names)
            if isinstance(left, int | float) and isinstance(right, int | float):
                return max(abs(left - right) / max(abs(right), 1e-30), 1e-12)
        return 1.0


def parse(text: str) -> Expression:
    """Return the expression of ``text``.

    Raises:
        ExpressionError: What is no expression of this language, and where.

    >>> parse("capacity >= 2 MiB and clock < 1 GHz").value({"capacity": 2**21, "clock": 5e8})
    True
    """
    try:
        tree = ast.parse(_without_units(text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f'"{text}" is no expression such as "area_mm2 <= 12"') from None
    for node in _walk(tree):
        _check(node, text)
    return Expression(text, tree)


def _without_units(text: str) -> str:
    def number(match: re.Match[str]) -> str:
        quoted, amount, unit = match.groups()
        if quoted or unit in _WORDS:
            return match[0]
        if unit not in _UNITS:
            hint = did_you_mean(unit, _UNITS)
            raise ExpressionError(f'"{text}": unknown unit "{unit}"{hint}')
        value = Fraction(amount) * _UNITS[unit]
        return str(int(value)) if value.denominator == 1 else repr(float(value))

    return _QUANTITY.sub(number, text)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Go through the tree; of a dotted name only the whole."""
    yield tree
    if isinstance(tree, ast.Attribute):
        return
    children = [*tree.args] if isinstance(tree, ast.Call) else ast.iter_child_nodes(tree)
    for child in children:
        yield from _walk(child)


def _check(node: ast.AST, text: str) -> None:
    plain = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Compare)
    if isinstance(node, (*plain, ast.Name, ast.Load, ast.List, ast.Tuple, *_OPERATORS)):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return
    if isinstance(node, ast.Attribute):
        _dotted(node, text)
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        if not node.keywords and node.args:
            return
        raise ExpressionError(f'"{text}": {node.func.id}() takes values only')
    what = "only comparisons, arithmetic, and, or, not, in, " + ", ".join(f"{name}()" for name in _CALLS)
    raise ExpressionError(f'"{text}": {what} are known')


def _dotted(node: ast.expr, text: str = "") -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, text)}.{node.attr}"
    raise ExpressionError(f'"{text}": only names may have dots')


def _names(node: ast.AST) -> Iterator[str]:
    for part in _walk(node):
        if isinstance(part, ast.Attribute | ast.Name):
            yield _dotted(part)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        if name not in names:
            hint = did_you_mean(name, names)
            raise ExpressionError(f'no figure or key "{name}"{hint}')
        return names[name]
    if isinstance(node, ast.BoolOp):
        of = all if isinstance(node.op, ast.And) else any
        return of(_value(part, names) for part in node.values)
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, names)
        return (
            not inner if isinstance(node.op, ast.Not) else -inner if isinstance(node.op, ast.USub) else inner
        )
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.Compare):
        return _compared(node, names)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(part, names) for part in node.elts]
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    return _CALLS[node.func.id](*(_value(part, names) for part in node.args))


def _compared(node: ast.Compare, names: Mapping[str, Any]) -> bool:
    left = _value(node.left, names)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _value(other, names)
        if not _OPERATORS[type(op)](left, right):
            return False
        left = right
    return True
