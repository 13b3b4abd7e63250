"""One training: a case and a seed, epoch by epoch, resumable at every checkpoint to the bit."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from accelsim.frontend.spec import Workload
from accelsim.train.activity import Activity
from accelsim.train.data.batches import Batches
from accelsim.train.data.sets import Data, Split
from accelsim.train.files import load_checkpoint, save_checkpoint
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Profile
from accelsim.train.task import Task, loss_of, new_model, right

Row = dict[str, Any]
_EVALUATED_AT_ONCE = 500  # samples


@dataclass(frozen=True, slots=True)
class Case:
    """One way to train: with the errors of ``profile``, or without any."""

    name: str
    profile: Profile | None


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trainings of an experiment share.

    Attributes:
        options: Further arguments of ``ErrorInjector``.
        step_ps: Simulated time of a step, the gap to the next one included.
        step_pj: Simulated energy of a step.
        checkpoint_steps: A checkpoint is written after so many steps, and at the end of an epoch.
    """

    workload: Workload
    task: Task
    data: Data
    epochs: int
    step_ps: int = 0
    step_pj: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_steps: int = 200


@dataclass(slots=True)
class _At:
    """Where a training stands."""

    epoch: int = 0
    number: int = 0  # batch of the epoch that comes next
    losses: float = 0.0  # sum over the epoch's steps so far
    step: int = 0
    diverged: int | None = None  # step of the first loss that is not finite
    rows: list[Row] = field(default_factory=list)


def silent(*_: object) -> None:
    """Tell nobody."""


class Training(ABC):
    """One training; ``run`` goes on from the checkpoint at ``path``, if there is one."""

    model: torch.nn.Module  # that accuracy is measured with

    def __init__(self, setup: Setup, case: Case, seed: int, path: Path | None = None) -> None:
        self._setup = setup
        self._case = case
        self._seed = seed
        self._path = path
        self._batches = Batches(setup.data, setup.workload.spec.batch, seed)
        self._at = _At()

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self._setup.epochs * len(self._batches)

    @property
    def activity(self) -> Activity | None:
        """What was measured of what is stored, if anything was."""
        return None

    def run(
        self,
        on_row: Callable[[Row], None] = silent,
        on_step: Callable[[int, float], None] = silent,
    ) -> list[Row]:
        """Train to the end, or until the loss is not finite; return a row per epoch.

        ``on_row`` is called when an epoch's row is made, before the checkpoint that holds it;
        ``on_step`` with the number of steps done and the loss.
        """
        with self._entered():
            self._resume()
            for row in self._at.rows:
                on_row(row)
            while self._at.epoch < self._setup.epochs and self._at.diverged is None:
                self._epoch(on_step)
                on_row(self._at.rows[-1])
                self._checkpoint()
        return self._at.rows

    @abstractmethod
    def _entered(self) -> AbstractContextManager[Any]:
        """Return what is entered while steps are taken."""

    @abstractmethod
    def _step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Take one step and return its loss."""

    @abstractmethod
    def _counted(self) -> Row:
        """Return what an epoch's row says of errors."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the place in the data."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``_state`` returned."""

    def _epoch(self, on_step: Callable[[int, float], None]) -> None:
        """Train the rest of an epoch and add its row."""
        at = self._at
        self.model.train()
        while at.number < len(self._batches) and at.diverged is None:
            loss = self._step(*self._batches.of(at.epoch, at.number))
            at.number += 1
            at.step += 1
            at.losses += loss
            at.diverged = None if math.isfinite(loss) else at.step
            on_step(at.step, loss)
            if at.step % self._setup.checkpoint_steps == 0 and at.number < len(self._batches):
                self._checkpoint()
        at.rows.append(self._row())
        at.epoch, at.number, at.losses = at.epoch + 1, 0, 0.0

    def _row(self) -> Row:
        at, setup = self._at, self._setup
        mean = at.losses / at.number
        return {
            "case": self._case.name,
            "seed": self._seed,
            "epoch": at.epoch + 1,
            "steps": at.step,
            "loss": mean if math.isfinite(mean) else None,
            "accuracy": accuracy(self.model, setup.data.test),
            **self._counted(),
            "diverged_step": at.diverged,
            "time_ps": at.step * setup.step_ps,
            "energy_pj": at.step * setup.step_pj,
        }

    def _checkpoint(self) -> None:
        if self._path is not None:
            at = {name: getattr(self._at, name) for name in _At.__slots__}
            save_checkpoint(self._path, {**self._state(), "at": at})

    def _resume(self) -> None:
        state = load_checkpoint(self._path) if self._path is not None else None
        if state is not None:
            self._restore(state)
            self._at = _At(**state["at"])


class Trainer(Training):
    """Trains a torch model, with the errors of a profile drawn into what it stores."""

    def __init__(self, setup: Setup, case: Case, seed: int, path: Path | None = None) -> None:
        super().__init__(setup, case, seed, path)
        self.model, self.optimizer = new_model(setup.workload, seed)
        self.injector: ErrorInjector | None = None
        if case.profile is not None:
            options = dict(setup.options)
            self.injector = ErrorInjector(self.model, self.optimizer, case.profile, seed=seed, **options)
        elif measure := setup.options.get("measure"):
            self.injector = ErrorInjector(self.model, self.optimizer, {}, measure=measure)

    @property
    def activity(self) -> Activity | None:
        return self.injector.activity if self.injector is not None else None

    def _entered(self) -> AbstractContextManager[Any]:
        return self.injector or contextlib.nullcontext()

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        parts = self._setup.workload.spec.accumulate
        self.optimizer.zero_grad()
        total = 0.0
        for some_x, some_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
            loss = loss_of(self._setup.task, self.model(some_x), some_y) / parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self.optimizer.step()
        return total

    def _counted(self) -> Row:
        if self.injector is not None:
            return self.injector.counts.take()
        return {"flips": {}, "non_finite": 0, "first_non_finite_step": None}

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "injector": self.injector.state_dict() if self.injector is not None else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"])
        if self.injector is not None:
            self.injector.load_state_dict(state["injector"])


def accuracy(model: torch.nn.Module, split: Split) -> float:
    """Return the share of right answers, in evaluation mode: no errors are drawn."""
    was_training = model.training
    model.eval()
    hits = 0
    with torch.no_grad():
        for start in range(0, len(split), _EVALUATED_AT_ONCE):
            part = slice(start, start + _EVALUATED_AT_ONCE)
            hits += right(model(split.x[part]), split.y[part])
    model.train(was_training)
    return hits / split.y.numel()
