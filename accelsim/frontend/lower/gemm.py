"""Matrix products: linear layers and attention, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch.fx import Node

from accelsim.frontend.lower.context import Lowering, Walk
from accelsim.frontend.lower.elementwise import aligned
from accelsim.frontend.lower.nodes import axis_names, tensor_argument
from accelsim.frontend.lower.views import View

Handler = Callable[[Lowering, Node], "View | tuple[View | None, ...]"]
Kind = Literal["forward", "input_gradient", "weight_gradient"]
PART: dict[Kind, str] = {"forward": "", "input_gradient": "dgrad", "weight_gradient": "wgrad"}


def product(low: Lowering, node: Node) -> View:
    """``a (m, k) @ b (k, n)``, with a leading batch dimension or without."""
    a, b = node.args[:2]
    return _product(low, node, a, b)


def addmm(low: Lowering, node: Node) -> View:
    """``bias + a @ b``: the product, and the addition as an op of its own that may ride on its drain."""
    bias, a, b = node.args[:3]
    inner = _product(low, node, a, b, inner=True)
    scaled = any(node.kwargs.get(k, 1) != 1 for k in ("alpha", "beta"))
    return add_bias(low, node, inner, bias, scaled=scaled)


def _product(low: Lowering, node: Node, a: object, b: object, *, inner: bool = False) -> View:
    assert isinstance(a, Node)
    assert isinstance(b, Node)
    batched = len(low.sizes(a)) == 3
    g = ("g",) if batched else ()
    (m, k), n = low.sizes(a)[-2:], low.sizes(b)[-1]
    sizes = {"m": m, "n": n, "k": k} | ({"g": low.sizes(a)[0]} if batched else {})
    kind = _kind(low, node)
    name = low.op_name(node, PART[kind])
    write = low.output(node, name, (*g, "m", "n"), reads=(a, b))
    low.gemm(
        node,
        name,
        sizes,
        {"m": ("m",), "n": ("n",), "k": ("k",), "batch": g},
        [(a, (*g, "m", "k")), (b, (*g, "k", "n"))],
        write,
        kind=kind,
        macs=math.prod(sizes.values()),
        aten_name=("aten.bmm.default" if batched else "aten.mm.default") if inner else None,
        args=(tensor_argument(0, low.view(a)), tensor_argument(1, low.view(b))) if inner else None,
    )
    return write.view


def _kind(low: Lowering, node: Node) -> Kind:
    if low.phase(node) != "backward":
        return "forward"
    return "weight_gradient" if low.is_weight_gradient(node) else "input_gradient"


def add_bias(
    low: Lowering, node: Node, summed: View, bias: object, *, scaled: bool = False, channels: bool = False
) -> View:
    """Add the op ``summed + bias``, the bias aligned at dimension 1 (``channels``) or at the last."""
    assert isinstance(bias, Node)
    shape = summed.sizes
    axes = axis_names(len(shape))
    name = low.op_name(node, "bias")
    write = low.output(node, name, axes)
    follows = [axes[1]] if channels else aligned(low.sizes(bias), shape, axes)
    seen = ("view", [[1, shape[1], *[1] * (len(shape) - 2)]])
    low.vector(
        node,
        name,
        dict(zip(axes, shape, strict=True)),
        [(summed, axes), (bias, follows)],
        [write],
        [Walk((("add", 1), ("mul", 2)) if scaled else (("add", 1),))],
        elementwise=True,
        aten_name="aten.add.Tensor",
        args=(
            tensor_argument(0, summed),
            tensor_argument(1, low.view(bias), *([seen] if channels else [])),
        ),
    )
    return write.view


HANDLERS: dict[str, Handler] = {
    "aten.mm": product,
    "aten.bmm": product,
    "aten.addmm": addmm,
    "aten.baddbmm": addmm,
}
