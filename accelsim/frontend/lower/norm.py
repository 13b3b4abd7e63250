"""Walks of the vector unit: batch norm, layer norm and softmax, forward and backward; running sums."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from accelsim.frontend.lower.context import Functions, Lowering, Source, Walk, Write
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.nodes import aten, axis_names
from accelsim.frontend.lower.views import View

STATISTICS: Functions = (("add", 2), ("mul", 1))  # sum and sum of squares
APPLY: Functions = (("add", 1), ("mul", 1))
GRADIENTS: Functions = (("add", 3), ("mul", 2))  # sums of dy and of dy * xhat; xhat by the way
INPUT_GRADIENT: Functions = (("add", 3), ("mul", 3))
PARTS = ((0, ""), (1, ".weight"), (2, ".bias"))  # of a backward's results


def _nodes(*values: object) -> list[Node]:
    return [v for v in values if isinstance(v, Node)]


def batch_norm(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for the statistics, which also moves the running ones on, and a walk that applies them."""
    x, weight, bias, mean, var, training = node.args[:6]
    assert isinstance(x, Node)
    shape = low.sizes(x)
    axes = ["b", "c", *(["y", "x"] if len(shape) == 4 else [f"d{i}" for i in range(2, len(shape))])]
    affine, running = _nodes(weight, bias), _nodes(mean, var)
    name = low.op_name(node)
    out = low.output(node, name, axes, index=0, reads=(x,))
    if not training:
        reads = [x, *affine, *running]
        _emit(low, node, name, axes, shape, reads, "c", [out], [Walk(APPLY)])
        return (out.view, None, None)
    saved = [low.output(node, name, ["c"], index=i, suffix=s) for i, s in ((1, ".mean"), (2, ".invstd"))]
    moved = [
        low.overwrite(node, n, name + s, ["c"])
        for n, s in zip(running, (".running_mean", ".running_var"), strict=False)
    ]
    writes = [out, *saved, *moved]
    statistics = Walk(STATISTICS, (x, *running), tuple(range(1, len(writes))))
    walks = [statistics, Walk(APPLY, (x, *affine), (0,))]
    _emit(low, node, name, axes, shape, [x, *affine, *running], "c", writes, walks)
    return (out.view, saved[0].view, saved[1].view)


def _emit(
    low: Lowering,
    node: Node,
    name: str,
    axes: list[str],
    shape: tuple[int, ...],
    reads: Sequence[Node],
    small: str,
    writes: list[Write],
    walks: list[Walk],
) -> None:
    """Add the op; operands of one dimension follow the axis ``small``."""
    pairs: list[tuple[Source, Sequence[Follow]]] = [
        (n, [small] if len(low.sizes(n)) == 1 else axes) for n in reads
    ]
    sizes = dict(zip(axes, shape, strict=True))
    low.vector(node, name, sizes, pairs, writes, walks)


def batch_norm_backward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for the two sums (which are the gradients of bias and weight), a walk for the input's."""
    error, x, weight, _, _, mean, invstd = node.args[:7]
    assert isinstance(error, Node)
    assert isinstance(x, Node)
    mask = node.args[-1]
    assert isinstance(mask, list | tuple)
    shape = low.sizes(x)
    axes = ["b", "c", *(["y", "x"] if len(shape) == 4 else [f"d{i}" for i in range(2, len(shape))])]
    name = low.op_name(node)
    parts = [(0, "", axes), (1, ".weight", ["c"]), (2, ".bias", ["c"])]
    kept = [p for p in parts if mask[p[0]]]
    writes = [low.output(node, name, f, index=i, suffix=s) for i, s, f in kept]
    saved = _nodes(mean, invstd)
    sums = tuple(i for i, (which, _, _) in enumerate(kept) if which)
    walks = [Walk(GRADIENTS, (error, x, *saved), sums)]
    if mask[0]:
        walks.append(Walk(INPUT_GRADIENT, (error, x, *_nodes(weight), *saved), (0,)))
    reads = [error, x, *_nodes(weight), *saved]
    _emit(low, node, name, axes, shape, reads, "c", writes, walks)
    made = {which: w.view for (which, _, _), w in zip(kept, writes, strict=True)}
    return tuple(made.get(i) for i in range(3))


