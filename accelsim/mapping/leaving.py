"""What it costs that results leave through two slots, as arrays over all combinations of cuts.

A slot is taken when the last fold of a column block begins, and free again when its results are in DRAM.
With two slots the array waits where that takes longer than the folds of two blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.mapping.footprint import Footprint
from accelsim.mapping.problem import SIDES, Array
from accelsim.mapping.tile_shape import Shape
from accelsim.program.folds import fold_tail


class Leaving:
    """The results of one problem that go to DRAM.

    What a burst of results costs where k is cut, at the end of a block of tiles, is left out.

    Attributes:
        number: How many parts of one GEMM's results leave, each at once.
        rounds_ps: The least time of all rounds of the slots, all GEMMs together.
    """

    def __init__(
        self, shape: Shape, writes: Sequence[tuple[int, Footprint]], blocks: int, rows: int, slots: Array
    ) -> None:
        """Weigh all combinations of cuts.

        Args:
            shape: The combinations.
            writes: The operands that go to DRAM, with their numbers.
            blocks: Column blocks that leave together.
            rows: Points of the streamed side that leave at once where k is cut; 0: all of a tile.
            slots: Of the results.
        """
        m, n, k = (shape.sides[s] for s in SIDES)
        self.number: Array = m.count * n.count * 1.0
        self.rounds_ps: Array = np.zeros((1, 1, 1))
        if not writes or shape.phases is not None:
            return
        cols, streamed = shape.sides[shape.over["cols"]], shape.sides[shape.over["streamed"]]
        per_side = cols.shape([c.total(shape.array.cols * blocks) for c in cols.list])
        parts = streamed.shape([c.total(rows) / c.count for c in streamed.list]) if rows else 1.0
        parts = np.where(k.count > 1, parts, 1.0)
        self.number = per_side * (m if cols is n else n).count * parts
        held = _held_cycles(shape, blocks, parts) * shape.period + _drained_ps(shape, writes, self.number)
        self.rounds_ps = np.where(slots > 1, self.number * held / 2, 0.0) * shape.p.batch


def _held_cycles(shape: Shape, blocks: int, parts: Array) -> Array:
    """Return the cycles in which what leaves at once comes about, from the first block's last fold on."""
    array, streamed = shape.array, shape.sides[shape.over["streamed"]]
    tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols)
    period = streamed.padded / streamed.count
    if array.dataflow == "os":  # every fold brings some
        m = shape.sides["m"]
        return m.row_blocks / m.count * blocks * period + tail
    k = shape.sides["k"]
    between = k.row_blocks / k.count * (blocks - 1) * period
    return between + streamed.size / streamed.count / parts + tail


def _drained_ps(shape: Shape, writes: Sequence[tuple[int, Footprint]], leaving: Array) -> Array:
    """Return the time in which what leaves at once is brought to DRAM."""
    nbytes: Array = np.zeros((1, 1, 1))
    for i, _ in writes:
        nbytes = nbytes + shape.moved_by_write(i)
    transfers = sum(footprint.fields for _, footprint in writes)
    return nbytes / leaving * shape.dram_ps + transfers * shape.machine.dma.descriptor_latency_ps
