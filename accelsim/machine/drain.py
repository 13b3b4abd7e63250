"""Results on their way out: from the unit through the vector work that rides along into the banks.

The unit takes credit for what it will emit before it feeds the operands, so whatever is inside the
array always finds room behind it; the drain gives the credit back as results reach their bank's port.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import simpy

from accelsim.geometry import ceil_div
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.state import State
from accelsim.machine.stream import StreamRun
from accelsim.program.folds import IN_FLIGHT
from accelsim.program.jobs import Fold, Result, TileJob
from accelsim.sim import Steps, Tag


@dataclass(slots=True, eq=False)
class DrainFold:
    """The results of one fold of a tile: what is written, what rides along, in ``steps`` parts."""

    run: KernelRun
    tile: int
    place: int
    writes: list[StreamRun]
    riders: list[StreamRun]
    steps: int
    rate: int  # vector cycles per lane and element
    partial: bool = False
    completes: bool = False  # the result, with this fold
    to_cells: int = (
        -1
    )  # entries of write buffers that have yet to come to the cells; -1: not all is handed over

    @property
    def forwards(self) -> bool:
        """Whether what it writes can be read from write buffers."""
        return all(s.forwards for s in self.writes)

    @property
    def job(self) -> TileJob:
        """The tile's job."""
        return self.run.job(self.tile)

    @property
    def fold(self) -> Fold:
        """The fold."""
        return self.job.folds[self.place]

    @property
    def result(self) -> Result | None:
        """The result that the fold belongs to."""
        return self.job.result_of(self.place)


@dataclass(slots=True)
class Item:
    """Part ``step`` of a fold's results, out of the unit at ``due_ps``; without a fold: a tile's end."""

    due_ps: int
    elements: int
    step: int
    fold: DrainFold | None
    run: KernelRun
    tile: int


@dataclass(slots=True)
class Credit:
    """Elements that may be on their way out."""

    limit: int
    used: int = 0


