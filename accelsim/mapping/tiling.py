"""The tile search of one GEMM: every combination of cuts and loop orders at once, as arrays.

The estimate mirrors what the machine does (docs/mapping.md): array time, each bank group's port time,
DRAM time and the riders' vector time overlap; the first tile's fill and the last tile's way out do not.
Of all candidates within two per cent of the fastest the one with the least DRAM traffic is taken
(``objective = "time"``), or the one with the least DRAM traffic, then time (``"dram"``).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, Operand
from accelsim.mapping.cuts import Candidate, candidates, follows_side, free_elements, lengths
from accelsim.program.gemm_folds import ArrayShape
from accelsim.program.folds import first_load, fold_tail
from accelsim.program.program import Cut, Side
from accelsim.resolve.machine import BankGroup, Machine

Array = NDArray[np.float64]
SIDES: tuple[Side, Side, Side] = ("m", "n", "k")
ORDERS: tuple[tuple[Side, Side, Side], ...] = tuple(itertools.permutations(SIDES))  # type: ignore[arg-type]
NEAR = 1.02  # of the least time: what counts as equally fast


@dataclass(frozen=True, slots=True)
class Part:
    """One operand of the search: its geometry, element bytes, bank group, and whether DRAM is involved.

    ``place``: ``resident`` (no DRAM), ``kept`` (filled once into its copy), ``buffered``.
    """

    operand: Operand
    element_bytes: int
    group: str
    place: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A GEMM and its surroundings; equal problems have equal answers."""

    groups: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    a: Part
    b: Part
    reads: tuple[Part, ...]  # riders' operands
    writes: tuple[Part, ...]
    psum_group: str
    expanded: str
    expansion: tuple[int, int]
    rider_rate: int
    objective: str

    @property
    def batch(self) -> int:
        """How many GEMMs of this shape there are."""
        return math.prod(a.size for a in self.groups)

    def axes(self, side: Side) -> tuple[Axis, ...]:
        """Return the axes of one side."""
        return {"m": self.m, "n": self.n, "k": self.k, "batch": self.groups}[side]


@dataclass(frozen=True, slots=True)
class Choice:
    """The tile chosen: cuts, order, slots, what is held whole, what it is expected to cost."""

    cuts: tuple[Cut, Cut, Cut]
    order: tuple[Side, Side, Side]
    keep: tuple[bool, bool]  # a, b held whole for the kernel
    slots: tuple[int, int, int]  # of a, b, results
    tile_elements: tuple[int, int, int]  # of a, b, results: the largest tile
    psum_elements: int  # in a bank; 0: in the accumulator, or none
    time_ps: int
    dram_bytes: int
    buffer_bytes: int


class _Side:
    """The candidates of one side as arrays along that side's axis of the search space."""

    def __init__(self, problem: Problem, side: Side, quantum: int, rows: int) -> None:
        self.list: tuple[Candidate, ...] = candidates(problem.axes(side), quantum)
        self.position = SIDES.index(side)
        self.count = self.shape([c.count for c in self.list])
        self.largest = self.shape([c.largest for c in self.list])
        self.blocks = self.shape([c.total(quantum) for c in self.list])
        self.row_blocks = self.shape([c.total(rows) for c in self.list])
        self.padded = self.shape([c.total(1, least=rows) for c in self.list])
        self.size = sum(p * n for p, n in self.list[0].points)

    def shape(self, values: list[int]) -> Array:
        """Return ``values`` laid along this side."""
        array = np.array(values, dtype=np.float64)
        return array.reshape([-1 if i == self.position else 1 for i in range(3)])


class _Footprint:
    """Elements of one operand: fetched in total and held by the largest tile, per combination of cuts."""

    def __init__(self, problem: Problem, part: Part, sides: dict[Side, _Side]) -> None:
        operand = part.operand
        self.part = part
        self.relevant: list[Side] = []
        every = [problem.axes(s) for s in (*SIDES, "batch")]
        self.once: Array = np.full((1, 1, 1), float(free_elements(operand, every)))
        self.tile = self.once.copy()
        for name, side in sides.items():
            if not follows_side(operand, problem.axes(name)):
                continue
            self.relevant.append(name)
            pairs = [lengths(operand, problem.axes(name), c.cut) for c in side.list]
            self.once = self.once * side.shape([p[0] for p in pairs])
            self.tile = self.tile * side.shape([p[1] for p in pairs])
        self.whole = float(np.prod([float(s) for s in operand.shape]))
        self.tiles: Array = np.ones((1, 1, 1))
        for name in self.relevant:
            self.tiles = self.tiles * sides[name].count

    def fetched(self, order: tuple[Side, ...], sides: dict[Side, _Side]) -> Array:
        """Return the elements fetched when every change of tile is fetched anew."""
        times: Array = np.ones((1, 1, 1))
        for i, name in enumerate(order):
            if name in self.relevant:
                continue
            inner = [sides[s].count > 1 for s in order[i + 1 :] if s in self.relevant]
            if inner:
                again = np.logical_or.reduce(np.broadcast_arrays(*inner))
                times = times * np.where(again, sides[name].count, 1.0)
        return self.once * times




