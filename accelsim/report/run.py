"""The report of one run: from ``summary.json`` and the table of ops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.report.errors import error_grid
from accelsim.report.layers import LayerCost, step_costs, together
from accelsim.report.layout import grid, paragraph
from accelsim.report.placement import by_sensitivity, split
from accelsim.trace import human
from accelsim.words import PHASES, STALL_REASONS

if TYPE_CHECKING:
    import pyarrow as pa

Summary = Mapping[str, Any]


def report(summary: Summary, manifest: Summary, ops: pa.Table, top: int = 10) -> RenderableType:
    """Return the whole report of a run; ``top`` is the number of layers shown."""
    parts: list[RenderableType] = [overview(summary, manifest["skip"])]
    if summary["unsupported_ops"]:
        parts.append(unsupported(summary))
    energy = Columns([energy_by(summary, "component"), energy_by(summary, "role")], padding=(0, 6))
    parts += [Text(), where_time_went(summary), components(summary), energy]
    parts += [
        array_energy(summary),
        bank_energy(summary),
        costliest_layers(summary, ops, top),
        capacity_use(summary),
        *([split(summary["fields"])] if "fields" in summary else []),
        *([bit_errors(summary)] if "errors" in summary else []),
        *by_sensitivity(summary.get("placement"), summary.get("errors", {})),
        *footnotes(summary),
    ]
    told = (*far_estimate(summary, manifest), *manifest.get("unused_keys", ()))
    parts += [Text(f"Note: {line}") for line in told]
    return Group(*parts)


def overview(summary: Summary, skip: Summary) -> Group:
    """Return the totals."""
    time_ps, total_pj = summary["time_ps"], summary["energy_pj"]["total"]
    dram, estimate = summary["dram_bytes"], summary["estimate"]
    step = "cold first step" if summary["cold"] else "steady step"
    parts = summary.get("accumulate", 1)
    batch = f"batch {summary['batch']}" + (f" in {parts} micro-batches" if parts > 1 else "")
    what = f"{summary['workload']}, {batch}, phase {summary['phase']}, {step}"
    cycles = f"{summary['cycles']:,} cycles at {summary['clock_hz'] / 1e9:g} GHz"
    span_ps = time_ps + summary["host_gap_ps"]
    gap = f" over the step and the {human.time(summary['host_gap_ps'])} after it"
    mean = "on average" + (gap if summary["host_gap_ps"] else "")
    rows = [
        ("machine", summary["machine"]),
        ("workload", what),
        (
            "time",
            f"{human.time(time_ps)} ({cycles})",
        ),
        ("time estimated by the mapping", f"{human.time(estimate['time_ps'])}"),
        ("energy", f"{human.energy(total_pj)} ({total_pj / span_ps if span_ps else 0:.3g} W {mean})"),
        ("MACs", f"{human.count(summary['macs'])} (PE utilization {100 * summary['pe_utilization']:.1f} %)"),
        ("parameters", human.count(summary["parameters"])),
        ("DRAM traffic", f"{human.traffic(dram['read'])} read, {human.traffic(dram['write'])} written"),
        ("scratchpad area", f"{summary['area_mm2']:.3g} mm2"),
        ("tiles", f"{skip['tiles_simulated']:,} simulated, {_skipped(skip)}"),
    ]
    return grid("Summary", ("", ""), rows, text_columns=2)


def _skipped(skip: Summary) -> str:
    folds = f", {skip['folds_skipped']:,} folds of others" if skip["folds_skipped"] else ""
    blocks = f", with {skip['kernels_skipped']:,} whole kernels" if skip["kernels_skipped"] else ""
    return f"{skip['tiles_skipped']:,} skipped as periodic{blocks}{folds}"


def far_estimate(summary: Summary, manifest: Summary) -> Iterator[str]:
    """Yield a note if the mapping was chosen by a time that is far from the simulated one."""
    estimated_ps, time_ps = summary["estimate"]["time_ps"], summary["time_ps"]
    own = "mapping_from" not in manifest.get("decides", {})  # else the estimate is of another machine
    if own and estimated_ps and abs(time_ps / estimated_ps - 1) > FAR:
        longer = "longer" if time_ps > estimated_ps else "shorter"
        more = f"{human.share(abs(time_ps / estimated_ps - 1), 0)} {longer}"
        yield (
            f"the step takes {more} than the mapping estimated when it chose among plans: "
            "it does not know all waits; other plans may be as good (mapping.json)"
        )


def unsupported(summary: Summary) -> Group:
    """Return the ops without a lowering; their cost in this run is a guess."""
    rows = [(u["aten"], u["layer"], u["phase"], str(u["count"])) for u in summary["unsupported"]]
    title = f"{summary['unsupported_ops']} UNSUPPORTED OPS (costed as elementwise: --allow-unsupported)"
    return grid(title, ("op", "layer", "phase", "count"), rows, text_columns=3)


def where_time_went(summary: Summary) -> Group:
    """Return busy, idle and stall time of the units that execute ops, by phase."""
    phases = [p for p in PHASES if p in summary["phases"]]
    found = [summary["phases"][p] for p in phases]

    def row(name: str, values: list[int]) -> tuple[str, ...]:
        total = sum(values)
        return (name, *(human.time(v) for v in values), human.time(total), human.percent(total, everything))

    spent = [f["busy_ps"] + f["idle_ps"] + sum(f["stall_ps"].values()) for f in found]
    everything = sum(spent)
    rows = [row("busy", [f["busy_ps"] for f in found])]
    for reason in STALL_REASONS:
        if any(f["stall_ps"].get(reason, 0) for f in found):
            rows.append(row(f"stall: {reason}", [f["stall_ps"].get(reason, 0) for f in found]))
    rows.append(row("idle", [f["idle_ps"] for f in found]))
    wall = [f["time_ps"] for f in found]
    rows.append(("elapsed", *(human.time(w) for w in wall), human.time(summary["time_ps"]), ""))
    return grid("Time by phase and stall reason", ("", *phases, "total", "share"), rows)


def components(summary: Summary) -> Group:
    """Return how busy each component was and what it waited for most; the three shares make up all time."""
    rows = []
    for name, c in summary["components"].items():
        stalls = {r: c["stall_ps"][r] for r in STALL_REASONS if c["stall_ps"].get(r)}
        spent, stalled = c["busy_ps"] + c["idle_ps"] + sum(stalls.values()), sum(stalls.values())
        worst = max(stalls, key=lambda reason: stalls[reason], default="")
        shares = (human.percent(part, spent) for part in (c["busy_ps"], stalled, c["idle_ps"]))
        rows.append((name, *shares, worst))
    return grid("Components", ("component", "busy", "stalled", "idle", "mostly waits for"), rows)


def energy_by(summary: Summary, key: str) -> Group:
    """Return the energy by ``component``, ``role`` or ``phase``, the largest first."""
    parts = summary["energy_pj"][f"by_{key}"]
    total = summary["energy_pj"]["total"]
    ranked = sorted(parts.items(), key=lambda item: (-item[1], item[0]))
    names = {"": "none", "none": "none (MACs, standing)"}
    rows = [(names.get(name, name), human.energy(pj), human.percent(pj, total)) for name, pj in ranked]
    rows.append(("total", human.energy(total), ""))
    return grid(f"Energy by {key}", (key, "energy", "share"), rows)


def bank_energy(summary: Summary) -> Group:
    """Return the energy of every bank group by action: what trades SRAM against STT-MRAM."""
    by_action = summary["energy_pj"]["by_action"]
    upkeep = [
        a
        for a in ("rmw", "scrub")
        if any(key.endswith(f" {a}") and key.startswith("spad.") for key in by_action)
    ]
    buffers = ["buffer"] if any(key.rpartition(" ")[0].endswith(".buffer") for key in by_action) else []
    actions, rows = ["read", "write", "leakage", *upkeep, *buffers], []
    for group in summary["capacity_bytes"]:
        own = {a.rpartition(" ")[2]: pj for a, pj in by_action.items() if a.startswith(f"spad.{group} ")}
        if buffers:
            own["buffer"] = sum(pj for a, pj in by_action.items() if a.startswith(f"spad.{group}.buffer "))
        parts = [own.get(action, 0.0) for action in actions]
        rows.append((group, *(human.energy(pj) for pj in parts), human.energy(sum(own.values()))))
    return grid("Scratchpad energy", ("bank group", *actions, "total"), rows)


FAR: Final = 0.1  # of a mapping's estimate of time, from which it is told
ARRAY_ACTIONS: Final = ("mac", "operand_register", "psum_register", "shift", "clock")


def array_energy(summary: Summary) -> Group:
    """Return the energy of the PE array by format and part."""
    parts: dict[str, dict[str, float]] = {}
    for key, pj in summary["energy_pj"]["by_action"].items():
        component, _, action = key.partition(" ")
        if component == "pe_array":
            kind, _, fmt = action.partition(".")
            parts.setdefault(fmt, {})[kind] = pj
    rows = [
        (fmt, *(human.energy(of.get(a, 0.0)) for a in ARRAY_ACTIONS), human.energy(sum(of.values())))
        for fmt, of in parts.items()
    ]
    names = (a.replace("_", " ") for a in ARRAY_ACTIONS)
    return grid("PE array energy", ("operands", *names, "total"), rows)


def costliest_layers(summary: Summary, ops: pa.Table, top: int = 10) -> Group:
    """Return the ``top`` layers by time spent in their ops, and what makes them up to the step."""
    layers, step = step_costs(summary, ops)
    step_ps, energy = summary["time_ps"], summary["energy_pj"]["by_layer"]
    phases = [p for p in PHASES if p in summary["phases"]]

    def row(cost: LayerCost, pj: float) -> tuple[str, ...]:
        return (
            cost.layer,
            human.time(cost.time_ps),
            human.percent(cost.time_ps, step_ps),
            *(human.time(cost.phase_ps.get(p, 0)) for p in phases),
            human.percent(cost.stall_ps, cost.time_ps),
            human.energy(pj),
            human.traffic(cost.dram_bytes),
        )

    shown, others = layers[:top], layers[top:]
    rows = [row(c, energy.get(c.layer, 0.0)) for c in shown]
    if others:
        name = f"{len(others)} other layer{'s' * (len(others) > 1)}"
        rows.append(row(together(name, others), math.fsum(energy.get(c.layer, 0.0) for c in others)))
    if step.time_ps or energy.get(""):
        rows.append(row(step, energy.get("", 0.0)))
    rows.append(row(together("total", [*layers, step]), summary["energy_pj"]["total"]))
    title = f"{len(shown)} costliest of {len(layers)} layers" if others else "Layers by cost"
    columns = ("layer", "time", "share", *phases, "stalled", "energy", "DRAM")
    return grid(title, columns, rows, spare=("stalled", "share", "DRAM"))


def capacity_use(summary: Summary) -> Group:
    """Return each bank group's capacity and the most that was in it at one time."""
    peak = summary["peak_occupancy_bytes"]
    rows = [
        (
            group,
            human.capacity(size),
            human.capacity(peak.get(group, 0)),
            human.percent(peak.get(group, 0), size),
        )
        for group, size in summary["capacity_bytes"].items()
    ]
    return grid("Capacity use", ("bank group", "capacity", "peak", "share"), rows)


