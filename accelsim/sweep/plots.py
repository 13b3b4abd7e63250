"""Figures of sweeps as files, by matplotlib; its format is the file's suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.sweep.analysis import slices
from accelsim.sweep.figures import figure, objective
from accelsim.sweep.places import writable
from accelsim.sweep.scales import Scale, scale_of, unit_of
from accelsim.sweep.scatter import needs_log
from accelsim.sweep.values import value_text
from accelsim.sweep.view import Entry, View, best_entry, full_name, value_of

SUFFIXES: Final = (".png", ".svg", ".pdf")
PALETTE: Final = ("#2f6db3", "#c9772b", "#3a8f4d", "#a23b72", "#6b5aa8", "#8a6d3b", "#4aa3a3", "#777777")
GREY, FRONT = "#9aa3ad", "#c43c2f"


def new_figure(path: Path, columns: int = 1, rows: int = 1, width: float = 6.0, height: float = 4.0) -> Any:
    """Return an empty figure that can be saved at ``path``, and its axes in rows.

    Raises:
        InputError: No suffix of a picture, or no folder for it.
    """
    writable(path, SUFFIXES)
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained", dpi=110)
    return made, made.subplots(rows, columns, squeeze=False)


def save(made: Any, path: Path) -> None:
    """Write a figure; the same figure is the same bytes."""
    metadata = {"Software": None} if path.suffix == ".png" else {}
    made.savefig(path, metadata=metadata)


def pareto_plot(found: View, x: str, y: str, color: str | None, path: Path) -> None:
    """Draw all points, the front through them, and its knee."""
    made, axes = new_figure(path)
    draw_front(made, axes[0][0], found, x, y, color)
    save(made, path)


def draw_front(made: Any, ax: Any, found: View, x: str, y: str, color: str | None) -> None:
    """Draw them into the axes ``ax`` of the figure ``made``."""
    on, knee = front_of(found, x, y), found.knee((objective(x), objective(y)))
    across, up = (_scale(found, name) for name in (x, y))

    def places(entries: list[Entry]) -> tuple[list[float], list[float]]:
        return (
            across.of(figure(e.figures, x) for e in entries),
            up.of(figure(e.figures, y) for e in entries),
        )

    for name, scale in ((x, ax.set_xscale), (y, ax.set_yscale)):
        if needs_log([figure(e.figures, name) for e in found.done]):
            scale("log")
    _points(made, ax, found, color, places)
    ring = {"facecolors": "none", "edgecolors": FRONT, "linewidths": 1.2, "zorder": 3}
    ax.plot(*places(on), color=FRONT, lw=1, zorder=0)
    marks = [
        ax.scatter(*places(on), s=60, label="front", **ring),
        ax.scatter(*places([knee]), s=150, label=f"knee: point {knee.number}", **{**ring, "marker": "D"}),
    ]
    _plain_numbers(ax)
    title = f"{found.study.name}: {len(on)} of {len(found.done)} points on the front"
    ax.set(xlabel=across.label, ylabel=up.label, title=title)
    made.legend(handles=marks, loc="outside lower center", ncols=2, fontsize=8, frameon=False)


def _scale(found: View, name: str) -> Scale:
    """Return the scale of an axis; one of powers of ten needs none for numbers without a unit."""
    values = [figure(e.figures, name) for e in found.done]
    return Scale(1.0, name) if needs_log(values) and not unit_of(name) else scale_of(name, values)


def _points(made: Any, ax: Any, found: View, color: str | None, places: Callable[..., Any]) -> None:
    """Draw the points, coloured by a key: by a bar where it is a number of many values."""
    groups = grouped(found, color)
    if color and len(groups) > len(PALETTE) and (numbers := _numbers(found, color)) is not None:
        scale = scale_of(color, numbers, _unit(found, color))
        dots = ax.scatter(*places(found.done), s=18, c=scale.of(numbers), cmap="viridis")
        made.colorbar(dots, ax=ax, label=scale.label)
        return
    shades = _shades(len(groups))
    for i, (name, entries) in enumerate(groups.items()):
        shade = shades[i] if color else GREY
        ax.scatter(*places(entries), s=18, color=[shade], label=value_text(name))
    if color:
        ax.add_artist(ax.legend(title=color, fontsize=8))


def _numbers(found: View, key: str) -> list[float] | None:
    """Return a parameter, in base units, or a figure of all points that are done, if it is a number."""
    name = full_name(key, found.done)
    values = [e.names().get(name) for e in found.done]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return numbers if len(numbers) == len(values) else None


def _unit(found: View, key: str) -> str | None:
    """Return the base unit of a parameter; None of a figure."""
    name, space = full_name(key, found.done), found.sweep.space
    keys = {axis.name: axis.key for axis in space.axes} | {x.key.path: x.key for x in space.linked}
    if name in keys:
        dimension = keys[name].dimension
        return dimension.base if dimension is not None else ""
    if space.mix is not None and name in space.mix.names:
        return "mm2" if space.mix.by_area else "banks"
    return None


def _plain_numbers(ax: Any) -> None:
    """Write linear axes without an offset or a common power of ten."""
    from matplotlib.ticker import ScalarFormatter

    for axis in (ax.xaxis, ax.yaxis):
        written = axis.get_major_formatter()
        if isinstance(written, ScalarFormatter) and axis.get_scale() == "linear":
            written.set_useOffset(False)
            written.set_scientific(False)


def _shades(count: int) -> list[Any]:
    """Return colours to tell groups apart: a scale where there are many."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    from matplotlib import colormaps

    return [colormaps["viridis"](i / (count - 1)) for i in range(count)]


