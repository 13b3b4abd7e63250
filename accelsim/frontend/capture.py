"""A whole training step as one fx graph: forward, loss, backward, update, under fake tensors.

Nothing is computed and nothing of the model's size is held. Everything is an argument of the step, so
nothing is baked into the graph: it runs on real tensors too (``real_arguments``), as the tests do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from accelsim.errors import AccelsimError, GraphError
from accelsim.frontend import optim
from accelsim.frontend.build import DTYPES, build, fake, first_line
from accelsim.frontend.labels import Labeler
from accelsim.frontend.spec import Workload

Kind = Literal["parameter", "buffer", "state", "input", "loss"]


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument or a result of the step. ``name`` is ``fc.weight``, ``fc.weight.momentum``, ``x``, ...

    The updated parameter has the parameter's slot, and so on.
    """

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """A captured step: ``module(*arguments)`` returns one tensor per slot of ``outputs``.

    ``arguments`` are fake tensors, one per slot of ``inputs`` and per placeholder of the graph.
    """

    module: GraphModule
    arguments: tuple[Tensor, ...]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]


def capture(workload: Workload, phase: str = "all") -> Step:
    """Trace one step of ``workload``; ``phase`` "forward" stops after the loss.

    Raises:
        ConfigError: The model cannot be found or built, or fails on inputs of the declared shape.
        GraphError: It cannot be traced: values decide what is computed.
    """
    with _quiet():
        return _capture(workload, phase)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging tracebacks of failures that we report in one message."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _capture(workload: Workload, phase: str) -> Step:
    model = build(workload, "meta")
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake(model, mode)
    with mode:
        arguments, slots = _arguments(workload, model, phase)
    labeler = Labeler(model)
    outputs: list[Slot] = []
    step = _step(workload, model, slots, labeler, phase, outputs)
    try:
        # attention as the products and the softmax that it is, not as a kernel of one CPU
        with fx_traceback.preserve_node_meta(), sdpa_kernel([SDPBackend.MATH]):
            module = make_fx(step, tracing_mode="fake")(*arguments)
    except AccelsimError:
        raise
    except Exception as exc:
        _refuse(workload, labeler.failed_in, exc)
    return Step(module, tuple(arguments), tuple(slots), tuple(outputs))


def real_arguments(workload: Workload, phase: str = "all", seed: int = 0) -> tuple[Tensor, ...]:
    """Return arguments for a step of ``workload`` with values: initial weights, a random batch."""
    torch.manual_seed(seed)
    return tuple(_arguments(workload, build(workload, "cpu"), phase)[0])


def _arguments(workload: Workload, model: torch.nn.Module, phase: str) -> tuple[list[Tensor], list[Slot]]:
    found: list[tuple[Slot, Tensor]] = []
    parameters = dict(model.named_parameters())
    found += [(Slot("parameter", k), v.detach()) for k, v in parameters.items()]
    found += [(Slot("buffer", k), v) for k, v in model.named_buffers()]
    if phase != "forward":
        rule = workload.spec.optimizer.name
        for name, value in parameters.items():
            if value.requires_grad:
                for state in optim.STATE[rule]:
                    found.append((Slot("state", f"{name}.{state}"), torch.zeros_like(value)))
        if rule == "adam":
            found.append((Slot("state", "step"), torch.zeros(())))
    batch = _batch(workload)
    found += [(Slot("input", k), v) for k, v in batch.items()]
    if workload.spec.loss != "output":
        found.append((Slot("input", "target"), _target(workload, model, batch)))
    return [value for _, value in found], [slot for slot, _ in found]


def _batch(workload: Workload) -> dict[str, Tensor]:
    """Return random inputs by name, in the order of the file."""
    spec = workload.spec
    made: dict[str, Tensor] = {}
    for name, one in spec.inputs.items():
        dtype = DTYPES[one.dtype or spec.dtype]
        shape = (spec.batch, *one.shape)
        made[name] = (
            torch.randn(shape, dtype=dtype)
            if dtype.is_floating_point
            else torch.randint(one.below, shape).to(dtype)
        )
    return made


