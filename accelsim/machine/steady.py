"""The steady state of a kernel: whole periods are accounted at once, and nothing changes.

At the head of a tile, and of a fold inside it, the machine's state is compared with those at earlier
heads. Where one is equal, the engine being deterministic, what happened since happens again for as long
as the tiles (folds) to come are alike. Those periods are skipped: the clock is set forward, sums are added
as often, accesses of copies that outlive a period are booked one by one. Loops nest: heads before a skip
stay known, so that the loop around it is found as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.machine.drain import Drain
from accelsim.machine.heads import Engine, Head, Period, SlotCopies, Stand
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.leap import leap
from accelsim.machine.snapshot import Camera, Shot
from accelsim.machine.state import State
from accelsim.program.jobs import Base
from accelsim.sim.engine import PS_PER_S

if TYPE_CHECKING:
    from accelsim.machine.unit import KernelSteps

LEAST_TILES = 5  # fewer cannot hold two equal heads and a period to skip
LEAST_FOLDS = 5
REMEMBERED = 12  # heads of equal state that later ones are compared with
Known = dict[Shot, list[Head]]


class Steady:
    """Looks for the steady state of one kernel's run."""

    def __init__(self, state: State, drain: Drain, engines: Sequence[Engine], run: KernelRun) -> None:
        self.state = state
        self.drain = drain
        self.engines = engines
        self.run = run
        self.camera = Camera(state, drain, run)
        self.on = state.skips and not self._traced()
        state.journal.clear()
        self.skipped = 0  # tiles
        self.folds_skipped = 0
        self._tiles: Known = {}
        self._folds: Known = {}

    def _traced(self) -> bool:
        histogram, kernel = self.state.recorder.histogram, self.run.kernel
        return any(histogram.traces(b.data.tensor) for b in (*kernel.reads, *kernel.writes))

    def tile_head(self, units: KernelSteps) -> None:
        """Look at the state before the tile in hand, and skip the tiles that are bound to recur."""
        self._folds = {}
        jobs = self.run.jobs
        if not self.on or len(jobs) < LEAST_TILES or units.tile + 2 >= self.run.count:
            return
        if self.engines[0].goes_on_alone(self.run, False):
            return
        found = self._look(units, None, self._tiles, jobs.base(units.tile + self.run.start.tiles))
        self.skipped += found.tiles * found.times if found is not None else 0

    def fold_head(self, units: KernelSteps) -> None:
        """Look at the state before a fold, and skip the folds of its tile that are bound to recur."""
        job = self.run.job(units.tile)
        if not self.on or len(job.folds) < LEAST_FOLDS or units.place + 2 >= len(job.folds):
            return
        if self.engines[0].goes_on_alone(self.run, True):
            return
        base = self.run.jobs.base_at(units.tile + self.run.start.tiles, job, units.place)
        found = self._look(units, units.place, self._folds, base)
        self.folds_skipped += found.folds * found.times if found is not None else 0

    def why_not(self) -> str:
        """Return why nothing of the kernel was skipped; empty if something was."""
        if self.skipped or self.folds_skipped:
            return ""
        if self.state.recorder.unsteady:
            return self.state.recorder.unsteady[0]
        if not self.state.skips:
            return "every tile simulated on demand"
        if self._traced():
            return "single copies traced"
        if len(self.run.jobs) < LEAST_TILES:
            return "few tiles"
        return "no two equal states with alike tiles to follow"

    def _look(self, units: KernelSteps, place: int | None, known: Known, base: Base) -> Period | None:
        shot = self.camera.take(units, base, place)
        head = self._head(units, place, base)
        heads = known.setdefault(shot, [])
        found = None
        for earlier in reversed(heads):
            found = self._period(units, earlier, head)
            if found is not None:
                leap(self.state, self.drain, self.engines, self.run, units, found)
                head = self._head(units, place and units.place, head.base.plus(found.base, found.times))
                break
        heads.append(head)
        del heads[:-REMEMBERED]
        return found

    def _head(self, units: KernelSteps, place: int | None, base: Base) -> Head:
        state = self.state
        return Head(
            tile=units.tile + self.run.start.tiles,
            place=place or 0,
            at_ps=state.sim.stamp(state.sim.now),
            stands=tuple(self._stand(e, units, place is not None, base) for e in self.engines),
            slots=self._slots(base),
            base=base,
            window=state.recorder.turn(),
            spans=len(state.recorder.spans),
            journal=len(state.journal),
            turns=self.run.turn(),
            meters=state.meters() + units.meters(),
            fired=state.sim.fired,
        )

    def _stand(self, engine: Engine, units: KernelSteps, inside: bool, base: Base) -> Stand:
        run = self.run
        stage, index, here, tile, place, chunk, *rest = engine.standing(run)
        moved = engine.move if engine.amid and (inside or engine.run_ is not run) else None
        from_here = tile - units.tile if here else tile
        until = engine.waits_for(run)
        still = None
        if engine.blocked(run):
            still = (stage, index, tile + run.start.tiles if here else tile, place, chunk, *rest)
        if inside and here and not from_here and engine.name == "dma.write":
            place -= base.results - int(run.jobs.results_before[tile + run.start.tiles])
        until = until + run.start.tiles if until is not None else None
        ahead, results = from_here if here else 0, engine.results_to_come(run)
        if moved is None:
            return Stand((stage, index, from_here, place, chunk, *rest), still, ahead, until, results)
        moving = (stage, index, from_here, place, None, *rest)
        return Stand(moving, still, ahead, until, results, moved, engine.chunk, moved.figures())

    def _slots(self, base: Base) -> SlotCopies:
        """Return when the bytes in each binding's slots were written and read, from now on."""
        run, now = self.run, self.state.sim.stamp(self.state.sim.now)
        found: dict[tuple[bool, int], list[Any]] = {}
        for (out, index, ordinal), copy in run.slots.items():
            begun = (base.written if out else base.filled)[index]
            begun -= (run.start.written if out else run.start.filled)[index]
            lasting = 1 if not out and index not in run.kernel.rider_reads else self._lag(out, index)
            if ordinal >= begun - lasting:
                found.setdefault((out, index), []).append((ordinal - begun, copy.standing(now)))
        return {key: tuple(copies) for key, copies in found.items()}

    def _lag(self, out: bool, index: int) -> int:
        """Return how many slots of a binding may still be read although the unit is through with them."""
        kernel = self.run.kernel
        return len((kernel.writes if out else kernel.reads)[index].slots)

    # -- whether -----------------------------------------------------------------------------------

    def _period(self, units: KernelSteps, first: Head, last: Head) -> Period | None:
        """Return how often what happened between two heads of equal state recurs; None: it does not."""
        period = Period(first, last, 1)
        whole_cycles = period.ps * self.state.machine.clock_hz % PS_PER_S == 0
        if period.ps <= 0 or not whole_cycles or first.fired != last.fired:
            return None
        stands = list(zip(first.stands, last.stands, strict=True))
        for engine, (before, after) in zip(self.engines, stands, strict=True):
            if not self._goes_with(engine, before, after, period.base):
                return None
        times = self._times_of_tiles(period, stands) if period.tiles else self._times_of_folds(units, period)
        for before, after in stands:
            if before.moving != after.moving and after.results is not None and period.base.results:
                times = min(times, (after.results - 1) // period.base.results)
            per = after.chunk - before.chunk
            if after.move is not None and per:
                times = min(times, after.move.alike(after.chunk, per) // per)
        timer = self.state.sim.next_timer()
        if timer is not None:
            times = min(times, (timer - 1) // period.ps)
        if times < 1 or any(first.slots.get(key) != last.slots.get(key) for key in period.renewed):
            return None
        return Period(first, last, times)

    def _goes_with(self, engine: Engine, before: Stand, after: Stand, counted: Base) -> bool:
        """Return whether an engine goes along with the loop, or stands still throughout."""
        if before.moving == after.moving:
            return before.move is after.move
        if before.still is None or before.still != after.still:
            return False
        moved = counted.fills if engine.name == "dma.read" else counted.backs
        return not (moved and engine.run_ is self.run)

    def _times_of_tiles(self, period: Period, stands: list[tuple[Stand, Stand]]) -> int:
        tile, per = period.last.tile, period.tiles
        ahead = max(after.ahead if before.moving == after.moving else 0 for before, after in stands)
        until = min(
            (a.until - 1 for b, a in stands if a.until is not None and b.still == a.still),
            default=len(self.run.jobs),
        )
        kinds = self.run.signatures
        unlike = np.flatnonzero(kinds[tile:] != kinds[tile - per : kinds.size - per])
        end = tile + int(unlike[0]) if unlike.size else int(kinds.size)
        return min((end - max(0, ahead) - 1 - tile) // per, (until - tile) // per)

    def _times_of_folds(self, units: KernelSteps, period: Period) -> int:
        kinds = self.run.kinds(units.tile)
        place, per = period.last.place, period.folds
        end = next((i for i in range(place, len(kinds)) if kinds[i] != kinds[i - per]), len(kinds))
        return (end - 1 - place) // per
