"""Ops that pick elements by index: the class of a sample in a loss, the row of a token."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.fx import Node

from accelsim.frontend.lower.context import Lowering, Source, Walk
from accelsim.frontend.lower.elementwise import aligned
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.nodes import axis_names
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
        (flat, _along(flat, "t")),
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
    reads: list[tuple[Source, Sequence[Follow]]] = [(grads, [None, "e"]), (flat, _along(flat, None))]
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


def _along(tokens: View, axis: Follow) -> Sequence[Follow]:
    """Return what ``tokens`` follow in a walk along all of them: if repeated, they are read whole."""
    return [axis] if len(tokens.sizes) == 1 else [None] * len(tokens.sizes)


def index(low: Lowering, node: Node) -> View:
    """Pick by one tensor of indices or several, which broadcast; dimensions picked from are read whole."""
    source, picks = _picks(node)
    rank, shape = len(low.sizes(source)), low.shape(node)
    axes = axis_names(len(shape))
    picked = _picked(list(picks), len(shape), rank)
    kept = iter([axis for axis in axes if axis not in axes[picked]])
    reads: list[tuple[Source, Sequence[Follow]]] = [
        (source, [None if dim in picks else next(kept) for dim in range(rank)])
    ]
    for n in dict.fromkeys(picks.values()):
        reads.append((n, aligned(low.sizes(n), shape[picked], axes[picked])))
    name = low.op_name(node)
    write = low.output(node, name, axes, reads=(source,))
    low.vector(node, name, dict(zip(axes, shape, strict=True)), reads, [write], [Walk((("move", 1),))])
    return write.view


def index_put(low: Lowering, node: Node) -> View:
    """Put, or add, what ``index`` would pick; along dimensions picked from it is read whole."""
    source, picks = _picks(node)
    values = node.args[2]
    assert isinstance(values, Node)
    axes = axis_names(len(low.sizes(source)))
    follows: list[Follow] = [axis for dim, axis in enumerate(axes) if dim not in picks]
    rank = len(low.sizes(values))
    picked = _picked(list(picks), rank, len(axes))
    follows[picked.start : picked.start] = [None] * (picked.stop - picked.start)
    alike = len(follows) == rank and not any(
        a and n == 1 for a, n in zip(follows, low.sizes(values), strict=True)
    )
    reads: list[tuple[Source, Sequence[Follow]]] = [(source, axes)] if low.exists(source) else []
    reads.append((values, follows if alike else [None] * rank))
    reads += [(n, [None] * len(low.sizes(n))) for n in dict.fromkeys(picks.values())]
    name = low.op_name(node)
    write = low.output(node, name, axes)
    adds = len(node.args) > 3 and node.args[3]
    walk = Walk((("add" if adds else "move", 1),))
    low.vector(node, name, dict(zip(axes, low.sizes(source), strict=True)), reads, [write], [walk])
    return write.view


def _picks(node: Node) -> tuple[Node, dict[int, Node]]:
    """Return what is picked from, and the indices by dimension."""
    source, indices = node.args[:2]
    assert isinstance(source, Node)
    assert isinstance(indices, list | tuple)
    return source, {dim: n for dim, n in enumerate(indices) if isinstance(n, Node)}


def _picked(dims: Sequence[int], rank: int, source_rank: int) -> slice:
    """Return where in a result of ``rank`` the dimensions of the indices of ``dims`` stand.

    In the place of ``dims``, if these are neighbours; else in front, as in numpy.
    """
    first = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    return slice(first, first + rank - (source_rank - len(dims)))


HANDLERS: dict[str, Handler] = {
    "aten.nll_loss_forward": nll_loss,
    "aten.nll_loss_backward": nll_loss_backward,
    "aten.nll_loss2d_forward": nll_loss,
    "aten.nll_loss2d_backward": nll_loss_backward,
    "aten.index": index,
    "aten.index_put": index_put,
    "aten.embedding": embedding,
    "aten.embedding_dense_backward": embedding_backward,
}
