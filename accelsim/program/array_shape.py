"""The array as folds see it: its shape, and which side of a GEMM goes where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from accelsim.geometry import Tile
from accelsim.program.folds import Extents, extents, first_load
from accelsim.program.program import Kernel, Side
from accelsim.program.ranges import extent
from accelsim.words import Convention, Dataflow

OVER_COLS: Final[dict[Dataflow, Side]] = {"ws": "n", "is": "m", "os": "n"}
STREAMED: Final[dict[Dataflow, Side]] = {"ws": "m", "is": "n", "os": "k"}


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


def tile_extents(kernel: Kernel, array: ArrayShape, tile: Tile) -> Extents:
    """Return the extents of a tile: of all its channels, if several lie side by side."""
    m, n, k, together = (extent(kernel.sides[s], tile) for s in ("m", "n", "k", "batch"))
    return extents(array.dataflow, m, n, k).beside(together)
