"""The DMA: one engine fills banks from DRAM, one writes results back; descriptors are served in order."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from accelsim.geometry import FULL, Operand, ceil_div, reshape_box
from accelsim.machine.memory import Access, Action
from accelsim.machine.state import FillTimes, KernelRun, State
from accelsim.program.jobs import Transfer
from accelsim.program.program import Binding
from accelsim.program.tiles import transfer
from accelsim.sim import Steps
from accelsim.trace.copies import Reader
from accelsim.trace.recorder import Part

WRITE_BACK_READER = "dma"  # reader_layer of reads that take a copy to DRAM


class _Engine:
    """What both directions share: a limit on transfers in flight, and the engine's own times."""

    name: str

    def __init__(self, state: State) -> None:
        self.state = state
        self.in_flight = 0
        self._landed: simpy.Event | None = None
        self._since = 0
        self._busy_since = -1

    def _slot(self) -> Steps:
        """Wait until one more chunk may be in flight."""
        while self.in_flight >= self.state.machine.dma.outstanding:
            self._landed = self.state.sim.env.event()
            yield self._landed
        self.in_flight += 1
        if self._busy_since < 0:
            self._busy_since = self.state.sim.now

    def _land(self) -> None:
        """Note that a chunk is through."""
        self.in_flight -= 1
        if self.in_flight == 0:
            times = self.state.recorder.component(self.name)
            times.busy_ps += self.state.sim.now - self._busy_since
            self._busy_since = -1
        if self._landed is not None and not self._landed.triggered:
            self._landed.succeed()

    def _at(self, ps: int, then: Callable[[], None]) -> None:
        """Call ``then`` at the instant ``ps``."""
        event = self.state.sim.at(ps)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: then())

    def _wait(self, event: simpy.Event, what: str, part: Part) -> Steps:
        """Hold a descriptor back until ``event``; time with nothing in flight is a stall."""
        sim = self.state.sim
        sim.waiting[self.name] = what
        start, busy_before = sim.now, self._busy(sim.now)
        yield event
        stalled = sim.now - start - (self._busy(sim.now) - busy_before)
        if stalled > 0:
            self.state.recorder.component_stall(self.name, "dependency", part, sim.now - stalled, sim.now)

    def _busy(self, now: int) -> int:
        running = now - self._busy_since if self._busy_since >= 0 else 0
        return self.state.recorder.component(self.name).busy_ps + running

    def _count(self, part: Part, role: str, action: str, dram_bytes: int) -> None:
        recorder = self.state.recorder
        recorder.count("dma", action, part, role, dram_bytes * 8)
        recorder.count("dram", action, part, role, dram_bytes * 8)
        recorder.dram(action, part, dram_bytes)

    def _bank_books(
        self, run: KernelRun, binding: Binding, action: Action, nbytes: int, access: Access
    ) -> None:
        """Enter one access of a bank: its words, and its span."""
        state, part = self.state, run.parts[binding.op]
        bank = state.banks[binding.group]
        words = bank.words(nbytes)
        state.recorder.count(f"spad.{binding.group}", action, part, binding.data.role, words)
        component = state.bank_component(binding.group, action)
        busy = bank.hold_ps(action, nbytes)
        end = max(access.done_ps, access.start_ps + busy)
        state.span(component, action, part, binding.data.tensor, access, end, busy, words, nbytes)

    def _dram_span(
        self, run: KernelRun, binding: Binding, action: Action, nbytes: int, access: Access
    ) -> None:
        """Record the time in which DRAM's channel serves one chunk."""
        latency = self.state.machine.dram.latency_ps if action == "read" else 0
        end = access.done_ps - latency
        part = run.parts[binding.op]
        busy = end - access.start_ps
        self.state.span("dram", action, part, binding.data.tensor, access, end, busy, 1, nbytes)

    def _dram_bytes(self, job: Transfer) -> int:
        burst = self.state.machine.dma.burst_bytes
        return job.runs * ceil_div(job.run_bytes, burst) * burst

    def _chunks(self, job: Transfer) -> list[tuple[int, int]]:
        """Return (DRAM bytes, bank bytes) of every chunk of a transfer."""
        total, chunk = self._dram_bytes(job), self.state.dram.chunk_bytes
        count = ceil_div(total, chunk)
        pairs, dram_done, bank_done = [], 0, 0
        for i in range(count):
            dram_to, bank_to = min(total, (i + 1) * chunk), job.nbytes * (i + 1) // count
            pairs.append((dram_to - dram_done, bank_to - bank_done))
            dram_done, bank_done = dram_to, bank_to
        return pairs


