"""What the processes of one run share: memories, counters per kernel, tracked copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from accelsim.geometry import Box, reshape_box
from accelsim.machine.bookings import Booking, FillTimes, Metered, SlotAccess, SlotKey, Touch, What
from accelsim.machine.layout import At, bank_map
from accelsim.machine.memory import Access, Action, Bank, FlatDram, Port
from accelsim.machine.places import Key, Places
from accelsim.program.fills import Int
from accelsim.program.jobs import Base, TileJob, Transfer
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.nests import Jobs
from accelsim.program.program import Binding, Data, Kernel, Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.sim import Clock, Counter, Sim
from accelsim.trace.copies import CopyKey, Histogram, Reader, RowKey, Sums, TrackedCopy
from accelsim.trace.recorder import Part, Recorder, SpanRow
from accelsim.words import Phase

REMEMBERED = 64  # jobs that a kernel's processes may come back to


class KernelRun:
    """One kernel on its way: its tile jobs and how far its fills, tiles and write-backs have come.

    Tiles, fills, results and write-backs are counted as the processes have seen them: without those that
    were skipped, which ``start`` sums up.
    """

    def __init__(self, sim: Sim, kernel: Kernel, jobs: Jobs, places: Places | None = None) -> None:
        self.kernel = kernel
        self.jobs = jobs
        self.places = places  # None: no bank serves by address
        self.start = Base(0, 0, 0, 0, (0,) * len(kernel.reads), (0,) * len(kernel.writes))
        self.fills = Counter(sim)  # finished, as a prefix in order of issue
        self.consumed = Counter(sim)  # tiles whose leader's operands have been read
        self.tiles = Counter(sim)  # tiles whose results, too, are through
        self.results = Counter(sim)  # complete in their banks
        self.write_backs = Counter(sim)
        self.fill_times: list[FillTimes] = []
        self.parts = {p.op: Part(p.op, p.layer, p.phase) for p in kernel.parts}
        self.slots: dict[SlotKey, TrackedCopy] = {}
        self.histograms: dict[tuple[bool, int], Histogram] = {}
        self.closed: list[dict[tuple[bool, int], dict[RowKey, Sums]]] = []  # histograms up to each turn
        self.backs_done: list[bool] = []
        self._built: dict[int, TileJob] = {}
        self._placed: dict[int, tuple[list[dict[Key, At]], list[int]]] = {}  # of jobs: where, and kinds

    @property
    def part(self) -> Part:
        """The leader's account."""
        return self.parts[self.kernel.leader.op]

    @property
    def count(self) -> int:
        """Tiles, without those that were skipped."""
        return len(self.jobs) - self.start.tiles

    def job(self, index: int) -> TileJob:
        """Return job ``index``, put together when first asked for."""
        job = self._built.get(index)
        if job is None:
            if len(self._built) >= REMEMBERED:
                del self._built[next(iter(self._built))]
            job = self._built[index] = self.jobs.job(index + self.start.tiles, self.start)
        return job

    @cached_property
    def signatures(self) -> Int:
        """Numbers per tile, of all: equal ones mean jobs that differ only in what decides nothing."""
        found = self.jobs.signatures
        return found if self.places is None else self.places.alike_tiles(found)

    def kinds(self, index: int) -> list[int]:
        """Return numbers per fold of job ``index``; folds of equal ones differ in nothing that counts."""
        return self.job(index).kinds if self.places is None else self._place(index)[1]

    def at(self, index: int, place: int, key: Key) -> At | None:
        """Return where what fold ``place`` of job ``index`` moves as ``key`` begins, if that matters."""
        return self._place(index)[0][place].get(key) if self.places is not None else None

    def _place(self, index: int) -> tuple[list[dict[Key, At]], list[int]]:
        assert self.places is not None
        found = self._placed.get(index)
        if found is None:
            if len(self._placed) >= REMEMBERED:
                del self._placed[next(iter(self._placed))]
            job = self.job(index)
            at = self.places.of_folds(job, self.start)
            found = self._placed[index] = at, self.places.alike_folds(job.kinds, at)
        return found

    def next_fill(self, index: int) -> int:
        """Return the first tile from ``index`` on that begins with a fill; ``count`` if none does."""
        return self.jobs.next_fill(index + self.start.tiles) - self.start.tiles

    def next_back(self, index: int) -> int:
        """Return the first tile from ``index`` on whose results are written back; ``count`` if none has."""
        return self.jobs.next_back(index + self.start.tiles) - self.start.tiles

    def turn(self) -> int:
        """Begin anew with the sums over slots and return the number of turns before."""
        self.closed.append({key: h.take() for key, h in self.histograms.items() if h.rows})
        return len(self.closed)

    def repeat_histograms(self, since: int, times: int, keys: set[tuple[bool, int]]) -> None:
        """Add what the slots of ``keys`` have seen since a turn another ``times`` times."""
        for window in self.closed[since:]:
            for key in keys & window.keys():
                self.histograms[key].merge(window[key], times)

    def skip(self, base: Base) -> None:
        """Count from ``base`` further on: the jobs that follow are put together anew."""
        self.start = self.start.plus(base)
        self._built.clear()
        self._placed.clear()


