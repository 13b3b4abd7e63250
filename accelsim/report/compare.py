"""The comparison of two runs: what differs in the inputs, then in the results, largest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.report.inputs import inputs
from accelsim.report.layers import STEP, step_costs
from accelsim.report.layout import grid
from accelsim.trace import human
from accelsim.trace.runs import Run
from accelsim.words import STALL_REASONS

Format = Callable[[float], str]
COLUMNS: Final = ("A", "B", "B - A", "B / A")


def comparison(a: Run, b: Run, top: int = 10, everything: bool = False) -> RenderableType:
    """Return the comparison of run ``b`` with run ``a``.

    Args:
        top: How many layers are shown, those with the largest changes.
        everything: All layers, and every input that differs.
    """
    few = None if everything else top
    one, two = a.summary, b.summary
    layers = [_layer_times(run) for run in (a, b)]
    phases = [{p: v["time_ps"] for p, v in s["phases"].items()} for s in (one, two)]

    def energy(key: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        return one["energy_pj"][f"by_{key}"], two["energy_pj"][f"by_{key}"]

    return Group(
        Text(f"A: {a.path}\nB: {b.path}\n"),
        inputs(a.manifest, b.manifest, everything),
        totals(one, two),
        changes("Time by phase", "phase", phases[0], phases[1], human.time),
        changes("Energy by phase", "phase", *energy("phase"), human.energy),
        changes("Energy by component", "component", *energy("component"), human.energy),
        *_errors(one, two),
        changes("Time by layer", "layer", layers[0], layers[1], human.time, few),
        changes("Energy by layer", "layer", *energy("layer"), human.energy, few),
    )


def _layer_times(run: Run) -> Mapping[str, float]:
    layers, step = step_costs(run.summary, run.table("ops"))
    return {c.layer: c.time_ps for c in layers} | ({"": step.time_ps} if step.time_ps else {})


def _errors(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[RenderableType]:
    """Return the errors per bit read, by role, where a run has any."""
    if "errors" not in a and "errors" not in b:
        return []
    found = [
        {role: errors["total"] for role, errors in s["errors"]["by_role"].items()}
        | {"all": s["errors"]["all"]["total"]}
        if "errors" in s
        else {}
        for s in (a, b)
    ]
    return [changes("Errors per bit read, by role", "role", found[0], found[1], "{:.3g}".format)]


def totals(a: Mapping[str, Any], b: Mapping[str, Any]) -> Group:
    """Return the totals of two summaries side by side, with their ratio."""
    rows = [
        _row("time", a["time_ps"], b["time_ps"], human.time),
        _row("cycles", a["cycles"], b["cycles"], "{:,.0f}".format),
        _row("energy", a["energy_pj"]["total"], b["energy_pj"]["total"], human.energy),
        _row("energy x time", _edp(a), _edp(b), "{:.4g} J s".format),
        _row("MACs", a["macs"], b["macs"], human.count),
        _row("PE utilization", 100 * a["pe_utilization"], 100 * b["pe_utilization"], "{:.1f} %".format),
        _row("DRAM read", a["dram_bytes"]["read"], b["dram_bytes"]["read"], human.traffic),
        _row("DRAM written", a["dram_bytes"]["write"], b["dram_bytes"]["write"], human.traffic),
        _row("scratchpad area", a["area_mm2"], b["area_mm2"], "{:.3g} mm2".format),
    ]
    for reason in STALL_REASONS:
        stalls = a["stall_ps"].get(reason, 0), b["stall_ps"].get(reason, 0)
        if any(stalls):
            rows.append(_row(f"stall: {reason}", *stalls, human.time))
    return grid("Totals", ("", *COLUMNS), rows)


def changes(
    title: str, key: str, a: Mapping[str, float], b: Mapping[str, float], text: Format, top: int | None = None
) -> Group:
    """Return the entries of two mappings side by side, the largest change first."""
    names = sorted({*a, *b}, key=lambda n: (-abs(b.get(n, 0) - a.get(n, 0)), n))
    shown = names if top is None else names[:top]
    rows = [_row(n or STEP, a.get(n, 0), b.get(n, 0), text) for n in shown]
    rest = len(names) - len(shown)
    return grid(f"{title} ({rest} smaller changes not shown)" if rest else title, (key, *COLUMNS), rows)


def _row(name: str, a: float, b: float, text: Format) -> tuple[str, ...]:
    change = text(abs(b - a))
    sign = "+" if b > a else "-"
    shown = "0" if change == text(0) else sign + change  # what rounds to nothing has no sign
    return name, *(text(n) if n else "0" for n in (a, b)), shown, f"{b / a:.3f}" if a else "-"


def _edp(summary: Mapping[str, Any]) -> float:
    """Energy-delay product in J s."""
    return float(
        summary["energy_pj"]["total"] * 1e-12 * (summary["time_ps"] + summary["host_gap_ps"]) * 1e-12
    )
