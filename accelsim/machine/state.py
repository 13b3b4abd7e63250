"""What the processes of one run share: memories, counters per kernel, tracked copies."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.geometry import Box, reshape_box
from accelsim.machine.memory import Access, Action, Bank, FlatDram
from accelsim.program.jobs import TileJob
from accelsim.program.program import Binding, Data, Kernel, Program
from accelsim.program.tiles import tile_jobs
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.sim import Clock, Counter, Sim
from accelsim.trace.copies import CopyKey, Reader, TrackedCopy
from accelsim.trace.recorder import Part, Recorder, SpanRow
from accelsim.words import Phase, StallReason


@dataclass(slots=True)
class FillTimes:
    """When a fill was issued, its last data arrived from DRAM, and what its last bank write waited for."""

    issued_ps: int
    arrived_ps: int = 0
    done_ps: int = 0
    cause: StallReason | None = None


class KernelRun:
    """One kernel on its way: its tile jobs and how far its fills, tiles and write-backs have come."""

    def __init__(self, sim: Sim, kernel: Kernel, jobs: list[TileJob]) -> None:
        self.kernel = kernel
        self.jobs = jobs
        self.fills = Counter(sim)  # finished, as a prefix in order of issue
        self.consumed = Counter(sim)  # tiles whose leader's operands have been read
        self.tiles = Counter(sim)  # tiles whose results, too, are through
        self.results = Counter(sim)  # complete in their banks
        self.write_backs = Counter(sim)
        self.fill_times: list[FillTimes] = []
        self.parts = {p.op: Part(p.op, p.layer, p.phase) for p in kernel.parts}
        self.slots: dict[tuple[bool, int, int], TrackedCopy] = {}
        self.backs_done: list[bool] = []

    @property
    def part(self) -> Part:
        """The leader's account."""
        return self.parts[self.kernel.leader.op]


class State:
    """The machine's memories and books during one run."""

    def __init__(self, sim: Sim, machine: Machine, program: Program, recorder: Recorder) -> None:
        self.sim = sim
        self.machine = machine
        self.program = program
        self.recorder = recorder
        self.clock = Clock(machine.clock_hz)
        self.array = array_shape(machine)
        self.banks = {n: Bank(sim, b, machine.granularity_bytes) for n, b in machine.banks.items()}
        beats = [b.lanes * b.word_bytes for b in machine.banks.values()]  # less would waste a beat's lanes
        self.dram = FlatDram(sim, machine.dram, max(machine.granularity_bytes, *beats))
        self.flushed = Counter(sim)  # kernels whose results and write-backs are through
        self.copies = [self._track(i) for i in range(len(program.copies))]
        self._runs: dict[int, KernelRun] = {}

    def kernel(self, index: int) -> KernelRun:
        """Return the run of kernel ``index``, made when first asked for."""
        run = self._runs.get(index)
        if run is None:
            kernel = self.program.kernels[index]
            jobs = list(
                tile_jobs(kernel, self.array, dict(self.machine.vector.cycles), self.machine.vector.lanes)
            )
            run = self._runs[index] = KernelRun(self.sim, kernel, jobs)
        return run

    def forget(self, index: int) -> None:
        """Free the jobs of a kernel that is through."""
        del self._runs[index]

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
        self, run: KernelRun, binding: Binding, index: int, slot: int, box: Box, out: bool
    ) -> TrackedCopy:
        """Begin and return the copy of one tile in a buffer slot."""
        origin, fate = ("produced", "written_back") if out else ("filled", "dropped")
        phase = run.parts[binding.op].phase
        key = _key(binding.data, binding.group, binding.copy_class, binding.parent_class, origin, fate, phase)
        tracked = TrackedCopy(self.recorder.histogram, key, box, binding.data.element_bytes)
        run.slots[(out, index, slot)] = tracked
        return tracked

    def write_booked(self, run: KernelRun, index: int, slot: int, box: Box, at_ps: int) -> None:
        """Book that ``box`` of write binding ``index`` was written, into ``slot`` if it is buffered."""
        binding = run.kernel.writes[index]
        if binding.copy is not None:
            self.copies[binding.copy].write(_canonical(binding, box), at_ps)
        else:
            run.slots[(True, index, slot)].write(box, at_ps)

    def read_booked(self, run: KernelRun, index: int, slot: int, box: Box, at_ps: int) -> None:
        """Book that ``box`` of read binding ``index`` was read, from ``slot`` if it is buffered."""
        binding = run.kernel.reads[index]
        part = run.parts[binding.op]
        reader = Reader(part.phase, part.layer)
        if binding.copy is not None:
            self.copies[binding.copy].read(_canonical(binding, box), at_ps, reader)
        else:
            run.slots[(False, index, slot)].read(box, at_ps, reader)

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
                first.queued_ps,
                first.start_ps,
                end_ps,
                busy_ps,
                count,
                nbytes,
            )
        )

    def bank_component(self, group: str, action: Action) -> str:
        """Return the component name of a group's port."""
        bank = self.banks[group]
        return f"spad.{group}" if bank.read_port is bank.write_port else f"spad.{group}.{action}"


def _canonical(binding: Binding, box: Box) -> Box:
    return reshape_box(box, binding.operand.shape, binding.data.shape)


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
