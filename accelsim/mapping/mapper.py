"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import NamedTuple

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.explain import Explanation, Record
from accelsim.mapping.goal import Key
from accelsim.mapping.ground import Ground, Grounds, Hand, without_speed
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.orders import PLAIN, Orders, orders_to_try
from accelsim.mapping.planner import Plan, Planner, Trial
from accelsim.mapping.room import check_room
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine

Progress = Callable[[int, int], None]

ROUNDS = 6  # of planning anew with the times of the plan before, where groups have a ``max_dwell``
SHARES = (0.5, 0.875)  # of a group that whole tensors may take; the rest is for tiles


def map_graph(
    graph: Graph,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Progress | None = None,
    grounds: Grounds | None = None,
) -> Program:
    """Return the best program found for ``graph`` on ``machine``.

    ``cold`` maps the first step, whose parameters all come from DRAM, instead of the steady one. ``grounds``
    keeps, from one machine to the next, what does not depend on number, size and speed of the banks.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
    """
    found = _found(graph, machine, cold, progress, grounds=grounds)
    return _assembled(found, cold)


def mapped(
    graph: Graph,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Progress | None = None,
    by_hand: Hand | None = None,
) -> tuple[Program, Record]:
    """Return the program of ``map_graph``, and what else the mapper had: ``mapping.json`` of a run.

    ``by_hand`` is a mapping file, and where its keys stand.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
        ConfigError: if the mapping file does not fit the graph and the machine: every fault, a line each.
    """
    found = _found(graph, machine, cold, progress, by_hand)
    return _assembled(found, cold), Explanation(found.planner, found.trial, found.trials).record()


class _Found(NamedTuple):
    """The best of the plans with one way of storing tensors, and what it was chosen from."""

    key: Key
    words: float
    number: int  # of equally good ones the first is taken
    planner: Planner
    trial: Trial
    trials: list[Trial]
    plan: Plan


def _found(
    graph: Graph,
    machine: Machine,
    cold: bool,
    progress: Progress | None,
    by_hand: Hand | None = None,
    grounds: Grounds | None = None,
) -> _Found:
    """Return the best plan, of all orders in which tensors may be stored; by hand: in torch's.

    Raises:
        MappingError, ConfigError: see ``mapped``.
    """
    cyclic = not cold and not graph.independent
    tries = [PLAIN] if by_hand is not None else orders_to_try(graph, machine)
    found = []
    for number, orders in enumerate(tries):
        planner = planner_of(graph, machine, cyclic, by_hand, orders, grounds)
        if by_hand is not None:
            check_room(planner, _trials(planner)[0], by_hand[1])
        with suppress(MappingError) if number else nullcontext():
            report = _share(progress, number, len(tries))
            best = _best(planner, number, report)
            for _ in range(ROUNDS):
                lasts = best.planner.outlasts(best.plan)
                if not lasts:
                    break
                ground = Ground(graph, planner.ground.machine, cyclic, by_hand, orders, planner.ground, lasts)
                best = _best(Planner(machine, ground, planner.tiles), number, report)
            found.append(best)
    return min(found, key=lambda f: f[:3])


def _best(planner: Planner, number: int, report: Progress) -> _Found:
    """Return the best plan with the ``number``-th way of storing tensors."""
    trials = _trials(planner)
    trial, key = _searched(planner, trials, report)
    plan = planner.plan(trial)
    return _Found(key, planner.words(plan), number, planner, trial, trials, plan)


def _share(progress: Progress | None, number: int, of: int) -> Progress:
    """Return what reports the progress of one of several searches."""
    report = progress or (lambda *_: None)
    return lambda done, total: report(number * total + done, of * total)


def _assembled(found: _Found, cold: bool) -> Program:
    planner, banks = found.planner, found.planner.machine.banks
    capacity = {n: b.capacity_bytes for n, b in banks.items()}
    return assemble(planner.graph, planner.machine, planner, found.plan, capacity, cold)


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


def _searched(planner: Planner, trials: list[Trial], report: Progress) -> tuple[Trial, Key]:
    """Return the best plan and its key."""
    report(0, len(trials))
    best = trials[0], planner.cost(trials[0])  # what does not fit the whole machine is refused
    for done, trial in enumerate(sorted(trials[1:], key=lambda t: (t.bound, t.number)), start=1):
        report(done, len(trials))
        if (trial.bound, trial.number) >= (best[1], best[0].number):
            break  # nor is any after it
        with suppress(MappingError):
            key = planner.better(trial, (best[1], best[0].number))
            if key is not None:
                best = trial, key
    report(len(trials), len(trials))
    return best


def planner_of(
    graph: Graph,
    machine: Machine,
    cyclic: bool,
    by_hand: Hand | None = None,
    orders: Orders = PLAIN,
    grounds: Grounds | None = None,
) -> Planner:
    """Return the planner of ``graph``; ``cyclic``: the step begins where the one before ended.

    ``orders`` says how tensors are stored, ``grounds`` has what was found for such machines before.

    Raises:
        ConfigError: if the mapping file ``by_hand`` is at fault.
    """
    bare = without_speed(machine)
    if grounds is not None and by_hand is None:
        return Planner(machine, grounds.of(graph, bare, cyclic, orders))
    return Planner(machine, Ground(graph, bare, cyclic, by_hand, orders))
