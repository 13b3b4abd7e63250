"""The folds of one GEMM tile on the PE array, in order, with every byte that they move.

ws: the tile's K lies over the rows, its N over the columns, M is streamed; column blocks outermost, so
that a column block's partial sums meet in the accumulator. is: the same with M and N exchanged.
os: M over the rows, N over the columns, K streamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, Range, Tile, ceil_div, volume
from accelsim.program.array_shape import OVER_COLS, STREAMED, ArrayShape, tile_extents
from accelsim.program.fold_cuts import FoldCut, cuts_of, phased
from accelsim.program.folds import fold_tail
from accelsim.program.jobs import Fold, Stream, stream_of
from accelsim.program.program import Binding, Kernel, Side
from accelsim.program.ranges import extent, part

Int = NDArray[np.int64]
A, B = 0, 1  # the leader's operands among a kernel's reads


@dataclass(frozen=True, slots=True)
class GemmTile:
    """One tile and its place in the nest.

    ``first`` and ``final`` say whether it is of its block's first or final k tile; ``same`` and
    ``same_next`` whether the tile before and the next one differ from it in the streamed side only; of a
    nest with panels only those of the same panel, along its side, count.
    """

    tile: dict[str, Range]
    block: tuple[int, ...]
    first: bool
    final: bool
    same: bool
    same_next: bool


def gemm_folds(kernel: Kernel, array: ArrayShape, at: GemmTile, parked: int) -> list[Fold]:
    """Return the folds of one tile, ``parked`` points of each column block waiting in the accumulator."""
    cuts: Sequence[FoldCut]
    if kernel.decomposed:
        cuts = phased(kernel, array.dataflow, array.rows, array.cols, at.tile, at.final)
        return _folds(kernel, array, at, cuts, parked, False)
    e, together = tile_extents(kernel, array, at.tile), extent(kernel.sides["batch"], at.tile)
    single = e.folds(array.rows, array.cols) == 1
    chunks = tuple(_chunks(kernel, array, at.tile)) if at.final else ((0, 0, e.streamed),)
    cuts = cuts_of(e, array.rows, array.cols, chunks, together)
    return _folds(kernel, array, at, cuts, parked, single)


def _folds(
    kernel: Kernel, array: ArrayShape, at: GemmTile, cuts: Sequence[FoldCut], parked: int, single: bool
) -> list[Fold]:
    """Return the folds; those that nothing tells apart are one object."""
    plain = array.dataflow != "os" and (kernel.psum is None or kernel.psum.region is None)
    alike: dict[tuple[int, int, bool, int], Fold] = {}
    found = []
    for cut in cuts:
        if not plain or cut.last_row:
            found.append(_fold(kernel, array, at, cut, parked, single))
            continue
        key = (cut.rows, cut.cols, cut.first_row, cut.high)
        if key not in alike:
            alike[key] = _fold(kernel, array, at, cut, parked, single)
        found.append(alike[key])
    return found


def results_per_tile(
    kernel: Kernel, array: ArrayShape, tiles: Mapping[Side, Sequence[Tile]], at: Mapping[Side, Int]
) -> Int:
    """Return how many results the folds of every tile of the final k make, were it one.

    ``tiles`` are those of each side, ``at`` the index of every tile of the nest among them.
    """
    over, streamed = OVER_COLS[array.dataflow], STREAMED[array.dataflow]
    width = array.cols * kernel.result_blocks
    columns = _stretches(kernel.sides[over], tiles[over], width)
    found = columns[at[over]]
    if kernel.result_rows and array.dataflow != "os":
        found = found * _stretches(kernel.sides[streamed], tiles[streamed], kernel.result_rows)[at[streamed]]
    return found


def _stretches(axes: Sequence[Axis], tiles: Sequence[Tile], width: int) -> Int:
    """Return into how many stretches of ``width`` points each tile of a side falls."""
    known: dict[tuple[int, ...], int] = {}
    counts = []
    for tile in tiles:
        key = tuple(r[1] - r[0] for r in tile.values())
        if key not in known:
            most = ceil_div(extent(axes, tile), width)
            known[key] = sum(part(axes, tile, i, width) is not None for i in range(most))
        counts.append(known[key])
    return np.array(counts, dtype=np.int64)


def _chunks(kernel: Kernel, array: ArrayShape, tile: Tile) -> list[tuple[int, int, int]]:
    """Return (number, low, high) of the stretches of the streamed side whose results leave at once."""
    axes = kernel.sides[STREAMED[array.dataflow]]
    whole = extent(axes, tile)
    if not kernel.result_rows or array.dataflow == "os":
        return [(0, 0, whole)]
    found, low = [], 0
    for number in range(ceil_div(whole, kernel.result_rows)):
        narrow = part(axes, tile, number, kernel.result_rows)
        if narrow is not None:
            high = low + extent(axes, narrow)
            found.append((number, low, high))
            low = high
    return found


def _fold(kernel: Kernel, array: ArrayShape, at: GemmTile, fold: FoldCut, parked: int, single: bool) -> Fold:
    goes_on = (single and at.same) or fold.goes_on
    streamed = fold.high - fold.low
    cells = fold.rows * fold.cols // fold.together
    elements = cells if array.dataflow == "os" else streamed * fold.cols
    psum_read, psum_write, leaves = _partial_sums(kernel, array, at, fold, parked, single)
    final = leaves and at.final
    narrow = _narrowed(kernel, array, at.tile, fold)
    load, streams = _operands(kernel, array, at.tile, fold)
    goes_on = goes_on or (fold.empty and array.dataflow != "os")
    stays_in_pe = array.dataflow == "os" and (single or (at.first and at.final))
    return Fold(
        cycles=max(1, streamed),
        least=array.rows if array.convention == "physical" else 0,
        gap=_gap(array),
        load=load[0] if load and not goes_on else None,
        beside=() if goes_on else load[1:],
        load_cycles=0 if goes_on else array.loads,
        streams=streams,
        continues=goes_on,
        emit=elements if final else psum_write,
        emit_at_end=array.dataflow == "os",
        writes=_drained(kernel, kernel.writes, range(len(kernel.writes)), narrow, elements) if final else (),
        riders=_drained(kernel, kernel.reads, kernel.rider_reads, narrow, elements) if final else (),
        psum_read=psum_read * array.psum_bytes,
        psum_write=psum_write * array.psum_bytes,
        block=_block(array, at, fold),
        macs=cells * streamed,
        accumulations=0 if stays_in_pe else _accumulated(array, fold, elements),
        result=_result(kernel, array, at.tile, fold) if final and fold.last_row else None,
    )


def _block(array: ArrayShape, at: GemmTile, fold: FoldCut) -> tuple[int, ...]:
    """Return the key of the block whose partial sums a fold adds to."""
    phase = (fold.phase,) if fold.phase >= 0 else ()
    return (*at.block, *phase, fold.col_block, fold.row_block if array.dataflow == "os" else 0)


def _result(kernel: Kernel, array: ArrayShape, tile: Tile, fold: FoldCut) -> dict[str, Range] | None:
    """Return the part of the tile whose results are complete with this fold; None: more must follow."""
    blocks = max(1, kernel.result_blocks * array.cols // fold.span)
    if not fold.closes or (not fold.last_col and fold.col_block % blocks != blocks - 1):
        return None
    narrow = _part_of(kernel, OVER_COLS[array.dataflow], tile, fold.col_block // blocks, fold.span * blocks)
    return _chunk_of(kernel, array, narrow, fold)


def _column(kernel: Kernel, array: ArrayShape, tile: Tile, fold: FoldCut) -> dict[str, Range] | None:
    """Return the part of the tile over this fold's column block, in whole rows of storage.

    None: there is none, or its phases are not through.
    """
    if not fold.closes:
        return None
    narrow = _part_of(kernel, OVER_COLS[array.dataflow], tile, fold.col_block, fold.span)
    return _chunk_of(kernel, array, narrow, fold)


def _chunk_of(
    kernel: Kernel, array: ArrayShape, tile: dict[str, Range] | None, fold: FoldCut
) -> dict[str, Range] | None:
    """Return what of ``tile`` a fold's results are, which leave chunk by chunk."""
    if tile is None or (not fold.goes_on and fold.last_chunk):
        return tile
    return part(kernel.sides[STREAMED[array.dataflow]], tile, fold.chunk, kernel.result_rows)


