"""One plan: the whole step under given capacities, every kernel with its tile and its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.errors import MappingError
from accelsim.geometry import Operand, ceil_div
from accelsim.graph.ir import Graph, Op
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Choice, Part, Problem
from accelsim.mapping.residency import Residency, plan_residency
from accelsim.mapping.slabs import SlabChoice, SlabProblem, Slabs, SlabSearch
from accelsim.mapping.storage import Life
from accelsim.mapping.tiling import Table, TileSearch, best
from accelsim.program.folds import compute_cycles
from accelsim.resolve.machine import Machine

_Where = tuple[str, str]  # place and bank group of an operand
_Searched = tuple[tuple[Part, ...], tuple[Part, ...], str, Table | Slabs]  # reads, writes, group of psums
MUCH = 1.02  # times faster: then buffers go to the emptiest group instead of their role's first
STEP = 0.01  # of the compute bound: plans that are less apart count as equally fast
PS_PER_S = 10**12
QUANTUM = 64  # budgets are rounded down to 1/64 of their power of two, so that equal kernels share a choice


@dataclass(frozen=True, slots=True)
class Planned:
    """One kernel of a plan: the parts searched over, the choice, and the group of partial sums."""

    draft: Draft
    reads: tuple[Part, ...]
    writes: tuple[Part, ...]
    tile: Choice | None
    slab: SlabChoice | None
    psum_group: str

    @property
    def time_ps(self) -> int:
        """Expected time."""
        chosen = self.tile or self.slab
        assert chosen is not None
        return chosen.time_ps

    @property
    def dram_bytes(self) -> int:
        """Expected DRAM traffic."""
        chosen = self.tile or self.slab
        assert chosen is not None
        return chosen.dram_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """A step planned under ``capacity``."""

    capacity: Mapping[str, int]
    residency: Residency
    kernels: tuple[Planned, ...]
    time_ps: int
    dram_bytes: int


class Planner:
    """Plans one graph on one machine under varying capacities."""

    def __init__(
        self,
        graph: Graph,
        machine: Machine,
        drafts: list[Draft],
        lives: Mapping[str, Life],
        tiles: TileSearch,
        cyclic: bool,
    ) -> None:
        self.graph = graph
        self.machine = machine
        self.drafts = drafts
        self.lives = lives
        self.tiles = tiles
        self.array = tiles.array
        self.slabs = SlabSearch(machine)
        self.cyclic = cyclic
        self.compute_ps = [self._compute_ps(d) for d in drafts]
        self.bound_ps = max(1, sum(self.compute_ps))
        self._known: dict[tuple[int, tuple[_Where, ...]], _Searched] = {}

    def _compute_ps(self, draft: Draft) -> int:
        """Return the time that a kernel's unit takes with everything at hand."""
        machine, op = self.machine, draft.leader
        if op.gemm is not None:
            pe = machine.pe_array
            m, n, k, groups = (op.gemm.extent(s) for s in ("m", "n", "k", "batch"))
            one = compute_cycles(pe.convention, pe.dataflow, pe.rows, pe.cols, m, n, k)
            return groups * one * PS_PER_S // machine.clock_hz
        assert op.vector is not None
        points = math.prod(a.size for a in op.vector.axes)
        cycles = sum(machine.vector.cycles.get(f, 1) * c for p in op.vector.passes for f, c in p.functions)
        return ceil_div(points, machine.vector.lanes) * cycles * PS_PER_S // machine.clock_hz

    def plan(self, capacity: Mapping[str, int], share: float) -> Plan:
        """Return the plan when whole tensors may take ``share`` of every group.

        Raises:
            MappingError: if a kernel's smallest tile does not fit, naming it and the fix.
        """
        limits = {g: int(c * share) for g, c in capacity.items()}
        residency = plan_residency(self.lives, self.machine, limits, len(self.drafts), self.cyclic)
        planned = [self._kernel(d, residency, capacity) for d in self.drafts]
        evicted = self._evictions(residency)
        return Plan(
            capacity,
            residency,
            tuple(planned),
            self._in_steps(sum(p.time_ps for p in planned)),
            sum(p.dram_bytes for p in planned) + evicted,
        )

    def _in_steps(self, time_ps: int) -> int:
        """Return a plan's time rounded down to whole steps above the compute bound.

        Otherwise a nanosecond would outweigh any amount of DRAM traffic.
        """
        steps = int((time_ps / self.bound_ps - 1) / STEP)
        return round(self.bound_ps * (1 + STEP * steps)) if steps > 0 else min(time_ps, self.bound_ps)

    def _evictions(self, residency: Residency) -> int:
        """Return the bytes of copies written back when their place is given up."""
        total = 0
        for name, gaps in residency.kept.items():
            life = self.lives[name]
            made_here = life.made >= 0 and any(g.start == life.made for g in gaps)
            if made_here and (len(gaps) < len(life.events()) - 1 or life.predecessor is not None):
                total += life.data.nbytes
        return total

    def _kernel(self, draft: Draft, residency: Residency, capacity: Mapping[str, int]) -> Planned:
        free = {g: capacity[g] - int(residency.usage[g][draft.index]) for g in capacity}
        first = self._try(draft, residency, free, True)
        if first is not None and (len(free) == 1 or first.time_ps <= MUCH * self.compute_ps[draft.index]):
            return first
        other = self._try(draft, residency, free, False)
        if first is None and other is None:
            raise MappingError(self._too_small(draft, capacity))
        if first is None or (other is not None and other.time_ps * MUCH < first.time_ps):
            assert other is not None
            return other
        return first

    def _too_small(self, draft: Draft, capacity: Mapping[str, int]) -> str:
        groups = ", ".join(f"{g} {c} bytes" for g, c in capacity.items())
        return (
            f"{draft.leader.name}: its smallest tile does not fit into the scratchpad ({groups}); "
            "make [bank.NAME] capacity larger, or the batch smaller"
        )

    def _try(
        self, draft: Draft, residency: Residency, free: Mapping[str, int], preferred: bool
    ) -> Planned | None:
        """Plan one kernel with buffers in their roles' first groups, or in the emptiest ones."""
        where = tuple(
            self._where(draft.index, o.tensor, residency, free, preferred, is_read)
            for operands, is_read in ((draft.reads, True), (draft.writes, False))
            for o, _ in operands
        )
        regions = 2 * len(where) + 1  # each rounded up to whole words
        budget = tuple(
            (g, _rounded_budget(n - regions * self.machine.banks[g].word_bytes)) for g, n in free.items()
        )
        searched = self._known.get((draft.index, where))
        if searched is None:
            searched = self._known[(draft.index, where)] = self._search(draft, where)
        reads, writes, psum, costs = searched
        if isinstance(costs, Table):
            tile = best(costs, budget)
            return Planned(draft, reads, writes, tile, None, psum) if tile else None
        slab = self.slabs.best(costs, budget)
        return Planned(draft, reads, writes, None, slab, "") if slab else None

    def _search(self, draft: Draft, where: tuple[_Where, ...]) -> _Searched:
        """Return the costs of a kernel's tiles or slabs, its operands being where they are."""
        operands = [o for o, _ in (*draft.reads, *draft.writes)]
        parts = tuple(self._part(o, *w) for o, w in zip(operands, where, strict=True))
        reads, writes = parts[: len(draft.reads)], parts[len(draft.reads) :]
        if draft.leader.gemm is None:
            problem = self._slab_problem(draft, draft.leader, reads, writes)
            return reads, writes, "", self.slabs.slabs(problem)
        psum = self._psum_group(writes, reads)
        return (
            reads,
            writes,
            psum,
            self.tiles.table(self._gemm_problem(draft, draft.leader, reads, writes, psum)),
        )

    def _psum_group(self, writes: tuple[Part, ...], reads: tuple[Part, ...]) -> str:
        named = self.machine.accumulator.overflow
        return named or (writes[0].group if writes else reads[0].group)

    def _part(self, operand: Operand, place: str, group: str) -> Part:
        """Return an operand without its tensor's name: equal shapes then share one search."""
        size = self.lives[operand.tensor].data.element_bytes
        return Part(Operand("", operand.shape, operand.dims), size, group, place)

    def _where(
        self,
        kernel: int,
        name: str,
        residency: Residency,
        free: Mapping[str, int],
        preferred: bool,
        is_read: bool,
    ) -> _Where:
        """Return (place, bank group) of a tensor in one kernel."""
        life = self.lives[name]
        pinned = residency.pinned.get(name) or residency.pinned.get(life.predecessor or "")
        if pinned:
            return "resident", pinned
        gaps = residency.kept.get(name, ())
        if is_read and any(g.end == kernel for g in gaps):
            return "resident", residency.group[name]
        if any(g.start == kernel for g in gaps):
            return "kept" if is_read else "resident", residency.group[name]
        groups = life.groups or tuple(self.machine.banks)
        return "buffered", groups[0] if preferred else max(groups, key=lambda g: free[g])

    def _gemm_problem(
        self,
        draft: Draft,
        op: Op,
        reads: tuple[Part, ...],
        writes: tuple[Part, ...],
        psum: str,
    ) -> Problem:
        gemm = op.gemm
        assert gemm is not None
        return Problem(
            groups=gemm.batch,
            m=gemm.m,
            n=gemm.n,
            k=gemm.k,
            a=reads[0],
            b=reads[1],
            reads=reads[2:],
            writes=writes,
            psum_group=psum,
            expanded=gemm.expanded or "",
            expansion=expansion(op, self.machine, reads),
            rider_rate=sum(self.machine.vector.cycles.get(f, 1) * c for f, c in rider_functions(draft)),
            objective=self.machine.mapping.objective,
        )

    def _slab_problem(
        self,
        draft: Draft,
        op: Op,
        reads: tuple[Part, ...],
        writes: tuple[Part, ...],
    ) -> SlabProblem:
        vector = op.vector
        assert vector is not None
        riders = tuple(draft.rider_reads)
        last = len(vector.passes) - 1
        passes = tuple(
            (draft.pass_reads[i] + (riders if i == last else ()), draft.pass_writes[i])
            for i in range(len(vector.passes))
        )
        work = [f for p in vector.passes for f in p.functions] + rider_functions(draft)
        cycles = sum(self.machine.vector.cycles.get(f, 1) * c for f, c in work)
        return SlabProblem(vector.axes, vector.separable, reads, writes, passes, max(1, cycles))


