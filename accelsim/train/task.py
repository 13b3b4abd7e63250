"""What a workload's model takes and gives, and how its loss is formed from a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from accelsim.errors import InputError
from accelsim.frontend.build import DTYPES, build
from accelsim.frontend.optim import torch_optimizer
from accelsim.frontend.spec import Workload

TARGET = 0.8  # one-hot targets of a squared error are -0.8 and 0.8, inside the range of tanh


@dataclass(frozen=True, slots=True)
class Task:
    """A classification: the shape of an input, and how many classes at how many places.

    Attributes:
        below: Inputs are integers below this; None: they are numbers.
        places: Answers per sample; a language model gives one per token.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    below: int | None
    classes: int
    places: int
    loss: str


def task_of(workload: Workload) -> Task:
    """Return what ``workload`` trains on; one run of the model tells the number of its outputs.

    Raises:
        InputError: It has several inputs, or a loss of its own: no classification that we can score.
    """
    spec = workload.spec
    if len(spec.inputs) != 1 or spec.loss == "output":
        raise InputError(
            f"{workload.name}: accelsim train scores models of one input with the loss cross_entropy or mse; "
            "use accelsim.ErrorInjector in a loop of your own for others"
        )
    (one,) = spec.inputs.values()
    dtype = DTYPES[one.dtype or spec.dtype]
    below = None if dtype.is_floating_point else one.below
    state = torch.get_rng_state()
    with torch.no_grad():
        x = torch.zeros((2, *one.shape), dtype=dtype)
        out = build(workload, "cpu").eval()(x)
    torch.set_rng_state(state)
    if out.dim() != 2 or out.shape[0] % 2:
        raise InputError(
            f"{workload.name}: expected outputs (batch, classes), got {list(out.shape)} for 2 samples"
        )
    return Task(one.shape, dtype, below, out.shape[1], out.shape[0] // 2, spec.loss)


def new_model(workload: Workload, seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Return model and optimizer with the initial weights of ``seed``."""
    torch.manual_seed(seed)
    model = build(workload, "cpu")
    return model, torch_optimizer(workload.spec.optimizer, list(model.parameters()))


def loss_of(task: Task, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of ``out`` (n, classes) against classes ``y``."""
    y = y.reshape(-1)
    if task.loss == "cross_entropy":
        return functional.cross_entropy(out, y)
    return functional.mse_loss(out, TARGET * (2 * functional.one_hot(y, task.classes).to(out.dtype) - 1))


def right(out: torch.Tensor, y: torch.Tensor) -> int:
    """Return how many rows of ``out`` have their largest value, and no NaN, at the class ``y``."""
    hits = (out.argmax(1) == y.reshape(-1)) & torch.isfinite(out).all(1)
    return int(hits.sum())
