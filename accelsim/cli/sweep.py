"""``accelsim sweep``: run a sweep, and show, choose from and export its study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.sweep.study import Study
    from accelsim.sweep.tally import Tally

INTERRUPTED: Final = 130
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study: its name in runs/sweeps, or its folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Where = Annotated[
    str | None, typer.Option(metavar="EXPR", help='Only points for which it holds, such as "area_mm2 <= 12".')
]


class SweepGroup(TyperGroup):
    """``accelsim sweep FILE`` is short for ``accelsim sweep run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command before what is none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SweepGroup,
    no_args_is_help=True,
    help="Run a design-space sweep: accelsim sweep FILE [OPTIONS]; or show and use its study.",
    epilog="Example: accelsim sweep equal-area --jobs 2",
)


@app.command("run", epilog="Example: accelsim sweep my.toml --jobs 2 --resume")
def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A sweep: the name of a shipped one, or a .toml file.")
    ],
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one per core.")] = 0,
    executor: Annotated[
        str, typer.Option(metavar="local|dask:URL", help="Where points run: here, or at a Dask scheduler.")
    ] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study, or start it.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed points again.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many candidates.")] = None,
    points: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="Where points are kept; else runs/points.sqlite.")
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="The study's name; else the file's.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help='Give a point up after so long, such as "90 s".')
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Run the sweep FILE: all its points, or those that its method chooses."""
    from accelsim.cli.sweep_progress import sweep_progress
    from accelsim.sweep.runner import Asked, run_sweep
    from accelsim.sweep.told import told

    asked = Asked(jobs, executor, resume or retry, retry, limit, points, study, _seconds(timeout))
    try:
        with sweep_progress(quiet) as report:
            done, tally = run_sweep(file, asked, report)
    except KeyboardInterrupt:
        typer.echo("accelsim: what is done is kept; --resume goes on with it", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(told(done, tally), indent=1, sort_keys=True))
    else:
        _print(done, tally)


def _seconds(text: str | None) -> float | None:
    from accelsim import units

    if text is None:
        return None
    try:
        seconds = (
            float(text) if text.replace(".", "", 1).isdigit() else units.real(text, units.DURATION) / 1e12
        )
    except units.UnitError as exc:
        raise InputError(f"--timeout: {exc}") from None
    if seconds <= 0:
        raise InputError("--timeout: expected more than 0 s")
    return seconds


def _print(study: Study, tally: Tally) -> None:
    from accelsim.cli.console import results
    from accelsim.cli.sweep_tables import outcome
    from accelsim.sweep.view import view

    results().print(outcome(view(str(study.path)), tally))
    typer.echo(f"study: {study.path}")


@app.command(
    "show", epilog='Example: accelsim sweep show equal-area --sort edp --where "area_mm2 < 12" --top 5'
)
def show(
    study: StudyName,
    sort: Annotated[
        str | None, typer.Option(metavar="KEY", help="A figure or parameter; -KEY: the largest first.")
    ] = None,
    where: Where = None,
    top: Annotated[int, typer.Option(min=0, help="How many points to show; 0: all.")] = 10,
    importance: Annotated[
        bool,
        typer.Option("--importance", help="How much of each objective's variation each parameter explains."),
    ] = False,
    sensitivity: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Plot each objective over each parameter, one at a time."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the points of STUDY."""
    from accelsim.cli.console import results
    from accelsim.cli.sweep_tables import importances, points
    from accelsim.sweep.places import writable
    from accelsim.sweep.plots import SUFFIXES
    from accelsim.sweep.told import importance as told_importance
    from accelsim.sweep.told import point
    from accelsim.sweep.view import chosen, full_name, in_order, view

    if sensitivity is not None:
        writable(sensitivity, SUFFIXES)
    found = view(study)
    entries = in_order(chosen(found.entries, where), sort or found.objectives[0].name)
    if as_json:
        names = [goal.name for goal in found.objectives]
        listed = [point(e, names) for e in entries[: top or None] if e.figures]
        told_of: dict[str, Any] = {"study": found.study.name, "points": listed}
        if importance:
            told_of["importance"] = {name: told_importance(found, name) for name in names}
        typer.echo(json.dumps(told_of, indent=1, sort_keys=True))
        return
    column = full_name(sort.lstrip("-"), found.entries) if sort else None
    results().print(points(found, entries, top, column))
    if importance:
        results().print(importances(found))
    if sensitivity is not None:
        from accelsim.sweep.plots import sensitivity_plot

        sensitivity_plot(found, sensitivity)
        typer.echo(f"plot: {sensitivity}")


@app.command("best", epilog="Example: accelsim sweep best equal-area --write best.toml")
def best(
    study: StudyName,
    by: Annotated[
        str | None, typer.Option(metavar="FIGURE", help="What is to be small; else the knee of the front.")
    ] = None,
    number: Annotated[int | None, typer.Option(min=0, help="This point instead.")] = None,
    write: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Write its machine there.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --write.")] = False,
) -> None:
    """Show the best point of STUDY, and write its machine."""
    from accelsim.cli.console import results
    from accelsim.cli.sweep_tables import one_point
    from accelsim.sweep.again import writable_machine, write_machine
    from accelsim.sweep.view import best_entry, view

    if write is not None:
        writable_machine(write, force)
    found = view(study)
    entry = best_entry(found, by) if number is None else _numbered(found, number)
    commands = write_machine(found, entry, write) if write is not None else []
    results().print(one_point(found, entry))
    if write is not None:
        typer.echo(f"machine: {write}")
        for command in commands:
            typer.echo(f"its figures again: {command}")


def _numbered(found: Any, number: int) -> Any:
    for entry in found.entries:
        if entry.number == number:
            return entry
    raise InputError(f"study {found.study.name}: no point {number}; there are {len(found.entries)}")


@app.command("export", epilog="Example: accelsim sweep export equal-area points.parquet")
def export(
    study: StudyName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .parquet or .csv.")],
) -> None:
    """Write all points of STUDY as one table."""
    from accelsim.sweep.export import SUFFIXES
    from accelsim.sweep.export import export as write
    from accelsim.sweep.places import writable
    from accelsim.sweep.view import view

    writable(file, SUFFIXES)
    rows = write(view(study), file)
    typer.echo(f"{rows} rows: {file}")
