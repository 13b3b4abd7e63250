"""A whole training step as one fx graph: forward, loss, backward, update, under fake tensors.

Nothing is computed and nothing of the model's size is held. Everything is an argument of the step, so
nothing is baked into the graph: it runs on real tensors too (``real_arguments``), as the tests do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.fx import GraphModule
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from accelsim.errors import AccelsimError, GraphError
from accelsim.frontend import checkpoint, optim
from accelsim.frontend.build import DTYPES, build, fake, first_line
from accelsim.frontend.labels import Labeler
from accelsim.frontend.slots import Slot, micro_batch
from accelsim.frontend.spec import Workload
from accelsim.frontend.step import TrainingStep, call


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
    step = TrainingStep(workload, model, slots, labeler, phase)
    try:
        # attention as the products and the softmax that it is, not as a kernel of one CPU
        attention = sdpa_kernel([SDPBackend.MATH])
        with fx_traceback.preserve_node_meta(), attention, checkpoint.followed(labeler):
            module = make_fx(step, tracing_mode="fake")(*arguments)
    except AccelsimError:
        raise
    except Exception as exc:
        _refuse(workload, labeler.failed_in, exc)
    checkpoint.refuse_selective(workload, module.graph)
    return Step(module, tuple(arguments), tuple(slots), tuple(step.outputs))


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
    output: Tensor | None = None
    for number in range(workload.spec.accumulate):
        batch = _batch(workload)
        if workload.spec.loss != "output":
            output = _output(workload, model, batch) if output is None else output
            batch["target"] = _target(workload, output)
        found += [(Slot("input", micro_batch(k, number)), v) for k, v in batch.items()]
    return [value for _, value in found], [slot for slot, _ in found]


def _batch(workload: Workload) -> dict[str, Tensor]:
    """Return random inputs of one micro-batch by name, in the order of the file."""
    spec = workload.spec
    made: dict[str, Tensor] = {}
    for name, one in spec.inputs.items():
        dtype = DTYPES[one.dtype or spec.dtype]
        shape = (spec.micro_batch, *one.shape)
        made[name] = (
            torch.randn(shape, dtype=dtype)
            if dtype.is_floating_point
            else torch.randint(one.below, shape).to(dtype)
        )
    return made


def _output(workload: Workload, model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the model's output, whose shape one run without gradients tells."""
    labeler = Labeler(model)
    shapes: list[Tensor] = []

    def probe(*values: Tensor) -> Tensor:
        with labeler.hooks():
            shapes.append(call(model, dict(zip(batch, values, strict=True))))
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
    return out


def _target(workload: Workload, out: Tensor) -> Tensor:
    """Return a random target for the model's output ``out``."""
    if workload.spec.loss == "mse":
        return torch.randn(out.shape, dtype=out.dtype)
    if out.dim() < 2:
        raise workload.fault(
            "loss", f"cross_entropy needs an output (batch, classes), got {tuple(out.shape)}"
        )
    return torch.randint(out.shape[1], (out.shape[0], *out.shape[2:]))


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
    for sign, what in checkpoint.REFUSED.items():
        if sign in str(exc):
            raise workload.fault("model", what) from exc
    shapes = ", ".join(
        f"{k} {(workload.spec.micro_batch, *v.shape)}" for k, v in workload.spec.inputs.items()
    )
    names = list(workload.spec.inputs)
    raise workload.fault(
        f"inputs.{names[0]}.shape" if len(names) == 1 else "inputs",
        f"the model fails{where} on inputs {shapes}: {type(exc).__name__}: {first_line(exc)}; "
        "correct the shape (without the batch) or the model",
    ) from exc
