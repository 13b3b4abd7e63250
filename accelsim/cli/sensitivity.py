"""``accelsim sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli.run import Json, Quiet
from accelsim.cli.train import Batch, DataName, Every, NonFinite, Protect, Threads, Workload

if TYPE_CHECKING:
    from accelsim.train.sensitivity.experiment import Wish

Roles = Annotated[
    str | None,
    typer.Option(
        metavar="ROLE,...", help="activation, weight, ...; all that the training reads if left out."
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="GLOB,...",
        help="Each of these groups of reading layers by itself, the input of the first too.",
    ),
]
ByLayer = Annotated[bool, typer.Option("--by-layer", help="Each reading layer by itself.")]
Tolerance = Annotated[float, typer.Option(help="Largest loss of accuracy, 0 to 1, mean over seeds.")]
Low = Annotated[float, typer.Option(metavar="RATE", help="The lowest bit error probability to try.")]
High = Annotated[float, typer.Option(metavar="RATE", help="The highest, at most 0.5.")]
Resolution = Annotated[
    float, typer.Option(metavar="FACTOR", help="Stop when refused / tolerated is no more than this.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs per training; the last one's accuracy counts.")]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings per rate, at most; each with its own seed.")]
Stored = Annotated[
    str | None,
    typer.Option("--storage-format", metavar="FORMAT", help="fp32, bf16, fp16 or int8; else as computed."),
]
Out = Annotated[Path | None, typer.Option(help="The folder; else runs/sensitivity-<workload>-<id>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the search that lies at --out.")]


def sensitivity(
    workload: Workload,
    data: DataName = None,
    roles: Roles = None,
    layers: Layers = None,
    by_layer: ByLayer = False,
    tolerance: Tolerance = 0.01,
    low: Low = 1e-9,
    high: High = 1e-2,
    resolution: Resolution = 2.0,
    epochs: Epochs = 3,
    seeds: Seeds = 3,
    nonfinite: NonFinite = "raw",
    protect: Protect = "",
    storage_format: Stored = None,
    batch: Batch = None,
    threads: Threads = 1,
    checkpoint_every: Every = 200,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search the largest bit error probability with which training WORKLOAD keeps its accuracy.

    By tensor role, or by role and layer; the outcome is in sensitivity.toml, for placements to read.
    """
    from accelsim.train.sensitivity.experiment import Wish
    from accelsim.train.sensitivity.search import Range

    wish = Wish(
        workload=workload,
        data=data,
        roles=_names(roles),
        layers=_names(layers),
        by_layer=by_layer,
        tolerance=tolerance,
        rates=Range(low, high, resolution),
        epochs=epochs,
        seeds=seeds,
        batch=batch,
        options={
            "nonfinite": nonfinite,
            "protect": _names(protect),
            "storage_format": storage_format,
        },
        checkpoint_steps=checkpoint_every,
        threads=threads,
    )
    _print(_run(wish, out, resume, quiet), as_json)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (text or "").split(",")))


def _run(wish: Wish, out: Path | None, resume: bool, quiet: bool) -> Path:
    from accelsim.cli.searching import watching
    from accelsim.cli.training import resumable
    from accelsim.train.sensitivity.experiment import sensitivity as run

    with resumable(), watching(quiet) as observer:
        return run(wish, out, resume=resume, observer=observer)


def _print(folder: Path, as_json: bool) -> None:
    from accelsim.cli.searching import tables
    from accelsim.cli.training import shown
    from accelsim.train.sensitivity.experiment import SUMMARY
    from accelsim.train.sensitivity.tolerances import FILE

    shown(folder / SUMMARY, as_json, tables, f"tolerances: {folder / FILE}")
