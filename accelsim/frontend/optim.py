"""Optimizer rules as one fx node per parameter: ``torch.ops.accelsim.*``, equal to ``torch.optim``.

Each takes the parameter, its gradient and its state, and returns their successors; nothing is mutated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from accelsim.frontend.spec import OptimizerSpec


@torch.library.custom_op("accelsim::sgd", mutates_args=())
def sgd(p: Tensor, g: Tensor, lr: float, weight_decay: float) -> Tensor:
    """Return the parameter after one step of plain gradient descent."""
    return p - lr * (g + weight_decay * p)


@torch.library.custom_op("accelsim::momentum", mutates_args=())
def momentum(
    p: Tensor, g: Tensor, m: Tensor, lr: float, mu: float, weight_decay: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """Return parameter and momentum after one step of SGD with momentum (no dampening)."""
    g = g + weight_decay * p
    m = mu * m + g
    return p - lr * (g + mu * m if nesterov else m), m


@torch.library.custom_op("accelsim::adam", mutates_args=())
def adam(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return parameter and both moments after Adam's step number ``step`` (1 is the first)."""
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    t = float(step)
    rate = lr / (1 - beta1**t)
    return p - rate * m / (v.sqrt() / (1 - beta2**t) ** 0.5 + eps), m, v


@torch.library.custom_op("accelsim::adagrad", mutates_args=())
def adagrad(
    p: Tensor, g: Tensor, s: Tensor, lr: float, eps: float, weight_decay: float
) -> tuple[Tensor, Tensor]:
    """Return parameter and sum of squares after one step of Adagrad (no learning-rate decay)."""
    g = g + weight_decay * p
    s = s + g * g
    return p - lr * g / (s.sqrt() + eps), s


@sgd.register_fake
def _(p: Tensor, *_: object) -> Tensor:
    return torch.empty_like(p)


@momentum.register_fake
@adagrad.register_fake
def _(p: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(p), torch.empty_like(p)


@adam.register_fake
def _(p: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(p), torch.empty_like(p), torch.empty_like(p)


STATE: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "adam": ("m", "v"),
    "adagrad": ("sum",),
}
"""Names of an optimizer's state tensors per parameter, each of the parameter's shape."""


def apply(
    spec: OptimizerSpec, p: Tensor, g: Tensor, state: list[Tensor], step: Tensor | None
) -> list[Tensor]:
    """Return the successors of ``p`` and of its state tensors, in the order of ``STATE``."""
    o = spec
    if o.name == "sgd":
        return [sgd(p, g, o.lr, o.weight_decay)]
    if o.name == "momentum":
        return list(momentum(p, g, *state, o.lr, o.momentum, o.weight_decay, o.nesterov))
    if o.name == "adagrad":
        return list(adagrad(p, g, *state, o.lr, o.epsilon, o.weight_decay))
    return list(adam(p, g, *state, step, o.lr, *o.betas, o.epsilon, o.weight_decay))


def torch_optimizer(spec: OptimizerSpec, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """Return torch's own optimizer of the same rule: the reference for tests and for training."""
    o = spec
    if o.name == "sgd":
        return torch.optim.SGD(parameters, o.lr, weight_decay=o.weight_decay)
    if o.name == "momentum":
        return torch.optim.SGD(parameters, o.lr, o.momentum, weight_decay=o.weight_decay, nesterov=o.nesterov)
    if o.name == "adagrad":
        return torch.optim.Adagrad(parameters, o.lr, eps=o.epsilon, weight_decay=o.weight_decay)
    return torch.optim.Adam(parameters, o.lr, o.betas, o.epsilon, o.weight_decay)
