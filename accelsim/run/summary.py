"""The figures of a run in one object: ``summary.json`` and what ``--json`` prints."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from accelsim import MODEL_VERSION
from accelsim.graph.ir import Graph
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine, Sensitivity
from accelsim.resolve.summary import TINY, assumed_keys, sources_used, tiny_rows
from accelsim.run.columns import OpRow
from accelsim.run.energy import EnergyRow, sums
from accelsim.sim import Clock
from accelsim.trace import human
from accelsim.trace.recorder import ComponentTimes, Recorder
from accelsim.trace.schema import SCHEMA_VERSION
from accelsim.words import PHASES, STALL_REASONS

NAMED = 3  # data that lay too long, of one bank group, that are named

JSON_KEYS = (
    "cycles",
    "time_ps",
    "macs",
    "pe_utilization",
    "energy_pj",
    "dram_bytes",
    "stall_ps",
    "peak_occupancy_bytes",
    "area_mm2",
    "unsupported_ops",
)


def summarize_run(
    machine: Machine,
    graph: Graph,
    program: Program,
    recorder: Recorder,
    rows: list[OpRow],
    energy: list[EnergyRow],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return the summary. Only what the inputs decide: no wall times, no paths."""
    cycles = Clock(machine.clock_hz).at_or_after(recorder.end_ps)
    macs = sum(r.op.macs for r in rows)
    multiplied = sum(r.op.macs for r in rows if r.kernel.unit == "pe_array")
    cells = machine.pe_array.rows * machine.pe_array.cols
    return {
        "schema": SCHEMA_VERSION,
        "model_version": MODEL_VERSION,
        "machine": machine.name,
        "workload": graph.name,
        "batch": graph.batch,
        **options,
        "clock_hz": machine.clock_hz,
        "cycles": cycles,
        "time_ps": recorder.end_ps,
        "host_gap_ps": machine.host_gap_ps,
        "macs": macs,
        "pe_utilization": multiplied / (cells * cycles) if cycles else 0.0,
        "parameters": graph.parameters,
        "energy_pj": sums(energy),
        "dram_bytes": dict(recorder.dram_bytes),
        "stall_ps": _stalls(rows),
        "peak_occupancy_bytes": dict(program.peak_bytes),
        "capacity_bytes": dict(program.capacity_bytes),
        "area_mm2": machine.area_mm2,
        "unsupported_ops": sum(u.count for u in graph.unsupported),
        "unsupported": [
            {"aten": u.aten, "layer": u.layer, "phase": u.phase, "count": u.count} for u in graph.unsupported
        ],
        "components": {n: _component(c, recorder.end_ps) for n, c in sorted(recorder.components.items())},
        "phases": _phases(rows, recorder.end_ps),
        "estimate": {"time_ps": program.estimate_ps, "dram_bytes": program.estimate_dram_bytes},
        "assumed": list(assumed_keys(machine)),
        "sources": list(sources_used(machine)),
        "notes": [
            *_notes(machine, graph, program, options),
            *_plugin_notes(machine, recorder),
            *_dwell_notes(machine, recorder),
        ],
    }


def _plugin_notes(machine: Machine, recorder: Recorder) -> list[str]:
    """Return which plug-ins of the machine decide the result, and what they cost in simulated tiles."""
    named = {f"bank.{n}": b.model_identity for n, b in machine.banks.items() if b.model}
    if machine.policy:
        named["placement"] = machine.policy_identity
    notes = [f"{what} is that of plug-in {identity}" for what, identity in named.items()]
    return notes + [f"every tile is simulated: {why}" for why in recorder.unsteady]


def _stalls(rows: list[OpRow]) -> dict[str, int]:
    return {r: sum(row.times.stall_ps.get(r, 0) for row in rows) for r in STALL_REASONS}


def _component(times: ComponentTimes, end_ps: int) -> dict[str, Any]:
    stalls = {str(r): n for r, n in sorted(times.stall_ps.items())}
    idle = end_ps - times.busy_ps - sum(stalls.values())
    return {"busy_ps": times.busy_ps, "idle_ps": idle, "stall_ps": stalls}


def _phases(rows: list[OpRow], end_ps: int) -> dict[str, Any]:
    """Return time by phase; what follows the last op (its write-backs) is idle time of its phase."""
    phases: dict[str, Any] = {}
    last_end, last_phase = 0, ""
    for row in rows:
        times, phase = row.times, row.op.phase
        into = phases.setdefault(phase, {"time_ps": 0, "busy_ps": 0, "idle_ps": 0, "stall_ps": {}})
        window, stalls = times.end_ps - times.start_ps, sum(times.stall_ps.values())
        into["time_ps"] += window
        into["idle_ps"] += times.idle_ps
        into["busy_ps"] += window - stalls - times.idle_ps
        for reason, n in sorted(times.stall_ps.items()):
            into["stall_ps"][reason] = into["stall_ps"].get(reason, 0) + n
        if times.end_ps > last_end:
            last_end, last_phase = times.end_ps, phase
    if last_phase:
        phases[last_phase]["time_ps"] += end_ps - last_end
        phases[last_phase]["idle_ps"] += end_ps - last_end
    return {p: phases[p] for p in PHASES if p in phases}


