"""Accuracy against epoch and against simulated energy, the error-free training beside."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from accelsim.train.files import write_whole

THICK: Final = 1.6  # points, the first seed
THIN: Final = 0.8  # the others


def plot(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Write the PNG; a line per training, a colour per case, thin lines being seeds after the first."""
    image = io.BytesIO()
    drawn(rows, title).savefig(image, format="png", dpi=120)
    write_whole(path, image.getvalue())


def drawn(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return the figure: accuracy in per cent; what thin lines and crosses are stands in the legend."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    cases = list(dict.fromkeys(row["case"] for row in rows))
    epoch, energy = figure.subplots(1, 2, sharey=True)
    for axes, column, scale in ((epoch, "epoch", 1.0), (energy, "energy_pj", 1e-12)):
        for number, case in enumerate(cases):
            _lines(axes, [r for r in rows if r["case"] == case], column, scale, f"C{number}")
        axes.grid(alpha=0.3)
    epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
    epoch.set_xlabel("epoch")
    epoch.set_ylabel("test accuracy [%]")
    energy.xaxis.set_major_locator(MaxNLocator(5))
    energy.xaxis.set_major_formatter(EngFormatter(unit="J"))
    energy.set_xlabel("simulated energy")
    handles, labels = epoch.get_legend_handles_labels()
    explained = _explained(rows)
    epoch.legend([*handles, *explained], [*labels, *explained.values()], title="errors", fontsize="small")
    figure.suptitle(title, fontsize="small")
    return figure


def _explained(rows: Sequence[Mapping[str, Any]]) -> dict[Line2D, str]:
    """Return what looks in a way that no case's name tells, if it is there."""
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    told = {}
    if len(seeds) > 1:
        told[Line2D([], [], color="gray", linewidth=THICK)] = f"seed {seeds[0]}"
        told[Line2D([], [], color="gray", linewidth=THIN)] = "other seeds"
    if any(row["diverged_step"] is not None for row in rows):
        told[Line2D([], [], color="gray", marker="x", markersize=9, linestyle="")] = "diverged"
    return told


def _lines(axes: Any, rows: Sequence[Mapping[str, Any]], column: str, scale: float, color: str) -> None:
    for number, seed in enumerate(dict.fromkeys(row["seed"] for row in rows)):
        line = [row for row in rows if row["seed"] == seed]
        x = [row[column] * scale for row in line]
        y = [100 * row["accuracy"] for row in line]
        label = rows[0]["case"] if number == 0 else None
        axes.plot(x, y, color=color, label=label, marker=".", linewidth=THIN if number else THICK)
        if line[-1]["diverged_step"] is not None:
            axes.plot(x[-1], y[-1], color=color, marker="x", markersize=9)
