"""Ops that pick elements by index: the class of a sample in a loss, the row of a token."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.fx import Node

from accelsim.frontend.lower.context import Lowering, Source, Walk
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.views import Irregular, View

STRETCH = 16  # features of a row that are moved together, so that bursts of DRAM are full


def nll_loss(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """Sum the log-probability of each sample's class (or keep them apart); rows count as read whole."""
    scores, target, _, reduced = node.args[:4]
    assert isinstance(scores, Node)
    assert isinstance(target, Node)
    names = _class_axes(low, scores)
    name = low.op_name(node)
    samples = [n for n in names if n != "c"]
    writes = [low.output(node, name, [] if reduced else samples, index=0)]
    writes.append(low.output(node, name, [], index=1, suffix=".weight"))
    sizes = dict(zip(names, low.sizes(scores), strict=True))
    reads = [(scores, names), (target, samples)]
    low.vector(node, name, sizes, reads, writes, [Walk((("add", 1), ("mask", 1)))])
    return tuple(w.view for w in writes)


def nll_loss_backward(low: Lowering, node: Node) -> View:
    """Write minus the error at each sample's class, zero elsewhere."""
    error, scores, target = node.args[:3]
    assert isinstance(scores, Node)
    total = node.args[-1]
    names = _class_axes(low, scores)
    name = low.op_name(node)
    write = low.output(node, name, names)
    sizes = dict(zip(names, low.sizes(scores), strict=True))
    reads: list[tuple[Source, Sequence[Follow]]] = []
    for n in (error, target, total):
        assert isinstance(n, Node)
        reads.append((n, [a for a in names if a != "c"] if low.sizes(n) else []))
    low.vector(node, name, sizes, reads, [write], [Walk((("mask", 1), ("mul", 1)))])
    return write.view


def _class_axes(low: Lowering, scores: Node) -> list[str]:
    """Return the axes of scores by class: ``c``; ``b, c``; or those of an image."""
    return ["b", "c", "y", "x"][: len(low.sizes(scores))] if len(low.sizes(scores)) > 1 else ["c"]


def embedding(low: Lowering, node: Node) -> View:
    """Copy a row of the table per token; as many rows count as read as there are tokens."""
    table, tokens = node.args[:2]
    assert isinstance(table, Node)
    assert isinstance(tokens, Node)
    flat = _flat(low, tokens)
    count, (rows, width) = math.prod(flat.sizes), low.sizes(table)
    name = low.op_name(node)
    write = low.output(node, name, [], reads=(table,))
    out = type(write)(write.tensor, write.view.reshape((count, width)), ("t", "e"))
    reads: list[tuple[Source, Sequence[Follow]]] = [
        (table, ["t" if _covers(count, rows) else None, "e"]),
        (flat, ["t"]),
    ]
    args = low.arguments(node, [table, tokens])
    low.vector(node, name, {"t": count, "e": width}, reads, [out], [Walk((("move", 1),))], args=args)
    return write.view


def _covers(tokens: int, rows: int) -> bool:
    """Return whether a tile of tokens can stand for as many rows of the table."""
    return tokens <= rows


def embedding_backward(low: Lowering, node: Node) -> View:
    """Scatter-add the error's rows into a dense gradient: some features of all tokens, then row by row."""
    error, tokens = node.args[:2]
    assert isinstance(error, Node)
    assert isinstance(tokens, Node)
    rows, width = tuple(node.meta["val"].shape)
    flat = _flat(low, tokens)
    grads = low.view(error).reshape((math.prod(flat.sizes), width))
    name = low.op_name(node)
    write = low.output(node, name, ["r", "e"])
    reads: list[tuple[Source, Sequence[Follow]]] = [(grads, [None, "e"]), (flat, [None])]
    args = low.arguments(node, [error, tokens])
    sizes = {"e": width, "r": rows}
    low.vector(node, name, sizes, reads, [write], [Walk((("add", 1),))], units={"e": STRETCH}, args=args)
    return write.view


def _flat(low: Lowering, tokens: Node) -> View:
    view = low.view(tokens)
    try:
        return view.reshape((math.prod(view.sizes),))
    except Irregular:
        return view


HANDLERS: dict[str, Handler] = {
    "aten.nll_loss_forward": nll_loss,
    "aten.nll_loss_backward": nll_loss_backward,
    "aten.nll_loss2d_forward": nll_loss,
    "aten.nll_loss2d_backward": nll_loss_backward,
    "aten.embedding": embedding,
    "aten.embedding_dense_backward": embedding_backward,
}
