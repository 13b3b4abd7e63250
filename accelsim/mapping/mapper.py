"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.kernels import drafts
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.orders import PLAIN, Orders, orders_to_try
from accelsim.mapping.planner import Key, Planner, Trial
from accelsim.mapping.policy import placed
from accelsim.mapping.storage import lives
from accelsim.mapping.tiling import TileSearch
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape

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
    cyclic = not cold and not graph.independent
    capacity = {n: b.capacity_bytes for n, b in machine.banks.items()}
    tries = orders_to_try(graph, machine)
    found = []
    for number, orders in enumerate(tries):
        planner = planner_of(graph, machine, cyclic, orders)
        with suppress(MappingError) if number else nullcontext():
            trial, key = _best_trial(planner, capacity, _share(progress, number, len(tries)))
            plan = planner.plan(trial)
            found.append((key, planner.words(plan), number, planner, plan))
    *_, planner, plan = min(found, key=lambda f: f[:3])
    return assemble(graph, machine, planner, plan, capacity, cold)


def _share(progress: Callable[[int, int], None] | None, number: int, of: int) -> Callable[[int, int], None]:
    """Return what reports the progress of one of several searches."""
    report = progress or (lambda *_: None)
    return lambda done, total: report(number * total + done, of * total)


def _best_trial(
    planner: Planner, capacity: dict[str, int], report: Callable[[int, int], None]
) -> tuple[Trial, Key]:
    """Return the best of a planner's trials, and its key."""
    pairs = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    report(0, len(pairs))
    trials = [planner.trial(number, *pair) for number, pair in enumerate(pairs)]
    best = trials[0], planner.cost(trials[0])  # what does not fit the whole machine is refused
    for done, trial in enumerate(sorted(trials[1:], key=lambda t: (t.bound, t.number)), start=1):
        report(done, len(trials))
        with suppress(MappingError):
            key = planner.better(trial, (best[1], best[0].number))
            if key is not None:
                best = trial, key
    report(len(trials), len(trials))
    return best


def planner_of(graph: Graph, machine: Machine, cyclic: bool, orders: Orders = PLAIN) -> Planner:
    """Return the planner of ``graph``; ``cyclic``: the step begins where the one before ended."""
    kernels = [orders.draft(d) for d in drafts(graph, machine.mapping.fusion)]
    stored, array = orders.graph(graph), array_shape(machine)
    living = placed(lives(stored, machine, kernels), machine)
    for name, life in living.items():
        order, twin_of = orders.stored(name)
        life.data = replace(life.data, order=order, twin_of=twin_of)
    return Planner(stored, machine, kernels, living, TileSearch(machine, array), cyclic)
