"""Accesses of copies that outlive a period, booked once per skipped period."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.geometry import Box
from accelsim.machine.heads import Period
from accelsim.machine.kernel_run import KernelRun, at_origin
from accelsim.machine.state import Booking, SlotAccess, State
from accelsim.program.jobs import Stream
from accelsim.program.program import Binding


def again(state: State, run: KernelRun, period: Period, accesses: Sequence[Booking | SlotAccess]) -> None:
    """Book the ``accesses`` of a period another ``period.times`` times.

    Each time all tiles (or folds) are a period further on and all instants later, from where it recurs first.
    Accesses of slots that are renewed in every period are in the histograms already.
    """
    renewed = period.renewed
    entries = [a for a in accesses if isinstance(a, Booking) or (a.key[0], a.key[1]) not in renewed]
    tiles, places, ps = period.distance
    moved = _Moved(run)
    for n in range(period.times):
        for entry in entries:
            at_ps = entry.at_ps + ps + n * period.ps
            tile, place = entry.tile + tiles + n * period.tiles, entry.place + places + n * period.folds
            if isinstance(entry, SlotAccess):
                box = entry.box if period.tiles else _held(run, entry, tile, place)
                key = period.key(entry.key)
                state.enter_slot(SlotAccess(run, tile, place, entry.what, key, box, at_ps, entry.reader))
                continue
            box = moved.box(entry, tile) if period.tiles else _of_fold(run, entry, tile, place)
            state.enter(Booking(run, tile, place, entry.what, entry.binding, box, at_ps, entry.reader))


class _Moved:
    """The boxes of bookings in alike tiles."""

    def __init__(self, run: KernelRun) -> None:
        self.jobs = run.jobs
        self._wholes: dict[tuple[int, int], Box] = {}  # of a binding, by its identity, and a tile

    def box(self, entry: Booking, tile: int) -> Box:
        """Return the box of a booking in ``tile``: as far from the tile's own corner."""
        here = self._whole(entry.binding, entry.tile)
        there = self._whole(entry.binding, tile)
        if entry.box == here:
            return there
        return tuple(
            (low + to[0] - at[0], high + to[0] - at[0])
            for (low, high), at, to in zip(entry.box, here, there, strict=True)
        )

    def _whole(self, binding: Binding, tile: int) -> Box:
        key = id(binding), tile
        whole = self._wholes.get(key)
        if whole is None:
            whole = self._wholes[key] = binding.operand.box(self.jobs.tile(tile))
        return whole


def _of_fold(run: KernelRun, entry: Booking | SlotAccess, tile: int, place: int) -> Box:
    """Return the box of the same stream of another fold."""
    stream = _stream(run, entry, tile, place)
    assert stream.box is not None
    return stream.box


def _held(run: KernelRun, entry: SlotAccess, tile: int, place: int) -> Box:
    """Return the box of the same stream of another fold, as seen from its slot's corner."""
    job = run.job(tile - run.start.tiles)
    out, index, _ = entry.key
    if out:
        result = job.result_of(place)
        assert result is not None
        whole = next(b.box for b in result.write_backs if b.binding == index)
    else:
        whole = run.kernel.reads[index].operand.box(job.tile)
    return at_origin(_of_fold(run, entry, tile, place), whole)


def _stream(run: KernelRun, entry: Booking | SlotAccess, tile: int, place: int) -> Stream:
    fold = run.job(tile - run.start.tiles).folds[place]
    kind, index = entry.what
    if kind == "load":
        assert fold.load is not None
        return fold.load
    streams: tuple[Stream, ...] = getattr(fold, kind)
    return streams[index]
