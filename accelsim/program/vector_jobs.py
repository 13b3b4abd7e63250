"""The tile jobs of a kernel on the vector unit: slabs, walked once per pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accelsim.geometry import Tile, ceil_div, volume
from accelsim.program.codes import Int
from accelsim.program.fills import SideTiles
from accelsim.program.jobs import Base, Fold, Stream, TileJob, stream_of
from accelsim.program.nests import Jobs, follows
from accelsim.program.program import Binding, Kernel
from accelsim.program.ranges import tiles_of


@dataclass(frozen=True, slots=True)
class _Pass:
    """One walk over the slabs: what it reads and writes, vector cycles per point and lane."""

    number: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    rate: int


class VectorJobs(Jobs):
    """The jobs of a vector kernel: pass after pass over the slabs."""

    def __init__(self, kernel: Kernel, cycles: Mapping[str, int], lanes: int) -> None:
        slabs = tiles_of(kernel.sides["m"], kernel.cuts["m"])
        self.passes = _passes(kernel, cycles)
        self.slabs = len(slabs)
        self.lanes = lanes
        count = self.slabs * len(self.passes)
        steps = np.arange(count, dtype=np.int64)
        side = SideTiles("m", kernel.sides["m"], slabs, steps % self.slabs)
        readers = [[p.number for p in self.passes if r in p.reads] for r in range(len(kernel.reads))]
        visits = [
            np.concatenate(
                [np.zeros(0, np.int64), *(steps[n * self.slabs : (n + 1) * self.slabs] for n in ns)]
            )
            for ns in readers
        ]
        super().__init__(kernel, [side], visits, count)
        self.whole = {a.name: (0, a.size) for a in kernel.sides["m"]}
        self.per_slab = [follows(b, kernel) for b in kernel.writes]
        self._count_results()

    def _count_results(self) -> None:
        count, slabs = self.count, self.slabs
        results = np.zeros(count + 1, dtype=np.int64)
        backs = [np.zeros(count + 1, dtype=np.int64) for _ in self.kernel.writes]
        for walk in self.passes:
            first = walk.number * slabs
            for w in walk.writes:
                ready = slice(first + 1 if self.per_slab[w] else first + slabs, first + slabs + 1)
                results[ready] = 1
                if self.kernel.writes[w].place == "buffered":
                    backs[w][ready] = 1
        self.results_before = np.cumsum(results)
        self.backs_before = tuple(np.cumsum(b) for b in backs)

    def _job(self, i: int, start: Base) -> TileJob:
        return self._new_job(i, self.tile(i), start, self.passes[i // self.slabs].reads)

    def _folds(self, i: int, job: TileJob) -> list[Fold]:
        walk, ready = self.passes[i // self.slabs], self._ready(i, job.tile)
        return [_vector_fold(self.kernel, job.tile, walk, ready, self.lanes)]

    def _add_results(self, job: TileJob, i: int, start: Base) -> None:
        ready = self._ready(i, job.tile)
        if ready:
            self._add_result(job, i, 0, 0, ready, start)

    def _ready(self, i: int, slab: Tile) -> dict[int, Tile]:
        """Return which part of each write binding is complete with job ``i``."""
        ends = i % self.slabs == self.slabs - 1
        writes = self.passes[i // self.slabs].writes
        return {w: slab if self.per_slab[w] else self.whole for w in writes if self.per_slab[w] or ends}

    def _issued_with(self, result: int) -> int:
        tile = int(np.searchsorted(self.results_before, result + 1)) - 1  # one result per job at most
        return int(self._all_backs[tile + 1])

    def marks(self) -> list[Int]:
        steps = np.arange(self.count, dtype=np.int64)
        ends = (steps % self.slabs == self.slabs - 1).astype(np.int64)
        return [steps // self.slabs, ends, self._backs_behind()]

    def _backs_behind(self) -> Int:
        """Return per tile how far behind the write-backs may be that its result needs; 0: it needs none."""
        behind = np.zeros(self.count, dtype=np.int64)
        tiles = np.flatnonzero(np.diff(self.results_before))
        if self.depth and tiles.size > self.depth:
            needed = self._all_backs[tiles[: -self.depth] + 1]
            behind[tiles[self.depth :]] = self._all_backs[tiles[self.depth :]] - needed + 1
        return behind


def _passes(kernel: Kernel, cycles: Mapping[str, int]) -> list[_Pass]:
    found = []
    for number, walk in enumerate(kernel.passes):
        riding = number == len(kernel.passes) - 1
        reads = walk.reads + (kernel.rider_reads if riding else ())
        extra = tuple((f, c) for _, f, c in kernel.functions) if riding else ()
        rate = sum(cycles.get(f, 1) * c for f, c in walk.functions + extra)
        found.append(_Pass(number, reads, walk.writes, max(1, rate)))
    return found


def _vector_fold(kernel: Kernel, slab: Tile, walk: _Pass, ready: Mapping[int, Tile], lanes: int) -> Fold:
    points = volume(tuple(slab.values()))
    return Fold(
        cycles=max(1, ceil_div(points, lanes) * walk.rate),
        streams=tuple(_stream(kernel.reads[r], r, slab) for r in walk.reads),
        emit=points,
        writes=tuple(_stream(kernel.writes[w], w, t) for w, t in ready.items()),
        vector_pass=walk.number,
    )


def _stream(binding: Binding, index: int, tile: Tile) -> Stream:
    box = binding.operand.box(tile)
    return stream_of(binding, index, binding.data.bytes_of(volume(box)), box)