def _partial_sums(
    kernel: Kernel, array: ArrayShape, at: GemmTile, fold: FoldCut, parked: int, single: bool
) -> tuple[int, int, bool]:
    """Return the partial sums read and written in a bank, in elements, and whether final results leave.

    Between k tiles the first ``parked`` points of a column block wait in the accumulator, or all of them
    if the kernel has no region. Within a tile the accumulator holds a column block; what does not fit
    goes to the bank and back with every fold.
    """
    spilled = kernel.psum is not None and kernel.psum.region is not None
    if fold.empty:
        return 0, 0, at.final
    if array.dataflow == "os":
        low = fold.skipped + fold.row_block * array.rows
        rows = fold.rows // fold.together
        waits = max(0, low + rows - max(low, parked)) * fold.cols if spilled else 0
        first = at.first or (single and at.same)
        last = at.final or (single and at.same_next)
        return 0 if first else waits, 0 if last else waits, at.final
    low, high = fold.skipped + fold.low, fold.skipped + fold.high
    waits = max(0, high - max(low, parked)) * fold.cols if spilled else 0
    excess = _excess(array, fold)
    read = excess if not fold.first_row else waits if not at.first else 0
    if fold.last_row:
        return read, waits if not at.final else 0, at.final
    return read, excess, False