def front_of(found: View, x: str, y: str) -> list[Entry]:
    """Return the front in the plane of two figures."""
    return found.front((objective(x), objective(y)))


def grouped(found: View, by: str | None) -> dict[str, list[Entry]]:
    """Return the entries that are done by the value of a parameter or figure, in order of the values.

    ``technology`` is what the banks of a machine are made of.
    """
    if by is None:
        return {"": found.done}
    by = by if by == "technology" else full_name(by, found.done)
    groups: dict[str, list[Entry]] = {}
    for e in sorted(found.done, key=lambda e: _order(e, by)):
        value = e.params.get(by, e.names().get(by))
        if value is None:
            value = found.technology(e) if by == "technology" else "-"
        groups.setdefault(str(value), []).append(e)
    if list(groups) == ["-"]:
        value_of(found.done[0], by)  # says what there is
    return groups


def _order(entry: Entry, by: str) -> tuple[bool, float, str]:
    value = entry.names().get(by)
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, str(value)


def sensitivity_plot(found: View, path: Path) -> None:
    """Draw each objective over each parameter alone, through the knee of the front."""
    around = best_entry(found, None)
    lines = slices(found, around)
    if not lines:
        raise InputError(
            f"study {found.study.name}: no points differ from point {around.number} in one parameter"
        )
    goals = [goal.name for goal in found.objectives]
    made, axes = new_figure(path, len(lines), len(goals), 2.6 * len(lines) + 1, 2.2 * len(goals) + 0.6)
    for column, (param, entries) in enumerate(lines.items()):
        for row, goal in enumerate(goals):
            _slice(axes[row][column], entries, param, goal, around)
    made.suptitle(f"{found.study.name}: one at a time around point {around.number}", fontsize=9)
    save(made, path)


def _slice(ax: Any, entries: list[Entry], param: str, goal: str, around: Entry) -> None:
    ticks = [value_text(e.params.get(param)) for e in entries]
    values = [figure(e.figures, goal) for e in entries]
    scale = scale_of(goal, values)
    values = scale.of(values)
    ax.plot(range(len(ticks)), values, "o-", color=GREY, ms=4)
    here = next(i for i, e in enumerate(entries) if e.number == around.number)
    ax.plot([here], [values[here]], "o", color=FRONT, ms=6)
    ax.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right", fontsize=7)
    ax.set_xlabel(param, fontsize=8)
    ax.set_ylabel(scale.label, fontsize=8)
    _plain_numbers(ax)
    ax.tick_params(axis="y", labelsize=7)
