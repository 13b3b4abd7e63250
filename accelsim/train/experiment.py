"""``accelsim train``: simulate the step, then train with and without errors, and keep it all in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelsim import MODEL_VERSION, __version__
from accelsim.errors import InputError
from accelsim.frontend.spec import Workload
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.trace.folder import canonical_json
from accelsim.trace.runs import open_run
from accelsim.train.cases import cases_of, wants_profile
from accelsim.train.files import (
    CHECKPOINTS,
    LOG,
    PLOT,
    RUN,
    SUMMARY,
    Log,
    training_folder,
    write_whole,
)
from accelsim.train.plot import plot
from accelsim.train.prepare import setup_of
from accelsim.train.profile import FILE, RunProfile
from accelsim.train.summary import summarize
from accelsim.train.table import TableProfile
from accelsim.train.trainer import Case, Row, Setup, Trainer, silent

ACTIVITY = "activity.parquet"  # of the first seed without errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be trained, as it was asked for."""

    arch: str
    workload: str
    data: str | None = None
    epochs: int = 10
    seeds: int = 3
    errors: str | None = None
    rates: tuple[float, ...] = ()
    target: str = "activation"
    layers: str | None = None
    batch: int | None = None
    options: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    target_accuracy: float | None = None
    checkpoint_steps: int = 200


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told what happens: stages of the simulation, (training, steps in all, done, loss), rows."""

    stage: Callable[[str, int, int], None] | None = None
    step: Callable[[str, int, int, float], None] = silent
    row: Callable[[Row], None] = silent


def train(
    wish: Wish, out: Path | None = None, *, resume: bool = False, watcher: Watcher | None = None
) -> Path:
    """Do what ``wish`` says and return the folder that holds it.

    Raises:
        InputError: Anything in it that cannot be; nothing is left behind.
    """
    watcher = watcher or Watcher()
    machine = load_machine(wish.arch, wish.overrides)
    setup = setup_of(
        wish.workload,
        wish.data,
        epochs=wish.epochs,
        batch=wish.batch,
        options=wish.options,
        checkpoint_steps=wish.checkpoint_steps,
    )
    workload, data = setup.workload, setup.data
    _check(setup, cases_of(wish.errors, wish.rates, wish.target, wish.layers, None))
    settings = _settings(wish, workload, data.name)
    path = out or Path("runs") / f"train-{machine.name}_{workload.name}-{_id(settings)}"
    with training_folder(path, settings, resume) as folder:
        setup, profile = _simulated(wish, setup, folder, watcher)
        cases = cases_of(wish.errors, wish.rates, wish.target, wish.layers, profile)
        _check(setup, cases)
        log = _trained(setup, cases, wish.seeds, folder, watcher)
    summary = {
        **settings,
        "order": [c.name for c in cases],
        "cases_by_name": {c.name: _described(c, setup) for c in cases},
    }
    summary |= {"step_ps": setup.step_ps, "step_pj": setup.step_pj}
    summary |= summarize(log.rows, wish.target_accuracy)
    write_whole(folder / SUMMARY, canonical_json(summary).encode())
    plot(folder / PLOT, log.rows, f"{workload.name} on {data.name}, non-finite values {_policy(wish)}")
    return folder


def _policy(wish: Wish) -> str:
    return str(wish.options.get("nonfinite", "raw"))


def _settings(wish: Wish, workload: Workload, data: str) -> dict[str, Any]:
    """Return all that decides the result."""
    return {
        "machine": wish.arch,
        "overrides": list(wish.overrides),
        "workload": workload.spec.model_dump(mode="json"),
        "workload_name": workload.name,
        "data": wish.data or data,
        "epochs": wish.epochs,
        "seeds": wish.seeds,
        "errors": wish.errors,
        "rates": list(wish.rates),
        "target": wish.target,
        "layers": wish.layers,
        "options": {k: list(v) if isinstance(v, tuple) else v for k, v in wish.options.items()},
        "nonfinite": _policy(wish),
        "model_version": MODEL_VERSION,
        "version": __version__,
    }


def _id(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:8]


def _check(setup: Setup, cases: Sequence[Case]) -> None:
    """Build every case once: whatever its profile or options lack shows before anything is written."""
    for case in (*cases, Case("options", TableProfile({}))):
        Trainer(setup, case, 0)


def _simulated(wish: Wish, setup: Setup, folder: Path, watcher: Watcher) -> tuple[Setup, RunProfile | None]:
    """Simulate the step; return its time and energy, and its errors if they are wanted."""
    if not (folder / RUN).is_dir():
        simulate(
            wish.arch,
            str(setup.workload.path),
            batch=wish.batch,
            overrides=wish.overrides,
            out=folder / RUN,
            progress=watcher.stage,
        )
    summary = open_run(folder / RUN).summary
    setup = replace(
        setup,
        step_ps=summary["time_ps"] + summary["host_gap_ps"],
        step_pj=summary["energy_pj"]["total"],
    )
    if not wants_profile(wish.errors, wish.rates):
        return setup, None
    if not (folder / RUN / FILE).is_file():
        raise InputError(
            f"{wish.arch}: no bank group of this machine names a device, so that its run has no {FILE}; "
            "say --errors none, --errors role=rate,... or --rates"
        )
    return setup, RunProfile.load(folder / RUN)


def _trained(setup: Setup, cases: Sequence[Case], seeds: int, folder: Path, watcher: Watcher) -> Log:
    log = Log(folder / LOG)

    def on_row(row: Row) -> None:
        log.add(row)
        watcher.row(row)

    for seed in range(seeds):
        for number, case in enumerate(cases):
            trainer = Trainer(setup, case, seed, folder / CHECKPOINTS / f"{number}-{seed}.pt")
            trainer.run(on_row, partial(watcher.step, f"errors {case.name}, seed {seed}", trainer.steps))
            if (
                trainer.injector is not None
                and trainer.injector.activity is not None
                and not number
                and not seed
            ):
                trainer.injector.activity.write(folder / ACTIVITY)
    return log


def _described(case: Case, setup: Setup) -> str:
    if case.profile is None:
        return "no errors"
    return f"{case.profile.description}; non-finite values {setup.options.get('nonfinite', 'raw')}"
