"""Accesses of copies that outlive a period, booked once per skipped period."""

from __future__ import annotations

from accelsim.geometry import Box
from accelsim.machine.state import Booking, KernelRun, SlotRead, State
from accelsim.program.program import Binding


def again(
    state: State,
    run: KernelRun,
    since: int,
    tiles: int,
    period_ps: int,
    times: int,
    renewed: set[tuple[bool, int]],
) -> None:
    """Book what the journal holds from entry ``since`` on another ``times`` times.

    Each time all tiles are ``tiles`` further on and all instants ``period_ps`` later. Reads of slots that
    are ``renewed`` in every period are in the histograms already.
    """
    entries = [
        e for e in state.journal[since:] if isinstance(e, Booking) or (e.key[0], e.key[1]) not in renewed
    ]
    for n in range(1, times + 1):
        for entry in entries:
            at_ps = entry.at_ps + n * period_ps
            if isinstance(entry, SlotRead):
                run.slots[entry.key].read(entry.box, at_ps, entry.reader)
                state.journal.append(SlotRead(entry.key, entry.box, at_ps, entry.reader))
                continue
            tile = entry.tile + n * tiles
            box = _moved(run, entry, tile)
            state.enter(Booking(run, tile, entry.binding, box, at_ps, entry.reader))


def _moved(run: KernelRun, entry: Booking, tile: int) -> Box:
    """Return the box of a booking of an alike tile: as far from the tile's own corner."""
    here = _whole(run, entry.binding, entry.tile)
    there = _whole(run, entry.binding, tile)
    if entry.box == here:
        return there
    return tuple(
        (low + to[0] - at[0], high + to[0] - at[0])
        for (low, high), at, to in zip(entry.box, here, there, strict=True)
    )


def _whole(run: KernelRun, binding: Binding, tile: int) -> Box:
    return binding.operand.box(run.jobs.tile(tile))
