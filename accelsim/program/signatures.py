"""Which tile jobs of a kernel are alike: equal work, equal transfers, equal waits, relative to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from accelsim.geometry import DimMap, Range
from accelsim.program.codes import Codes, Int
from accelsim.program.fills import Fills, SideTiles, ranges
from accelsim.program.program import Binding

if TYPE_CHECKING:
    from accelsim.program.nests import Jobs


def alike(jobs: Jobs) -> Int:
    """Return a number per tile; equal numbers mean jobs that differ only in where their boxes lie."""
    code = Codes(jobs.count)
    bindings = (*jobs.kernel.reads, *jobs.kernel.writes)
    for side in jobs.sides:
        code.mix(_kinds(side, bindings)[side.at])
    for fills in jobs.fills:
        _mix_fills(code, fills, jobs.count)
    for mark in jobs.marks():
        code.mix(mark)
    if jobs.depth:
        code.mix(np.minimum(jobs.results_before[:-1], jobs.depth))
    return code.numbers()


def _kinds(side: SideTiles, bindings: tuple[Binding, ...]) -> Int:
    """Return per tile of a side a number that tells apart its extents and its operands' extents."""
    names = {a.name for a in side.axes}
    dims = [
        (d, size)
        for b in bindings
        for d, size in zip(b.operand.dims, b.operand.shape, strict=True)
        if d.axis in names and d.kind != "direct"
    ]
    code = Codes(len(side.tiles))
    for axis in side.axes:
        low, high = side.limits(axis.name)
        code.mix(high - low)
    for dim, size in dims:
        for window in _window(dim, side, size):
            code.mix(window)
    return code.numbers()


def _window(dim: DimMap, side: SideTiles, size: int) -> Iterator[Int]:
    """Give a window's length, what the tensor's borders cut off of it, and an inverse one's phase."""
    limits = side.limits(dim.axis)
    (low, high), (below, above) = ranges(dim, limits, size), dim.over(*limits)
    yield from (high - low, low - below, above - high)
    if dim.kind == "inverse":
        yield (limits[0] + dim.pad) % dim.stride


def _length(span: Range) -> int:
    return span[1] - span[0]


def _mix_fills(code: Codes, fills: Fills, count: int) -> None:
    """Mix in whether a tile begins with a fill, how far back it must wait, and what it brings."""
    if not fills.tiles.size:
        return
    filled = np.zeros(count, dtype=np.int64)
    filled[fills.tiles] = 1
    code.mix(filled)
    back = np.zeros(count, dtype=np.int64)
    back[fills.tiles] = np.where(fills.wait >= 0, fills.tiles - fills.wait, 0)
    code.mix(back)
    if fills.held:
        rows = np.zeros(count, dtype=np.int64)
        rows[fills.tiles] = [_length(fills.held[n]) for n in range(fills.tiles.size)]
        code.mix(rows)
