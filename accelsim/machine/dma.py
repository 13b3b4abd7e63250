"""The DMA: what both engines share, and the one that fills banks; descriptors are served in order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import simpy

from accelsim.geometry import ceil_div
from accelsim.machine.forms import fill_need
from accelsim.machine.kernel_run import FillTimes, KernelRun
from accelsim.machine.memory import Access, Action, Service
from accelsim.machine.state import State
from accelsim.machine.transfers import FillMark, Move, chunks_of
from accelsim.program.jobs import Transfer
from accelsim.program.program import Binding
from accelsim.sim import Steps, Tag
from accelsim.trace.recorder import Part


class DmaEngine:
    """What both directions share: a limit on transfers in flight, and the engine's own times.

    Where the engine stands is in ``stage`` (what it waits for), ``run``, ``tile``, ``place`` and ``chunk``,
    so that a state can be compared with an earlier one.
    """

    name: str

    def __init__(self, state: State) -> None:
        self.state = state
        self.in_flight = 0
        self.outstanding = state.machine.dma.outstanding  # chunks that may be in flight
        self.busy_ps = 0
        self.stalled_ps = 0
        self.run_: KernelRun | None = None
        self.index = 0  # of the kernel in hand
        self.tile = 0  # the job in hand, counted as its kernel counts
        self.place = 0
        self.chunk = 0  # of the transfer in hand, to be moved next
        self.move: Move | None = None  # the transfer in hand
        self.stage = ""
        self.where: tuple[Any, ...] = ()  # of its transfer: the banks that it passes, where that matters
        self._landed: simpy.Event | None = None
        self._busy_since = -1
        self._waiting_since: tuple[int, int] | None = None
        self.waits = 0  # begun
        self.under_way: list[Move] = []
        self._longer_ps = 0  # of the wait in hand: stalls that were skipped

    def _slot(self) -> simpy.Event:
        """Return an event that fires when a chunk is through."""
        self.stage = "slot"
        self._landed = self.state.sim.event((self.name,))
        return self._landed

    def _depart(self) -> None:
        """Note that one more chunk is in flight."""
        self.in_flight += 1
        if self._busy_since < 0:
            self._busy_since = self.state.sim.now

    def _land(self) -> None:
        """Note that a chunk is through."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self.busy_ps += self.state.sim.now - self._busy_since
            self._busy_since = -1
        if self._landed is not None and not self._landed.triggered:
            self._landed.succeed()

    def _at(self, ps: int, tag: Tag, then: Callable[[], None]) -> None:
        """Call ``then`` at the instant ``ps``."""
        event = self.state.sim.at(ps, tag)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: then())

    def _wait(self, event: simpy.Event, what: str, run: KernelRun, which: int) -> Steps:
        """Hold a descriptor of read binding ``which`` back until ``event``.

        Time with nothing in flight is a stall.
        """
        sim = self.state.sim
        sim.waiting[self.name] = what
        self._waiting_since = sim.now, self._busy(sim.now)
        self.waits, self._longer_ps = self.waits + 1, 0
        yield event
        stalled = self._stalled(sim.now)
        self._waiting_since = None
        self.stalled_ps += stalled
        stalled += self._longer_ps
        if stalled > 0:
            now = sim.stamp(sim.now)
            part = run.parts[run.kernel.reads[which].op]  # of the kernel that it is by now
            self.state.recorder.stall_span(self.name, "dependency", part, now - stalled, now)

    def _busy(self, now: int) -> int:
        return self.busy_ps + (now - self._busy_since if self._busy_since >= 0 else 0)

    def _stalled(self, now: int) -> int:
        """Return for how long the present wait has been a stall."""
        if self._waiting_since is None:
            return 0
        since, busy = self._waiting_since
        return now - since - (self._busy(now) - busy)

    def meters(self) -> tuple[int, int]:
        """Return the busy and the stalled time up to now."""
        now = self.state.sim.now
        return self._busy(now), self.stalled_ps + self._stalled(now)

    def add_meters(self, busy_ps: int, stalled_ps: int) -> None:
        """Add what skipped periods would have added."""
        self.busy_ps += busy_ps
        self.stalled_ps += stalled_ps
        if self._waiting_since is not None:
            since, busy = self._waiting_since
            self._waiting_since = since, busy + busy_ps

    @property
    def waited_ps(self) -> int:
        """How long the wait in hand has been a stall, with what was skipped: what its span begins with."""
        return self._stalled(self.state.sim.now) + self._longer_ps if self._waiting_since is not None else 0

    def ages(self, but: Move | None) -> tuple[tuple[int, ...], ...]:
        """Return how long the transfers under way have been, ``but`` one, and what their ends will book."""
        now = self.state.sim.now
        moves = (m for m in self.under_way if m is not but)
        return tuple((now - m.issued_ps, *m.figures(), m.buffered, m.forwarded) for m in moves)

    def wait_longer(self, stalled_ps: int) -> None:
        """Note a stall that was skipped in the middle of the present wait; it is among the meters already."""
        self._longer_ps += stalled_ps

    def standing(self, current: KernelRun) -> tuple[Any, ...]:
        """Return where the engine stands, all counted as ``current`` does."""
        index = self.run_.kernel.index - current.kernel.index if self.run_ is not None else None
        landed = self._landed is not None and not self._landed.triggered
        return (
            self.stage,
            index,
            index == 0,
            self.tile,
            self.place,
            self.chunk,
            self.in_flight,
            landed,
            self.where,
        )

    @property
    def done(self) -> bool:
        """Return whether all of the program's transfers have been served."""
        return self.stage == "done"

    def waits_for(self, current: KernelRun) -> int | None:
        """Return how many tiles of ``current`` must be done before the engine goes on, or None."""
        for counter in (current.consumed, current.tiles):
            for n, tag in counter.waits():
                if tag == (self.name,):
                    return n
        return None

    def goes_on_alone(self, current: KernelRun, inside: bool) -> bool:
        """Return whether the engine is on its way through other tiles than those the loop goes through.

        That is, through another kernel's, or, ``inside`` a tile, through any: then no state recurs.
        """
        if self.stage in ("", "done") or not (inside or self.run_ is not current):
            return False
        return not self.amid and not self.blocked(current)

    @property
    def amid(self) -> bool:
        """Return whether it is in the middle of a transfer, its next chunk waiting for one to land."""
        waits = self._landed is not None and not self._landed.triggered
        return self.state.plain and self.stage == "slot" and waits

    def move_on(self, chunks: int, figures: Sequence[int], ps: int) -> None:
        """Leave out so many chunks of the transfer in hand, which took ``ps`` and add ``figures``."""
        assert self.move is not None
        self.chunk += chunks
        self.move.repeat(figures, ps)

    def blocked(self, current: KernelRun) -> bool:
        """Return whether the engine waits for a counter, with nothing in flight."""
        if self.in_flight:
            return False
        runs = [current] if self.run_ is None or self.run_ is current else [current, self.run_]
        counters = [c for r in runs for c in (r.consumed, r.tiles, r.results)]
        return any(tag == (self.name,) for c in (*counters, self.state.flushed) for _, tag in c.waits())

    def further(self, current: KernelRun, tile: int, results: int, stands: bool) -> None:
        """Go on to what lies as much further inside ``tile`` as was skipped of it."""

    def results_to_come(self, current: KernelRun) -> int | None:
        """Return how many results of ``current`` have yet to come before the engine goes on, or None."""
        waits = current.results.waits()
        return next((n - current.results.value for n, tag in waits if tag == (self.name,)), None)

    def nearer(self, current: KernelRun, tiles: int, results: int) -> None:
        """Stand at the same place although ``tiles`` and ``results`` before it are no longer counted."""
        if self.run_ is not current:
            return
        self.tile -= tiles
        current.results.nearer(results, (self.name,))
        for counter in (current.consumed, current.tiles):
            counter.nearer(tiles, (self.name,))

    def _count(self, part: Part, role: str, action: str, dram_bytes: int) -> None:
        recorder = self.state.recorder
        recorder.count("dma", action, part, role, dram_bytes * 8)
        recorder.count("dram", action, part, role, dram_bytes * 8)
        recorder.dram(action, part, dram_bytes)

    def _place(
        self, run: KernelRun, binding: Binding, job: Transfer, begun: tuple[int, ...], move: Move
    ) -> None:
        """Set where a transfer goes, if that matters; ``begun`` counts those of each binding before."""
        self.where = ()
        if run.places is not None:
            ordinal = job.ordinal + (begun[job.binding] if begun and job.binding >= 0 else 0)
            move.where = run.places.of_transfer(binding, job, ordinal)
            self.where = run.places.key(binding, move.where)

    def _bank_access(
        self, move: Move, binding: Binding, action: Action, nbytes: int, moved: int, space: Hashable = None
    ) -> Service:
        """Move one chunk through a bank's port, ``moved`` bytes of the transfer having gone before."""
        bank = self.state.banks[binding.group]
        served = bank.serve(action, nbytes, move.where, moved, space)
        access, busy = served.access, served.busy_ps
        move.narrow += served.narrow
        move.buffered += served.buffered
        move.forwarded += served.forwarded
        end = max(access.done_ps, access.start_ps + busy) if bank.plain else access.done_ps
        move.bank.add(access, end, busy, served.words, nbytes)
        return served

    def _dram_access(self, move: Move, action: Action, nbytes: int) -> Access:
        """Move one chunk over DRAM's channel."""
        access = self.state.dram.access(action, nbytes)
        end = access.done_ps - (self.state.machine.dram.latency_ps if action == "read" else 0)
        move.dram.add(access, end, end - access.start_ps, 1, nbytes)
        return access

    def _close(self, run: KernelRun, binding: Binding, move: Move, fills: bool) -> None:
        """Enter what a transfer moved: words of its bank, and a span each of bank and DRAM."""
        self.under_way.remove(move)
        state, part, tensor = self.state, run.parts[binding.op], binding.data.tensor
        into: Action = "write" if fills else "read"
        words = move.bank.count
        state.recorder.count(f"spad.{binding.group}", into, part, binding.data.role, words)
        state.recorder.count(f"spad.{binding.group}", "rmw", part, binding.data.role, move.narrow)
        buffer = words, move.buffered, move.forwarded
        state.count_buffer(binding.group, part, binding.data.role, *buffer)
        move.bank.tell(state, state.bank_component(binding.group, into), into, part, tensor)
        move.dram.tell(state, "dram", "read" if fills else "write", part, tensor)

    def _dram_bytes(self, job: Transfer) -> int:
        burst = self.state.machine.dma.burst_bytes
        return job.runs * ceil_div(job.run_bytes, burst) * burst

    def _move(self, job: Transfer, binding: Binding) -> Move:
        """Begin to move what a descriptor says."""
        state = self.state
        bank, burst = state.banks[binding.group], state.machine.dma.burst_bytes
        chunks = chunks_of(self._dram_bytes(job), job.nbytes, bank, state.dram.chunk_bytes, burst)
        move = Move(chunks, state.sim.now)
        self.under_way.append(move)
        return move


