"""Partial sums that wait in the accumulator: how many, and what of it they take."""

from __future__ import annotations

from accelsim.geometry import Tile, ceil_div
from accelsim.program.array_shape import OVER_COLS, STREAMED, ArrayShape, tile_extents
from accelsim.program.program import Kernel, Side
from accelsim.program.ranges import extent, tile_count, tiles_of, tiles_per_panel


def parked_rows(kernel: Kernel, array: ArrayShape) -> int:
    """Return how many points of every column block wait in the accumulator between k tiles.

    The others wait in the kernel's region. Where a tile has several folds of a column block, what waits
    of it between them needs room too; where it has one, they enter the array's first row instead of
    zeros, and leave its last. Where outputs are stationary these are points of m, in all columns.
    """
    if kernel.psum is None or kernel.psum.region is None:
        return 0
    tile = _largest(kernel)
    together = extent(kernel.sides["batch"], tile)
    if array.dataflow == "os":
        columns = sum(_waiting(kernel, "n")) * len(_waiting(kernel, "m")) * together
        return min(extent(kernel.sides["m"], tile), array.accumulator_elements // columns)
    e = tile_extents(kernel, array, tile)
    over, streamed = OVER_COLS[array.dataflow], STREAMED[array.dataflow]
    blocks = sum(ceil_div(points, array.cols) for points in _waiting(kernel, over))
    blocks *= len(_waiting(kernel, streamed))
    room = array.accumulator_elements // array.cols
    return most_parked(room, blocks, e.streamed, e.over_rows > array.rows)


def _waiting(kernel: Kernel, side: Side) -> list[int]:
    """Return the extents of the tiles along one side whose partial sums wait at the same time."""
    axes, cut, panel = kernel.sides[side], kernel.cuts[side], kernel.panel
    count = 1
    if side in kernel.order[kernel.order.index("k") + 1 :]:
        count = tile_count(axes, cut)
    elif panel is not None and panel.side == side:
        count = tiles_per_panel(axes, cut, panel.cut)[0]  # which no other exceeds
    return [extent(axes, t) for t in tiles_of(axes, cut)[:count]]


def most_parked(room: int, blocks: int, streamed: int, several_folds: bool) -> int:
    """Return the points per column block for which ``room`` rows of the accumulator suffice.

    >>> most_parked(room=2048, blocks=4, streamed=683, several_folds=False)
    512
    >>> most_parked(room=2048, blocks=4, streamed=683, several_folds=True)
    455
    """
    if not several_folds:
        return min(streamed, room // blocks)
    if blocks == 1:
        return 0
    return max(0, min(streamed, (room - streamed) // (blocks - 1)))


def accumulator_use(kernel: Kernel, array: ArrayShape) -> int:
    """Return the elements of the accumulator that partial sums take while a tile is at work."""
    tile = _largest(kernel)
    m, n, together = (extent(kernel.sides[s], tile) for s in ("m", "n", "batch"))
    e = tile_extents(kernel, array, tile)
    if parked_rows(kernel, array):
        return array.accumulator_elements
    if array.dataflow != "os" and (kernel.psum is None or kernel.psum.region is not None):
        return min(array.accumulator_elements, e.streamed * min(array.cols, e.over_cols))
    if kernel.psum is None or kernel.psum.region is not None:
        return 0
    return m * n * together * len(_waiting(kernel, "m")) * len(_waiting(kernel, "n"))


def _largest(kernel: Kernel) -> Tile:
    """Return the first tile, which no other exceeds."""
    return {
        name: r for s, axes in kernel.sides.items() for name, r in tiles_of(axes, kernel.cuts[s])[0].items()
    }