class FillEngine(_Engine):
    """DRAM to banks."""

    name = "dma.read"

    def run(self) -> Steps:
        """Serve the fills of all kernels in order."""
        state = self.state
        for index in range(len(state.program.kernels)):
            if not any(b.place != "resident" for b in state.program.kernels[index].reads):
                continue
            run = state.kernel(index)
            for job in run.jobs:
                for fill in job.fills:
                    yield from self._ready(run, fill)
                    yield from self._fill(run, fill)

    def _ready(self, run: KernelRun, fill: Transfer) -> Steps:
        binding = run.kernel.reads[fill.binding]
        part = run.parts[binding.op]
        need = max(binding.free_after, binding.ready_after) + 1
        if self.state.flushed.value < need:
            what = f"kernel {need - 1} to be written back before {binding.data.tensor} is filled"
            yield from self._wait(self.state.flushed.reached(need), what, part)
        rides = fill.binding in run.kernel.rider_reads  # read as results drain
        tiles = run.tiles if rides else run.consumed
        if tiles.value <= fill.wait_tile:
            what = f"tile {fill.wait_tile} of {run.kernel.leader.op} to free a buffer"
            yield from self._wait(tiles.reached(fill.wait_tile + 1), what, part)

    def _fill(self, run: KernelRun, fill: Transfer) -> Steps:
        state = self.state
        times = FillTimes(state.sim.now)
        number = len(run.fill_times)
        run.fill_times.append(times)
        chunks = self._chunks(fill)
        left = [len(chunks)]
        part = run.parts[run.kernel.reads[fill.binding].op]
        self._count(part, run.kernel.reads[fill.binding].data.role, "read", self._dram_bytes(fill))
        yield state.sim.delay(state.machine.dma.descriptor_latency_ps)
        for dram_bytes, bank_bytes in chunks:
            yield from self._slot()
            access = state.dram.access("read", dram_bytes)
            self._dram_span(run, run.kernel.reads[fill.binding], "read", dram_bytes, access)
            self._at(access.done_ps, self._arrive(run, fill, number, bank_bytes, left))

    def _arrive(
        self, run: KernelRun, fill: Transfer, number: int, nbytes: int, left: list[int]
    ) -> Callable[[], None]:
        """Return what happens when a chunk has come from DRAM: it is written into its bank."""
        binding = run.kernel.reads[fill.binding]
        bank = self.state.banks[binding.group]

        def arrived() -> None:
            times = run.fill_times[number]
            times.arrived_ps = self.state.sim.now
            if nbytes == 0:
                written = Access(times.arrived_ps, times.arrived_ps, times.arrived_ps, None)
            else:
                written = bank.access("write", nbytes)
                self._bank_books(run, binding, "write", nbytes, written)
            times.cause = written.cause
            self._at(written.done_ps, landed)

        def landed() -> None:
            self._land()
            left[0] -= 1
            if left[0] == 0:
                self._filled(run, fill, number)

        return arrived

    def _filled(self, run: KernelRun, fill: Transfer, number: int) -> None:
        state, now = self.state, self.state.sim.now
        times = run.fill_times[number]
        times.done_ps = now
        binding = run.kernel.reads[fill.binding]
        if binding.copy is not None:
            box = reshape_box(fill.box, binding.operand.shape, binding.data.shape)
            state.copies[binding.copy].write(box, now)
        else:
            state.slot_copy(run, binding, fill.binding, fill.slot, fill.box, out=False).write(fill.box, now)
        access = Access(times.issued_ps, times.issued_ps, now, None)
        part = run.parts[binding.op]
        state.span(
            self.name, "fill", part, binding.data.tensor, access, now, now - times.issued_ps, 1, fill.nbytes
        )
        done = run.fills.value
        while done < len(run.fill_times) and run.fill_times[done].done_ps:
            done += 1
        run.fills.advance(done)


