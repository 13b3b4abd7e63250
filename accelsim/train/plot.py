"""Accuracy against epoch and against simulated energy, the error-free training beside."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from accelsim.train.files import write_whole


def plot(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Write the PNG; a line per training, a colour per case, thin lines being seeds after the first."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    cases = list(dict.fromkeys(row["case"] for row in rows))
    scales = (("epoch", 1.0, "epoch"), ("energy_pj", 1e-9, "simulated energy [mJ]"))
    for axes, (column, scale, label) in zip(figure.subplots(1, 2, sharey=True), scales, strict=True):
        for number, case in enumerate(cases):
            _lines(axes, [r for r in rows if r["case"] == case], column, scale, f"C{number}")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend(title="errors", fontsize="small")
    figure.suptitle(title, fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_whole(path, image.getvalue())


def _lines(axes: Any, rows: Sequence[Mapping[str, Any]], column: str, scale: float, color: str) -> None:
    for number, seed in enumerate(dict.fromkeys(row["seed"] for row in rows)):
        line = [row for row in rows if row["seed"] == seed]
        x = [row[column] * scale for row in line]
        y = [row["accuracy"] for row in line]
        label = rows[0]["case"] if number == 0 else None
        axes.plot(x, y, color=color, label=label, marker=".", linewidth=1.6 if number == 0 else 0.8)
        if line[-1]["diverged_step"] is not None:
            axes.plot(x[-1], y[-1], color=color, marker="x", markersize=9)
