"""What the array reads of an expanded operand from the banks when a line buffer lies between.

The buffer holds rows of the image, of the channels of a tile, and what is in it need not be read again. In
reads per window of kh x kw elements with strides sh, sw:

- the window alone fits: its columns are shared with the window before, kh min(kw, sw) reads;
- L rows fit: sh of them come in while those before them are kept, (kh - (min(kh, L) - sh)) min(kw, sw) reads;
- the window's rows fit: every element is read once, min(kh, sh) min(kw, sw) reads.

An input gradient walks the errors with stride 1; zeros between them come from the unit, not from a bank.
Behind the buffer lie registers of one window: of the buffer only its new columns are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, DimMap, Operand
from accelsim.graph.ir import Gemm
from accelsim.mapping.cuts import follows_side, lengths
from accelsim.mapping.variants import is_decomposed
from accelsim.program.program import Cut, Side
from accelsim.resolve.machine import Machine

Lines = NDArray[np.int64]
Share = tuple[int, int]


Widths = Callable[[DimMap, int], NDArray[np.float64]]  # a dimension and its size -> its extent in a tile


@dataclass(frozen=True, slots=True)
class Slide:
    """How windows of ``taps`` elements move along one axis of an image.

    Attributes:
        stride: Of the convolution.
        reach: From the window's first element to its last, both counted.
        zeros: Whether zeros lie between the image's elements: then it moves by one.
        spread: Steps that one element of the image stands for.
    """

    taps: int
    stride: int
    reach: int
    zeros: bool
    spread: int

    @property
    def step(self) -> int:
        """By how much the window moves."""
        return 1 if self.zeros else self.stride

    @property
    def per(self) -> int:
        """What reads are a fraction of: the taps, and the zeros among them."""
        return self.taps * (self.stride if self.zeros else 1)

    def kept(self, lines: Lines) -> Lines:
        """Return what is read where ``lines`` of the image are held, in parts of ``per``."""
        held = lines * self.spread
        shared = np.maximum(0, np.minimum(self.taps, held) - self.step)
        some = self.taps - (shared if self.reach == self.taps else 0)  # dilated: all or nothing
        return np.where(held >= self.reach, min(self.taps, self.step), some)


@dataclass(frozen=True, slots=True)
class Window:
    """The windows of one expanded operand, and the bytes of the buffer."""

    operand: Operand
    rows: Slide
    columns: Slide
    element_bytes: int
    room: int

    def reads(self, widths: Widths) -> tuple[Lines, int]:
        """Return what is read from the banks of what the array takes, as a fraction.

        ``widths`` gives the extents in a tile; of a dimension that follows the group, for all channels of it.
        """
        line = self._elements(widths, ("b", "y"))
        channels = self._elements(widths, ("b", "y", "x"))
        lines = self.room // (line * self.element_bytes)
        window = self.rows.taps * self.columns.reach * channels * self.element_bytes
        fits = (window <= self.room) | (lines * self.rows.spread >= self.rows.reach)
        of = self.rows.per * self.columns.per
        everything = np.asarray(self.columns.reach, dtype=np.int64)
        return np.where(fits, self.rows.kept(lines) * self.columns.kept(everything), of), of

    @property
    def columns_read(self) -> Share:
        """What is read from the buffer of what the array takes, as a fraction: a window's new columns."""
        new = int(self.columns.kept(np.asarray(self.columns.reach, dtype=np.int64)))
        return new * self.rows.taps, self.columns.per * self.rows.per

    def _elements(self, widths: Widths, but: tuple[str, ...]) -> Lines:
        """Return the elements of a tile along all dimensions but those of some axes."""
        total = np.ones((), dtype=np.int64)
        for dim, size in zip(self.operand.dims, self.operand.shape, strict=True):
            if dim.axis[:1] not in but:
                total = total * np.asarray(widths(dim, size)).astype(np.int64)
        return np.maximum(total, 1)


def window_of(gemm: Gemm, element_bytes: int, machine: Machine) -> Window | None:
    """Return the windows of a GEMM's expanded operand; None: nothing is expanded, or there is no buffer."""
    room = machine.im2col_line_buffer_bytes
    if gemm.window is None or gemm.expanded is None or not room:
        return None
    operand = gemm.a if gemm.expanded == "a" else gemm.b
    height, width, down, across = gemm.window
    zeros = not is_decomposed(gemm, machine)
    rows, columns = _slide(operand, "y", height, down, zeros), _slide(operand, "x", width, across, zeros)
    return Window(operand, rows, columns, element_bytes, room)


def _slide(operand: Operand, axis: str, taps: int, stride: int, zeros: bool) -> Slide:
    dim = next((d for d in operand.dims if d.axis == axis and d.kind in ("window", "inverse")), None)
    inverse = dim is not None and dim.kind == "inverse"
    reach = dim.extent if dim is not None else taps
    return Slide(taps, stride, reach, inverse and zeros, stride if inverse else 1)


def expansion(window: Window, sides: Mapping[Side, tuple[Axis, ...]], cuts: Mapping[Side, Cut]) -> Share:
    """Return what the array reads of the expanded operand under some cuts, as a fraction."""

    def widths(dim: DimMap, size: int) -> NDArray[np.float64]:
        one = Operand("", (size,), (dim,))
        found = [lengths(one, axes, cuts[s])[1] for s, axes in sides.items() if follows_side(one, axes)]
        return np.asarray(found[0] if found else 1 if dim.axis else size, dtype=np.float64)

    reads, of = window.reads(widths)
    return int(reads), of
