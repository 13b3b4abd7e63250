"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress

from accelsim.config.mappingfile import MappingFileSpec
from accelsim.config.origins import Origins
from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.costs import rates_of
from accelsim.mapping.energy import Prices
from accelsim.mapping.explain import Explanation, Record
from accelsim.mapping.given import Given
from accelsim.mapping.goal import goal_of
from accelsim.mapping.handmade import given_of
from accelsim.mapping.kernels import Draft, drafts
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.planner import Planner, Trial
from accelsim.mapping.policy import placed
from accelsim.mapping.room import check_room
from accelsim.mapping.storage import Life, lives
from accelsim.mapping.tiling import TileSearch
from accelsim.mapping.times import unit_ps
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape

Hand = tuple[MappingFileSpec, Origins]

SHARES = (0.5, 0.875)  # of a group that whole tensors may take; the rest is for tiles


def map_graph(
    graph: Graph,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Program:
    """Return the best program found for ``graph`` on ``machine``.

    ``cold`` maps the first step, whose parameters all come from DRAM, instead of the steady one.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
    """
    planner = planner_of(graph, machine, cyclic=not cold and not graph.independent)
    trials = _trials(planner)
    return _assembled(planner, _searched(planner, trials, progress), cold)


def mapped(
    graph: Graph,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
    by_hand: Hand | None = None,
) -> tuple[Program, Record]:
    """Return the program of ``map_graph``, and what else the mapper had: ``mapping.json`` of a run.

    ``by_hand`` is a mapping file, and where its keys stand.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
        ConfigError: if the mapping file does not fit the graph and the machine: every fault, a line each.
    """
    planner = planner_of(graph, machine, not cold and not graph.independent, by_hand)
    trials = _trials(planner)
    if by_hand is not None:
        check_room(planner, trials[0], by_hand[1])
    best = _searched(planner, trials, progress)
    return _assembled(planner, best, cold), Explanation(planner, best, trials).record()


def _assembled(planner: Planner, best: Trial, cold: bool) -> Program:
    capacity = {n: b.capacity_bytes for n, b in planner.machine.banks.items()}
    return assemble(planner.graph, planner.machine, planner, planner.plan(best), capacity, cold)


def _trials(planner: Planner) -> list[Trial]:
    """Return all plans to be costed; the first has the whole machine to itself."""
    capacity = {n: b.capacity_bytes for n, b in planner.machine.banks.items()}
    pairs = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    if planner.given:
        pairs = [(capacity, 0.0), *pairs]  # as much room for given tiles as there may be
    trials: list[Trial] = []
    for pair in pairs:
        trials += planner.trials(*pair, first=len(trials))
    return trials


def _searched(planner: Planner, trials: list[Trial], progress: Callable[[int, int], None] | None) -> Trial:
    """Return the best plan."""
    report = progress or (lambda *_: None)
    report(0, len(trials))
    best = trials[0], planner.cost(trials[0])  # what does not fit the whole machine is refused
    for done, trial in enumerate(sorted(trials[1:], key=lambda t: (t.bound, t.number)), start=1):
        report(done, len(trials))
        with suppress(MappingError):
            key = planner.better(trial, (best[1], best[0].number))
            if key is not None:
                best = trial, key
    report(len(trials), len(trials))
    return best[0]


def planner_of(graph: Graph, machine: Machine, cyclic: bool, by_hand: Hand | None = None) -> Planner:
    """Return the planner of ``graph``; ``cyclic``: the step begins where the one before ended.

    Raises:
        ConfigError: if the mapping file ``by_hand`` is at fault.
    """
    kernels = drafts(graph, machine.mapping)
    known, prices = placed(lives(graph, machine, kernels), machine), Prices(machine)
    goal = goal_of(machine, _weight_w(machine, kernels, known, prices) if machine.mapping.priced else 0.0)
    tiles = TileSearch(machine, array_shape(machine), goal, prices if goal.extra else None)
    given = given_of(*by_hand, machine, kernels, known, cyclic) if by_hand is not None else Given()
    return Planner(graph, machine, kernels, known, tiles, cyclic, prices, goal, given)


def _weight_w(machine: Machine, kernels: list[Draft], known: Mapping[str, Life], prices: Prices) -> float:
    """Return the mean power of a step whose data are all at hand: what time weighs in energy x time.

    It may not depend on capacities: a larger scratchpad must find a smaller one's plans.
    """
    energy = math.fsum(rates_of(k, machine, known, prices)[1] for k in kernels)
    return prices.standing + energy / max(1, sum(unit_ps(machine, k) for k in kernels))