@dataclass(frozen=True, slots=True)
class _Table:
    """The combinations of one problem worth keeping, whatever the budget, as columns."""

    space: _Space
    time: Array
    dram: Array
    held: Array
    need: dict[str, Array]  # bytes per bank group
    which: NDArray[np.int64]  # (entry, [order and keep, m, n, k])


class TileSearch:
    """The search on one machine. What a problem's tiles cost is computed once, for every budget."""

    def __init__(self, machine: Machine, array: ArrayShape) -> None:
        self.machine = machine
        self.array = array
        self.period = 1e12 / machine.clock_hz
        self.dram_ps = 1e12 / machine.dram.bandwidth_bytes_per_s
        self._tables: dict[Problem, _Table] = {}
        self._known: dict[tuple[Problem, tuple[tuple[str, int], ...]], Choice | None] = {}

    def best(self, problem: Problem, budget: tuple[tuple[str, int], ...]) -> Choice | None:
        """Return the best tile that fits the budget (bank group, bytes), or None if none does."""
        key = (problem, budget)
        if key not in self._known:
            if problem not in self._tables:
                self._tables[problem] = _table(self, problem)
            self._known[key] = _chosen(self._tables[problem], problem, dict(budget))
        return self._known[key]


def _table(search: TileSearch, problem: Problem) -> _Table:
    """Evaluate every combination and keep, per bucket of buffer sizes, the fastest and the leanest ones."""
    space = _Space(search, problem)
    runs = [(order, keep) for order in ORDERS for keep in _keeps(problem)]
    results = [space.evaluate(order, keep) for order, keep in runs]
    time = np.concatenate([r[0].ravel() for r in results])
    dram = np.concatenate([r[1].ravel() for r in results])
    groups = sorted({g for r in results for g in r[2]})
    zero = np.zeros(space.shape)
    need = {
        g: np.concatenate([np.broadcast_to(r[2].get(g, zero), space.shape).ravel() for r in results])
        for g in groups
    }
    held = sum(need.values(), np.zeros_like(time))
    kept = _worth_keeping(time, dram, held, list(need.values()))
    points = int(np.prod(space.shape))
    inner = np.stack(np.unravel_index(kept % points, space.shape), axis=1)
    which = np.concatenate([(kept // points)[:, None], inner], axis=1)
    return _Table(space, time[kept], dram[kept], held[kept], {g: n[kept] for g, n in need.items()}, which)


def _worth_keeping(time: Array, dram: Array, held: Array, need: list[Array]) -> NDArray[np.int64]:
    """Return, per bucket of buffer bytes, the fastest, the leanest, and the leanest of the fast ones."""
    finite = np.flatnonzero(np.isfinite(time))
    if not finite.size:
        return finite
    bucket = np.zeros(finite.size, dtype=np.int64)
    for nbytes in need:
        eighths = np.ceil(np.log2(np.maximum(nbytes[finite], 1.0)) * 4).astype(np.int64)
        bucket = bucket * 256 + eighths
    t, d, h = time[finite], dram[finite], held[finite]
    _, group = np.unique(bucket, return_inverse=True)
    least = np.full(int(group.max()) + 1, np.inf)
    np.minimum.at(least, group, t)
    fast = t <= least[group] * NEAR
    picks = []
    for mask, keys in ((fast, (h, t, d)), (fast | True, (h, d, t)), (fast | True, (h, t, d))):
        places = np.flatnonzero(mask)
        ranked = places[np.lexsort([*(k[places] for k in keys), group[places]])]
        _, first = np.unique(group[ranked], return_index=True)
        picks.append(ranked[first])
    return finite[np.unique(np.concatenate(picks))]


def _chosen(table: _Table, problem: Problem, budget: dict[str, int]) -> Choice | None:
    fits = np.ones(table.time.shape, dtype=bool)
    for group, nbytes in table.need.items():
        fits &= nbytes <= budget[group]
    if not fits.any():
        return None
    entry = _pick(np.where(fits, table.time, np.inf), table.dram, table.held, problem.objective)
    run, m, n, k = (int(i) for i in table.which[entry])
    order, keep = [(o, x) for o in ORDERS for x in _keeps(problem)][run]
    numbers = (float(table.time[entry]), float(table.dram[entry]), float(table.held[entry]))
    return table.space.choice(order, keep, (m, n, k), *numbers)


def _keeps(problem: Problem) -> list[tuple[bool, bool]]:
    """Return which of a and b may be held whole for the kernel beside what the plan keeps anyway."""
    a = [False, True] if problem.a.place == "buffered" and problem.batch == 1 else [False]
    b = [False, True] if problem.b.place == "buffered" and problem.batch == 1 else [False]
    return list(itertools.product(a, b))


def _pick(time: Array, dram: Array, held: Array, objective: str) -> int:
    feasible = np.isfinite(time)
    if objective == "dram":
        near = feasible & (dram <= dram[feasible].min())
        keys = (held, time)
    else:
        near = feasible & (time <= time[feasible].min() * NEAR)
        keys = (held, time, dram)
    places = np.flatnonzero(near)
    return int(places[np.lexsort([k[places] for k in keys])[0]])


class _Space:
    """All combinations of cuts of one problem."""

    def __init__(self, search: TileSearch, problem: Problem) -> None:
        self.s = search
        self.p = problem
        array, dataflow = search.array, search.array.dataflow
        quantum = {
            "ws": {"m": array.rows, "n": array.cols, "k": array.rows},
            "is": {"m": array.cols, "n": array.rows, "k": array.rows},
            "os": {"m": array.rows, "n": array.cols, "k": array.rows},
        }[dataflow]
        self.sides: dict[Side, _Side] = {s: _Side(problem, s, quantum[s], array.rows) for s in SIDES}
        self.a = _Footprint(problem, problem.a, self.sides)
        self.b = _Footprint(problem, problem.b, self.sides)
        self.reads = [_Footprint(problem, r, self.sides) for r in problem.reads]
        self.writes = [_Footprint(problem, w, self.sides) for w in problem.writes]
        self.shape = tuple(len(self.sides[s].list) for s in SIDES)
        self.over: dict[str, Side] = {
            "ws": {"rows": "k", "cols": "n", "streamed": "m"},
            "is": {"rows": "k", "cols": "m", "streamed": "n"},
            "os": {"rows": "m", "cols": "n", "streamed": "k"},
        }[dataflow]  # type: ignore[assignment]

    # -- cost of one loop order -----------------------------------------------------------------

    def evaluate(
        self, order: tuple[Side, Side, Side], keep: tuple[bool, bool]
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return time in ps (inf: not allowed), DRAM bytes, and buffer bytes per group of every combination."""
        need, fetched = self._operands(order, keep)
        psum_bytes, psum_traffic = self._partial_sums(order)
        _add(need, self.p.psum_group, psum_bytes)
        dram_in = sum((f * p.element_bytes for p, f in fetched), np.zeros((1, 1, 1)))
        written = sum(
            (w.once * w.part.element_bytes for w in self.writes if w.part.place == "buffered"),
            np.zeros((1, 1, 1)),
        )
        dram = (dram_in + written) * self.p.batch
        array = self._array_cycles(order) * self.s.period
        ports = self._ports(order, fetched, psum_traffic)
        riders = self._rider_cycles() * self.s.period
        steady = np.maximum.reduce(np.broadcast_arrays(array, dram * self.s.dram_ps, ports, riders))
        time = steady + self._ends(fetched)
        time = np.where(np.broadcast_to(self._allowed(order), self.shape), time, np.inf)
        return time, np.broadcast_to(dram, self.shape), need

    def _operands(
        self, order: tuple[Side, ...], keep: tuple[bool, bool]
    ) -> tuple[dict[str, Array], list[tuple[Part, Array]]]:
        """Return buffer bytes per group and the elements fetched from DRAM per operand."""
        need: dict[str, Array] = {}
        fetched: list[tuple[Part, Array]] = []
        whole = [*keep, *(False for _ in self.reads)]
        for footprint, held in zip([self.a, self.b, *self.reads], whole, strict=True):
            part = footprint.part
            if part.place == "resident":
                continue
            if held or part.place == "kept":
                fetched.append((part, np.full((1, 1, 1), footprint.whole / self.p.batch)))
                if held:
                    _add(need, part.group, np.full((1, 1, 1), footprint.whole * part.element_bytes))
                continue
            fetched.append((part, footprint.fetched(order, self.sides)))
            _add(need, part.group, footprint.tile * part.element_bytes * self._slots(footprint))
        for footprint in self.writes:
            if footprint.part.place == "buffered":
                nbytes = footprint.tile * footprint.part.element_bytes
                _add(need, footprint.part.group, nbytes * self._slots(footprint))
        return need, fetched

    def _slots(self, footprint: _Footprint) -> Array:
        return np.where(footprint.tiles * self.p.batch > 1, 2.0, 1.0)

    def _psum_elements(self, order: tuple[Side, ...]) -> Array:
        """Return the elements of partial sums that wait between k tiles; 0 where k is not cut."""
        inside = order[order.index("k") + 1 :]
        block: Array = np.ones((1, 1, 1))
        for name in ("m", "n"):
            side = self.sides[name]
            block = block * (float(side.size) if name in inside else side.largest)
        if self._continues_k(order) is not None:
            return np.where(self._continues_k(order), 0.0, np.where(self.sides["k"].count > 1, block, 0.0))
        return np.where(self.sides["k"].count > 1, block, 0.0)

    def _continues_k(self, order: tuple[Side, ...]) -> Array | None:
        """Return where an output-stationary fold goes on over k tiles without its results leaving."""
        if self.s.array.dataflow != "os" or order[-1] != "k":
            return None
        return self._single_fold()

    def _single_fold(self) -> Array:
        array = self.s.array
        return (self.sides[self.over["rows"]].largest <= array.rows) & (
            self.sides[self.over["cols"]].largest <= array.cols
        )

    def _partial_sums(self, order: tuple[Side, ...]) -> tuple[Array, Array]:
        """Return the bytes of the partial sums' region and the bytes they move each way."""
        array = self.s.array
        waiting = self._psum_elements(order)
        in_bank = waiting > array.accumulator_elements
        total = float(self.sides["m"].size * self.sides["n"].size)
        moved = np.where(in_bank, (self.sides["k"].count - 1) * total, 0.0)
        region = np.where(in_bank, waiting, 0.0)
        if array.dataflow != "os":
            column = self.sides[self.over["streamed"]].largest * np.minimum(
                self.sides[self.over["cols"]].largest, array.cols
            )
            excess = np.maximum(0.0, column - array.accumulator_elements)
            rounds = np.maximum(0.0, self.sides["k"].row_blocks - self.sides["k"].count)
            moved = moved + np.where(column > 0, excess / column, 0.0) * rounds * total
            region = np.where((excess > 0) & (rounds > 0), np.maximum(region, excess), region)
        return region * array.psum_bytes, moved * array.psum_bytes * self.p.batch

    # -- time ------------------------------------------------------------------------------------

    def _array_cycles(self, order: tuple[Side, ...]) -> Array:
        array = self.s.array
        rows, cols, streamed = (self.sides[self.over[x]] for x in ("rows", "cols", "streamed"))
        load = first_load(array.dataflow, array.rows)
        tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols)
        folds = rows.row_blocks * cols.blocks
        going_on = self._single_fold() if order[-1] == self.over["streamed"] else np.zeros((1, 1, 1), bool)
        if array.convention == "scale-sim":
            split = folds * (streamed.size + streamed.count * (tail + load))
            return np.where(going_on, folds * (streamed.size + tail + load), split) * self.p.batch
        period = np.where(going_on, max(array.rows, streamed.size), streamed.padded)
        return folds * period * self.p.batch + load + tail

    def _ports(
        self, order: tuple[Side, ...], fetched: list[tuple[Part, Array]], psum: Array
    ) -> Array:
        """Return the time of the busiest bank group's port."""
        reads: dict[str, Array] = {}
        writes: dict[str, Array] = {}
        for part, elements in fetched:
            _add(writes, part.group, elements * part.element_bytes * self.p.batch)
        self._array_reads(order, reads)
        total = float(self.sides["m"].size * self.sides["n"].size) * self.p.batch
        for footprint in self.reads:
            _add(reads, footprint.part.group, np.full((1, 1, 1), total * footprint.part.element_bytes))
        for footprint in self.writes:
            nbytes = np.full((1, 1, 1), total * footprint.part.element_bytes)
            _add(writes, footprint.part.group, nbytes)
            if footprint.part.place == "buffered":
                _add(reads, footprint.part.group, nbytes)
        _add(reads, self.p.psum_group, psum)
        _add(writes, self.p.psum_group, psum)
        zero = np.zeros((1, 1, 1))
        times = [
            port_ps(self.s.machine.banks[g], reads.get(g, zero), writes.get(g, zero))
            for g in sorted(set(reads) | set(writes))
        ]
        return np.maximum.reduce(np.broadcast_arrays(zero, *times))

    def _array_reads(self, order: tuple[Side, ...], reads: dict[str, Array]) -> None:
        """Add what the array reads of its two operands."""
        m, n, k = (self.sides[s] for s in SIDES)
        if self.s.array.dataflow == "ws":
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.count
        elif self.s.array.dataflow == "is":
            a, b = float(m.size * k.size) * n.count, float(k.size * n.size) * m.blocks
        else:
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.blocks
        up, down = self.p.expansion
        factor = {x: up / down if self.p.expanded == x else 1.0 for x in ("a", "b")}
        _add(reads, self.p.a.group, a * self.p.a.element_bytes * factor["a"] * self.p.batch)
        _add(reads, self.p.b.group, b * self.p.b.element_bytes * factor["b"] * self.p.batch)

    def _rider_cycles(self) -> Array:
        total = float(self.sides["m"].size * self.sides["n"].size) * self.p.batch
        return np.full((1, 1, 1), total * self.p.rider_rate / self.s.machine.vector.lanes)

    def _ends(self, fetched: list[tuple[Part, Array]]) -> Array:
        """Return the first tile's fill and the last result tile's way out, which nothing hides."""
        first: Array = np.zeros((1, 1, 1))
        for footprint in (self.a, self.b):
            if footprint.part.place != "resident":
                first = first + footprint.tile * footprint.part.element_bytes * self.s.dram_ps
        if fetched:
            first = first + self.s.machine.dram.latency_ps
        return first

    def _allowed(self, order: tuple[Side, Side, Side]) -> Array:
        """Return where the convention allows the cut: scale-sim does not split the streamed side."""
        if self.s.array.convention != "scale-sim":
            return np.ones((1, 1, 1), dtype=bool)
        streamed = self.over["streamed"]
        whole = self.sides[streamed].count == 1
        if order[-1] != streamed:
            return whole
        return whole | self._single_fold()

    # -- the answer ------------------------------------------------------------------------------

    def choice(
        self,
        order: tuple[Side, Side, Side],
        keep: tuple[bool, bool],
        at: tuple[int, int, int],
        time: float,
        dram: float,
        held: float,
    ) -> Choice:
        """Return the chosen combination as whole numbers."""

        def here(values: Array) -> int:
            return round(float(np.broadcast_to(values, self.shape)[at]))

        region, _ = self._partial_sums(order)
        result = self.writes[0] if self.writes else self.a
        return Choice(
            cuts=tuple(self.sides[s].list[i].cut for s, i in zip(SIDES, at, strict=True)),  # type: ignore[arg-type]
            order=order,
            keep=keep,
            slots=(here(self._slots(self.a)), here(self._slots(self.b)), here(self._slots(result))),
            tile_elements=(here(self.a.tile), here(self.b.tile), here(result.tile)),
            psum_elements=here(region) // self.s.array.psum_bytes,
            time_ps=round(time),
            dram_bytes=round(dram),
            buffer_bytes=round(held),
        )


def port_ps(bank: BankGroup, reads: Array, writes: Array) -> Array:
    """Return the time in ps that a group's ports need for bytes read and written."""
    beat = bank.lanes * bank.word_bytes
    read = reads / beat * bank.read_cycle_ps
    write = writes / beat * bank.write_cycle_ps
    return read + write if bank.ports == "1rw" else np.maximum(read, write)


def _add(into: dict[str, Array], group: str, nbytes: Array) -> None:
    into[group] = into[group] + nbytes if group in into else nbytes
