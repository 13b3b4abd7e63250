"""``accelsim run``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from accelsim.run import Result

Arch = Annotated[
    str, typer.Argument(metavar="ARCH", help="A machine: the name of a shipped one, or a .toml file.")
]
Workload = Annotated[
    str,
    typer.Argument(
        metavar="WORKLOAD", help="A network: the name of a shipped one, a .toml file, or a topology .csv."
    ),
]
Batch = Annotated[int | None, typer.Option(min=1, help="Samples per step, instead of the workload's own.")]
Accumulate = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Split the step's batch into N micro-batches, sum their gradients, update once.",
    ),
]
Phase = Annotated[str, typer.Option(help="all (a whole training step) or forward.")]
Cold = Annotated[bool, typer.Option("--cold", help="The first step, from DRAM, instead of the steady one.")]
Allow = Annotated[
    bool, typer.Option("--allow-unsupported", help="Cost ops without a lowering as elementwise ones.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the machine, such as dram.latency=80ns."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder; else runs/<machine>_<workload>-<id>.")]
Force = Annotated[bool, typer.Option("--force", help="Replace another run at --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
MappingFrom = Annotated[
    str | None,
    typer.Option(
        "--mapping-from",
        metavar="RUN",
        help="Take tiles, order and placement of that run, whatever they cost here.",
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Take tiles, orders and places of tensors from a file as `accelsim mapping RUN` prints it.",
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Simulate every tile; the results are the same, and take longer.")
]
Activity = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Zeros and toggled bits as measured in training (activity.parquet of accelsim train --measure).",
    ),
]
TraceTensors = Annotated[
    list[str] | None,
    typer.Option("--trace-tensor", metavar="GLOB", help="Keep single copies of these tensors in the trace."),
]


def run(
    arch: Arch,
    workload: Workload,
    batch: Batch = None,
    accumulate: Accumulate = None,
    phase: Phase = "all",
    cold: Cold = False,
    allow_unsupported: Allow = False,
    overrides: Overrides = None,
    out: Out = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    trace_tensor: TraceTensors = None,
    exact: Exact = False,
    mapping_from: MappingFrom = None,
    mapping: MappingFile = None,
    activity: Activity = None,
) -> None:
    """Simulate one training step of WORKLOAD on the machine ARCH and keep it in a run folder."""
    if phase not in ("all", "forward"):
        raise typer.BadParameter(f'expected "all" or "forward", got "{phase}"', param_hint="--phase")
    from accelsim.cli.progress import progress
    from accelsim.run import simulate

    with progress(quiet) as report:
        result = simulate(
            arch,
            workload,
            batch=batch,
            accumulate=accumulate,
            phase=phase,
            cold=cold,
            allow_unsupported=allow_unsupported,
            overrides=overrides or (),
            out=out,
            force=force,
            trace_tensors=trace_tensor or (),
            exact=exact,
            mapping_from=mapping_from,
            mapping=mapping,
            activity=activity,
            command=["accelsim", *sys.argv[1:]],
            progress=report,
        )
    if as_json:
        typer.echo(json.dumps(result.json(), indent=1, sort_keys=True))
    else:
        _print(result)


def _print(result: Result) -> None:
    from accelsim.cli.console import results
    from accelsim.report import report
    from accelsim.trace.runs import open_run

    finished = open_run(result.run_dir)
    results().print(report(finished.summary, finished.manifest, finished.table("ops")))
    typer.echo(f"run folder: {result.run_dir}")
