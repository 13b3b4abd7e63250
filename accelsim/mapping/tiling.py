"""The tile search of one GEMM: every combination of cuts and loop orders at once.

Times count in steps of two per cent above the fastest tile that any budget allows. Of equally fast
candidates the one with the least DRAM traffic is taken (``objective = "time"``), or the one with the
least DRAM traffic, then time (``"dram"``).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.mapping.problem import ORDERS, Array, Budget, Choice, Problem
from accelsim.mapping.tile_space import Space
from accelsim.program.gemm_folds import ArrayShape
from accelsim.resolve.machine import Machine

STEP = 0.02  # of the least time: what is less apart counts as equally fast
SMALL_BYTES = 64 * 1024  # buffers up to here count as equally small


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The combinations of one problem worth keeping, whatever the budget, as columns."""

    problem: Problem
    space: Space
    time: Array
    dram: Array
    held: Array
    tiles: Array
    need: dict[str, Array]  # bytes per bank group
    which: NDArray[np.int64]  # (entry, [order and keep, m, n, k])
    known: dict[Budget, Choice | None]


class TileSearch:
    """The search on one machine. What a problem's tiles cost is computed once, for every budget."""

    def __init__(self, machine: Machine, array: ArrayShape) -> None:
        self.machine = machine
        self.array = array
        self._tables: dict[Problem, Table] = {}

    def table(self, problem: Problem) -> Table:
        """Return the costs of a problem's tiles."""
        if problem not in self._tables:
            self._tables[problem] = _table(self, problem)
        return self._tables[problem]


def best(table: Table, budget: Budget) -> Choice | None:
    """Return the best tile that fits the budget, or None if none does."""
    if budget not in table.known:
        table.known[budget] = _chosen(table, table.problem, dict(budget))
    return table.known[budget]


def _table(search: TileSearch, problem: Problem) -> Table:
    """Evaluate every combination and keep, per bucket of buffer sizes, the fastest and the leanest ones."""
    space = Space(search.machine, search.array, problem)
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
    tiles = np.tile(np.broadcast_to(space.tiles, space.shape).ravel(), len(runs))
    time = _in_steps(time)
    kept = _worth_keeping(time, dram, tiles, list(need.values()))
    points = int(np.prod(space.shape))
    inner = np.stack(np.unravel_index(kept % points, space.shape), axis=1)
    which = np.concatenate([(kept // points)[:, None], inner], axis=1)
    return Table(
        problem,
        space,
        time[kept],
        dram[kept],
        held[kept],
        tiles[kept],
        {g: n[kept] for g, n in need.items()},
        which,
        {},
    )


def _in_steps(time: Array) -> Array:
    """Return times rounded down to whole steps above the least one, which no budget can better.

    Otherwise a nanosecond less of the first tile's fill would outweigh any amount of DRAM traffic.
    """
    least = time.min()
    if not np.isfinite(least):
        return time
    steps = np.floor((time / least - 1) / STEP + 1e-9)
    return np.asarray(least * (1 + STEP * steps), dtype=np.float64)


def _worth_keeping(time: Array, dram: Array, tiles: Array, need: list[Array]) -> NDArray[np.int64]:
    """Return, per bucket of buffer bytes, the fastest, the leanest, and the leanest of the fast ones."""
    finite = np.flatnonzero(np.isfinite(time))
    if not finite.size:
        return finite
    bucket = np.zeros(finite.size, dtype=np.int64)
    for nbytes in need:
        twelfths = np.ceil(np.log2(np.maximum(nbytes[finite], 1.0)) * 12).astype(np.int64)
        bucket = bucket * 1024 + twelfths
    t, d, n = time[finite], dram[finite], tiles[finite]
    _, group = np.unique(bucket, return_inverse=True)
    least = np.full(int(group.max()) + 1, np.inf)
    np.minimum.at(least, group, t)
    fast = t <= least[group]
    picks = []
    for mask, keys in ((fast, (n, t, d)), (fast | True, (n, d, t)), (fast | True, (n, t, d))):
        places = np.flatnonzero(mask)
        ranked = places[np.lexsort([*(k[places] for k in keys), group[places]])]
        _, first = np.unique(group[ranked], return_index=True)
        picks.append(ranked[first])
    return finite[np.unique(np.concatenate(picks))]


def _chosen(table: Table, problem: Problem, budget: dict[str, int]) -> Choice | None:
    fits = np.ones(table.time.shape, dtype=bool)
    for group, nbytes in table.need.items():
        fits &= nbytes <= budget[group]
    if not fits.any():
        return None
    entry = _pick(table, np.where(fits, table.time, np.inf), problem.objective)
    run, m, n, k = (int(i) for i in table.which[entry])
    order, keep = [(o, x) for o in ORDERS for x in _keeps(problem)][run]
    numbers = (float(table.time[entry]), float(table.dram[entry]), float(table.held[entry]))
    return table.space.choice(order, keep, (m, n, k), *numbers)


def _keeps(problem: Problem) -> list[tuple[bool, bool]]:
    """Return which of a and b may be held whole for the kernel beside what the plan keeps anyway."""
    a = [False, True] if problem.a.place == "buffered" and problem.batch == 1 else [False]
    b = [False, True] if problem.b.place == "buffered" and problem.batch == 1 else [False]
    return list(itertools.product(a, b))


def _pick(table: Table, time: Array, objective: str) -> int:
    """Return the entry to take: among equals the fewest tiles that leave room for what comes next."""
    feasible = np.isfinite(time)
    if objective == "dram":
        near = feasible & (table.dram <= table.dram[feasible].min())
    else:
        near = feasible & (time <= time[feasible].min())
    places = np.flatnonzero(near)
    size = np.ceil(np.log2(np.maximum(table.held, SMALL_BYTES)))
    ranked = np.lexsort([k[places] for k in (time, table.tiles, size, table.dram)])
    return int(places[ranked[0]])
