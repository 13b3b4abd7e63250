"""GEMM kernels on real numbers, block by block: what one column block of a tile adds to the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.geometry import Axis, DimMap, Operand, Range
from accelsim.program.array_shape import OVER_COLS, ArrayShape
from accelsim.program.jobs import Fold
from accelsim.program.program import Kernel, Side
from accelsim.program.ranges import part

Index = NDArray[np.int64]
TileRanges = dict[str, Range]
_TAP: Final = {"y": "p", "x": "q"}  # an image's axis and the kernel's beside it


class View:
    """An operand's elements over the axes of a GEMM, tile by tile.

    Where every dimension follows an axis of its own that is a strided view; where a window moves over it
    (im2col, or its inverse), elements are gathered, and what lies outside is 0.
    """

    def __init__(self, kernel: Kernel, operand: Operand, sides: tuple[Side, ...]) -> None:
        self.axes: tuple[Axis, ...] = tuple(a for s in sides for a in kernel.sides[s])
        self._groups = [len(kernel.sides[s]) for s in sides]
        self._operand = operand
        self._sizes = {a.name: a.size for axes in kernel.sides.values() for a in axes}
        self._strided = all(d.kind in ("direct", "full") for d in operand.dims)

    def strided(self, flat: torch.Tensor) -> torch.Tensor:
        """Return a view of the whole flat tensor, one dimension per axis."""
        stride, strides = 1, dict.fromkeys((a.name for a in self.axes), 0)
        for dim, size in zip(reversed(self._operand.dims), reversed(self._operand.shape), strict=True):
            if dim.kind == "direct":
                strides[dim.axis] = stride
            stride *= size
        return flat.as_strided([a.size for a in self.axes], [strides[a.name] for a in self.axes])

    def matrix(self, flat: torch.Tensor, tile: TileRanges, index: torch.Tensor | None) -> torch.Tensor:
        """Return the elements of ``tile`` as (batch, rows, columns); ``flat`` ends with a 0 of its own."""
        shape = self._shape(tile)
        if index is not None:
            return flat[index].view(shape)
        there = self.strided(flat)[tuple(slice(*tile[a.name]) for a in self.axes)]
        return there.reshape(shape)

    def index(self, tile: TileRanges) -> torch.Tensor | None:
        """Return where the elements of ``tile`` are; None: no need to gather them."""
        if self._strided:
            return None
        grid = self._grid(tile)
        place: Index = np.zeros((), dtype=np.int64)
        valid: NDArray[np.bool_] = np.ones((), dtype=bool)
        for dim, size in zip(self._operand.dims, self._operand.shape, strict=True):
            at, there = self._along(dim, size, grid, tile)
            place, valid = place * size + at, valid & there
        outside = int(np.prod(self._operand.shape))  # where the 0 is
        full = [tile[a.name][1] - tile[a.name][0] for a in self.axes]
        return torch.from_numpy(np.broadcast_to(np.where(valid, place, outside), full).reshape(-1).copy())

    def _grid(self, tile: TileRanges) -> dict[str, Index]:
        grid = {}
        for i, axis in enumerate(self.axes):
            shape = [1] * len(self.axes)
            shape[i] = -1
            grid[axis.name] = np.arange(*tile[axis.name], dtype=np.int64).reshape(shape)
        return grid

    def _along(
        self, dim: DimMap, size: int, grid: dict[str, Index], tile: TileRanges
    ) -> tuple[Index, NDArray[np.bool_]]:
        """Return the index along one dimension, and where it lies inside."""
        here: NDArray[np.bool_] = np.ones((), dtype=bool)
        if dim.kind == "full":
            return np.zeros((), dtype=np.int64), here
        at = grid[dim.axis] if dim.axis in grid else np.asarray(tile[dim.axis][0])
        if dim.kind == "direct":
            return at, here
        tap = self._tap(dim, grid)
        if dim.kind == "window":
            index = at * dim.stride - dim.pad + tap
            return index, (index >= 0) & (index < size)
        index, rest = np.divmod(at + dim.pad - tap, dim.stride)
        return index, (rest == 0) & (index >= 0) & (index < size)

    def _tap(self, dim: DimMap, grid: dict[str, Index]) -> Index:
        partner = _TAP.get(dim.axis, "")
        if partner not in grid:
            return np.zeros((), dtype=np.int64)
        taps = self._sizes[partner]
        return grid[partner] * ((dim.extent - 1) // (taps - 1) if taps > 1 else 1)

    def _shape(self, tile: TileRanges) -> list[int]:
        shape, first = [], 0
        for count in self._groups:
            axes = self.axes[first : first + count]
            shape.append(int(np.prod([tile[a.name][1] - tile[a.name][0] for a in axes], dtype=np.int64)))
            first += count
        return shape


class Block:
    """What a block of a tile multiplies: its part of the tile, and where its operands are gathered."""

    __slots__ = ("a", "b", "into", "tile")

    def __init__(self, tile: TileRanges, a: View, b: View, c: View) -> None:
        self.tile = tile
        self.a = a.index(tile)
        self.b = b.index(tile)
        self.into = tuple(slice(*tile[x.name]) for x in c.axes)


def block_of(kernel: Kernel, array: ArrayShape, tile: TileRanges, fold: Fold) -> TileRanges | None:
    """Return the part of ``tile`` that a fold's column (and, for os, row) block works on; None: nothing.

    A block ends with a whole row of storage, as what is booked of its operands and results does.
    """
    *_, column, row = fold.block
    over = OVER_COLS[array.dataflow]
    narrow = part(kernel.sides[over], tile, column, array.cols)
    if narrow is not None and array.dataflow == "os":
        narrow = part(kernel.sides["m"], narrow, row, array.rows)
    return narrow


def reads_of(folds: Sequence[Fold]) -> dict[tuple[int, ...], list[int]]:
    """Return the places of a tile's folds by the block that they work on."""
    found: dict[tuple[int, ...], list[int]] = {}
    for place, fold in enumerate(folds):
        found.setdefault(fold.block, []).append(place)
    return found
