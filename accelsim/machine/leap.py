"""What a skip does: the clock is set forward, and the books are brought to where they would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.machine.drain import Drain
from accelsim.machine.heads import Engine, Period
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.replay import again
from accelsim.machine.state import State
from accelsim.machine.stretch import Stretch
from accelsim.sim.engine import PS_PER_S

if TYPE_CHECKING:
    from accelsim.machine.unit import KernelSteps


def leap(
    state: State,
    drain: Drain,
    engines: Sequence[Engine],
    run: KernelRun,
    units: KernelSteps,
    period: Period,
    booked: Stretch,
) -> None:
    """Skip the periods that ``period`` says recur, in each of which what is ``booked`` happens."""
    times, since, renewed = period.times, period.first, period.renewed
    recorder, ps = state.recorder, period.ps * times
    recorder.window.add(booked.sums, times)
    recorder.spans.again(booked.spans, period.distance[2], times, period.ps)
    for slots in renewed & booked.rows.keys():
        run.histogram(slots).merge(booked.rows[slots], times)
    again(state, run, period, booked.accesses)
    _add_meters(state, units, period)
    for engine, before, after in zip(engines, since.stands, period.last.stands, strict=True):
        stands = before.moving != after.moving
        if after.move is not None and after.move is before.move:
            figures = [(n - was) * times for was, n in zip(before.figures, after.figures, strict=True)]
            engine.move_on((after.chunk - before.chunk) * times, figures, ps)
        if before.waits == after.waits:
            engine.wait_longer((after.stalled_ps - before.stalled_ps) * times)
        if stands:
            engine.nearer(run, period.tiles * times, period.base.results * times)
        if not period.tiles:
            engine.further(run, units.tile, period.base.results * times, stands)
    if not period.tiles:
        drain.further(run, units.tile, period.folds * times)
        units.further(period.folds * times)
    run.skip(period.base.plus(period.base, times - 1))
    for (out, index, _), copy in run.slots.items():
        if (out, index) in renewed:
            copy.later(ps)
    state.sim.skip(ps)
    drain.name_blocks_anew()
    units.books.skipped_cycles += ps * state.machine.clock_hz // PS_PER_S
    recorder.tiles_skipped += period.tiles * times
    recorder.folds_skipped += period.folds * times


def _add_meters(state: State, units: KernelSteps, period: Period) -> None:
    pairs = zip(period.first.meters, period.last.meters, strict=True)
    added = [(now - then) * period.times for then, now in pairs]
    own = len(units.books.meters())
    state.add_meters(added[:-own])
    units.books.add_meters(added[-own:])
