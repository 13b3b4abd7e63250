"""``accelsim sensitivity``: search each target's tolerated rate, and keep it all in a folder."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from accelsim import MODEL_VERSION, __version__
from accelsim.errors import InputError, RunError
from accelsim.trace import human
from accelsim.trace.folder import canonical_json
from accelsim.train.files import settings_id, training_folder, write_whole
from accelsim.train.options import check_values
from accelsim.train.prepare import setup_of
from accelsim.train.sensitivity.decision import Verdict, decide
from accelsim.train.sensitivity.search import DEFAULT, Bracket, Range, search
from accelsim.train.sensitivity.targets import Target, targets_of
from accelsim.train.sensitivity.tolerances import FILE, tolerances_toml
from accelsim.train.sensitivity.trainings import Observer, Trainings
from accelsim.train.statistics import weight_of
from accelsim.train.threads import threads
from accelsim.train.trainer import Case, Row, Setup, Trainer

SUMMARY: Final = "sensitivity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be searched, as it was asked for.

    Attributes:
        tolerance: Largest loss of accuracy (absolute, 0 to 1), mean over seeds.
        options: Further arguments of ``ErrorInjector``.
    """

    workload: str
    data: str | None = None
    roles: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    by_layer: bool = False
    tolerance: float = 0.01
    rates: Range = DEFAULT
    epochs: int = 3
    seeds: int = 3
    batch: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_steps: int = 200
    threads: int = 1  # of torch


@dataclass(frozen=True, slots=True)
class Trial:
    """The trainings of a target at a rate, seed by seed, and what they say."""

    rate: float
    rows: Sequence[Row]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of one target, with its trials in the order in which they were made."""

    target: Target
    bracket: Bracket
    trials: Sequence[Trial]


def sensitivity(
    wish: Wish, out: Path | None = None, *, resume: bool = False, observer: Observer | None = None
) -> Path:
    """Do what ``wish`` says and return the folder that holds it.

    Raises:
        InputError: Anything in it that cannot be; nothing is left behind.
        RunError: Without errors the training diverges, or learns too little to be compared with.
    """
    with threads(wish.threads):
        return _sensitivity(wish, out, resume, observer or Observer())


def _sensitivity(wish: Wish, out: Path | None, resume: bool, observer: Observer) -> Path:
    check_values(wish.options)
    if not 0 <= wish.tolerance < 1:
        raise InputError(
            f"--tolerance {wish.tolerance:g}: expected a loss of accuracy from 0 to 1, such as 0.01"
        )
    setup = setup_of(
        wish.workload,
        wish.data,
        epochs=wish.epochs,
        batch=wish.batch,
        options=wish.options,
        checkpoint_steps=wish.checkpoint_steps,
    )
    targets = targets_of(setup, wish.roles, wish.layers, by_layer=wish.by_layer)
    Trainer(setup, Case("options", targets[0].profile(wish.rates.high)), 0)  # its options' faults show here
    settings = _settings(wish, setup, targets)
    path = out or Path("runs") / f"sensitivity-{setup.workload.name}-{settings_id(settings)}"
    observer.plan(wish.seeds * (1 + len(targets) * wish.rates.most_trials))
    with training_folder(path, settings, resume) as folder:
        trainings = Trainings(setup, folder, observer)
        clean = [trainings.clean(seed) for seed in range(wish.seeds)]
        accuracies = [float(row["accuracy"]) for row in clean]
        _check_learnt(accuracies, wish.tolerance, setup.task.classes)
        found = [_searched(wish, target, trainings, accuracies, observer) for target in targets]
    summary = {**settings, **_summary(clean, found)}
    write_whole(folder / SUMMARY, canonical_json(summary).encode())
    write_whole(folder / FILE, tolerances_toml(summary).encode())
    return folder


def _check_learnt(clean: Sequence[float], tolerance: float, classes: int) -> None:
    """Refuse to search where a training that learns nothing would be within tolerance."""
    mean = statistics.fmean(clean)
    if mean - tolerance <= 1 / classes:
        raise RunError(
            f"without errors the training reaches {human.share(mean)}; less the tolerance of "
            f"{human.share(tolerance)} that is no more than guessing "
            f"among {classes} classes, and nearly any rate would pass; give more "
            "--epochs or a smaller --tolerance"
        )


def _searched(
    wish: Wish, target: Target, trainings: Trainings, clean: Sequence[float], observer: Observer
) -> Found:
    trials: list[Trial] = []

    def within(rate: float) -> bool:
        rows: list[Row] = []
        verdict = None
        while verdict is None:
            rows.append(trainings.of(target, rate, len(rows)))
            verdict = decide(clean, [row["accuracy"] for row in rows], wish.tolerance)
        trials.append(Trial(rate, rows, verdict))
        observer.decided(target, rate, verdict)
        return verdict.within

    bracket = search(within, wish.rates)
    return Found(target, bracket, trials)


def _settings(wish: Wish, setup: Setup, targets: Sequence[Target]) -> dict[str, Any]:
    """Return all that decides the result."""
    spec = setup.workload.spec
    return {
        "command": "sensitivity",
        "workload": spec.model_dump(mode="json"),
        "workload_name": setup.workload.name,
        "data": wish.data or setup.data.name,
        "epochs": wish.epochs,
        "seeds": wish.seeds,
        "threads": wish.threads,
        "targets": [{"role": t.role, "layer": t.layer, "drawn": list(t.drawn)} for t in targets],
        "tolerance": wish.tolerance,
        "low": wish.rates.low,
        "high": wish.rates.high,
        "resolution": wish.rates.resolution,
        "options": {k: list(v) if isinstance(v, tuple) else v for k, v in wish.options.items()},
        "nonfinite": str(wish.options.get("nonfinite", "raw")),
        "protect": list(wish.options.get("protect", ())),
        "storage_format": wish.options.get("storage_format") or spec.dtype,
        "model_version": MODEL_VERSION,
        "version": __version__,
    }


def _summary(clean: Sequence[Row], found: Sequence[Found]) -> dict[str, Any]:
    return {
        "clean": {str(row["seed"]): row["accuracy"] for row in clean},
        "clean_accuracy": statistics.fmean(row["accuracy"] for row in clean),
        "believe": weight_of(len(clean)),
        "tolerated": [
            {
                "role": each.target.role,
                "layer": each.target.layer,
                "rate": each.bracket.tolerated,
                "refused": each.bracket.refused,
                "tried": sum(len(trial.rows) for trial in each.trials),
                "trials": [_trial(trial) for trial in each.trials],
            }
            for each in found
        ],
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "rate": trial.rate,
        "within": trial.verdict.within,
        "by": trial.verdict.by,
        "difference": trial.verdict.difference,
        "difference_half_width": trial.verdict.half_width,
        "accuracy": {str(row["seed"]): row["accuracy"] for row in trial.rows},
        "diverged_steps": {str(row["seed"]): row["diverged_step"] for row in trial.rows},
        "flips": sum(row["flips"] for row in trial.rows),
        "non_finite": sum(row["non_finite"] for row in trial.rows),
    }
