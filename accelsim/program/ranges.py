"""Cutting the sides of a loop nest into tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from accelsim.geometry import Axis, Range, Tile, ceil_div
from accelsim.program.program import Cut


def tiles_of(axes: Sequence[Axis], cut: Cut) -> list[dict[str, Range]]:
    """Return the ranges of every tile of one side, in order.

    >>> for tile in tiles_of([Axis("b", 2), Axis("y", 4)], Cut(axis=1, step=3)):
    ...     print(tile)
    {'b': (0, 1), 'y': (0, 3)}
    {'b': (0, 1), 'y': (3, 4)}
    {'b': (1, 2), 'y': (0, 3)}
    {'b': (1, 2), 'y': (3, 4)}
    """
    per_axis = [list(_axis_ranges(i, axis, cut)) for i, axis in enumerate(axes)]
    names = [axis.name for axis in axes]
    return [dict(zip(names, ranges, strict=True)) for ranges in itertools.product(*per_axis)]


def _axis_ranges(index: int, axis: Axis, cut: Cut) -> Iterator[Range]:
    step = _step(index, axis, cut)
    for low in range(0, axis.size, step):
        yield low, min(low + step, axis.size)


def _step(index: int, axis: Axis, cut: Cut) -> int:
    """Return the steps that ``cut`` makes along one axis of a side."""
    return axis.unit if index < cut.axis else cut.step if index == cut.axis else axis.size


def tile_count(axes: Sequence[Axis], cut: Cut) -> int:
    """Return how many tiles ``tiles_of`` makes."""
    if not axes:
        return 1
    outer = math.prod(ceil_div(a.size, a.unit) for a in axes[: cut.axis])
    return outer * ceil_div(axes[cut.axis].size, cut.step)


def tiles_per_panel(axes: Sequence[Axis], cut: Cut, panels: Cut) -> list[int]:
    """Return how many of the tiles that ``cut`` makes lie in each of the panels, in order.

    >>> tiles_per_panel([Axis("b", 2), Axis("y", 5)], Cut(axis=1, step=1), Cut(axis=1, step=3))
    [3, 2, 3, 2]
    """
    along = [
        [ceil_div(high - low, _step(i, axis, cut)) for low, high in _axis_ranges(i, axis, panels)]
        for i, axis in enumerate(axes)
    ]
    return [math.prod(counts) for counts in itertools.product(*along)]


def extent(axes: Sequence[Axis], tile: Tile) -> int:
    """Return the number of points of one side in ``tile``."""
    return math.prod(tile[a.name][1] - tile[a.name][0] for a in axes)


def part(axes: Sequence[Axis], tile: Tile, block: int, width: int) -> dict[str, Range] | None:
    """Return ``tile`` narrowed to the ``block``-th stretch of ``width`` points along one side.

    The stretch is rounded to whole rows of the first axis that has more than one, so that the parts
    of all blocks are disjoint and cover the tile. None: the rounded stretch is empty.
    """
    narrowed = dict(tile)
    for i, axis in enumerate(axes):
        low, high = tile[axis.name]
        if high - low > axis.unit or i == len(axes) - 1:
            others = [a for a in axes if a is not axis]  # those before it hold one row, of a unit at most
            inner = extent(others, tile) * axis.unit
            first = low + block * width // inner * axis.unit
            end = low + (block + 1) * width // inner * axis.unit
            if (block + 1) * width >= inner * (high - low) // axis.unit:
                end = high
            if min(first, high) >= end:
                return None
            narrowed[axis.name] = (first, end)
            return narrowed
    return narrowed
