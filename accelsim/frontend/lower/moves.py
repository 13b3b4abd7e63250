"""Ops that move elements: backward of narrowed views, stack, repeat, pad, flip, roll, gather, scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from accelsim.frontend.lower.context import Functions, Lowering, Read, Walk
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.nodes import aten, axis_names
from accelsim.frontend.lower.views import View
from accelsim.geometry import DimMap

MOVE: Functions = (("move", 1),)


def move(low: Lowering, node: Node, reads: Sequence[tuple[Node, Sequence[Follow]]]) -> View:
    """Add a walk over the elements of the result, each of which comes from somewhere in ``reads``."""
    shape = low.shape(node)
    axes = axis_names(len(shape))
    name = low.op_name(node)
    pairs: list[Read] = list(dict(reads).items())
    write = low.output(node, name, axes, reads=[n for n, _ in reads])
    low.vector(node, name, dict(zip(axes, shape, strict=True)), pairs, [write], [Walk(MOVE)])
    return write.view


def _axes(low: Lowering, node: Node) -> list[Follow]:
    return list(axis_names(len(low.shape(node))))


def _arguments(node: Node, *defaults: Any) -> list[Any]:
    """Return the arguments after the tensor, completed by ``defaults``."""
    given: list[Any] = list(node.args[1:])
    return given + list(defaults)[len(given) :]


def _source(node: Node) -> Node:
    source = node.args[0]
    assert isinstance(source, Node)
    return source


def select_backward(low: Lowering, node: Node) -> View:
    """Zeros, and the error at one index of a dimension."""
    _, dim, _ = _arguments(node)
    follows = _axes(low, node)
    del follows[dim % len(follows)]
    return move(low, node, [(_source(node), follows)])


def slice_backward(low: Lowering, node: Node) -> View:
    """Zeros, and the error at ``start:end:step`` of a dimension."""
    sizes, dim, start, end, step = _arguments(node)
    follows = _axes(low, node)
    dim %= len(follows)
    start = slice(start, end, step).indices(sizes[dim])[0]
    axis = str(follows[dim])
    follows[dim] = DimMap(axis, "window", 1, start, 1) if step == 1 else DimMap(axis, "inverse", step, -start)
    return move(low, node, [(_source(node), follows)])


def stack(low: Lowering, node: Node) -> View:
    """Join tensors along a new dimension."""
    parts = node.args[0]
    assert isinstance(parts, list | tuple)
    (dim,) = _arguments(node, 0)
    follows = _axes(low, node)
    del follows[dim % len(follows)]
    return move(low, node, [(n, follows) for n in parts if isinstance(n, Node)])


def pad(low: Lowering, node: Node) -> View:
    """A border of constants; negative widths cut."""
    widths = _arguments(node)[0]
    follows = _axes(low, node)
    for i, before in enumerate(widths[::2]):
        axis = follows[-1 - i]
        follows[-1 - i] = DimMap(str(axis), "window", 1, before, 1)
    return move(low, node, [(_source(node), follows)])


def shuffle(low: Lowering, node: Node) -> View:
    """Elements in another order, or several times: dimensions in which something moves are read whole."""
    sizes, shape = low.sizes(_source(node)), low.shape(node)
    offset = len(shape) - len(sizes)
    moved = _moved(node, len(shape))
    follows: list[Follow] = [
        axis if size == shape[i] and i not in moved else None
        for i, (size, axis) in enumerate(zip(sizes, axis_names(len(shape))[offset:], strict=True), offset)
    ]
    return move(low, node, [(_source(node), follows)])


def _moved(node: Node, rank: int) -> set[int]:
    """Return the dimensions that flip and roll name; roll without any moves through all."""
    which = {"aten.flip": 0, "aten.roll": 1}.get(aten(node))
    if which is None:
        return set()
    dims = _arguments(node, None, [])[which]
    named = {d % rank for d in ([dims] if isinstance(dims, int) else dims)}
    return named or set(range(rank))


def indexed(low: Lowering, node: Node) -> View:
    """Gather and scatter along one dimension: every operand is read whole along it."""
    dim = _arguments(node)[0]
    shape = low.shape(node)
    follows = _axes(low, node)
    follows[dim % len(shape)] = None
    reads = []
    for n in dict.fromkeys(node.all_input_nodes):
        if low.exists(n):
            alike = [a if s == t else None for a, s, t in zip(follows, low.sizes(n), shape, strict=True)]
            reads.append((n, alike))
    return move(low, node, reads)


def pooled(low: Lowering, node: Node) -> View | tuple[View | None, ...]:
    """Adaptive pools and resampled images, forward and backward: rows and columns are read whole."""
    vals = node.meta["val"]
    several = isinstance(vals, tuple | list)
    shape = tuple((vals[0] if several else vals).shape)
    taps = max(1, math.prod(low.sizes(_source(node))) // max(1, math.prod(shape)))
    maximum = "max" in aten(node)
    functions: Functions = (("max", taps),) if maximum else (("add", taps), ("mul", _weights(node)))
    name = low.op_name(node)
    axes = axis_names(len(shape))
    writes = [
        low.output(node, name, axes, index=i if several else None, suffix=("", ".indices")[i])
        for i in range(len(vals) if several else 1)
    ]
    follows: list[Follow] = [*axes[:2], *[None] * (len(shape) - 2)]
    # backward of a maximum pool also takes the input, of which it reads the shape alone
    used = [n for n in node.all_input_nodes if not (maximum and n in node.args[1:2])]
    reads: list[Read] = [(n, follows) for n in used]
    sizes = dict(zip(axes, shape, strict=True))
    low.vector(node, name, sizes, reads, writes, [Walk(functions)], separable=2)
    return tuple(w.view for w in writes) if several else writes[0].view


def _weights(node: Node) -> int:
    """Return by how many weights a result is made."""
    return {"aten.upsample_bilinear2d": 4, "aten.upsample_bicubic2d": 16}.get(
        aten(node).removesuffix("_backward"), 1
    )


RESAMPLED = [
    f"aten.upsample_{kind}{back}"
    for kind in ("nearest1d", "nearest2d", "bilinear2d", "bicubic2d")
    for back in ("", "_backward")
]
HANDLERS: dict[str, Handler] = {
    "aten.select_backward": select_backward,
    "aten.slice_backward": slice_backward,
    "aten.stack": stack,
    "aten.constant_pad_nd": pad,
    **dict.fromkeys(("aten.flip", "aten.roll", "aten.repeat"), shuffle),
    **dict.fromkeys(("aten.pixel_shuffle", "aten.pixel_unshuffle"), shuffle),
    **dict.fromkeys(("aten.gather", "aten.scatter"), indexed),
    **dict.fromkeys(RESAMPLED, pooled),
    "aten._adaptive_avg_pool2d": pooled,
    "aten._adaptive_avg_pool2d_backward": pooled,
    "aten.adaptive_max_pool2d": pooled,
    "aten.adaptive_max_pool2d_backward": pooled,
}
