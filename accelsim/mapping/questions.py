"""From a kernel to the questions that the searches of tiles and of slabs answer."""

from __future__ import annotations

from accelsim.geometry import Operand
from accelsim.mapping.given import Imposed
from accelsim.mapping.im2col import window_of
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Piece, Problem, Rates
from accelsim.mapping.slab_nest import SlabProblem
from accelsim.mapping.variants import channels_together, is_decomposed
from accelsim.mapping.ways import gemm_runs, vector_runs
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
        window=window_of(gemm, reads["ab".index(gemm.expanded or "a")].element_bytes, machine),
        decomposed=is_decomposed(gemm, machine),
        together=channels_together(gemm, machine),
        rider_rate=sum(machine.vector.cycles.get(f, 1) * c for f, c in draft.riding),
        rates=rates,
        imposed=imposed,
        runs=gemm_runs(draft, machine),
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
    last = len(draft.walks) - 1
    passes = tuple(
        (draft.pass_reads[i] + (riders if i == last else ()), draft.pass_writes[i])
        for i in range(len(draft.walks))
    )
    work = [f for p in draft.walks for f in p.functions] + draft.riding
    cycles = sum(machine.vector.cycles.get(f, 1) * c for f, c in work)
    runs = vector_runs(draft, machine)
    return SlabProblem(vector.axes, vector.separable, reads, writes, passes, max(1, cycles), imposed, runs)
