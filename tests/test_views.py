"""Views as pieces of storage, and the operands that come of them."""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from accelsim.frontend.lower.nest import Use, fit
from accelsim.frontend.lower.views import Irregular, View, factors, unit, whole_view
from accelsim.geometry import Axis


@given(st.data())
def test_views_are_torchs(data: st.DataObject) -> None:
    """Any chain of permute, reshape, slice, select, unsqueeze: pieces name the same elements as torch."""
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    tensor = torch.arange(math.prod(shape)).reshape(shape)
    view = whole_view("x", shape, shape)
    for _ in range(data.draw(st.integers(0, 5))):
        kind = data.draw(st.sampled_from(["permute", "reshape", "slice", "select", "unsqueeze", "squeeze"]))
        rank = tensor.dim()
        if kind == "permute" and rank:
            order = data.draw(st.permutations(range(rank)))
            view, tensor = view.permute(order), tensor.permute(*order)
        elif kind == "reshape":
            sizes = data.draw(st.permutations([*tensor.shape])) if rank else []
            merged = [math.prod(sizes[:2]), *sizes[2:]]
            sizes = data.draw(st.sampled_from([sizes, merged])) if rank > 1 else sizes
            try:
                view = view.reshape(sizes)
            except Irregular:
                continue
            tensor = tensor.reshape(sizes)
        elif kind == "unsqueeze":
            view, tensor = view.unsqueeze(0), tensor.unsqueeze(0)
        elif kind == "squeeze":
            view, tensor = view.squeeze(None), tensor.squeeze()
        elif rank:
            dim = data.draw(st.integers(0, rank - 1))
            start = data.draw(st.integers(0, tensor.shape[dim] - 1))
            try:
                view = view.select(dim, start) if kind == "select" else view.slice(dim, start, None, 1)
            except Irregular:
                continue
            tensor = (
                tensor.select(dim, start)
                if kind == "select"
                else tensor.narrow(dim, start, tensor.shape[dim] - start)
            )
    assert view.sizes == tuple(tensor.shape)
    assert elements(view) == tensor.flatten().tolist()


def elements(view: View) -> list[int]:
    """Return the storage offsets that a view walks, in order."""
    fixed = sum(p.start * p.stride for p in view.pinned)
    axes = []
    for size, pieces in zip(view.sizes, view.dims, strict=True):
        offsets = [0]
        for p in pieces:
            offsets = [o + (p.start + i * p.step) * p.stride for o in offsets for i in range(p.length)]
        axes.append(offsets if pieces else [0] * size)
    return [fixed + sum(at) for at in itertools.product(*axes)]


def test_slices_and_pinned_indices_touch_what_they_name() -> None:
    """The key third of a fused projection, split by head, and the first token of a sequence."""
    fused = whole_view("qkv", (2, 8, 36), (2, 8, 36)).slice(2, 12, 24, 1).reshape((2, 8, 3, 4))
    nest = fit({"b": 2, "s": 8, "h": 3, "d": 4}, [Use("qkv", fused, ("b", "s", "h", "d"))])
    tile = {"b": (0, 1), "s": (2, 4), "h": (1, 2), "d": (0, 4)}
    assert nest.operands[0].shape == (2, 8, 9, 4)
    assert nest.operands[0].box(tile) == ((0, 1), (2, 4), (4, 5), (0, 4))
    first = whole_view("x", (2, 8, 5), (2, 8, 5)).select(1, 3)
    nest = fit({"b": 2, "d": 5}, [Use("x", first, ("b", "d"))])
    assert nest.operands[0].box({"b": (0, 2), "d": (0, 5), "one": (0, 1)}) == ((0, 2), (3, 4), (0, 5))
    assert nest.all(["b", "d"])[-1] == Axis("one", 1)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(2, 6))
def test_units_are_whole_rows(a: int, b: int, c: int) -> None:
    """A merged dimension has its inner sizes as unit; split again at the border it has none."""
    merged = whole_view("x", (a, b, c), (a * b, c))
    assert unit(merged, 0) == b
    assert [p.length for p in factors(merged, 0)] == [a, b]
    assert unit(whole_view("x", (a, b, c), (a, b * c)), 1) == c
    assert unit(whole_view("x", (a * b, c), (a * b, c)), 0) == 1