class FillEngine(DmaEngine):
    """DRAM to banks."""

    name = "dma.read"

    def run(self) -> Steps:
        """Serve the fills of all kernels in order."""
        state = self.state
        while self.index < len(state.program.kernels):
            if any(b.place != "resident" for b in state.program.kernels[self.index].reads):
                yield from self._kernel(state.kernel(self.index))
            self.index += 1
        self.stage = "done"

    def _kernel(self, run: KernelRun) -> Steps:
        self.run_ = run
        self.tile = run.next_fill(0)
        while self.tile < run.count:
            for place in range(len(run.job(self.tile).fills)):
                self.place = place
                yield from self._ready(run)
                yield from self._fill(run)
            self.tile = run.next_fill(self.tile + 1)

    def _ready(self, run: KernelRun) -> Steps:
        fill = run.job(self.tile).fills[self.place]
        binding = run.kernel.reads[fill.binding]
        need = fill_need(binding)
        self.state.asked(run, fill.binding)
        if self.state.flushed.value < need:
            what = f"kernel {need - 1} to be written back before {binding.data.tensor} is filled"
            self.stage = "flush"
            yield from self._wait(self.state.flushed.reached(need, (self.name,)), what, run, fill.binding)
        rides = fill.binding in run.kernel.rider_reads  # read as results drain
        tiles = run.tiles if rides else run.consumed
        wait = run.job(self.tile).fills[self.place].wait_tile
        if tiles.value <= wait:
            what = f"tile {wait} of {run.kernel.leader.op} to free a buffer"
            self.stage = "tile"
            yield from self._wait(tiles.reached(wait + 1, (self.name,)), what, run, fill.binding)

    def _fill(self, run: KernelRun) -> Steps:
        state = self.state
        fill = run.job(self.tile).fills[self.place]
        number = len(run.fill_times)
        run.fill_times.append(FillTimes(state.sim.now))
        move = self._move(fill, run.kernel.reads[fill.binding])
        part = run.parts[run.kernel.reads[fill.binding].op]
        self._count(part, run.kernel.reads[fill.binding].data.role, "read", self._dram_bytes(fill))
        self._place(run, run.kernel.reads[fill.binding], fill, run.start.filled, move)
        plain = state.banks[run.kernel.reads[fill.binding].group].plain
        self.stage = "descriptor"
        yield state.sim.delay(state.machine.dma.descriptor_latency_ps, (self.name,))
        at = FillMark(number, self.tile, self.place, fill.binding, move)
        self.move, self.chunk = move, 0
        while self.chunk < len(move.chunks):
            while self.in_flight >= self.outstanding:
                yield self._slot()
            self._depart()
            dram_bytes, bank_bytes = move.chunks[self.chunk]
            self.chunk += 1
            access = self._dram_access(at.move, "read", dram_bytes)
            about = () if plain else (move.moved, self.where)
            tag = ("arrive", run, "fill", number, bank_bytes, *about)
            self._at(access.done_ps, tag, self._arrive(run, at, bank_bytes, move.moved))
            move.moved += bank_bytes

    def _arrive(self, run: KernelRun, fill: FillMark, nbytes: int, moved: int) -> Callable[[], None]:
        """Return what happens when a chunk has come from DRAM: it is written into its bank."""
        binding = run.kernel.reads[fill.binding]

        def arrived() -> None:
            """Take the bank's port, and go on when the words are through, and in the cells."""
            times = run.fill_times[fill.number]
            now = times.arrived_ps = self.state.sim.now
            name = run, "fill", fill.number
            served = Service(Access(now, now, now, None), 0, 0)
            if nbytes:
                served = self._bank_access(fill.move, binding, "write", nbytes, moved, ("fill", *name))
            written = served.access
            times.cause = written.cause
            times.woken_ps, times.wake_ps = written.start_ps, written.wake_ps
            fill.move.left += len(served.entries)  # of a write buffer: words yet to come to the cells
            self._at(written.done_ps, ("fill landed", *name), landed)
            for buffer, entry in served.entries:
                self.state.banks[binding.group].when_written(buffer, entry, ("fill written", *name), done)

        def landed() -> None:
            self._land()
            done()

        def done() -> None:
            fill.move.left -= 1
            if fill.move.left == 0:
                self._filled(run, fill)

        return arrived

    def _filled(self, run: KernelRun, at: FillMark) -> None:
        state, now = self.state, self.state.sim.now
        times = run.fill_times[at.number]
        times.done_ps = now
        binding = run.kernel.reads[at.binding]
        fill = run.job(at.tile).fills[at.place]
        state.tell_fill(run, at.tile, at.place, now)
        if binding.copy is not None:
            state.fill_booked(run, at.tile, at.place, binding, fill.box, now)
        else:
            slot = state.slot_copy(run, binding, fill.binding, fill.ordinal, fill.box, out=False)
            slot.write_whole(state.sim.stamp(now))
        self._close(run, binding, at.move, fills=True)
        issued = at.move.issued_ps
        access = Access(issued, issued, now, None)
        part = run.parts[binding.op]
        state.span(self.name, "fill", part, binding.data.tensor, access, now, now - issued, 1, fill.nbytes)
        done = run.fills.value
        while done < len(run.fill_times) and run.fill_times[done].done_ps:
            done += 1
        run.fills.advance(done)
