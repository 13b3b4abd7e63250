"""The break-even surface as a picture: who needs less, and the line between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.sweep.breakeven import AXES, SPAN, Pair
from accelsim.sweep.plots import new_figure, save


def breakeven_plot(pair: Pair, axes: Sequence[str], path: Path) -> None:
    """Draw one panel per pair of axes, or a curve for one axis; the plus is where the runs are."""
    pairs = list(combinations(axes, 2))
    made, panels = new_figure(path, max(1, len(pairs)), 1, 5.0 * max(1, len(pairs)), 3.8)
    if not pairs:
        _curve(panels[0][0], pair, axes[0])
    for ax, (x, y) in zip(panels[0], pairs, strict=False):
        _panel(ax, pair, x, y)
    one, other = pair.a.run, pair.b.run
    if pairs:
        title = f"energy of {one} over that of {other}; black line: equal; +: as it is"
    else:
        title = f"energy of {one} and of {other}; thin line: as it is"
    made.suptitle(title, fontsize=9)
    save(made, path)


def _panel(ax: Any, pair: Pair, x: str, y: str) -> None:
    xs, ys = np.geomspace(*SPAN[x], 61), np.geomspace(*SPAN[y], 61)
    logs = np.log2(pair.grid(x, xs, y, ys))
    most = max(float(np.abs(logs).max()), 0.01)
    shades = ax.contourf(xs, ys, logs, levels=np.linspace(-most, most, 17), cmap="RdBu_r")
    if logs.min() < 0 < logs.max():
        ax.contour(xs, ys, logs, levels=[0.0], colors="black")
    ax.plot([pair.now(x)], [pair.now(y)], "k+")
    ax.set(xscale="log", yscale="log", xlabel=AXES[x], ylabel=AXES[y])
    label = f"energy of {pair.a.run} / {pair.b.run}"
    ax.figure.colorbar(shades, ax=ax, label=label, format=lambda log, _: f"{2**log:.3f}")


def _curve(ax: Any, pair: Pair, x: str) -> None:
    xs = np.geomspace(*SPAN[x], 101)
    energies = [pair.energies(**{x: v}) for v in xs.tolist()]
    for run, line in zip((pair.a, pair.b), zip(*energies, strict=True), strict=True):
        ax.plot(xs, [pj * 1e-12 for pj in line], label=run.run)
    ax.axvline(pair.now(x), color="black", lw=0.5)
    ax.set(xscale="log", xlabel=AXES[x], ylabel="energy of a step, J")
    ax.legend(fontsize=7)
