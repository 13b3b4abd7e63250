"""``accelsim report``, ``ls`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelsim.errors import InputError

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, or its name in runs/.")]
Top = Annotated[int, typer.Option(min=1, help="How many layers to show.")]


Actions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write the counts by op and component, without prices: .csv or .parquet."
    ),
]


def report(run: RunName, top: Top = 10, actions: Actions = None) -> None:
    """Print the tables of a finished run again."""
    from accelsim.cli.console import results
    from accelsim.report import report as tables
    from accelsim.trace.runs import open_run

    found = open_run(run)
    if actions is not None:
        from accelsim.report.actions import write_actions

        rows = write_actions(found, actions)
    results().print(tables(found.summary, found.manifest, found.table("ops"), top))
    typer.echo(f"run folder: {found.path}")
    if actions is not None:
        typer.echo(f"actions: {actions} ({rows} rows)")


def reprice(
    run: RunName,
    arch: Annotated[
        str | None, typer.Option("--arch", metavar="ARCH", help="The machine whose prices are taken.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of that machine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The new run folder; else runs/<arch>_<workload>-...")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another run at --out.")] = False,
    ert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead of --arch: an energy reference table of Accelergy (.yaml)."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="Which of its actions price which of ours (.toml)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --ert: print one JSON object.")] = False,
) -> None:
    """Price a run's counts on another machine, without simulating; refused where its timing would differ.

    With --ert: by an energy reference table of Accelergy; prints the energies and writes nothing.
    """
    import sys

    if (arch is None) == (ert is None):
        raise typer.BadParameter("give one of --arch and --ert", param_hint="--arch")
    if ert is not None:
        if overrides or out is not None or force:
            raise typer.BadParameter("--set, --out and --force go with --arch", param_hint="--ert")
        _reprice_by_table(run, ert, mapping, as_json)
        return
    assert arch is not None
    if mapping is not None or as_json:
        raise typer.BadParameter("goes with --ert", param_hint="--json" if as_json else "--map")

    from accelsim.cli.console import results
    from accelsim.report import report as tables
    from accelsim.run.reprice import reprice as priced
    from accelsim.trace.runs import open_run

    found = open_run(run)
    command = ["accelsim", *sys.argv[1:]]
    path, _ = priced(found, arch, overrides or (), out=out, force=force, command=command)
    new = open_run(path)
    results().print(tables(new.summary, new.manifest, new.table("ops")))
    typer.echo(f"run folder: {path}")


def _reprice_by_table(run: str, ert: Path, mapping: Path | None, as_json: bool) -> None:
    import json

    from accelsim.cli.console import results
    from accelsim.report.ert import ert_json, ert_tables
    from accelsim.run.ert import ert_prices
    from accelsim.trace.runs import open_run

    found = open_run(run)
    prices = ert_prices(found, ert, mapping)
    if as_json:
        typer.echo(json.dumps(ert_json(found.name, str(ert), prices), indent=1, sort_keys=True))
    else:
        results().print(ert_tables(f"{found.name}, priced by {ert}", prices))


def ls(
    folder: Annotated[Path, typer.Argument(help="Where the run folders lie.")] = Path("runs"),
) -> None:
    """List the runs in a folder."""
    from accelsim.cli.console import results
    from accelsim.report import listing
    from accelsim.trace.runs import list_runs

    if not folder.is_dir() and folder != Path("runs"):
        raise InputError(f"{folder}: no such folder")
    runs, broken = list_runs(folder)
    if runs:
        results().print(listing(runs))
    else:
        typer.echo(f"no runs in {folder}")
    if broken:
        typer.echo(f"accelsim: not listed (accelsim report says why): {', '.join(broken)}", err=True)


def compare(
    a: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with.")],
    b: Annotated[str, typer.Argument(metavar="RUN", help="The run that is compared.")],
    top: Top = 10,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every input that differs, one by one, and every layer.")
    ] = False,
) -> None:
    """Show in what two runs differ: inputs, totals, phases, components, layers."""
    from accelsim.cli.console import results
    from accelsim.report import comparison
    from accelsim.trace.runs import open_run

    results().print(comparison(open_run(a), open_run(b), top, everything))