def rider_functions(draft: Draft) -> list[tuple[str, int]]:
    """Return the vector functions of the ops that ride on a kernel's drain."""
    riders = [op.vector for op in draft.ops[1:] if op.vector is not None]
    return [f for v in riders for p in v.passes for f in p.functions]


def expansion(op: Op, machine: Machine, reads: tuple[Part, ...]) -> tuple[int, int]:
    """Return what the array reads of the expanded operand, as a fraction of the expanded bytes.

    A line buffer that holds the window's rows gives every element once per window; one that holds a
    window's width saves the overlap along a row; none gives every element as often as it is used.
    """
    gemm = op.gemm
    assert gemm is not None
    if gemm.window is None or gemm.expanded is None or gemm.kind == "input_gradient":
        return 1, 1
    height, width, down, across = gemm.window
    part = reads[0 if gemm.expanded == "a" else 1]
    line = part.operand.shape[-1] * part.element_bytes
    room = machine.im2col_line_buffer_bytes
    if room >= height * line:
        return min(height * width, down * across), height * width
    if room >= width * part.element_bytes:
        return min(width, across), width
    return 1, 1


def _rounded_budget(nbytes: int) -> int:
    if nbytes <= QUANTUM:
        return max(0, nbytes)
    unit = 1 << (nbytes.bit_length() - 1)
    return nbytes // (unit // QUANTUM) * (unit // QUANTUM)
