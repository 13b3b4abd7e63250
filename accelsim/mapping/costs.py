"""What one kernel costs: by where its operands are, and by the room that is left for its buffers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accelsim.mapping.codes import BUFFERED, Codes
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.energy import Prices
from accelsim.mapping.fields import Fields, Homes
from accelsim.mapping.given import Given
from accelsim.mapping.goal import Goal
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Budget, Choice, Part, Piece, Places, Rates, Where
from accelsim.mapping.questions import nameless, problem, slab_problem
from accelsim.mapping.slabs import SlabChoice, Slabs, SlabSearch
from accelsim.mapping.storage import Life
from accelsim.mapping.tiling import Table, TileSearch
from accelsim.mapping.traffic import Traffic
from accelsim.resolve.machine import Machine

MUCH = 1.02  # times faster: then buffers go to the emptiest group instead of their role's first
QUANTUM = 64  # budgets are rounded down to 1/64 of their power of two, so that equal kernels share a choice
SAFE = 1 - 1e-9  # of a bound, for what floats round off


class Cost(NamedTuple):
    """What a kernel is expected to cost, and how: an entry of a table, or a slab.

    ``amounts``, where energies or writes decide: unrounded time, energy in pJ, bytes written into STT-MRAM.
    """

    time_ps: int
    dram_bytes: int
    where: tuple[Where, ...]
    psum_group: str
    table: Table | None
    entry: int
    slab: SlabChoice | None
    amounts: tuple[int, ...] = ()

    @property
    def tile(self) -> Choice | None:
        """The tile chosen, of a GEMM."""
        return self.table.choice(self.entry) if self.table is not None else None


class Costs:
    """The costs of one kernel, each computed once."""

    def __init__(
        self,
        draft: Draft,
        machine: Machine,
        fields: Fields,
        homes: Homes,
        tiles: TileSearch,
        slabs: SlabSearch,
        dwells: Dwells,
        compute_ps: int,
        prices: Prices,
        goal: Goal,
        given: Given,
    ) -> None:
        self.draft = draft
        self.goal = goal
        self.prices = prices
        self.machine = machine
        self.tiles = tiles
        self.slabs = slabs
        self.compute_ps = compute_ps
        self.banks = tuple(machine.banks)
        self.capacity = [b.capacity_bytes for b in machine.banks.values()]
        operands = [o for o, _ in (*draft.reads, *draft.writes)]
        self.homes = homes
        leader = draft.leader.name
        lives = [fields.of(o.tensor) for o in operands]
        self.pieces = [
            Piece(nameless(o), own[0].data.element_bytes, fields.bits(o.tensor))
            for o, own in zip(operands, lives, strict=True)
        ]
        may_hold = [
            [(given.buffers[leader, o.tensor],)]
            if (leader, o.tensor) in given.buffers
            else [dwells.for_buffers(x, draft.index) for x in own]
            for o, own in zip(operands, lives, strict=True)
        ]
        self.groups = [tuple(tuple(map(self.banks.index, g)) for g in fields) for fields in may_hold]
        self.preferred = tuple(self._home([g[0] for g in fields]) for fields in self.groups)
        self.choices = tuple(dict.fromkeys(g for fields in self.groups for g in fields))
        regions = 2 * sum(map(len, self.groups)) + 1  # each rounded up to whole words
        self.slack = [regions * machine.banks[g].word_bytes for g in self.banks]
        reads, writes = tuple(self.pieces[: len(draft.reads)]), tuple(self.pieces[len(draft.reads) :])
        op, imposed = draft.leader, given.nests.get(leader)
        self.lives = fields.whole
        rates = self.rates if goal.extra else None
        self.shape = tiles.shape(problem(draft, machine, reads, writes, rates, imposed)) if op.gemm else None
        self.nest = None if op.gemm else slabs.nest(slab_problem(draft, machine, reads, writes, imposed))
        self.known: dict[tuple[Codes, Budget, str], Cost | None] = {}
        self._bounds: dict[Codes, tuple[int, ...]] = {}
        self._searched: dict[tuple[Codes, tuple[int, ...]], _Searched] = {}

    @cached_property
    def _rates_of(self) -> tuple[Rates, float]:
        return rates_of(self.draft, self.machine, self.lives, self.prices)

    @property
    def rates(self) -> Rates:
        """What decides the kernel's energy beside its traffic."""
        return self._rates_of[0]

    @property
    def fixed_pj(self) -> float:
        """The energy of what the kernel computes."""
        return self._rates_of[1]

    # -- bounds ----------------------------------------------------------------------------------

    def bound(self, codes: Codes) -> tuple[int, ...]:
        """Return a time, DRAM bytes, and ``Cost.amounts``, that no tile betters, whatever the room."""
        found = self._bounds.get(codes)
        if found is None:
            least = self._gemm_bound(codes) if self.shape else self._nest_bound(codes)
            found = self._bounds[codes] = (*least, *self._least_amounts(*least)) if self.goal.extra else least
        return found

    def _least_amounts(self, time_ps: int, dram_bytes: int) -> tuple[int, int, int]:
        prices = self.prices
        drawn = time_ps * prices.power_w(self.rates) + dram_bytes * min(prices.fill, prices.drain)
        return time_ps, math.floor((self.fixed_pj + drawn) * SAFE), 0

    def _gemm_bound(self, codes: Codes) -> tuple[int, int]:
        shape = self.shape
        assert shape is not None
        reads = len(self.draft.reads)
        fetched = [i for i in range(reads) if not codes[i] % 2]
        nbytes = sum(shape.least_moved("read", i) for i in fetched)
        nbytes += sum(
            shape.least_moved("write", i) for i in range(len(codes) - reads) if not codes[reads + i]
        )
        steady = max(shape.least_array_ps, shape.riders_ps, nbytes * shape.dram_ps)
        ends = self.machine.dram.latency_ps if fetched else 0
        return math.floor((steady + ends) * SAFE), math.floor(nbytes * SAFE)

    def _nest_bound(self, codes: Codes) -> tuple[int, int]:
        """Return the bound of a vector kernel: what fits nowhere whole is read anew in every walk."""
        nest, machine = self.nest, self.machine
        assert nest is not None
        nbytes = fetched = 0
        reads = zip(codes, self.groups, self.pieces, nest.reads, nest.walks, strict=False)
        for code, fields, piece, total, walks in reads:
            if not code % 2:
                fetched += 1
                sizes = [total * n // sum(piece.streams()) for n in piece.streams()]
                pairs = zip(sizes, fields, strict=True)
                fits = code or all(any(n <= self.capacity[g] for g in groups) for n, groups in pairs)
                nbytes += total if fits else total * max(1, walks)
        nbytes += sum(n for code, n in zip(codes[len(nest.reads) :], nest.writes, strict=True) if not code)
        steady = max(self.slabs.compute_ps(nest), nbytes * 1e12 / machine.dram.bandwidth_bytes_per_s)
        ends = machine.dram.latency_ps if fetched else 0
        return math.floor((steady + ends) * SAFE), nbytes

    # -- costs -----------------------------------------------------------------------------------

    def is_cheap(self, codes: Codes, free: Budget, ranking: str) -> bool:
        """Return whether the cost takes no tile table that nobody has computed yet."""
        if self.shape is None or (codes, free, ranking) in self.known:
            return True
        if ranking not in ("time", "dram"):
            return all(self._has_table(codes, homes) for homes in self._all_homes(free))
        if not self._has_table(codes, self.preferred):
            return False
        first = self._try(codes, free, self.preferred, ranking)
        return self._is_good(first) or self._has_table(codes, self._roomiest(free))

    def _has_table(self, codes: Codes, homes: tuple[int, ...]) -> bool:
        assert self.shape is not None
        return (codes, homes) in self._searched or self.tiles.has_table(
            self.shape, self._places(self._where(codes, homes))
        )

    def cost(self, codes: Codes, free: Budget, ranking: str) -> Cost | None:
        """Return the cost with ``free`` bytes per bank group, or None if no tile fits."""
        key = (codes, free, ranking)
        if key not in self.known:
            self.known[key] = self._cost(codes, free, ranking)
        return self.known[key]

    def _cost(self, codes: Codes, free: Budget, ranking: str) -> Cost | None:
        """Return the better of two: buffers in their roles' first groups, or in the emptiest ones.

        Where energies or writes decide, buffers in any one group are compared too.
        """
        if ranking not in ("time", "dram"):
            tried = (self._try(codes, free, homes, ranking) for homes in self._all_homes(free))
            found = [cost for cost in tried if cost is not None]
            return min(found, key=lambda cost: self.goal.rank(cost, ranking), default=None)
        first = self._try(codes, free, self.preferred, ranking)
        if first is not None and self._is_good(first):
            return first
        other = self._try(codes, free, self._roomiest(free), ranking)
        if first is None or (other is not None and other.time_ps * MUCH < first.time_ps):
            return other
        return first

    def _is_good(self, first: Cost | None) -> bool:
        return first is not None and (len(self.banks) == 1 or first.time_ps <= MUCH * self.compute_ps)

    def _roomiest(self, free: Budget) -> tuple[int, ...]:
        """Return, of the bank groups that would take the operands' buffers, the emptiest ones."""
        roomiest = {g: max(g, key=free.__getitem__) for g in self.choices}
        return tuple([self._home([roomiest[g] for g in fields]) for fields in self.groups])

    def _home(self, groups: Sequence[int]) -> int:
        """Return the number of the groups of an operand's fields, or of its one group."""
        return groups[0] if len(groups) == 1 else self.homes.number(tuple(self.banks[g] for g in groups))

    def _all_homes(self, free: Budget) -> tuple[tuple[int, ...], ...]:
        """Return the groups that are tried for the buffers: the first, the emptiest, any one alone."""
        alone = [
            tuple([self._home([g if g in own else own[0] for own in fields]) for fields in self.groups])
            for g in range(len(self.banks))
        ]
        return tuple(dict.fromkeys([self.preferred, self._roomiest(free), *alone]))

    def _try(self, codes: Codes, free: Budget, homes: tuple[int, ...], ranking: str) -> Cost | None:
        budget = self.budget(free)
        key = (codes, homes)
        searched = self._searched.get(key)
        if searched is None:
            searched = self._searched[key] = self._search(*key)
        if searched.tables is not None:
            table = searched.tables[ranking]
            entry = table.best(budget)
            if entry < 0:
                return None
            time, dram = table.time_ps(entry), table.dram_bytes(entry)
            amounts = self._amounts(*table.amounts(entry)) if self.goal.extra else ()
            return Cost(time, dram, searched.where, searched.psum_group, table, entry, None, amounts)
        assert searched.slabs is not None
        slab = self.slabs.best(searched.slabs, budget)
        if slab is None:
            return None
        amounts = self.slab_amounts(slab) if self.goal.extra else ()
        return Cost(slab.time_ps, slab.dram_bytes, searched.where, "", None, -1, slab, amounts)

    def least_need(self, codes: Codes, free: Budget) -> dict[str, int] | None:
        """Return the bytes per group of the tile that exceeds ``free`` least; None: no tile is allowed."""
        found: list[tuple[float, dict[str, int]]] = []
        for homes in self._all_homes(free):
            where = self._where(codes, homes)
            if self.shape is not None:
                spaces = self.tiles.spaces(self.shape, self._places(where))
                needs = [
                    need for space in spaces if (need := space.least_need(self.budget(free))) is not None
                ]
            else:
                assert self.nest is not None
                reads = len(self.draft.reads)
                needs = [self.slabs.least_need(self.slabs.slabs(self.nest, where[:reads], where[reads:]))]
            for need in needs:
                whole = {
                    g: round(need.get(g, 0)) + slack for g, slack in zip(self.banks, self.slack, strict=True)
                }
                over = sum(max(0, whole[g] - n) for g, n in zip(self.banks, free, strict=True))
                found.append((over, whole))
        return min(found, key=lambda f: f[0])[1] if found else None

    def budget(self, free: Budget) -> Budget:
        """Return what of the bytes that are free tiles may take."""
        return tuple([_rounded_budget(n - slack) for n, slack in zip(free, self.slack, strict=True)])

    def entry_amounts(self, table: Table, entry: int, at: int, traffic: Traffic) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of an entry that stands at place ``at`` of ``traffic``."""
        raw_ps = float(table.raw_ps[entry])
        moving = np.atleast_1d(self.prices.moving_pj(traffic, self.rates))
        mram = np.atleast_1d(self.prices.mram_bytes(traffic))
        drawn = raw_ps * self.prices.power_w(self.rates)
        return self._amounts(raw_ps, drawn + float(moving[at % moving.size]), float(mram[at % mram.size]))

    def _amounts(self, raw_ps: float, moving_pj: float, mram_bytes: float) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of an entry of a table, or of a slab."""
        return round(raw_ps), round(self.fixed_pj + moving_pj), round(mram_bytes)

    def slab_amounts(self, slab: SlabChoice) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of a slab."""
        drawn = slab.time_ps * self.prices.power_w(self.rates)
        moving = self.prices.moving_pj(slab.traffic, self.rates)
        mram = self.prices.mram_bytes(slab.traffic)
        return self._amounts(slab.time_ps, float(drawn + moving), float(mram))

    def _search(self, codes: Codes, homes: tuple[int, ...]) -> _Searched:
        where = self._where(codes, homes)
        reads = len(self.draft.reads)
        if self.shape is None:
            assert self.nest is not None
            return _Searched(where, "", None, self.slabs.slabs(self.nest, where[:reads], where[reads:]))
        places = self._places(where)
        return _Searched(where, places.psum_group, self.tiles.tables(self.shape, places), None)

    def _where(self, codes: Codes, homes: tuple[int, ...]) -> tuple[Where, ...]:
        found = []
        for code, home, piece in zip(codes, homes, self.pieces, strict=True):
            place = "buffered" if code == BUFFERED else "resident" if code % 2 else "kept"
            groups = self.homes.groups[home if code == BUFFERED else (code - 1) // 2]
            split = tuple(zip(groups, piece.fields, strict=True)) if piece.fields else ()
            found.append(Where(place, groups[0], split))
        return tuple(found)

    def _places(self, where: tuple[Where, ...]) -> Places:
        reads, writes = where[: len(self.draft.reads)], where[len(self.draft.reads) :]
        psum = self.machine.accumulator.overflow or (writes[0].group if writes else reads[0].group)
        return Places(reads[0], reads[1], reads[2:], writes, psum)

    def parts(self, where: tuple[Where, ...]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """Return the operands read and written, each with its place."""
        parts = tuple(
            Part(piece.operand, piece.element_bytes, _groups(at), at.place, piece.fields)
            for piece, at in zip(self.pieces, where, strict=True)
        )
        return parts[: len(self.draft.reads)], parts[len(self.draft.reads) :]


class _Searched(NamedTuple):
    """Where the operands are, and what tiles or slabs then cost."""

    where: tuple[Where, ...]
    psum_group: str
    tables: dict[str, Table] | None
    slabs: Slabs | None


def _groups(at: Where) -> tuple[str, ...]:
    return tuple(group for group, _ in at.split) or (at.group,)


def rates_of(
    draft: Draft, machine: Machine, lives: Mapping[str, Life], prices: Prices
) -> tuple[Rates, float]:
    """Return what decides a kernel's energy beside its traffic, and the energy of what it computes."""
    layers = {op.name: op.layer for op in (*draft.ops, *draft.sums)}
    data = [
        machine.content_of(lives[o.tensor].data.role, layers[op]) for o, op in (*draft.reads, *draft.writes)
    ]
    contents = (*data, machine.content_of("activation", draft.leader.layer))  # partial sums without results
    fmt = lives[draft.reads[0][0].tensor].data.element_format if draft.reads else "fp32"
    return prices.rates(draft, contents, fmt), prices.fixed_pj(draft, contents, fmt)


def _rounded_budget(nbytes: int) -> int:
    if nbytes <= QUANTUM:
        return max(0, nbytes)
    unit = 1 << (nbytes.bit_length() - 1)
    return nbytes // (unit // QUANTUM) * (unit // QUANTUM)
