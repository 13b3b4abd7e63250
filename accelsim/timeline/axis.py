"""The time axis: round instants, one unit for the whole axis."""

from __future__ import annotations

import math
from typing import Final

_UNITS: Final = ((10**12, "s"), (10**9, "ms"), (10**6, "us"), (10**3, "ns"), (1, "ps"))
_SPACING: Final = 12  # characters from tick to tick, at least


def step_ps(lo: int, hi: int, width: int) -> int:
    """Return the distance of ticks: 1, 2 or 5 times a power of ten, in ps.

    >>> step_ps(0, 1_000_000, 100), step_ps(0, 3, 100)
    (200000, 1)
    """
    least = (hi - lo) * _SPACING / width
    power = int(10 ** max(0, math.floor(math.log10(max(least, 1)))))
    return next(power * k for k in (1, 2, 5, 10) if power * k >= least)


def axis(lo: int, hi: int, width: int) -> tuple[str, str]:
    """Return the unit and the line of ticks over ``width`` columns from ``lo`` to ``hi`` ps.

    >>> axis(0, 1_000_000, 60)
    ('us', '|0.0        |0.2        |0.4        |0.6        |0.8        ')
    """
    step = step_ps(lo, hi, width)
    size, unit = next((u for u in _UNITS if hi >= u[0]), _UNITS[-1])
    decimals = max(0, math.ceil(math.log10(size / step))) if step < size else 0
    line = [" "] * width
    tick = -(-lo // step) * step
    while tick < hi:
        at = (tick - lo) * width // (hi - lo)
        mark = f"|{tick / size:.{decimals}f}"
        if at + len(mark) <= width:
            line[at : at + len(mark)] = mark
        tick += step
    return unit, "".join(line)
