"""Records to the columns of the run folder's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.graph.ir import Gemm, Graph, Op
from accelsim.program.folds import compute_cycles, extents
from accelsim.program.program import Kernel, Program
from accelsim.resolve.machine import Machine
from accelsim.run.energy import EnergyRow
from accelsim.trace.recorder import OpTimes, Recorder
from accelsim.words import STALL_REASONS

Columns = Mapping[str, list[Any]]


def _columns(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Columns:
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in names}


@dataclass(frozen=True, slots=True)
class OpRow:
    """An op, the kernel it ran in, and its times."""

    op: Op
    kernel: Kernel
    times: OpTimes


def op_rows(graph: Graph, program: Program, recorder: Recorder) -> list[OpRow]:
    """Return the ops of the graph in order."""
    homes = {part.op: kernel for kernel in program.kernels for part in kernel.parts}
    return [OpRow(op, homes[op.name], recorder.op(op.name)) for op in graph.ops]


def ops_columns(rows: list[OpRow], machine: Machine, names: Iterable[str]) -> Columns:
    """Return the columns of ``ops.parquet``."""
    return _columns((_op_row(r, machine) for r in rows), names)


def _op_row(row: OpRow, machine: Machine) -> dict[str, Any]:
    op, kernel, times = row.op, row.kernel, row.times
    leads = kernel.leader.op == op.name
    stalls = sum(times.stall_ps.values())
    window = times.end_ps - times.start_ps
    return {
        "op": op.name,
        "layer": op.layer,
        "phase": op.phase,
        "kind": op.kind,
        **_gemm_columns(op.gemm, machine),
        "macs": op.macs,
        "array_busy_cycles": times.busy_cycles if leads and kernel.unit == "pe_array" else 0,
        "start_ps": times.start_ps,
        "end_ps": times.end_ps,
        "busy_ps": window - stalls - times.idle_ps,
        "idle_ps": times.idle_ps,
        "dram_read_bytes": times.dram_read_bytes,
        "dram_write_bytes": times.dram_write_bytes,
        **{f"stall_{r}_ps": times.stall_ps.get(r, 0) for r in STALL_REASONS},
        "unit": kernel.unit if leads else "vector",
        "fused_into": "" if leads else kernel.leader.op,
        "layout": layout(op.gemm),
        "tiles": times.tiles,
        "tile": tile_text(kernel) if leads else "",
    }


def _gemm_columns(gemm: Gemm | None, machine: Machine) -> dict[str, int]:
    if gemm is None:
        return dict.fromkeys(("m", "n", "k", "groups", "folds", "compute_cycles"), 0)
    pe = machine.pe_array
    m, n, k, groups = (gemm.extent(s) for s in ("m", "n", "k", "batch"))
    e = extents(pe.dataflow, m, n, k)
    folds = e.folds(pe.rows, pe.cols)
    cycles = compute_cycles(pe.convention, pe.dataflow, pe.rows, pe.cols, m, n, k)
    if pe.convention == "physical":  # the groups follow one another without a gap
        cycles += (groups - 1) * folds * max(pe.rows, e.streamed)
    else:
        cycles *= groups
    return {"m": m, "n": n, "k": k, "groups": groups, "folds": folds * groups, "compute_cycles": cycles}


def layout(gemm: Gemm | None) -> str:
    """Return how the operands lie to the array: along their grain, across it, or expanded by im2col.

    A streams best with k innermost in storage, B with n innermost. An operand across its grain is
    counted as if it lay along it (docs/deviations.md).
    """
    if gemm is None:
        return ""
    texts = []
    for name, operand, axes in (("a", gemm.a, gemm.k), ("b", gemm.b, gemm.n)):
        if gemm.expanded == name:
            texts.append(f"{name}:im2col")
            continue
        inner = next((d.axis for d in reversed(operand.dims) if d.axis), "")
        along = inner in {a.name for a in axes}
        texts.append(f"{name}:{'along' if along else 'across'}")
    return " ".join(texts)


def tile_text(kernel: Kernel) -> str:
    """Return the loop nest, outermost first: a side's step over its cut axis, and its count of tiles."""
    texts = []
    for side in kernel.order:
        axes, cut = kernel.sides[side], kernel.cuts[side]
        if axes and any(a.size > 1 for a in axes):
            axis = axes[cut.axis]
            texts.append(f"{side}:{axis.name}={cut.step}/{axis.size}")
    return " ".join(texts)


def span_columns(recorder: Recorder, names: Iterable[str]) -> Columns:
    """Return the columns of ``spans.parquet``, by component and time."""
    spans = sorted(recorder.spans, key=lambda s: (s.component, s.start_ps, s.end_ps, s.category))
    values: dict[str, list[Any]] = {
        "component": [s.component for s in spans],
        "category": [s.category for s in spans],
        "reason": [s.reason or (s.category == "stall" and s.reason) or "" for s in spans],
        "op": [s.part.op for s in spans],
        "layer": [s.part.layer for s in spans],
        "phase": [s.part.phase for s in spans],
        "tensor": [s.tensor for s in spans],
        "queued_ps": [s.queued_ps for s in spans],
        "start_ps": [s.start_ps for s in spans],
        "end_ps": [s.end_ps for s in spans],
        "busy_ps": [s.busy_ps for s in spans],
        "count": [s.count for s in spans],
        "bytes": [s.nbytes for s in spans],
        "repeat": [1] * len(spans),
        "period_ps": [0] * len(spans),
    }
    return {name: values[name] for name in names}


def energy_columns(rows: list[EnergyRow], names: Iterable[str]) -> Columns:
    """Return the columns of ``energy.parquet``."""
    return _columns(
        (
            {
                "component": r.component,
                "action": r.action,
                "op": r.part.op,
                "role": r.role,
                "phase": r.part.phase,
                "layer": r.part.layer,
                "count": r.count,
                "price_pj": r.price_pj,
                "powered_ps": r.powered_ps,
                "price_w": r.price_w,
                "energy_pj": r.energy_pj,
            }
            for r in rows
        ),
        names,
    )


def residency_columns(recorder: Recorder, names: Iterable[str]) -> Columns:
    """Return the columns of ``residencies.parquet``, sorted by all keys."""
    rows = []
    for (key, reader, index, number), sums in recorder.histogram.rows.items():
        rows.append(
            {
                "bank_group": key.bank_group,
                "tensor": key.tensor,
                "role": key.role,
                "copy_class": key.copy_class,
                "parent_class": key.parent_class,
                "origin": key.origin,
                "fate": key.fate,
                "phase_written": key.phase_written or "",
                "phase_read": reader.phase,
                "layer": key.layer,
                "reader_layer": reader.layer,
                "read_index": index,
                "bin": number,
                "count": sums.count,
                "bytes": sums.nbytes,
                "dwell_byte_ps": sums.dwell_byte_ps,
                "gap_byte_ps": sums.gap_byte_ps,
                "reads": sums.count,
            }
        )
    listed = list(names)
    rows.sort(key=lambda r: tuple(r[n] for n in listed[:13]))
    return _columns(rows, listed)
