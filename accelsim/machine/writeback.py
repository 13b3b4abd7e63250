"""The DMA engine that writes results back."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.geometry import FULL, Operand
from accelsim.machine.dma import DmaEngine
from accelsim.machine.memory import Access
from accelsim.machine.state import KernelRun
from accelsim.machine.transfers import BackMark, Books
from accelsim.program.jobs import Transfer
from accelsim.program.nests import transfer
from accelsim.program.program import Binding
from accelsim.sim import Steps
from accelsim.trace.copies import Reader
from accelsim.words import WRITE_BACK


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
        for index in range(len(state.program.kernels)):
            run = self.run_ = state.kernel(index)
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
            for number in run.kernel.write_back:
                yield from self._evict(run, number)
            yield from self._drain()
            state.flushed.advance(index + 1)
            state.forget(index)

    def _result(self, run: KernelRun) -> Steps:
        """Write one result back when it is complete."""
        result = run.job(self.tile).results[self.place]
        if result.write_backs:
            self.state.sim.waiting[self.name] = f"result {result.number} of {run.kernel.leader.op}"
            self.stage = "result"
            yield run.results.reached(result.number + 1, (self.name,))
        for index in range(len(result.write_backs)):
            back = run.job(self.tile).results[self.place].write_backs[index]
            yield from self._write_back(run, run.kernel.writes[back.binding], back)

    def _drain(self) -> Steps:
        self.stage = "drain"
        while self.in_flight:
            self._landed = self.state.sim.event((self.name,))
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
        chunks = self._chunks(job, binding)
        left, moved = [len(chunks)], 0
        where = self._place(run, binding, job, run.start.written)
        self._count(part, binding.data.role, "write", self._dram_bytes(job))
        self.stage = "descriptor"
        yield state.sim.delay(state.machine.dma.descriptor_latency_ps, (self.name,))
        books = Books()
        for chunk, (dram_bytes, bank_bytes) in enumerate(chunks):
            self.chunk = chunk
            yield from self._slot()
            now = state.sim.now
            read = Access(now, now, now, None)
            if bank_bytes:
                read = self._bank_access(books, binding, "read", bank_bytes, (where, moved, None)).access
            moved += bank_bytes
            mark = BackMark(issued, number, read.done_ps, job, books)
            tag = ("leave", run, "back", number, dram_bytes)
            self._at(read.done_ps, tag, self._leave(run, binding, dram_bytes, left, mark))

    def _leave(
        self, run: KernelRun, binding: Binding, nbytes: int, left: list[int], mark: BackMark
    ) -> Callable[[], None]:
        """Return what happens when a chunk has left its bank: DRAM takes it."""

        def left_bank() -> None:
            access = self._dram_access(mark.books, "write", nbytes)
            tag = ("back landed", run, "back", mark.number, ("ps", mark.read_ps))
            self._at(access.done_ps, tag, landed)

        def landed() -> None:
            self._land()
            left[0] -= 1
            if left[0] == 0:
                self._written(run, binding, mark)

        return left_bank

    def _written(self, run: KernelRun, binding: Binding, mark: BackMark) -> None:
        state, now = self.state, self.state.sim.now
        part = run.parts[binding.op]
        reader = Reader(part.phase, WRITE_BACK)
        read_ps = state.sim.stamp(mark.read_ps)
        state.tell_back(run, mark.job, binding.copy, read_ps)
        if binding.copy is not None:
            state.copies[binding.copy].read(mark.job.box, read_ps, reader)
        else:
            run.slots[(True, mark.job.binding, mark.job.ordinal)].read_whole(read_ps, reader)
        self._close(run, binding, mark.books, fills=False)
        run.backs_done[mark.number] = True
        done = run.write_backs.value
        while done < len(run.backs_done) and run.backs_done[done]:
            done += 1
        run.write_backs.advance(done)
        access = Access(mark.issued_ps, mark.issued_ps, now, None)
        busy = now - mark.issued_ps
        state.span(self.name, "writeback", part, binding.data.tensor, access, now, busy, 1, mark.job.nbytes)