def bit_errors(summary: Summary) -> Group:
    """Return the probability that a bit is read wrong, by role, on machines whose cells err."""
    errors = summary["errors"]
    of = ", ".join(
        f"{group}: {d['name']} at {d['temperature_k']:g} K" for group, d in errors["devices"].items()
    )
    rows = {**errors["by_role"], "all": errors["all"]}
    table = error_grid(f"Errors per bit read ({of})", "role", rows)
    if "by_field" not in errors:
        return table
    return Group(table, error_grid("Errors per bit read, by bit field", "role, field", errors["by_field"]))


def footnotes(summary: Summary) -> list[RenderableType]:
    """Return what the numbers rest on: assumed values, sources, notes."""
    parts: list[RenderableType] = []
    assumed = summary["assumed"]
    if assumed:
        parts.append(paragraph(f"{len(assumed)} assumed values", folded(assumed)))
    if summary["sources"]:
        parts.append(paragraph("Sources", ", ".join(summary["sources"])))
    parts += [Text(f"Note: {note}") for note in summary["notes"]]
    return parts


def folded(keys: Sequence[str]) -> str:
    """Return dotted keys with those of one table together.

    >>> folded(["dma.burst", "static.power", "dma.energy"])
    'dma.{burst, energy}, static.power'
    """
    tables: dict[str, list[str]] = {}
    for key in keys:
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(name)
    parts = []
    for table, names in tables.items():
        inside = ", ".join(names)
        braced = f"{{{inside}}}" if len(names) > 1 else inside
        parts.append(f"{table}.{braced}" if table else inside)
    return ", ".join(parts)