def _excess(array: ArrayShape, fold: FoldCut) -> int:
    """Return the elements of a fold's results for which the accumulator has no room."""
    low, high = fold.low * fold.cols, fold.high * fold.cols
    return max(0, high - max(low, array.accumulator_elements))


def _accumulated(array: ArrayShape, fold: FoldCut, elements: int) -> int:
    if fold.empty:
        return 0
    if array.dataflow == "os":
        return min(elements, array.accumulator_elements)
    return elements - _excess(array, fold)


def _gap(array: ArrayShape) -> int:
    """Return the cycles between the streams of folds that the convention runs strictly one by one."""
    if array.convention == "physical":
        return 0
    return fold_tail(array.convention, array.dataflow, array.rows, array.cols) + array.loads


def _narrowed(kernel: Kernel, array: ArrayShape, tile: Tile, fold: FoldCut) -> dict[str, Range] | None:
    """Return the part of the tile that this fold's column (and, for os, row) block covers."""
    narrow = _column(kernel, array, tile, fold)
    if narrow is not None and array.dataflow == "os" and not kernel.decomposed:
        narrow = part(kernel.sides["m"], narrow, fold.row_block, array.rows)
    return narrow


def _operands(
    kernel: Kernel, array: ArrayShape, tile: Tile, fold: FoldCut
) -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
    """Return the loads of the stationary operand and the streamed operands of one fold."""
    if fold.empty:
        return (), ()
    streamed = fold.high - fold.low
    cells, rows = fold.rows * fold.cols // fold.together, fold.rows * streamed
    if array.dataflow == "os":
        down = _part_of(kernel, "m", tile, fold.row_block, array.rows)
        across = _part_of(kernel, "n", tile, fold.col_block, array.cols)
        if kernel.decomposed:  # booked once per column block, with the last of its folds
            down, across = (_column(kernel, array, tile, fold),) * 2
        return (), _streams(kernel, A, rows, down) + _streams(kernel, B, fold.cols * streamed, across)
    side = OVER_COLS[array.dataflow]
    still, moving = (B, A) if array.dataflow == "ws" else (A, B)
    done = fold.last_row and fold.last_chunk and fold.closes  # once per column block, with its last fold
    held = _part_of(kernel, side, tile, fold.col_block, fold.span) if fold.last_row and fold.closes else None
    return (
        _streams(kernel, still, cells, held),
        _streams(kernel, moving, rows, dict(tile) if done else None),
    )


def _part_of(kernel: Kernel, side: Side, tile: Tile, block: int, width: int) -> dict[str, Range] | None:
    return part(kernel.sides[side], tile, block, width)


def _streams(
    kernel: Kernel, operand: int, elements: int, booked: dict[str, Range] | None
) -> tuple[Stream, ...]:
    """Return what an operand moves: one stream, or one per bit field."""
    fields = (operand, *kernel.further[operand]) if kernel.further else (operand,)
    return tuple(_stream(kernel, operand, index, elements, booked) for index in fields)


def _stream(
    kernel: Kernel, operand: int, index: int, elements: int, booked: dict[str, Range] | None
) -> Stream:
    binding = kernel.reads[index]
    nbytes, unfolded = binding.data.bytes_of(elements), 0
    if kernel.expanded == ("a", "b")[operand] and kernel.expansion[0] != kernel.expansion[1]:
        unfolded = ceil_div(nbytes * kernel.unfolding[0], kernel.unfolding[1])
        nbytes = ceil_div(nbytes * kernel.expansion[0], kernel.expansion[1])
    box = binding.operand.box(booked) if booked is not None else None
    return stream_of(binding, index, nbytes, box if box is not None and volume(box) else None, unfolded)


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
        streams.append(stream_of(binding, i, binding.data.bytes_of(elements), box))
    return tuple(streams)
