"""The executing unit: the PE array or the vector unit working through a kernel's folds in lock-step.

Positions are whole cycles of the clock. A fold's first element enters no sooner than the timing
contract allows (docs/timing.md); a late operand inserts bubbles, a full drain holds the feed back.
"""

from __future__ import annotations

from collections.abc import Sequence

import simpy

from accelsim.machine.blocks import Blocks
from accelsim.machine.drain import Drain, DrainFold
from accelsim.machine.fold_run import FoldRun
from accelsim.machine.forms import RESULTS, results_need
from accelsim.machine.heads import Engine
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.memory import Access
from accelsim.machine.state import State
from accelsim.machine.steady import Steady
from accelsim.machine.unit_books import UnitBooks
from accelsim.program.folds import STEPS_AHEAD, fold_tail
from accelsim.program.jobs import Fold, Result
from accelsim.program.parking import accumulator_use
from accelsim.sim import Steps


class Units:
    """Runs kernels one after the other, each on its unit."""

    def __init__(self, state: State, engines: Sequence[Engine]) -> None:
        self.state = state
        self.engines = engines
        self.drain = Drain(state)

    def run(self) -> Steps:
        """Execute the program."""
        blocks = Blocks(self.state, self.drain, self.engines)
        recorder, index, opened = self.state.recorder, 0, 0
        while index < len(self.state.program.kernels):
            recorder.join(opened)  # whoever looks back from here on counts whole kernels
            index = blocks.head(index)
            opened = recorder.turn()
            for group in self.state.woken(index):
                self.state.banks[group].wakes = True
            steps = KernelSteps(self.state, self.drain, self.engines, self.state.kernel(index))
            yield from steps.run()
            index += 1


