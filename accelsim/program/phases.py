"""The phases of a strided convolution's input gradient: what of its GEMM is no inserted zero.

A row y of the image meets the kernel's rows p with (y + pad - dilation p) divisible by the stride: which
these are depends on (y + pad) mod stride alone. So the points of one phase, stride_h x stride_w of them in
all, meet the same elements of the kernel, and make a dense GEMM.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from accelsim.geometry import Axis, Operand, Range, Tile, ceil_div
from accelsim.program.ranges import extent

TAPS: Final = {"y": "p", "x": "q"}  # an image's axis and the kernel's beside it


class Phase(NamedTuple):
    """The points of m and of k that one phase has."""

    points: int
    depth: int


@dataclass(frozen=True, slots=True)
class Stride:
    """One image axis along which zeros would be inserted, and the kernel's axis beside it."""

    axis: str
    taps: str
    kernel: int
    stride: int
    pad: int
    dilation: int

    def rows(self, span: Range, residue: int) -> int:
        """Return how many rows of ``span`` have (row + pad) mod stride = ``residue``."""
        low, high = (bound + self.pad - residue for bound in span)
        return ceil_div(high, self.stride) - ceil_div(low, self.stride)

    def taps_of(self, residue: int) -> int:
        """Return how many of the kernel's elements the rows of ``residue`` meet."""
        return sum(self.dilation * p % self.stride == residue for p in range(self.kernel))


def strides_of(operand: Operand, k: Sequence[Axis]) -> tuple[Stride, ...]:
    """Return the axes along which ``operand``, read through inverse windows, would have zeros inserted."""
    sizes = {a.name: a.size for a in k}
    found = []
    for dim in operand.dims:
        taps = TAPS.get(dim.axis, "")
        if dim.kind != "inverse" or dim.stride == 1 or taps not in sizes:
            continue
        kernel = sizes[taps]
        dilation = (dim.extent - 1) // (kernel - 1) if kernel > 1 else 1
        found.append(Stride(dim.axis, taps, kernel, dim.stride, dim.pad, dilation))
    return tuple(found)


def phases_of(strides: Sequence[Stride], m: Sequence[Axis], k: Sequence[Axis], tile: Tile) -> list[Phase]:
    """Return the phases of a tile whose kernel is whole; those that meet no element of the kernel first.

    Phases without points are left out.
    """
    points = extent([a for a in m if a.name not in {s.axis for s in strides}], tile)
    depth = extent([a for a in k if a.name not in {s.taps for s in strides}], tile)
    found = []
    for residues in itertools.product(*(range(s.stride) for s in strides)):
        here, taps = points, depth
        for stride, residue in zip(strides, residues, strict=True):
            here *= stride.rows(tile[stride.axis], residue)
            taps *= stride.taps_of(residue)
        if here:
            found.append(Phase(here, taps))
    return sorted(found, key=lambda phase: phase.depth > 0)


def whole(axes: Sequence[Axis]) -> dict[str, Range]:
    """Return the tile of axes that are not cut."""
    return {a.name: (0, a.size) for a in axes}