def _rows(low: Lowering, x: Node, normalized: int) -> tuple[list[str], list[str], dict[str, int]]:
    """Return names of row axes and of normalised axes, and all sizes."""
    shape = low.sizes(x)
    names = [f"d{i}" for i in range(len(shape))]
    cut = len(shape) - normalized
    return names[:cut], names[cut:], dict(zip(names, shape, strict=True))


def layer_norm(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for a row's statistics and one that applies them; rows may be cut apart."""
    x, normalized, weight, bias = node.args[:4]
    assert isinstance(x, Node)
    assert isinstance(normalized, list | tuple)
    rows, inner, sizes = _rows(low, x, len(normalized))
    name = low.op_name(node)
    out = low.output(node, name, [*rows, *inner], index=0, reads=(x,))
    kept: list[Follow] = [*rows, *[None] * len(inner)]
    saved = [low.output(node, name, kept, index=i, suffix=s) for i, s in ((1, ".mean"), (2, ".rstd"))]
    affine = _nodes(weight, bias)
    walks = [Walk(STATISTICS, (x,), (1, 2)), Walk(APPLY, (x, *affine), (0,))]
    reads: list[tuple[Source, Sequence[Follow]]] = [(x, [*rows, *inner]), *((n, inner) for n in affine)]
    low.vector(node, name, sizes, reads, [out, *saved], walks, separable=len(rows))
    return (out.view, saved[0].view, saved[1].view)


def layer_norm_backward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for a row's sums and the gradients of weight and bias, a walk for the input's."""
    error, x, normalized, mean, rstd, weight, _, mask = node.args
    assert isinstance(error, Node)
    assert isinstance(x, Node)
    assert isinstance(normalized, list | tuple)
    assert isinstance(mask, list | tuple)
    rows, inner, sizes = _rows(low, x, len(normalized))
    name = low.op_name(node)
    parts = [(0, "", [*rows, *inner]), (1, ".weight", inner), (2, ".bias", inner)]
    kept = [p for p in parts if mask[p[0]]]
    writes = [low.output(node, name, f, index=i, suffix=s) for i, s, f in kept]
    per_row: list[Follow] = [*rows, *[None] * len(inner)]
    reads: list[tuple[Source, Sequence[Follow]]] = [(error, [*rows, *inner]), (x, [*rows, *inner])]
    reads += [(n, per_row) for n in _nodes(mean, rstd)] + [(n, inner) for n in _nodes(weight)]
    sums = tuple(i for i, (which, _, _) in enumerate(kept) if which)
    walks = [Walk(GRADIENTS, None, sums)]
    if mask[0]:
        walks.append(Walk(INPUT_GRADIENT, None, (0,)))
    low.vector(node, name, sizes, reads, writes, walks, separable=len(rows))
    made = {which: w.view for (which, _, _), w in zip(kept, writes, strict=True)}
    return tuple(made.get(i) for i in range(3))


def _grouped(view: View, groups: int) -> View:
    """Return an image's view, or a channel's, with its channels split by group."""
    at = 1 if len(view.sizes) > 1 else 0
    channels = view.sizes[at]
    return view.reshape((*view.sizes[:at], groups, channels // groups, *view.sizes[at + 1 :]))


def _group_axes(low: Lowering, x: Node, groups: int) -> tuple[View, list[str], dict[str, int]]:
    """Return the grouped view of ``x``, its axes and their sizes."""
    view = _grouped(low.view(x), groups)
    axes = ["b", "g", "c", *(f"d{i}" for i in range(2, len(low.sizes(x))))]
    return view, axes, dict(zip(axes, view.sizes, strict=True))


def group_norm(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for the statistics of a sample's group, and one that applies them."""
    x, weight, bias, _, _, _, groups, _ = node.args
    assert isinstance(x, Node)
    assert isinstance(groups, int)
    view, axes, sizes = _group_axes(low, x, groups)
    name = low.op_name(node)
    out = low.output(node, name, (), index=0, reads=(x,))
    saved = [low.output(node, name, ["b", "g"], index=i, suffix=s) for i, s in ((1, ".mean"), (2, ".rstd"))]
    affine = [_grouped(low.view(n), groups) for n in _nodes(weight, bias)]
    reads: list[tuple[Source, Sequence[Follow]]] = [(view, axes), *((v, ["g", "c"]) for v in affine)]
    walks = [Walk(STATISTICS, (view,), (1, 2)), Walk(APPLY, None, (0,))]
    writes = [Write(out.tensor, _grouped(out.view, groups), tuple(axes)), *saved]
    args = low.arguments(node, [x, *_nodes(weight, bias)])
    low.vector(node, name, sizes, reads, writes, walks, args=args)
    return (out.view, saved[0].view, saved[1].view)


def group_norm_backward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """A walk for the sums, which are the gradients of weight and bias too, and one for the input's."""
    error, x, mean, rstd, weight, _, _, _, groups, mask = node.args
    assert isinstance(error, Node)
    assert isinstance(x, Node)
    assert isinstance(groups, int)
    assert isinstance(mask, list | tuple)
    view, axes, sizes = _group_axes(low, x, groups)
    name = low.op_name(node)
    made = {i: low.output(node, name, (), index=i, suffix=s) for i, s in PARTS if mask[i]}
    writes = [
        Write(w.tensor, _grouped(w.view, groups), tuple(axes) if i == 0 else ("g", "c"))
        for i, w in made.items()
    ]
    reads: list[tuple[Source, Sequence[Follow]]] = [(_grouped(low.view(error), groups), axes), (view, axes)]
    reads += [(n, ["b", "g"]) for n in _nodes(mean, rstd)]
    reads += [(_grouped(low.view(n), groups), ["g", "c"]) for n in _nodes(weight)]
    walks = [Walk(GRADIENTS, None, tuple(i for i, which in enumerate(made) if which))]
    if mask[0]:
        walks.append(Walk(INPUT_GRADIENT, None, (0,)))
    args = low.arguments(node, [error, x, *_nodes(mean, rstd, weight)])
    low.vector(node, name, sizes, reads, writes, walks, args=args)
    return tuple(made[i].view if i in made else None for i in range(3))


def softmax(low: Lowering, node: Node) -> View:
    """Walks for the maximum, the sum of exponentials, and the result."""
    x, dim = node.args[:2]
    assert isinstance(x, Node)
    logarithm = aten(node) == "aten._log_softmax"
    last: Functions = (("add", 1),) if logarithm else (("add", 1), ("exp", 1), ("mul", 1))
    walks = [Walk((("max", 1),), (x,), ()), Walk((("add", 2), ("exp", 1)), (x,), ()), Walk(last, (x,), (0,))]
    return _along(low, node, [x], int(str(dim)), walks)


def softmax_backward(low: Lowering, node: Node) -> View:
    """A walk for the row's sum and one for the result."""
    error, y, dim = node.args[:3]
    assert isinstance(error, Node)
    assert isinstance(y, Node)
    if aten(node) == "aten._log_softmax_backward_data":
        walks = [Walk((("add", 1),), (error,), ()), Walk((("exp", 1), ("mul", 1), ("add", 1)))]
    else:
        walks = [Walk((("mul", 1), ("add", 1)), None, ()), Walk((("add", 1), ("mul", 1)))]
    return _along(low, node, [error, y], int(str(dim)), walks)


def cumulated(low: Lowering, node: Node) -> View:
    """One walk, in order."""
    x, dim = node.args[:2]
    assert isinstance(x, Node)
    return _along(low, node, [x], int(str(dim)), [Walk((("add", 1),))])


def _along(low: Lowering, node: Node, reads: list[Node], dim: int, walks: list[Walk]) -> View:
    """Add an op on rows along ``dim``, which comes last: rows are cut apart before they are cut."""
    shape = low.sizes(reads[0])
    names = axis_names(len(shape))
    dim %= len(shape)
    order = [n for i, n in enumerate(names) if i != dim] + [names[dim]]
    of = dict(zip(names, shape, strict=True))
    name = low.op_name(node)
    write = low.output(node, name, names, reads=reads)
    sizes = {n: of[n] for n in order}
    low.vector(node, name, sizes, [(n, names) for n in reads], [write], walks)
    return write.view


HANDLERS: dict[str, Handler] = {
    "aten.native_batch_norm": batch_norm,
    "aten._native_batch_norm_legit": batch_norm,
    "aten.native_batch_norm_backward": batch_norm_backward,
    "aten.native_layer_norm": layer_norm,
    "aten.native_layer_norm_backward": layer_norm_backward,
    "aten.native_group_norm": group_norm,
    "aten.native_group_norm_backward": group_norm_backward,
    "aten.cumsum": cumulated,
    "aten._softmax": softmax,
    "aten._log_softmax": softmax,
    "aten._safe_softmax": softmax,
    "aten._softmax_backward_data": softmax_backward,
    "aten._log_softmax_backward_data": softmax_backward,
}
