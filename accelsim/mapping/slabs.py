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
        tally = _Tally(problem, cut)
        reads = [tally.read(i, i in keep) for i in range(len(problem.reads))]
        writes = [tally.write(part) for part in problem.writes]
        return SlabChoice(
            cut,
            keep,
            read_slots=tuple(slots for slots, _ in reads),
            write_slots=tuple(slots for slots, _ in writes),
            read_bytes=tuple(nbytes for _, nbytes in reads),
            write_bytes=tuple(nbytes for _, nbytes in writes),
            time_ps=self._time(problem, tally, [nbytes for _, nbytes in reads]),
            dram_bytes=tally.dram_bytes,
            buffer_bytes=sum(slots * nbytes for slots, nbytes in reads + writes),
        )

    def _time(self, problem: SlabProblem, tally: _Tally, first: list[int]) -> int:
        """Return the expected time; see ``tile_space.Space`` for what overlaps."""
        machine = self.machine
        points = math.prod(a.size for a in problem.axes)
        compute = points * problem.cycles / machine.vector.lanes * 1e12 / machine.clock_hz
        per_byte = 1e12 / machine.dram.bandwidth_bytes_per_s
        ports = [
            float(port_ps(machine.banks[g], np.array(r), np.array(w))) for g, (r, w) in tally.moved.items()
        ]
        latency = machine.dram.latency_ps
        chain = tally.slot_bytes * per_byte + tally.slot_fills * machine.dma.descriptor_latency_ps
        slots = (compute + chain + tally.slot_rounds * latency) / 2
        filled = [n for part, n in zip(problem.reads, first, strict=True) if part.place != "resident"]
        ends = sum(filled) * per_byte + (latency if filled else 0)
        return round(max(compute, tally.dram_bytes * per_byte, slots, *ports) + ends)


class _Tally:
    """What one cut moves: DRAM bytes, bytes per bank group (read, written), and fills through slots."""

    def __init__(self, problem: SlabProblem, cut: Cut) -> None:
        self.problem = problem
        self.cut = cut
        self.slabs = tile_count(problem.axes, cut)
        self.first = _first(problem.axes, cut)
        self.whole = {a.name: (0, a.size) for a in problem.axes}
        self.dram_bytes = 0
        self.moved = {p.group: [0.0, 0.0] for p in (*problem.reads, *problem.writes)}
        self.slot_bytes = self.slot_fills = self.slot_rounds = 0

    def _sizes(self, part: Part) -> tuple[int, int]:
        """Return the bytes of the whole operand and of one slab's part."""
        box = part.operand.box
        return volume(box(self.whole)) * part.element_bytes, volume(box(self.first)) * part.element_bytes

    def read(self, index: int, held_whole: bool) -> tuple[int, int]:
        """Count a read operand and return (slots, bytes of one slot)."""
        part = self.problem.reads[index]
        walks = sum(index in reads for reads, _ in self.problem.passes)
        total, slab = self._sizes(part)
        buffered = part.place == "buffered"
        follows = slab < total
        self.moved[part.group][0] += total * walks
        if part.place != "resident":
            times = walks if buffered and not held_whole and follows else 1
            self.dram_bytes += total * times
            self.moved[part.group][1] += total * times
            if buffered and follows and not held_whole:
                self.slot_bytes += total * times
                self.slot_fills += self.slabs * times
                self.slot_rounds = max(self.slot_rounds, self.slabs * times)
        slots = 0 if not buffered else 1 if held_whole or not follows else 2
        return slots, total if held_whole else slab

    def write(self, part: Part) -> tuple[int, int]:
        """Count a written operand and return (slots, bytes of one slot)."""
        total, slab = self._sizes(part)
        follows = _per_slab(part, self.problem.axes, self.cut)
        self.moved[part.group][1] += total
        if part.place != "buffered":
            return 0, slab if follows else total
        self.dram_bytes += total
        self.moved[part.group][0] += total
        return 2 if follows and self.slabs > 1 else 1, slab if follows else total


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
