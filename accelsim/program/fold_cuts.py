"""Where the folds of a GEMM tile lie in it: blocks of rows and of columns, stretches of the streamed side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from accelsim.geometry import Tile, ceil_div
from accelsim.program.folds import Extents, extents
from accelsim.program.phases import Phase, phases_of, strides_of
from accelsim.program.program import Kernel
from accelsim.program.ranges import extent, part
from accelsim.words import Dataflow


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldCut:
    """One fold: rows and columns in use, its block of rows and of columns, the points it streams.

    Attributes:
        rows: In use.
        low, high: Points of the streamed side; those before ``low`` went through these cells before.
        span: Points of the side over the columns that a column block's number stands for.
        chunk: Which of the results of a column block.
        goes_on: With the stationary operand of the fold before.
        phase: Of a strided input gradient, or of a part of it; -1: there are none.
        skipped: Streamed points of the phases before, which have partial sums of their own.
        closes: Whether a column block's results are complete with its phase.
        together: Channels side by side on diagonal blocks of the array.
    """

    rows: int
    cols: int
    row_block: int
    col_block: int
    first_row: bool
    last_row: bool
    last_col: bool
    low: int
    high: int
    span: int
    chunk: int = 0
    goes_on: bool = False
    last_chunk: bool = True
    phase: int = -1
    skipped: int = 0
    closes: bool = True
    together: int = 1

    @property
    def empty(self) -> bool:
        """Whether it multiplies nothing, as its results are zeros."""
        return self.rows == 0 or self.high == self.low


Chunks = tuple[tuple[int, int, int], ...]  # (number, low, high)


@lru_cache(maxsize=64)  # tiles of one size follow one another
def cuts_of(e: Extents, rows: int, cols: int, chunks: Chunks, together: int = 1) -> tuple[FoldCut, ...]:
    """Return the folds of a dense tile on an array of ``rows`` x ``cols``, column blocks outermost.

    ``chunks`` are the stretches of the streamed side whose results leave at once.
    """
    down, across = max(1, ceil_div(e.over_rows, rows)), ceil_div(e.over_cols, cols)
    return tuple(
        FoldCut(
            rows=min(rows, e.over_rows - i * rows),
            cols=min(cols, e.over_cols - j * cols),
            row_block=i,
            col_block=j,
            first_row=i == 0,
            last_row=i == down - 1,
            last_col=j == across - 1,
            low=low,
            high=high,
            span=cols,
            chunk=number,
            goes_on=low > 0,
            last_chunk=high == e.streamed,
            together=together,
        )
        for j in range(across)
        for i in range(down)
        for number, low, high in (chunks if i == down - 1 else ((0, 0, e.streamed),))
    )


def phased(
    kernel: Kernel, dataflow: Dataflow, rows: int, cols: int, tile: Tile, final: bool
) -> list[FoldCut]:
    """Return the folds of a tile of a strided input gradient: one dense GEMM per phase.

    All phases of a column block follow one another. Points that meet no element of the kernel take folds
    that multiply nothing, with the ``final`` k tile: their zeros leave as other results do.
    """
    strides = strides_of(kernel.reads[0].operand, kernel.sides["k"])
    together, n = extent(kernel.sides["batch"], tile), extent(kernel.sides["n"], tile)
    found: list[FoldCut] = []
    stretches = list(_stretches(kernel, dataflow, cols, tile))
    for number, span, stretch in stretches:
        phases = phases_of(strides, kernel.sides["m"], kernel.sides["k"], stretch)
        phases = [p for p in phases if final or p.depth] or [Phase(1, 0)]
        folds = [
            fold
            for index, phase in enumerate(phases)
            for fold in _of_phase(phases, index, dataflow, rows, cols, n, together)
        ]
        if dataflow == "is":
            folds = [
                replace(f, col_block=number, span=span, last_col=number == stretches[-1][0]) for f in folds
            ]
            folds = [replace(f, closes=i == len(folds) - 1) for i, f in enumerate(folds)]
        else:
            folds = sorted(folds, key=lambda f: f.col_block)  # stable: phases in order
            ends = {f.col_block: i for i, f in enumerate(folds)}
            folds = [replace(f, closes=ends[f.col_block] == i) for i, f in enumerate(folds)]
        found += folds
    return found


def _stretches(kernel: Kernel, dataflow: Dataflow, cols: int, tile: Tile) -> Iterator[tuple[int, int, Tile]]:
    """Yield the parts of a tile whose phases follow one another: number, points that it stands for, part.

    Where m lies over the columns, phases have few points in common columns: as many columns' points as
    leave together are worked on phase by phase.
    """
    if dataflow != "is":
        yield 0, cols, tile
        return
    span = cols * kernel.result_blocks
    for number in range(ceil_div(extent(kernel.sides["m"], tile), span)):
        stretch = part(kernel.sides["m"], tile, number, span)
        if stretch is not None:
            yield number, span, stretch


def _of_phase(
    phases: Sequence[Phase], index: int, dataflow: Dataflow, rows: int, cols: int, n: int, together: int
) -> list[FoldCut]:
    points, depth = phases[index]
    skipped = 0 if dataflow == "is" else sum(p.points for p in phases[:index])
    e = extents(dataflow, points, n, depth).beside(together)
    folds = list(cuts_of(e, rows, cols, ((0, 0, e.streamed),), together))
    if dataflow == "is":  # every column block has partial sums of its own
        before = sum(ceil_div(p.points * together, cols) for p in phases[:index])
        return [replace(f, phase=before + f.col_block) for f in folds]
    return [replace(f, phase=index, skipped=skipped) for f in folds]
