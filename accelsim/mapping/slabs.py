"""The slabs of a vector kernel: where its nest is cut, and which operands are held whole meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from operator import le

from accelsim.geometry import ceil_div
from accelsim.mapping.contention import Moved, behind_writes
from accelsim.mapping.ports import port_ps_of, read_ps_per_byte
from accelsim.mapping.problem import Budget, Where
from accelsim.mapping.slab_nest import Nest, Slab, compute_ps
from accelsim.mapping.traffic import Traffic
from accelsim.mapping.ways import WORTH, Fetch, Served, choices, streams
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
    way: int = 0  # of ``ways.choices``: how streams across their grain are served


class Slabs:
    """The slabs of one problem, its operands in their places, in the order of trial; costed when they fit."""

    def __init__(
        self, machine: Machine, nest: Nest, reads: tuple[Where, ...], writes: tuple[Where, ...]
    ) -> None:
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
        pieces = (*nest.problem.reads, *nest.problem.writes)
        self.streams = streams(nest.problem.runs, pieces, [at.group for at in (*reads, *writes)])
        self.ways = choices(machine, self.streams)
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
        self._known: dict[tuple[int, tuple[Where, ...], tuple[Where, ...]], Slabs] = {}

    def slabs(self, nest: Nest, reads: tuple[Where, ...], writes: tuple[Where, ...]) -> Slabs:
        """Return the trials of a problem."""
        key = (id(nest), reads, writes)
        slabs = self._known.get(key)
        if slabs is None:
            slabs = self._known[key] = Slabs(self.machine, nest, reads, writes)
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
            for group, own in at.divided(nbytes) if count else ():
                word = self.words[group]
                need[self.number[group]] += count * ceil_div(own, word) * word
        return _Held(slots, sizes, need)

    def _cost(self, slabs: Slabs, slab: Slab, keep: tuple[int, ...], held: _Held) -> SlabChoice:
        tallies = [_Tally(self.machine, slabs, slab, keep, served) for served in slabs.ways]
        times = [self._time(slabs, tally, held.sizes[: len(slabs.reads)]) for tally in tallies]
        way = 0
        for number, time in enumerate(times):
            way = number if time < times[way] * (1 - WORTH) else way
        tally, reads = tallies[way], len(slabs.reads)
        return SlabChoice(
            slab.cut,
            keep,
            read_slots=tuple(held.slots[:reads]),
            write_slots=tuple(held.slots[reads:]),
            write_bytes=tuple(held.sizes[reads:]),
            time_ps=times[way],
            dram_bytes=tally.dram_bytes,
            traffic=tally.traffic,
            way=way,
        )

    def _time(self, slabs: Slabs, tally: _Tally, first: list[int]) -> int:
        """Return the expected time; see ``tile_space.Space`` for what overlaps."""
        machine, compute = self.machine, compute_ps(slabs.nest, self.machine)
        per_byte = 1e12 / machine.dram.bandwidth_bytes_per_s
        ports = [port_ps_of(machine.banks[g], r, w) for g, (r, w) in tally.moved.items()]
        latency = machine.dram.latency_ps
        chain = tally.slot_bytes * per_byte + tally.slot_fills * machine.dma.descriptor_latency_ps
        slots = (compute + chain + tally.slot_rounds * latency) / 2
        leaving = tally.left_bytes * per_byte + tally.left_slabs * machine.dma.descriptor_latency_ps
        left = (compute + leaving + tally.left_rounds * latency) / 2
        filled = [n for at, n in zip(slabs.reads, first, strict=True) if at.place != "resident"]
        first_fill = sum(filled) * per_byte  # which nothing else overlaps, but DRAM is busy with
        alone = tally.read_bytes * read_ps_per_byte(machine), self._turned_ps(tally)
        results: list[Moved] = [(at, n, 1) for at, n in zip(slabs.writes, slabs.nest.writes, strict=True)]
        held = behind_writes(machine, compute, slabs.reads, tally.fills, results, tally.streamed)
        behind = max(compute + float(held), slots, left, *alone, *ports) + first_fill
        return round(max(tally.dram_bytes * per_byte, behind) + (latency if filled else 0))

    def _turned_ps(self, tally: _Tally) -> float:
        """Return the time that the transpose unit works."""
        machine, unit = self.machine, self.machine.transpose
        turned = float(tally.traffic.turned)
        return turned / unit.rate_bytes * 1e12 / machine.clock_hz if unit is not None else 0.0


class _Tally:
    """What one cut moves: DRAM bytes, bytes per bank group (read, written), and fills through slots."""

    def __init__(
        self, machine: Machine, slabs: Slabs, slab: Slab, keep: tuple[int, ...], served: Served
    ) -> None:
        self.dram_bytes = self.read_bytes = 0
        self.traffic = Traffic()
        self.moved = {g: [0.0, 0.0] for at in (*slabs.reads, *slabs.writes) for g, _ in at.shares()}
        self.slot_bytes = self.slot_fills = self.slot_rounds = 0
        self.left_bytes = self.left_slabs = self.left_rounds = 0  # of results that leave slab by slab
        self.fills: list[Moved] = []
        self.streamed: list[int] = []  # bytes of every read operand
        nest = slabs.nest
        reads = zip(slabs.reads, nest.walks, nest.reads, slab.reads, strict=True)
        for i, (at, walks, total, part) in enumerate(reads):
            again = at.place == "buffered" and i not in keep and part < total  # tile by tile, in every walk
            self._stream(at, total * walks, served[i], slabs.streams[i].element_bytes)
            self.streamed.append(total * walks)
            self._fill(i, at, walks, total, slab.count if again else 0)
            if at.place != "resident":
                self.fills.append((at, total * (walks if again else 1), slab.count * (walks if again else 1)))
        writes = zip(slabs.writes, nest.writes, served[len(nest.reads) :], strict=True)
        for i, (at, total, fetch) in enumerate(writes, start=len(slabs.reads)):
            self._drain(machine, i, at, total, fetch, slabs.streams[i].element_bytes)
            if at.place == "buffered":
                self.dram_bytes += total
                self._leave(at, total, slab.count if slab.follows[i - len(nest.reads)] else 1)

    def _leave(self, at: Where, total: int, parts: int) -> None:
        """Count what leaves through two slots, part by part."""
        if parts > 1:
            self.left_bytes += total
            self.left_slabs += parts * len(at.shares())
            self.left_rounds = max(self.left_rounds, parts)

    def _stream(self, at: Where, nbytes: int, fetch: Fetch, element_bytes: int) -> None:
        """Count what the unit reads of an operand."""
        factor = fetch.factor(element_bytes)
        for group, share in at.shares():
            self.moved[group][0] += nbytes * share * factor
            self.traffic.read(group, nbytes * share, nbytes * share * factor)
        if fetch.way == "unit":
            self.traffic.turned += nbytes

    def _drain(
        self, machine: Machine, number: int, at: Where, total: int, fetch: Fetch, element_bytes: int
    ) -> None:
        """Count what the unit writes of an operand, and what leaves its buffer."""
        factor = fetch.factor(element_bytes)
        for group, share in at.shares():
            self.moved[group][1] += total * share * factor
            self.traffic.write(group, number, total * share, total * share * factor)
            if at.place == "buffered":
                self.moved[group][0] += total * share
                self.traffic.drain(group, total * share, total * share)
            if fetch.reads_first(machine.banks[group], element_bytes):
                self.moved[group][0] += total * share * factor
                self.traffic.read_first(group, total * share * factor)
        if fetch.way == "unit":
            self.traffic.turned += total

    def _fill(self, number: int, at: Where, walks: int, total: int, fills: int) -> None:
        """Count the fills of a read operand: in every walk ``fills`` through slots; 0: filled once."""
        if at.place == "resident":
            return
        times = walks if fills else 1
        self.dram_bytes += total * times
        self.read_bytes += total * times
        for group, share in at.shares():
            nbytes = total * times * share
            self.moved[group][1] += nbytes
            self.traffic.fill(group, number, nbytes, nbytes)
        if fills:
            self.slot_bytes += total * times
            self.slot_fills += fills * times * len(at.shares())
            self.slot_rounds = max(self.slot_rounds, fills * times)
