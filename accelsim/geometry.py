"""Axes, boxes and the maps between them: which part of a tensor a tile of a loop nest touches.

A loop nest runs over named axes. A tile is a range of every axis. A tensor dimension follows an axis
directly, through a convolution window, through the inverse of a window, or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N = TypeVar("N", int, "NDArray[np.int64]")
Range = tuple[int, int]  # [low, high)
Box = tuple[Range, ...]  # one range per dimension of a tensor
Tile = Mapping[str, Range]  # axis name -> range


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a loop nest. Cuts are made at multiples of ``unit``.

    ``unit`` is more than one where the axis is several tensor dimensions in one (the 400 inputs of
    a linear layer that are 16 channels of 5x5): a cut then falls between whole rows of those.
    """

    name: str
    size: int
    unit: int = 1


@dataclass(frozen=True, slots=True)
class DimMap:
    """How one tensor dimension follows an axis.

    - ``direct``: the range of the axis itself.
    - ``window``: input rows of output rows, ``[a*stride - pad, (b-1)*stride - pad + extent)``, clipped.
    - ``inverse``: output rows that touch input rows, the inverse of ``window``, clipped.
    - ``full``: every index, whatever the tile.

    ``axis`` is empty for ``full``; ``extent`` is the window's reach, ``dilation * (kernel - 1) + 1``.
    """

    axis: str = ""
    kind: Literal["direct", "window", "inverse", "full"] = "full"
    stride: int = 1
    pad: int = 0
    extent: int = 1

    def range(self, tile: Tile, size: int) -> Range:
        """Return the range of a dimension of ``size`` that ``tile`` touches; may be empty."""
        if self.kind == "full":
            return 0, size
        low, high = tile[self.axis] if self.kind == "direct" else self.reach(tile)
        low = low if low > 0 else 0  # plain comparisons: this is called for every box
        high = high if high < size else size
        return low, high if high > low else low

    def reach(self, tile: Tile) -> Range:
        """Return the range that ``tile`` touches were the dimension without bounds."""
        return self.over(*tile[self.axis])

    def over(self, low: N, high: N) -> tuple[N, N]:
        """Return the same of an axis's range; ``low`` and ``high`` may be arrays of many."""
        if self.kind == "window":
            return low * self.stride - self.pad, (high - 1) * self.stride - self.pad + self.extent
        if self.kind == "inverse":
            below = -(-(low + self.pad - self.extent + 1) // self.stride)
            return below, (high - 1 + self.pad) // self.stride + 1
        return low, high


FULL = DimMap()


def direct(axis: str) -> DimMap:
    """Return the map of a dimension that is the axis ``axis``."""
    return DimMap(axis, "direct")


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor as one op sees it: the tensor's name, the shape it is seen in, and a map per dimension.

    ``shape`` holds as many elements as the tensor, in the same row-major order; it may differ from the
    tensor's own shape by a reshape (``(8, 400)`` for ``(8, 16, 5, 5)``). Transposes and permutations are
    not reshapes: they show in the order of ``dims``, as the storage stays as it is.
    """

    tensor: str
    shape: tuple[int, ...]
    dims: tuple[DimMap, ...]

    def box(self, tile: Tile) -> Box:
        """Return the box of the operand, in ``shape``, that ``tile`` touches."""
        return tuple([d.range(tile, s) for d, s in zip(self.dims, self.shape, strict=True)])


def volume(box: Box) -> int:
    """Return the number of elements in ``box``."""
    return math.prod(high - low for low, high in box)


def run_length(box: Box, shape: tuple[int, ...]) -> int:
    """Return the elements per contiguous row-major run of ``box`` in a tensor of ``shape``."""
    run = 1
    for (low, high), size in zip(reversed(box), reversed(shape), strict=True):
        run *= high - low
        if high - low != size:
            break
    return run


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def reshape_box(box: Box, shape: tuple[int, ...], to: tuple[int, ...]) -> Box:
    """Return a box in shape ``to`` that covers ``box`` of ``shape``, both row-major.

    Dimensions are matched in groups of equal product; the cover is exact where a cut falls between
    whole rows of the finer side.

    >>> reshape_box(((0, 2), (25, 75)), (8, 400), (8, 16, 5, 5))
    ((0, 2), (1, 3), (0, 5), (0, 5))
    """
    if shape == to:
        return box
    result: list[Range] = []
    for these, those in _groups(shape, to):
        low, high = _flat_hull(box[these.start : these.stop], shape[these.start : these.stop])
        result.extend(_cover(low, high, to[those.start : those.stop]))
    return tuple(result)


def _groups(shape: tuple[int, ...], to: tuple[int, ...]) -> list[tuple[range, range]]:
    groups = []
    i = j = 0
    while i < len(shape) or j < len(to):
        i0, j0 = i, j
        left = right = 1
        if i < len(shape):
            left, i = shape[i], i + 1
        if j < len(to):
            right, j = to[j], j + 1
        while left != right:
            if left < right:
                left, i = left * shape[i], i + 1
            else:
                right, j = right * to[j], j + 1
        groups.append((range(i0, i), range(j0, j)))
    return groups


def _flat_hull(box: Box, shape: tuple[int, ...]) -> Range:
    low = high = 0
    for (a, b), size in zip(box, shape, strict=True):
        low, high = low * size + a, high * size + b - 1
    return low, high + 1


def _cover(low: int, high: int, to: tuple[int, ...]) -> list[Range]:
    ranges: list[Range] = []
    for i, size in enumerate(to):
        inner = math.prod(to[i + 1 :])
        first, last = low // inner, (high - 1) // inner
        if first == last:
            ranges.append((first, first + 1))
            low, high = low - first * inner, high - first * inner
        else:
            ranges.append((first, last + 1))
            ranges.extend((0, s) for s in to[i + 1 :])
            return ranges
        if size < 1:
            break
    return ranges