class Drain:
    """The process that takes results from the executing unit to the banks."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.credit = Credit(1)
        self.live: list[DrainFold] = []  # folds whose results have not all been written
        self.partial_sums: dict[tuple[int, ...], list[DrainFold]] = {}  # block -> who has yet to write of it
        self.queue: deque[Item] = deque()
        self.item: Item | None = None  # in hand
        self.stage = ""
        self.vector_free_ps = 0
        self.outstanding: deque[int] = deque()
        self.last_done_ps = 0
        self.full = False  # whether the last write waited for room in a write buffer
        self.closing: deque[DrainFold] = deque()  # behind write buffers: in order, until all is in the cells
        self._closed: simpy.Event | None = None
        self._work: simpy.Event | None = None
        self._progress: list[simpy.Event] = []

    def put(self, fold: DrainFold, step: int, elements: int, due_ps: int) -> None:
        """Hand over part ``step`` of a fold's results, ``elements`` of them."""
        self.queue.append(Item(due_ps, elements, step, fold, fold.run, fold.tile))
        self._wake()

    def begin(self, fold: DrainFold) -> None:
        """Note that results, or partial sums of a block, are about to be written."""
        self.live.append(fold)
        if fold.partial:
            self._begin_partial(fold)

    def _begin_partial(self, fold: DrainFold) -> None:
        self.partial_sums.setdefault(fold.fold.block, []).append(fold)

    def further(self, run: KernelRun, tile: int, folds: int) -> None:
        """Let the folds of ``tile`` on their way stand for those ``folds`` further on."""
        for fold in self.live:
            if fold.run is run and fold.tile == tile:
                fold.place += folds

    def name_blocks_anew(self) -> None:
        """Look up again which block the partial sums on their way belong to: tiles were skipped."""
        folds = [f for waiting in self.partial_sums.values() for f in waiting]
        self.partial_sums = {}
        for fold in folds:
            self._begin_partial(fold)

    def end_tile(self, run: KernelRun, tile: int, due_ps: int) -> None:
        """Note that all of a tile's results have been handed over."""
        self.queue.append(Item(due_ps, 0, 0, None, run, tile))
        self._wake()

    def progress(self) -> simpy.Event:
        """Return an event that fires when credit or partial sums come back next."""
        event = self.state.sim.event(("units",))
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
            while not self.queue:
                self._work = sim.event(("drain",))
                sim.waiting["drain"], self.stage, self.item = "results", "work", None
                yield self._work
            item = self.item = self.queue.popleft()
            if item.due_ps > sim.now:
                self.stage = "due"
                yield sim.at(item.due_ps, ("drain",))
            if item.fold is None:
                yield from self._finish_tile(item)
            else:
                yield from self._serve(item, item.fold)

    def _serve(self, item: Item, fold: DrainFold) -> Steps:
        yield from self._ride(item, fold)
        for stream in fold.writes:
            access = stream.push(item.step)
            if access is not None:
                self.outstanding.append(access.done_ps)
                self.full = access.cause == "write_buffer_full"
        while len(self.outstanding) > IN_FLIGHT * max(1, len(fold.writes)):
            done = self.outstanding.popleft()
            if done > self.state.sim.now:
                self.stage = "outstanding"
                yield self.state.sim.at(done, ("drain",))
        self.credit.used -= item.elements
        if item.step == fold.steps - 1:
            self._finish_fold(fold)
        self._notify()

    def _ride(self, item: Item, fold: DrainFold) -> Steps:
        """Read the riders' operands and do the vector work of one part."""
        sim = self.state.sim
        there = sim.now
        for stream in fold.riders:
            access = stream.ready(item.step)
            stream.request(item.step + 1)
            if access is not None:
                there = max(there, access.done_ps + stream.latency)
        if fold.rate:
            start = max(there, self.vector_free_ps)
            cycles = ceil_div(item.elements, self.state.machine.vector.lanes) * fold.rate
            clock = self.state.clock
            end = clock.edge(clock.at_or_after(start) + cycles)
            self.state.recorder.busy("vector", end - start)
            self.vector_free_ps = there = end
        if there > sim.now:
            self.stage = "ride"
            yield sim.at(there, ("drain",))

    def _finish_fold(self, fold: DrainFold) -> None:
        """Book a fold's accesses: a residency begins when the last cell write has ended."""
        state, of = self.state, fold.fold
        for i, (stream, ridden) in enumerate(zip(fold.riders, of.riders, strict=True)):
            done = stream.close()
            if ridden.box is not None:
                at, what = (fold.tile, fold.place), ("riders", i)
                state.read_booked(fold.run, at, ridden.binding, what, ridden.box, done)
        for stream in fold.writes:
            done = stream.close()
            self.last_done_ps = max(self.last_done_ps, done)
            if fold.partial:
                self.outstanding.append(done)
        if state.buffered:
            self._when_in_cells(fold)
            return
        self._book_writes(fold)
        if fold.partial or fold.completes:
            self._when_written(fold)
        else:
            self.live.remove(fold)

    def _book_writes(self, fold: DrainFold) -> None:
        """Book what a fold wrote, each when the last of its cells was written."""
        backs = {b.binding: b for b in fold.result.write_backs} if fold.result is not None else {}
        for i, stream in enumerate(fold.writes):
            if fold.partial:
                continue
            written = fold.fold.writes[i]
            if written.box is not None:
                back, at = backs.get(written.binding), (fold.tile, fold.place)
                self.state.write_booked(fold.run, at, written.binding, i, stream.written_ps(), back)

    # -- behind write buffers --------------------------------------------------------------------

    def sums_before_cells(self, run: KernelRun, block: tuple[int, ...]) -> DrainFold | None:
        """Return the fold whose partial sums of a block may still be in a write buffer."""
        ours = (f for f in reversed(self.closing) if f.partial and f.run is run)
        return next((f for f in ours if f.fold.block == block), None)

    def _when_in_cells(self, fold: DrainFold) -> None:
        """Book a fold's writes once they are in the cells, after those of the folds before it.

        Partial sums can be read as soon as they are in a buffer that forwards them.
        """
        state, tag = self.state, ("written", fold.run, "fold", fold)
        self.closing.append(fold)
        if fold.partial and fold.forwards:
            self._at(self.last_done_ps, ("readable", *tag[1:]), lambda: self._readable(fold))

        def ended() -> None:
            fold.to_cells -= 1
            while self.closing and not self.closing[0].to_cells:
                self._end(self.closing.popleft())

        entries = [(s.group, b, e) for s in fold.writes for b, e in s.moved.entries.items()]
        fold.to_cells = len(entries) + 1
        self._at(self.last_done_ps, tag, ended)
        for group, buffer, entry in entries:
            state.banks[group].when_written(buffer, entry, tag, ended)

    def _end(self, fold: DrainFold) -> None:
        self._book_writes(fold)
        self.live.remove(fold)
        if fold.partial and not fold.forwards:
            self._readable(fold)
        if fold.completes and fold.result is not None:
            fold.run.results.advance(fold.result.number + 1)
        if not self.closing and self._closed is not None and not self._closed.triggered:
            self._closed.succeed()

    def _readable(self, fold: DrainFold) -> None:
        self._partial_ended(fold)
        self._notify()

    def _at(self, ps: int, tag: Tag, then: Callable[[], None]) -> None:
        event = self.state.sim.at(ps, tag)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: then())

    def _empty_buffers(self) -> Steps:
        """Write all that write buffers hold to the cells: a kernel ends when its last result is there."""
        end = max(bank.flush() for bank in self.state.banks.values())
        self.stage = "flush"
        yield self.state.sim.at(end, ("drain",))
        self.stage = "closing"
        while self.closing:
            self._closed = self.state.sim.event(("drain",))
            yield self._closed

    # -- the end ---------------------------------------------------------------------------------

    def _when_written(self, fold: DrainFold) -> None:
        """Count partial sums as readable, or the result as complete, once the last write has ended."""
        tag = ("written", fold.run, "fold", fold)
        event = self.state.sim.at(self.last_done_ps, tag)

        def ended(_: simpy.Event) -> None:
            self.live.remove(fold)
            if fold.partial:
                self._partial_ended(fold)
                self._notify()
            elif fold.result is not None:
                fold.run.results.advance(fold.result.number + 1)

        assert event.callbacks is not None
        event.callbacks.append(ended)

    def _partial_ended(self, fold: DrainFold) -> None:
        waiting = self.partial_sums[fold.fold.block]
        waiting.remove(fold)
        if not waiting:
            del self.partial_sums[fold.fold.block]

    def _finish_tile(self, item: Item) -> Steps:
        self.outstanding.clear()
        if self.last_done_ps > self.state.sim.now:
            self.stage = "finish"
            yield self.state.sim.at(self.last_done_ps, ("drain",))
        if self.state.buffered and item.tile + 1 == item.run.count:
            yield from self._empty_buffers()
        item.run.tiles.advance(item.tile + 1)
        self._notify()
