"""A GEMM kernel's tiles on real numbers: operands gathered from banks, partial sums where they wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.geometry import Axis, DimMap, Range
from accelsim.program.array_shape import ArrayShape
from accelsim.program.folds import extents
from accelsim.program.parking import parked_rows
from accelsim.program.program import Kernel, Side
from accelsim.program.ranges import extent, tiles_of, tiles_per_panel
from tests.interpreter.memory import Banks, BoundOperand, Hazard, Numbers, Places

PARTNER = {"y": "p", "x": "q"}  # image axis -> kernel axis of a convolution
TileRanges = dict[str, Range]
Wanted = NDArray[np.bool_]
Phases = list[tuple[Places, Places]]  # points of m and of k that meet


def product(a: Numbers, b: Numbers) -> Numbers:
    """Return ``a @ b``, by torch: numpy's threads get in each other's way on a busy machine."""
    made: Numbers = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return made


def gather(
    kernel: Kernel,
    read: Callable[[Places, str], Numbers],
    bound: BoundOperand,
    tile: TileRanges,
    rows: Side,
    cols: Side,
    image: bool,
) -> Numbers:
    """Return an operand's tile as a matrix over ``rows`` and ``cols``, its zeros inserted.

    ``read`` returns the numbers at places of it, for whoever reads them. ``image``: it is expanded from
    windows (im2col) or from the inverse of windows.
    """
    places, wanted = located(kernel, bound, tile, rows, cols, image)
    matrix = np.zeros(places.shape)
    what = f"{kernel.leader.op} reads {bound.binding.data.tensor}"
    matrix[wanted] = read(places[wanted], what)
    return matrix


def located(
    kernel: Kernel, bound: BoundOperand, tile: TileRanges, rows: Side, cols: Side, image: bool
) -> tuple[Places, Wanted]:
    """Return the place in its region of every element of an operand's matrix, and where there is one."""
    axes = (*kernel.sides["batch"], *kernel.sides[rows], *kernel.sides[cols])
    shape = [tile[a.name][1] - tile[a.name][0] for a in axes]
    grid = _grid(axes, tile)
    indices, valid = [], np.ones((), dtype=bool)
    for dim, size in zip(bound.binding.operand.dims, bound.binding.operand.shape, strict=True):
        index, there = _index(dim, size, grid, kernel, image)
        indices.append(index)
        valid = valid & there
    places = np.broadcast_to(bound.places_of(indices), shape)
    wide = extent(kernel.sides[cols], tile)
    return places.reshape(-1, wide), np.broadcast_to(valid, shape).reshape(-1, wide)


def _channels(kernel: Kernel) -> int:
    """Return how many channels lie side by side in a full tile."""
    return extent(kernel.sides["batch"], tiles_of(kernel.sides["batch"], kernel.cuts["batch"])[0])


def side_by_side(kernel: Kernel, array: ArrayShape, tile: TileRanges, a: Numbers, b: Numbers) -> Any:
    """Return the operands as the array has them: what is stationary on diagonal blocks."""
    channels = extent(kernel.sides["batch"], tile)
    if channels == 1:
        return a, b
    each_a, each_b = np.split(a, channels), np.split(b, channels)
    if array.dataflow == "is":
        return block_diag(*each_a), np.concatenate(each_b, axis=0)
    return np.concatenate(each_a, axis=1), block_diag(*each_b)


def apart(kernel: Kernel, array: ArrayShape, tile: TileRanges, total: Numbers) -> Numbers:
    """Return the results channel by channel."""
    channels = extent(kernel.sides["batch"], tile)
    return np.concatenate(np.split(total, channels, axis=0 if array.dataflow == "is" else 1), axis=0)


