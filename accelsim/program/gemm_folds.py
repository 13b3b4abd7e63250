"""The folds of one GEMM tile on the PE array, in order, with every byte that they move.

ws: the tile's K lies over the rows, its N over the columns, M is streamed; column blocks outermost, so
that a column block's partial sums meet in the accumulator. is: the same with M and N exchanged.
os: M over the rows, N over the columns, K streamed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from accelsim.geometry import Range, Tile, ceil_div, volume
from accelsim.program.folds import extents, first_load, fold_tail
from accelsim.program.jobs import Fold, Stream
from accelsim.program.program import Binding, Kernel, Side
from accelsim.program.ranges import extent, part, tile_count
from accelsim.words import Convention, Dataflow

A, B = 0, 1  # the leader's operands among a kernel's reads
OVER_COLS: Final[dict[Dataflow, Side]] = {"ws": "n", "is": "m", "os": "n"}


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """What of the array decides the folds. ``accumulator_elements`` is what it holds of partial sums."""

    rows: int
    cols: int
    dataflow: Dataflow
    convention: Convention
    accumulator_elements: int
    psum_bytes: int

    @property
    def loads(self) -> int:
        """Cycles to load a stationary tile."""
        return first_load(self.dataflow, self.rows)


@dataclass(frozen=True, slots=True)
class GemmTile:
    """One tile and its place in the nest.

    ``first`` and ``final`` say whether it is of its block's first or final k tile; ``same`` and
    ``same_next`` whether the tile before and the next one differ from it in the streamed side only.
    """

    tile: dict[str, Range]
    block: tuple[int, ...]
    first: bool
    final: bool
    same: bool
    same_next: bool


@dataclass(frozen=True, slots=True)
class _Fold:
    """Extents of one fold: rows and columns in use, its block of rows and of columns."""

    rows: int
    cols: int
    row_block: int
    col_block: int
    last_row: bool
    first_row: bool
    last_col: bool
    parked: bool  # its partial sums stay in the accumulator between k tiles


def gemm_folds(kernel: Kernel, array: ArrayShape, at: GemmTile) -> list[Fold]:
    """Return the folds of one tile."""
    m, n, k = (extent(kernel.sides[s], at.tile) for s in ("m", "n", "k"))
    e = extents(array.dataflow, m, n, k)
    blocks = _blocks(e.over_rows, e.over_cols, array, parked_blocks(kernel, array, e.streamed))
    alone = len(blocks) == 1
    return [_fold(kernel, array, at, b, e.streamed, alone) for b in blocks]


def parked_blocks(kernel: Kernel, array: ArrayShape, streamed: int) -> int:
    """Return how many column blocks of a tile the accumulator holds between k tiles, beside one at work.

    The others wait in the kernel's region. None is held where several tiles' partial sums wait at once,
    or where outputs are stationary.
    """
    if kernel.psum is None or kernel.psum.region is None or array.dataflow == "os":
        return 0
    inside = kernel.order[kernel.order.index("k") + 1 :]
    if any(tile_count(kernel.sides[s], kernel.cuts[s]) > 1 for s in inside):
        return 0
    return max(0, array.accumulator_elements // (streamed * array.cols) - 1)


def accumulator_use(kernel: Kernel, array: ArrayShape, tile: Tile) -> int:
    """Return the elements of the accumulator that partial sums take while ``tile`` is at work."""
    m, n, k = (extent(kernel.sides[s], tile) for s in ("m", "n", "k"))
    e = extents(array.dataflow, m, n, k)
    if array.dataflow != "os" and (kernel.psum is None or kernel.psum.region is not None):
        return e.streamed * min(array.cols, e.over_cols) * (1 + parked_blocks(kernel, array, e.streamed))
    if kernel.psum is None or kernel.psum.region is not None:
        return 0
    inside = kernel.order[kernel.order.index("k") + 1 :]
    tiles = math.prod(tile_count(kernel.sides[s], kernel.cuts[s]) for s in inside if s != "batch")
    return m * n * tiles


def _blocks(over_rows: int, over_cols: int, array: ArrayShape, parked: int) -> list[_Fold]:
    down, across = ceil_div(over_rows, array.rows), ceil_div(over_cols, array.cols)
    return [
        _Fold(
            min(array.rows, over_rows - i * array.rows),
            min(array.cols, over_cols - j * array.cols),
            i,
            j,
            i == down - 1,
            i == 0,
            j == across - 1,
            j < parked,
        )
        for j in range(across)
        for i in range(down)
    ]


def _fold(kernel: Kernel, array: ArrayShape, at: GemmTile, fold: _Fold, streamed: int, alone: bool) -> Fold:
    same = alone and at.same
    elements = fold.rows * fold.cols if array.dataflow == "os" else streamed * fold.cols
    psum_read, psum_write, leaves = _partial_sums(kernel, array, at, fold, elements, alone)
    final = leaves and at.final
    narrow = _narrowed(kernel, array, at.tile, fold)
    load, streams = _operands(kernel, array, at.tile, fold, streamed)
    stays_in_pe = array.dataflow == "os" and (alone or (at.first and at.final))
    return Fold(
        cycles=streamed,
        least=array.rows if array.convention == "physical" else 0,
        gap=_gap(array),
        load=None if same else load,
        load_cycles=0 if same else array.loads,
        streams=streams,
        continues=same,
        emit=elements if final else psum_write,
        emit_at_end=array.dataflow == "os",
        writes=_drained(kernel, kernel.writes, range(len(kernel.writes)), narrow, elements) if final else (),
        riders=_drained(kernel, kernel.reads, kernel.rider_reads, narrow, elements) if final else (),
        psum_read=psum_read * array.psum_bytes,
        psum_write=psum_write * array.psum_bytes,
        block=(*at.block, fold.col_block, fold.row_block if array.dataflow == "os" else 0),
        macs=fold.rows * fold.cols * streamed,
        accumulations=0 if stays_in_pe else min(elements, array.accumulator_elements),
        result=_result(kernel, array, at.tile, fold) if final and fold.last_row else None,
    )


def _result(kernel: Kernel, array: ArrayShape, tile: Tile, fold: _Fold) -> dict[str, Range] | None:
    """Return the part of the tile whose results are complete with this fold; None: more must follow."""
    blocks = kernel.result_blocks
    if not fold.last_col and fold.col_block % blocks != blocks - 1:
        return None
    return _part_of(kernel, OVER_COLS[array.dataflow], tile, fold.col_block // blocks, array.cols * blocks)


def _column(kernel: Kernel, array: ArrayShape, tile: Tile, fold: _Fold) -> dict[str, Range] | None:
    """Return the part of the tile over this fold's column block, in whole rows of storage."""
    return _part_of(kernel, OVER_COLS[array.dataflow], tile, fold.col_block, array.cols)


