"""Where data lay in a run: bit fields, and what the policy ``sensitivity`` kept out of which group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.geometry import ceil_div
from accelsim.graph.ir import Graph
from accelsim.mapping.dwells import Stay
from accelsim.mapping.refusals import refusals
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine, Sensitivity
from accelsim.trace.coded import Coded
from accelsim.trace.recorder import Recorder
from accelsim.words import WRITE_BACK

if TYPE_CHECKING:
    from accelsim.trace.tables import Column

LISTED: Final = 5
ONCE, LONG = "errors at once", "lies too long"
_TOLD: Final = ("bank_group", "tensor", "role", "reader_layer", "phase_read", "read_index")


def told_placement(machine: Machine, graph: Graph, program: Program) -> dict[str, Any]:
    """Return ``placement`` for the summary: counts by role, group and reason, and the largest tensors.

    Empty under another policy. A tensor is counted where it may not lie until its last use; whether it
    found a place elsewhere is told of the largest ones.
    """
    sensitivity = machine.sensitivity
    if sensitivity is None:
        return {}
    found = refusals(graph, machine)
    counts: dict[tuple[str, str, str], list[int]] = {}
    for stay in found:
        entry = counts.setdefault((stay.life.data.role, stay.group, _why(stay)), [0, 0])
        entry[0] += 1
        entry[1] += stay.life.data.nbytes
    homes = {copy.data.tensor: copy.region.group for copy in program.copies}
    largest = sorted(found, key=lambda s: (-s.life.data.nbytes, s.life.data.tensor, s.group))
    return {
        "placement": {
            "file": sensitivity.file,
            "workload": sensitivity.workload,
            "tolerance": sensitivity.tolerance,
            "kept_out": [
                {"role": role, "group": group, "why": why, "tensors": n, "bytes": nbytes}
                for (role, group, why), (n, nbytes) in sorted(counts.items())
            ],
            "largest": [_told(stay, homes) for stay in largest[:LISTED]],
        }
    }


def told_fields(program: Program, recorder: Recorder) -> dict[str, Any]:
    """Return ``fields`` for the summary: how much of which bit field was read in which group, and how old.

    Empty where no tensor is split. Reads of write-backs count.
    """
    data = [b.data for kernel in program.kernels for b in (*kernel.reads, *kernel.writes)]
    places = {(d.role, d.bit_field): d.bit_places for d in data if d.bits}
    found: dict[tuple[str, str, str], list[int]] = {}
    for (key, *_), sums in recorder.histogram.rows.items():
        if (key.role, key.bit_field) in places:
            entry = found.setdefault((key.role, key.bit_field, key.bank_group), [0, 0])
            entry[0] += sums.nbytes  # bits
            entry[1] += sums.dwell_byte_ps
    order = sorted(found, key=lambda of: (of[0], -max(places[of[0], of[1]]), of[2]))  # type: ignore[index]
    told = [
        {
            "role": role,
            "field": field,
            "group": group,
            "bits": len(places[role, field]),  # type: ignore[index]
            "read_bytes": ceil_div(found[role, field, group][0], 8),
            "mean_dwell_ps": found[role, field, group][1] // max(1, found[role, field, group][0]),
        }
        for role, field, group in order
    ]
    return {"fields": told} if told else {}


def _why(stay: Stay) -> str:
    return LONG if stay.strictest.dwell_ps[stay.group] else ONCE


def _told(stay: Stay, homes: Mapping[str, str]) -> dict[str, Any]:
    data, entry = stay.life.data, stay.strictest
    return {
        "tensor": data.tensor,
        "role": data.role,
        "group": stay.group,
        "bytes": data.nbytes,
        "rate": entry.rate,
        "measured": entry.measured,
        "least": entry.least[stay.group],
        "dwell_ps": entry.dwell_ps[stay.group],
        "lies_ps": stay.lies_ps,
        "lies_in": homes.get(data.tensor, "dram"),
    }


def breaches(sensitivity: Sensitivity, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return how many reads of ``errors.parquet`` met more errors than tolerated, and the worst of them.

    Placement estimates times and counts one read; reads that follow, and errors that a refilled copy
    brings along, can exceed what it went by. What is read for a write-back counts where it is read again.
    """
    named: dict[str, Any] = {name: _texts(columns[name]) for name in _TOLD}
    total, bits = np.asarray(columns["p_total"]), np.asarray(columns["bits"])
    readers = list(zip(named["role"], named["reader_layer"], strict=True))
    rates = {of: sensitivity.of(*of).rate for of in dict.fromkeys(readers)}
    rate = np.array([rates[of] for of in readers])
    own = np.array([reader != WRITE_BACK for _, reader in readers], dtype=bool)
    over = np.flatnonzero(own & (total > rate)) if len(rate) else np.array([], dtype=int)
    worst = over[np.lexsort((over, -(total[over] - rate[over]) * bits[over]))]
    return {
        "rows": len(over),
        "of_rows": int(own.sum()),
        "bits": int(bits[over].sum()),
        "of_bits": int(bits[own].sum()),
        "worst": [
            {name: _plain(values[i]) for name, values in named.items()}
            | {"p_total": float(total[i]), "rate": float(rate[i])}
            for i in worst[:LISTED]
        ],
    }


def _texts(column: Any) -> Any:
    return [column.words[c] for c in column.codes] if isinstance(column, Coded) else column


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)
