"""The jobs of a GEMM, by index: where every tile stands in the nest, and its folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from accelsim.geometry import Range
from accelsim.program.array_shape import STREAMED, ArrayShape
from accelsim.program.codes import Int
from accelsim.program.fills import SideTiles
from accelsim.program.gemm_folds import GemmTile, gemm_folds, results_per_tile
from accelsim.program.jobs import Base, Fold, TileJob
from accelsim.program.nests import Jobs
from accelsim.program.parking import parked_rows
from accelsim.program.program import Kernel, Panel, Side
from accelsim.program.ranges import tiles_of, tiles_per_panel


class _Loops:
    """The loops of a GEMM's nest, tile by tile.

    ``at`` is the tile of every side; ``innermost`` the side that the innermost loop of several tiles goes
    along, ``inner`` the place in that loop, ``left`` how many of its tiles are still to come.
    """

    def __init__(self, kernel: Kernel, tiles: Mapping[Side, int]) -> None:
        self.at: dict[Side, Int] = {}
        if kernel.panel is None:
            self.at = dict(zip(kernel.order, _indices([tiles[s] for s in kernel.order]), strict=True))
            self.innermost = next((s for s in reversed(kernel.order) if tiles[s] > 1), kernel.order[-1])
            self.inner = self.at[self.innermost]
            self.left = tiles[self.innermost] - 1 - self.inner
        else:
            self.innermost = kernel.panel.side
            self.inner, self.left = self._panels(kernel, kernel.panel, tiles)

    def _panels(self, kernel: Kernel, panel: Panel, tiles: Mapping[Side, int]) -> tuple[Int, Int]:
        """Set the tile of every side and return the place in the panel, and what of it is still to come."""
        side = panel.side
        sizes = np.array(tiles_per_panel(kernel.sides[side], kernel.cuts[side], panel.cut), dtype=np.int64)
        counts = [sizes.size if s == side else tiles[s] for s in kernel.order]
        *outer, inner = _indices([*counts, int(sizes.max())])
        at = dict(zip(kernel.order, outer, strict=True))
        there = inner < sizes[at[side]]  # panels need not be of equally many tiles
        self.at = {s: a[there] for s, a in at.items()}
        size, inner = sizes[self.at[side]], inner[there]
        self.at[side] = (np.cumsum(sizes) - sizes)[self.at[side]] + inner
        return inner, size - 1 - inner


def _in_order_of_fills(kernel: Kernel) -> tuple[int, ...]:
    """Return the reads in the order in which a tile's fills are asked for.

    What the tiles of a panel share has room long before the panel's first tile has: it goes first.
    """
    reads = range(len(kernel.reads))
    if kernel.panel is None:
        return tuple(reads)
    names = {a.name for a in kernel.sides[kernel.panel.side]}
    return tuple(sorted(reads, key=lambda r: any(d.axis in names for d in kernel.reads[r].operand.dims)))


def _indices(sizes: Sequence[int]) -> list[Int]:
    """Return the index of every loop at every step of a nest of ``sizes``, outermost first."""
    steps, stride = np.arange(math.prod(sizes), dtype=np.int64), math.prod(sizes)
    found = []
    for size in sizes:
        stride //= size
        found.append(steps // stride % size)
    return found


class GemmJobs(Jobs):
    """The jobs of a GEMM: sides in the order of the nest, folds on the array."""

    def __init__(self, kernel: Kernel, array: ArrayShape) -> None:
        tiles = {s: tiles_of(kernel.sides[s], kernel.cuts[s]) for s in kernel.order}
        loops = _Loops(kernel, {s: len(t) for s, t in tiles.items()})
        sides = [SideTiles(s, kernel.sides[s], tiles[s], loops.at[s]) for s in kernel.order]
        count = loops.inner.size
        super().__init__(kernel, sides, [np.arange(count, dtype=np.int64)] * len(kernel.reads), count)
        self.array = array
        self.loops = loops
        self.parked = parked_rows(kernel, array)
        self.at = {s.side: s.at for s in sides}
        self.counts: dict[Side, int] = {s.side: len(s.tiles) for s in sides}
        self.reads = _in_order_of_fills(kernel)
        found = results_per_tile(kernel, array, tiles, self.at)
        found[self.at["k"] != self.counts["k"] - 1] = 0
        self.results_before = np.concatenate([[0], np.cumsum(found)])
        nothing = np.zeros(count + 1, dtype=np.int64)
        self.backs_before = tuple(
            self.results_before if w.place == "buffered" else nothing for w in kernel.writes
        )
        self.backed = sum(1 for w in kernel.writes if w.place == "buffered")

    def _job(self, i: int, start: Base) -> TileJob:
        return self._new_job(i, self.tile(i), start, self.reads)

    def _folds(self, i: int, job: TileJob) -> list[Fold]:
        return gemm_folds(self.kernel, self.array, self._place(i, job.tile), self.parked)

    def _add_results(self, job: TileJob, i: int, start: Base) -> None:
        first = 0
        for place, fold in enumerate(job.folds):
            if fold.result is not None:
                parts = dict.fromkeys(range(len(self.kernel.writes)), fold.result)
                self._add_result(job, i, first, place, parts, start)
                first = place + 1

    def widest(self) -> list[int]:
        return [0, int(np.argmax(self.at["k"]))]

    def _issued_with(self, result: int) -> int:
        return self.backed * (result + 1)

    def _streamed_along(self) -> bool:
        return self.loops.innermost == STREAMED[self.array.dataflow]

    def _place(self, i: int, tile: dict[str, Range]) -> GemmTile:
        at = {s: int(a[i]) for s, a in self.at.items()}
        along = self._streamed_along()
        return GemmTile(
            tile,
            block=(at["batch"], at["m"], at["n"]),
            first=at["k"] == 0,
            final=at["k"] == self.counts["k"] - 1,
            same=along and bool(self.loops.inner[i] > 0),
            same_next=along and bool(self.loops.left[i] > 0),
        )

    def marks(self) -> list[Int]:
        k = self.at["k"]
        marks = [k == 0, k == self.counts["k"] - 1]
        if self._streamed_along():
            marks += [self.loops.inner == 0, self.loops.left == 0]
        return [m.astype(np.int64) for m in marks]
