"""How a convolution's GEMM is put on the array: as it is, phase by phase, or with channels side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from accelsim.geometry import ceil_div
from accelsim.graph.ir import Gemm
from accelsim.program.folds import Extents, extents, first_load, fold_tail
from accelsim.program.phases import phases_of, strides_of, whole
from accelsim.resolve.machine import Machine


def is_decomposed(gemm: Gemm, machine: Machine) -> bool:
    """Return whether a GEMM runs as one dense GEMM per phase, without the zeros between strides."""
    wanted = machine.mapping.dgrad == "decomposed" and gemm.kind == "input_gradient"
    return wanted and bool(strides_of(gemm.a, gemm.k))


def channels_together(gemm: Gemm, machine: Machine) -> int:
    """Return how many channels of a depthwise convolution lie side by side on the array's diagonal.

    With Sr x Sc the stationary extent of one channel these are min(R / Sr, C / Sc), rounded down.
    """
    if machine.mapping.depthwise != "diagonal" or not gemm.depthwise:
        return 1
    pe = machine.pe_array
    e = extents(pe.dataflow, *(gemm.extent(s) for s in ("m", "n", "k")))
    fit = min(pe.rows // e.over_rows, pe.cols // e.over_cols)
    return max(1, min(fit, gemm.batch[-1].size))


def phases_at_once(gemm: Gemm, machine: Machine) -> int:
    """Return how many column blocks fall into phases together: several where m lies over the columns."""
    if machine.pe_array.dataflow != "is" or not is_decomposed(gemm, machine):
        return 1
    return math.prod(s.stride for s in strides_of(gemm.a, gemm.k))


def tiles_of_channels(gemm: Gemm, together: int) -> int:
    """Return how many GEMMs follow one another when so many channels run at a time."""
    if not gemm.batch:
        return 1
    last = gemm.batch[-1].size
    return gemm.extent("batch") // last * ceil_div(last, together)


def array_cycles(gemm: Gemm, machine: Machine) -> tuple[int, int]:
    """Return the folds of an untiled GEMM and its cycles with every operand on time (docs/timing.md)."""
    pe = machine.pe_array
    together = channels_together(gemm, machine)
    groups = tiles_of_channels(gemm, together)
    found = [e.beside(together) for e in _dense(gemm, machine)]
    folds = sum(e.folds(pe.rows, pe.cols) for e in found)
    load = first_load(pe.dataflow, pe.rows)
    tail = fold_tail(pe.convention, pe.dataflow, pe.rows, pe.cols)
    if pe.convention == "scale-sim":
        one = sum(max(1, e.folds(pe.rows, pe.cols)) * (e.streamed + load + tail) for e in found)
        return folds * groups, one * groups
    period = sum(_blocks(e, machine) * max(_least(e, machine), e.streamed) for e in found)
    return folds * groups, groups * period - max(pe.rows - found[-1].streamed, 0) + load + tail


def least_macs(gemm: Gemm, machine: Machine) -> int:
    """Return multiply-accumulates that the array does at least: none where the vector unit works instead."""
    if machine.mapping.depthwise == "vector" and gemm.depthwise:
        return 0
    if not is_decomposed(gemm, machine):
        return gemm.useful_macs
    tile = whole((*gemm.m, *gemm.k))
    phases = phases_of(strides_of(gemm.a, gemm.k), gemm.m, gemm.k, tile)
    return gemm.extent("batch") * gemm.extent("n") * sum(p.points * p.depth for p in phases)


def _dense(gemm: Gemm, machine: Machine) -> Sequence[Extents]:
    """Return the extents of the dense GEMMs that one group's GEMM falls into."""
    m, n, k = (gemm.extent(s) for s in ("m", "n", "k"))
    if not is_decomposed(gemm, machine):
        return [extents(machine.pe_array.dataflow, m, n, k)]
    tile = whole((*gemm.m, *gemm.k))
    phases = phases_of(strides_of(gemm.a, gemm.k), gemm.m, gemm.k, tile)
    return [extents(machine.pe_array.dataflow, p.points, n, p.depth) for p in phases]


def _blocks(e: Extents, machine: Machine) -> int:
    pe = machine.pe_array
    return max(1, ceil_div(e.over_rows, pe.rows)) * ceil_div(e.over_cols, pe.cols)


def _least(e: Extents, machine: Machine) -> int:
    """Return the cycles that a fold takes at least: none where nothing is loaded."""
    return machine.pe_array.rows if e.over_rows and e.streamed else 0