def _target(workload: Workload, model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return a random target for the model's output, whose shape one run without gradients tells."""
    labeler = Labeler(model)
    shapes: list[Tensor] = []

    def probe(*values: Tensor) -> Tensor:
        with labeler.hooks():
            shapes.append(_call(model, dict(zip(batch, values, strict=True))))
        return shapes[0]

    try:
        with torch.no_grad():
            make_fx(probe, tracing_mode="fake", _allow_non_fake_inputs=True)(*batch.values())
    except Exception as exc:
        _refuse(workload, labeler.failed_in, exc)
    out = shapes[0]
    if not isinstance(out, Tensor):
        kind = type(out).__name__
        raise workload.fault("model", f'forward must return one tensor, got {kind}; or set loss = "output"')
    if workload.spec.loss == "mse":
        return torch.randn(out.shape, dtype=out.dtype)
    if out.dim() < 2:
        raise workload.fault(
            "loss", f"cross_entropy needs an output (batch, classes), got {tuple(out.shape)}"
        )
    return torch.randint(out.shape[1], (out.shape[0], *out.shape[2:]))


def _call(model: Callable[..., Any], batch: dict[str, Tensor]) -> Any:
    return model(*batch.values()) if len(batch) == 1 else model(**batch)


def _step(
    workload: Workload,
    model: torch.nn.Module,
    slots: list[Slot],
    labeler: Labeler,
    phase: str,
    outputs: list[Slot],
) -> Callable[..., list[Tensor]]:
    """Return the step as a function of flat tensors; running it fills ``outputs``."""

    def step(*values: Tensor) -> list[Tensor]:
        table = dict(zip(slots, values, strict=True))
        of: dict[str, dict[str, Tensor]] = {k: {} for k in ("parameter", "buffer", "state", "input")}
        for slot, value in table.items():
            of[slot.kind][slot.name] = value
        trained = {k for k, v in model.named_parameters() if v.requires_grad}
        p = {k: v.detach().requires_grad_(k in trained) for k, v in of["parameter"].items()}
        b = {k: v.clone() for k, v in of["buffer"].items()}  # batch norm writes into them
        with labeler.hooks():
            loss = _loss(workload, model, {**p, **b}, of["input"], labeler)
            result = [(Slot("loss", "loss"), loss.detach())]
            result += [(Slot("buffer", k), v) for k, v in b.items()]
            if phase != "forward":
                result += _learn(workload, of["parameter"], p, of["state"], loss, labeler)
        labeler.flush()
        outputs[:] = [slot for slot, _ in result]
        return [value for _, value in result]

    return step


def _loss(
    workload: Workload,
    model: torch.nn.Module,
    tensors: dict[str, Tensor],
    inputs: dict[str, Tensor],
    labeler: Labeler,
) -> Tensor:
    batch = {k: v for k, v in inputs.items() if k in workload.spec.inputs}

    def run(*args: Tensor, **kwargs: Tensor) -> Any:
        return functional_call(model, tensors, args, kwargs, tie_weights=True)

    out = _call(run, batch)
    labeler.outside("loss")
    kind = workload.spec.loss
    if kind == "output":
        loss = out if isinstance(out, Tensor) else out.loss
        return loss if loss.dim() == 0 else loss.mean()
    return (
        functional.cross_entropy(out, inputs["target"])
        if kind == "cross_entropy"
        else functional.mse_loss(out, inputs["target"])
    )


def _learn(
    workload: Workload,
    old: dict[str, Tensor],
    p: dict[str, Tensor],
    state: dict[str, Tensor],
    loss: Tensor,
    labeler: Labeler,
) -> list[tuple[Slot, Tensor]]:
    """Return the updated parameters and states."""
    labeler.backward(loss)
    trained = [k for k, v in p.items() if v.requires_grad]
    grads = torch.autograd.grad(loss, [p[k] for k in trained], allow_unused=True)
    result: list[tuple[Slot, Tensor]] = []
    rule, count = workload.spec.optimizer, None
    with torch.no_grad():
        if "step" in state:
            labeler.update("")
            count = state["step"] + 1
            result.append((Slot("state", "step"), count))
        for name, grad in zip(trained, grads, strict=True):
            labeler.update(name)
            g = torch.zeros_like(old[name]) if grad is None else grad
            names = [f"{name}.{s}" for s in optim.STATE[rule.name]]
            new = optim.apply(rule, old[name], g, [state[n] for n in names], count)
            slots = [Slot("parameter", name), *(Slot("state", n) for n in names)]
            result += list(zip(slots, new, strict=True))
    return result


def _refuse(workload: Workload, layer: str | None, exc: Exception) -> NoReturn:
    """Raise the clear error behind ``exc``, which tracing the model raised in ``layer``."""
    where = f" in layer {layer}" if layer else ""
    if isinstance(exc, AccelsimError):
        raise exc
    if isinstance(exc, DataDependentOutputException | DynamicOutputShapeException):
        raise GraphError(
            f"{workload.origins.label}: {workload.spec.model} cannot be traced: values of a tensor decide "
            f"what is computed{where} ({first_line(exc)}); replace such branches, .item() and nonzero() "
            "by operations on whole tensors (torch.where, masks)"
        ) from exc
    shapes = ", ".join(f"{k} {(workload.spec.batch, *v.shape)}" for k, v in workload.spec.inputs.items())
    names = list(workload.spec.inputs)
    raise workload.fault(
        f"inputs.{names[0]}.shape" if len(names) == 1 else "inputs",
        f"the model fails{where} on inputs {shapes}: {type(exc).__name__}: {first_line(exc)}; "
        "correct the shape (without the batch) or the model",
    ) from exc
