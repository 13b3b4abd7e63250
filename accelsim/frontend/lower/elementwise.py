"""Ops that compute each element of the result from the elements at the same place of their operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node
from torch.utils._pytree import tree_leaves

from accelsim.frontend.lower.context import Functions, Lowering, Read, Walk, Write
from accelsim.frontend.lower.nest import Follow
from accelsim.frontend.lower.nodes import aten, axis_names
from accelsim.frontend.lower.views import View, whole_view

FUNCTIONS: dict[str, Functions] = {
    "add": (("add", 1),),
    "sub": (("add", 1),),
    "rsub": (("add", 1),),
    "neg": (("add", 1),),
    "mul": (("mul", 1),),
    "square": (("mul", 1),),
    "pow": (("mul", 1),),
    "div": (("div", 1),),
    "reciprocal": (("div", 1),),
    "addcmul": (("add", 1), ("mul", 2)),
    "addcdiv": (("add", 1), ("mul", 1), ("div", 1)),
    "lerp": (("add", 2), ("mul", 1)),
    "abs": (("max", 1),),
    "relu": (("max", 1),),
    "maximum": (("max", 1),),
    "minimum": (("max", 1),),
    "clamp": (("max", 2),),
    "clamp_min": (("max", 1),),
    "hardtanh": (("max", 2),),
    "sgn": (("compare", 2),),
    "sign": (("compare", 2),),
    "leaky_relu": (("max", 1), ("mul", 1)),
    "threshold_backward": (("compare", 1), ("mask", 1)),
    "hardtanh_backward": (("compare", 2), ("mask", 1)),
    "leaky_relu_backward": (("compare", 1), ("mul", 1)),
    "tanh": (("tanh", 1),),
    "tanh_backward": (("mul", 2), ("add", 1)),
    "sigmoid": (("sigmoid", 1),),
    "sigmoid_backward": (("mul", 2), ("add", 1)),
    "gelu": (("gelu", 1),),
    "gelu_backward": (("gelu", 1), ("exp", 1), ("mul", 3), ("add", 1)),
    "silu": (("sigmoid", 1), ("mul", 1)),
    "silu_backward": (("sigmoid", 1), ("mul", 3), ("add", 2)),
    "elu": (("compare", 1), ("exp", 1), ("add", 1), ("mul", 2)),
    "celu": (("compare", 1), ("exp", 1), ("add", 1), ("mul", 2)),
    "elu_backward": (("compare", 1), ("exp", 1), ("mul", 3)),
    "hardsigmoid": (("add", 1), ("max", 2), ("mul", 1)),
    "hardsigmoid_backward": (("compare", 2), ("mul", 1)),
    "hardswish": (("add", 1), ("max", 2), ("mul", 2)),
    "hardswish_backward": (("compare", 2), ("add", 1), ("mul", 2)),
    "softplus": (("compare", 1), ("exp", 1), ("add", 1), ("log", 1)),
    "softplus_backward": (("compare", 1), ("sigmoid", 1), ("mul", 1)),
    "mish": (("exp", 1), ("add", 1), ("log", 1), ("tanh", 1), ("mul", 1)),
    "mish_backward": (("exp", 1), ("log", 1), ("tanh", 1), ("sigmoid", 1), ("mul", 4), ("add", 3)),
    "_prelu_kernel": (("compare", 1), ("mul", 1)),
    "_prelu_kernel_backward": (("compare", 1), ("mul", 2), ("mask", 1)),
    "exp": (("exp", 1),),
    "erf": (("exp", 1),),
    "sin": (("tanh", 1),),
    "cos": (("tanh", 1),),
    "log": (("log", 1),),
    "sqrt": (("sqrt", 1),),
    "rsqrt": (("rsqrt", 1),),
    "where": (("mask", 1),),
    "masked_fill": (("mask", 1),),
    "eq": (("compare", 1),),
    "ne": (("compare", 1),),
    "lt": (("compare", 1),),
    "le": (("compare", 1),),
    "gt": (("compare", 1),),
    "ge": (("compare", 1),),
    "logical_not": (("mask", 1),),
    "logical_and": (("mask", 1),),
    "logical_or": (("mask", 1),),
    "bitwise_and": (("mask", 1),),
    "bitwise_or": (("mask", 1),),
    "bitwise_not": (("mask", 1),),
    "bernoulli": (("compare", 1),),
    "native_dropout": (("compare", 1), ("mul", 1)),
    "native_dropout_backward": (("mul", 2),),
    "mse_loss_backward": (("add", 1), ("mul", 2)),
    "smooth_l1_loss_backward": (("add", 1), ("compare", 2), ("mul", 2)),
    "huber_loss_backward": (("add", 1), ("compare", 2), ("mul", 2)),
    "binary_cross_entropy_backward": (("add", 2), ("mul", 2), ("div", 1)),
    "xlogy": (("log", 1), ("mul", 1)),
    "clone": (("move", 1),),
    "copy": (("move", 1),),
    "_to_copy": (("move", 1),),
    "tril": (("mask", 1),),
    "triu": (("mask", 1),),
    "fill": (("move", 1),),
    "zero": (("move", 1),),
    "full": (("move", 1),),
    "full_like": (("move", 1),),
    "ones": (("move", 1),),
    "ones_like": (("move", 1),),
    "zeros": (("move", 1),),
    "zeros_like": (("move", 1),),
    "new_zeros": (("move", 1),),
    "new_ones": (("move", 1),),
    "new_full": (("move", 1),),
    "scalar_tensor": (("move", 1),),
    "arange": (("move", 1),),
    "linspace": (("move", 1),),
    "lift_fresh_copy": (("move", 1),),
    "uniform": (("compare", 1),),
    "normal": (("compare", 1),),
    "rand": (("compare", 1),),
    "randn": (("compare", 1),),
    "rand_like": (("compare", 1),),
}
SHAPE_ONLY = ("ones_like", "zeros_like", "full_like", "rand_like", "new_zeros", "new_ones", "new_full")
OVERWRITES = ("fill", "zero", "copy", "bernoulli", "uniform", "normal")  # in place, without reading
RULES: dict[str, Functions] = {
    "accelsim.sgd": (("mul", 1), ("add", 1)),
    "accelsim.momentum": (("mul", 2), ("add", 2)),
    "accelsim.adagrad": (("mul", 2), ("add", 3), ("sqrt", 1), ("div", 1)),
    "accelsim.adam": (("mul", 7), ("add", 4), ("sqrt", 1), ("div", 1)),
}


def functions_of(node: Node) -> Functions | None:
    """Return what ``node`` computes per element, or None if it is not elementwise."""
    name = aten(node)
    if name in RULES:
        return _rule(node, RULES[name])
    return FUNCTIONS.get(name.removeprefix("aten.").removesuffix("_")) or FUNCTIONS.get(
        name.removeprefix("aten.")
    )


def _rule(node: Node, plain: Functions) -> Functions:
    """Return an optimizer's functions; weight decay and Nesterov's form are a multiply-add more each."""
    names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    given = dict(zip(names, node.args, strict=True))
    more = sum(bool(given.get(key)) for key in ("weight_decay", "nesterov"))
    return tuple((f, count + more if f in ("mul", "add") else count) for f, count in plain)


def lower(low: Lowering, node: Node) -> View | tuple[View | None, ...] | None:
    """Lower an elementwise op; None if ``node`` is none."""
    functions = functions_of(node)
    if functions is None:
        return None
    return elementwise(low, node, functions)


def elementwise(low: Lowering, node: Node, functions: Functions) -> View | tuple[View | None, ...]:
    """Add a vector op over the elements of the results of ``node``."""
    target = _overwritten(node)
    name = low.op_name(node)
    reads = _reads(low, node, target)
    vals = node.meta["val"]
    several = isinstance(vals, tuple | list)
    shape = tuple((vals[0] if several else vals).shape)
    axes = axis_names(len(shape))
    if target is not None:
        writes = [low.overwrite(node, target, name, axes)]
    elif several or aten(node) in RULES:
        count = len(vals) if several else 1
        writes = [_result(low, node, name, axes, i, several, reads) for i in range(count)]
    else:
        writes = [low.output(node, name, axes, reads=reads)]
    pairs: list[Read] = [(n, aligned(low.sizes(n), shape, axes)) for n in reads]
    if target is not None and low.exists(target) and not low.view(target).whole:
        base = low.view(target)  # what is not written comes from the tensor that was there
        pairs.append((whole_view(base.base, base.canonical, base.canonical), [None] * len(base.canonical)))
    low.vector(
        node,
        name,
        dict(zip(axes, shape, strict=True)),
        pairs,
        writes,
        [Walk(functions)],
        elementwise=True,
    )
    return tuple(w.view for w in writes) if several else writes[0].view


def _result(
    low: Lowering, node: Node, op: str, axes: list[str], index: int, several: bool, reads: list[Node]
) -> Write:
    """Return result ``index``; an optimizer's takes the place of parameter or state in the next step."""
    if aten(node) not in RULES:
        return low.output(node, op, axes, index=index, suffix=f".{index}" if index else "", reads=reads)
    source = node.args[0] if index == 0 else node.args[index + 1]
    assert isinstance(source, Node)
    place = low.current[low.view(source).base]
    which = index if several else None
    return low.output(node, op, axes, index=which, name=f"next/{place}", role=low.role_of(source))


def _overwritten(node: Node) -> Node | None:
    schema = getattr(node.target, "_schema", None)
    if schema is not None and schema.is_mutable and isinstance(node.args[0], Node):
        return node.args[0]
    return None


def _reads(low: Lowering, node: Node, target: Node | None) -> list[Node]:
    """Return the tensors that are read, each once, in the order of the arguments."""
    name = aten(node).removeprefix("aten.")
    if name in SHAPE_ONLY:
        return []
    nodes = [a for a in tree_leaves((node.args, dict(node.kwargs))) if isinstance(a, Node)]
    if name.removesuffix("_") in OVERWRITES and target is not None:
        nodes = nodes[1:]
    kept: dict[Node, Any] = {n: None for n in nodes if isinstance(low.env.get(n), View) and low.exists(n)}
    return list(kept)


def aligned(sizes: Sequence[int], shape: Sequence[int], axes: Sequence[str]) -> list[Follow]:
    """Return what the dimensions of ``sizes`` follow in a result of ``shape``, aligned at the right."""
    offset = len(shape) - len(sizes)
    if offset < 0:
        return [None] * len(sizes)
    return [axes[i + offset] if size == shape[i + offset] else None for i, size in enumerate(sizes)]
