"""The slabs of a vector kernel: where its nest is cut, and which operands are held whole meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelsim.geometry import Axis, Range, ceil_div, volume
from accelsim.mapping.ports import port_ps
from accelsim.mapping.problem import Budget, Part
from accelsim.program.program import Cut
from accelsim.program.ranges import tile_count
from accelsim.resolve.machine import Machine

SLAB_BYTES = 128 * 1024  # of the widest operand: large enough to hide DRAM's latency, small enough to overlap


@dataclass(frozen=True, slots=True)
class SlabProblem:
    """A vector nest and its surroundings; ``passes`` pairs the reads and writes of each walk."""

    axes: tuple[Axis, ...]
    separable: int
    reads: tuple[Part, ...]
    writes: tuple[Part, ...]
    passes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    cycles: int  # of all passes together, per point and lane


@dataclass(frozen=True, slots=True)
class SlabChoice:
    """The cut, the reads held whole for the kernel, slots per operand, and the expected cost."""

    cut: Cut
    keep: tuple[int, ...]
    read_slots: tuple[int, ...]
    write_slots: tuple[int, ...]
    read_bytes: tuple[int, ...]  # of one slot
    write_bytes: tuple[int, ...]
    time_ps: int
    dram_bytes: int
    buffer_bytes: int


class Slabs:
    """The cuts of one problem in the order of trial, costed when first tried."""

    def __init__(self, problem: SlabProblem) -> None:
        often = tuple(
            i
            for i, part in enumerate(problem.reads)
            if part.place == "buffered" and sum(i in reads for reads, _ in problem.passes) > 1
        )
        self.problem = problem
        self.known: dict[Budget, SlabChoice | None] = {}
        cuts = _cuts(problem)
        small = [i for i, cut in enumerate(cuts) if _widest(problem, cut) <= SLAB_BYTES]
        cuts = cuts[small[0] if small else len(cuts) - 1 :]
        keeps = (often, ()) if often else ((),)  # first holding whole what several passes read
        self.trials = [(cut, keep) for keep in keeps for cut in cuts]
        self.found: list[tuple[SlabChoice, dict[str, int]]] = []


class SlabSearch:
    """Chooses slabs on one machine; answers are remembered."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._known: dict[SlabProblem, Slabs] = {}

    def slabs(self, problem: SlabProblem) -> Slabs:
        """Return the trials of a problem."""
        if problem not in self._known:
            self._known[problem] = Slabs(problem)
        return self._known[problem]

    def best(self, slabs: Slabs, budget: Budget) -> SlabChoice | None:
        """Return the largest slab of at most ``SLAB_BYTES``, as far as cuts go, that fits the budget."""
        if budget not in slabs.known:
            slabs.known[budget] = self._first_fit(slabs, dict(budget))
        return slabs.known[budget]

    def _first_fit(self, slabs: Slabs, room: dict[str, int]) -> SlabChoice | None:
        for i in range(len(slabs.trials)):
            if i == len(slabs.found):
                choice = self._cost(slabs.problem, *slabs.trials[i])
                slabs.found.append((choice, self._held(slabs.problem, choice)))
            choice, need = slabs.found[i]
            if all(nbytes <= room[group] for group, nbytes in need.items()):
                return choice
        return None

    def _held(self, problem: SlabProblem, choice: SlabChoice) -> dict[str, int]:
        need: dict[str, int] = {}
        sized = [
            *zip(problem.reads, choice.read_slots, choice.read_bytes, strict=True),
            *zip(problem.writes, choice.write_slots, choice.write_bytes, strict=True),
        ]
        for part, slots, nbytes in sized:
            word = self.machine.banks[part.group].word_bytes
            need[part.group] = need.get(part.group, 0) + slots * ceil_div(nbytes, word) * word
        return need

    def _cost(self, problem: SlabProblem, cut: Cut, keep: tuple[int, ...]) -> SlabChoice:
        slabs = tile_count(problem.axes, cut)
        first = _first(problem.axes, cut)
        whole = {a.name: (0, a.size) for a in problem.axes}
        dram = 0.0
        moved = {p.group: [0.0, 0.0] for p in (*problem.reads, *problem.writes)}
        read_slots, read_bytes = [], []
        for i, part in enumerate(problem.reads):
            walks = sum(i in reads for reads, _ in problem.passes)
            total = volume(part.operand.box(whole)) * part.element_bytes
            slab = volume(part.operand.box(first)) * part.element_bytes
            follows = slab < total
            moved[part.group][0] += total * walks
            if part.place != "resident":
                times = walks if part.place == "buffered" and i not in keep and follows else 1
                dram += total * times
                moved[part.group][1] += total * times
            held = part.place == "buffered"
            read_slots.append(0 if not held else 1 if i in keep or not follows else 2)
            read_bytes.append(total if i in keep else slab)
        write_slots, write_bytes = [], []
        for part in problem.writes:
            total = volume(part.operand.box(whole)) * part.element_bytes
            slab = volume(part.operand.box(first)) * part.element_bytes
            follows = _per_slab(part, problem.axes, cut)
            moved[part.group][1] += total
            if part.place == "buffered":
                dram += total
                moved[part.group][0] += total
            write_slots.append((2 if follows and slabs > 1 else 1) if part.place == "buffered" else 0)
            write_bytes.append(slab if follows else total)
        return SlabChoice(
            cut,
            keep,
            tuple(read_slots),
            tuple(write_slots),
            tuple(read_bytes),
            tuple(write_bytes),
            self._time(problem, dram, moved, read_bytes),
            round(dram),
            sum(s * b for s, b in zip(read_slots + write_slots, read_bytes + write_bytes, strict=True)),
        )

    def _time(
        self, problem: SlabProblem, dram: float, moved: dict[str, list[float]], first: list[int]
    ) -> int:
        machine = self.machine
        points = math.prod(a.size for a in problem.axes)
        compute = points * problem.cycles / machine.vector.lanes * 1e12 / machine.clock_hz
        per_byte = 1e12 / machine.dram.bandwidth_bytes_per_s
        ports = [float(port_ps(machine.banks[g], np.array(r), np.array(w))) for g, (r, w) in moved.items()]
        filled = [n for part, n in zip(problem.reads, first, strict=True) if part.place != "resident"]
        ends = sum(filled) * per_byte + (machine.dram.latency_ps if filled else 0)
        return round(max(compute, dram * per_byte, *ports) + ends)


def _first(axes: tuple[Axis, ...], cut: Cut) -> dict[str, Range]:
    """Return the first, and so a largest, slab."""
    steps = [a.unit if i < cut.axis else cut.step if i == cut.axis else a.size for i, a in enumerate(axes)]
    return {a.name: (0, min(step, a.size)) for a, step in zip(axes, steps, strict=True)}


def _widest(problem: SlabProblem, cut: Cut) -> int:
    first = _first(problem.axes, cut)
    parts = [*problem.reads, *(w for w in problem.writes if _per_slab(w, problem.axes, cut))]
    return max((volume(p.operand.box(first)) * p.element_bytes for p in parts), default=0)


def _per_slab(part: Part, axes: tuple[Axis, ...], cut: Cut) -> bool:
    named = {d.axis for d in part.operand.dims if d.kind != "full"}
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
