"""The comparison of two runs: what differs in the inputs, then in the results, largest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.report.layers import layer_costs
from accelsim.report.layout import grid
from accelsim.trace import human
from accelsim.trace.runs import Run
from accelsim.words import STALL_REASONS

Format = Callable[[float], str]
# what says how a run was made or what came out of it, rather than what decided its result
DERIVED: Final = (  # what says again, or follows from, what the machine's other numbers say
    "machine.sources",
    "machine.sensitivity.access_pj_per_bit",
    "machine.sensitivity.leakage_pj_per_bit_ps",
    "machine.sensitivity.tolerated*.least",
    "machine.sensitivity.tolerated*.dwell_ps",
)
NOT_INPUTS: Final = ("id", "files", "schema", "command", "wall_s", "skip", "cached", "unused_keys")
COLUMNS: Final = ("A", "B", "B - A", "B / A")


def comparison(a: Run, b: Run, top: int = 10) -> RenderableType:
    """Return the comparison of run ``b`` with run ``a``; lists by layer show the ``top`` largest changes."""
    one, two = a.summary, b.summary
    layers_a = {c.layer: c.time_ps for c in layer_costs(a.table("ops"))}
    layers_b = {c.layer: c.time_ps for c in layer_costs(b.table("ops"))}
    phases = [{p: v["time_ps"] for p, v in s["phases"].items()} for s in (one, two)]

    def energy(key: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        return one["energy_pj"][f"by_{key}"], two["energy_pj"][f"by_{key}"]

    return Group(
        Text(f"A: {a.path}\nB: {b.path}\n"),
        inputs(a.manifest, b.manifest),
        totals(one, two),
        changes("Time by phase", "phase", phases[0], phases[1], human.time),
        changes("Energy by phase", "phase", *energy("phase"), human.energy),
        changes("Energy by component", "component", *energy("component"), human.energy),
        *_errors(one, two),
        changes("Time by layer", "layer", layers_a, layers_b, human.time, top),
        changes("Energy by layer", "layer", *energy("layer"), human.energy, top),
    )


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


def inputs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Group | Text:
    """Return the inputs in which two manifests differ, by their path."""
    one, two = dict(_flat(a)), dict(_flat(b))
    keys = sorted({*one, *two})
    rows = [(k, one.get(k, "-"), two.get(k, "-")) for k in keys if one.get(k, "-") != two.get(k, "-")]
    if not rows:
        return Text("The inputs are the same.\n")
    return grid("Inputs that differ", ("input", "A", "B"), rows, text_columns=3)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Walk nested objects down to ``(dotted path, text of the value)``."""
    if isinstance(value, Mapping) and value:
        for key in value:
            below = f"{path}.{key}" if path else str(key)
            derived = any(fnmatchcase(below, pattern) for pattern in DERIVED)
            if (path or key not in NOT_INPUTS) and not derived:
                yield from _flat(value[key], below)
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        for i, item in enumerate(value):
            name = item.get("key", i) if isinstance(item, Mapping) else i
            yield from _flat(item, f"{path}[{name}]")
    else:
        yield path, str(value)


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
    rows = [_row(n or "(none)", a.get(n, 0), b.get(n, 0), text) for n in shown]
    rest = len(names) - len(shown)
    return grid(f"{title} ({rest} smaller changes not shown)" if rest else title, (key, *COLUMNS), rows)


def _row(name: str, a: float, b: float, text: Format) -> tuple[str, ...]:
    change = b - a
    sign = "+" if change > 0 else "-" if change < 0 else ""
    return name, text(a), text(b), sign + text(abs(change)), f"{b / a:.3f}" if a else "-"


def _edp(summary: Mapping[str, Any]) -> float:
    """Energy-delay product in J s."""
    return float(
        summary["energy_pj"]["total"] * 1e-12 * (summary["time_ps"] + summary["host_gap_ps"]) * 1e-12
    )
