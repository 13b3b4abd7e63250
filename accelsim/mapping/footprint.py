"""What every cut of a GEMM's sides makes of its operands, as arrays over all combinations of cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accelsim.geometry import Axis, DimMap, Operand, ceil_div
from accelsim.mapping.cuts import Candidate, Twice, follows_side, free_elements, lengths
from accelsim.mapping.problem import SIDES, Array, Bool, Part, Piece, Problem
from accelsim.program.array_shape import ArrayShape
from accelsim.program.program import Cut, Side
from accelsim.resolve.machine import Machine

RESULT_BYTES = 8 * 1024  # results that leave at once are no smaller, so that descriptors stay few
LONG = 4  # bursts of a row of a bit field that is long enough
PS_PER_S = 10**12


def blocks_per_result(
    writes: Sequence[Piece | Part], axes: tuple[Axis, ...], cols: int, burst_bytes: int
) -> int:
    """Return how many column blocks must leave together for rows of whole bursts.

    ``writes`` are the operands that go to DRAM. Where the side over the columns is not innermost in storage,
    a block's rows are long anyway. Rows of a bit field need not be whole bursts if they are long.
    """
    names = {a.name for a in axes}
    inner = [w for w in writes if w.operand.dims and w.operand.dims[-1].axis in names]
    burst = 8 * burst_bytes
    blocks = [burst_bytes // math.gcd(burst_bytes, cols * w.element_bytes) for w in inner if not w.fields]
    for bits in (n for w in inner for n in w.fields):
        blocks.append(min(burst // math.gcd(burst, cols * bits), ceil_div(LONG * burst, cols * bits)))
    return max(blocks, default=1)


def rows_per_result(machine: Machine, array: ArrayShape, element_bytes: Sequence[int], blocks: int) -> int:
    """Return how many points of the streamed side leave at once where k is cut; 0: a whole column block.

    Enough to hide DRAM's latency. ``element_bytes`` are of the operands that go to DRAM, ``blocks`` the
    column blocks that must leave together: then rows cannot be told apart.
    """
    if not element_bytes or blocks > 1 or array.dataflow == "os":
        return 0
    in_flight = machine.dram.bandwidth_bytes_per_s * machine.dram.latency_ps // PS_PER_S
    each = array.rows * array.cols * min(element_bytes)
    return array.rows * ceil_div(max(RESULT_BYTES, in_flight), each)


class Cuts(NamedTuple):
    """The candidates of one side: the tiles of each, the panels that hold them, the most tiles of a panel."""

    tiles: tuple[Candidate, ...]
    panels: tuple[Candidate, ...]
    inside: tuple[int, ...]

    @classmethod
    def once(cls, tiles: tuple[Candidate, ...]) -> Cuts:
        """Return candidates that are not cut twice."""
        return cls(tiles, tiles, (1,) * len(tiles))

    @classmethod
    def twice(cls, found: tuple[Twice, ...]) -> Cuts:
        """Return candidates that are."""
        return cls(
            tuple(t.tiles for t in found), tuple(t.panels for t in found), tuple(t.inside for t in found)
        )


class CutSide:
    """The candidates of one side as arrays along that side's axis of the search space.

    ``rounds`` and ``waiting`` are of the panels: how many there are, and the points of the largest. A side
    that is not cut twice has panels of one tile.
    """

    def __init__(self, problem: Problem, side: Side, quantum: int, rows: int, cuts: Cuts) -> None:
        self.position = SIDES.index(side)
        axes = problem.axes(side)
        self.list, panels = cuts.tiles, cuts.panels
        self.panels = tuple(p.cut for p in panels)
        self.rounds = self.shape([p.count for p in panels])
        self.waiting = self.shape([p.largest for p in panels])
        self.inside = self.shape(list(cuts.inside))
        self.count = self.shape([c.count for c in self.list])
        self.largest = self.shape([c.largest for c in self.list])
        self.blocks = self.shape([c.total(quantum) for c in self.list])
        self.row_blocks = self.shape([c.total(rows) for c in self.list])
        self.padded = self.shape([c.total(1, least=rows) for c in self.list])
        self.row = self.shape([_row(axes, c.cut) for c in self.list])
        self.size = math.prod(a.size for a in axes)

    def shape(self, values: Sequence[float]) -> Array:
        """Return ``values`` laid along this side."""
        array = np.array(values, dtype=np.float64)
        return array.reshape([-1 if i == self.position else 1 for i in range(3)])


def _row(axes: tuple[Axis, ...], cut: Cut) -> int:
    """Return the points of one row of the first axis along which a tile has more than one."""
    for index, axis in enumerate(axes):
        step = axis.unit if index < cut.axis else cut.step if index == cut.axis else axis.size
        if step > axis.unit or index == len(axes) - 1:
            return axis.unit * math.prod(a.size for a in axes[index + 1 :])
    return 1


class Footprint:
    """Elements of one operand: fetched in total and held by the largest tile, per combination of cuts."""

    def __init__(self, problem: Problem, piece: Piece, sides: dict[Side, CutSide]) -> None:
        operand = piece.operand
        self.piece = piece
        self.element_bytes = piece.element_bytes
        self.fields = max(1, len(piece.fields))  # that are moved one by one
        self.relevant: list[Side] = []
        every = [problem.axes(s) for s in (*SIDES, "batch")]
        channels = problem.together if follows_side(operand, problem.groups[-1:]) else 1
        self.once: Array = np.full((1, 1, 1), float(free_elements(operand, every) * channels))
        self.tile = self.once.copy()
        for name, side in sides.items():
            if not follows_side(operand, problem.axes(name)):
                continue
            self.relevant.append(name)
            pairs = [lengths(operand, problem.axes(name), c.cut) for c in side.list]
            self.once = self.once * side.shape([p[0] for p in pairs])
            self.tile = self.tile * side.shape([p[1] for p in pairs])
        self.whole = float(math.prod(operand.shape))
        self.tiles: Array = np.ones((1, 1, 1))
        for name in self.relevant:
            self.tiles = self.tiles * sides[name].count

    def burst_factor(self, problem: Problem, sides: dict[Side, CutSide], burst_bytes: int) -> Array:
        """Return what short rows cost: bytes moved in whole bursts over bytes wanted."""
        size, run = self.element_bytes, self.run_bytes(problem, sides)
        moved: Array = np.ceil(run / burst_bytes) * burst_bytes
        if self.piece.fields:
            rows = [np.ceil(run / size * bits / 8) for bits in self.piece.fields]
            moved = sum((np.ceil(row / burst_bytes) * burst_bytes for row in rows), np.zeros((1, 1, 1)))
        return np.asarray(moved / run, dtype=np.float64)

    def run_bytes(self, problem: Problem, sides: dict[Side, CutSide]) -> Array:
        """Return the bytes of the largest tile that lie together, whole elements."""
        operand = self.piece.operand
        run: Array = np.full((1, 1, 1), float(self.element_bytes))
        joined: Bool = np.ones((1, 1, 1), dtype=bool)
        for dim, extent in zip(reversed(operand.dims), reversed(operand.shape), strict=True):
            width = widths(problem, sides, dim, extent)
            run = run * np.where(joined, width, 1.0)
            joined = joined & (width == extent)
        return run

    def again(self, order: tuple[Side, ...], sides: dict[Side, CutSide]) -> Array:
        """Return how often the operand's tiles are gone through."""
        times: Array = np.ones((1, 1, 1))
        for i, name in enumerate(order):
            if name in self.relevant:
                continue
            inner = [sides[s].rounds > 1 for s in order[i + 1 :] if s in self.relevant]
            inner += [sides[s].inside > 1 for s in self.relevant]
            anew = np.logical_or.reduce(np.broadcast_arrays(*inner)) if inner else np.zeros((1, 1, 1), bool)
            times = times * np.where(anew, sides[name].rounds, 1.0)
        return times


def widths(problem: Problem, sides: dict[Side, CutSide], dim: DimMap, extent: int) -> Array:
    """Return a dimension's extent in the largest tile, per combination of cuts."""
    for name, side in sides.items():
        for axis in problem.axes(name):
            if axis.name == dim.axis:
                one = Operand("", (extent,), (dim,))
                cuts = [_cut_of(problem.axes(name), axis, c) for c in side.list]
                return side.shape([lengths(one, (axis,), cut)[1] for cut in cuts])
    batch = any(axis.name == dim.axis for axis in problem.groups)
    return np.full((1, 1, 1), 1.0 if batch else float(extent))


def _cut_of(axes: tuple[Axis, ...], axis: Axis, candidate: Candidate) -> Cut:
    """Return the cut of one axis alone that a cut of its side makes."""
    index, cut = axes.index(axis), candidate.cut
    step = axis.unit if index < cut.axis else cut.step if index == cut.axis else axis.size
    return Cut(axis=0, step=step)