def _dwell_notes(machine: Machine, recorder: Recorder) -> list[str]:
    """Return the groups in which data lay longer than they should, and which: placement goes by estimates."""
    longest: dict[str, dict[str, int]] = {}
    for (key, _, _, _), row in recorder.histogram.rows.items():
        dwell, limit = row.dwell_byte_ps // max(1, row.nbytes), machine.banks[key.bank_group].max_dwell_ps
        if 0 < limit < dwell:
            of = longest.setdefault(key.bank_group, {})
            of[key.copy_class] = max(of.get(key.copy_class, 0), dwell)
    return [
        _dwell_note(name, bank.max_dwell_ps, longest[name])
        for name, bank in machine.banks.items()
        if name in longest
    ]


def _dwell_note(group: str, limit_ps: int, longest: dict[str, int]) -> str:
    """Return what lay how long in a group, the longest first."""
    worst = sorted(longest.items(), key=lambda x: (-x[1], x[0]))
    named = [f"{copy_class} for {ps / 1e6:.4g} us" for copy_class, ps in worst[:NAMED]]
    more = f", and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return (
        f"{group}: data lay longer than its max_dwell of {limit_ps / 1e6:.4g} us: {', '.join(named)}{more}; "
        "placement goes by estimated times, and buffers that no group may hold so long stay in their role's"
    )


def _left_out(machine: Machine) -> str:
    """Return what the energy does not contain."""
    missing = ["the host and its link", "control and clock distribution outside of the PE array"]
    if not machine.static_mw:
        missing.append("leakage of all logic (static.power is 0)")
    if not machine.dram.background_mw:
        missing.append("DRAM's standing power (dram.background is 0)")
    return f"energy leaves out: {'; '.join(missing)}"


def _tolerance_notes(found: Sensitivity, graph: Graph) -> list[str]:
    """Return on what the tolerances rest, and what of them this workload has not."""
    notes = []
    if found.workload != graph.name:
        notes.append(
            f"what training tolerates ({found.file}) was measured on {found.workload}, not on this workload"
        )
    if found.measured_with:
        notes.append(f"what training tolerates was measured with {found.measured_with}: it holds for no less")
    layers = {op.layer for op in graph.ops}
    idle = [
        f"{t.role}[{t.layer}]"
        for t in found.tolerated
        if not any(fnmatchcase(layer, t.layer) for layer in layers)
    ]
    if idle:
        notes.append(f"{found.file}: no layer fits {', '.join(idle)}")
    return notes


def _layout_note(machine: Machine, program: Program) -> str:
    """Return how many streams lie across the grain of their words, and what is done about them."""
    if machine.layout == "along":
        return "operands read across their grain are counted as read along it"
    lies = Counter(b.lie for k in program.kernels for b in (*k.reads, *k.writes))
    texts = {
        "along": "along their grain",
        "absorbed": "stored transposed and absorbed by the dataflow",
        "im2col": "through the line buffer",
        "twice": "in a second copy in another order",
        "unit": "turned by the transpose unit",
        "word": "a word for every few elements",
    }
    return "streams: " + ", ".join(f"{lies[lie]} {text}" for lie, text in texts.items() if lies[lie])


def _notes(machine: Machine, graph: Graph, program: Program, options: dict[str, Any]) -> list[str]:
    notes = list(graph.notes)
    if options["phase"] == "forward":
        notes.append("forward only: nothing is updated, so nothing is kept over the step's boundary")
    if "mapping_from" in options:
        run = options["mapping_from"][:8]
        notes.append(f"tiles, order and placement are those of run {run}, and so is the estimate of time")
    if "mapping_file" in options:
        file = options["mapping_file"]
        notes.append(
            f"tiles, orders and places are those of {file['name']} ({file['sha256'][:8]}), where it gives any"
        )
    if any(" " in key for key in machine.content):
        notes.append("zeros, toggles and their directions as measured in training, where they were")
    notes.append(_left_out(machine))
    notes.append(_layout_note(machine, program))
    for name, bank in machine.banks.items():
        if bank.refresh_model == "literature":
            what = "as papers on low-retention caches assume; thermal flips have no such memory"
            notes.append(f"{name}: refresh is taken to reset the time since the write, {what}")
        rows = tiny_rows(machine, name)
        if rows:
            notes.append(
                f"{name}: its macros come from rows of the array table flagged tiny ({rows}): {TINY}"
            )
    if machine.sensitivity is not None:
        notes += _tolerance_notes(machine.sensitivity, graph)
    if any(b.data.bits for kernel in program.kernels for b in (*kernel.reads, *kernel.writes)):
        notes.append(
            "split tensors lie and move field by field, in DRAM too; bits are taken to change as often in "
            "every field of a role"
        )
    if machine.host_gap_ps:
        notes.append(
            f"a gap of {human.time(machine.host_gap_ps)} between steps counts in dwells and standing energy"
        )
    if program.planned_capacity_bytes != program.capacity_bytes:
        used = ", ".join(
            f"{g} {n // 1024} of {program.capacity_bytes[g] // 1024} KiB"
            for g, n in program.planned_capacity_bytes.items()
        )
        best = "fastest" if machine.mapping.objective in ("time", "dram") else "best"
        notes.append(f"the plan estimated {best} keeps to a part of the scratchpad ({used}): see placement")
    return notes
