"""The dearest fidelity: a short real training with the errors of a simulated point.

Importing this imports no torch; ``prepared`` and ``trained`` do. A training is decided by the workload, the
data, the options and the error profile: points that agree in these are trained once per process.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import InputError
from accelsim.resolve.machine import Machine
from accelsim.sweep.figures import Figures
from accelsim.sweep.spec import TrainingSpec

if TYPE_CHECKING:
    from accelsim.train.trainer import Case, Row, Setup

KEPT: Final = 256  # outcomes of trainings that a worker remembers; each is a few numbers
_FOLDERS: Final = ("mnist", "fashion-mnist", "cifar10")  # data sets that name a folder


@dataclass(frozen=True, slots=True)
class Training:
    """How points are trained, as data that is sent to workers.

    Attributes:
        workload: A shipped name, or the absolute path of its file; workers read it, and the model's file.
        data: As ``accelsim train --data`` takes it, paths absolute; None: what suits the model.
        files: Hash of the workload's files, and of those of the user's that the model imports.
        read: Hash of the description, the model's file and the data's samples; a worker that reads others
            refuses.
        torch: The version whose arithmetic decides what is learnt; a worker with another one refuses.
        epoch_steps: Steps of an epoch.
        target: Accuracy to which time and energy are counted.
    """

    workload: str
    batch: int | None
    accumulate: int | None
    data: str | None
    files: str
    read: str
    torch: str
    epoch_steps: int
    epochs: int
    seeds: int
    options: tuple[tuple[str, Any], ...]
    target: float | None

    @property
    def decides(self) -> list[Any]:
        """All that decides the outcome, but the errors; no paths."""
        shape = [self.files, self.read, self.torch, self.batch, self.accumulate, self.epochs, self.seeds]
        return [*shape, [list(o) for o in self.options], self.target]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What came of one seed: accuracy and steps done by epoch, and whether the loss ceased to be finite."""

    accuracy: tuple[float, ...]
    steps: tuple[int, ...]
    diverged: bool

    def steps_to(self, target: float) -> float:
        """Return the steps done at the end of the first epoch that reaches ``target``; infinite if none."""
        return next((s for a, s in zip(self.accuracy, self.steps, strict=True) if a >= target), math.inf)


def figures_of(lessons: Sequence[Lesson], target: float | None, step_ps: float, step_pj: float) -> Figures:
    """Return the figures of a trained point, means over seeds.

    Args:
        target: Accuracy that is to be reached; without one there are no figures about reaching it.
        step_ps: Simulated time of a step, the gap to the next one included.
        step_pj: Its energy.

    Returns:
        What reaching the target takes is there only if all seeds reach it: ``reached`` is the share that do.
    """
    found: Figures = {
        "accuracy": statistics.fmean(one.accuracy[-1] for one in lessons),
        "accuracy.best": statistics.fmean(max(one.accuracy) for one in lessons),
        "diverged": statistics.fmean(one.diverged for one in lessons),
    }
    if target is None:
        return found
    steps = [one.steps_to(target) for one in lessons]
    found["reached"] = statistics.fmean(math.isfinite(s) for s in steps)
    return found | (_reaching(statistics.fmean(steps), step_ps, step_pj) if found["reached"] == 1 else {})


def _reaching(steps: float, step_ps: float, step_pj: float) -> Figures:
    return {
        "steps_to_accuracy": steps,
        "time_to_accuracy": steps * step_ps,
        "energy_to_accuracy": steps * step_pj,
    }


def at_best(known: Mapping[str, float], epoch_steps: int) -> Figures:
    """Return ``known`` figures of a point, or lower bounds of them, with the best that training could add."""
    step_ps = known["time_ps"] + known.get("host_gap_ps", 0)
    perfect = {"accuracy": 1.0, "accuracy.best": 1.0, "diverged": 0.0, "reached": 1.0}
    return {**known, **perfect, **_reaching(epoch_steps, step_ps, known["energy_pj.total"])}


def errors_key(machine: Machine) -> list[Any]:
    """Return what decides, beside times, which errors a machine makes."""
    cells = {
        name: [asdict(bank.device), bank.cell, bank.refresh_model]
        for name, bank in machine.banks.items()
        if bank.device is not None
    }
    return [cells, dict(machine.changes), dict(machine.formats)] if cells else []


# -- in the controller --------------------------------------------------------------------------------


def prepared(
    spec: TrainingSpec,
    workload: str,
    files: str,
    folder: Path,
    batch: int | None,
    accumulate: int | None,
) -> Training:
    """Return how a workload is trained, once it is clear that it can be.

    Args:
        workload: As ``load_workload`` takes it.
        files: Hash of its files.
        folder: Of the sweep's file: paths of data are relative to it.

    Raises:
        InputError: Its arguments are the key of ``[training]`` that is at fault, and what is wrong.
    """
    from accelsim.frontend.cache import version_of
    from accelsim.train.table import TableProfile
    from accelsim.train.trainer import Case, Trainer

    options: dict[str, Any] = {"nonfinite": spec.nonfinite, "protect": tuple(spec.protect)}
    options |= {"storage_format": spec.storage_format} if spec.storage_format else {}
    place = str(Path(workload).resolve()) if workload.endswith(".toml") else workload
    data = _absolute(spec.data, folder) if spec.data else None
    ask = (place, batch, accumulate, data, files)
    setup, read = _read(*ask)
    if len(setup.data.train) < setup.workload.spec.batch:
        raise InputError(
            "data", f"{setup.data.name} has fewer samples than a batch of {setup.workload.spec.batch}"
        )
    try:
        Trainer(_with(setup, 1, options), Case("options", TableProfile({})), 0)
    except InputError as exc:
        raise InputError("protect", str(exc)) from None
    steps = len(setup.data.train) // setup.workload.spec.batch
    chosen = tuple(sorted(options.items()))
    torch = version_of("torch")
    return Training(*ask, read, torch, steps, spec.epochs, spec.seeds, chosen, spec.target_accuracy)


