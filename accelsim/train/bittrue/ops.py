"""One op of the training graph on torch tensors, by its name and arguments alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

from accelsim.frontend import optim
from accelsim.graph.ir import Graph, Op

Values = dict[str, torch.Tensor]  # flat, by tensor

UPDATES: Final = tuple(f"accelsim.{name}.default" for name in optim.STATE)
SUPPORTED: Final = (
    "aten.mm.default",
    "aten.convolution.default",
    "aten.convolution_backward.default",
    "aten.add.Tensor",
    "aten.sub.Tensor",
    "aten.mul.Tensor",
    "aten.div.Tensor",
    "aten.div.Scalar",
    "aten.neg.default",
    "aten.relu.default",
    "aten.threshold_backward.default",
    "aten.tanh.default",
    "aten.tanh_backward.default",
    "aten.sigmoid.default",
    "aten.sigmoid_backward.default",
    "aten.avg_pool2d.default",
    "aten.avg_pool2d_backward.default",
    "aten.max_pool2d_with_indices.default",
    "aten.max_pool2d_with_indices_backward.default",
    "aten.sum.dim_IntList",
    "aten._log_softmax.default",
    "aten._log_softmax_backward_data.default",
    "aten.nll_loss_forward.default",
    "aten.nll_loss_backward.default",
    "aten.mse_loss.default",
    "aten.mse_loss_backward.default",
    "aten.ones_like.default",
    "aten._to_copy.default",
    *UPDATES,
)
_IGNORED: Final = ("memory_format", "pin_memory", "device", "layout", "dtype")


def unit_dtype(stored: str) -> torch.dtype:
    """Return what units compute in for a tensor of the graph: fp32, or fp64 where the network does.

    >>> unit_dtype("bf16"), unit_dtype("int64")
    (torch.float32, torch.int64)
    """
    if stored in ("fp64", "float64"):
        return torch.float64
    if "int" in stored or stored == "bool":
        return torch.bool if stored == "bool" else torch.int64
    return torch.float32


def call(graph: Graph, op: Op, held: Mapping[str, torch.Tensor], size: int | None = None) -> Values:
    """Return the outputs of ``op``, flat.

    Args:
        held: Its inputs, flat; whole tensors, or ``size`` elements of each if the op is elementwise.
        size: Elements of every operand, which then are without a shape; None: all of them.
    """
    args = [_argument(graph, op, a, held, size) for a in op.args]
    kwargs: dict[str, Any] = {}
    if op.args and isinstance(op.args[-1], dict) and "kwargs" in op.args[-1]:
        args.pop()
        kwargs = {k: v for k, v in op.args[-1]["kwargs"].items() if k not in _IGNORED}
    space, name, overload = op.aten.split(".")
    if name == "_to_copy":
        made: Any = args[0].clone()
    else:
        made = getattr(getattr(getattr(torch.ops, space), name), overload)(*args, **kwargs)
    results = [r for r in (made if isinstance(made, tuple | list) else [made]) if r is not None]
    return {o.tensor: r.detach().reshape(-1) for o, r in zip(op.outputs, results, strict=False)}


def _argument(graph: Graph, op: Op, arg: Any, held: Mapping[str, torch.Tensor], size: int | None) -> Any:
    """Return an argument with tensors in place of their references."""
    if isinstance(arg, list):
        return [_argument(graph, op, a, held, size) for a in arg]
    if isinstance(arg, dict) and "shape" in arg:
        return torch.zeros(arg["shape"], dtype=unit_dtype(graph.tensors[op.outputs[0].tensor].dtype))
    if isinstance(arg, dict) and "t" in arg:
        name = op.inputs[arg["t"]].tensor
        if size is not None:
            return held[name]
        return _seen(held[name].view(graph.tensors[name].shape), arg.get("views", ()))
    if isinstance(arg, str) and arg.startswith(("float", "bfloat", "int", "bool")):
        return unit_dtype(arg)
    return arg


def _seen(tensor: torch.Tensor, views: Any) -> torch.Tensor:
    for view, args in views:
        tensor = torch.ops.aten.slice(tensor, *args) if view == "slice" else getattr(tensor, view)(*args)
    return tensor
