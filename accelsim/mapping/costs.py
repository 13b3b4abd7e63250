"""What one kernel costs: by where its operands are, and by the room that is left for its buffers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accelsim.mapping.codes import BUFFERED, Codes
from accelsim.mapping.outline import Outline
from accelsim.mapping.problem import Budget, Choice, Part, Places, Where
from accelsim.mapping.slabs import SlabChoice, Slabs, SlabSearch
from accelsim.mapping.tiling import Table, TileSearch
from accelsim.mapping.traffic import Traffic
from accelsim.resolve.machine import Machine

MUCH = 1.02  # times faster: then buffers go to other groups than their roles' first
QUANTUM = 64  # budgets are rounded down to 1/64 of their power of two, so that equal kernels share a choice


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
    """The costs of one kernel on one machine, each computed once."""

    def __init__(self, outline: Outline, machine: Machine, tiles: TileSearch, slabs: SlabSearch) -> None:
        self.outline = outline
        self.draft = outline.draft
        self.goal = outline.goal
        self.prices = outline.prices
        self.machine = machine
        self.tiles = tiles
        self.slabs = slabs
        self.banks = outline.banks
        self.capacity = tuple(b.capacity_bytes for b in machine.banks.values())
        self.homes = outline.homes
        self.pieces = outline.pieces
        self.groups = outline.groups
        self.preferred = outline.preferred
        self.slack = outline.slack
        self.shape = outline.shape
        self.nest = outline.nest
        self.known: dict[tuple[Codes, Budget, str], Cost | None] = {}
        self._searched: dict[tuple[Codes, tuple[int, ...]], _Searched] = {}
        self._tried: dict[tuple[Codes, Budget, tuple[int, ...], str], Cost | None] = {}
        self._budgets: dict[Budget, Budget] = {}

    def bound(self, codes: Codes) -> tuple[int, ...]:
        """Return a time, DRAM bytes, and ``Cost.amounts``, that no tile betters, whatever the room."""
        return self.outline.bound(codes, self.capacity)

    def is_cheap(self, codes: Codes, free: Budget, ranking: str) -> bool:
        """Return whether the cost takes no tile table that nobody has computed yet."""
        if self.shape is None or (codes, free, ranking) in self.known:
            return True
        if ranking == "time":
            if not self._has_table(codes, self.preferred):
                return False
            if self._is_good(self._try(codes, free, self.preferred, ranking)):
                return True
        return all(self._has_table(codes, homes) for homes in self._all_homes(free))

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
        """Return the best of several: buffers in their roles' first groups, in the emptiest ones, in any one.

        Where time decides, others than the first must be much faster.
        """
        first = None
        if ranking == "time":
            first = self._try(codes, free, self.preferred, ranking)
            if self._is_good(first):
                return first
        tried = (self._try(codes, free, homes, ranking) for homes in self._all_homes(free))
        found = [cost for cost in tried if cost is not None]
        best = min(found, key=lambda cost: self.goal.rank(cost, ranking), default=None)
        if first is not None and best is not None and best.time_ps * MUCH >= first.time_ps:
            return first
        return best

    def _is_good(self, first: Cost | None) -> bool:
        return first is not None and (len(self.banks) == 1 or first.time_ps <= MUCH * self.outline.compute_ps)

    def _roomiest(self, free: Budget) -> tuple[int, ...]:
        """Return, of the bank groups that would take the operands' buffers, the emptiest ones."""
        roomiest = {g: max(g, key=free.__getitem__) for g in self.outline.choices}
        return tuple([self.outline.home([roomiest[g] for g in fields]) for fields in self.groups])

    def _all_homes(self, free: Budget) -> tuple[tuple[int, ...], ...]:
        """Return the groups that are tried for the buffers: the first, the emptiest, any one alone."""
        alone = [
            tuple(
                [self.outline.home([g if g in own else own[0] for own in fields]) for fields in self.groups]
            )
            for g in range(len(self.banks))
        ]
        return tuple(dict.fromkeys([self.preferred, self._roomiest(free), *alone]))

    def _try(self, codes: Codes, free: Budget, homes: tuple[int, ...], ranking: str) -> Cost | None:
        key = codes, self.budget(free), homes, ranking
        if key not in self._tried:
            self._tried[key] = self._best(*key)
        return self._tried[key]

    def _best(self, codes: Codes, budget: Budget, homes: tuple[int, ...], ranking: str) -> Cost | None:
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
        found = self._budgets.get(free)
        if found is None:
            pairs = zip(free, self.slack, strict=True)
            found = self._budgets[free] = tuple([_rounded_budget(n - slack) for n, slack in pairs])
        return found

    def entry_amounts(self, table: Table, entry: int, at: int, traffic: Traffic) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of an entry that stands at place ``at`` of ``traffic``."""
        raw_ps = float(table.raw_ps[entry])
        moving = np.atleast_1d(self.prices.moving_pj(traffic, self.outline.rates))
        mram = np.atleast_1d(self.prices.mram_bytes(traffic))
        drawn = raw_ps * self.prices.power_w(self.outline.rates)
        return self._amounts(raw_ps, drawn + float(moving[at % moving.size]), float(mram[at % mram.size]))

    def _amounts(self, raw_ps: float, moving_pj: float, mram_bytes: float) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of an entry of a table, or of a slab."""
        return round(raw_ps), round(self.outline.fixed_pj + moving_pj), round(mram_bytes)

    def slab_amounts(self, slab: SlabChoice) -> tuple[int, int, int]:
        """Return ``Cost.amounts`` of a slab."""
        drawn = slab.time_ps * self.prices.power_w(self.outline.rates)
        moving = self.prices.moving_pj(slab.traffic, self.outline.rates)
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


def _rounded_budget(nbytes: int) -> int:
    if nbytes <= QUANTUM:
        return max(0, nbytes)
    unit = 1 << (nbytes.bit_length() - 1)
    return nbytes // (unit // QUANTUM) * (unit // QUANTUM)
