"""The tile search of one GEMM: every combination of cuts and loop orders at once.

Times count in steps of two per cent above the fastest tile that any budget allows. Of equally fast
candidates the one with the least DRAM traffic is taken (``objective = "time"``), or the one with the
least DRAM traffic, then time (``"dram"``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.mapping.problem import SIDES, Array, Budget, Choice, Places, Problem
from accelsim.mapping.tile_shape import Shape
from accelsim.mapping.tile_space import Space
from accelsim.program.gemm_folds import ArrayShape
from accelsim.program.program import Side
from accelsim.resolve.machine import Machine

STEP = 0.02  # of the least time: what is less apart counts as equally fast
SMALL_BYTES = 64 * 1024  # buffers up to here count as equally small
BUCKETS = 12  # of buffer bytes, per doubling
EDGE = 1 + 1 / 64  # by which a bucket ends below a rung of the ladder: a kernel's room is rounded down
DENSE = 1 << 18  # cells of a table over buckets of all groups; more are numbered by what occurs

Int = NDArray[np.int64]


class Table:
    """The combinations of one problem worth keeping, whatever the budget, the most wanted first."""

    def __init__(self, spaces: list[Space], objective: str) -> None:
        self.spaces = spaces
        found = [_Near(space) for space in spaces]
        time = _in_steps(np.concatenate([f.time for f in found]), min(f.least_ps for f in found))
        dram, tiles = (np.concatenate([getattr(f, x) for f in found]) for x in ("dram", "tiles"))
        of = np.repeat(np.arange(len(found)), [f.which.size for f in found])
        which = np.concatenate([f.which for f in found])
        flat = {g: np.concatenate([f.need[g] for f in found]) for g in found[0].need}
        need = [flat[g] for g in sorted(flat)]
        kept = _worth_keeping(time, dram, tiles, need)
        held = sum((flat[g][kept] for g in sorted(flat)), np.zeros(kept.size))
        size = np.ceil(np.log2(np.maximum(held, SMALL_BYTES)))
        columns = [time[kept], tiles[kept], size, dram[kept]]
        if objective != "dram":
            columns = [*columns[1:], columns[0]]
        kept = kept[np.lexsort(columns)]
        self.time = time[kept]
        self.dram = dram[kept]
        self.of = of[kept]
        self.which = which[kept]
        banks = spaces[0].machine.banks
        self.need = [(i, flat[g][kept]) for i, g in enumerate(banks) if g in flat]
        self._known: dict[Budget, int] = {}

    def best(self, budget: Budget) -> int:
        """Return the best tile that fits the budget, or -1 if none does."""
        found = self._known.get(budget)
        if found is None:
            found = self._known[budget] = self._first_fit(budget)
        return found

    def _first_fit(self, budget: Budget) -> int:
        fits = np.ones(self.time.size, dtype=bool)
        for group, nbytes in self.need:
            fits &= nbytes <= budget[group]
        return int(fits.argmax()) if fits.any() else -1

    def time_ps(self, entry: int) -> int:
        """Return the expected time of an entry."""
        return round(float(self.time[entry]))

    def dram_bytes(self, entry: int) -> int:
        """Return the expected DRAM traffic of an entry."""
        return round(float(self.dram[entry]))

    def choice(self, entry: int) -> Choice:
        """Return an entry as whole numbers."""
        space = self.spaces[self.of[entry]]
        shape = space.shape
        order, a, b, *cuts = (int(i) for i in np.unravel_index(self.which[entry], space.size))
        region, _ = shape.partial_sums_of(shape.orders[order])
        psum = round(float(np.broadcast_to(region, shape.cuts)[tuple(cuts)]))
        return Choice(
            cuts=tuple(space.sides[s].list[i].cut for s, i in zip(SIDES, cuts, strict=True)),
            order=shape.orders[order],
            panel=shape.panel_at(tuple(cuts)),
            panel_slots=round(float(np.broadcast_to(space.panel_slots, shape.cuts)[tuple(cuts)])),
            keep=(bool(a), bool(b)),
            psum_elements=psum // space.array.psum_bytes,
            time_ps=self.time_ps(entry),
            dram_bytes=self.dram_bytes(entry),
        )


class _Near:
    """The allowed combinations of one space that may fit, and all that share a bucket with one."""

    def __init__(self, space: Space) -> None:
        size = space.size
        time, dram, need = space.costs()
        time = np.ascontiguousarray(np.broadcast_to(time, size)).reshape(-1)
        near = np.isfinite(time).reshape(size)
        for group, nbytes in need.items():
            near &= nbytes <= space.machine.banks[group].capacity_bytes * 2 ** (1.01 / BUCKETS)
        self.which = np.flatnonzero(near)
        self.least_ps = float(time.min())  # of all, whether they fit or not
        self.time = time[self.which]
        self.dram = _taken(dram, size, self.which)
        self.tiles = _taken(space.shape.tiles, size, self.which)
        self.need = {g: _taken(n, size, self.which) for g, n in need.items()}


class TileSearch:
    """The search on one machine. What a problem's tiles cost is computed once, for every budget."""

    def __init__(self, machine: Machine, array: ArrayShape) -> None:
        self.machine = machine
        self.array = array
        self._shapes: dict[Problem, Shape] = {}
        self._panel_shapes: dict[int, list[Shape]] = {}
        self._tables: dict[tuple[int, Places], Table] = {}

    def shape(self, problem: Problem) -> Shape:
        """Return what holds wherever the operands of a problem are."""
        shape = self._shapes.get(problem)
        if shape is None:
            shape = self._shapes[problem] = Shape(self.machine, self.array, problem)
        return shape

    def has_table(self, shape: Shape, places: Places) -> bool:
        """Return whether the costs of a problem's tiles have been computed."""
        return (id(shape), places) in self._tables

    def table(self, shape: Shape, places: Places) -> Table:
        """Return the costs of a problem's tiles."""
        key = (id(shape), places)
        table = self._tables.get(key)
        if table is None:
            spaces = [Space(s, places) for s in self._nests(shape, places)]
            table = self._tables[key] = Table(spaces, self.machine.mapping.objective)
        return table

    def _nests(self, shape: Shape, places: Places) -> list[Shape]:
        """Return the shapes of all nests that are tried."""
        return [shape, *self._panels(shape, places)]

    def _panels(self, shape: Shape, places: Places) -> list[Shape]:
        """Return the shapes with a side cut twice: of use where both operands come through slots."""
        if places.a.place != "buffered" or places.b.place != "buffered":
            return []
        if shape.p.decomposed or shape.p.together > 1:
            return []
        found = self._panel_shapes.get(id(shape))
        if found is None:
            sides: tuple[Side, ...] = ("m", "n")
            found = [Shape(self.machine, self.array, shape.p, s) for s in sides if shape.may_be_cut_twice(s)]
            self._panel_shapes[id(shape)] = found
        return found


