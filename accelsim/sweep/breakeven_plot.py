"""The break-even surface as a picture: who needs less, and the line between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.sweep.breakeven import AXES, SPAN, Parts, Surface
from accelsim.sweep.plots import new_figure, save


def breakeven_plot(found: Surface, axes: Sequence[str], path: Path) -> None:
    """Draw one panel per pair of axes, or a curve for one axis."""
    pairs = list(combinations(axes, 2))
    made, panels = new_figure(path, max(1, len(pairs)), 1, 4.6 * max(1, len(pairs)), 3.8)
    if not pairs:
        _curve(panels[0][0], found.a, found.b, axes[0])
    for ax, (x, y) in zip(panels[0], pairs, strict=False):
        _panel(ax, found.a, found.b, x, y)
    made.suptitle(f"energy of {found.a.run} over {found.b.run}; the line: equal", fontsize=9)
    save(made, path)


def _panel(ax: Any, a: Parts, b: Parts, x: str, y: str) -> None:
    xs, ys = np.geomspace(*SPAN[x], 61), np.geomspace(*SPAN[y], 61)
    at = dict.fromkeys(AXES, 1.0)
    ratio = np.array(
        [[a.energy(**(at | {x: vx, y: vy})) / b.energy(**(at | {x: vx, y: vy})) for vx in xs] for vy in ys]
    )
    logs = np.log2(ratio)
    most = max(float(np.abs(logs).max()), 0.01)
    shades = ax.contourf(xs, ys, logs, levels=np.linspace(-most, most, 17), cmap="RdBu_r")
    if logs.min() < 0 < logs.max():
        ax.contour(xs, ys, logs, levels=[0.0], colors="black")
    ax.plot([1], [1], "k+")
    ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    ax.figure.colorbar(shades, ax=ax, label="log2 of the ratio", format="%.2f")


def _curve(ax: Any, a: Parts, b: Parts, x: str) -> None:
    xs = np.geomspace(*SPAN[x], 101)
    at = dict.fromkeys(AXES, 1.0)
    for run in (a, b):
        ax.plot(xs, [run.energy(**(at | {x: v})) * 1e-12 for v in xs], label=run.run)
    ax.set(xscale="log", xlabel=x, ylabel="energy of a step, J")
    ax.legend(fontsize=7)
