"""The steady state of a kernel: whole periods are accounted at once, and nothing changes.

At the head of a tile, and of a fold inside it, the machine's state is compared with those at earlier
heads. Where one is equal, the engine being deterministic, what happened since happens again for as long
as the tiles (folds) to come are alike. Those periods are skipped: the clock is set forward, sums are added
as often, accesses of copies that outlive a period are booked one by one. Loops nest: heads before a skip
stay known, so that the loop around it is found as well, and so do loops, as what follows may be alike to one
that was gone through before.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.machine.drain import Drain
from accelsim.machine.forms import fill_need
from accelsim.machine.heads import Engine, Head, Period, SlotCopies, Stand
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.leap import leap
from accelsim.machine.loops import REMEMBERED, Kinds, Loop, States, as_before
from accelsim.machine.snapshot import Camera, Shot
from accelsim.machine.state import State
from accelsim.machine.stretch import Stretch, is_own, renamed, stretch_of
from accelsim.program.jobs import Base
from accelsim.sim.engine import PS_PER_S

if TYPE_CHECKING:
    from accelsim.machine.unit import KernelSteps

LEAST_TILES = 5  # fewer cannot hold two equal heads and a period to skip
LEAST_FOLDS = 5
LONGEST = 1024  # queue of results at which states are compared: a longer one is still growing
Loops = dict[Shot, dict[Kinds, Loop]]
Found = tuple[Period, Stretch]  # what recurs, and what it adds to the books


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
        self._tiles = States()
        self._folds = States()
        self._alike = state.alike(run.kernel.index)
        self._loops: Loops = {}  # of the folds of tiles like the one in hand

    def _traced(self) -> bool:
        histogram, kernel = self.state.recorder.histogram, self.run.kernel
        return any(histogram.traces(b.data.tensor) for b in (*kernel.reads, *kernel.writes))

    def tile_head(self, units: KernelSteps) -> None:
        """Look at the state before the tile in hand, and skip the tiles that are bound to recur."""
        self._folds, self._loops = States(), self._loops_of(units.tile)
        jobs = self.run.jobs
        if not self.on or len(jobs) < LEAST_TILES or units.tile + 2 >= self.run.count:
            return
        if self.engines[0].goes_on_alone(self.run, False):
            return
        self.skipped += self._look(units, None, self._tiles, jobs.base(units.tile + self.run.start.tiles))

    def _loops_of(self, tile: int) -> Loops:
        """Return the loops that folds of alike tiles went through."""
        if self.run.places is not None:
            return {}
        return self._alike.folds.setdefault(int(self.run.signatures[tile + self.run.start.tiles]), {})

    def fold_head(self, units: KernelSteps) -> None:
        """Look at the state before a fold, and skip the folds of its tile that are bound to recur."""
        job = self.run.job(units.tile)
        if not self.on or len(job.folds) < LEAST_FOLDS or units.place + 2 >= len(job.folds):
            return
        if self.engines[0].goes_on_alone(self.run, True):
            return
        base = self.run.jobs.base_at(units.tile + self.run.start.tiles, job, units.place)
        self.folds_skipped += self._look(units, units.place, self._folds, base)

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

    def _look(self, units: KernelSteps, place: int | None, known: States, base: Base) -> int:
        """Skip what recurs from the head in hand on, and return how many tiles, or folds, that were."""
        if len(self.drain.queue) > LONGEST:
            return 0
        shot = self.camera.take(units, base, place)
        seen = known.of(shot, len(self.drain.queue))
        known_loops: Loops = self._loops if place is not None else self._alike.tiles
        loops = known_loops.get(shot, {})
        head, skipped = self._head(units, place, base), 0
        loop = self._loop(units, seen.heads[-1], head) if seen.heads else None
        periods = (self._period(units, earlier, head) for earlier in reversed(seen.heads))
        recurs = next((p for p in periods if p is not None), None)
        found = (recurs, self._booked(recurs)) if recurs is not None else self._again(units, loops, head)
        while found is not None:
            period, booked = found
            leap(self.state, self.drain, self.engines, self.run, units, period, booked)
            skipped += (period.tiles or period.folds) * period.times
            place = None if place is None else units.place
            head = self._head(units, place, head.base.plus(period.base, period.times))
            found = self._again(units, loops, head)
        if loop is not None and loop.kinds not in loops and len(loops) < REMEMBERED:
            known_loops.setdefault(shot, loops)[loop.kinds] = self._to_share(loop)
        seen.add(head)
        return skipped

    def _booked(self, period: Period) -> Stretch:
        return stretch_of(self.state, self.run, period.first, period.last)

    def _to_share(self, loop: Loop) -> Loop:
        """Return a loop with its books, if alike kernels may go through it."""
        booked = self._booked(loop.period) if self.state.forms else None
        own = booked is not None and is_own(booked, self.state.recorder.spans)
        return replace(loop, booked=booked) if own else loop

    def _loop(self, units: KernelSteps, first: Head, last: Head) -> Loop | None:
        """Return what lies between two heads of equal state as a loop, if it is one that can recur."""
        period = Period(first, last, 1, last)
        stands = list(zip(first.stands, last.stands, strict=True))
        if not self._closes(period, stands) or any(after.move is not None for _, after in stands):
            return None
        if period.tiles:
            under_way = 1 + _ahead(stands)  # tiles begun or filled: others stand in their place after it
            found = self._kinds_of_tiles(first.tile, period.tiles + under_way)
        else:
            under_way = 1
            found = self._kinds_of_folds(units, first.place, period.folds + under_way)
        if found[:under_way] != found[-under_way:]:
            return None
        return Loop(self.run.kernel, period, found)

    def _again(self, units: KernelSteps, loops: Mapping[Kinds, Loop], head: Head) -> Found | None:
        """Return a loop that was gone through before and recurs from the head in hand on."""
        timer = self.state.sim.next_timer()
        for loop in loops.values():
            if loop.kernel is not self.run.kernel and (loop.booked is None or not self._may_fill(loop)):
                continue
            most = (timer - 1) // loop.period.ps if timer is not None else sys.maxsize
            most = self._repeats(units, loop, head, most)
            if not most:
                continue
            counted = loop.period.base
            period = as_before(loop, head, most, [self._counts(engine, counted) for engine in self.engines])
            if period is None:
                continue
            if loop.booked is None:
                return period, self._booked(period)
            for which in _filled(loop):
                self.state.asked(self.run, which)
            return period, renamed(loop.booked, self.run, self.state.recorder.spans)
        return None

    def _may_fill(self, loop: Loop) -> bool:
        """Return whether nothing that a loop fills waits for an earlier kernel any more."""
        reads, through = self.run.kernel.reads, self.state.flushed.value
        return all(fill_need(reads[which]) <= through for which in _filled(loop))

    def _repeats(self, units: KernelSteps, loop: Loop, head: Head, most: int) -> int:
        """Return how often, up to ``most``, the kinds from the head in hand on are those of a loop."""
        times, length, period = 0, len(loop.kinds), loop.period
        while times < most:
            if period.tiles:
                ahead = self._kinds_of_tiles(head.tile + times * period.tiles, length)
            else:
                ahead = self._kinds_of_folds(units, head.place + times * period.folds, length)
            if ahead != loop.kinds:
                break
            times += 1
        return times

    def _kinds_of_tiles(self, tile: int, length: int) -> Kinds:
        return tuple(self.run.signatures[tile : tile + length].tolist())

    def _kinds_of_folds(self, units: KernelSteps, place: int, length: int) -> Kinds:
        return tuple(self.run.kinds(units.tile)[place : place + length])

    def _head(self, units: KernelSteps, place: int | None, base: Base) -> Head:
        state = self.state
        return Head(
            tile=units.tile + self.run.start.tiles,
            place=place or 0,
            at_ps=state.sim.stamp(state.sim.now),
            stands=tuple(self._stand(e, units, place is not None, base) for e in self.engines),
            slots=self._slots(base),
            base=base,
            start=self.run.start,
            window=state.recorder.turn(),
            spans=len(state.recorder.spans),
            journal=len(state.journal),
            turns=self.run.turn(),
            meters=state.meters() + units.books.meters(),
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
        unwritten = place
        if inside and here and not from_here and engine.name == "dma.write":
            place -= base.results - int(run.jobs.results_before[tile + run.start.tiles])
        if here and engine.name == "dma.write":
            rest = [*rest, self._behind(units, tile, unwritten, inside)]
        waited = engine.waits, engine.meters()[1], engine.waited_ps, engine.ages(moved)
        until = until + run.start.tiles if until is not None else None
        ahead, results = from_here if here else 0, engine.results_to_come(run)
        if moved is None:
            return Stand(
                (stage, index, from_here, place, chunk, *rest), still, ahead, *waited, until, results
            )
        moving = (stage, index, from_here, place, None, *rest)
        return Stand(moving, still, ahead, *waited, until, results, moved, engine.chunk, moved.figures())

    def _behind(self, units: KernelSteps, tile: int, place: int, inside: bool) -> Shot:
        """Return what is to be written back of tiles, or results, that the unit is through with."""
        run = self.run
        tiles = tuple(run.backs_form(t) for t in range(tile, units.tile))
        if not inside or tile != units.tile:
            return tiles
        results = itertools.islice(run.job(tile).results, place, None)
        done = itertools.takewhile(lambda r: r.last < units.place, results)
        return tuple(tuple(b.nbytes for b in r.write_backs) for r in done)

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
        period = Period(first, last, 1, last)
        stands = list(zip(first.stands, last.stands, strict=True))
        if not self._closes(period, stands):
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
        return Period(first, last, times, last) if times >= 1 else None

    def _closes(self, period: Period, stands: list[tuple[Stand, Stand]]) -> bool:
        """Return whether a stretch leads from a state back to it in all that decides what follows."""
        first, last = period.first, period.last
        whole_cycles = period.ps * self.state.machine.clock_hz % PS_PER_S == 0
        if period.ps <= 0 or not whole_cycles or first.fired != last.fired:
            return False
        if not all(b.since_as(a, wait=b.waits != a.waits) for b, a in stands):
            return False
        for engine, (before, after) in zip(self.engines, stands, strict=True):
            if not self._goes_with(engine, before, after, period.base):
                return False
        return all(first.slots.get(key) == last.slots.get(key) for key in period.renewed)

    def _goes_with(self, engine: Engine, before: Stand, after: Stand, counted: Base) -> bool:
        """Return whether an engine goes along with the loop, or stands still throughout."""
        if before.moving == after.moving:
            return before.move is after.move
        if before.still is None or before.still != after.still:
            return False
        return not self._counts(engine, counted)

    def _counts(self, engine: Engine, counted: Base) -> bool:
        """Return whether a loop that counts so much has the engine go through this kernel's transfers."""
        moved = counted.fills if engine.name == "dma.read" else counted.backs
        return bool(moved) and engine.run_ is self.run

    def _times_of_tiles(self, period: Period, stands: list[tuple[Stand, Stand]]) -> int:
        tile, per = period.last.tile, period.tiles
        ahead = _ahead(stands)
        until = min(
            (a.until - 1 for b, a in stands if a.until is not None and b.still == a.still),
            default=len(self.run.jobs),
        )
        kinds = self.run.signatures
        unlike = np.flatnonzero(kinds[tile:] != kinds[tile - per : kinds.size - per])
        end = tile + int(unlike[0]) if unlike.size else int(kinds.size)
        return min((end - ahead - 1 - tile) // per, (until - tile) // per)

    def _times_of_folds(self, units: KernelSteps, period: Period) -> int:
        kinds = self.run.kinds(units.tile)
        place, per = period.last.place, period.folds
        end = next((i for i in range(place, len(kinds)) if kinds[i] != kinds[i - per]), len(kinds))
        return (end - 1 - place) // per


def _filled(loop: Loop) -> list[int]:
    """Return the read bindings of which a loop fills something."""
    return [which for which, n in enumerate(loop.period.base.filled) if n]


def _ahead(stands: list[tuple[Stand, Stand]]) -> int:
    """Return how many tiles the engines that go along are ahead."""
    return max(0, *(after.ahead for before, after in stands if before.moving == after.moving), 0)
