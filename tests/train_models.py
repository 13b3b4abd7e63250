"""Models and loops that the tests of training with errors share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.frontend.build import build
from accelsim.frontend.optim import torch_optimizer
from accelsim.frontend.spec import Workload, load
from accelsim.frontend.step import call
from accelsim.train.laws import FieldLaw, Law, Read

ROOT = Path(__file__).parent.parent
TINY = """
model = "tiny.py:build"
batch = {batch}
loss = "cross_entropy"

[inputs.x]
shape = [1, 8, 8]

[optimizer]
name = "{optimizer}"
lr = {lr}
"""
TINY_MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


def write_tiny(folder: Path, batch: int = 32, optimizer: str = "momentum", lr: float = 0.1) -> Path:
    """Write a small perceptron for the digits, and return the file of its training."""
    (folder / "tiny.py").write_text(TINY_MODEL)
    path = folder / "tiny.toml"
    path.write_text(TINY.format(batch=batch, optimizer=optimizer, lr=lr))
    return path


class Scale(nn.Module):
    """``x * w`` with ``w`` of the shape of ``x``, ones at first.

    The output is what forward reads of ``x``; with gradients of 1, ``w.grad`` is what backward reads of it.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w


class Twice(nn.Module):
    """One stored activation, of ones, with two readers; ``seen`` is what each of them read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.source = nn.Hardtanh()
        self.left = Scale(shape)
        self.right = Scale(shape)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        kept = self.source(x)
        outputs = [self.left(kept), self.right(kept)]
        self.seen = [y.detach().clone() for y in outputs]
        return outputs[0] + outputs[1]


@dataclass
class Laws:
    """A profile made of a function."""

    of: Callable[[Read], tuple[Law, ...]]
    description: str = "by hand"

    def laws(self, read: Read) -> tuple[Law, ...]:
        return self.of(read)

    def check(self, layers: object) -> None:
        del layers


def law(stage: str, *, fresh: bool = False, **p: Any) -> tuple[Law, ...]:
    """Return one law of one field."""
    return (Law(stage, (FieldLaw(**p),), fresh),)


def bits(values: Tensor, written: Tensor) -> Tensor:
    """Return, of fp32 tensors, which bits differ: shape (elements, 32)."""
    differ = (values.reshape(-1).view(torch.int32) ^ written.reshape(-1).view(torch.int32)).unsqueeze(1)
    return ((differ >> torch.arange(32, dtype=torch.int32)) & 1).bool()


def small(name: str, **keys: Any) -> Workload:
    """Return the shipped workload ``name`` with other values of ``batch``, ``args``, input shapes."""
    workload = load(ROOT / "workloads" / f"{name}.toml", batch=keys.pop("batch", 4))
    shapes = keys.pop("shapes", {})
    inputs = {
        k: v.model_copy(update={"shape": shapes.get(k, v.shape)}) for k, v in workload.spec.inputs.items()
    }
    args = {**workload.spec.args, **keys}
    workload.spec = workload.spec.model_copy(update={"args": args, "inputs": inputs})
    return workload


def start(workload: Workload) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return model and optimizer, equal at every call."""
    torch.manual_seed(0)
    model = build(workload, "cpu")
    return model, torch_optimizer(workload.spec.optimizer, list(model.parameters()))


def train(
    workload: Workload,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    injector: Any = None,
) -> list[float]:
    """Train on random data, the same at every call; return the losses."""
    torch.manual_seed(1)
    losses = []
    with injector or contextlib.nullcontext():
        for _ in range(steps):
            batch = {name: _input(workload, one) for name, one in workload.spec.inputs.items()}
            optimizer.zero_grad()
            loss = _loss(workload, call(model, batch))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def _input(workload: Workload, spec: Any) -> Tensor:
    shape = (workload.spec.batch, *spec.shape)
    if spec.dtype is None:
        return torch.randn(shape)
    return torch.randint(int(workload.spec.args.get("vocabulary", spec.below)), shape)


def _loss(workload: Workload, out: Tensor) -> Tensor:
    if workload.spec.loss == "mse":
        return nn.functional.mse_loss(out, torch.randn(out.shape))
    return nn.functional.cross_entropy(out, torch.randint(out.shape[1], (out.shape[0],)))
