"""The steady state of a kernel's tile loop: whole periods are accounted at once, and nothing changes.

At the head of a tile the machine's state is compared with those at earlier heads. Where one is equal, the
engine being deterministic, what happened since happens again for as long as the tiles to come are alike.
Those periods are skipped: the clock is set forward, sums are added as often, accesses of copies that
outlive a period are booked one by one. Loops nest: heads before a skip stay known, so that the loop
around it is found as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from accelsim.machine.drain import Drain
from accelsim.machine.replay import again
from accelsim.machine.snapshot import Camera, Shot
from accelsim.machine.state import KernelRun, State
from accelsim.program.jobs import Base
from accelsim.sim.engine import PS_PER_S

if TYPE_CHECKING:
    from accelsim.machine.unit import KernelSteps

LEAST_TILES = 5  # fewer cannot hold two equal heads and a period to skip
REMEMBERED = 12  # heads of equal state that later ones are compared with


class Engine(Protocol):
    """A DMA engine as the steady state sees it."""

    name: str
    run_: KernelRun | None
    tile: int
    stage: str

    def standing(self, current: KernelRun) -> tuple[Any, ...]:
        """Return where it stands."""

    def blocked(self, current: KernelRun) -> bool:
        """Return whether it waits for a counter, with nothing in flight."""

    def waits_for(self, current: KernelRun) -> int | None:
        """Return how many tiles must be done before it goes on."""

    def nearer(self, current: KernelRun, tiles: int) -> None:
        """Leave ``tiles`` before it out of account."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where an engine stands: seen from the tile in hand, and in itself where it is blocked."""

    moving: Shot
    still: Shot | None
    ahead: int  # tiles from the one in hand; 0 if it is in another kernel
    until: int | None  # tiles that must be done before a blocked one goes on


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a tile: its state, and where the books stood."""

    tile: int  # of the kernel, whatever was skipped
    at_ps: int
    stands: tuple[_Stand, ...]
    slots: dict[tuple[bool, int], Shot]
    base: Base
    window: int
    spans: int
    journal: int
    turns: int
    meters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """What recurs: the tiles between two heads, ``times`` times more."""

    first: Head
    last: Head
    times: int

    @property
    def tiles(self) -> int:
        """Tiles of one period."""
        return self.last.tile - self.first.tile

    @property
    def ps(self) -> int:
        """Length of one period."""
        return self.last.at_ps - self.first.at_ps

    @property
    def base(self) -> Base:
        """What one period counts."""
        return self.last.base.plus(self.first.base, -1)


class Steady:
    """Looks for the steady state of one kernel's run."""

    def __init__(self, state: State, drain: Drain, engines: Sequence[Engine], run: KernelRun) -> None:
        self.state = state
        self.drain = drain
        self.engines = engines
        self.run = run
        self.camera = Camera(state, drain, run)
        self.on = state.skips and len(run.jobs) >= LEAST_TILES and not self._traced()
        state.journal.clear()
        self.skipped = 0
        self.looked = 0
        self._heads: dict[Shot, list[Head]] = {}

    def _traced(self) -> bool:
        histogram, kernel = self.state.recorder.histogram, self.run.kernel
        return any(histogram.traces(b.data.tensor) for b in (*kernel.reads, *kernel.writes))

    def head(self, units: KernelSteps) -> None:
        """Look at the state before the tile in hand, and skip what is bound to recur."""
        if not self.on or units.tile + 2 >= self.run.count:
            return
        self.looked += 1
        tile = units.tile + self.run.start.tiles
        base = self.run.jobs.base(tile)
        shot = self.camera.take(units, base)
        head = self._head(units, tile, base)
        known = self._heads.setdefault(shot, [])
        for earlier in reversed(known):
            period = self._period(earlier, head)
            if period is not None:
                self._skip(units, period)
                tile = units.tile + self.run.start.tiles
                head = self._head(units, tile, self.run.jobs.base(tile))
                break
        known.append(head)
        del known[:-REMEMBERED]

    def why_not(self) -> str:
        """Return why none of the kernel's tiles were skipped; empty if some were."""
        if self.skipped:
            return ""
        if not self.state.skips:
            return "every tile simulated on demand"
        if len(self.run.jobs) < LEAST_TILES:
            return "few tiles"
        if self._traced():
            return "single copies traced"
        return "no two equal states with alike tiles to follow"

    def _head(self, units: KernelSteps, tile: int, base: Base) -> Head:
        state = self.state
        return Head(
            tile=tile,
            at_ps=state.sim.stamp(state.sim.now),
            stands=tuple(self._stand(e, units) for e in self.engines),
            slots=self._slots(base),
            base=base,
            window=state.recorder.turn(),
            spans=len(state.recorder.spans),
            journal=len(state.journal),
            turns=self.run.turn(),
            meters=state.meters() + units.meters(),
        )

    def _stand(self, engine: Engine, units: KernelSteps) -> _Stand:
        run = self.run
        stage, index, here, tile, *rest = engine.standing(run)
        from_here = tile - units.tile if here else tile
        until = engine.waits_for(run)
        still = None
        if engine.blocked(run):
            still = (stage, index, tile + run.start.tiles if here else tile, *rest)
        until = until + run.start.tiles if until is not None else None
        return _Stand((stage, index, from_here, *rest), still, from_here if here else 0, until)

    def _slots(self, base: Base) -> dict[tuple[bool, int], Shot]:
        """Return when the bytes in each binding's slots were written and read, from now on."""
        run, now = self.run, self.state.sim.stamp(self.state.sim.now)
        found: dict[tuple[bool, int], list[Any]] = {}
        for (out, index, ordinal), copy in run.slots.items():
            begun = (base.written if out else base.filled)[index]
            begun -= (run.start.written if out else run.start.filled)[index]
            if ordinal >= begun - len((run.kernel.writes if out else run.kernel.reads)[index].slots):
                found.setdefault((out, index), []).append((ordinal - begun, copy.standing(now)))
        return {key: tuple(copies) for key, copies in found.items()}

    # -- whether -----------------------------------------------------------------------------------

    def _period(self, first: Head, last: Head) -> Period | None:
        """Return how often what happened between two heads of equal state recurs; None: it does not."""
        length = last.at_ps - first.at_ps
        if length <= 0 or length * self.state.machine.clock_hz % PS_PER_S:
            return None
        per, counted = last.tile - first.tile, last.base.plus(first.base, -1)
        end, ahead = self._alike_until(last.tile, per), 0
        until = len(self.run.jobs)
        for before, after, engine in zip(first.stands, last.stands, self.engines, strict=True):
            if before.moving == after.moving:
                ahead = max(ahead, after.ahead)
            elif before.still is not None and before.still == after.still:
                if engine.run_ is self.run and (
                    counted.fills if engine.name == "dma.read" else counted.backs
                ):
                    return None
            else:
                return None
            if after.until is not None and before.still == after.still:
                until = min(until, after.until - 1)
        times = min((end - ahead - 1 - last.tile) // per, (until - last.tile) // per)
        if times < 1 or not self._slots_agree(first, last, counted):
            return None
        return Period(first, last, times)

    def _alike_until(self, tile: int, per: int) -> int:
        """Return the first tile from ``tile`` on that is unlike the one ``per`` before it."""
        kinds = self.run.jobs.signatures
        unlike = np.flatnonzero(kinds[tile:] != kinds[tile - per : kinds.size - per])
        return tile + int(unlike[0]) if unlike.size else int(kinds.size)

    def _slots_agree(self, first: Head, last: Head, counted: Base) -> bool:
        """Return whether the copies in slots that are filled anew in a period are as old as those before."""
        for out, counts in ((False, counted.filled), (True, counted.written)):
            for index, n in enumerate(counts):
                if n and first.slots.get((out, index)) != last.slots.get((out, index)):
                    return False
        return True

    # -- how ---------------------------------------------------------------------------------------

    def _skip(self, units: KernelSteps, period: Period) -> None:
        state, run, times = self.state, self.run, period.times
        recorder, since = state.recorder, period.first
        counted = period.base
        ps = period.ps * times
        recorder.repeat(since.window, times)
        recorder.repeat_spans(since.spans, times, period.ps)
        renewed = {(False, i) for i, n in enumerate(counted.filled) if n}
        renewed |= {(True, i) for i, n in enumerate(counted.written) if n}
        run.repeat_histograms(since.turns, times, renewed)
        again(state, run, period.first.journal, period.tiles, period.ps, times, renewed)
        self._add_meters(units, period)
        for engine, before, after in zip(self.engines, since.stands, period.last.stands, strict=True):
            if before.moving != after.moving:
                engine.nearer(run, period.tiles * times)
        zero = counted.plus(counted, -1)
        run.skip(zero.plus(counted, times))
        for (out, index, _), copy in run.slots.items():
            if (out, index) in renewed:
                copy.later(ps)
        state.sim.skip(ps)
        self.drain.name_blocks_anew()
        units.skipped_cycles += ps * state.machine.clock_hz // PS_PER_S
        self.skipped += period.tiles * times
        recorder.tiles_skipped += period.tiles * times

    def _add_meters(self, units: KernelSteps, period: Period) -> None:
        added = [
            (now - then) * period.times
            for then, now in zip(period.first.meters, period.last.meters, strict=True)
        ]
        own = len(units.meters())
        self.state.add_meters(added[:-own])
        units.add_meters(added[-own:])
