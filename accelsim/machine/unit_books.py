"""What a kernel's unit was busy with and what it waited for: busy + stalls + idle = end - start."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.memory import Access
from accelsim.machine.state import State
from accelsim.program.jobs import Fold
from accelsim.words import StallReason


class UnitBooks:
    """The accounts of one kernel on its unit. Positions are whole cycles of the clock.

    ``tail`` are the cycles from the last element's entry until its results are out.
    """

    def __init__(self, state: State, run: KernelRun, tail: int) -> None:
        self.state = state
        self.clock = state.clock
        self.run = run
        self.kernel = run.kernel
        self.tail = tail
        self.on_array = run.kernel.unit == "pe_array"
        self.skipped_cycles = 0
        self._stalled = 0  # cycles
        self._stalled_ps = 0
        self._first = 0
        self._opened = self._opened_ps = 0  # without what was skipped, and with it

    def open(self) -> int:
        """Note that the kernel begins now, and return its first cycle."""
        self._opened = self.state.sim.now
        self._opened_ps = self.state.sim.stamp(self._opened)
        self._first = self.clock.at_or_after(self._opened)
        return self._first

    def meters(self) -> tuple[int, ...]:
        """Return what grows with every period."""
        return self._stalled, self._stalled_ps

    def add_meters(self, added: Sequence[int]) -> None:
        """Add what skipped periods would have added."""
        self._stalled += added[0]
        self._stalled_ps += added[1]

    # -- stalls ----------------------------------------------------------------------------------

    def stall(self, until: int, reason: StallReason, since: int) -> None:
        """Note that the unit waited from cycle ``since`` until cycle ``until``, if that is later."""
        if until <= since:
            return
        self._stalled += until - since
        start, end = self.clock.edge(since), self.clock.edge(until)
        self._stalled_ps += end - start
        stamp = self.state.sim.stamp
        self.state.recorder.stall(self.kernel.unit, reason, self.run.part, stamp(start), stamp(end))

    def stall_for_fill(self, number: int, until: int, since: int) -> None:
        """Split the wait for a fill: space first, then DRAM, then the bank's port, of that what woke it."""
        times = self.run.fill_times[number]
        issued = min(max(self.clock.at_or_after(times.issued_ps), since), until)
        arrived = min(max(self.clock.at_or_after(times.arrived_ps), issued), until)
        self.stall(issued, "dependency", since)
        self.stall(arrived, "dram", issued)
        cause = times.cause or "dram"
        if times.wake_ps:
            cause = "dram" if cause == "wakeup" else cause
            asleep = min(max(self.clock.at_or_after(times.woken_ps - times.wake_ps), arrived), until)
            self.stall(asleep, cause, arrived)
            arrived = min(max(self.clock.at_or_after(times.woken_ps), asleep), until)
            self.stall(arrived, "wakeup", asleep)
        self.stall(until, cause, arrived)

    def late(self, access: Access, cycle: int, due_ps: int) -> int:
        """Return the cycle at which ``access`` has brought its data, and note the wait since ``cycle``."""
        there = access.done_ps + self.state.machine.noc.latency_ps
        if there <= due_ps:
            return cycle
        until = self.clock.at_or_after(there)
        if access.start_ps > due_ps:
            served = min(self.clock.at_or_after(access.start_ps), until)
            awake = min(self.clock.at_or_after(access.start_ps - access.wake_ps), served)
            self.stall(awake, access.cause or "port_busy", cycle)
            self.stall(served, "wakeup", max(cycle, awake))
            cycle = max(cycle, served)
        noc = self.clock.at_or_after(access.done_ps)
        self.stall(min(noc, until), "operand_late", cycle)
        self.stall(until, "noc", max(cycle, min(noc, until)))
        return until

    # -- work ------------------------------------------------------------------------------------

    def fold(self, fold: Fold, start: int, end: int) -> None:
        """Enter a fold whose stream took the cycles from ``start`` to ``end``."""
        recorder, part = self.state.recorder, self.run.part
        if self.on_array:
            recorder.count("pe_array", f"mac.{self.kernel.mac_format}", part, "", fold.macs)
            recorder.count("pe_array", f"shift.{self.kernel.mac_format}", part, "", self._shifted(fold))
            recorder.count("accumulator", "rmw", part, "", fold.accumulations)
            self._unfold(fold)
        self._span("compute" if self.on_array else "vector", start, end, fold.cycles)
        if self.on_array and not fold.continues:
            recorder.folds(part.op, 1)

    def _span(self, category: str, start: int, end: int, cycles: int) -> None:
        start_ps, end_ps = self.clock.edge(start), self.clock.edge(end)
        access = Access(start_ps, start_ps, end_ps, None)
        busy = end_ps - start_ps
        self.state.span(self.kernel.unit, category, self.run.part, "", access, end_ps, busy, cycles, 0)

    def _unfold(self, fold: Fold) -> None:
        """Count what a line buffer takes from the banks and gives to the array, in bytes."""
        for stream in (*fold.streams, *fold.beside, *([fold.load] if fold.load is not None else [])):
            if stream.unfolded:
                role = self.kernel.reads[stream.binding].data.role
                self.state.recorder.count("im2col", "write", self.run.part, role, stream.nbytes)
                self.state.recorder.count("im2col", "read", self.run.part, role, stream.unfolded)

    def _shifted(self, fold: Fold) -> int:
        """Return the registers that pass a stationary operand on its way in, or a result on its way out."""
        array = self.state.array
        loaded = 0 if fold.continues else fold.macs // fold.cycles
        return (fold.emit if array.dataflow == "os" else loaded) * (array.rows + 1) // 2

    # -- the whole -------------------------------------------------------------------------------

    def close(self, end: int, no_period: str) -> None:
        """Record the kernel's window: it ends now, its last stream ended at cycle ``end``.

        ``no_period`` says why nothing of it was skipped, if nothing was.
        """
        recorder, stamp = self.state.recorder, self.state.sim.stamp
        computed = end + self.tail
        computed_ps, end_ps = stamp(self.clock.edge(computed)), stamp(self.state.sim.now)
        recorder.stall(self.kernel.unit, "drain_blocked", self.run.part, computed_ps, end_ps)
        if self.tail:  # the results' way out of the array is computing
            self._span("compute", end, computed, self.tail)
        stalled_ps = self._stalled_ps + end_ps - computed_ps
        idle = self.clock.edge(self._first) - self._opened
        times = recorder.op(self.kernel.leader.op)
        times.start_ps, times.end_ps, times.idle_ps = self._opened_ps, end_ps, idle
        times.busy_cycles = computed + self.skipped_cycles - self._first - self._stalled
        times.tiles = len(self.run.jobs)
        recorder.busy(self.kernel.unit, end_ps - self._opened_ps - idle - stalled_ps)
        for rider in self.kernel.parts[1:]:
            other = recorder.op(rider.op)
            other.start_ps = other.end_ps = end_ps
        self._vector_work()
        if no_period:
            recorder.no_period[self.kernel.leader.op] = no_period

    def _vector_work(self) -> None:
        for part in (*self.kernel.parts, *self.kernel.sums):
            account = self.run.parts[part.op]
            for function, count in part.functions:
                self.state.recorder.count("vector", function, account, "", part.elements * count)
