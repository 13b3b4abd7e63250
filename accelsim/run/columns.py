"""Records to the columns of the run folder's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import ceil_div
from accelsim.graph.ir import Gemm, Graph, Op
from accelsim.mapping.variants import array_cycles, channels_together, is_decomposed
from accelsim.program.folds import compute_cycles, extents
from accelsim.program.program import Kernel, Program
from accelsim.resolve.machine import Machine
from accelsim.run.energy import EnergyRow
from accelsim.trace.coded import Coded
from accelsim.trace.copies import CopyKey, Sums
from accelsim.trace.recorder import OpTimes, Recorder
from accelsim.trace.schema import SPLIT
from accelsim.words import STALL_REASONS

if TYPE_CHECKING:
    from accelsim.trace.tables import Column

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
        **_gemm_columns(op.gemm, machine, kernel.unit == "pe_array"),
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
        "layout": layout(op.gemm) if machine.layout == "along" else served_layout(op, kernel),
        "tiles": times.tiles,
        "tile": tile_text(kernel) if leads else "",
    }


def _gemm_columns(gemm: Gemm | None, machine: Machine, on_array: bool) -> dict[str, int]:
    if gemm is None:
        return dict.fromkeys(("m", "n", "k", "groups", "folds", "compute_cycles"), 0)
    pe = machine.pe_array
    m, n, k, groups = (gemm.extent(s) for s in ("m", "n", "k", "batch"))
    if not on_array:
        return {"m": m, "n": n, "k": k, "groups": groups, "folds": 0, "compute_cycles": 0}
    if is_decomposed(gemm, machine) or channels_together(gemm, machine) > 1:
        folds, cycles = array_cycles(gemm, machine)
        return {"m": m, "n": n, "k": k, "groups": groups, "folds": folds, "compute_cycles": cycles}
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


def served_layout(op: Op, kernel: Kernel) -> str:
    """Return how the streams of an op lie to its unit, and how those across their grain are served.

    Of a GEMM by operand, ``a:along b:unit c:along``; of other ops what is read and written, each lie once.
    """
    reads = [b.lie for b in kernel.reads if b.op == op.name]
    writes = [b.lie for b in kernel.writes if b.op == op.name]
    if kernel.unit == "pe_array" and op.gemm is not None:
        named = list(zip("ab", reads, strict=True)) + [("c", lie) for lie in writes]
    else:
        named = [("reads", "+".join(sorted(set(reads)))), ("writes", "+".join(sorted(set(writes))))]
    return " ".join(f"{name}:{lie}" for name, lie in named if lie)


def tile_text(kernel: Kernel) -> str:
    """Return the loop nest, outermost first: a side's step over its cut axis, and that axis's extent.

    A side that is cut twice is there twice: its panels at their place, the tiles of a panel last.
    """
    cuts = [(side, kernel.cuts[side]) for side in kernel.order]
    if kernel.panel is not None:
        inner, panels = kernel.panel.side, kernel.panel.cut
        cuts = [(side, panels if side == inner else cut) for side, cut in cuts]
        cuts.append((inner, kernel.cuts[inner]))
    texts = []
    for side, cut in cuts:
        axes = kernel.sides[side]
        if axes and any(a.size > 1 for a in axes):
            axis = axes[cut.axis]
            texts.append(f"{side}:{axis.name}={cut.step}/{axis.size}")
    return " ".join(texts)


def span_columns(recorder: Recorder, names: Iterable[str]) -> Mapping[str, Column]:
    """Return the columns of ``spans.parquet``, by component and time."""
    whole, words = recorder.spans.numbers(), recorder.spans.words()
    by = (_alphabetic(words["category"]), whole["end_ps"], whole["start_ps"], _alphabetic(words["component"]))
    order = np.lexsort(by)
    values: dict[str, Column] = {name: column.take(order) for name, column in words.items()}
    values |= {"bytes" if name == "nbytes" else name: column[order] for name, column in whole.items()}
    return {name: values[name] for name in names}


def _alphabetic(column: Coded) -> NDArray[np.int64]:
    """Return numbers that sort as the words do."""
    place = {word: i for i, word in enumerate(sorted(column.words))}
    return np.array([place[word] for word in column.words], dtype=np.int64)[column.codes]


def energy_columns(rows: list[EnergyRow], names: Iterable[str]) -> Mapping[str, Column]:
    """Return the columns of ``energy.parquet``."""
    values: dict[str, Column] = {
        name: list(map(attrgetter(name), rows))
        for name in ("component", "action", "role", "count", "price_pj", "powered_ps", "price_w", "energy_pj")
    }
    values |= {name: [getattr(r.part, name) for r in rows] for name in ("op", "phase", "layer")}
    return {name: values[name] for name in names}


def residency_columns(recorder: Recorder, names: Iterable[str]) -> Columns:
    """Return the columns of ``residencies.parquet``, sorted by all keys; with split tensors two more."""
    found = recorder.histogram.rows
    keys, readers, indices, bins = map(list, zip(*found, strict=True)) if found else ([], [], [], [])
    sums = list(found.values())
    values: dict[str, list[Any]] = {
        name: [getattr(key, name) for key in keys]
        for name in ("bank_group", "tensor", "role", "copy_class", "parent_class", "origin", "fate", "layer")
    }
    values |= {
        "phase_written": [key.phase_written or "" for key in keys],
        "phase_read": [reader.phase for reader in readers],
        "reader_layer": [reader.layer for reader in readers],
        "read_index": indices,
        "bin": bins,
        "count": [s.count for s in sums],
        **_sizes(keys, sums),
        "reads": [s.count for s in sums],
    }
    listed = [*names, *(SPLIT if any(key.bit_field != "all" for key in keys) else ())]
    ranks = list(zip(*(values[name] for name in listed[:13]), strict=True))
    order = sorted(range(len(sums)), key=ranks.__getitem__)
    return {name: [values[name][i] for i in order] for name in listed}


def _sizes(keys: Sequence[CopyKey], sums: Sequence[Sums]) -> dict[str, list[Any]]:
    """Return what rows add up to; a bit field's bytes are its bits' rounded up, its times in proportion."""
    bits = [s.nbytes * (8 if k.bit_field == "all" else 1) for k, s in zip(keys, sums, strict=True)]
    nbytes = [ceil_div(n, 8) for n in bits]

    def times(name: str) -> list[int]:
        found = map(attrgetter(name), sums)
        return [t * n // max(1, s.nbytes) for t, n, s in zip(found, nbytes, sums, strict=True)]

    return {
        "bytes": nbytes,
        "dwell_byte_ps": times("dwell_byte_ps"),
        "gap_byte_ps": times("gap_byte_ps"),
        "bit_field": [key.bit_field for key in keys],
        "bits": bits,
    }