def phases_in(kernel: Kernel, tile: TileRanges, m: int, k: int) -> Phases:
    """Return which points of m and of k meet where no zeros are inserted: all, or those of each phase."""
    if not kernel.decomposed:
        return [(np.arange(m), np.arange(k))]
    rows, inner = np.zeros((), dtype=np.int64), np.zeros((), dtype=np.int64)
    down, across = (_grid(kernel.sides[s], tile) for s in ("m", "k"))
    for dim in kernel.reads[0].operand.dims:
        if dim.kind == "inverse" and dim.stride > 1:
            rows = rows * dim.stride + (down[dim.axis] + dim.pad) % dim.stride
            inner = inner * dim.stride + _tap(dim, across, kernel) % dim.stride
    rows, inner = (
        np.broadcast_to(x, [tile[a.name][1] - tile[a.name][0] for a in kernel.sides[s]]).ravel()
        for x, s in ((rows, "m"), (inner, "k"))
    )
    channels = extent(kernel.sides["batch"], tile)
    rows, inner = np.tile(rows, m // rows.size), np.tile(inner, k // inner.size)
    assert m in (rows.size, rows.size * channels)
    return [(np.flatnonzero(rows == r), np.flatnonzero(inner == r)) for r in np.unique(rows)]


def block_diag(*blocks: Numbers) -> Numbers:
    """Return a matrix with ``blocks`` on its diagonal."""
    made = np.zeros(np.sum([b.shape for b in blocks], axis=0))
    row = col = 0
    for b in blocks:
        made[row : row + b.shape[0], col : col + b.shape[1]] = b
        row, col = row + b.shape[0], col + b.shape[1]
    return made


def result_places(
    kernel: Kernel, operand_dims: tuple[DimMap, ...], shape: tuple[int, ...], tile: TileRanges
) -> Places:
    """Return the place in the result tensor of every (m, n) of a tile, in order."""
    axes = (*kernel.sides["batch"], *kernel.sides["m"], *kernel.sides["n"])
    grid = _grid(axes, tile)
    places: Places = np.zeros((), dtype=np.int64)
    for dim, size in zip(operand_dims, shape, strict=True):
        places = places * size + _index(dim, size, grid, kernel, False)[0]
    full = [tile[a.name][1] - tile[a.name][0] for a in axes]
    return np.broadcast_to(places, full).ravel()


def _grid(axes: tuple[Axis, ...], tile: TileRanges) -> dict[str, Places]:
    grid = {"one": np.zeros((), dtype=np.int64)}  # of an index that does not move, on whatever side it is
    for i, axis in enumerate(axes):
        along = [1] * len(axes)
        along[i] = -1
        grid[axis.name] = np.arange(*tile[axis.name], dtype=np.int64).reshape(along)
    return grid


def _index(
    dim: DimMap, size: int, grid: dict[str, Places], kernel: Kernel, image: bool
) -> tuple[Places, np.ndarray]:
    """Return the index along one dimension at every point, and where there is one at all."""
    if dim.kind == "full":
        assert size == 1, "an operand of a GEMM is read whole along a dimension that no axis follows"
        return np.zeros((), dtype=np.int64), np.ones((), dtype=bool)
    at = grid[dim.axis]
    if dim.kind == "direct":
        return at, np.ones((), dtype=bool)
    tap = _tap(dim, grid, kernel) if image and dim.axis in PARTNER else np.zeros((), dtype=np.int64)
    if dim.kind == "window":
        index = at * dim.stride - dim.pad + tap
        return index, (index >= 0) & (index < size)
    index, rest = np.divmod(at + dim.pad - tap, dim.stride)
    return index, (rest == 0) & (index >= 0) & (index < size)


def _tap(dim: DimMap, grid: dict[str, Places], kernel: Kernel) -> Places:
    """Return how far the kernel's element is from its first one, in rows of the input."""
    partner = PARTNER[dim.axis]
    taps = next(a.size for axes in kernel.sides.values() for a in axes if a.name == partner)
    dilation = (dim.extent - 1) // (taps - 1) if taps > 1 else 1
    return grid[partner] * dilation


class PartialSums:
    """The partial sums of one kernel: in the accumulator, in a region of a bank, or in the PEs.

    Between k tiles a block waits whole; within a tile the accumulator holds one column block, and what
    does not fit goes to the region and back with every fold.
    """

    def __init__(self, kernel: Kernel, array: ArrayShape, banks: Banks) -> None:
        self.kernel = kernel
        self.array = array
        self.banks = banks
        self.region = kernel.psum.region if kernel.psum else None
        self.parked = parked_rows(kernel, array)
        self.moved = 0  # elements that went to the region
        self._waiting: dict[tuple[int, ...], Numbers] = {}
        self._starts = {s: self._offsets(s) for s in ("m", "n")}

    def _offsets(self, side: Side) -> tuple[list[int], int]:
        """Return where each tile of a side begins in the region's matrix, and that matrix's extent.

        Of a side inside of k all tiles wait at once, of one that is cut twice those of a panel.
        """
        kernel = self.kernel
        axes, cut = kernel.sides[side], kernel.cuts[side]
        beside = _channels(kernel) if side == ("m" if self.array.dataflow == "is" else "n") else 1
        sizes = [extent(axes, t) * beside for t in tiles_of(axes, cut)]
        if side == ("n" if self.array.dataflow == "is" else "m"):
            sizes = [max(0, size - self.parked) for size in sizes]
        together = [1] * len(sizes)
        if side in kernel.order[kernel.order.index("k") + 1 :]:
            together = [len(sizes)]
        elif kernel.panel is not None and kernel.panel.side == side:
            together = tiles_per_panel(axes, cut, kernel.panel.cut)
        starts, ends = [], []
        for count in together:
            here = sizes[len(starts) : len(starts) + count]
            starts += [sum(here[:i]) for i in range(count)]
            ends.append(sum(here))
        return starts, max(ends)

    def multiply(self, at: dict[str, int], k_tiles: int, a: Numbers, b: Numbers, phases: Phases) -> Numbers:
        """Add ``a @ b`` to the block of a tile, phase by phase; return what it has come to."""
        block = (at["batch"], at["m"], at["n"])
        first, final = at["k"] == 0, at["k"] == k_tiles - 1
        shape = (a.shape[0], b.shape[1])
        before = np.zeros(shape) if first else self._restore(block, at, shape)
        total = np.full(shape, np.nan)
        places = self._places(at, shape).reshape(shape) if k_tiles > 1 else None
        for rows, inner in phases:
            there = places[rows] if places is not None else None
            total[rows] = self._folds(a[rows][:, inner], b[inner], before[rows], there)
        if not final:
            self._wait(block, at, total)
        return total

    # -- between k tiles -------------------------------------------------------------------------

    def _wait(self, block: tuple[int, ...], at: dict[str, int], total: Numbers) -> None:
        parked, rest = self._split()
        self._waiting[block] = total[parked] if self.region is not None else total
        held = sum(t.size for t in self._waiting.values())
        if held > self.array.accumulator_elements and not self._stays_in_pes(total.shape):
            raise Hazard(f"{self.kernel.leader.op}: {held} partial sums wait in the accumulator")
        if self.region is not None:
            places = self._places(at, total[rest].shape)
            self.banks.write(self.region, self.array.psum_bytes, places, total[rest].ravel())
            self.moved += total[rest].size

    def _stays_in_pes(self, shape: tuple[int, ...]) -> bool:
        """Return whether an output-stationary fold goes on over k tiles."""
        array = self.array
        fits = shape[0] <= array.rows and shape[1] <= array.cols and len(self._waiting) == 1
        return array.dataflow == "os" and self.kernel.order[-1] == "k" and not self.kernel.panel and fits

    def _restore(self, block: tuple[int, ...], at: dict[str, int], shape: tuple[int, int]) -> Numbers:
        if self.region is None:
            return self._waiting.pop(block)
        what = f"partial sums of {self.kernel.leader.op}"
        parked, rest = self._split()
        total = np.full(shape, np.nan)
        total[parked] = self._waiting.pop(block)
        places = self._places(at, total[rest].shape)
        values = self.banks.read(self.region, self.array.psum_bytes, places, what)
        total[rest] = values.reshape(total[rest].shape)
        return total

    def _split(self) -> tuple[Any, Any]:
        """Return what of a block waits in the accumulator and what in the region."""
        first, last = slice(None, self.parked), slice(self.parked, None)
        if self.array.dataflow == "is":
            return (slice(None), first), (slice(None), last)
        return (first, slice(None)), (last, slice(None))

    def _places(self, at: dict[str, int], shape: tuple[int, ...]) -> Places:
        (rows, _), (cols, width) = self._starts["m"], self._starts["n"]
        i = rows[at["m"]] + np.arange(shape[0])[:, None]
        j = cols[at["n"]] + np.arange(shape[1])[None, :]
        return (i * width + j).ravel()

    # -- within a tile ---------------------------------------------------------------------------

    def _folds(self, a: Numbers, b: Numbers, before: Numbers, there: Places | None) -> Numbers:
        """Return a dense part's sums, column block by column block and fold by fold.

        ``there`` are the places of partial sums in the region; None: of what is in excess, from the first on.
        """
        total = before.copy()
        if self.array.dataflow == "os":
            return total + product(a, b)
        by_rows = self.array.dataflow == "is"  # is: the array's columns are rows of the result
        e = extents(self.array.dataflow, a.shape[0], b.shape[1], a.shape[1])
        for low in range(0, e.over_cols, self.array.cols):
            part = slice(low, low + self.array.cols)
            where = (part, slice(None)) if by_rows else (slice(None), part)
            for k in range(0, e.over_rows, self.array.rows):
                if k:
                    self._spill(total, where, there)
                inner = slice(k, k + self.array.rows)
                total[where] += product(a[where[0], inner], b[inner, where[1]])
        return total

    def _spill(self, total: Numbers, where: tuple[slice, slice], there: Places | None) -> None:
        """Send what the accumulator cannot hold of a column block through the region and back."""
        cells = np.arange(total.size).reshape(total.shape)[where].ravel()
        excess = cells[self.array.accumulator_elements :]
        if not excess.size:
            return
        if self.region is None:
            raise Hazard(f"{self.kernel.leader.op}: {cells.size} partial sums of a fold and no region")
        places = there.ravel()[excess] if there is not None else np.arange(excess.size)
        flat = total.reshape(-1)  # a view: total is contiguous
        self.banks.write(self.region, self.array.psum_bytes, places, flat[excess])
        flat[excess] = np.nan
        what = f"partial sums of {self.kernel.leader.op}"
        flat[excess] = self.banks.read(self.region, self.array.psum_bytes, places, what)
        self.moved += int(excess.size)
