"""Plans: the whole step under given capacities, every kernel with its tile and its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelsim.errors import MappingError
from accelsim.mapping.costs import Cost, Costs
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.gaps import Residency
from accelsim.mapping.goal import Key
from accelsim.mapping.ground import Ground, summed
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Budget, Choice, Part
from accelsim.mapping.slabs import SlabChoice, SlabSearch
from accelsim.mapping.tiling import TileSearch
from accelsim.mapping.words import Weigher
from accelsim.resolve.machine import Machine

STEP = 0.01  # of the compute bound: plans that are less apart count as equally fast


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

    def parts(self) -> list[tuple[str, Part]]:
        """Return every operand with the tensor that it is of."""
        names = [o.tensor for o, _ in (*self.draft.reads, *self.draft.writes)]
        return list(zip(names, (*self.reads, *self.writes), strict=True))


@dataclass(frozen=True, slots=True)
class Plan:
    """A step planned under ``capacity``."""

    capacity: Mapping[str, int]
    residency: Residency
    kernels: tuple[Planned, ...]
    time_ps: int
    dram_bytes: int


Place = tuple[Costs, bytes, Budget, str]  # a kernel, where its operands are, its room, and the ranking


@dataclass(slots=True)
class Trial:
    """A plan to be costed: what stays where, the room that every kernel has, and a bound of its cost."""

    number: int  # of equally good plans the first is taken
    capacity: Mapping[str, int]
    ranking: str
    residency: Residency
    kernels: list[Place]
    evicted: tuple[int, ...]  # time, DRAM bytes and amounts of what is written back to make room
    least: tuple[int, ...]
    bound: Key


class Planner:
    """Plans one graph on one machine under varying capacities.

    ``tiles`` has what another planner of the same ground's shapes has found on the machine.
    """

    def __init__(self, machine: Machine, ground: Ground, tiles: TileSearch | None = None) -> None:
        self.ground = ground
        self.graph = ground.graph
        self.machine = machine
        self.array = ground.shapes.array
        self.prices = ground.prices
        self.goal = ground.goal
        self.given = ground.given
        self.dwells = ground.dwells
        self.lives = ground.lives
        self.fields = ground.fields
        prices = ground.prices if ground.goal.extra else None
        self.tiles = tiles or TileSearch(machine, ground.shapes, ground.goal, prices)
        slabs = SlabSearch(machine)
        self.costs = [Costs(o, machine, self.tiles, slabs) for o in ground.outlines]
        self.capacity = tuple(b.capacity_bytes for b in machine.banks.values())

    # -- one plan --------------------------------------------------------------------------------

    def trials(self, capacity: Mapping[str, int], share: float, first: int) -> list[Trial]:
        """Return the plans to be costed when whole tensors may take ``share`` of every group.

        One per ranking, numbered from ``first``; also those with no whole tensor in one of the groups, whose
        capacity is not cut unless energies or writes decide.
        """
        limits = {g: int(c * share) for g, c in capacity.items()}
        several = [limits]
        if len(limits) > 1:
            uncut = {g: b.capacity_bytes for g, b in self.machine.banks.items()}
            several += [{**limits, g: 0} for g in limits if self.goal.extra or capacity[g] == uncut[g]]
        found: list[Trial] = []
        for those in several:
            residency = self.ground.residencies.plan(those)
            for ranking in self.goal.rankings:
                found.append(self._trial(first + len(found), capacity, residency, ranking))
        return found

    def _trial(self, number: int, capacity: Mapping[str, int], residency: Residency, ranking: str) -> Trial:
        coded, evicted = self.ground.coded(residency)
        least = self.ground.least(residency, self.capacity)
        places = zip(self.costs, coded, self.ground.room(residency, tuple(capacity.values())), strict=True)
        kernels = [(costs, codes, room, ranking) for costs, codes, room in places]
        return Trial(number, capacity, ranking, residency, kernels, evicted, least, self.key(least))

    def cost(self, trial: Trial) -> Key:
        """Return the key of a trial.

        Raises:
            MappingError: if a kernel's smallest tile does not fit, naming it and the fix.
        """
        return self.key(self.total(trial, [self._must_fit(kernel, trial) for kernel in trial.kernels]))

    def known_costs(self, trial: Trial) -> list[Cost] | None:
        """Return the costs of a trial's kernels, or None where the search has not costed them all."""
        found = []
        for place in trial.kernels:
            cost = place[0].known.get(place[1:])
            if cost is None:
                return None
            found.append(cost)
        return found

    def cheap_costs(self, trial: Trial) -> list[Cost] | None:
        """Return the costs of a trial's kernels, or None where that takes new tables, or they do not fit."""
        found = []
        for place in trial.kernels:
            cost = place[0].cost(*place[1:]) if place[0].is_cheap(*place[1:]) else None
            if cost is None:
                return None
            found.append(cost)
        return found

    def total(self, trial: Trial, costs: Sequence[Cost]) -> tuple[int, ...]:
        """Return time, DRAM bytes and amounts of a trial whose kernels have these costs."""
        return summed([*((c.time_ps, c.dram_bytes, *c.amounts) for c in costs), trial.evicted])

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
        dram_bytes = self.total(trial, found)[1]
        return Plan(
            trial.capacity, trial.residency, tuple(planned), self.estimated_ps(trial, found), dram_bytes
        )

    def estimated_ps(self, trial: Trial, costs: Sequence[Cost]) -> int:
        """Return the time by which plans are compared: in steps, unless prices decide."""
        total = self.total(trial, costs)
        return total[2] if self.machine.mapping.priced else self._in_steps(total[0])

    def words(self, plan: Plan) -> float:
        """Return the words that a plan's streams need if nothing is cut; 0 where all count as along."""
        if self.machine.layout == "along":
            return 0.0
        weigher = Weigher(self.graph, self.machine)
        return sum(sum(weigher.words(p.draft)) for p in plan.kernels)

    def outlasts(self, plan: Plan) -> tuple[int, ...]:
        """Return how long kernels last by a plan's own estimates if data then lie too long in it; else ()."""
        if not self.dwells.limits or self.given:
            return ()
        lasts = tuple(p.time_ps for p in plan.kernels)
        lasts = tuple(map(max, lasts, self.dwells.lasts_ps or lasts))
        dwells = Dwells(self.machine, self.lives, self.ground.compute_ps, lasts)
        return () if self._keeps_to(plan, dwells) else lasts

    def _keeps_to(self, plan: Plan, dwells: Dwells) -> bool:
        """Return whether everything may lie where a plan has it."""
        lives, residency = self.fields.lives, plan.residency
        kept = (
            residency.group[name] in dwells.allowed(gap, lives[name]).groups
            for name, gaps in residency.kept.items()
            for gap in gaps
        )
        pinned = (g in dwells.over_the_step(lives[name]) for name, g in residency.pinned.items())
        buffers = (
            group in dwells.for_buffers(life, planned.draft.index)
            for planned in plan.kernels
            for tensor, part in planned.parts()
            if part.place == "buffered"
            for life, group in zip(self.fields.of(tensor), part.groups, strict=True)
        )
        return all(kept) and all(pinned) and all(buffers)

    def _planned(self, costs: Costs, cost: Cost) -> Planned:
        reads, writes = costs.parts(cost.where)
        time = cost.amounts[0] if self.machine.mapping.priced else cost.time_ps
        return Planned(
            costs.draft, reads, writes, cost.tile, cost.slab, cost.psum_group, time, cost.dram_bytes
        )

    def _must_fit(self, place: Place, trial: Trial) -> Cost:
        costs = place[0]
        cost = costs.cost(*place[1:])
        if cost is not None:
            return cost
        groups = ", ".join(f"{g} {c} bytes" for g, c in trial.capacity.items())
        raise MappingError(
            f"{costs.draft.leader.name}: its smallest tile does not fit into the scratchpad ({groups}); "
            "make [bank.NAME] capacity larger, or the batch smaller"
        )

    def key(self, total: Sequence[int]) -> Key:
        """Return what is compared of a plan; see ``total``."""
        return self.goal.key(self._in_steps(total[0]), total)

    def _in_steps(self, time_ps: int) -> int:
        """Return a plan's time rounded down to whole steps above the compute bound.

        Otherwise a nanosecond would outweigh any amount of DRAM traffic.
        """
        bound_ps = self.ground.bound_ps
        steps = int((time_ps / bound_ps - 1) / STEP)
        return round(bound_ps * (1 + STEP * steps)) if steps > 0 else min(time_ps, bound_ps)


class _Hope:
    """The least that a trial may still cost, while the bounds of its kernels are replaced by their costs."""

    def __init__(self, planner: Planner, trial: Trial, than: tuple[Key, int]) -> None:
        self.planner = planner
        self.number = trial.number
        self.than = than
        self.least = list(trial.least)

    def replace(self, place: Place, cost: Cost | None) -> bool:
        """Replace the bound of a kernel by its cost, if it is there; return whether."""
        if cost is None:
            return False
        least, bound = self.least, place[0].bound(place[1])
        least[0] += cost.time_ps - bound[0]
        least[1] += cost.dram_bytes - bound[1]
        for i, amount in enumerate(cost.amounts, start=2):
            least[i] += amount - bound[i]
        return True

    def key(self) -> Key:
        """Return the key of the least cost."""
        return self.planner.key(self.least)

    def is_lost(self) -> bool:
        """Return whether nothing better can come of it."""
        return (self.key(), self.number) >= self.than
