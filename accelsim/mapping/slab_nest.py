"""The cuts of a vector nest, and what each makes of the operands, wherever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelsim.geometry import Axis, Range, ceil_div, volume
from accelsim.mapping.given import Imposed
from accelsim.mapping.problem import Piece
from accelsim.program.program import Cut
from accelsim.program.ranges import tile_count
from accelsim.resolve.machine import Machine

SLAB_BYTES = 128 * 1024  # of the widest operand: large enough to hide DRAM's latency, small enough to overlap


@dataclass(frozen=True, slots=True)
class SlabProblem:
    """A vector nest, wherever its operands are; ``passes`` pairs the reads and writes of each walk."""

    axes: tuple[Axis, ...]
    separable: int
    reads: tuple[Piece, ...]
    writes: tuple[Piece, ...]
    passes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    cycles: int  # of all passes together, per point and lane
    imposed: Imposed | None = None
    runs: tuple[int, ...] = ()  # neighbours that each operand takes together, reads first; none: whole words


@dataclass(frozen=True, slots=True)
class Slab:
    """One cut: slabs, bytes of every operand in the first one, and which writes every slab has a part of."""

    cut: Cut
    count: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    follows: tuple[bool, ...]


class Nest:
    """What the cuts of one problem make of its operands, wherever they are."""

    def __init__(self, problem: SlabProblem) -> None:
        self.problem = problem
        whole = {a.name: (0, a.size) for a in problem.axes}
        self.reads = [_nbytes(p, whole) for p in problem.reads]
        self.writes = [_nbytes(p, whole) for p in problem.writes]
        self.walks = [sum(i in reads for reads, _ in problem.passes) for i in range(len(problem.reads))]
        self.points = math.prod(a.size for a in problem.axes)
        given = problem.imposed.cut("m") if problem.imposed is not None else None
        self.cuts = _cuts(problem) if given is None else [given]
        self._slabs: dict[int, Slab] = {}
        small = (i for i in range(len(self.cuts)) if _widest(self.slab(i)) <= SLAB_BYTES)
        self.first = next(small, len(self.cuts) - 1)  # cuts before it are too coarse

    def slab(self, number: int) -> Slab:
        """Return what one cut makes of the operands."""
        slab = self._slabs.get(number)
        if slab is None:
            slab = self._slabs[number] = _slab(self.problem, self.cuts[number])
        return slab


class Nests:
    """The nests of all problems of one graph, each made once."""

    def __init__(self) -> None:
        self._known: dict[SlabProblem, Nest] = {}

    def of(self, problem: SlabProblem) -> Nest:
        """Return what holds wherever the operands of a problem are."""
        nest = self._known.get(problem)
        if nest is None:
            nest = self._known[problem] = Nest(problem)
        return nest


def compute_ps(nest: Nest, machine: Machine) -> float:
    """Return the time that the vector unit takes with everything at hand."""
    return nest.points * nest.problem.cycles / machine.vector.lanes * 1e12 / machine.clock_hz


def _nbytes(piece: Piece, tile: dict[str, Range]) -> int:
    return piece.nbytes(volume(piece.operand.box(tile)))


def _slab(problem: SlabProblem, cut: Cut) -> Slab:
    first = _first(problem.axes, cut)
    return Slab(
        cut,
        tile_count(problem.axes, cut),
        tuple(_nbytes(p, first) for p in problem.reads),
        tuple(_nbytes(p, first) for p in problem.writes),
        tuple(_per_slab(p, problem.axes, cut) for p in problem.writes),
    )


def _first(axes: tuple[Axis, ...], cut: Cut) -> dict[str, Range]:
    """Return the first, and so a largest, slab."""
    steps = [a.unit if i < cut.axis else cut.step if i == cut.axis else a.size for i, a in enumerate(axes)]
    return {a.name: (0, min(step, a.size)) for a, step in zip(axes, steps, strict=True)}


def _widest(slab: Slab) -> int:
    written = [n for n, follows in zip(slab.writes, slab.follows, strict=True) if follows]
    return max((*slab.reads, *written), default=0)


def _per_slab(piece: Piece, axes: tuple[Axis, ...], cut: Cut) -> bool:
    named = {d.axis for d in piece.operand.dims if d.kind != "full"}
    return all(a.name in named for a in axes[: cut.axis + 1] if a.size > 1)


def _cuts(problem: SlabProblem) -> list[Cut]:
    """Return the cuts of the separable axes, from none to the finest."""
    axes = problem.axes
    if not axes:
        return [Cut(axis=0, step=1)]
    cuts = [Cut(axis=0, step=axes[0].size)]
    for index in range(problem.separable):
        axis = axes[index]
        step = axis.size
        while step > axis.unit:
            step = ceil_div(ceil_div(step, 2), axis.unit) * axis.unit
            cuts.append(Cut(axis=index, step=step))
    return cuts
