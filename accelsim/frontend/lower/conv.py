"""Convolutions as three GEMM-shaped ops: forward, input gradient (zero-insertion), weight gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch.fx import Node

from accelsim.frontend.lower.context import Lowering, Walk, Write
from accelsim.frontend.lower.gemm import Handler, add_bias
from accelsim.frontend.lower.nodes import tensor_argument
from accelsim.frontend.lower.views import Irregular, View
from accelsim.geometry import DimMap

Side = Literal["m", "n", "k", "batch"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution's sizes. ``groups`` divides both channel counts; c and o count per group."""

    batch: int
    groups: int
    c: int
    o: int
    h: int
    w: int
    oh: int
    ow: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of each of the three, without the zeros of zero-insertion."""
        return self.batch * self.groups * self.o * self.oh * self.ow * self.c * math.prod(self.kernel)

    @property
    def window(self) -> tuple[int, int, int, int]:
        """Kernel and stride as ``Gemm.window`` has them."""
        return (*self.kernel, *self.stride)

    def along(self, kind: Literal["window", "inverse"]) -> tuple[DimMap, DimMap]:
        """Return how rows and columns of one side follow the axes y and x of the other."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        y = DimMap("y", kind, self.stride[0], self.pad[0], reach[0])
        return y, DimMap("x", kind, self.stride[1], self.pad[1], reach[1])

    def image(self, view: View, channels: int) -> View:
        """Return an image's view with its channels split by group, if there are groups."""
        view = _rows(view)
        if self.groups == 1:
            return view
        b, _, h, w = view.sizes
        return view.reshape((b, self.groups, channels, h, w))

    def filters(self, view: View) -> View:
        """Return the weight's view with its filters split by group, if there are groups."""
        view = _rows(view)
        return view if self.groups == 1 else view.reshape((self.groups, self.o, self.c, *self.kernel))

    def named(self, *names: str) -> dict[str, int]:
        """Return the sizes of axes by name; ``y`` and ``x`` are the output's, ``h`` and ``w`` the input's."""
        known = {"g": self.groups, "b": self.batch, "c": self.c, "o": self.o, "y": self.oh, "x": self.ow}
        known |= {"p": self.kernel[0], "q": self.kernel[1]}
        return {n: known[n] for n in names}


def shape_of(x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...], args: tuple[Any, ...]) -> Shape:
    """Return the sizes from those of input, weight and output and (stride, padding, dilation, .., groups)."""
    stride, pad, dilation, _, _, groups = args
    if len(x) == 3:  # a signal is an image of one row
        x, weight, y = ((*s[:2], 1, s[2]) for s in (x, weight, y))
        stride, pad, dilation = [1, *stride], [0, *pad], [1, *dilation]
    return Shape(
        batch=x[0],
        groups=groups,
        c=weight[1],
        o=weight[0] // groups,
        h=x[2],
        w=x[3],
        oh=y[2],
        ow=y[3],
        kernel=(weight[2], weight[3]),
        stride=_pair(stride),
        pad=_pair(pad),
        dilation=_pair(dilation),
    )


def _pair(value: list[int]) -> tuple[int, int]:
    return (value[0], value[-1])


def is_plain(node: Node) -> bool:
    """Return whether a convolution (or its backward) is of images or signals and not transposed."""
    transposed = node.args[6 if node.target.__name__.startswith("convolution.") else 7]  # type: ignore[union-attr]
    weight = node.args[1 if node.target.__name__.startswith("convolution.") else 2]  # type: ignore[union-attr]
    return not transposed and isinstance(weight, Node) and len(weight.meta["val"].shape) in (3, 4)


def _rows(view: View) -> View:
    """Return an image's or a filter's view; a signal's as an image of one row."""
    return view if len(view.sizes) == 4 else view.unsqueeze(2)


def convolution(low: Lowering, node: Node) -> View:
    """Forward: m = (b, y, x) of the output, n = filters, k = (c, p, q)."""
    x, weight, bias, *rest = node.args
    if not is_plain(node):
        raise Irregular
    assert isinstance(x, Node)
    assert isinstance(weight, Node)
    s = shape_of(low.sizes(x), low.sizes(weight), low.shape(node), tuple(rest))
    g: tuple[str, ...] = ("g",) if s.groups > 1 else ()
    name = low.op_name(node)
    write = low.output(node, name, (), reads=(x, weight))
    grouped = Write(write.tensor, s.image(write.view, s.o), ("b", *g, "o", "y", "x"))
    low.gemm(
        node,
        name,
        s.named(*g, "b", "y", "x", "o", "c", "p", "q"),
        {"batch": g, "m": ("b", "y", "x"), "n": ("o",), "k": ("c", "p", "q")},
        [
            (s.image(low.view(x), s.c), ("b", *g, "c", *s.along("window"))),
            (s.filters(low.view(weight)), (*g, "o", "c", "p", "q")),
        ],
        grouped,
        kind="forward",
        macs=s.macs,
        window=s.window,
        expanded="a",
        args=_forward_args(low, x, weight, rest),
    )
    return add_bias(low, node, write.view, bias, channels=True) if bias is not None else write.view


