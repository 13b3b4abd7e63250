"""The state of the machine at the head of a tile, seen from there: what decides all that follows.

Times count from now, tiles, fills, results and write-backs from the tile in hand, so that two heads with
equal snapshots are followed by the same events. Times of writes that only residencies remember are no
part of it, nor is what has been counted so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelsim.machine.buffer import Buffer
from accelsim.machine.drain import Drain, DrainFold, Item
from accelsim.machine.fold_run import FoldRun
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.memory import Port
from accelsim.machine.plugged import Guarded
from accelsim.machine.state import State
from accelsim.machine.stream import StreamRun
from accelsim.program.jobs import Base
from accelsim.sim import Tag
from accelsim.sim.engine import PS_PER_S, TIMER

if TYPE_CHECKING:
    from accelsim.machine.unit import KernelSteps

Shot = tuple[Any, ...]
UNSEEN = (("watch",), TIMER)  # what was watched has passed; timers bound a skip instead


class Camera:
    """Takes snapshots of one kernel's run."""

    def __init__(self, state: State, drain: Drain, run: KernelRun) -> None:
        self.state = state
        self.drain = drain
        self.run = run
        self.now = self.since = 0
        self.tile = 0
        self.place: int | None = None
        self.base = run.start

    def take(self, units: KernelSteps, base: Base, place: int | None) -> Shot:
        """Return the state at the head of the tile in hand, or of its fold ``place``.

        ``base`` counts what was before.
        """
        state, start = self.state, self.run.start
        self.place = place
        self.now, self.tile = state.sim.now, units.tile
        self.since = min(self.now, state.clock.edge(units.end))
        self.base = base.plus(start, -1)
        phase = self.now * state.machine.clock_hz % PS_PER_S
        return (
            phase,
            self._units(units),
            self._drain(),
            self._memories(),
            self._counters(),
            tuple(self._event(after, tag) for after, tag in state.sim.pending() if tag not in UNSEEN),
        )

    def _kernel(self, run: KernelRun) -> int:
        """Return which kernel it is, counted from the one in hand."""
        return run.kernel.index - self.run.kernel.index

    # -- parts -----------------------------------------------------------------------------------

    def _ago(self, ps: int) -> int:
        """Return an instant from now on; 0 if it has passed."""
        return max(0, ps - self.now)

    def _fold(self, tile: int, place: int) -> Shot:
        if self.place is not None and tile == self.tile:
            return 0, self.run.kinds(tile)[place], place - self.place
        return tile - self.tile, self.run.fold_form(tile, place), place

    def _units(self, units: KernelSteps) -> Shot:
        before = units.before
        return (
            units.end - self.state.clock.at_or_after(self.now),
            (before.gap, before.least, min(before.least, units.streamed)) if before is not None else None,
            units.filled_ps - self.now if units.filled_ps else None,
            units.slot_ps - self.now if units.slot_ps else None,
            self._fold_run(units.ahead) if units.ahead is not None else None,
        )

    def _fold_run(self, ahead: FoldRun) -> Shot:
        loads = (ahead.fold.load_cycles + 1) * PS_PER_S // self.state.machine.clock_hz + 1
        return (
            self._fold(ahead.tile, ahead.place),
            max(ahead.asked_ps - self.now, -loads),
            tuple(self._stream(s) for s in ahead.loads),
            tuple(self._stream(s) for s in ahead.streams),
        )

    def _stream(self, stream: StreamRun) -> Shot:
        return stream.standing(self.now)

    def _drain(self) -> Shot:
        drain = self.drain
        items = [drain.item, *drain.queue] if drain.item is not None else list(drain.queue)
        folds: dict[int, DrainFold] = {id(i.fold): i.fold for i in items if i.fold is not None}
        partial = [f for waiting in drain.partial_sums.values() for f in waiting]
        folds_here = self.run.job(self.tile).folds
        block = folds_here[self.place or 0].block if folds_here else ()
        return (
            drain.stage,
            drain.credit.used,
            tuple(self._item(i) for i in items),
            tuple(self._drain_fold(f) for f in folds.values()),
            tuple(self._ago(ps) for ps in drain.outstanding),
            self._ago(drain.last_done_ps),
            self._ago(drain.vector_free_ps),
            tuple(sorted((*self._fold(f.tile, f.place), f.fold.block == block) for f in partial)),
            drain.full,
            tuple(
                (self._drained(f), f.partial, f.to_cells, *(s.written_ps() - self.now for s in f.writes))
                for f in drain.closing
            ),
        )

    def _drained(self, fold: DrainFold) -> Shot:
        """Return which fold it is; of an earlier kernel, by its own count."""
        if fold.run is self.run:
            return self._fold(fold.tile, fold.place)
        return self._kernel(fold.run), fold.tile, fold.place

    def _item(self, item: Item) -> Shot:
        if item.run is not self.run:
            return (self._ago(item.due_ps), item.elements, self._kernel(item.run), item.tile)
        place = item.fold.place if item.fold is not None else -1
        return (self._ago(item.due_ps), item.elements, item.step, self._item_fold(item.tile, place))

    def _item_fold(self, tile: int, place: int) -> Shot:
        return self._fold(tile, place) if place >= 0 else (tile - self.tile,)

    def _drain_fold(self, fold: DrainFold) -> Shot:
        return (
            tuple(self._stream(s) for s in fold.writes),
            tuple(self._stream(s) for s in fold.riders),
            fold.partial,
            fold.completes,
        )

    def _memories(self) -> Shot:
        state = self.state
        servers = [server for bank in state.banks.values() for server in bank.servers]
        buffers = tuple(self._buffer(s.buffer) for s in servers if s.buffer is not None)  # first: use ports
        ports = [self._port(port) for s in servers for port in (s.read_port, s.write_port)]
        if state.transpose is not None:
            ports.append(self._port(state.transpose.port))
        wakes = tuple(bank.wakes for bank in state.banks.values())
        own = [bank.standing(self.now) for bank in state.banks.values() if isinstance(bank, Guarded)]
        return (*ports, *own, wakes, self._port(state.dram.port), state.dram.standing(self.now), buffers)

    def _buffer(self, buffer: Buffer) -> Shot:
        *entrance, entries = buffer.standing(self.now)
        return (*entrance, tuple((self._space(space), *rest) for space, *rest in entries))

    def _space(self, space: Any) -> Shot:
        """Return what names the words of a write, seen from here."""
        what, *whose = space
        if isinstance(whose[0], DrainFold):
            return what, self._drained(whose[0])
        return what, self._about(*whose)

    def _port(self, port: Port) -> Shot:
        free = self._ago(port.free_ps)
        woken = (port.woken_ps - self.now, port.wake_ps) if port.woken_ps > self.now else None
        return free, port.cause if free else None, woken

    def _counters(self) -> Shot:
        run, base = self.run, self.base
        others = [r for r in self.state.runs() if r is not run]
        return (
            self.state.flushed.value - run.kernel.index,
            run.fills.value - base.fills,
            run.consumed.value - self.tile,
            run.tiles.value - self.tile,
            run.results.value - base.results,
            run.write_backs.value - base.backs,
            len(run.backs_done) - base.backs,
            tuple(run.backs_done[run.write_backs.value :]),
            tuple(self._fill_time(run, n) for n in range(run.fills.value, len(run.fill_times))),
            tuple(
                tuple(tag for _, tag in counter.waits() if tag != ("watch",))
                for counter in (run.consumed, run.tiles, run.results)
            ),
            tuple(
                (self._kernel(r), r.fills.value, len(r.fill_times), r.tiles.value, r.write_backs.value)
                for r in others
            ),
        )

    def _fill_time(self, run: KernelRun, number: int) -> Shot:
        times = run.fill_times[number]
        arrived = times.arrived_ps - self.now if times.arrived_ps else None
        issued = max(times.issued_ps, self.since)  # no wait for it begins sooner than the last element's end
        woken = (times.woken_ps - self.now, times.wake_ps) if times.wake_ps else None
        return issued - self.now, arrived, bool(times.done_ps), times.cause, woken

    def _event(self, after: int, tag: Tag) -> Shot:
        if tag is None or len(tag) == 1:
            return after, tag
        if tag[0] == "cells":
            _, buffer, entry, inner = tag
            place = buffer.fifo.index(entry) if entry.done_ps < 0 else entry.done_ps - self.now
            return (entry.done_ps < 0, place, *self._event(after, inner))
        if tag[0] in ("written", "readable"):
            return after, tag[0], self._drained(tag[3]), tag[3].partial
        what, run, kind, number, *rest = tag
        about = tuple(r[1] - self.now if isinstance(r, tuple) and r[:1] == ("ps",) else r for r in rest)
        return after, what, *self._about(run, kind, number), about

    def _about(self, run: KernelRun, kind: str, number: int) -> Shot:
        """Return which fill or write-back it is, counted from here."""
        if run is not self.run:
            return self._kernel(run), number
        return 0, number - (self.base.fills if kind == "fill" else self.base.backs)
