"""From a kernel to its tile jobs, by index: nothing is enumerated that is not asked for.

A kernel may have a hundred thousand tiles. What they move is known in closed form per side of the nest;
a job is put together when it is asked for, and ``signatures`` says which jobs are alike.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from accelsim.geometry import Box, Range, Tile, ceil_div, run_length, volume
from accelsim.program.fills import Fills, Int, SideTiles, fills_of
from accelsim.program.gemm_folds import (
    STREAMED,
    ArrayShape,
    GemmTile,
    gemm_folds,
    parked_rows,
    results_per_tile,
)
from accelsim.program.jobs import Base, Fold, Result, TileJob, Transfer
from accelsim.program.program import Binding, Kernel, Panel, Side
from accelsim.program.ranges import tiles_of, tiles_per_panel
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


class _Loops:
    """The loops of a GEMM's nest, tile by tile.

    ``at`` is the tile of every side; ``innermost`` the side that the innermost loop of several tiles goes
    along, ``inner`` the place in that loop, ``left`` how many of its tiles are still to come.
    """

    def __init__(self, kernel: Kernel, tiles: Mapping[Side, int]) -> None:
        self.at: dict[Side, Int] = {}
        if kernel.panel is None:
            self.at = dict(zip(kernel.order, _indices([tiles[s] for s in kernel.order]), strict=True))
            self.innermost = next((s for s in reversed(kernel.order) if tiles[s] > 1), kernel.order[-1])
            self.inner = self.at[self.innermost]
            self.left = tiles[self.innermost] - 1 - self.inner
        else:
            self.innermost = kernel.panel.side
            self.inner, self.left = self._panels(kernel, kernel.panel, tiles)

    def _panels(self, kernel: Kernel, panel: Panel, tiles: Mapping[Side, int]) -> tuple[Int, Int]:
        """Set the tile of every side and return the place in the panel, and what of it is still to come."""
        side = panel.side
        sizes = np.array(tiles_per_panel(kernel.sides[side], kernel.cuts[side], panel.cut), dtype=np.int64)
        counts = [sizes.size if s == side else tiles[s] for s in kernel.order]
        *outer, inner = _indices([*counts, int(sizes.max())])
        at = dict(zip(kernel.order, outer, strict=True))
        there = inner < sizes[at[side]]  # panels need not be of equally many tiles
        self.at = {s: a[there] for s, a in at.items()}
        size, inner = sizes[self.at[side]], inner[there]
        self.at[side] = (np.cumsum(sizes) - sizes)[self.at[side]] + inner
        return inner, size - 1 - inner


def _in_order_of_fills(kernel: Kernel) -> tuple[int, ...]:
    """Return the reads in the order in which a tile's fills are asked for.

    What the tiles of a panel share has room long before the panel's first tile has: it goes first.
    """
    reads = range(len(kernel.reads))
    if kernel.panel is None:
        return tuple(reads)
    names = {a.name for a in kernel.sides[kernel.panel.side]}
    return tuple(sorted(reads, key=lambda r: any(d.axis in names for d in kernel.reads[r].operand.dims)))


def _indices(sizes: Sequence[int]) -> list[Int]:
    """Return the index of every loop at every step of a nest of ``sizes``, outermost first."""
    steps, stride = np.arange(math.prod(sizes), dtype=np.int64), math.prod(sizes)
    found = []
    for size in sizes:
        stride //= size
        found.append(steps // stride % size)
    return found


class GemmJobs(Jobs):
    """The jobs of a GEMM: sides in the order of the nest, folds on the array."""

    def __init__(self, kernel: Kernel, array: ArrayShape) -> None:
        tiles = {s: tiles_of(kernel.sides[s], kernel.cuts[s]) for s in kernel.order}
        loops = _Loops(kernel, {s: len(t) for s, t in tiles.items()})
        sides = [SideTiles(s, kernel.sides[s], tiles[s], loops.at[s]) for s in kernel.order]
        count = loops.inner.size
        super().__init__(kernel, sides, [np.arange(count, dtype=np.int64)] * len(kernel.reads), count)
        self.array = array
        self.loops = loops
        self.parked = parked_rows(kernel, array)
        self.at = {s.side: s.at for s in sides}
        self.counts: dict[Side, int] = {s.side: len(s.tiles) for s in sides}
        self.reads = _in_order_of_fills(kernel)
        found = results_per_tile(kernel, array, tiles, self.at)
        found[self.at["k"] != self.counts["k"] - 1] = 0
        self.results_before = np.concatenate([[0], np.cumsum(found)])
        nothing = np.zeros(count + 1, dtype=np.int64)
        self.backs_before = tuple(
            self.results_before if w.place == "buffered" else nothing for w in kernel.writes
        )
        self.backed = sum(1 for w in kernel.writes if w.place == "buffered")

    def _job(self, i: int, start: Base) -> TileJob:
        return self._new_job(i, self.tile(i), start, self.reads)

    def _folds(self, i: int, job: TileJob) -> list[Fold]:
        return gemm_folds(self.kernel, self.array, self._place(i, job.tile), self.parked)

    def _add_results(self, job: TileJob, i: int, start: Base) -> None:
        first = 0
        for place, fold in enumerate(job.folds):
            if fold.result is not None:
                parts = dict.fromkeys(range(len(self.kernel.writes)), fold.result)
                self._add_result(job, i, first, place, parts, start)
                first = place + 1

    def widest(self) -> list[int]:
        return [0, int(np.argmax(self.at["k"]))]

    def _issued_with(self, result: int) -> int:
        return self.backed * (result + 1)

    def _streamed_along(self) -> bool:
        return self.loops.innermost == STREAMED[self.array.dataflow]

    def _place(self, i: int, tile: dict[str, Range]) -> GemmTile:
        at = {s: int(a[i]) for s, a in self.at.items()}
        along = self._streamed_along()
        return GemmTile(
            tile,
            block=(at["batch"], at["m"], at["n"]),
            first=at["k"] == 0,
            final=at["k"] == self.counts["k"] - 1,
            same=along and bool(self.loops.inner[i] > 0),
            same_next=along and bool(self.loops.left[i] > 0),
        )

    def marks(self) -> list[Int]:
        k = self.at["k"]
        marks = [k == 0, k == self.counts["k"] - 1]
        if self._streamed_along():
            marks += [self.loops.inner == 0, self.loops.left == 0]
        return [m.astype(np.int64) for m in marks]


def nest(kernel: Kernel) -> Iterator[tuple[dict[str, Range], dict[str, int], dict[str, int]]]:
    """Yield every tile with the index and the count of tiles per side, in the order of the nest."""
    per_side = [list(enumerate(tiles_of(kernel.sides[s], kernel.cuts[s]))) for s in kernel.order]
    counts: dict[str, int] = {s: len(t) for s, t in zip(kernel.order, per_side, strict=True)}
    for chosen in _steps(kernel, per_side):
        tile: dict[str, Range] = {}
        for _, ranges in chosen:
            tile.update(ranges)
        yield tile, {s: i for s, (i, _) in zip(kernel.order, chosen, strict=True)}, counts


_Numbered = tuple[int, dict[str, Range]]  # a tile of a side and its number


def _steps(kernel: Kernel, per_side: list[list[_Numbered]]) -> Iterator[tuple[_Numbered, ...]]:
    """Yield the tiles of all sides, in the order of the nest: those of a panel innermost of all."""
    panel = kernel.panel
    if panel is None:
        yield from itertools.product(*per_side)
        return
    place = kernel.order.index(panel.side)
    tiles = iter(per_side[place])
    sizes = tiles_per_panel(kernel.sides[panel.side], kernel.cuts[panel.side], panel.cut)
    panels = [list(itertools.islice(tiles, n)) for n in sizes]
    before, after = per_side[:place], per_side[place + 1 :]
    for first in itertools.product(*before):
        for inside in panels:
            for last in itertools.product(*after):
                yield from ((*first, tile, *last) for tile in inside)


def follows(binding: Binding, kernel: Kernel) -> bool:
    """Return whether every slab of a vector nest has a part of this binding of its own."""
    axes = kernel.sides["m"]
    cut = kernel.cuts["m"]
    named = {d.axis for d in binding.operand.dims if d.kind != "full"}
    return all(a.name in named for a in axes[: cut.axis + 1] if a.size > 1)
