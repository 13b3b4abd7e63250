"""What holds of one kernel however fast the banks are: the question of its search, and bounds of its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from accelsim.mapping.codes import Codes
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.energy import Prices
from accelsim.mapping.fields import Fields, Homes
from accelsim.mapping.given import Given
from accelsim.mapping.goal import Goal
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Budget, Piece, Rates
from accelsim.mapping.questions import nameless, problem, slab_problem
from accelsim.mapping.shapes import Shapes
from accelsim.mapping.slab_nest import Nests, compute_ps
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import Machine

SAFE = 1 - 1e-9  # of a bound, for what floats round off


class Outline:
    """One kernel's operands, where they may be, and what it takes at least.

    Attributes:
        compute_ps: What its unit needs with everything at hand.
        shape: Of the tiles of a GEMM; None: it has none.
        nest: Of the slabs of a vector kernel; None: it has none.
        groups: Per operand and bit field the numbers of the bank groups that may hold buffers of it.
        preferred: Per operand the number of its home, see ``fields.Homes``, if there is room everywhere.
        choices: The groups that may hold any of the buffers.
        slack: Bytes per bank group that regions take by being rounded up to whole words.
    """

    def __init__(
        self,
        draft: Draft,
        machine: Machine,
        fields: Fields,
        homes: Homes,
        shapes: Shapes,
        nests: Nests,
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
        self.homes = homes
        self.compute_ps = compute_ps
        self.banks = tuple(machine.banks)
        self.lives = fields.whole
        operands = [o for o, _ in (*draft.reads, *draft.writes)]
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
        self.preferred = tuple(self.home([g[0] for g in fields]) for fields in self.groups)
        self.choices = tuple(dict.fromkeys(g for fields in self.groups for g in fields))
        regions = 2 * sum(map(len, self.groups)) + 1  # each rounded up to whole words
        self.slack = [regions * machine.banks[g].word_bytes for g in self.banks]
        reads, writes = tuple(self.pieces[: len(draft.reads)]), tuple(self.pieces[len(draft.reads) :])
        op, imposed = draft.leader, given.nests.get(leader)
        rates = self.rates if goal.extra else None
        self.shape = shapes.of(problem(draft, machine, reads, writes, rates, imposed)) if op.gemm else None
        self.nest = None if op.gemm else nests.of(slab_problem(draft, machine, reads, writes, imposed))
        self._bounds: dict[tuple[Codes, Budget], tuple[int, ...]] = {}

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

    def home(self, groups: Sequence[int]) -> int:
        """Return the number of the groups of an operand's fields, or of its one group."""
        return groups[0] if len(groups) == 1 else self.homes.number(tuple(self.banks[g] for g in groups))

    def bound(self, codes: Codes, capacity: Budget) -> tuple[int, ...]:
        """Return a time, DRAM bytes, and ``Cost.amounts``, that no tile betters, whatever the room."""
        key = codes, (() if self.shape else capacity)
        found = self._bounds.get(key)
        if found is None:
            least = self._gemm_bound(codes) if self.shape else self._nest_bound(codes, capacity)
            found = self._bounds[key] = (*least, *self._least_amounts(*least)) if self.goal.extra else least
        return found

    def _least_amounts(self, time_ps: int, dram_bytes: int) -> tuple[int, int, int]:
        prices = self.prices
        drawn = time_ps * prices.power_w(self.rates) + dram_bytes * min(prices.fill, prices.drain)
        return time_ps, math.floor((self.fixed_pj + drawn) * SAFE), 0

    def _gemm_bound(self, codes: Codes) -> tuple[int, int]:
        """Return the bound of a GEMM, rounded as the costs of its tiles are."""
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
        return math.floor((steady + ends) * SAFE), round(nbytes * SAFE)

    def _nest_bound(self, codes: Codes, capacity: Budget) -> tuple[int, int]:
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
                fits = code or all(any(n <= capacity[g] for g in groups) for n, groups in pairs)
                nbytes += total if fits else total * max(1, walks)
        nbytes += sum(n for code, n in zip(codes[len(nest.reads) :], nest.writes, strict=True) if not code)
        steady = max(compute_ps(nest, machine), nbytes * 1e12 / machine.dram.bandwidth_bytes_per_s)
        ends = machine.dram.latency_ps if fetched else 0
        return math.floor((steady + ends) * SAFE), nbytes


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
