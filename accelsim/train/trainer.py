"""One training: a case and a seed, epoch by epoch, resumable at every checkpoint to the bit."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from accelsim.frontend.spec import Workload
from accelsim.train.activity import Activity
from accelsim.train.apart import outside
from accelsim.train.data.batches import Batches
from accelsim.train.data.sets import Data, Split
from accelsim.train.files import load_checkpoint, save_checkpoint
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Profile
from accelsim.train.task import Task, loss_of, new_model, right

Row = dict[str, Any]
EVALUATED_AT_ONCE = 500  # samples


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
        check_steps: Loss and accuracy on ``validation`` are taken after so many steps, and at the end of an
            epoch; 0: never.
    """

    workload: Workload
    task: Task
    data: Data
    epochs: int
    step_ps: int = 0
    step_pj: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_steps: int = 200
    check_steps: int = 0
    validation: Split | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How a training does: mean loss of the steps since the check before, accuracy on the validation data."""

    step: int
    loss: float
    accuracy: float


@dataclass(slots=True)
class _At:
    """Where a training stands."""

    epoch: int = 0
    number: int = 0  # batch of the epoch that comes next
    losses: float = 0.0  # sum over the epoch's steps so far
    step: int = 0
    diverged: int | None = None  # step of the first loss that is not finite
    checks: list[Check] = field(default_factory=list)
    unchecked: float = 0.0  # sum of the losses since the last one
    prices: list[tuple[int, int, float]] = field(default_factory=list)  # step from which on, ps, pJ a step
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
        self._at = _At(prices=[(0, setup.step_ps, setup.step_pj)])

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self._setup.epochs * len(self._batches)

    @property
    def checks(self) -> list[Check]:
        """Checks so far."""
        return self._at.checks

    @property
    def spent(self) -> tuple[int, float]:
        """Simulated time in ps and energy in pJ so far, each step at the price that it had."""
        return spent(self._at.prices, self._at.step)

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
            self._begin()
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
    def _held(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the place in the data: references, not copies."""

    @abstractmethod
    def _hold(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``_held`` returned."""

    def _epoch(self, on_step: Callable[[int, float], None]) -> None:
        """Train the rest of an epoch and add its row."""
        at, setup = self._at, self._setup
        self.model.train()
        while at.number < len(self._batches) and at.diverged is None:
            loss = self._step(*self._batches.of(at.epoch, at.number))
            at.number += 1
            at.step += 1
            at.losses += loss
            at.unchecked += loss
            at.diverged = None if math.isfinite(loss) else at.step
            on_step(at.step, loss)
            if at.diverged is not None:
                self._diverging()
            elif setup.check_steps and (at.step % setup.check_steps == 0 or at.number == len(self._batches)):
                self._check()
            if at.step % setup.checkpoint_steps == 0 and at.number < len(self._batches):
                self._checkpoint()
        at.rows.append(self._row())
        at.epoch, at.number, at.losses = at.epoch + 1, 0, 0.0
        self._epoch_ended()

    def _check(self) -> None:
        """Note how the training does, and act on it."""
        at, setup = self._at, self._setup
        assert setup.validation is not None
        before = at.checks[-1].step if at.checks else 0
        loss = at.unchecked / (at.step - before)
        with outside():
            found = accuracy(self.model, setup.validation)
        at.checks.append(Check(at.step, loss, found))
        at.unchecked = 0.0
        self._after(at.checks[-1])

    def _row(self) -> Row:
        at, setup = self._at, self._setup
        mean = at.losses / at.number
        time_ps, energy_pj = self.spent
        return {
            "case": self._case.name,
            "seed": self._seed,
            "epoch": at.epoch + 1,
            "steps": at.step,
            "loss": mean if math.isfinite(mean) else None,
            "accuracy": accuracy(self.model, setup.data.test),
            **self._counted(),
            "diverged_step": at.diverged,
            "time_ps": time_ps,
            "energy_pj": energy_pj,
        }

    def _checkpoint(self) -> None:
        if self._path is not None:
            save_checkpoint(self._path, {**self._state(), "more": self._more()})

    def _resume(self) -> None:
        state = load_checkpoint(self._path) if self._path is not None else None
        if state is not None:
            self._load(state)
            self._restore(state["more"])

    def _state(self) -> dict[str, Any]:
        """Return where the training stands: references, not copies."""
        return {**self._held(), "at": {name: getattr(self._at, name) for name in _At.__slots__}}

    def _load(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, which belongs to the training from here on."""
        self._hold(state)
        for name, value in state["at"].items():
            setattr(self._at, name, value)

    # -- what a closed loop adds: hooks that do nothing here

    def _begin(self) -> None:  # noqa: B027
        """Act on the start, or on a resume."""

    def _epoch_ended(self) -> None:  # noqa: B027
        """Act on an epoch's end, after its row."""

    def _diverging(self) -> None:  # noqa: B027
        """Act on a loss that is not finite; here the training ends."""

    def _after(self, check: Check) -> None:  # noqa: B027
        """Act on a check; here: not at all."""

    def _more(self) -> dict[str, Any]:
        """Return what else a checkpoint holds."""
        return {}

    def _restore(self, more: dict[str, Any]) -> None:  # noqa: B027
        """Go on from what else a checkpoint held."""


class Trainer(Training):
    """Trains a torch model, with the errors of a profile drawn into what it stores."""

    def __init__(self, setup: Setup, case: Case, seed: int, path: Path | None = None) -> None:
        super().__init__(setup, case, seed, path)
        self.model, self.optimizer = new_model(setup.workload, seed)
        self.injector: ErrorInjector | None = None
        if case.profile is not None:
            options = dict(setup.options)
            self.injector = ErrorInjector(self.model, self.optimizer, case.profile, seed=seed, **options)
        elif setup.options.get("measure") or setup.options.get("clip_gradients") is not None:
            self.injector = ErrorInjector(
                self.model,
                self.optimizer,
                {},
                clip_gradients=setup.options.get("clip_gradients"),  # it belongs to training, not to errors
                measure=setup.options.get("measure", 0),
                measured_as=setup.options.get("measured_as") or setup.options.get("storage_format"),
            )

    @property
    def activity(self) -> Activity | None:
        return self.injector.activity if self.injector is not None else None

    def _entered(self) -> AbstractContextManager[Any]:
        return self.injector or contextlib.nullcontext()

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        setup = self._setup
        return train_step(self.model, self.optimizer, setup.task, x, y, setup.workload.spec.accumulate)

    def _counted(self) -> Row:
        if self.injector is not None:
            return self.injector.counts.take()
        return {"flips": {}, "non_finite": 0, "first_non_finite_step": None}

    def _held(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "injector": self.injector.state_dict() if self.injector is not None else None,
        }

    def _hold(self, state: Mapping[str, Any]) -> None:
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
        for start in range(0, len(split), EVALUATED_AT_ONCE):
            part = slice(start, start + EVALUATED_AT_ONCE)
            hits += right(model(split.x[part]), split.y[part])
    model.train(was_training)
    return hits / split.y.numel()


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    x: torch.Tensor,
    y: torch.Tensor,
    parts: int,
) -> float:
    """Make one step with a batch in ``parts`` micro-batches; return its loss."""
    optimizer.zero_grad()
    total = 0.0
    for some_x, some_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
        loss = loss_of(task, model(some_x), some_y) / parts
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    optimizer.step()
    return total


def spent(prices: Sequence[tuple[int, int, float]], step: int) -> tuple[int, float]:
    """Return time in ps and energy in pJ of ``step`` steps.

    Args:
        prices: Step from which on it holds, ps and pJ of a step, in order.

    >>> spent([(0, 10, 1.0), (3, 20, 0.5)], 5)
    (70, 4.0)
    """
    ends = [since for since, _, _ in prices[1:]] + [step]
    lengths = [max(0, min(end, step) - since) for end, (since, _, _) in zip(ends, prices, strict=True)]
    time_ps = sum(n * ps for n, (_, ps, _) in zip(lengths, prices, strict=True))
    return time_ps, math.fsum(n * pj for n, (_, _, pj) in zip(lengths, prices, strict=True))