def _taken(values: Array, size: tuple[int, ...], places: Int) -> Array:
    return np.broadcast_to(values, size).reshape(-1)[places]


def _in_steps(time: Array, least: float) -> Array:
    """Return times rounded down to whole steps above the least one, which no budget can better.

    Otherwise a nanosecond less of the first tile's fill would outweigh any amount of DRAM traffic.
    """
    if not np.isfinite(least):
        return time
    steps = np.floor((time / least - 1) / STEP + 1e-9)
    return np.asarray(least * (1 + STEP * steps), dtype=np.float64)


def _worth_keeping(time: Array, dram: Array, tiles: Array, need: list[Array]) -> Int:
    """Return, per bucket of buffer bytes, the leanest of the fastest, and the fastest of the leanest."""
    cell, cells = _buckets(need, time.size)
    keep = np.zeros(time.size, dtype=bool)
    for keys in ((time, dram, tiles), (dram, time, tiles)):
        keep[_firsts(cell, cells, keys)] = True
    return np.flatnonzero(keep)


def _buckets(need: list[Array], size: int) -> tuple[Int, int]:
    """Return the bucket of every combination, and how many buckets there may be."""
    cell, cells = np.zeros(size, dtype=np.int64), 1
    if not size:
        return cell, cells
    for nbytes in need:
        part = np.ceil(np.log2(np.maximum(nbytes, 1.0) * EDGE) * BUCKETS).astype(np.int64)
        least = int(part.min())
        width = int(part.max()) - least + 1
        cell, cells = cell * width + (part - least), cells * width
    if cells > DENSE:
        found, cell = np.unique(cell, return_inverse=True)
        cells = found.size
    return cell, cells


def _firsts(cell: Int, cells: int, keys: tuple[Array, ...]) -> Int:
    """Return the combination of every bucket that is least by ``keys``, the first of equals."""
    places = np.arange(cell.size)
    for key in keys:
        here = key[places]
        least = np.full(cells, np.inf)
        np.minimum.at(least, cell, here)
        equal = here == least[cell]
        places, cell = places[equal], cell[equal]
    first = np.full(cells, -1)
    first[cell[::-1]] = places[::-1]  # of several for one bucket the last one written stays
    return first[first >= 0]
