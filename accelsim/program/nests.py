"""From a kernel to its tile jobs, by index: nothing is enumerated that is not asked for.

A kernel may have a hundred thousand tiles. What they move is known in closed form per side of the nest;
a job is put together when it is asked for, and ``signatures`` says which jobs are alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from accelsim.geometry import Box, Range, Tile, ceil_div, run_length, volume
from accelsim.program.codes import Int
from accelsim.program.fills import Fills, SideTiles, fills_of
from accelsim.program.jobs import Base, Fold, Result, TileJob, Transfer
from accelsim.program.program import Binding, Kernel
from accelsim.program.signatures import alike

START = Base(0, 0, 0, 0, (), ())
REMEMBERED = 8  # tiles whose folds are kept: those in hand and ahead


def transfer(binding: Binding, index: int, box: Box, ordinal: int, wait_tile: int = -1) -> Transfer:
    """Return the descriptor that moves ``box`` of ``binding``; ``ordinal`` counts those of its slots."""
    data = binding.data
    run = max(1, run_length(box, binding.operand.shape))
    elements = volume(box)
    slot = ordinal % len(binding.slots) if binding.slots else -1
    return Transfer(
        index,
        box,
        slot,
        data.bytes_of(elements),
        ceil_div(elements, run),
        data.bytes_of(run),
        wait_tile,
        ordinal,
    )


class Jobs(ABC):
    """The tile jobs of one kernel.

    ``job(i, start)`` is job ``i`` with everything that counts (tiles, fills, results, write-backs) counted
    from ``start`` on; by default from the kernel's beginning.
    """

    def __init__(self, kernel: Kernel, sides: list[SideTiles], visits: list[Int], count: int) -> None:
        self.kernel = kernel
        self.sides = sides
        self.count = count
        self.fills: list[Fills] = [
            fills_of(b, sides, v, count) for b, v in zip(kernel.reads, visits, strict=True)
        ]
        self.fills_before: Int = np.sum([f.before for f in self.fills], axis=0, dtype=np.int64)
        if not self.fills:
            self.fills_before = np.zeros(count + 1, dtype=np.int64)
        self._made: dict[int, TileJob] = {}
        self.depth = min((len(b.slots) for b in kernel.writes if b.place == "buffered"), default=0)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[TileJob]:
        return (self.job(i) for i in range(self.count))

    # what a nest of either kind says about its tiles
    results_before: Int  # per tile and one more
    backs_before: tuple[Int, ...]  # per write binding: per tile and one more

    def tile(self, i: int) -> dict[str, Range]:
        """Return the ranges of tile ``i``."""
        tile: dict[str, Range] = {}
        for side in self.sides:
            tile.update(side.tiles[int(side.at[i])])
        return tile

    def job(self, i: int, start: Base = START) -> TileJob:
        """Return job ``i``.

        What does not count from ``start`` on is made once for the tiles last asked for.
        """
        job, known = self._job(i, start), self._made.pop(i, None)
        if known is None:
            job.folds = self._folds(i, job)
        else:
            job.folds, job.fold_kinds = known.folds, known.kinds
        self._add_results(job, i, start)
        self._made[i] = job
        if len(self._made) > REMEMBERED:
            del self._made[next(iter(self._made))]
        return job

    @abstractmethod
    def _job(self, i: int, start: Base) -> TileJob:
        """Return job ``i`` without its folds and results."""

    @abstractmethod
    def _folds(self, i: int, job: TileJob) -> list[Fold]:
        """Return the folds of job ``i``."""

    @abstractmethod
    def _add_results(self, job: TileJob, i: int, start: Base) -> None:
        """Add the results of the folds of job ``i``."""

    def base(self, i: int) -> Base:
        """Return what the tiles before ``i`` have counted up to."""
        backs = tuple(int(b[i]) for b in self.backs_before)
        return Base(
            tiles=i,
            fills=int(self.fills_before[i]),
            results=int(self.results_before[i]),
            backs=sum(backs),
            filled=tuple(int(f.before[i]) for f in self.fills),
            written=backs,
        )

    def base_at(self, i: int, job: TileJob, place: int) -> Base:
        """Return what has been counted before fold ``place`` of tile ``i``, whose job is ``job``."""
        done = [r for r in job.results if r.last < place]
        written = list(self.base(i).written)
        for result in done:
            for back in result.write_backs:
                written[back.binding] += 1
        return Base(
            tiles=i,
            fills=int(self.fills_before[i + 1]),
            results=int(self.results_before[i]) + len(done),
            backs=sum(written),
            filled=tuple(int(f.before[i + 1]) for f in self.fills),
            written=tuple(written),
        )

    def next_fill(self, i: int) -> int:
        """Return the first tile from ``i`` on that begins with a fill; ``count`` if none does."""
        if self.fills_before[-1] == self.fills_before[min(i, self.count)]:
            return self.count
        return int(np.searchsorted(self.fills_before, self.fills_before[i], side="right")) - 1

    def next_back(self, i: int) -> int:
        """Return the first tile from ``i`` on with results that are written back; ``count`` if none has."""
        total = self._all_backs
        if total[-1] == total[min(i, self.count)]:
            return self.count
        return int(np.searchsorted(total, total[i], side="right")) - 1

    @cached_property
    def _all_backs(self) -> Int:
        return np.asarray(sum(self.backs_before, np.zeros(self.count + 1, dtype=np.int64)), dtype=np.int64)

    @cached_property
    def signatures(self) -> Int:
        """Numbers per tile: jobs of equal number are alike in all but where in their tensors they are."""
        return alike(self)

    def widest(self) -> list[int]:
        """Return the tiles among which are the ones with the largest results and partial sums."""
        return [0]

    @abstractmethod
    def marks(self) -> list[Int]:
        """Return per tile what beside the sizes of its ranges and its fills decides its job."""

    def _transfers(self, i: int, tile: Tile, start: Base, reads: tuple[int, ...]) -> list[Transfer]:
        found = []
        for index in reads:
            fills = self.fills[index]
            ordinal = int(fills.before[i])
            if int(fills.before[i + 1]) == ordinal:
                continue
            binding = self.kernel.reads[index]
            wait = int(fills.wait[ordinal])
            box = self._box(binding, tile, fills, ordinal)
            begun = start.filled[index] if start.filled else 0
            wait = wait - start.tiles if wait >= 0 else -1
            found.append(transfer(binding, index, box, ordinal - begun, wait))
        return found

    def _box(self, binding: Binding, tile: Tile, fills: Fills, ordinal: int) -> Box:
        box = binding.operand.box(tile)
        if ordinal not in fills.held:
            return box
        shared = [j for j, d in enumerate(binding.operand.dims) if d.kind in ("window", "inverse")]
        rows = list(box)
        for j in shared[1:]:
            rows[j] = (0, binding.operand.shape[j])
        rows[shared[0]] = fills.held[ordinal]
        return tuple(rows)

    def _holds(self, i: int, start: Base, reads: tuple[int, ...]) -> dict[int, int]:
        """Return which of its fills a slotted binding's bytes are of."""
        return {
            r: self.fills[r].ordinal(i) - (start.filled[r] if start.filled else 0)
            for r in reads
            if self.kernel.reads[r].slots
        }

    def _new_job(self, i: int, tile: dict[str, Range], start: Base, reads: tuple[int, ...]) -> TileJob:
        job = TileJob(i - start.tiles, tile=tile)
        job.fills = self._transfers(i, tile, start, reads)
        job.fills_needed = int(self.fills_before[i + 1]) - start.fills
        job.holds = self._holds(i, start, reads)
        slots = {r: len(self.kernel.reads[r].slots) for r in job.holds}
        job.slots = {
            r: (n + (start.filled[r] if start.filled else 0)) % slots[r] for r, n in job.holds.items()
        }
        return job

    def _add_result(
        self, job: TileJob, i: int, first: int, last: int, parts: Mapping[int, Tile], start: Base
    ) -> None:
        """Add a result of job ``i``: the part of the tile per write binding."""
        number = int(self.results_before[i]) + len(job.results)
        backs, ordinals = [], [int(b[i]) for b in self.backs_before]
        for w, part in parts.items():
            binding = self.kernel.writes[w]
            if binding.place != "buffered":
                continue
            ordinal = ordinals[w] + sum(1 for r in job.results for b in r.write_backs if b.binding == w)
            begun = start.written[w] if start.written else 0
            backs.append(transfer(binding, w, binding.operand.box(part), ordinal - begun))
        needed = 0
        if self.depth and number >= self.depth:
            needed = self._issued_with(number - self.depth) - start.backs
        job.results.append(Result(number - start.results, first, last, backs, needed))

    @abstractmethod
    def _issued_with(self, result: int) -> int:
        """Return the write-backs issued up to and including result number ``result``."""


def follows(binding: Binding, kernel: Kernel) -> bool:
    """Return whether every slab of a vector nest has a part of this binding of its own."""
    axes = kernel.sides["m"]
    cut = kernel.cuts["m"]
    named = {d.axis for d in binding.operand.dims if d.kind != "full"}
    return all(a.name in named for a in axes[: cut.axis + 1] if a.size > 1)
