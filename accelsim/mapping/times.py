"""The times that kernels need at least."""

from __future__ import annotations

import math

from accelsim.geometry import ceil_div
from accelsim.mapping.kernels import Draft
from accelsim.mapping.variants import array_cycles, channels_together, is_decomposed
from accelsim.program.folds import compute_cycles
from accelsim.resolve.machine import Machine

PS_PER_S = 10**12


def unit_ps(machine: Machine, draft: Draft) -> int:
    """Return the time that a kernel's unit takes with everything at hand."""
    op = draft.leader
    if op.gemm is not None:
        pe = machine.pe_array
        if is_decomposed(op.gemm, machine) or channels_together(op.gemm, machine) > 1:
            return array_cycles(op.gemm, machine)[1] * PS_PER_S // machine.clock_hz
        m, n, k, groups = (op.gemm.extent(s) for s in ("m", "n", "k", "batch"))
        one = compute_cycles(pe.convention, pe.dataflow, pe.rows, pe.cols, m, n, k)
        return groups * one * PS_PER_S // machine.clock_hz
    assert op.vector is not None
    points = math.prod(a.size for a in op.vector.axes)
    cycles = sum(machine.vector.cycles.get(f, 1) * c for p in draft.walks for f, c in p.functions)
    return ceil_div(points, machine.vector.lanes) * cycles * PS_PER_S // machine.clock_hz
