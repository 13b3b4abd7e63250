"""A mapping imposed on a graph: one tile, loop order and choice of what is held for every GEMM."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.cuts import cuts_to
from accelsim.mapping.mapper import planner_of
from accelsim.mapping.problem import Choice
from accelsim.program.program import Program, Side
from accelsim.resolve.machine import Machine

Order = tuple[Side, Side, Side]


@dataclass(frozen=True)
class Tile:
    """Points of a tile along m, n and k, the order of the tiles, outermost first, operands held whole."""

    m: int
    n: int
    k: int
    order: Order = ("m", "n", "k")
    hold_a: bool = False
    hold_b: bool = False
    spilled: int = 0  # elements of partial sums that wait in a bank between folds


def imposed_program(graph: Graph, machine: Machine, tile: Tile) -> Program:
    """Return the program of independent GEMMs, all with ``tile`` and their operands coming from DRAM."""
    planner = planner_of(graph, machine, cyclic=False)
    capacity = {n: b.capacity_bytes for n, b in machine.banks.items()}
    plan = planner.plan(planner.trials(capacity, 0.0, 0)[0])
    kernels = []
    for planned in plan.kernels:
        gemm = planned.draft.leader.gemm
        assert gemm is not None
        sides = ((gemm.m, tile.m), (gemm.n, tile.n), (gemm.k, tile.k))
        m, n, k = (cuts_to(axes, [points])[0].cut for axes, points in sides)
        choice = Choice(
            cuts=(m, n, k),
            order=tile.order,
            panel=None,
            panel_slots=2,
            keep=(tile.hold_a, tile.hold_b),
            psum_elements=tile.spilled,
            time_ps=0,
            dram_bytes=0,
        )
        kernels.append(replace(planned, tile=choice))
    return assemble(graph, machine, planner, replace(plan, kernels=tuple(kernels)), capacity, cold=False)
