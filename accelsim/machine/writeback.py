"""The DMA engine that writes results back."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.geometry import FULL, Operand
from accelsim.machine.dma import DmaEngine
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.memory import Access
from accelsim.machine.transfers import BackMark
from accelsim.program.jobs import Transfer
from accelsim.program.nests import transfer
from accelsim.program.program import Binding
from accelsim.sim import Steps
from accelsim.trace.copies import Reader
from accelsim.words import WRITE_BACK

EVICTED = -1  # of transfers that write back the first of a kernel's evicted copies; less for the others


class WriteBackEngine(DmaEngine):
    """Banks to DRAM. It also says which kernels are through."""

    name = "dma.write"

    def further(self, current: KernelRun, tile: int, results: int, stands: bool) -> None:
        if self.run_ is not current:
            return
        if not stands and self.tile == tile and self.stage != "end":
            self.place += results

    def run(self) -> Steps:
        """Serve the write-backs of all kernels in order."""
        state = self.state
        while self.index < len(state.program.kernels):
            run = self.run_ = state.kernel(self.index)
            self.tile = run.next_back(0)
            while self.tile < run.count:
                self.place = 0
                while self.place < len(run.job(self.tile).results):
                    yield from self._result(run)
                    self.place += 1
                self.tile = run.next_back(self.tile + 1)
            state.sim.waiting[self.name] = f"{run.kernel.leader.op} to end"
            self.stage, self.place = "end", 0
            yield run.tiles.reached(run.count, (self.name,))
            for which in range(len(run.kernel.write_back)):
                self.place = which
                yield from self._evict(run, which)
            yield from self._drain()
            state.flushed.advance(self.index + 1)
            state.forget(self.index)
            self.index += 1

    def _result(self, run: KernelRun) -> Steps:
        """Write one result back when it is complete."""
        result = run.job(self.tile).results[self.place]
        if result.write_backs:
            self.state.sim.waiting[self.name] = f"result {result.number} of {run.kernel.leader.op}"
            self.stage = "result"
            yield run.results.reached(result.number + 1, (self.name,))
        for index in range(len(result.write_backs)):
            back = run.job(self.tile).results[self.place].write_backs[index]
            yield from self._write_back(run, back)

    def _drain(self) -> Steps:
        self.stage = "drain"
        while self.in_flight:
            self._landed = self.state.sim.event((self.name,))
            yield self._landed

    def _evict(self, run: KernelRun, which: int) -> Steps:
        """Write a whole copy back, as its bytes are needed for something else."""
        binding = self._evicted(run, which)
        box = tuple((0, s) for s in binding.data.shape)
        yield from self._write_back(run, transfer(binding, EVICTED - which, box, -1))

    def _evicted(self, run: KernelRun, which: int) -> Binding:
        """Return the whole of a copy that a kernel evicts, as an operand of its leader."""
        number = run.kernel.write_back[which]
        copy = self.state.program.copies[number]
        whole = Operand(copy.data.tensor, copy.data.shape, (FULL,) * len(copy.data.shape))
        return Binding(
            operand=whole,
            data=copy.data,
            op=run.kernel.leader.op,
            place="resident",
            group=copy.region.group,
            copy=number,
        )

    def _binding(self, run: KernelRun, job: Transfer) -> Binding:
        """Return what ``job`` writes back, of the kernel that ``run`` stands for by now."""
        if job.binding <= EVICTED:
            return self._evicted(run, EVICTED - job.binding)
        return run.kernel.writes[job.binding]

    def _write_back(self, run: KernelRun, job: Transfer) -> Steps:
        state, binding = self.state, self._binding(run, job)
        part = run.parts[binding.op]
        number = len(run.backs_done)
        run.backs_done.append(False)
        move = self._move(job, binding)
        self._place(run, binding, job, run.start.written, move)
        self._count(part, binding.data.role, "write", self._dram_bytes(job))
        self.stage = "descriptor"
        yield state.sim.delay(state.machine.dma.descriptor_latency_ps, (self.name,))
        self.move, self.chunk = move, 0
        while self.chunk < len(move.chunks):
            while self.in_flight >= self.outstanding:
                yield self._slot()
            self._depart()
            dram_bytes, bank_bytes = move.chunks[self.chunk]
            self.chunk += 1
            now = state.sim.now
            read = Access(now, now, now, None)
            if bank_bytes:
                read = self._bank_access(move, binding, "read", bank_bytes, move.moved).access
            move.moved += bank_bytes
            mark = BackMark(number, read.done_ps, job, move)
            tag = ("leave", run, "back", number, dram_bytes)
            self._at(read.done_ps, tag, self._leave(run, dram_bytes, mark))

    def _leave(self, run: KernelRun, nbytes: int, mark: BackMark) -> Callable[[], None]:
        """Return what happens when a chunk has left its bank: DRAM takes it."""

        def left_bank() -> None:
            access = self._dram_access(mark.move, "write", nbytes)
            tag = ("back landed", run, "back", mark.number, ("ps", mark.read_ps))
            self._at(access.done_ps, tag, landed)

        def landed() -> None:
            self._land()
            mark.move.left -= 1
            if mark.move.left == 0:
                self._written(run, mark)

        return left_bank

    def _written(self, run: KernelRun, mark: BackMark) -> None:
        state, now, binding = self.state, self.state.sim.now, self._binding(run, mark.job)
        part = run.parts[binding.op]
        read_ps = state.sim.stamp(mark.read_ps)
        state.tell_back(run, mark.job, binding.copy, read_ps)
        if mark.job.binding <= EVICTED:
            state.evicted(run, EVICTED - mark.job.binding, read_ps)
        else:
            run.slots[(True, mark.job.binding, mark.job.ordinal)].read_whole(
                read_ps, Reader(part.phase, WRITE_BACK)
            )
        self._close(run, binding, mark.move, fills=False)
        run.backs_done[mark.number] = True
        done = run.write_backs.value
        while done < len(run.backs_done) and run.backs_done[done]:
            done += 1
        run.write_backs.advance(done)
        access = Access(mark.move.issued_ps, mark.move.issued_ps, now, None)
        busy = now - mark.move.issued_ps
        state.span(self.name, "writeback", part, binding.data.tensor, access, now, busy, 1, mark.job.nbytes)