def _forward_args(low: Lowering, x: Node, weight: Node, rest: list[Any]) -> tuple[Any, ...]:
    tensors = (tensor_argument(0, low.view(x)), tensor_argument(1, low.view(weight)))
    return (*tensors, None, *low.plain(rest, ()))


def backward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """Up to three ops: input gradient, weight gradient, and the bias gradient as a reduction."""
    error, x, weight, _, *rest = node.args
    if not is_plain(node):
        raise Irregular
    assert isinstance(error, Node)
    assert isinstance(x, Node)
    assert isinstance(weight, Node)
    *settings, mask = rest
    assert isinstance(mask, list | tuple)
    s = shape_of(low.shape(x), low.shape(weight), low.shape(error), tuple(settings))
    makers = (_input_gradient, _weight_gradient, _bias_gradient)
    return tuple(
        make(low, node, s, error, other) if wanted else None
        for make, other, wanted in zip(makers, (weight, x, x), mask, strict=True)
    )


def _input_gradient(low: Lowering, node: Node, s: Shape, error: Node, weight: Node) -> View:
    g: tuple[str, ...] = ("g",) if s.groups > 1 else ()
    name = low.op_name(node, "dgrad")
    write = low.output(node, name, (), index=0)
    sizes = s.named(*g, "b", "y", "x", "o", "c", "p", "q") | {"y": s.h, "x": s.w}
    low.gemm(
        node,
        name,
        sizes,
        {"batch": g, "m": ("b", "y", "x"), "n": ("c",), "k": ("o", "p", "q")},
        [
            (s.image(low.view(error), s.o), ("b", *g, "o", *s.along("inverse"))),
            (s.filters(low.view(weight)), (*g, "o", "c", "p", "q")),
        ],
        Write(write.tensor, s.image(write.view, s.c), ("b", *g, "c", "y", "x")),
        kind="input_gradient",
        macs=s.macs,
        window=s.window,
        expanded="a",
        args=_only(low, node, [error, weight], 0),
    )
    return write.view


def _weight_gradient(low: Lowering, node: Node, s: Shape, error: Node, x: Node) -> View:
    g: tuple[str, ...] = ("g",) if s.groups > 1 else ()
    name = low.op_name(node, "wgrad")
    write = low.output(node, name, (), index=1)
    low.gemm(
        node,
        name,
        s.named(*g, "o", "c", "p", "q", "b", "y", "x"),
        {"batch": g, "m": ("o",), "n": ("c", "p", "q"), "k": ("b", "y", "x")},
        [
            (s.image(low.view(error), s.o), ("b", *g, "o", "y", "x")),
            (s.image(low.view(x), s.c), ("b", *g, "c", *s.along("window"))),
        ],
        Write(write.tensor, s.filters(write.view), (*g, "o", "c", "p", "q")),
        kind="weight_gradient",
        macs=s.macs,
        window=s.window,
        expanded="b",
        args=_only(low, node, [error, x], 1),
    )
    return write.view


def _bias_gradient(low: Lowering, node: Node, _: Shape, error: Node, __: Node) -> View:
    name = low.op_name(node, "bgrad")
    write = low.output(node, name, ("c",), index=2)
    axes = ("b", "c", "y", "x")[: len(low.sizes(error))]
    low.vector(
        node,
        name,
        dict(zip(axes, low.sizes(error), strict=True)),
        [(error, axes)],
        [write],
        [Walk((("add", 1),))],
        aten_name="aten.sum.dim_IntList",
        args=(tensor_argument(0, low.view(error)), [0, *range(2, len(axes))]),
    )
    return write.view


def _only(low: Lowering, node: Node, reads: list[Node], which: int) -> tuple[Any, ...]:
    """Return the call's arguments with one result alone wanted."""
    return (*low.arguments(node, reads)[:-1], [i == which for i in range(3)])


HANDLERS: dict[str, Handler] = {"aten.convolution": convolution, "aten.convolution_backward": backward}
