"""``accelsim pareto``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from accelsim.sweep.view import View

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study: its name in runs/sweeps, or its folder.")
]
Figure = Annotated[str | None, typer.Option(metavar="FIGURE", help="Such as energy_pj, cycles, area_mm2.")]


def pareto(
    study: StudyName,
    x: Figure = None,
    y: Figure = None,
    color: Annotated[
        str | None, typer.Option(metavar="KEY", help="A parameter, a figure, or technology.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, help="How many points of the front to list, ends and knee included; 0: all.")
    ] = 20,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it: .png, .svg or .pdf.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="A page that needs no network.")
    ] = None,
) -> None:
    """Show the front of STUDY: table, scatter, hypervolume, knee."""
    from accelsim.cli.console import results
    from accelsim.sweep.figures import objective
    from accelsim.sweep.places import writable
    from accelsim.sweep.plots import SUFFIXES
    from accelsim.sweep.view import view

    if color is not None and plot is None and html is None:
        raise InputError(f"--color {color}: is for a picture; give --plot or --html")
    if plot is not None:
        writable(plot, SUFFIXES)
    if html is not None:
        writable(html)
    found = view(study)
    goals = [goal.name for goal in found.objectives]
    x = x or goals[0]
    y = y or next((g for g in goals if g != x), "energy_pj.total" if x != "energy_pj.total" else "cycles")
    found = found.finite((objective(x), objective(y)))
    if not found.done:
        raise InputError(f"study {found.study.name}: no point is done")
    results().print(_shown(found, x, y, top))
    if plot is not None:
        from accelsim.sweep.plots import pareto_plot

        pareto_plot(found, x, y, color, plot)
        typer.echo(f"plot: {plot}")
    if html is not None:
        from accelsim.errors import writing
        from accelsim.sweep.html import page

        text = page(found, x, y, color)
        with writing(html, "--html"):
            html.write_text(text, encoding="utf-8")
        typer.echo(f"page: {html}")


def _shown(found: View, x: str, y: str, top: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from accelsim.cli.sweep_tables import front_table
    from accelsim.report.layout import grid
    from accelsim.sweep.figures import figure, objective
    from accelsim.sweep.pareto import hypervolume

    goals = (objective(x), objective(y))
    done = found.done
    costs = found.costs(done, goals)
    knee = found.knee(goals)
    rows = [
        ("hypervolume", f"{hypervolume(costs):.4f} of the box of all points"),
        ("knee", f"point {knee.number}"),
    ]
    told = grid("", ("", ""), rows, text_columns=2)
    points = [(figure(e.figures, x), figure(e.figures, y)) for e in done]
    on = [(figure(e.figures, x), figure(e.figures, y)) for e in found.front(goals)]
    picture = _picture(points, on, points[done.index(knee)], x, y)
    return Group(front_table(found, goals, top), told, Text(picture))


def _picture(
    points: list[tuple[float, float]],
    on: list[tuple[float, float]],
    knee: tuple[float, float],
    x: str,
    y: str,
) -> str:
    from accelsim.sweep.scatter import scatter

    rows = scatter(points, on, knee)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    lines = [
        f"{y} from {min(ys):.4g} to {max(ys):.4g}",
        *(f"|{row}" for row in rows),
        "+" + "-" * len(rows[0]),
    ]
    return "\n".join([*lines, f" {x} from {min(xs):.4g} to {max(xs):.4g}; o: front, K: knee", ""])
