"""What plans of one graph have in common on machines that differ in the number and the speed of their banks.

That is nearly all but the costs of tiles: which tensors there are and where they may lie, the questions and
bounds of every kernel, what stays in the scratchpad under which capacity. It is made from a machine without
those numbers, so that by construction nothing of it depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from accelsim.config.mappingfile import MappingFileSpec
from accelsim.config.origins import Origins
from accelsim.graph.ir import Graph
from accelsim.mapping.codes import CodeBook
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.energy import Prices
from accelsim.mapping.fields import Fields, Homes
from accelsim.mapping.gaps import Residency
from accelsim.mapping.given import Given
from accelsim.mapping.goal import goal_of
from accelsim.mapping.handmade import given_of
from accelsim.mapping.kernels import Draft, drafts
from accelsim.mapping.orders import PLAIN, Orders
from accelsim.mapping.outline import Outline, rates_of
from accelsim.mapping.policy import placed
from accelsim.mapping.problem import Budget
from accelsim.mapping.residency import ResidencyPlanner
from accelsim.mapping.shapes import Shapes
from accelsim.mapping.slab_nest import Nests
from accelsim.mapping.storage import Life, lives
from accelsim.mapping.times import unit_ps
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape

Hand = tuple[MappingFileSpec, Origins]
Coded = tuple[list[bytes], tuple[int, ...]]  # codes of all kernels; what is written back to make room

KNOWN = 1 << 16  # of a ground, see ``Ground.known``: then it is laid anew, so that memory ends somewhere


class Ground:
    """One graph on machines with these bank groups, whatever their number of banks and their speed."""

    def __init__(
        self,
        graph: Graph,
        machine: Machine,
        cyclic: bool,
        by_hand: Hand | None = None,
        orders: Orders = PLAIN,
        before: Ground | None = None,
        lasts_ps: Sequence[int] = (),
    ) -> None:
        """Lay the ground.

        Args:
            graph: As captured.
            machine: See ``without_speed``.
            cyclic: The step begins where the one before ended.
            by_hand: A mapping file, and where its keys stand.
            orders: How tensors are stored.
            before: Of the same, with other times.
            lasts_ps: How long kernels last in a plan made before; see ``Dwells``.

        Raises:
            ConfigError: if the mapping file is at fault.
            PluginError: if a placement policy is.
        """
        self.machine = machine
        kernels = [orders.draft(d) for d in drafts(graph, machine.mapping)]
        self.graph = orders.graph(graph)
        self.prices = prices = Prices(machine)
        known = placed(lives(self.graph, machine, kernels), machine)
        for name, life in known.items():
            order, twin_of = orders.stored(name)
            life.data = replace(life.data, order=order, twin_of=twin_of)
        self.compute_ps = [unit_ps(machine, d) for d in kernels]
        self.bound_ps = max(1, sum(self.compute_ps))
        weighs = self._mean_power_w(kernels, known) if machine.mapping.priced else 0.0
        self.goal = goal_of(machine, weighs)
        self.given = given_of(*by_hand, machine, kernels, known, cyclic) if by_hand is not None else Given()
        self.shapes: Shapes = before.shapes if before is not None else Shapes(machine, array_shape(machine))
        self.nests: Nests = before.nests if before is not None else Nests()
        self.dwells = Dwells(machine, known, self.compute_ps, lasts_ps)
        self.lives = self.dwells.ordered(known)
        self.fields = Fields(self.lives, machine)
        homes = Homes(machine.banks)
        made = self.fields, homes, self.shapes, self.nests, self.dwells
        self.outlines = [
            Outline(d, machine, *made, ps, prices, self.goal, self.given)
            for d, ps in zip(kernels, self.compute_ps, strict=True)
        ]
        self.residencies = ResidencyPlanner(self.fields, machine, self.dwells, cyclic, self.given.tensors)
        self.codes = CodeBook(kernels, self.fields, homes, self.residencies.gaps)
        self._coded: dict[int, Coded] = {}
        self._least: dict[tuple[int, Budget], tuple[int, ...]] = {}
        self._room: dict[tuple[int, Budget], list[Budget]] = {}

    def _mean_power_w(self, kernels: list[Draft], known: Mapping[str, Life]) -> float:
        """Return the mean power of a step whose data are all at hand: what time weighs in energy x time.

        It may not depend on capacities: a larger scratchpad must find a smaller one's plans.
        """
        energy = math.fsum(rates_of(k, self.machine, known, self.prices)[1] for k in kernels)
        return self.prices.standing + energy / self.bound_ps

    @property
    def known(self) -> int:
        """How many kernels, under all capacities, something is known of."""
        return (len(self._coded) + len(self._room)) * len(self.outlines)

    def coded(self, residency: Residency) -> Coded:
        """Return the codes of all kernels, and the cost of what is written back to make room."""
        found = self._coded.get(id(residency))  # the planner of residencies keeps what it gave
        if found is None:
            found = self._coded[id(residency)] = self.codes.of(residency), self._written_back(residency)
        return found

    def least(self, residency: Residency, capacity: Budget) -> tuple[int, ...]:
        """Return the least that a step costs, as the costs of its kernels, in groups of ``capacity``."""
        key = id(residency), capacity
        found = self._least.get(key)
        if found is None:
            coded, evicted = self.coded(residency)
            bounds = (o.bound(codes, capacity) for o, codes in zip(self.outlines, coded, strict=True))
            found = self._least[key] = summed([evicted, *bounds])
        return found

    def room(self, residency: Residency, capacity: Budget) -> list[Budget]:
        """Return the bytes per group, of ``capacity``, that every kernel has for its buffers."""
        key = id(residency), capacity
        found = self._room.get(key)
        if found is None:
            usage = [residency.usage[g] for g in self.machine.banks]
            left = [[c - n for n in used] for c, used in zip(capacity, usage, strict=True)]
            found = self._room[key] = list(zip(*left, strict=True))
        return found

    def _written_back(self, residency: Residency) -> tuple[int, ...]:
        """Return the cost of what ``evictions`` says, as that of a kernel."""
        nbytes, energy = self.evictions(residency)
        return (0, nbytes, 0, round(energy), 0) if self.goal.extra else (0, nbytes)

    def evictions(self, residency: Residency) -> tuple[int, float]:
        """Return bytes and energy of copies written back when their place is given up."""
        total, energy = 0, 0.0
        for name, gaps in residency.kept.items():
            life = self.fields.lives[name]
            made_here = life.made >= 0 and any(g.start == life.made for g in gaps)
            if made_here and (len(gaps) < len(life.events()) - 1 or life.predecessor is not None):
                total += life.data.nbytes
                energy += life.data.nbytes * (self.prices.read[residency.group[name]] + self.prices.drain)
        return total, energy


class Grounds:
    """The grounds of the graphs and machines seen last, for mapping on many machines one after the other."""

    def __init__(self, most: int, known: int = KNOWN) -> None:
        """Keep at most ``most`` grounds, and each until so much is ``known`` of it."""
        self.most = most
        self.known = known
        self._kept: list[tuple[Graph, bool, Orders, Ground]] = []  # the one used last at the end

    def of(self, graph: Graph, machine: Machine, cyclic: bool, orders: Orders) -> Ground:
        """Return the ground of a graph, no mapping given, for a machine without its speed."""
        found = None
        for i, (known, same, stored, ground) in enumerate(self._kept):
            if known is graph and same == cyclic and stored == orders and ground.machine == machine:
                del self._kept[i]
                found = ground if ground.known <= self.known else None
                break
        found = found or Ground(graph, machine, cyclic, orders=orders)
        self._kept = [*self._kept, (graph, cyclic, orders, found)][-self.most :]
        return found


def without_speed(machine: Machine) -> Machine:
    """Return the machine without what a ground may not depend on: numbers, sizes and speed of the banks.

    A placement policy sees all of it. Where energies decide, sizes do: scrubbing takes power by the word.
    """
    if machine.policy:
        return machine
    priced = machine.mapping.priced
    banks = {name: _without_speed(bank, priced) for name, bank in machine.banks.items()}
    return replace(machine, banks=banks)


def _without_speed(bank: BankGroup, sized: bool) -> BankGroup:
    return replace(
        bank,
        count=0,
        subbanks=0,
        capacity_bytes=bank.capacity_bytes if sized else 0,
        read_latency_ps=0,
        read_cycle_ps=0,
        write_cycle_ps=0,
        wakeup_ps=0,
    )


def summed(costs: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the sums of costs, amount by amount."""
    return tuple(map(sum, zip(*costs, strict=True)))