class WriteBackEngine(_Engine):
    """Banks to DRAM. It also says which kernels are through."""

    name = "dma.write"

    def run(self) -> Steps:
        """Serve the write-backs of all kernels in order."""
        state = self.state
        for index in range(len(state.program.kernels)):
            run = state.kernel(index)
            for job in run.jobs:
                for result in job.results:
                    if result.write_backs:
                        state.sim.waiting[self.name] = f"result {result.number} of {run.kernel.leader.op}"
                        yield run.results.reached(result.number + 1)
                    for back in result.write_backs:
                        yield from self._write_back(run, run.kernel.writes[back.binding], back)
            state.sim.waiting[self.name] = f"{run.kernel.leader.op} to end"
            yield run.tiles.reached(len(run.jobs))
            for number in run.kernel.write_back:
                yield from self._evict(run, number)
            yield from self._drain()
            state.flushed.advance(index + 1)
            state.forget(index)

    def _drain(self) -> Steps:
        while self.in_flight:
            self._landed = self.state.sim.env.event()
            yield self._landed

    def _evict(self, run: KernelRun, number: int) -> Steps:
        """Write a whole copy back, as its bytes are needed for something else."""
        copy = self.state.program.copies[number]
        whole = Operand(copy.data.tensor, copy.data.shape, (FULL,) * len(copy.data.shape))
        binding = Binding(
            operand=whole,
            data=copy.data,
            op=run.kernel.leader.op,
            place="resident",
            group=copy.region.group,
            copy=number,
        )
        box = tuple((0, s) for s in copy.data.shape)
        yield from self._write_back(run, binding, transfer(binding, -1, box, -1))

    def _write_back(self, run: KernelRun, binding: Binding, job: Transfer) -> Steps:
        state = self.state
        part = run.parts[binding.op]
        issued = state.sim.now
        number = len(run.backs_done)
        run.backs_done.append(False)
        chunks = self._chunks(job)
        left = [len(chunks)]
        self._count(part, binding.data.role, "write", self._dram_bytes(job))
        yield state.sim.delay(state.machine.dma.descriptor_latency_ps)
        bank = state.banks[binding.group]
        for dram_bytes, bank_bytes in chunks:
            yield from self._slot()
            now = state.sim.now
            read = bank.access("read", bank_bytes) if bank_bytes else Access(now, now, now, None)
            if bank_bytes:
                self._bank_books(run, binding, "read", bank_bytes, read)
            mark = (issued, number, read.done_ps)
            self._at(read.done_ps, self._leave(run, binding, job, dram_bytes, left, mark))

    def _leave(
        self,
        run: KernelRun,
        binding: Binding,
        job: Transfer,
        nbytes: int,
        left: list[int],
        mark: tuple[int, int, int],
    ) -> Callable[[], None]:
        """Return what happens when a chunk has left its bank: DRAM takes it."""

        def left_bank() -> None:
            access = self.state.dram.access("write", nbytes)
            self._dram_span(run, binding, "write", nbytes, access)
            self._at(access.done_ps, landed)

        def landed() -> None:
            self._land()
            left[0] -= 1
            if left[0] == 0:
                self._written(run, binding, job, mark)

        return left_bank

    def _written(self, run: KernelRun, binding: Binding, job: Transfer, mark: tuple[int, int, int]) -> None:
        state, now = self.state, self.state.sim.now
        issued, number, read_ps = mark
        part = run.parts[binding.op]
        reader = Reader(part.phase, WRITE_BACK_READER)
        if binding.copy is not None:
            state.copies[binding.copy].read(job.box, read_ps, reader)
        else:
            run.slots[(True, job.binding, job.slot)].read(job.box, read_ps, reader)
        run.backs_done[number] = True
        done = run.write_backs.value
        while done < len(run.backs_done) and run.backs_done[done]:
            done += 1
        run.write_backs.advance(done)
        access = Access(issued, issued, now, None)
        state.span(
            self.name, "writeback", part, binding.data.tensor, access, now, now - issued, 1, job.nbytes
        )
