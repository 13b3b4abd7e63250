"""How the operands of a planned kernel lie, and how the plan serves those that lie across their grain."""

from __future__ import annotations

from accelsim.graph.ir import Op
from accelsim.mapping.planner import Planned
from accelsim.mapping.problem import Piece
from accelsim.mapping.questions import expansion
from accelsim.mapping.ways import Fetch, Served, choices, gemm_runs, streams, vector_runs
from accelsim.program.grain import Which, is_transposed
from accelsim.resolve.machine import Machine

RESULT = 2  # of a GEMM's operands a, b and c


def served(planned: Planned, machine: Machine) -> Served:
    """Return how every operand of a kernel is served, reads first."""
    draft, parts = planned.draft, (*planned.reads, *planned.writes)
    if planned.tile is not None:
        buffered = expansion(draft.leader, machine, planned.reads) != (1, 1)
        runs, way = gemm_runs(draft, machine, buffered), planned.tile.way
    else:
        assert planned.slab is not None
        runs, way = vector_runs(draft, machine), planned.slab.way
    pieces = [Piece(p.operand, p.element_bytes) for p in parts]
    return choices(machine, streams(runs, pieces, [p.group for p in parts]))[way]


def lie(op: Op, planned: Planned, index: int, fetch: Fetch, buffered: bool) -> str:
    """Return how operand ``index`` of a kernel lies to the unit, or what is done about it, for reports.

    ``along``, ``absorbed`` (a GEMM's operand stored transposed, as the dataflow wants it), ``unit``, or
    ``word``; ``im2col``, where the expanded operand is ``buffered``: through a line buffer.
    """
    gemm, reads = op.gemm, len(planned.reads)
    if fetch.way != "along" or gemm is None:
        return fetch.way
    names: dict[int, Which] = {0: "a", 1: "b", reads: "c"}
    which = names.get(index)
    if which is None:
        return "along"
    if which == gemm.expanded and buffered:
        return "im2col"
    operand = (*planned.draft.reads, *planned.draft.writes)[index][0]
    sides = {"m": gemm.m, "n": gemm.n, "k": gemm.k}
    return "absorbed" if is_transposed(which, operand, sides) else "along"  # type: ignore[arg-type]
