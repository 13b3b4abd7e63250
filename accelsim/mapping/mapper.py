"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.kernels import drafts
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.planner import Planner
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
    planner = planner_of(graph, machine, cyclic=not cold and not graph.independent)
    capacity = {n: b.capacity_bytes for n, b in machine.banks.items()}
    pairs = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    report = progress or (lambda *_: None)
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
    return assemble(graph, machine, planner, planner.plan(best[0]), capacity, cold)


def planner_of(graph: Graph, machine: Machine, cyclic: bool) -> Planner:
    """Return the planner of ``graph``; ``cyclic``: the step begins where the one before ended."""
    kernels = drafts(graph, machine.mapping.fusion)
    array = array_shape(machine)
    living = placed(lives(graph, machine, kernels), machine)
    return Planner(graph, machine, kernels, living, TileSearch(machine, array), cyclic)
