"""Reading fx nodes: their names, results, formats, and the shape to store a result in."""

from __future__ import annotations

import math
from operator import getitem
from typing import Any

from torch.fx import Node

from accelsim.errors import GraphError
from accelsim.frontend.build import FORMATS
from accelsim.frontend.lower.views import View
from accelsim.words import Format, Phase

PREFIX: dict[Phase, str] = {"forward": "", "recompute": "rec/", "backward": "bwd/", "update": "upd/"}
SHORT = {
    "convolution": "conv",
    "convolution_backward": "conv",
    "addmm": "linear",
    "mm": "linear",
    "native_batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_batch_norm_backward": "batch_norm_backward",
    "native_layer_norm_backward": "layer_norm_backward",
    "_softmax": "softmax",
    "_safe_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "_softmax_backward_data": "softmax_backward",
    "_log_softmax_backward_data": "log_softmax_backward",
    "_scaled_dot_product_flash_attention_for_cpu": "attention",
    "_scaled_dot_product_flash_attention_for_cpu_backward": "attention",
    "_to_copy": "cast",
    "nll_loss_forward": "nll_loss",
    "nll_loss2d_forward": "nll_loss",
    "nll_loss2d_backward": "nll_loss_backward",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool2d_with_indices_backward": "max_pool2d_backward",
}


def tensor_argument(index: int, view: View, *more: tuple[str, list[Any]]) -> dict[str, Any]:
    """Return the plain form of input ``index`` seen as ``view``, and as ``more`` views of that."""
    chain = [[name, list(args)] for name, args in view.chain] + [[n, a] for n, a in more]
    return {"t": index, "views": chain} if chain else {"t": index}


def aten(node: Node) -> str:
    """Return ``aten.mm`` or ``accelsim.sgd``: the op without its overload."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).replace("::", ".") if schema else str(node.target)


def result_of(node: Node, index: int) -> Node | None:
    """Return the node that takes output ``index`` of ``node``, or None if nobody does."""
    return next((u for u in node.users if u.target is getitem and u.args[1] == index), None)


def format_of(dtype: Any) -> Format:
    """Return the format of a torch dtype.

    Raises:
        GraphError: None of ours, such as a complex or a float8 type.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in FORMATS:
        raise GraphError(f"tensors of dtype {name} are not simulated; known: {', '.join(sorted(FORMATS))}")
    return FORMATS[name]


def axis_names(rank: int) -> list[str]:
    """Return the names of an elementwise op's axes: an image's, or numbers."""
    return ["b", "c", "y", "x"] if rank == 4 else [f"d{i}" for i in range(rank)]


def canonical(node: Node, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to store a result in: as produced, or as its reader splits it at once.

    A linear layer on a sequence is computed as ``(batch * tokens, features)`` and seen as ``(batch,
    tokens, features)``: stored so, its readers cut it where they like.
    """
    for user in node.users:
        if aten(user) in ("aten.view", "aten._unsafe_view", "aten.reshape"):
            shape = tuple(user.meta["val"].shape)
            if _refines(shape, sizes):
                return shape
    return sizes or (1,)


def _refines(shape: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    def borders(of: tuple[int, ...]) -> set[int]:
        return {math.prod(of[i:]) for i in range(len(of) + 1)}

    return borders(sizes) < borders(shape)
