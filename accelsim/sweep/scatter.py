"""A scatter for the terminal: one character per cell, the front by another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

Point = tuple[float, float]
OTHER, ON, KNEE = "·", "o", "K"
STRENGTH: Final = {" ": 0, OTHER: 1, ON: 2, KNEE: 3}


def needs_log(values: Sequence[float]) -> bool:
    """Return whether values span so many powers of ten that an axis has to be logarithmic."""
    return min(values) > 0 and max(values) > 100 * min(values)


def scatter(
    points: Sequence[Point], on: Sequence[Point], knee: Point | None, width: int = 60, height: int = 16
) -> list[str]:
    """Return the rows of the picture, the largest y first; stronger marks hide weaker ones.

    >>> for row in scatter([(0, 0), (1, 1), (2, 0)], [(0, 0)], None, 5, 3): print(repr(row))
    '  ·  '
    '     '
    'o   ·'
    """
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    cells = [[" "] * width for _ in range(height)]
    marked = [*((p, OTHER) for p in points), *((p, ON) for p in on), *([(knee, KNEE)] if knee else [])]
    for (x, y), mark in marked:
        column, row = _place(x, xs, width), height - 1 - _place(y, ys, height)
        if STRENGTH[mark] >= STRENGTH[cells[row][column]]:
            cells[row][column] = mark
    return ["".join(row) for row in cells]


def _place(value: float, values: Sequence[float], size: int) -> int:
    if needs_log(values):
        value, values = math.log(value), [math.log(v) for v in values]
    low, high = min(values), max(values)
    return round((value - low) / (high - low) * (size - 1)) if high > low else 0
