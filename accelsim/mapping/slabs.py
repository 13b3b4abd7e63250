"""The slabs of a vector kernel: where its nest is cut, and which operands are held whole meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from operator import le

from accelsim.geometry import ceil_div
from accelsim.mapping.ports import port_ps_of
from accelsim.mapping.problem import Budget, Where
from accelsim.mapping.slab_nest import Nest, Slab, SlabProblem
from accelsim.mapping.traffic import Traffic
from accelsim.program.program import Cut
from accelsim.resolve.machine import Machine


@dataclass(frozen=True, slots=True)
class SlabChoice:
    """The cut, the reads held whole for the kernel, slots per operand, and the expected cost."""

    cut: Cut
    keep: tuple[int, ...]
    read_slots: tuple[int, ...]
    write_slots: tuple[int, ...]
    write_bytes: tuple[int, ...]  # of one slot
    time_ps: int
    dram_bytes: int
    traffic: Traffic


class Slabs:
    """The slabs of one problem, its operands in their places, in the order of trial; costed when they fit."""

    def __init__(self, nest: Nest, reads: tuple[Where, ...], writes: tuple[Where, ...]) -> None:
        self.nest = nest
        self.reads = reads
        self.writes = writes
        often = tuple(i for i, at in enumerate(reads) if at.place == "buffered" and nest.walks[i] > 1)
        keeps: tuple[tuple[int, ...], ...] = (
            (often, ()) if often else ((),)
        )  # first holding whole what several passes read
        imposed = nest.problem.imposed
        if imposed is not None and imposed.hold is not None:
            keeps = (tuple(i for i in sorted(imposed.hold) if reads[i].place == "buffered"),)
        self.trials = [(i, keep) for keep in keeps for i in range(nest.first, len(nest.cuts))]
        self.held: list[_Held] = []  # of the trials so far
        self.costed: dict[int, SlabChoice] = {}  # by trial
        self.known: dict[Budget, SlabChoice | None] = {}


@dataclass(frozen=True, slots=True)
class _Held:
    """Slots of every operand, reads first, the bytes of one, and what they take per group."""

    slots: list[int]
    sizes: list[int]
    need: list[int]


class SlabSearch:
    """Chooses slabs on one machine; answers are remembered."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.number = {g: i for i, g in enumerate(machine.banks)}
        self.words = {g: b.word_bytes for g, b in machine.banks.items()}
        self._nests: dict[SlabProblem, Nest] = {}
        self._known: dict[tuple[int, tuple[Where, ...], tuple[Where, ...]], Slabs] = {}

    def nest(self, problem: SlabProblem) -> Nest:
        """Return what holds wherever the operands of a problem are."""
        nest = self._nests.get(problem)
        if nest is None:
            nest = self._nests[problem] = Nest(problem)
        return nest

    def slabs(self, nest: Nest, reads: tuple[Where, ...], writes: tuple[Where, ...]) -> Slabs:
        """Return the trials of a problem."""
        key = (id(nest), reads, writes)
        slabs = self._known.get(key)
        if slabs is None:
            slabs = self._known[key] = Slabs(nest, reads, writes)
        return slabs

    def best(self, slabs: Slabs, budget: Budget) -> SlabChoice | None:
        """Return the largest slab of at most ``SLAB_BYTES``, as far as cuts go, that fits the budget."""
        if budget not in slabs.known:
            slabs.known[budget] = self._first_fit(slabs, budget)
        return slabs.known[budget]

    def least_need(self, slabs: Slabs) -> dict[str, float]:
        """Return the bytes per group that the last trial needs, the finest."""
        number, keep = slabs.trials[-1]
        held = self._held(slabs, slabs.nest.slab(number), keep)
        return {group: float(held.need[i]) for group, i in self.number.items()}

    def _first_fit(self, slabs: Slabs, room: Budget) -> SlabChoice | None:
        for i, (number, keep) in enumerate(slabs.trials):
            if i == len(slabs.held):
                slabs.held.append(self._held(slabs, slabs.nest.slab(number), keep))
            held = slabs.held[i]
            if all(map(le, held.need, room)):
                if i not in slabs.costed:
                    slabs.costed[i] = self._cost(slabs, slabs.nest.slab(number), keep, held)
                return slabs.costed[i]
        return None

    def _held(self, slabs: Slabs, slab: Slab, keep: tuple[int, ...]) -> _Held:
        """Return the slots of every operand and the bytes of one, and what they need per group."""
        nest = slabs.nest
        slots, sizes = [], []
        for i, (at, total, part) in enumerate(zip(slabs.reads, nest.reads, slab.reads, strict=True)):
            whole = i in keep
            slots.append(0 if at.place != "buffered" else 1 if whole or part >= total else 2)
            sizes.append(total if whole else part)
        written = zip(slabs.writes, nest.writes, slab.writes, slab.follows, strict=True)
        for at, total, part, follows in written:
            slots.append(0 if at.place != "buffered" else 2 if follows and slab.count > 1 else 1)
            sizes.append(part if follows else total)
        need = [0] * len(self.number)
        for at, count, nbytes in zip((*slabs.reads, *slabs.writes), slots, sizes, strict=True):
            if count:
                word = self.words[at.group]
                need[self.number[at.group]] += count * ceil_div(nbytes, word) * word
        return _Held(slots, sizes, need)

    def _cost(self, slabs: Slabs, slab: Slab, keep: tuple[int, ...], held: _Held) -> SlabChoice:
        tally = _Tally(slabs, slab, keep)
        reads = len(slabs.reads)
        return SlabChoice(
            slab.cut,
            keep,
            read_slots=tuple(held.slots[:reads]),
            write_slots=tuple(held.slots[reads:]),
            write_bytes=tuple(held.sizes[reads:]),
            time_ps=self._time(slabs, tally, held.sizes[:reads]),
            dram_bytes=tally.dram_bytes,
            traffic=tally.traffic,
        )

    def compute_ps(self, nest: Nest) -> float:
        """Return the time that the vector unit takes with everything at hand."""
        machine = self.machine
        return nest.points * nest.problem.cycles / machine.vector.lanes * 1e12 / machine.clock_hz

    def _time(self, slabs: Slabs, tally: _Tally, first: list[int]) -> int:
        """Return the expected time; see ``tile_space.Space`` for what overlaps."""
        machine, compute = self.machine, self.compute_ps(slabs.nest)
        per_byte = 1e12 / machine.dram.bandwidth_bytes_per_s
        ports = [port_ps_of(machine.banks[g], r, w) for g, (r, w) in tally.moved.items()]
        latency = machine.dram.latency_ps
        chain = tally.slot_bytes * per_byte + tally.slot_fills * machine.dma.descriptor_latency_ps
        slots = (compute + chain + tally.slot_rounds * latency) / 2
        filled = [n for at, n in zip(slabs.reads, first, strict=True) if at.place != "resident"]
        ends = sum(filled) * per_byte + (latency if filled else 0)
        return round(max(compute, tally.dram_bytes * per_byte, slots, *ports) + ends)


