"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.kernels import drafts
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.planner import Plan, Planner
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
    planner = _planner(graph, machine, cyclic=not cold and not graph.independent)
    capacity = {n: b.capacity_bytes for n, b in machine.banks.items()}
    trials = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    best: Plan | None = None
    for done, (limits, share) in enumerate(trials):
        if progress is not None:
            progress(done, len(trials))
        try:
            plan = planner.plan(limits, share)
        except MappingError:
            if limits == capacity and share == SHARES[0]:
                raise
            continue
        if best is None or _key(plan, machine) < _key(best, machine):
            best = plan
    if progress is not None:
        progress(len(trials), len(trials))
    assert best is not None
    return assemble(graph, machine, planner, best, capacity, cold)


def _planner(graph: Graph, machine: Machine, cyclic: bool) -> Planner:
    kernels = drafts(graph, machine.mapping.fusion)
    array = array_shape(machine)
    return Planner(
        graph, machine, kernels, lives(graph, machine, kernels), TileSearch(machine, array), cyclic
    )


def _key(plan: Plan, machine: Machine) -> tuple[int, int]:
    if machine.mapping.objective == "dram":
        return plan.dram_bytes, plan.time_ps
    return plan.time_ps, plan.dram_bytes