def _absolute(data: str, folder: Path) -> str:
    name, _, rest = data.partition(":")
    if name in _FOLDERS and rest:
        return f"{name}:{(folder / rest).resolve()}"
    return f"{(folder / name).resolve()}:{rest}" if name.endswith(".py") else data


@lru_cache(maxsize=2)
def _read(
    workload: str,
    batch: int | None,
    accumulate: int | None,
    data: str | None,
    files: str,  # noqa: ARG001  a part of the cache's key
) -> tuple[Setup, str]:
    """Return workload and data, and the hash of both; they are read again where ``files`` are others."""
    from accelsim.config.locate import find
    from accelsim.frontend.spec import load
    from accelsim.train.data.named import load_data
    from accelsim.train.task import task_of
    from accelsim.train.trainer import Setup

    loaded = load(find("workloads", workload), batch, accumulate)
    task = task_of(loaded)
    try:
        found = load_data(data, task)
    except InputError as exc:
        raise InputError("data", str(exc).removeprefix("--data: ").removeprefix("--data ")) from None
    model = loaded.model_file.read_bytes() if loaded.model_file else b""
    what = [loaded.spec.model_dump(mode="json"), hashlib.sha256(model).hexdigest(), found.digest()]
    return Setup(loaded, task, found, epochs=0), hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _with(setup: Setup, epochs: int, options: Mapping[str, Any]) -> Setup:
    return replace(setup, epochs=epochs, options=dict(options))


# -- in a worker --------------------------------------------------------------------------------------


def trained(
    training: Training,
    machine: Machine,
    columns: Mapping[str, Any] | None,
    step_ps: float,
    step_pj: float,
) -> Figures:
    """Return the figures of training with the errors of ``columns``, made now or for a point with the same.

    Args:
        machine: Data are stored in its formats, of whose bits the profile speaks, unless the options say.
        columns: Of ``errors.parquet``; None: a machine without a device, which makes no errors.
        step_ps: Simulated time of a step, the gap to the next one included.
        step_pj: Its energy.

    Raises:
        InputError: Workload or data cannot be read here, or are others than the controller's.
    """
    options = dict(training.options)
    if columns is not None and "storage_format" not in options:
        options |= {"storage_format": {role: form for role, form in machine.formats.items() if form} or None}
    key = _key(training, options, columns)
    lessons = _done.pop(key, None)
    if lessons is None:
        lessons = _lessons(training, options, columns)
        while len(_done) >= KEPT:
            del _done[next(iter(_done))]
    _done[key] = lessons
    return figures_of(lessons, training.target, step_ps, step_pj)


_done: dict[str, tuple[Lesson, ...]] = {}


def _key(training: Training, options: Mapping[str, Any], columns: Mapping[str, Any] | None) -> str:
    """Return the hash of what decides a training."""
    digest = hashlib.sha256(json.dumps([training.decides, options]).encode())
    for name, values in sorted((columns or {}).items()):
        codes = getattr(values, "codes", values)
        digest.update(json.dumps([name, len(codes), getattr(values, "words", [])]).encode())
        digest.update(codes.tobytes())
    return digest.hexdigest()


def _lessons(
    training: Training, options: Mapping[str, Any], columns: Mapping[str, Any] | None
) -> tuple[Lesson, ...]:
    from accelsim.frontend.cache import version_of
    from accelsim.train.profile import RunProfile
    from accelsim.train.trainer import Case

    if training.torch != version_of("torch"):
        raise InputError(
            f"the controller has torch {training.torch}, this worker {version_of('torch')}: install the same"
        )
    try:
        setup, read = _read(
            training.workload, training.batch, training.accumulate, training.data, training.files
        )
    except InputError as exc:
        raise InputError(": ".join(map(str, exc.args))) from None
    if read != training.read:
        raise InputError(f"{training.workload}: the model or the data here are not the controller's")
    setup = _with(setup, training.epochs, options)
    profile = None if columns is None else RunProfile.of_columns(columns)
    case = Case("point", profile)
    return tuple(_lesson(setup, case, seed) for seed in range(training.seeds))


def _lesson(setup: Setup, case: Case, seed: int) -> Lesson:
    from accelsim.train.threads import one_thread
    from accelsim.train.trainer import Trainer

    with one_thread():
        rows: list[Row] = Trainer(setup, case, seed).run()
    accuracy = tuple(float(row["accuracy"]) for row in rows)
    steps = tuple(int(row["steps"]) for row in rows)
    return Lesson(accuracy, steps, rows[-1]["diverged_step"] is not None)