class _Tally:
    """What one cut moves: DRAM bytes, bytes per bank group (read, written), and fills through slots."""

    def __init__(self, slabs: Slabs, slab: Slab, keep: tuple[int, ...]) -> None:
        self.dram_bytes = 0
        self.traffic = Traffic()
        self.moved = {at.group: [0.0, 0.0] for at in (*slabs.reads, *slabs.writes)}
        self.slot_bytes = self.slot_fills = self.slot_rounds = 0
        nest = slabs.nest
        reads = zip(slabs.reads, nest.walks, nest.reads, slab.reads, strict=True)
        for i, (at, walks, total, part) in enumerate(reads):
            again = at.place == "buffered" and i not in keep and part < total  # tile by tile, in every walk
            self._read(i, at, walks, total, slab.count if again else 0)
        for i, (at, total) in enumerate(zip(slabs.writes, nest.writes, strict=True), start=len(slabs.reads)):
            self.moved[at.group][1] += total
            self.traffic.write(at.group, i, total)
            if at.place == "buffered":
                self.dram_bytes += total
                self.moved[at.group][0] += total
                self.traffic.drain(at.group, total, total)

    def _read(self, number: int, at: Where, walks: int, total: int, fills: int) -> None:
        """Count a read operand that ``walks`` go over, each with ``fills`` through slots; 0: filled once."""
        self.moved[at.group][0] += total * walks
        self.traffic.read(at.group, total * walks)
        if at.place == "resident":
            return
        times = walks if fills else 1
        self.dram_bytes += total * times
        self.moved[at.group][1] += total * times
        self.traffic.fill(at.group, number, total * times, total * times)
        if fills:
            self.slot_bytes += total * times
            self.slot_fills += fills * times
            self.slot_rounds = max(self.slot_rounds, fills * times)
