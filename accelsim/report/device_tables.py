"""Tables and plots of a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Group

from accelsim.errors import writing
from accelsim.report.device import DeviceFigures, WritePoint
from accelsim.report.layout import grid
from accelsim.report.si import lifetime, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST: Final = 1e-30  # of a probability that a logarithmic axis shows


def device_tables(found: Sequence[DeviceFigures]) -> Group:
    """Return all tables of a device, a column for each temperature."""
    kelvin = [f"{f.temperature_k:g} K" for f in found]
    parts = [grid(found[0].name, ("", *kelvin), _overview(found))]
    for f in found:
        at = f" at {f.temperature_k:g} K" if len(found) > 1 else ""
        parts.append(_writes(f"Write error rate (0 -> 1) against pulse{at}", f.by_pulse))
        parts.append(_writes(f"Write error rate (0 -> 1) against voltage{at}", f.by_voltage))
    columns = ["after"] + [f"{what}, {k}" for k in kelvin for what in ("mean cell", "with spread")]
    rows = [
        (
            si(found[0].flips[i].time_s, "s"),
            *(f"{p:.2e}" for f in found for p in (f.flips[i].nominal, f.flips[i].spread)),
        )
        for i in range(len(found[0].flips))
    ]
    parts.append(grid("Probability that a bit reads wrong, by the time since its write", columns, rows))
    return Group(*parts)


def _overview(found: Sequence[DeviceFigures]) -> list[tuple[str, ...]]:
    def row(name: str, texts: list[str]) -> tuple[str, ...]:
        return (name, *texts)

    return [
        row("laws", [f.law for f in found]),
        row("thermal stability", [f"{f.delta:.2f}" for f in found]),
        row("spread over cells", [f"{100 * f.delta_cv:g} %" for f in found]),
        row("mean retention", [lifetime(f.retention_s) for f in found]),
        row("critical current", [si(f.critical_current_a, "A") for f in found]),
        row("write current", [f"{si(f.write_current_a, 'A')} ({f.overdrive:.2f} x)" for f in found]),
        row("write pulse", [si(f.pulse_s, "s") for f in found]),
        row("voltage of the junction", [si(f.write_voltage_v, "V") for f in found]),
        row("write error rate 0 -> 1", [f"{f.write_error_rate['0->1']:.2e}" for f in found]),
        row("write error rate 1 -> 0", [f"{f.write_error_rate['1->0']:.2e}" for f in found]),
        row("write energy of a bit", [si(f.write_energy_j, "J") for f in found]),
        row("read disturb per read", [f"{f.read_disturb:.2e}" for f in found]),
        row("sense error", [f"{f.sense_error:.2e}" if f.sense_error else "0" for f in found]),
        row("endurance", [f"{f.endurance:.0e} writes" for f in found]),
    ]


def _writes(title: str, points: Sequence[WritePoint]) -> Group:
    rows = [
        (
            f"{p.share:g}",
            si(p.pulse_s, "s"),
            si(p.voltage_v, "V"),
            f"{p.overdrive:.2f}",
            f"{p.wer:.2e}" if p.wer is not None else "outside the laws",
            si(p.energy_j, "J"),
        )
        for p in points
    ]
    return grid(title, ("share", "pulse", "voltage", "overdrive", "error rate", "energy of a bit"), rows, 0)


def plot(found: Sequence[DeviceFigures], path: Path) -> None:
    """Draw error rate against pulse and voltage, and flips against time, to ``path`` (.png, .svg or .pdf)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    by_pulse, by_voltage, by_time = figure.subplots(1, 3)
    for f in found:
        label = f"{f.temperature_k:g} K"
        _errors(by_pulse, [(p.pulse_s * 1e9, p.wer) for p in f.by_pulse], label)
        _errors(by_voltage, [(p.voltage_v * 1e3, p.wer) for p in f.by_voltage], label)
        _flips(by_time, f, label)
    _label(by_pulse, "write pulse [ns]", "write error rate 0 -> 1", "at the device's current")
    _label(by_voltage, "write voltage [mV]", "write error rate 0 -> 1", "at the device's pulse")
    _label(by_time, "time since the write [s]", "probability that a bit reads wrong", "retention")
    figure.suptitle(found[0].name)
    with writing(path, "--plot"):
        figure.savefig(path, dpi=120)


def _errors(axes: Axes, points: Sequence[tuple[float, float | None]], label: str) -> None:
    known = [(x, wer) for x, wer in points if wer]
    axes.semilogy([x for x, _ in known], [wer for _, wer in known], marker="o", label=label)


def _flips(axes: Axes, of: DeviceFigures, label: str) -> None:
    times = [p.time_s for p in of.flips]
    spread = axes.loglog(times, [max(p.spread, LEAST) for p in of.flips], label=f"{label}, with spread")[0]
    mean = [max(p.nominal, LEAST) for p in of.flips]
    axes.loglog(times, mean, "--", color=spread.get_color(), label=f"{label}, mean cell")


def _label(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