class KernelSteps:
    """One kernel on its unit."""

    def __init__(self, state: State, drain: Drain, engines: Sequence[Engine], run: KernelRun) -> None:
        self.state = state
        self.sim = state.sim
        self.clock = state.clock
        self.drain = drain
        self.kr = run
        self.kernel = run.kernel
        self.unit = run.kernel.unit
        self.on_array = run.kernel.unit == "pe_array"
        array = state.array
        self.tail = (
            fold_tail(array.convention, array.dataflow, array.rows, array.cols) if self.on_array else 0
        )
        self.rate = self._rider_rate()
        self.tile = 0  # the one in hand
        self.place = 0  # of the fold in hand
        self.steady = Steady(state, drain, engines, run)
        self.books = UnitBooks(state, run, self.tail)
        self.start = self.end = 0  # cycles at which the present fold's stream began and ended
        self.before: Fold | None = None
        self.streamed = 0  # cycles, of the folds that went on with one stationary operand
        self.ahead: FoldRun | None = None
        self._current: FoldRun | None = None
        self._step = 0
        self._watched = -1  # the tile during which the next one's fills are awaited
        self._bubbles = 0
        self.filled_ps = 0  # when a fill that the unit waited for came
        self.slot_ps = 0  # when a slot for results that it waited for came free
        self.last_fill = 0

    def further(self, folds: int) -> None:
        """Go on ``folds`` further inside the tile."""
        self.place += folds
        if self.ahead is not None and self.ahead.tile == self.tile:
            self.ahead.place += folds

    def _rider_rate(self) -> int:
        cycles = self.state.machine.vector.cycles
        return sum(cycles.get(f, 1) * n for _, f, n in self.kernel.functions) if self.on_array else 0

    def run(self) -> Steps:
        """Execute the kernel and record its times."""
        first = self.books.open()
        yield from self._regions_free()
        self.start = self.end = max(first, self.clock.at_or_after(self.sim.now))
        self.books.stall(self.start, "dependency", first)
        self._set_credit()
        while self.tile < self.kr.count:
            self.steady.tile_head(self)
            yield from self._tile_ready()
            self.place = 0
            while self.place < len(self.kr.job(self.tile).folds):
                self.steady.fold_head(self)
                yield from self._fold(self.place)
                self.place += 1
            self._tile_done()
            self.tile += 1
        yield self.sim.at(self.clock.edge(self.end + self.tail))
        self.sim.waiting["units"] = f"results of {self.kernel.leader.op}"
        yield self.kr.tiles.reached(self.kr.count)
        self.books.close(self.end, self.steady.why_not())

    def _regions_free(self) -> Steps:
        """Wait until the places of results are no longer needed by what was there before."""
        need = results_need(self.kernel)
        self.state.asked(self.kr, RESULTS)
        if self.state.flushed.value < need:
            self.sim.waiting["units"] = f"kernel {need - 1} to be written back"
            yield self.state.flushed.reached(need, ("units",))

    def _set_credit(self) -> None:
        """Let as many results be on their way as the array holds and the accumulator has room for."""
        array = self.state.array
        most = max(f.emit for i in self.kr.jobs.widest() for f in self.kr.job(i).folds)
        chunk = max(b.chunk_bytes for b in self.state.banks.values())
        limit = 2 * min(max(most, 1), chunk)
        if self.on_array:
            limit = max(limit, array.accumulator_elements - accumulator_use(self.kernel, array))
            limit += (self.tail + 1) * array.cols
        self.drain.credit.limit = limit
        self.drain.credit.used = 0

    # -- one fold ------------------------------------------------------------------------------

    def _fold(self, place: int) -> Steps:
        job = self.kr.job(self.tile)
        fold, result = job.folds[place], job.result_of(place)
        if result is not None and result.first == place:
            yield from self._result_ready(result)
        current, self.ahead = self.ahead, None
        if current is None:
            current = FoldRun(self.state, self.kr, self.tile, place)
            current.request(STEPS_AHEAD)
        self._current = current
        yield from self._begin(current)
        out = current.drained(self.rate) if fold.emit and (fold.writes or fold.psum_write) else None
        if out is not None:
            self.drain.begin(out)
        yield from self._steps(current, fold, None if fold.emit_at_end else out)
        ends = self.clock.edge(self.end)
        if self.sim.now < ends and not self.sim.advance(ends):
            yield self.sim.at(ends)
        self._current = None
        current.close()
        if out is not None and fold.emit_at_end:
            yield from self._emit_at_end(out, fold)
        self.books.fold(fold, self.start, self.end)
        self.streamed = fold.cycles + (self.streamed if fold.continues else 0)
        self.before = fold

    def _steps(self, current: FoldRun, fold: Fold, out: DrainFold | None) -> Steps:
        """Stream the operands step by step; ``out`` takes the results that leave meanwhile."""
        sim, edge, credit = self.sim, self.clock.edge, self.drain.credit
        noc = self.state.machine.noc.latency_ps
        steps, given, share = current.steps, 0, 0
        for step in range(steps):
            due = edge(self.end)
            if sim.now < due and not sim.advance(due):
                yield sim.at(due)
            access = current.ready(step)
            if access is not None and access.done_ps + noc > due:
                yield from self._operand_there(access, due)
            if out is not None:
                share = fold.emit * (step + 1) // steps
                if credit.used and credit.used + share - given > credit.limit:
                    yield from self._credit_there(share - given)
                credit.used += share - given
            self._look_ahead(current, step)
            self.end = self.start + fold.cycles * (step + 1) // steps + self._bubbles
            if out is not None:
                self.drain.put(out, step, share - given, edge(self.end + self.tail))
                given = share

    def _emit_at_end(self, out: DrainFold, fold: Fold) -> Steps:
        """Let an output-stationary fold's results leave through the drain chain, a row a cycle."""
        credit = self.drain.credit
        if credit.used and credit.used + fold.emit > credit.limit:
            yield from self._credit_there(fold.emit)
        credit.used += fold.emit
        rows = self.state.array.rows
        given = 0
        for step in range(out.steps):
            share = fold.emit * (step + 1) // out.steps
            left = rows - rows * (step + 1) // out.steps
            due = self.clock.edge(max(self.end, self.end + self.tail - left))
            self.drain.put(out, step, share - given, due)
            given = share

    def _begin(self, current: FoldRun) -> Steps:
        """Set the cycle at which the fold's first element enters."""
        fold = current.fold
        earliest = start = self._earliest(fold)
        self._bubbles = 0
        if self.filled_ps:
            start = max(start, self.clock.at_or_after(self.filled_ps) + fold.load_cycles)
            self.books.stall_for_fill(self.last_fill, start, earliest)
        loaded = self.clock.at_or_after(current.asked_ps) + fold.load_cycles
        self.books.stall(loaded, "dram", start)  # its tile's fill came late in the fold before
        start = max(start, loaded)
        if self.slot_ps:
            free = self.clock.at_or_after(self.slot_ps)
            self.books.stall(free, "dram", start)
            start = max(start, free)
        self.filled_ps = self.slot_ps = 0
        current.request_load(1, 1)
        access = current.loaded()
        if access is not None:
            start = self.books.late(access, start, self.clock.edge(start))
        self.start = self.end = start
        if fold.psum_read:
            yield from self._partial_sums_there(current)
        self.end = self.start

    def _earliest(self, fold: Fold) -> int:
        """Return the first cycle at which the fold's stream may begin, by the timing contract."""
        if self.before is None:
            return self.start + fold.load_cycles
        if fold.continues:
            return self.end
        return self.end + self.before.gap + max(0, self.before.least - self.streamed)

    def _partial_sums_there(self, current: FoldRun) -> Steps:
        """Wait until the block's partial sums are in their bank, then begin to read them."""
        block = current.fold.block
        asked = self.sim.now
        while self.drain.partial_sums.get(block):
            self.sim.waiting["units"] = f"partial sums of {self.kernel.leader.op}"
            yield self.drain.progress()
        if self.sim.now > asked:
            cycle = self.clock.at_or_after(self.sim.now)
            self.books.stall(cycle, "drain_blocked", self.start)
            self.start = max(self.start, cycle)
        current.read_partial_sums(self.drain.sums_before_cells(self.kr, block))

    def _operand_there(self, access: Access, due: int) -> Steps:
        """Wait for the cycle at which a late operand is there."""
        cycle = self.books.late(access, self.end, due)
        if cycle > self.end:
            self._bubbles += cycle - self.end
            self.end = cycle
            yield self.sim.at(self.clock.edge(cycle))

    def _credit_there(self, elements: int) -> Steps:
        """Wait until ``elements`` more results may be on their way."""
        credit = self.drain.credit
        while credit.used and credit.used + elements > credit.limit:
            self.sim.waiting["units"] = f"room for results of {self.kernel.leader.op}"
            yield self.drain.progress()
        cycle = self.clock.at_or_after(self.sim.now)
        if cycle > self.end:
            self.books.stall(cycle, "write_buffer_full" if self.drain.full else "drain_blocked", self.end)
            self._bubbles += cycle - self.end
            self.end = cycle

    def _look_ahead(self, current: FoldRun, step: int) -> None:
        """Ask for the operands of the next steps, in this fold and the next one."""
        current.request(step + STEPS_AHEAD)
        if self.ahead is None:
            self.ahead = self._next_fold(current)
        self._step = step
        if self.ahead is not None:
            self._request_ahead(self.ahead, current)
        elif self._watched != current.tile and current.place + 1 == len(current.job.folds):
            self._watch_fills(current)

    def _request_ahead(self, ahead: FoldRun, current: FoldRun) -> None:
        ahead.request_load(self._step + 1, current.steps)
        if self._step + STEPS_AHEAD >= current.steps:
            ahead.request(self._step + STEPS_AHEAD - current.steps)

    def _watch_fills(self, current: FoldRun) -> None:
        """Look ahead to the next tile when its last fill comes, if that is during this fold."""
        self._watched = current.tile
        if current.tile + 1 == self.kr.count:
            return
        event = self.kr.fills.reached(self.kr.job(current.tile + 1).fills_needed, ("watch",))

        def there(_: simpy.Event) -> None:
            if self._current is current and self.ahead is None:
                self.ahead = self._next_fold(current)
                if self.ahead is not None:
                    self._request_ahead(self.ahead, current)

        assert event.callbacks is not None
        event.callbacks.append(there)

    def _next_fold(self, current: FoldRun) -> FoldRun | None:
        """Return the fold after ``current`` if what it reads has been filled already."""
        if current.place + 1 < len(current.job.folds):
            return FoldRun(self.state, self.kr, current.tile, current.place + 1)
        if current.tile + 1 < self.kr.count:
            following = self.kr.job(current.tile + 1)
            if following.folds and self.kr.fills.value >= following.fills_needed:
                return FoldRun(self.state, self.kr, current.tile + 1, 0)
        return None

    # -- tiles ---------------------------------------------------------------------------------

    def _tile_ready(self) -> Steps:
        """Wait for the tile's fills."""
        job = self.kr.job(self.tile)
        if self.kr.fills.value < job.fills_needed:
            self.sim.waiting["units"] = f"fill {job.fills_needed} of {self.kernel.leader.op}"
            yield self.kr.fills.reached(job.fills_needed, ("units",))
            self.filled_ps, self.last_fill = self.sim.now, job.fills_needed - 1

    def _result_ready(self, result: Result) -> Steps:
        """Wait for free slots for a result."""
        if self.kr.write_backs.value < result.write_backs_needed:
            self.sim.waiting["units"] = f"a slot for results of {self.kernel.leader.op}"
            yield self.kr.write_backs.reached(result.write_backs_needed, ("units",))
            self.slot_ps = self.sim.now
        for back in result.write_backs:
            binding = self.kernel.writes[back.binding]
            self.state.slot_copy(self.kr, binding, back.binding, back.ordinal, back.box, out=True)

    def _tile_done(self) -> None:
        self.state.recorder.tiles += 1
        self.kr.consumed.advance(self.tile + 1)
        self.drain.end_tile(self.kr, self.tile, self.clock.edge(self.end))
