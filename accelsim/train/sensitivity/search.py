"""Bisection of a rate on a logarithmic scale: between what is within tolerance and what is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from accelsim.errors import InputError
from accelsim.train.laws import checked_rate

FINEST: Final = 1.1  # smallest resolution: rates are rounded to three digits, half a percent
_ROUNDING: Final = 0.005


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where tolerance ends.

    Attributes:
        tolerated: Largest rate that was found within tolerance; 0.0: none was.
        refused: Smallest rate that was found beyond it; None: none was.
    """

    tolerated: float
    refused: float | None


@dataclass(frozen=True, slots=True)
class Range:
    """The rates between which is searched, and the factor between tolerated and refused at which it ends.

    Raises:
        InputError: They are no rates, not in this order, or too close to each other.
    """

    low: float
    high: float
    resolution: float

    def __post_init__(self) -> None:
        checked_rate(self.low, "--low")
        checked_rate(self.high, "--high")
        if not 0 < self.low < self.high:
            raise InputError(
                f"--low {self.low:g}, --high {self.high:g}: expected 0 < low < high, as the search is "
                "in the logarithm of the rate"
            )
        if not FINEST <= self.resolution < math.inf:
            raise InputError(
                f"--resolution {self.resolution:g}: expected a factor of at least {FINEST:g}: the search "
                "ends when the refused rate is no more than so many times the tolerated one"
            )

    @property
    def most_trials(self) -> int:
        """Rates that a search looks at, at most: both ends, and one for each halving in between."""
        halvings = math.log(self.high / self.low) / (math.log(self.resolution) - 2 * _ROUNDING)
        return 2 + max(0, math.ceil(math.log2(halvings)))


DEFAULT: Final = Range(1e-9, 1e-2, 2.0)


def search(within: Callable[[float], bool], rates: Range) -> Bracket:
    """Return where ``within`` turns from true to false, to the resolution of ``rates``.

    The ends come first, the high one before the low one. In between the geometric mean, to three digits, of
    the largest rate that is within and the smallest that is not. If ``within`` is true below some rate and
    false above it, that rate lies in the bracket; if not, it turns somewhere in the bracket all the same.

    >>> search(lambda rate: rate < 3e-5, Range(1e-9, 1e-2, 2))
    Bracket(tolerated=2.37e-05, refused=3.92e-05)
    """
    if within(rates.high):
        return Bracket(rates.high, None)
    if not within(rates.low):
        return Bracket(0.0, rates.low)
    tolerated, refused = rates.low, rates.high
    while refused > rates.resolution * tolerated:
        middle = float(f"{math.sqrt(tolerated * refused):.3g}")
        if within(middle):
            tolerated = middle
        else:
            refused = middle
    return Bracket(tolerated, refused)
