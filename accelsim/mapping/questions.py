"""From a kernel to the questions that the searches of tiles and of slabs answer."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.geometry import Operand
from accelsim.graph.ir import Op
from accelsim.mapping.given import Imposed
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Part, Piece, Problem, Rates
from accelsim.mapping.slab_nest import SlabProblem
from accelsim.resolve.machine import Machine


def nameless(operand: Operand) -> Operand:
    """Return an operand without its tensor's name: equal shapes then share one search."""
    return Operand("", operand.shape, operand.dims)


def problem(
    draft: Draft,
    machine: Machine,
    reads: tuple[Piece, ...],
    writes: tuple[Piece, ...],
    rates: Rates | None = None,
    imposed: Imposed | None = None,
) -> Problem:
    """Return the question that the tile search of a GEMM answers."""
    gemm = draft.leader.gemm
    assert gemm is not None
    return Problem(
        groups=gemm.batch,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        a=reads[0],
        b=reads[1],
        reads=reads[2:],
        writes=writes,
        expanded=gemm.expanded or "",
        expansion=expansion(draft.leader, machine, reads),
        rider_rate=sum(machine.vector.cycles.get(f, 1) * c for f, c in rider_functions(draft)),
        rates=rates,
        imposed=imposed,
    )


def slab_problem(
    draft: Draft,
    machine: Machine,
    reads: tuple[Piece, ...],
    writes: tuple[Piece, ...],
    imposed: Imposed | None = None,
) -> SlabProblem:
    """Return the question that the slab search of a vector kernel answers."""
    vector = draft.leader.vector
    assert vector is not None
    riders = tuple(draft.rider_reads)
    last = len(vector.passes) - 1
    passes = tuple(
        (draft.pass_reads[i] + (riders if i == last else ()), draft.pass_writes[i])
        for i in range(len(vector.passes))
    )
    work = [f for p in vector.passes for f in p.functions] + rider_functions(draft)
    cycles = sum(machine.vector.cycles.get(f, 1) * c for f, c in work)
    return SlabProblem(vector.axes, vector.separable, reads, writes, passes, max(1, cycles), imposed)


def rider_functions(draft: Draft) -> list[tuple[str, int]]:
    """Return the vector functions of the ops that ride on a kernel's drain."""
    riders = [op.vector for op in draft.ops[1:] if op.vector is not None]
    return [f for v in riders for p in v.passes for f in p.functions]


def expansion(op: Op, machine: Machine, reads: Sequence[Piece | Part]) -> tuple[int, int]:
    """Return what the array reads of the expanded operand, as a fraction of the expanded bytes.

    A line buffer that holds the window's rows gives every element once per window; one that holds a
    window's width saves the overlap along a row; none gives every element as often as it is used.
    """
    gemm = op.gemm
    assert gemm is not None
    if gemm.window is None or gemm.expanded is None or gemm.kind == "input_gradient":
        return 1, 1
    height, width, down, across = gemm.window
    part = reads[0 if gemm.expanded == "a" else 1]
    line = part.operand.shape[-1] * part.element_bytes
    room = machine.im2col_line_buffer_bytes
    if room >= height * line:
        return min(height * width, down * across), height * width
    if room >= width * part.element_bytes:
        return min(width, across), width
    return 1, 1
