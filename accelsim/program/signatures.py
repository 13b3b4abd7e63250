"""Which tile jobs of a kernel are alike: equal work, equal transfers, equal waits, relative to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelsim.geometry import DimMap, Range, Tile
from accelsim.program.fills import Fills, Int, SideTiles
from accelsim.program.program import Binding

if TYPE_CHECKING:
    from accelsim.program.nests import Jobs

MANY = 1 << 40  # codes beyond are numbered anew, so that products stay whole


def alike(jobs: Jobs) -> Int:
    """Return a number per tile; equal numbers mean jobs that differ only in where their boxes lie."""
    code = _Code(jobs.count)
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


class _Code:
    """A number per tile that tells apart what was mixed in."""

    def __init__(self, count: int) -> None:
        self._code: Int = np.zeros(count, dtype=np.int64)
        self._size = 1

    def mix(self, values: Int) -> None:
        """Mix in a non-negative number per tile."""
        size = int(values.max()) + 1 if values.size else 1
        if size == 1:
            return
        if self._size * size > MANY:
            self._code = self.numbers()
            self._size = int(self._code.max()) + 1
            _, values = np.unique(values, return_inverse=True)
            size = int(values.max()) + 1
        self._code = self._code * size + values
        self._size *= size

    def numbers(self) -> Int:
        """Return small numbers that tell the same apart."""
        return np.unique(self._code, return_inverse=True)[1].astype(np.int64)


def _kinds(side: SideTiles, bindings: tuple[Binding, ...]) -> Int:
    """Return per tile of a side a number that tells apart its extents and its operands' extents."""
    names = {a.name for a in side.axes}
    dims = [
        (d, size)
        for b in bindings
        for d, size in zip(b.operand.dims, b.operand.shape, strict=True)
        if d.axis in names and d.kind != "direct"
    ]
    seen: dict[tuple[int, ...], int] = {}
    kinds = np.zeros(len(side.tiles), dtype=np.int64)
    for i, tile in enumerate(side.tiles):
        lengths = [_length(r) for r in tile.values()]
        lengths += [n for d, size in dims for n in _window(d, tile, size)]
        kinds[i] = seen.setdefault(tuple(lengths), len(seen))
    return kinds


def _window(dim: DimMap, tile: Tile, size: int) -> tuple[int, int, int, int]:
    """Return a window's length, what the tensor's borders cut off of it, and an inverse one's phase."""
    (low, high), (below, above) = dim.range(tile, size), dim.reach(tile)
    phase = (tile[dim.axis][0] + dim.pad) % dim.stride if dim.kind == "inverse" else 0
    return high - low, low - below, above - high, phase


def _length(span: Range) -> int:
    return span[1] - span[0]


def _mix_fills(code: _Code, fills: Fills, count: int) -> None:
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
