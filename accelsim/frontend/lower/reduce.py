"""Reductions, pools, and ops that move elements: sum, mean, average and maximum pools, cat, pad."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch.fx import Node

from accelsim.frontend.lower.context import Functions, Lowering, Read, Walk, Write
from accelsim.frontend.lower.elementwise import aligned
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.nodes import aten, axis_names
from accelsim.frontend.lower.views import View
from accelsim.geometry import DimMap

REDUCTIONS: dict[str, Functions] = {
    "aten.sum": (("add", 1),),
    "aten.mean": (("add", 1),),
    "aten.amax": (("max", 1),),
    "aten.amin": (("max", 1),),
    "aten.any": (("max", 1),),
    "aten.all": (("max", 1),),
    "aten.var": (("add", 2), ("mul", 1)),
    "aten.linalg_vector_norm": (("add", 1), ("mul", 1)),
    "aten.std": (("add", 2), ("mul", 1)),
    "aten.logsumexp": (("max", 1), ("add", 2), ("exp", 1)),
    "aten.max": (("max", 1),),
    "aten.min": (("max", 1),),
    "aten.argmax": (("max", 1),),
    "aten.argmin": (("max", 1),),
    "aten.prod": (("mul", 1),),
}
WAITS = (
    1 << 15
)  # elements of a result that may wait for the end of the walk; of a larger one parts are summed
LOSSES: dict[str, Functions] = {
    "aten.mse_loss": (("add", 2), ("mul", 1)),
    "aten.smooth_l1_loss": (("add", 3), ("mul", 2), ("compare", 1)),
    "aten.huber_loss": (("add", 3), ("mul", 2), ("compare", 1)),
    "aten.binary_cross_entropy": (("add", 3), ("mul", 2), ("log", 2)),
    "aten.binary_cross_entropy_with_logits": (("add", 4), ("mul", 1), ("max", 1), ("exp", 1), ("log", 1)),
}


def reduction(low: Lowering, node: Node) -> View | tuple[View | None, ...]:
    """Reduce the dimensions named in the call (none: all) of the first argument; or several results."""
    source = node.args[0]
    assert isinstance(source, Node)
    shape = low.sizes(source)
    vals = node.meta["val"]
    several = isinstance(vals, tuple | list)
    out = tuple((vals[0] if several else vals).shape)
    axes = axis_names(len(shape))
    gone = _reduced(node, len(shape), out)
    kept: list[Follow] = [None if i in gone else axes[i] for i in range(len(shape))]
    if len(out) != len(shape):
        kept = [axes[i] for i in range(len(shape)) if i not in gone]
    name = low.op_name(node)
    others = [n for n in node.all_input_nodes if n is not source]
    reads: list[Read] = [(source, axes), *((n, aligned(low.sizes(n), shape, axes)) for n in others)]
    nodes = [source, *others]
    if several:
        writes = [low.output(node, name, kept, index=i, suffix=("", ".indices")[i]) for i in range(len(vals))]
    else:
        writes = [low.output(node, name, kept, reads=nodes)]
    order = list(range(len(shape)))
    if math.prod(out) > WAITS:
        order.sort(key=gone.__contains__)  # what is kept outside, what is summed inside
    sizes = {axes[i]: shape[i] for i in order} or {"d0": 1}
    low.vector(node, name, sizes, reads, writes, [Walk({**REDUCTIONS, **LOSSES}[aten(node)])])
    return tuple(w.view for w in writes) if several else writes[0].view


def _reduced(node: Node, rank: int, out: tuple[int, ...]) -> list[int]:
    if aten(node) in LOSSES:
        return list(range(rank)) if not out else []
    dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if dims is None or dims == []:
        return list(range(rank))
    return [d % rank for d in (dims if isinstance(dims, list | tuple) else [dims])]


def _pair(value: Any, default: tuple[int, int]) -> tuple[int, int]:
    return (value[0], value[-1]) if value else default


def _pool_maps(node: Node, first: int, kind: Literal["window", "inverse"]) -> tuple[DimMap, DimMap, int]:
    """Return the maps of rows and columns, and the kernel's size, of arguments from ``first`` on."""
    arguments = list(node.args[first:]) + [None] * 4
    kernel = _pair(arguments[0], (1, 1))
    stride = _pair(arguments[1], kernel)
    pad = _pair(arguments[2], (0, 0))
    dilated = aten(node).startswith("aten.max_pool2d")
    dilation = _pair(arguments[3], (1, 1)) if dilated else (1, 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    y = DimMap("y", kind, stride[0], pad[0], reach[0])
    return y, DimMap("x", kind, stride[1], pad[1], reach[1]), math.prod(kernel)


def pool(low: Lowering, node: Node) -> View | tuple[View | None, ...]:
    """Average and maximum pool: axes of the output, windows over the input."""
    source = node.args[0]
    assert isinstance(source, Node)
    y, x, taps = _pool_maps(node, 1, "window")
    average = aten(node) == "aten.avg_pool2d"
    functions: Functions = (("add", taps), ("mul", 1)) if average else (("max", taps),)
    vals = node.meta["val"]
    shape = tuple((vals if average else vals[0]).shape)
    name = low.op_name(node)
    axes = ["b", "c", "y", "x"]
    if average:
        writes = [low.output(node, name, axes, reads=(source,))]
    else:
        writes = [low.output(node, name, axes, index=i, suffix=("", ".indices")[i]) for i in (0, 1)]
    _image(low, node, name, shape, [(source, ("b", "c", y, x))], writes, functions)
    return writes[0].view if average else tuple(w.view for w in writes)


def pool_backward(low: Lowering, node: Node) -> View:
    """Axes of the input's gradient; rows and columns of the output that touch them."""
    error = node.args[0]
    assert isinstance(error, Node)
    y, x, taps = _pool_maps(node, 2, "inverse")
    average = aten(node) == "aten.avg_pool2d_backward"
    overlap = -(-taps // (y.stride * x.stride))
    reads = [(error, ("b", "c", y, x))]
    if not average:
        indices = node.args[-1]
        assert isinstance(indices, Node)
        reads.append((indices, ("b", "c", y, x)))
    functions: Functions = (("add", overlap), ("mul", 1)) if average else (("compare", overlap), ("mask", 1))
    name = low.op_name(node)
    write = low.output(node, name, ("b", "c", "y", "x"))
    _image(low, node, name, tuple(node.meta["val"].shape), reads, [write], functions)
    return write.view


def _image(
    low: Lowering,
    node: Node,
    name: str,
    shape: tuple[int, ...],
    reads: Sequence[tuple[Node, Sequence[Follow]]],
    writes: list[Write],
    functions: Functions,
) -> None:
    sizes = dict(zip(("b", "c", "y", "x"), shape, strict=True))
    low.vector(node, name, sizes, reads, writes, [Walk(functions)], separable=3)


def cat(low: Lowering, node: Node) -> View:
    """Join tensors: each is read where its part of the result is made."""
    parts, *rest = node.args
    assert isinstance(parts, list | tuple)
    nodes = [n for n in parts if isinstance(n, Node) and n.meta["val"].numel()]
    shape = low.shape(node)
    dim = int(str(rest[0])) % len(shape) if rest else 0
    axes = axis_names(len(shape))
    reads: list[tuple[Node, Sequence[Follow]]] = []
    offset = 0
    for n in dict.fromkeys(nodes):
        follows: list[Follow] = list(axes)
        follows[dim] = DimMap(axes[dim], "window", 1, offset, 1)
        reads.append((n, follows))
        offset += low.sizes(n)[dim]
    name = low.op_name(node)
    write = low.output(node, name, axes, reads=nodes)
    sizes = dict(zip(axes, shape, strict=True))
    low.vector(node, name, sizes, reads, [write], [Walk((("move", 1),))])
    return write.view


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys((*REDUCTIONS, *LOSSES), reduction),
    "aten.avg_pool2d": pool,
    "aten.max_pool2d_with_indices": pool,
    "aten.avg_pool2d_backward": pool_backward,
    "aten.max_pool2d_with_indices_backward": pool_backward,
    "aten.cat": cat,
}
