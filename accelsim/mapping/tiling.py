"""The tile search of one GEMM: every combination of cuts and loop orders at once.

Times count in steps of two per cent above the fastest tile that any budget allows. Of equally fast
candidates the one with the least DRAM traffic is taken (``ranking = "time"``), or the one with the
least DRAM traffic, then time (``"dram"``). Other rankings take the one that writes the fewest bytes into
STT-MRAM, then as for time (``"mram_writes"``), or that with the least energy (``"energy"``), or energy and
time weighted (``"edp"``), times unrounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.mapping.energy import Prices
from accelsim.mapping.goal import Goal
from accelsim.mapping.problem import SIDES, Array, Bool, Budget, Choice, Places
from accelsim.mapping.shapes import Shapes
from accelsim.mapping.tile_shape import Order, Shape
from accelsim.mapping.tile_space import Space
from accelsim.mapping.traffic import Traffic
from accelsim.program.program import Cut, Panel
from accelsim.resolve.machine import Machine

STEP = 0.02  # of the least time: what is less apart counts as equally fast
SMALL_BYTES = 64 * 1024  # buffers up to here count as equally small
BUCKETS = 12  # of buffer bytes, per doubling
EDGE = 1 + 1 / 64  # by which a bucket ends below a rung of the ladder: a kernel's room is rounded down
DENSE = 1 << 18  # cells of a table over buckets of all groups; more are numbered by what occurs

WEIGHED = ("energy", "edp")  # rankings by energies, in which times are not rounded

Int = NDArray[np.int64]


class Table:
    """The combinations of one problem worth keeping, whatever the budget, the most wanted first."""

    def __init__(self, spaces: list[Space], found: list[_Near], ranking: str, weight_w: float = 0.0) -> None:
        self.spaces = spaces
        raw = np.concatenate([f.time for f in found])
        time = raw if ranking in WEIGHED else _in_steps(raw, min(f.least_ps for f in found))
        dram, tiles = (np.concatenate([getattr(f, x) for f in found]) for x in ("dram", "tiles"))
        of = np.repeat(np.arange(len(found)), [f.which.size for f in found])
        which = np.concatenate([f.which for f in found])
        flat = {g: np.concatenate([f.need[g] for f in found]) for g in found[0].need}
        need = [flat[g] for g in sorted(flat)]
        first = _first(found, ranking, weight_w)
        if first is None:
            kept = _worth_keeping(need, (time, dram, tiles), (dram, time, tiles))
        else:
            kept = _worth_keeping(need, (first, time, dram, tiles))
        held = sum((flat[g][kept] for g in sorted(flat)), np.zeros(kept.size))
        size = np.ceil(np.log2(np.maximum(held, SMALL_BYTES)))
        columns = [time[kept], tiles[kept], size, dram[kept]]
        if ranking != "dram":
            columns = [*columns[1:], columns[0]]
        if first is not None:
            columns.append(first[kept])
        kept = kept[np.lexsort(columns)]
        self.time = time[kept]
        self.raw_ps = raw[kept]
        self.dram = dram[kept]
        self.energy, self.mram = (
            np.concatenate([getattr(f, x) for f in found])[kept] if found[0].priced else None
            for x in ("energy", "mram")
        )
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

    def first(self, budget: Budget, most: int) -> list[int]:
        """Return the best tiles that fit the budget, best first."""
        found: list[int] = np.flatnonzero(self._fits(budget))[:most].tolist()
        return found

    def _first_fit(self, budget: Budget) -> int:
        fits = self._fits(budget)
        return int(fits.argmax()) if fits.any() else -1

    def _fits(self, budget: Budget) -> Bool:
        fits = np.ones(self.time.size, dtype=bool)
        for group, nbytes in self.need:
            fits &= nbytes <= budget[group]
        return fits

    def time_ps(self, entry: int) -> int:
        """Return the expected time of an entry."""
        return round(float(self.time[entry]))

    def dram_bytes(self, entry: int) -> int:
        """Return the expected DRAM traffic of an entry."""
        return round(float(self.dram[entry]))

    def amounts(self, entry: int) -> tuple[float, float, float]:
        """Return an entry's unrounded time, the energy of what it moves and draws, bytes into STT-MRAM."""
        assert self.energy is not None
        assert self.mram is not None
        return float(self.raw_ps[entry]), float(self.energy[entry]), float(self.mram[entry])

    def traffic(self, entries: Sequence[int]) -> Traffic:
        """Return what entries move, one after the other."""
        found: Traffic | None = None
        for number, space in enumerate(self.spaces):
            mine = [i for i, entry in enumerate(entries) if self.of[entry] == number]
            if not mine:
                continue
            at = np.unravel_index(self.which[[entries[i] for i in mine]], space.size)
            part = space.traffic(lambda values, s=space, at=at: np.broadcast_to(values, s.size)[at])  # type: ignore[misc]
            found = found or Traffic()
            found.put(part, mine, len(entries))
        return found or Traffic()

    def shown(self, entry: int) -> tuple[tuple[Cut, ...], Order, Panel | None, tuple[bool, bool]]:
        """Return the cuts, order, panel and operands held of an entry."""
        space = self.spaces[self.of[entry]]
        order, a, b, *cuts = (int(i) for i in np.unravel_index(self.which[entry], space.size))
        shape = space.shape
        sides = tuple(space.sides[s].list[i].cut for s, i in zip(SIDES, cuts, strict=True))
        return sides, shape.orders[order], shape.panel_at(tuple(cuts)), (bool(a), bool(b))

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
            way=int(np.broadcast_to(space.serving.way, space.size)[order, a, b, *cuts]),
        )


