"""Results on their way out: from the unit through the vector work that rides along into the banks.

The unit takes credit for what it will emit before it feeds the operands, so whatever is inside the
array always finds room behind it; the drain gives the credit back as results reach their bank's port.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import simpy

from accelsim.geometry import ceil_div
from accelsim.machine.state import KernelRun, State
from accelsim.machine.stream import StreamRun
from accelsim.program.jobs import Fold, Result, TileJob
from accelsim.sim import Steps

IN_FLIGHT = 2  # chunks of one drain that may wait at a port


@dataclass(slots=True)
class DrainFold:
    """The results of one fold: what is written, what rides along, in ``steps`` parts."""

    run: KernelRun
    job: TileJob
    fold: Fold
    writes: list[StreamRun]
    riders: list[StreamRun]
    steps: int
    rate: int  # vector cycles per lane and element
    partial: bool = False
    result: Result | None = None
    completes: bool = False  # the result, with this fold


@dataclass(slots=True)
class _Item:
    """Part ``step`` of a fold's results, out of the unit at ``due_ps``; without a fold: a tile's end."""

    due_ps: int
    elements: int
    step: int
    fold: DrainFold | None
    run: KernelRun
    job: TileJob


@dataclass(slots=True)
class Credit:
    """Elements that may be on their way out."""

    limit: int
    used: int = 0


class Drain:
    """The process that takes results from the executing unit to the banks."""

    def __init__(self, state: State, vector_name: str) -> None:
        self.state = state
        self.credit = Credit(1)
        self.partial_sums: dict[tuple[int, ...], int] = {}  # block -> its partial sums' writes yet to end
        self._queue: deque[_Item] = deque()
        self._work: simpy.Event | None = None
        self._progress: list[simpy.Event] = []
        self._vector_free_ps = 0
        self._vector = state.recorder.component(vector_name)
        self._outstanding: deque[int] = deque()
        self._last_done_ps = 0

    def put(self, fold: DrainFold, step: int, elements: int, due_ps: int) -> None:
        """Hand over part ``step`` of a fold's results, ``elements`` of them."""
        self._queue.append(_Item(due_ps, elements, step, fold, fold.run, fold.job))
        self._wake()

    def end_tile(self, run: KernelRun, job: TileJob, due_ps: int) -> None:
        """Note that all of a tile's results have been handed over."""
        self._queue.append(_Item(due_ps, 0, 0, None, run, job))
        self._wake()

    def progress(self) -> simpy.Event:
        """Return an event that fires when credit or partial sums come back next."""
        event = self.state.sim.env.event()
        self._progress.append(event)
        return event

    def _wake(self) -> None:
        if self._work is not None and not self._work.triggered:
            self._work.succeed()

    def _notify(self) -> None:
        waiting, self._progress = self._progress, []
        for event in waiting:
            event.succeed()

    def run(self) -> Steps:
        """Serve results in the order in which they were handed over, for ever."""
        sim = self.state.sim
        while True:
            while not self._queue:
                self._work = sim.env.event()
                sim.waiting["drain"] = "results"
                yield self._work
            item = self._queue.popleft()
            if item.due_ps > sim.now:
                yield sim.at(item.due_ps)
            if item.fold is None:
                yield from self._finish_tile(item)
            else:
                yield from self._serve(item, item.fold)

    def _serve(self, item: _Item, fold: DrainFold) -> Steps:
        yield from self._ride(item, fold)
        for stream in fold.writes:
            access = stream.push(item.step)
            if access is not None:
                self._outstanding.append(access.done_ps)
        while len(self._outstanding) > IN_FLIGHT * max(1, len(fold.writes)):
            done = self._outstanding.popleft()
            if done > self.state.sim.now:
                yield self.state.sim.at(done)
        self.credit.used -= item.elements
        if item.step == fold.steps - 1:
            self._finish_fold(fold)
        self._notify()

    def _ride(self, item: _Item, fold: DrainFold) -> Steps:
        """Read the riders' operands and do the vector work of one part."""
        sim = self.state.sim
        there = sim.now
        for stream in fold.riders:
            access = stream.ready(item.step)
            stream.request(item.step + 1)
            if access is not None:
                there = max(there, access.done_ps + stream.latency)
        if fold.rate:
            start = max(there, self._vector_free_ps)
            cycles = ceil_div(item.elements, self.state.machine.vector.lanes) * fold.rate
            clock = self.state.clock
            end = clock.edge(clock.at_or_after(start) + cycles)
            self._vector.busy_ps += end - start
            self._vector_free_ps = there = end
        if there > sim.now:
            yield sim.at(there)

    def _finish_fold(self, fold: DrainFold) -> None:
        """Book a fold's accesses: a residency begins when the last cell write has ended."""
        state, slots = self.state, fold.job.slots
        for stream, ridden in zip(fold.riders, fold.fold.riders, strict=True):
            done = stream.close()
            if ridden.box is not None:
                state.read_booked(fold.run, ridden.binding, slots.get(ridden.binding, -1), ridden.box, done)
        for i, stream in enumerate(fold.writes):
            done = stream.close()
            self._last_done_ps = max(self._last_done_ps, done)
            if fold.partial:
                self._outstanding.append(done)
                continue
            written = fold.fold.writes[i]
            if written.box is not None:
                state.write_booked(
                    fold.run, written.binding, _out_slot(fold.result, written.binding), written.box, done
                )
        if fold.partial or fold.completes:
            self._when_written(fold)

    def _when_written(self, fold: DrainFold) -> None:
        """Count partial sums as readable, or the result as complete, once the last write has ended."""
        event = self.state.sim.at(self._last_done_ps)

        def ended(_: simpy.Event) -> None:
            if fold.partial:
                self.partial_sums[fold.fold.block] -= 1
                self._notify()
            elif fold.result is not None:
                fold.run.results.advance(fold.result.number + 1)

        assert event.callbacks is not None
        event.callbacks.append(ended)

    def _finish_tile(self, item: _Item) -> Steps:
        self._outstanding.clear()
        if self._last_done_ps > self.state.sim.now:
            yield self.state.sim.at(self._last_done_ps)
        item.run.tiles.advance(item.job.index + 1)
        self._notify()


def _out_slot(result: Result | None, binding: int) -> int:
    backs = result.write_backs if result is not None else []
    return next((w.slot for w in backs if w.binding == binding), -1)
