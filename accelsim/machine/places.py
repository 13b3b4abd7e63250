"""Where the streams of a kernel lie in their bank groups, on machines whose banks serve by address.

A tile's bytes of an operand are gone through in the order in which they are stored (a copy's rows, or a
slot from its beginning), fold after fold; what is read again begins again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from accelsim.geometry import Box, volume
from accelsim.machine.layout import At, BankMap, Layout, boxed, contiguous
from accelsim.machine.memory import Bank
from accelsim.program.codes import Int
from accelsim.program.jobs import Base, Fold, TileJob, Transfer
from accelsim.program.nests import Jobs
from accelsim.program.program import Binding, Copy, Kernel, Region

Key = tuple[str, int]  # "load", "streams", "riders", "writes", "psum_read", "psum_write"; which of them
Operand = tuple[str, int]  # "read", "write" or "psum", and the binding


class Places:
    """The places of one kernel's streams and transfers."""

    def __init__(self, kernel: Kernel, jobs: Jobs, copies: Sequence[Copy], banks: Mapping[str, Bank]) -> None:
        self.kernel = kernel
        self.jobs = jobs
        self.copies = copies
        self.maps = {name: bank.map for name, bank in banks.items() if bank.map is not None}

    # -- transfers ---------------------------------------------------------------------------------

    def of_transfer(self, binding: Binding, moved: Transfer, ordinal: int) -> At:
        """Return where a transfer begins that is the ``ordinal``-th through its slots."""
        if binding.copy is not None:
            return At(self._boxed(binding, moved.box), 0)
        return At(_slot(binding, ordinal, moved.box, moved.nbytes), 0)

    def key(self, binding: Binding, at: At) -> tuple[Any, ...]:
        """Return what transfers that pass the same banks in the same order have in common."""
        over = self.maps.get(binding.group)
        return at.layout.key(over) if over is not None else ()

    # -- streams -----------------------------------------------------------------------------------

    def of_folds(self, job: TileJob, start: Base) -> list[dict[Key, At]]:
        """Return where the streams of each fold of a job begin; ``start`` is what it counts from."""
        totals: Counter[Operand] = Counter()
        for fold in job.folds:
            totals.update({operand: nbytes for _, operand, nbytes in _moves(fold)})
        found, cursor = [], Counter[Operand]()
        walks: dict[Operand, Layout] = {}
        for place, fold in enumerate(job.folds):
            result = job.result_of(place)
            if result is None or result.first == place:
                for operand in [o for o in walks if o[0] == "write" and self._buffered(o)]:
                    del walks[operand], cursor[operand]
            at: dict[Key, At] = {}
            for key, operand, nbytes in _moves(fold):
                layout = walks.get(operand)
                if layout is None:
                    layout = walks[operand] = self._walk(operand, job, place, start)
                again = totals[operand] > layout.nbytes
                at[key] = At(layout, cursor[operand] % layout.nbytes, again)
                cursor[operand] += nbytes
            found.append(at)
        return found

    def _buffered(self, operand: Operand) -> bool:
        return self.kernel.writes[operand[1]].copy is None

    def _walk(self, operand: Operand, job: TileJob, place: int, start: Base) -> Layout:
        kind, index = operand
        if kind.startswith("psum"):
            assert self.kernel.psum is not None
            assert self.kernel.psum.region is not None
            return contiguous(self.kernel.psum.region.extents)
        binding = (self.kernel.reads if kind == "read" else self.kernel.writes)[index]
        box = binding.operand.box(job.tile)
        if binding.copy is not None:
            return self._boxed(binding, box)
        nbytes = binding.data.bytes_of(volume(box))
        if kind == "read":
            return _slot(binding, job.slots[index], box, nbytes)
        result = job.result_of(place)
        back = next(b for b in result.write_backs if b.binding == index) if result is not None else None
        if back is None:
            return _slot(binding, 0, box, nbytes)
        ordinal = back.ordinal + (start.written[index] if start.written else 0)
        return _slot(binding, ordinal, back.box, back.nbytes)

    def _boxed(self, binding: Binding, box: Box) -> Layout:
        assert binding.copy is not None
        extents, data = self.copies[binding.copy].region.extents, binding.data
        if data.bits:  # packed bit by bit: one run from the box's corner
            before = sum(low * n for (low, _), n in zip(box, _strides(binding.operand.shape), strict=True))
            nbytes = max(1, data.bytes_of(volume(box)))
            return Layout(extents, before * data.bits // 8, (), nbytes, nbytes)
        return boxed(extents, binding.operand.shape, box, binding.data.element_bytes)

    # -- which are alike ---------------------------------------------------------------------------

    def alike_folds(self, kinds: Sequence[int], places: Sequence[Mapping[Key, At]]) -> list[int]:
        """Return numbers per fold that tell apart what ``kinds`` do, and the banks that streams pass."""
        seen: dict[tuple[Any, ...], int] = {}
        groups = self._groups()
        return [
            seen.setdefault((kind, *self._phases(at, groups)), len(seen))
            for kind, at in zip(kinds, places, strict=True)
        ]

    def _groups(self) -> dict[str, list[str]]:
        """Return the groups of what a fold moves, by the first part of its keys."""
        psum = self.kernel.psum
        region = [psum.region.group] if psum is not None and psum.region is not None else []
        reads = [r.group for r in self.kernel.reads]
        return {"reads": reads, "writes": [w.group for w in self.kernel.writes], "psum": region}

    def _phases(self, at: Mapping[Key, At], groups: Mapping[str, list[str]]) -> Iterator[tuple[Any, ...]]:
        for key, (layout, start, again) in at.items():
            over = self.maps.get(layout_group(key, groups))
            yield (*key, *(layout.phase(start, over, again) if over is not None else ()))

    def alike_tiles(self, signatures: Int) -> Int:
        """Return numbers per tile that tell apart what ``signatures`` do, and the banks that are passed."""
        seen: dict[tuple[Any, ...], int] = {}
        numbers = [
            seen.setdefault((int(kind), *self._of_tile(i)), len(seen)) for i, kind in enumerate(signatures)
        ]
        return np.array(numbers, dtype=np.int64)

    def _of_tile(self, i: int) -> Iterator[tuple[Any, ...]]:
        """Yield what decides the banks of each operand of tile ``i``."""
        tile = self.jobs.tile(i)
        for index, binding in enumerate(self.kernel.reads):
            fills = self.jobs.fills[index]
            yield from self._of_operand(binding, binding.operand.box(tile), int(fills.before[i]))
            if fills.held and int(fills.before[i + 1]) > int(fills.before[i]):
                over = self.maps.get(binding.group)
                moved = next(t for t in self.jobs.job(i).fills if t.binding == index)
                yield self._boxed(binding, moved.box).key(over) if over is not None else ()
        for index, binding in enumerate(self.kernel.writes):
            before = int(self.jobs.backs_before[index][i])
            yield from self._of_operand(binding, binding.operand.box(tile), before)

    def _of_operand(self, binding: Binding, box: Box, ordinal: int) -> Iterator[tuple[Any, ...]]:
        over = self.maps.get(binding.group)
        if over is None:
            return
        if binding.copy is not None:
            yield self._boxed(binding, box).key(over)
            return
        slots = len(binding.slots)
        yield tuple(_phase(binding.slots[(ordinal + n) % slots], over) for n in range(slots))


def layout_group(key: Key, groups: Mapping[str, list[str]]) -> str:
    """Return the bank group of what a fold moves as ``key``; its number is that of the binding."""
    kind, index = key
    if kind.startswith("psum"):
        return groups["psum"][0]
    return groups["writes" if kind == "writes" else "reads"][index]


def _phase(region: Region, over: BankMap) -> tuple[Any, ...]:
    return contiguous(region.extents).key(over)


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _slot(binding: Binding, ordinal: int, box: Box, nbytes: int) -> Layout:
    """Return the walk through what lies in a slot, row by row from its beginning."""
    row = binding.data.bytes_of(box[-1][1] - box[-1][0] if box else 1)
    extents = binding.slots[ordinal % len(binding.slots)].extents
    return Layout(extents, 0, (), max(1, nbytes), max(1, row))


def _moves(fold: Fold) -> Iterator[tuple[Key, Operand, int]]:
    """Yield what a fold moves: its key, whose it is, and its bytes. Keys are numbered by binding."""
    for load in (fold.load, *fold.beside) if fold.load is not None else ():
        yield ("load", load.binding), ("read", load.binding), load.nbytes
    for kind, streams in (("streams", fold.streams), ("riders", fold.riders)):
        for s in streams:
            yield (kind, s.binding), ("read", s.binding), s.nbytes
    for s in fold.writes:
        yield ("writes", s.binding), ("write", s.binding), s.nbytes
    for kind, nbytes in (("psum_read", fold.psum_read), ("psum_write", fold.psum_write)):
        if nbytes:
            yield (kind, 0), (kind, 0), nbytes