class _Near:
    """The allowed combinations of one space that may fit, and all that share a bucket with one."""

    def __init__(self, space: Space, prices: Prices | None) -> None:
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
        self.priced = prices is not None
        if prices is not None:
            assert space.p.rates is not None
            traffic = space.traffic(lambda values: values)
            energy = np.asarray(prices.moving_pj(traffic, space.p.rates))
            drawn = self.time * prices.power_w(space.p.rates)
            self.energy = _taken(energy, size, self.which) + drawn
            self.mram = _taken(np.asarray(prices.mram_bytes(traffic)), size, self.which)


class TileSearch:
    """The search on one machine. What a problem's tiles cost is computed once, for every budget.

    Energies are counted if there are prices.
    """

    def __init__(self, machine: Machine, shapes: Shapes, goal: Goal, prices: Prices | None = None) -> None:
        self.machine = machine
        self.shapes = shapes
        self.goal = goal
        self.prices = prices
        self._tables: dict[tuple[int, Places], dict[str, Table]] = {}

    def has_table(self, shape: Shape, places: Places) -> bool:
        """Return whether the costs of a problem's tiles have been computed."""
        return (id(shape), places) in self._tables

    def tables(self, shape: Shape, places: Places) -> dict[str, Table]:
        """Return the costs of a problem's tiles, by ranking."""
        key = (id(shape), places)
        tables = self._tables.get(key)
        if tables is None:
            spaces = self.spaces(shape, places)
            found = [_Near(space, self.prices) for space in spaces]
            tables = {r: Table(spaces, found, r, self.goal.weight_w) for r in self.goal.rankings}
            self._tables[key] = tables
        return tables

    def spaces(self, shape: Shape, places: Places) -> list[Space]:
        """Return all nests that are tried."""
        return [Space(self.machine, s, places) for s in self._nests(shape, places)]

    def _nests(self, shape: Shape, places: Places) -> list[Shape]:
        """Return the shapes of all nests that are tried."""
        panels = self.shapes.with_panels(shape, places)
        imposed = shape.p.imposed
        return panels if panels and imposed is not None and imposed.panel is not None else [shape, *panels]


def _first(found: list[_Near], ranking: str, weight_w: float) -> Array | None:
    """Return what a ranking looks at before time and DRAM bytes; None: nothing."""
    if ranking in ("time", "dram"):
        return None
    if ranking == "mram_writes":
        return np.concatenate([f.mram for f in found])
    weight = weight_w if ranking == "edp" else 0.0
    return np.concatenate([f.energy + weight * f.time for f in found])


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


def _worth_keeping(need: list[Array], *orders: tuple[Array, ...]) -> Int:
    """Return, per bucket of buffer bytes, the first of every order, such as the leanest of the fastest."""
    size = orders[0][0].size
    cell, cells = _buckets(need, size)
    keep = np.zeros(size, dtype=bool)
    for keys in orders:
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
