"""What varies: an axis per parameter, with the values that a method may choose on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.sweep.expression import Expression, parse
from accelsim.sweep.keys import Key

FORMS: Final = ("values", "range", "log", "step", "levels", "when", "with", "expr")


@dataclass(frozen=True)
class Axis:
    """One parameter that is chosen.

    Attributes:
        values: What it may be, as TOML writes it; empty for a continuous range.
        low, high: Ends of a continuous range, in base units.
        when: It is left out, with its key as the base has it, where this does not hold.
    """

    key: Key
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    levels: int = 0  # that a grid takes of a range
    when: Expression | None = None

    @property
    def name(self) -> str:
        """The key path."""
        return self.key.path

    def grid(self, levels: int) -> tuple[Any, ...]:
        """Return all values, or ``levels`` of a range, its ends among them."""
        if self.values:
            return self.values
        n = self.levels or levels
        found = [self.at(i / (n - 1)) for i in range(n)]
        return tuple(dict.fromkeys(found))

    def at(self, share: float) -> Any:
        """Return the value at ``share`` in [0, 1] of the way from the first to the last."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.log:
            number = math.exp(math.log(self.low) * (1 - share) + math.log(self.high) * share)
        else:
            number = self.low * (1 - share) + self.high * share
        return self.written(min(max(number, self.low), self.high))

    def written(self, number: float) -> Any:
        """Return a number in base units as TOML writes it."""
        return self.key.written(round(number) if self.whole else float(f"{number:.12g}"))


@dataclass(frozen=True)
class Linked:
    """A parameter that follows from others: the value beside another axis's, or an expression's."""

    key: Key
    partner: str = ""
    values: tuple[Any, ...] = ()
    expr: Expression | None = None
    when: Expression | None = None


def axis_of(key: Key, given: Any) -> Axis | Linked:
    """Return the axis that ``given``, what stands at a parameter, describes.

    Raises:
        InputError: It describes none, or has a value that may not stand at the key.
    """
    if isinstance(given, list):
        return Axis(key, values=_checked(key, given))
    if not isinstance(given, dict):
        return Axis(key, values=_checked(key, [given]))
    unknown = [name for name in given if name not in FORMS]
    if unknown:
        raise InputError(f'unknown form "{unknown[0]}"; known: {", ".join(FORMS)}')
    when = _condition(given)
    if "expr" in given:
        return Linked(key, expr=_expression(given["expr"]), when=when)
    if "with" in given:
        values = _checked(key, given.get("values", []))
        return Linked(key, partner=str(given["with"]), values=values, when=when)
    if "values" in given:
        return Axis(key, values=_checked(key, given["values"]), when=when)
    if "range" in given:
        return _range(key, given, when)
    raise InputError('expected a list, or a table with "values", "range", "expr" or "with"')


def _condition(given: Mapping[str, Any]) -> Expression | None:
    return _expression(given["when"]) if "when" in given else None


def _expression(text: Any) -> Expression:
    if not isinstance(text, str):
        raise InputError(f"expected an expression in a string, got {text!r}")
    return parse(text)


def _checked(key: Key, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise InputError("expected a list of values that is not empty")
    for value in values:
        key.number(value)
    texts = [repr(value) for value in values]
    twice = next((v for v, text in zip(values, texts, strict=True) if texts.count(text) > 1), None)
    if twice is not None:
        raise InputError(f"{twice!r} stands twice")
    return tuple(values)


def _range(key: Key, given: Mapping[str, Any], when: Expression | None) -> Axis:
    ends = given["range"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise InputError(f"expected a range of two ends, got {ends!r}")
    low, high = (key.number(end) for end in ends)
    if isinstance(low, bool | str) or isinstance(high, bool | str):
        raise InputError("is no number: give a list of values")
    if not low < high:
        raise InputError(f"expected the lower end first, got {ends[0]!r} to {ends[1]!r}")
    log, levels = given.get("log", False), given.get("levels", 0)
    if log and low <= 0:
        raise InputError(f"a log range starts above 0, got {ends[0]!r}")
    if not isinstance(levels, int) or levels == 1 or levels < 0:
        raise InputError(f"levels: expected a whole number of at least 2, got {levels!r}")
    whole = isinstance(low, int) and isinstance(high, int)
    if "step" in given:
        return Axis(key, values=_steps(key, low, high, given["step"], log, whole), when=when)
    return Axis(key, low=low, high=high, log=bool(log), whole=whole, levels=levels, when=when)


def _steps(key: Key, low: float, high: float, step: Any, log: bool, whole: bool) -> tuple[Any, ...]:
    """Return the values a step apart; on a log range the step is a factor."""
    by = float(step) if log and isinstance(step, int | float) else key.number(step)
    if isinstance(by, bool | str) or by <= (1 if log else 0):
        raise InputError(f"step: expected {'a factor above 1' if log else 'more than 0'}, got {step!r}")
    count = int((math.log(high / low) / math.log(by) if log else (high - low) / by) + 1e-9)
    if count >= 100_000:
        raise InputError(f"step: {step!r} makes {count + 1} values")
    numbers = [low * by**i if log else low + by * i for i in range(count + 1)]
    return tuple(key.written(round(n) if whole else float(f"{n:.12g}")) for n in numbers)


def beside(linked: Linked, axes: Sequence[Axis], choice: Mapping[str, Any]) -> Any:
    """Return the value that stands beside the one chosen on the partner's axis."""
    axis = next(a for a in axes if a.name == linked.partner)
    return linked.values[axis.values.index(choice[axis.name])]
