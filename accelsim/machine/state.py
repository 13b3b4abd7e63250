"""What the processes of one run share: memories, counters per kernel, tracked copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from accelsim.geometry import Box, reshape_box
from accelsim.machine.forms import forms_of
from accelsim.machine.kernel_run import Alike, KernelRun, SlotKey, at_origin, copy_key, slot_key
from accelsim.machine.layout import bank_map
from accelsim.machine.memory import Access, Action, FlatDram, Port
from accelsim.machine.places import Places
from accelsim.machine.plugged import bank_of, unsteady
from accelsim.machine.transpose import TransposeUnit
from accelsim.program.jobs import Transfer
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.occupancy import woken
from accelsim.program.program import Binding, Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.sim import Clock, Counter, Sim
from accelsim.trace.accesses import Accesses
from accelsim.trace.copies import Reader, RowKey, Sums, TrackedCopy
from accelsim.trace.recorder import Part, Recorder
from accelsim.trace.spans import Label
from accelsim.words import WRITE_BACK

What = tuple[str, int]  # "load", "beside", "streams", "riders", "writes" of a fold, "fills" of a tile; which


class Booking(NamedTuple):
    """One access of a copy in a bank by a fold of a tile of the kernel; ``reader`` None: a write."""

    run: KernelRun
    tile: int
    place: int
    what: What
    binding: Binding
    box: Box
    at_ps: int
    reader: Reader | None


class SlotAccess(NamedTuple):
    """One access of a buffer slot by a fold; the box begins at its corner; ``reader`` None: a write."""

    run: KernelRun
    tile: int
    place: int
    what: What
    key: SlotKey
    box: Box
    at_ps: int
    reader: Reader | None


class Through(NamedTuple):
    """What a kernel accessed a copy through, for whoever accounts for alike kernels.

    ``kind`` and ``which`` name a binding among the kernel's ``reads`` or ``writes``, or one of the copies
    that it evicts. ``back``: read to be written back; else a read of the kernel's, or a write.
    """

    kernel: int
    kind: str
    which: int
    reads: bool
    back: bool = False


class SlotRows(NamedTuple):
    """What the slots of one binding of a kernel added to the residencies."""

    kernel: int
    out: bool
    which: int
    rows: dict[RowKey, Sums]


class Touch(NamedTuple):
    """One access of a copy in a bank, as it is booked: what an observer of the run is told.

    ``kind`` and ``which`` name it among what fold ``place`` of a tile moves (``load``, ``beside``,
    ``streams``, ``riders``, ``writes``), or among the tile's ``fills``. Of ``backs`` there is no tile:
    ``moved`` is what is written back from a slot; ``which`` is the copy that is evicted where it is -1 else.
    """

    kernel: int
    tile: int
    place: int
    kind: str
    which: int
    at_ps: int
    moved: Transfer | None = None


class Metered(Protocol):
    """What has busy and stalled times that grow with every period."""

    def meters(self) -> tuple[int, int]:
        """Return the busy and the stalled time up to now."""

    def add_meters(self, busy_ps: int, stalled_ps: int) -> None:
        """Add what skipped periods would have added."""


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
        self.engines: Sequence[Metered] = ()
        self.machine = machine
        self.program = program
        self.recorder = recorder
        self.clock = Clock(machine.clock_hz)
        self.array = array_shape(machine)
        front = machine.interleave, machine.line_bytes, machine.skew
        self.banks = {
            n: bank_of(sim, b, machine.granularity_bytes, bank_map(*front, b))
            for n, b in machine.banks.items()
        }
        self.buffered = any(b.buffered for b in self.banks.values())
        self.plain = all(b.plain for b in self.banks.values())
        recorder.unsteady = [why for bank in self.banks.values() if (why := unsteady(bank))]
        self.skips = skips and not recorder.unsteady  # whether steady states are
        self.dram = FlatDram(sim, machine.dram, machine.chunk_bytes)
        self.transpose = TransposeUnit(machine.transpose, machine.clock_hz) if machine.transpose else None
        self.flushed = Counter(sim)  # kernels whose results and write-backs are through
        self.copies = [self._track(i) for i in range(len(program.copies))]
        self.journal: list[Booking | SlotAccess] = []  # accesses of copies, for the kernel under way
        self.entries: Accesses[Through] | None = None  # of the whole run, if blocks of kernels are looked for
        self.slot_rows: list[SlotRows] = []
        self.through: dict[tuple[int, int], int] = {}
        self._runs: dict[int, KernelRun] = {}
        self._shared: dict[int, Alike] = {}  # by the kernels' form

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
            run = self._runs[index] = KernelRun(self.sim, kernel, jobs, places, self.alike(index).numbers)
        return run

    @cached_property
    def forms(self) -> list[int]:
        """The form of every kernel (``forms_of``); empty where kernels are told apart."""
        together = self.skips and self.plain and not self.recorder.histogram.traced
        return forms_of(self.program, self.woken) if together else []

    def alike(self, index: int) -> Alike:
        """Return what kernels of the form of kernel ``index`` share."""
        return self._shared.setdefault(self.forms[index], Alike()) if self.forms else Alike()

    @cached_property
    def _last_of_form(self) -> dict[int, int]:
        return {form: index for index, form in enumerate(self.forms)}

    def forget(self, index: int) -> None:
        """Free the jobs of a kernel that is through, and what no kernel to come shares."""
        for form in [f for f in self._shared if self._last_of_form[f] <= index]:
            del self._shared[form]
        run = self._runs.pop(index)
        self.collect(run)
        for histogram in run.histograms.values():
            self.recorder.histogram.singles += histogram.singles

    def woken(self, index: int) -> tuple[str, ...]:
        """Return the bank groups of which drowsy words wake when kernel ``index`` begins."""
        drowsy = {name for name, b in self.banks.items() if b.spec.power_gating == "drowsy"}
        return tuple(g for g in woken(self.program, index) if g in drowsy) if drowsy else ()

    def asked(self, run: KernelRun, which: int) -> None:
        """Note which kernels were through when what ``which`` of a kernel waits for was first looked at.

        As seen from the kernel, in ``through``; see ``forms.needs_of``.
        """
        index = run.kernel.index
        self.through.setdefault((index, which), self.flushed.value - index)

    def collect(self, run: KernelRun) -> None:
        """Enter what the slots of a kernel have seen up to now into the residencies."""
        for (out, which), rows in run.rows(0, run.turn()).items():
            self.recorder.histogram.merge(rows)
            if self.entries is not None:
                self.slot_rows.append(SlotRows(run.kernel.index, out, which, rows))
        run.closed.clear()

    def rename(self, by: int) -> None:
        """Let the kernels under way stand for those ``by`` further on."""
        runs, self._runs = self.runs(), {}
        for run in runs:
            run.rename(self.program.kernels[run.kernel.index + by])
            self._runs[run.kernel.index] = run

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
        banks = [p for b in self.banks.values() for p in b.ports().values()]
        return [*banks, self.dram.port, *([self.transpose.port] if self.transpose else [])]

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
        key = copy_key(
            copy.data, copy.region.group, copy.copy_class, copy.parent_class, copy.origin, copy.fate, phase
        )
        whole = tuple((0, s) for s in copy.data.shape)
        tracked = TrackedCopy(self.recorder.histogram, key, whole, copy.data.unit)
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
        key = slot_key(run.kernel, binding, out)
        histogram = run.histogram((out, index), self.recorder.histogram.traced)
        tracked = TrackedCopy(histogram, key, at_origin(box, box), binding.data.unit, box)
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
        if self.entries is not None:
            kind, which = booking.run.where[id(binding)]
            reads = booking.reader is not None
            self.entries.add(Through(booking.run.kernel.index, kind, which, reads), box, booking.at_ps)

    def evicted(self, run: KernelRun, which: int, at_ps: int) -> None:
        """Book that the copy ``which`` of those that the kernel evicts was read whole, to be written back."""
        copy = self.copies[run.kernel.write_back[which]]
        copy.read_whole(at_ps, Reader(run.part.phase, WRITE_BACK))
        if self.entries is not None:
            self.entries.add(Through(run.kernel.index, "evicted", which, True, True), copy.box, at_ps)

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
        skipped = self.sim.skipped_ps
        self.recorder.spans.add(
            Label(component, category, "", part, tensor),
            first.queued_ps + skipped,
            first.start_ps + skipped,
            end_ps + skipped,
            busy_ps,
            count,
            nbytes,
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
