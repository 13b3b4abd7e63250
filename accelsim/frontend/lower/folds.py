"""Views of torch as views of storages: what each of them does to a view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.fx import Node

from accelsim.frontend.lower.nodes import aten
from accelsim.frontend.lower.views import Irregular, View


def _given(node: Node) -> list[Any]:
    """Return the arguments after the tensor."""
    return list(node.args[1:])


def _dims(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _sizes(node: Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _swap(view: View, a: int, b: int) -> View:
    order = list(range(len(view.sizes)))
    order[a], order[b] = order[b], order[a]
    return view.permute(order)


def _slice(view: View, node: Node) -> View:
    given: list[Any] = list(node.args[1:])
    defaults: list[Any] = [0, None, None, 1]
    dim, start, end, step = given + defaults[len(given) :]
    return view.slice(dim % len(view.sizes), start, end, step)


def _split(view: View, node: Node) -> tuple[View, ...]:
    """Return the parts of split, split_with_sizes, chunk or unbind, in order."""
    vals = node.meta["val"]
    given: list[Any] = list(node.args[1 if aten(node) == "aten.unbind" else 2 :])
    dim = given[0] % len(view.sizes) if given else 0
    if aten(node) == "aten.unbind":
        return tuple(view.select(dim, i) for i in range(len(vals)))
    ends = [sum(v.shape[dim] for v in vals[: i + 1]) for i in range(len(vals))]
    return tuple(view.slice(dim, end - v.shape[dim], end, 1) for v, end in zip(vals, ends, strict=True))


def _strided(view: View, node: Node) -> View:
    """Return the view of as_strided where it is no more than a reshape of the whole."""
    val = node.meta["val"]
    if val.is_contiguous() and view.whole and val.numel() == math.prod(view.sizes):
        return view.reshape(_sizes(node))
    raise Irregular


VIEWS: dict[str, Callable[[View, Node], Any]] = {
    "aten.t": lambda v, _: v.permute(range(len(v.sizes))[::-1]),
    "aten.transpose": lambda v, n: _swap(v, *_given(n)[:2]),
    "aten.permute": lambda v, n: v.permute(_given(n)[0]),
    "aten.view": lambda v, n: v.reshape(_sizes(n)),
    "aten._unsafe_view": lambda v, n: v.reshape(_sizes(n)),
    "aten.reshape": lambda v, n: v.reshape(_sizes(n)),
    "aten.expand": lambda v, n: v.expand(_sizes(n)),
    "aten.unsqueeze": lambda v, n: v.unsqueeze(_given(n)[0]),
    "aten.squeeze": lambda v, n: v.squeeze(_dims(_given(n)[0]) if _given(n) else None),
    "aten.slice": _slice,
    "aten.select": lambda v, n: v.select(*_given(n)[:2]),
    "aten.split": _split,
    "aten.split_with_sizes": _split,
    "aten.chunk": _split,
    "aten.unbind": _split,
    "aten.as_strided": _strided,
}
