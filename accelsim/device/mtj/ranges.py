"""The range of every argument of the device laws, and what is said to one outside of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.errors import InputError
from accelsim.trace import human

Array = NDArray[np.float64]

MAX_DELTA: Final = 700.0  # exp of more is no float
_UNITS: Final = {"_s": " s", "_k": " K", "_t": " T", "_per_m": " A/m", "_m3": " m3"}
MAX_TEMPERATURE_K: Final = 1000.0  # about the Curie temperature of CoFeB films


class OutOfRange(InputError):
    """A device law does not hold for a value.

    Attributes:
        argument: The argument at fault.
        told: What is wrong in words for who did not give it by that name, with units.
    """

    def __init__(self, argument: str, message: str, told: str = "") -> None:
        super().__init__(message)
        self.argument = argument
        self.told = told or message


def at_least(argument: str, value: ArrayLike, low: float) -> Array:
    """Return ``value`` as an array of finite numbers from ``low``."""
    given = _numbers(argument, value)
    return _checked(argument, given, given >= low, "must be {} or more", low)


def above(argument: str, value: ArrayLike, low: float) -> Array:
    """Return ``value`` as an array of finite numbers over ``low``."""
    given = _numbers(argument, value)
    return _checked(argument, given, given > low, "must be over {}", low)


def within(argument: str, value: ArrayLike, low: float, high: float, law: str) -> Array:
    """Return ``value`` as an array of numbers from ``low`` to ``high``, the range of ``law``."""
    given = _numbers(argument, value)
    good = (given >= low) & (given <= high)
    return _checked(argument, given, good, f"is outside the range of {law}, {{}} to {{}}", low, high)


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
    return _checked(argument, given, given <= high, "must be {} or less", high)


def _numbers(argument: str, value: ArrayLike) -> Array:
    given = np.asarray(value, dtype=np.float64)
    return _checked(argument, given, np.isfinite(given), "is not a finite number")


def _checked(
    argument: str, given: Array, good: NDArray[np.bool_], fault: str, *bounds: float | np.float64
) -> Array:
    """Return ``given`` if it is ``good``; ``fault`` has a place for each of the ``bounds``."""
    if not np.all(good):
        first = given[~np.asarray(good)].flat[0]
        message = f"{argument} {first:g} {fault.format(*(f'{bound:g}' for bound in bounds))}"
        texts = [_text(argument, float(value)) for value in (first, *bounds)]
        raise OutOfRange(argument, message, f"{texts[0]} {fault.format(*texts[1:])}")
    return given


def _text(argument: str, value: float) -> str:
    """Return a value with the unit that its argument's name ends in."""
    if argument.endswith("_s") and value and np.isfinite(value):
        return human.seconds(value)
    return f"{value:g}{next((unit for end, unit in _UNITS.items() if argument.endswith(end)), '')}"