class State:
    """The machine's memories and books during one run."""

    def __init__(
        self,
        sim: Sim,
        machine: Machine,
        program: Program,
        recorder: Recorder,
        skips: bool = True,
        observe: Callable[[Touch], None] | None = None,
    ) -> None:
        self.sim = sim
        self.observe = observe
        self.skips = skips  # whether steady states are
        self.engines: Sequence[Metered] = ()
        self.machine = machine
        self.program = program
        self.recorder = recorder
        self.clock = Clock(machine.clock_hz)
        self.array = array_shape(machine)
        front = machine.interleave, machine.line_bytes, machine.skew
        self.banks = {
            n: Bank(sim, b, machine.granularity_bytes, bank_map(*front, b)) for n, b in machine.banks.items()
        }
        self.buffered = any(b.buffered for b in self.banks.values())
        beats = [b.lanes * b.word_bytes for b in machine.banks.values()]  # less would waste a beat's lanes
        self.dram = FlatDram(sim, machine.dram, max(machine.granularity_bytes, *beats))
        self.flushed = Counter(sim)  # kernels whose results and write-backs are through
        self.copies = [self._track(i) for i in range(len(program.copies))]
        self.journal: list[Booking | SlotAccess] = []  # accesses of copies, for the kernel under way
        self._runs: dict[int, KernelRun] = {}

    def kernel(self, index: int) -> KernelRun:
        """Return the run of kernel ``index``, made when first asked for."""
        run = self._runs.get(index)
        if run is None:
            kernel = self.program.kernels[index]
            vector = self.machine.vector
            jobs = jobs_of(kernel, self.array, vector.cycles, vector.lanes)
            places = None
            if self.machine.interleave != "word":
                places = Places(kernel, jobs, self.program.copies, self.banks)
            run = self._runs[index] = KernelRun(self.sim, kernel, jobs, places)
        return run

    def forget(self, index: int) -> None:
        """Free the jobs of a kernel that is through."""
        run = self._runs.pop(index)
        for histogram in run.histograms.values():
            run.closed.append({(False, 0): histogram.take()})
            self.recorder.histogram.singles += histogram.singles
        for rows in (r for window in run.closed for r in window.values()):
            self.recorder.histogram.merge(rows)

    def meters(self) -> tuple[int, ...]:
        """Return the times and counts of ports and engines, which grow with every period."""
        ports = [v for p in self._ports() for v in (p.busy_ps, p.served)]
        return (*ports, *(v for e in self.engines for v in e.meters()))

    def add_meters(self, added: Sequence[int]) -> None:
        """Add what skipped periods would have added."""
        values = iter(added)
        for port in self._ports():
            port.busy_ps += next(values)
            port.served += next(values)
        for engine in self.engines:
            engine.add_meters(next(values), next(values))

    def _ports(self) -> list[Port]:
        return [*(p for b in self.banks.values() for p in b.ports().values()), self.dram.port]

    def runs(self) -> list[KernelRun]:
        """Return the kernels under way, in order."""
        return [self._runs[i] for i in sorted(self._runs)]

    def _track(self, index: int) -> TrackedCopy:
        copy = self.program.copies[index]
        phase = copy.data.phase
        if copy.origin == "filled":
            phase = self.program.kernels[copy.first].leader.phase
        if copy.carried_from is not None:
            phase = "update"
        key = _key(
            copy.data, copy.region.group, copy.copy_class, copy.parent_class, copy.origin, copy.fate, phase
        )
        whole = tuple((0, s) for s in copy.data.shape)
        tracked = TrackedCopy(self.recorder.histogram, key, whole, copy.data.element_bytes)
        tracked.carried = copy.carried_from is not None
        return tracked

    def settle(self, step_ps: int) -> None:
        """Enter the reads of copies that were carried over the step's boundary."""
        for copy, tracked in zip(self.program.copies, self.copies, strict=True):
            if copy.carried_from is not None and tracked.carried:
                tracked.settle(self.copies[copy.carried_from], step_ps)

    def slot_copy(
        self, run: KernelRun, binding: Binding, index: int, ordinal: int, box: Box, out: bool
    ) -> TrackedCopy:
        """Begin and return the copy of one tile in a buffer slot; its box begins at the origin."""
        origin, fate = ("produced", "written_back") if out else ("filled", "dropped")
        phase = run.parts[binding.op].phase
        key = _key(binding.data, binding.group, binding.copy_class, binding.parent_class, origin, fate, phase)
        histogram = run.histograms.get((out, index))
        if histogram is None:
            histogram = run.histograms[(out, index)] = Histogram(self.recorder.histogram.traced)
        tracked = TrackedCopy(histogram, key, at_origin(box, box), binding.data.element_bytes, box)
        run.slots[(out, index, ordinal)] = tracked
        run.slots.pop((out, index, ordinal - 2 * max(1, len(binding.slots))), None)
        return tracked

    def write_booked(
        self, run: KernelRun, at: tuple[int, int], index: int, which: int, at_ps: int, back: Transfer | None
    ) -> None:
        """Book that fold ``at`` wrote write binding ``index``, its stream ``which``.

        ``back`` empties the slot that it was written into.
        """
        binding, (tile, place) = run.kernel.writes[index], at
        box = run.job(tile).folds[place].writes[which].box
        assert box is not None
        stamp, actual = self.sim.stamp(at_ps), tile + run.start.tiles
        self._tell(run, actual, place, ("writes", which), stamp)
        if binding.copy is not None:
            self.enter(Booking(run, actual, place, ("writes", which), binding, box, stamp, None))
        else:
            assert back is not None
            key, held = (True, index, back.ordinal), at_origin(box, back.box)
            self.enter_slot(SlotAccess(run, actual, place, ("writes", which), key, held, stamp, None))

    def read_booked(
        self, run: KernelRun, at: tuple[int, int], index: int, what: What, box: Box, at_ps: int
    ) -> None:
        """Book that fold ``at`` read ``box`` of read binding ``index``, from its slot if it is buffered."""
        binding, (tile, place) = run.kernel.reads[index], at
        part = run.parts[binding.op]
        reader = Reader(part.phase, part.layer)
        stamp, actual = self.sim.stamp(at_ps), tile + run.start.tiles
        self._tell(run, actual, place, what, stamp)
        if binding.copy is not None:
            self.enter(Booking(run, actual, place, what, binding, box, stamp, reader))
            return
        job = run.job(tile)
        held = at_origin(box, binding.operand.box(job.tile))
        key = (False, index, job.holds[index])
        self.enter_slot(SlotAccess(run, actual, place, what, key, held, stamp, reader))

    def fill_booked(
        self, run: KernelRun, tile: int, which: int, binding: Binding, box: Box, at_ps: int
    ) -> None:
        """Book that fill ``which`` of a tile has come into its copy."""
        stamp, actual = self.sim.stamp(at_ps), tile + run.start.tiles
        self.enter(Booking(run, actual, 0, ("fills", which), binding, box, stamp, None))

    def tell_fill(self, run: KernelRun, tile: int, which: int, at_ps: int) -> None:
        """Tell the observer that fill ``which`` of a tile has come."""
        self._tell(run, tile + run.start.tiles, 0, ("fills", which), self.sim.stamp(at_ps))

    def tell_back(self, run: KernelRun, moved: Transfer, copy: int | None, at_ps: int) -> None:
        """Tell the observer when ``moved`` left its bank, from a slot or from ``copy`` whole."""
        if self.observe is not None:
            which = -1 if copy is None else copy
            self.observe(Touch(run.kernel.index, -1, -1, "backs", which, at_ps, moved))

    def _tell(self, run: KernelRun, tile: int, place: int, what: What, stamp: int) -> None:
        if self.observe is not None:
            self.observe(Touch(run.kernel.index, tile, place, *what, stamp))

    def enter_slot(self, access: SlotAccess) -> None:
        """Enter an access of a slot into its copy's history."""
        copy = access.run.slots[access.key]
        if access.reader is None:
            copy.write(access.box, access.at_ps)
        else:
            copy.read(access.box, access.at_ps, access.reader)
        if self.skips:
            self.journal.append(access)

    def enter(self, booking: Booking) -> None:
        """Enter a booking into its copy's history."""
        binding = booking.binding
        assert binding.copy is not None
        box = reshape_box(booking.box, binding.operand.shape, binding.data.shape)
        copy = self.copies[binding.copy]
        if booking.reader is None:
            copy.write(box, booking.at_ps)
        else:
            copy.read(box, booking.at_ps, booking.reader)
        if self.skips:
            self.journal.append(booking)

    def span(
        self,
        component: str,
        category: str,
        part: Part,
        tensor: str,
        first: Access,
        end_ps: int,
        busy_ps: int,
        count: int,
        nbytes: int,
    ) -> None:
        """Record a stretch of a component's work that began with ``first``."""
        self.recorder.spans.append(
            SpanRow(
                component,
                category,
                "",
                part,
                tensor,
                first.queued_ps + self.sim.skipped_ps,
                first.start_ps + self.sim.skipped_ps,
                end_ps + self.sim.skipped_ps,
                busy_ps,
                count,
                nbytes,
            )
        )

    def count_buffer(
        self, group: str, part: Part, role: str, words: int, buffered: int, forwarded: int
    ) -> None:
        """Count words written into a write buffer, read from it for the cells, and read by others."""
        component = f"spad.{group}.buffer"
        self.recorder.count(component, "write", part, role, buffered)
        self.recorder.count(component, "drain", part, role, words if buffered else 0)
        self.recorder.count(component, "forward", part, role, forwarded)

    def bank_component(self, group: str, action: Action) -> str:
        """Return the component name of a group's port."""
        bank = self.banks[group]
        return f"spad.{group}" if bank.read_port is bank.write_port else f"spad.{group}.{action}"


def at_origin(box: Box, whole: Box) -> Box:
    """Return ``box`` as seen from the first corner of ``whole``."""
    return tuple((low - base, high - base) for (low, high), (base, _) in zip(box, whole, strict=True))


def _key(
    data: Data, group: str, copy_class: str, parent: str, origin: str, fate: str, phase: Phase | None
) -> CopyKey:
    return CopyKey(
        bank_group=group,
        tensor=data.tensor,
        role=data.role,
        copy_class=copy_class,
        parent_class=parent,
        origin=origin,
        fate=fate,
        phase_written=phase,
        layer=data.layer,
    )
