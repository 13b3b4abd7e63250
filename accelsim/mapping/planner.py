"""Plans: the whole step under given capacities, every kernel with its tile and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.codes import CodeBook
from accelsim.mapping.costs import Cost, Costs
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.fields import Fields, Homes
from accelsim.mapping.gaps import Residency
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Budget, Choice, Part
from accelsim.mapping.residency import ResidencyPlanner
from accelsim.mapping.slabs import SlabChoice, SlabSearch
from accelsim.mapping.storage import Life
from accelsim.mapping.tiling import TileSearch
from accelsim.mapping.times import unit_ps
from accelsim.resolve.machine import Machine

STEP = 0.01  # of the compute bound: plans that are less apart count as equally fast
Key = tuple[int, int]  # of what is least first: time and DRAM bytes, or the other way round


@dataclass(frozen=True, slots=True)
class Planned:
    """One kernel of a plan: its operands in their places, the choice, and the group of partial sums."""

    draft: Draft
    reads: tuple[Part, ...]
    writes: tuple[Part, ...]
    tile: Choice | None
    slab: SlabChoice | None
    psum_group: str
    time_ps: int
    dram_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A step planned under ``capacity``."""

    capacity: Mapping[str, int]
    residency: Residency
    kernels: tuple[Planned, ...]
    time_ps: int
    dram_bytes: int


_Place = tuple[Costs, bytes, Budget]  # a kernel, where its operands are, and the room that it has


@dataclass(slots=True)
class Trial:
    """A plan to be costed: what stays where, the room that every kernel has, and a bound of its cost."""

    number: int  # of equally good plans the first is taken
    capacity: Mapping[str, int]
    residency: Residency
    kernels: list[_Place]
    evicted_bytes: int
    least: tuple[int, int]  # time and DRAM bytes
    bound: Key


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
        self.array = tiles.array
        slabs = SlabSearch(machine)
        compute_ps = [unit_ps(machine, d) for d in drafts]
        dwells = Dwells(machine, lives, compute_ps)
        lives = self.lives = dwells.ordered(lives)
        self.fields = Fields(lives, machine)
        homes = Homes(machine.banks)
        self.bound_ps = max(1, sum(compute_ps))
        self.costs = [
            Costs(d, machine, self.fields, homes, tiles, slabs, dwells, ps)
            for d, ps in zip(drafts, compute_ps, strict=True)
        ]
        self.residencies = ResidencyPlanner(self.fields, machine, dwells, cyclic)
        self.codes = CodeBook(drafts, self.fields, homes, self.residencies.gaps)

    # -- one plan --------------------------------------------------------------------------------

    def trial(self, number: int, capacity: Mapping[str, int], share: float) -> Trial:
        """Return the plan to be costed when whole tensors may take ``share`` of every group."""
        limits = {g: int(c * share) for g, c in capacity.items()}
        residency = self.residencies.plan(limits)
        free = zip(*([c - n for n in residency.usage[g]] for g, c in capacity.items()), strict=True)
        kernels = list(zip(self.costs, self.codes.of(residency), free, strict=True))
        evicted = self._evictions(residency)
        bounds = [costs.bound(codes) for costs, codes, _ in kernels]
        least = sum(b[0] for b in bounds), sum(b[1] for b in bounds) + evicted
        return Trial(number, capacity, residency, kernels, evicted, least, self.key(*least))

    def cost(self, trial: Trial) -> Key:
        """Return the key of a trial.

        Raises:
            MappingError: if a kernel's smallest tile does not fit, naming it and the fix.
        """
        costs = [self._must_fit(kernel, trial) for kernel in trial.kernels]
        return self.key(sum(c.time_ps for c in costs), sum(c.dram_bytes for c in costs) + trial.evicted_bytes)

    def better(self, trial: Trial, than: tuple[Key, int]) -> Key | None:
        """Return the key of a trial, or None as soon as it is known not to be better ``than`` another's.

        ``than`` is the other's key and number. What is known already is looked up first, then what takes
        no new table of tiles; tables are computed one by one while the bounds of the others leave hope.
        """
        hope = _Hope(self, trial, than)
        unknown = [place for place in trial.kernels if not hope.replace(place, place[0].known.get(place[1:]))]
        costly = []
        for place in unknown:
            if hope.is_lost():
                return None
            if place[0].is_cheap(*place[1:]):
                hope.replace(place, self._must_fit(place, trial))
            else:
                costly.append(place)
        for place in costly:
            if hope.is_lost():
                return None
            hope.replace(place, self._must_fit(place, trial))
        return None if hope.is_lost() else hope.key()

    def plan(self, trial: Trial) -> Plan:
        """Return the plan of a trial."""
        found = [self._must_fit(kernel, trial) for kernel in trial.kernels]
        planned = [self._planned(k[0], cost) for k, cost in zip(trial.kernels, found, strict=True)]
        time = self._in_steps(sum(p.time_ps for p in planned))
        dram = sum(p.dram_bytes for p in planned) + trial.evicted_bytes
        return Plan(trial.capacity, trial.residency, tuple(planned), time, dram)

    def _planned(self, costs: Costs, cost: Cost) -> Planned:
        reads, writes = costs.parts(cost.where)
        return Planned(
            costs.draft, reads, writes, cost.tile, cost.slab, cost.psum_group, cost.time_ps, cost.dram_bytes
        )

    def _must_fit(self, place: _Place, trial: Trial) -> Cost:
        costs, codes, free = place
        cost = costs.cost(codes, free)
        if cost is not None:
            return cost
        groups = ", ".join(f"{g} {c} bytes" for g, c in trial.capacity.items())
        raise MappingError(
            f"{costs.draft.leader.name}: its smallest tile does not fit into the scratchpad ({groups}); "
            "make [bank.NAME] capacity larger, or the batch smaller"
        )

    def key(self, time_ps: int, dram_bytes: int) -> Key:
        time_ps = self._in_steps(time_ps)
        return (dram_bytes, time_ps) if self.machine.mapping.objective == "dram" else (time_ps, dram_bytes)

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
            life = self.fields.lives[name]
            made_here = life.made >= 0 and any(g.start == life.made for g in gaps)
            if made_here and (len(gaps) < len(life.events()) - 1 or life.predecessor is not None):
                total += life.data.nbytes
        return total


class _Hope:
    """The least that a trial may still cost, while the bounds of its kernels are replaced by their costs."""

    def __init__(self, planner: Planner, trial: Trial, than: tuple[Key, int]) -> None:
        self.planner = planner
        self.number = trial.number
        self.than = than
        self.time, self.dram = trial.least

    def replace(self, place: _Place, cost: Cost | None) -> bool:
        """Replace the bound of a kernel by its cost, if it is there; return whether."""
        if cost is None:
            return False
        time, dram = place[0].bound(place[1])
        self.time += cost.time_ps - time
        self.dram += cost.dram_bytes - dram
        return True

    def key(self) -> Key:
        """Return the key of the least cost."""
        return self.planner.key(self.time, self.dram)

    def is_lost(self) -> bool:
        """Return whether nothing better can come of it."""
        return (self.key(), self.number) >= self.than
