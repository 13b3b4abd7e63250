"""The shipped networks: captured once, counted by torch, and by closed formulas of their layers."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from accelsim.config.locate import shipped
from accelsim.frontend import load_workload
from accelsim.frontend.capture import Step, capture
from accelsim.frontend.lower.walk import lower
from accelsim.frontend.spec import load
from accelsim.graph.ir import Graph

NETWORKS = ("resnet18", "resnet50", "vgg16", "mobilenetv2", "bert-base", "gpt2-small")


@contextmanager
def _described(name: str, change: str) -> Iterator[Path]:
    """Give the file of a shipped workload, or one that extends it by ``change``."""
    with tempfile.TemporaryDirectory() as folder:
        path = shipped("workloads") / f"{name}.toml"
        if change:
            path = Path(folder) / f"{name}.toml"
            path.write_text(f'extends = "{name}"\n{change}')
        yield path


@functools.cache
def network(name: str, batch: int | None = None, change: str = "") -> Graph:
    """Return the graph of a shipped workload, ``change`` being TOML over it; cached on disk."""
    with _described(name, change) as path:
        return load_workload(str(path), batch=batch).graph


@functools.cache
def captured(name: str, batch: int | None = None, change: str = "") -> tuple[Step, Graph]:
    """Return the same with the captured step, which no cache has."""
    with _described(name, change) as path:
        workload = load(path, batch=batch)
        step = capture(workload)
        return step, lower(step, name, workload.spec.batch)


# --- torch's own count


def _fused(*shapes: torch.Size, out_val: Any) -> int:
    del out_val
    return int(sdpa_flop_count(*shapes[:3]))


def _fused_backward(*shapes: torch.Size, out_val: Any) -> int:
    del out_val
    return int(sdpa_backward_flop_count(*shapes[:4]))


ATTENTION: dict[Any, Callable[..., int]] = {  # torch registers those of the GPUs alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward,
}


def torch_macs(step: Step) -> dict[str, int]:
    """Return torch's count of multiply-accumulates by phase, grouped convolutions corrected.

    For a grouped weight gradient its formula takes every channel of the error with every one of the
    input: as many times too many as there are groups.
    """
    found = {"forward": 0, "recompute": 0, "backward": 0, "update": 0}
    for node in step.module.graph.nodes:
        packet = getattr(node.target, "overloadpacket", None)
        formula = flop_registry.get(packet)
        if node.op != "call_function" or not (formula or packet in ATTENTION):
            continue
        args = tree_map(lambda a: a.meta["val"] if isinstance(a, torch.fx.Node) else a, node.args)
        if formula is None:
            args = [a.shape for a in args if isinstance(a, torch.Tensor)]
        counted = (formula or ATTENTION[packet])(*args, out_val=node.meta["val"])
        found[node.meta["phase"]] += counted // 2 - _too_many(packet, args)
    return found


def _too_many(packet: Any, args: Any) -> int:
    if packet is not torch.ops.aten.convolution_backward or args[9] == 1:
        return 0
    error, _, weight = args[:3]
    once = math.prod(error.shape) * math.prod(weight.shape[1:])
    return int(once * (args[9] - 1))


# --- closed formulas


@dataclass(frozen=True)
class Conv:
    """A convolution: square kernel, image of ``size`` x ``size`` out; what follows it."""

    inputs: int
    outputs: int
    kernel: int
    size: int
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image."""
        return self.points * self.inputs // self.groups * self.kernel**2

    @property
    def points(self) -> int:
        """Elements of the result per image."""
        return self.size**2 * self.outputs


def resnet_convs(depth: int) -> list[Conv]:
    """Return all convolutions, shortcuts included, in the order of He et al., table 1."""
    found = [Conv(3, 64, 7, 112)]
    inputs = 64
    for stage, blocks in enumerate((2, 2, 2, 2) if depth == 18 else (3, 4, 6, 3)):
        width, size = 64 << stage, 56 >> stage
        for block in range(blocks):
            before = size * 2 if block == 0 and stage else size
            outputs = width if depth == 18 else 4 * width
            if depth == 18:
                found += [Conv(inputs, width, 3, size), Conv(width, width, 3, size)]
            else:
                found += [Conv(inputs, width, 1, before), Conv(width, width, 3, size)]
                found.append(Conv(width, outputs, 1, size))
            if block == 0 and (stage or depth == 50):
                found.append(Conv(inputs, outputs, 1, size))
            inputs = outputs
    return found


def vgg_convs() -> list[Conv]:
    """Return the thirteen convolutions of configuration D."""
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    sizes = (224, 224, 112, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14)
    return [Conv(i, o, 3, size) for (i, o), size in zip(pairwise(channels), sizes, strict=True)]


def mobilenet_convs() -> list[Conv]:
    """Return stem, inverted residuals and last convolution of Sandler et al., table 2."""
    found = [Conv(3, 32, 3, 112)]
    inputs, size = 32, 112
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(n):
            hidden, before = t * inputs, size
            size //= s if i == 0 else 1
            found += [Conv(inputs, hidden, 1, before)] if t > 1 else []
            found += [Conv(hidden, hidden, 3, size, hidden), Conv(hidden, c, 1, size)]
            inputs = c
    return [*found, Conv(320, 1280, 1, 7)]


CONVS = {
    "resnet18": resnet_convs(18),
    "resnet50": resnet_convs(50),
    "vgg16": vgg_convs(),
    "mobilenetv2": mobilenet_convs(),
}
LINEARS = {
    "resnet18": [512 * 1000],
    "resnet50": [2048 * 1000],
    "vgg16": [25088 * 4096, 4096 * 4096, 4096 * 1000],
    "mobilenetv2": [1280 * 1000],
}


def transformer_macs(tokens: int, *, fused: bool = False) -> tuple[int, int]:
    """Return MACs forward and backward per sequence of twelve layers of width 768, without heads.

    Attention takes two products of tokens x tokens x 768 forward, four backward, five if fused.
    """
    linear = tokens * 12 * 768**2
    product = tokens**2 * 768
    return 12 * (linear + 2 * product), 12 * (2 * linear + (5 if fused else 4) * product)


def formula_macs(name: str) -> tuple[int, int]:
    """Return MACs forward and backward per sample: backward twice forward, but no gradient of an image."""
    if name in CONVS:
        layers = [c.macs for c in CONVS[name]] + LINEARS[name]
        return sum(layers), 2 * sum(layers) - layers[0]
    tokens = {"bert-base": 128, "gpt2-small": 512}[name]
    head = 768 * 768 + 768 * 2 if name == "bert-base" else tokens * 768 * 50257
    forward, backward = transformer_macs(tokens)
    return forward + head, backward + 2 * head
