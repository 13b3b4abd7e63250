"""The order in which fills, tiles and write-backs happen: whatever a program's dependencies allow.

Fills are issued in order, and so are write-backs; each kernel's tiles are computed in order. Between
those three the machine's timing decides, and the program has to be right whatever it decides.
"""

from __future__ import annotations

from typing import Literal

from accelsim.program.jobs import Transfer
from tests.interpreter.kernels import KernelRun, Memories

Order = Literal["as written", "fills early", "write-backs late"]
ORDERS: tuple[Order, ...] = ("as written", "fills early", "write-backs late")
END = -1  # in the queue of write-backs: the kernel is through


class Schedule:
    """One step of a program, carried out in one of the orders that its dependencies allow.

    - ``as written``: every fill just before its tile, every write-back just after.
    - ``fills early``: every fill as soon as nothing that it waits for is left to do.
    - ``write-backs late``: so, too, and nothing is written back before something has to wait for it.
    """

    def __init__(self, memories: Memories, runs: list[KernelRun], order: Order) -> None:
        self.mem = memories
        self.runs = runs
        self.order = order
        self.tiles = [0] * len(runs)
        self.fills = [0] * len(runs)
        self.backs = [0] * len(runs)
        self.results = [0] * len(runs)
        self.flushed = 0
        self._fills = [(k, f) for k, r in enumerate(runs) for j in r.jobs for f in j.fills]
        self._backs: list[tuple[int, int, Transfer | None]] = []  # (kernel, result to be there, what)
        for k, run in enumerate(runs):
            self._backs += [(k, r.number, w) for j in run.jobs for r in j.results for w in r.write_backs]
            self._backs.append((k, END, None))
        self._next_fill = self._next_back = 0

    def run(self) -> None:
        """Carry out the step."""
        for k, run in enumerate(self.runs):
            psum = run.kernel.psum.free_after if run.kernel.psum else -1
            self._flush(1 + max([psum, *(b.free_after for b in run.kernel.writes)]))
            for job in run.jobs:
                while self.fills[k] < job.fills_needed:
                    self._fill()
                run.compute(job)
                for result in job.results:
                    while self.backs[k] < result.write_backs_needed:
                        self._write_back()
                    run.write(job, result)
                    self.results[k] += 1
                    self._go_ahead()
                self.tiles[k] += 1
                self._go_ahead()
        self._flush(len(self.runs))
        assert self._next_fill == len(self._fills), "fills are left over"

    def _go_ahead(self) -> None:
        """Do what may be done now and needs not be."""
        if self.order != "write-backs late":
            while self._next_back < len(self._backs) and self._back_is_due():
                self._write_back()
        if self.order != "as written":
            while self._next_fill < len(self._fills) and not self._fill_waits():
                self._fill()

    def _fill_waits(self) -> bool:
        k, job = self._fills[self._next_fill]
        binding = self.runs[k].kernel.reads[job.binding]
        free = self.flushed > max(binding.free_after, binding.ready_after)
        return not free or self.tiles[k] <= job.wait_tile

    def _fill(self) -> None:
        k, job = self._fills[self._next_fill]
        binding = self.runs[k].kernel.reads[job.binding]
        self._flush(1 + max(binding.free_after, binding.ready_after))
        assert self.tiles[k] > job.wait_tile, f"deadlock: kernel {k} waits for a fill, and that for it"
        self.runs[k].fill(job)
        self._next_fill += 1
        self.fills[k] += 1

    def _back_is_due(self) -> bool:
        k, result, _ = self._backs[self._next_back]
        return self.results[k] > result if result != END else self.tiles[k] == len(self.runs[k].jobs)

    def _write_back(self) -> None:
        assert self._back_is_due(), "deadlock: a write-back waits for what waits for it"
        k, _, job = self._backs[self._next_back]
        self._next_back += 1
        if job is not None:
            self.runs[k].write_back(job)
            self.backs[k] += 1
            return
        for copy in self.runs[k].kernel.write_back:
            self.mem.evict(copy)
        self.flushed = k + 1

    def _flush(self, kernels: int) -> None:
        while self.flushed < kernels:
            self._write_back()
