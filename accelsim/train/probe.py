"""What the errors of one role do to a training: a few steps on a copy of it, and the loss that they leave."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from accelsim.train.apart import outside
from accelsim.train.data.sets import Split
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Law, Profile, Read
from accelsim.train.task import loss_of, new_model
from accelsim.train.trainer import EVALUATED_AT_ONCE, Setup, train_step

STEPS: Final = 4
WORST: Final = 100.0  # a loss that is larger, or not finite, counts as this

Batch = tuple[torch.Tensor, torch.Tensor]


class OnlyRole:
    """The laws of one role alone: nothing else errs."""

    def __init__(self, profile: Profile, role: str) -> None:
        self._profile, self._role = profile, role

    def laws(self, read: Read) -> Sequence[Law]:
        """Return the laws of a read of the role."""
        return self._profile.laws(read) if read.role == self._role else ()

    def check(self, layers: Sequence[str]) -> None:
        """Refuse what the whole profile refuses."""
        self._profile.check(layers)

    @property
    def description(self) -> str:
        """The profile's, with the role."""
        return f"{self._profile.description}, {self._role} alone"


@dataclass(frozen=True, slots=True)
class Probe:
    """A training as it stands, from which copies go on for a few steps.

    Attributes:
        state: Of model and optimizer, and of the injector of the training itself.
        batches: Those that come next.
    """

    setup: Setup
    seed: int
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    injector: Mapping[str, Any]
    batches: Sequence[Batch]
    validation: Split

    def harms(self, profile: Profile, roles: Sequence[str]) -> dict[str, float]:
        """Return, by role, by how much its errors alone raise the loss on the validation data; 0 at least."""
        clean = self._loss(None)
        return {role: max(0.0, self._loss(OnlyRole(profile, role)) - clean) for role in roles}

    def harm(self, profile: Profile) -> float:
        """Return by how much all errors together raise it."""
        return max(0.0, self._loss(profile) - self._loss(None))

    def _loss(self, profile: Profile | None) -> float:
        """Return the mean loss on the validation data after the steps, without errors as it is measured."""
        with outside():
            model, optimizer = new_model(self.setup.workload, self.seed)
            model.load_state_dict(self.model)
            optimizer.load_state_dict(copy.deepcopy(dict(self.optimizer)))
            model.train()
            options = {k: v for k, v in self.setup.options.items() if k != "measure"}
            parts = self.setup.workload.spec.accumulate
            with contextlib.ExitStack() as inside:
                if profile is not None:
                    injector = ErrorInjector(model, optimizer, profile, seed=self.seed, **options)
                    inside.enter_context(injector)
                    injector.load_state_dict({**copy.deepcopy(dict(self.injector)), "activity": None})
                for x, y in self.batches:
                    train_step(model, optimizer, self.setup.task, x, y, parts)
            return self._validated(model)

    def _validated(self, model: torch.nn.Module) -> float:
        model.eval()
        total, split = 0.0, self.validation
        with torch.no_grad():
            for start in range(0, len(split), EVALUATED_AT_ONCE):
                part = slice(start, start + EVALUATED_AT_ONCE)
                x, y = split.x[part], split.y[part]
                total += len(x) * float(loss_of(self.setup.task, model(x), y))
        mean = total / len(split)
        return min(mean, WORST) if math.isfinite(mean) else WORST