def _partial_sums(
    kernel: Kernel, array: ArrayShape, at: GemmTile, fold: _Fold, elements: int, alone: bool
) -> tuple[int, int, bool]:
    """Return the partial sums read and written in a bank, in elements, and whether final results leave.

    Between k tiles a column block waits in the accumulator if it is parked there or the kernel has no
    region. Within a tile the accumulator holds a column block; what does not fit goes to the bank and
    back with every fold.
    """
    spilled = kernel.psum is not None and kernel.psum.region is not None and not fold.parked
    if array.dataflow == "os":
        first = at.first or (alone and at.same)
        last = at.final or (alone and at.same_next)
        read = elements if spilled and not first else 0
        return read, elements if spilled and not last else 0, at.final
    excess = max(0, elements - array.accumulator_elements)
    read = excess if not fold.first_row else elements if spilled and not at.first else 0
    if fold.last_row:
        return read, elements if spilled and not at.final else 0, at.final
    return read, excess, False


def _gap(array: ArrayShape) -> int:
    """Return the cycles between the streams of folds that the convention runs strictly one by one."""
    if array.convention == "physical":
        return 0
    return fold_tail(array.convention, array.dataflow, array.rows, array.cols) + array.loads


def _narrowed(kernel: Kernel, array: ArrayShape, tile: Tile, fold: _Fold) -> dict[str, Range] | None:
    """Return the part of the tile that this fold's column (and, for os, row) block covers."""
    narrow = _column(kernel, array, tile, fold)
    if narrow is not None and array.dataflow == "os":
        narrow = part(kernel.sides["m"], narrow, fold.row_block, array.rows)
    return narrow


def _operands(
    kernel: Kernel, array: ArrayShape, tile: Tile, fold: _Fold, streamed: int
) -> tuple[Stream | None, tuple[Stream, ...]]:
    """Return the stationary operand's load and the streamed operands of one fold."""
    cells, rows = fold.rows * fold.cols, fold.rows * streamed
    if array.dataflow == "os":
        a = _stream(kernel, A, rows, _part_of(kernel, "m", tile, fold.row_block, array.rows))
        b = _stream(kernel, B, fold.cols * streamed, _part_of(kernel, "n", tile, fold.col_block, array.cols))
        return None, (a, b)
    side = OVER_COLS[array.dataflow]
    still, moving = (B, A) if array.dataflow == "ws" else (A, B)
    done = fold.last_row  # booked once per column block, with the last of its folds
    held = _part_of(kernel, side, tile, fold.col_block, array.cols) if done else None
    return (
        _stream(kernel, still, cells, held),
        (_stream(kernel, moving, rows, dict(tile) if done else None),),
    )


def _part_of(kernel: Kernel, side: Side, tile: Tile, block: int, width: int) -> dict[str, Range] | None:
    return part(kernel.sides[side], tile, block, width)


def _stream(kernel: Kernel, index: int, elements: int, booked: dict[str, Range] | None) -> Stream:
    binding = kernel.reads[index]
    nbytes = elements * binding.data.element_bytes
    if kernel.expanded == ("a", "b")[index]:
        nbytes = ceil_div(nbytes * kernel.expansion[0], kernel.expansion[1])
    box = binding.operand.box(booked) if booked is not None else None
    return Stream(index, nbytes, box if box is not None and volume(box) else None)


def _drained(
    kernel: Kernel,
    bindings: tuple[Binding, ...],
    indices: tuple[int, ...] | range,
    narrow: dict[str, Range] | None,
    emit: int,
) -> tuple[Stream, ...]:
    """Return the streams of what drains; an operand that misses an axis is read once per block."""
    streams = []
    for i in indices:
        binding = bindings[i]
        box = binding.operand.box(narrow) if narrow is not None else None
        named = {d.axis for d in binding.operand.dims}
        covers = all(a.name in named or a.size == 1 for s in ("m", "n") for a in kernel.sides[s])
        elements = emit if covers else volume(box) if box is not None else 0
        streams.append(Stream(i, elements * binding.data.element_bytes, box))
    return tuple(streams)
