"""Closed forms of a systolic array: folds and compute cycles of a GEMM, untiled.

With Sr x Sc the stationary extent and T the streamed one, F = ceil(Sr / R) * ceil(Sc / C) folds:

====================  ==========================================  =============================
convention            ws, is                                      os
====================  ==========================================  =============================
``physical``          (F-1) max(R, T) + T + 2R + C - 2            the same
``scale-sim``         F (2R + C + T - 2)                          F (R + C + T - 2)
====================  ==========================================  =============================

Source: docs/timing.md; the second row is SCALE-Sim 3.0.0's (docs/sources.md#scale-sim).
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.geometry import ceil_div
from accelsim.words import Convention, Dataflow

STEPS_AHEAD = 2  # that operands are asked for ahead of their use: a double-buffered operand FIFO
IN_FLIGHT = 2  # chunks of one drain that may wait at a port


@dataclass(frozen=True, slots=True)
class Extents:
    """The extents of a GEMM on an array: over rows, over columns, streamed."""

    over_rows: int
    over_cols: int
    streamed: int

    def beside(self, channels: int) -> Extents:
        """Return the extents of as many such GEMMs side by side on diagonal blocks."""
        return Extents(self.over_rows * channels, self.over_cols * channels, self.streamed)

    def folds(self, rows: int, cols: int) -> int:
        """Return the number of folds on an array of ``rows`` x ``cols``."""
        return ceil_div(self.over_rows, rows) * ceil_div(self.over_cols, cols)


def extents(dataflow: Dataflow, m: int, n: int, k: int) -> Extents:
    """Return what lies over the rows and columns, and what is streamed.

    >>> extents("ws", m=5, n=3, k=7)
    Extents(over_rows=7, over_cols=3, streamed=5)
    """
    if dataflow == "ws":
        return Extents(k, n, m)
    if dataflow == "is":
        return Extents(k, m, n)
    return Extents(m, n, k)


def fold_tail(convention: Convention, dataflow: Dataflow, rows: int, cols: int) -> int:
    """Return the cycles from the last streamed element's entry to the last result's exit, less one.

    What one uninterrupted run takes beside its streaming and its first load.
    """
    if dataflow == "os" and convention == "scale-sim":
        return rows + cols - 2
    if dataflow == "os":
        return 2 * rows + cols - 2
    return rows + cols - 2


def first_load(dataflow: Dataflow, rows: int) -> int:
    """Return the cycles before the first streamed element: the load of the stationary tile."""
    return 0 if dataflow == "os" else rows


def compute_cycles(
    convention: Convention, dataflow: Dataflow, rows: int, cols: int, m: int, n: int, k: int
) -> int:
    """Return the cycles of one untiled GEMM with every operand on time.

    >>> compute_cycles("scale-sim", "ws", 128, 128, m=1, n=1, k=1)
    383
    >>> compute_cycles("physical", "ws", 128, 128, m=1, n=1, k=1)
    383
    """
    e = extents(dataflow, m, n, k)
    folds = e.folds(rows, cols)
    single = first_load(dataflow, rows) + e.streamed + fold_tail(convention, dataflow, rows, cols)
    if convention == "scale-sim":
        return folds * single
    return (folds - 1) * max(rows, e.streamed) + single
