"""The range of every argument of the device laws, and what is said to one outside of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.errors import InputError

Array = NDArray[np.float64]

MAX_DELTA: Final = 700.0  # exp of more is no float
MAX_TEMPERATURE_K: Final = 1000.0  # about the Curie temperature of CoFeB films


class OutOfRange(InputError):
    """A device law does not hold for a value. ``argument`` names the argument at fault."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


def at_least(argument: str, value: ArrayLike, low: float) -> Array:
    """Return ``value`` as an array of finite numbers from ``low``."""
    given = _numbers(argument, value)
    return _checked(argument, given, given >= low, f"must be {low:g} or more")


def above(argument: str, value: ArrayLike, low: float) -> Array:
    """Return ``value`` as an array of finite numbers over ``low``."""
    given = _numbers(argument, value)
    return _checked(argument, given, given > low, f"must be over {low:g}")


def within(argument: str, value: ArrayLike, low: float, high: float, law: str) -> Array:
    """Return ``value`` as an array of numbers from ``low`` to ``high``, the range of ``law``."""
    given = _numbers(argument, value)
    good = (given >= low) & (given <= high)
    return _checked(argument, given, good, f"is outside the range of {law}, {low:g} to {high:g}")


def stability(delta: ArrayLike) -> Array:
    """Return thermal stability factors as an array: over 0, and with a retention that is a float."""
    return _open("delta", above("delta", delta, 0.0), MAX_DELTA)


def kelvin(argument: str, value: ArrayLike) -> Array:
    """Return temperatures as an array: over 0 K, below where the free layer is no magnet."""
    return _open(argument, above(argument, value, 0.0), MAX_TEMPERATURE_K)


def spread(cv: float) -> float:
    """Return a coefficient of variation as a float: one number from 0 to below 1."""
    if not 0 <= cv < 1:
        raise OutOfRange("cv", f"cv {cv:g} must be from 0 to below 1")
    return float(cv)


def _open(argument: str, given: Array, high: float) -> Array:
    return _checked(argument, given, given <= high, f"must be {high:g} or less")


def _numbers(argument: str, value: ArrayLike) -> Array:
    given = np.asarray(value, dtype=np.float64)
    return _checked(argument, given, np.isfinite(given), "is not a finite number")


def _checked(argument: str, given: Array, good: NDArray[np.bool_], fault: str) -> Array:
    if not np.all(good):
        first = given[~np.asarray(good)].flat[0]
        raise OutOfRange(argument, f"{argument} {first:g} {fault}")
    return given
