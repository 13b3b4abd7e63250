"""``accelsim train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli.run import Arch, Json, Overrides, Quiet
from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.train.experiment import LoopWish, Wish

Workload = Annotated[
    str, typer.Argument(metavar="WORKLOAD", help="A network: the name of a shipped one, or a .toml file.")
]
DataName = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="digits, mnist:FOLDER, fashion-mnist:FOLDER, cifar10:FOLDER, teacher[:train=N,test=N], or "
        "module:callable; digits or teacher by the model's input if left out.",
    ),
]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs per training.")]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings per case, each with its own seed.")]
Errors = Annotated[
    str | None,
    typer.Option(
        metavar="profile|none|ROLE=RATE,...",
        help="profile (that of the simulated step; the default unless there are --rates), none, or rates.",
    ),
]
Rates = Annotated[
    str | None, typer.Option(metavar="RATE,...", help="One case per bit error probability, of --target.")
]
Target = Annotated[
    str | None, typer.Option(metavar="ROLE", help="The tensors that --rates mean; activation if left out.")
]
Layers = Annotated[
    str | None, typer.Option(metavar="GLOB", help="Only what these layers read; the input of the first too.")
]
NonFinite = Annotated[
    str, typer.Option("--nonfinite", metavar="raw|zero|clamp", help="What infinities and NaN are read as.")
]
Protect = Annotated[
    str, typer.Option(metavar="FIELD,...", help="Bits without errors: sign, exponent, mantissa, msb:9, ...")
]
Stored = Annotated[
    str | None,
    typer.Option(
        "--storage-format",
        metavar="FORMAT",
        help="fp32, bf16, fp16 or int8; else the machine's formats for its own profile, fp32 for rates.",
    ),
]
Ecc = Annotated[str | None, typer.Option(metavar="secded", help="Decode words of 64 bits as they are read.")]
Clip = Annotated[float | None, typer.Option(help="Largest norm of all gradients, without errors too.")]
Measure = Annotated[
    int, typer.Option(min=0, help="Look at what is stored in every N-th step: activity.parquet. 0: never.")
]
Batch = Annotated[int | None, typer.Option(min=1, help="Samples per step, instead of the workload's own.")]
Reach = Annotated[
    float | None,
    typer.Option("--target-accuracy", min=0, max=1, help="That time and energy are counted to."),
]
BitTrue = Annotated[
    bool,
    typer.Option(
        "--bit-true",
        help="Train through the mapped program, with flips in simulated cells (small networks).",
    ),
]
Threads = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Threads that torch computes with; the last digits hang on them."),
]
Every = Annotated[int, typer.Option("--checkpoint-every", min=1, help="Steps from checkpoint to checkpoint.")]
Closed = Annotated[
    bool,
    typer.Option(
        "--closed-loop",
        help="Train a third time, and make the machine safer when accuracy or loss drift, cheaper when not.",
    ),
]
LoopEvery = Annotated[
    int | None, typer.Option("--loop-every", min=1, help="Steps from check to check; else an epoch.")
]
LoopTolerance = Annotated[
    float | None,
    typer.Option(
        "--loop-tolerance",
        min=0,
        max=1,
        help="Accuracy, or share of the first loss, that the errors may cost; 0.02.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="The folder; else runs/train-<machine>_<workload>-<id>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training that lies at --out.")]


def train(
    arch: Arch,
    workload: Workload,
    data: DataName = None,
    epochs: Epochs = 10,
    seeds: Seeds = 3,
    errors: Errors = None,
    rates: Rates = None,
    target: Target = None,
    layers: Layers = None,
    nonfinite: NonFinite = "raw",
    protect: Protect = "",
    storage_format: Stored = None,
    ecc: Ecc = None,
    clip_gradients: Clip = None,
    measure: Measure = 0,
    bit_true: BitTrue = False,
    batch: Batch = None,
    target_accuracy: Reach = None,
    threads: Threads = 1,
    checkpoint_every: Every = 200,
    closed_loop: Closed = False,
    loop_every: LoopEvery = None,
    loop_tolerance: LoopTolerance = None,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train WORKLOAD with the errors of the machine ARCH, beside a training without any."""
    from accelsim.train.cases import rates_of
    from accelsim.train.experiment import Wish

    options = {
        "nonfinite": nonfinite,
        "protect": tuple(filter(None, protect.split(","))),
        "storage_format": storage_format,
        "ecc": ecc,
        "clip_gradients": clip_gradients,
        "measure": measure,
    }
    wish = Wish(
        arch=arch,
        workload=workload,
        data=data,
        epochs=epochs,
        seeds=seeds,
        errors=errors,
        rates=tuple(rates_of(rates)) if rates else (),
        target=_target(target, rates),
        layers=layers,
        batch=batch,
        options=options,
        overrides=tuple(overrides or ()),
        target_accuracy=target_accuracy,
        checkpoint_steps=checkpoint_every,
        loop=_loop(closed_loop, loop_every, loop_tolerance),
        bit_true=bit_true,
        threads=threads,
    )
    _print(_run(wish, out, resume, quiet), as_json)


def _target(given: str | None, rates: str | None) -> str:
    if given is not None and not rates:
        raise InputError("--target: has no effect without --rates")
    return given or "activation"


def _loop(closed: bool, every: int | None, tolerance: float | None) -> LoopWish | None:
    from accelsim.train.experiment import LoopWish

    if closed:
        return LoopWish(every=every, tolerance=0.02 if tolerance is None else tolerance)
    for option, value in (("--loop-every", every), ("--loop-tolerance", tolerance)):
        if value is not None:
            raise InputError(f"{option}: has no effect without --closed-loop")
    return None


def _run(wish: Wish, out: Path | None, resume: bool, quiet: bool) -> Path:
    from accelsim.cli.training import resumable, watching
    from accelsim.train.experiment import train as run

    with resumable(), watching(quiet) as watcher:
        return run(wish, out, resume=resume, watcher=watcher)


def _print(folder: Path, as_json: bool) -> None:
    from accelsim.cli.training import shown, tables
    from accelsim.train.files import SUMMARY

    shown(folder / SUMMARY, as_json, tables, f"training folder: {folder}")
