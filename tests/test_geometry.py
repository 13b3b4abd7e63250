"""Boxes and maps against brute force over every element."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.geometry import (
    FULL,
    Axis,
    Box,
    DimMap,
    Operand,
    Range,
    ceil_div,
    direct,
    reshape_box,
    run_length,
    volume,
)
from accelsim.program.fills import SideTiles
from accelsim.program.fills import ranges as ranges_of


@st.composite
def ranges(draw: st.DrawFn, size: int) -> Range:
    """A range of one or more of ``size`` indices."""
    low = draw(st.integers(0, size - 1))
    return low, draw(st.integers(low + 1, size))


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    """A box in ``shape`` with at least one element."""
    return tuple(draw(ranges(size)) for size in shape)


@st.composite
def regrouped(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], Box]:
    """Two shapes with the same elements, made by joining neighbours, and a box of the first."""
    factors = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))

    def joined() -> tuple[int, ...]:
        cuts = sorted(draw(st.sets(st.integers(1, len(factors) - 1)))) if len(factors) > 1 else []
        edges = [0, *cuts, len(factors)]
        return tuple(math.prod(factors[a:b]) for a, b in itertools.pairwise(edges))

    shape = joined()
    return shape, joined(), draw(boxes(shape))


@given(
    st.builds(
        DimMap, st.just("y"), st.sampled_from(["direct", "window", "inverse"]), *[st.integers(1, 4)] * 3
    ),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(1, 40),
)
def test_ranges_of_many_tiles_are_those_of_each(
    dim: DimMap, stretches: list[tuple[int, int]], size: int
) -> None:
    """Whole arrays give what one tile at a time gives, cut at the borders, empty ones too."""
    tiles = [{"y": (low, low + length)} for low, length in stretches]
    side = SideTiles("m", (Axis("y", 40),), tiles, np.arange(len(tiles)))
    low, high = ranges_of(dim, side.limits("y"), size)
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [dim.range(tile, size) for tile in tiles]


def _mask(box: Box, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in box)] = True
    return mask


def _hull(touched: list[int]) -> Range:
    return (min(touched), max(touched) + 1) if touched else (0, 0)


def _empty(found: Range) -> bool:
    return found[0] >= found[1]


windows = st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 5), st.integers(1, 12))


@given(windows, st.data())
def test_a_window_reads_what_its_outputs_touch(
    window: tuple[int, int, int, int], data: st.DataObject
) -> None:
    """Input rows of output rows [a, b), clipped; exact where neighbouring windows leave no gap."""
    stride, pad, extent, outputs = window
    low, high = data.draw(ranges(outputs))
    size = data.draw(st.integers(1, (outputs - 1) * stride + extent))
    found = DimMap("y", "window", stride, pad, extent).range({"y": (low, high)}, size)
    rows = [y * stride - pad + i for y in range(low, high) for i in range(extent)]
    touched = [r for r in rows if 0 <= r < size]
    assert all(found[0] <= r < found[1] for r in touched)
    if stride <= extent:
        assert found == _hull(touched) or (not touched and _empty(found))


@given(windows, st.data())
def test_an_inverse_window_finds_the_outputs_that_touch(
    window: tuple[int, int, int, int], data: st.DataObject
) -> None:
    """Output rows whose window meets input rows [a, b), and no others."""
    stride, pad, extent, outputs = window
    low, high = data.draw(ranges((outputs - 1) * stride + extent))
    found = DimMap("y", "inverse", stride, pad, extent).range({"y": (low, high)}, outputs)
    touching = [y for y in range(outputs) if any(low <= y * stride - pad + i < high for i in range(extent))]
    assert found == _hull(touching) or (not touching and _empty(found))


@given(windows, st.data())
def test_window_and_inverse_are_inverse(window: tuple[int, int, int, int], data: st.DataObject) -> None:
    """The outputs that touch what an output reads include it."""
    stride, pad, extent, outputs = window
    size = (outputs - 1) * stride + extent
    y = data.draw(st.integers(0, outputs - 1))
    read = DimMap("y", "window", stride, pad, extent).range({"y": (y, y + 1)}, size)
    if not _empty(read):
        low, high = DimMap("y", "inverse", stride, pad, extent).range({"y": read}, outputs)
        assert low <= y < high


def test_halos_by_hand() -> None:
    """3x3, stride 2, padding 1 on 8 rows: outputs 1 and 2 read rows 1 to 5; rows 2 and 3 feed 1 and 2."""
    tile = {"y": (1, 3), "x": (2, 4)}
    assert DimMap("y", "window", 2, 1, 3).range(tile, 8) == (1, 6)
    assert DimMap("x", "inverse", 2, 1, 3).range(tile, 4) == (1, 3)
    assert DimMap("y", "window", 2, 1, 3).range({"y": (0, 4)}, 8) == (0, 8)


def test_an_operand_follows_its_axes() -> None:
    """One range per dimension: an axis itself, a window over one, all of it."""
    dims = (direct("b"), FULL, DimMap("y", "window", 1, 1, 3), direct("x"))
    operand = Operand("t", (4, 16, 10, 7), dims)
    assert operand.box({"b": (1, 3), "y": (4, 6), "x": (0, 7)}) == ((1, 3), (0, 16), (3, 7), (0, 7))


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4)
    .map(tuple)
    .flatmap(lambda s: st.tuples(st.just(s), boxes(s)))
)
def test_volume_and_runs_count_elements(case: tuple[tuple[int, ...], Box]) -> None:
    """A box has ``volume`` elements, in contiguous runs of ``run_length`` each."""
    shape, box = case
    flat = _mask(box, shape).ravel()
    starts = int(flat[0]) + int((flat[1:] & ~flat[:-1]).sum())
    assert volume(box) == flat.sum()
    assert volume(box) % run_length(box, shape) == 0
    assert volume(box) // run_length(box, shape) >= starts  # runs that happen to touch are counted apart
    assert flat[flat.argmax() :][: run_length(box, shape)].all()


@pytest.mark.parametrize(
    ("box", "run"),
    [
        (((0, 4), (0, 5), (0, 6)), 120),
        (((1, 3), (0, 5), (0, 6)), 60),
        (((1, 3), (1, 3), (0, 6)), 12),
        (((1, 3), (0, 5), (0, 5)), 5),
        (((1, 2), (2, 3), (3, 4)), 1),
    ],
)
def test_a_run_ends_at_the_first_dimension_that_is_cut(box: Box, run: int) -> None:
    """Whole inner dimensions join; the first partial one joins them, and ends the run."""
    assert run_length(box, (4, 5, 6)) == run


@given(regrouped())
def test_a_reshaped_box_covers(case: tuple[tuple[int, ...], tuple[int, ...], Box]) -> None:
    """Every element of the box lies in its image; the image lies in the shape."""
    shape, to, box = case
    image = reshape_box(box, shape, to)
    assert all(0 <= a < b <= size for (a, b), size in zip(image, to, strict=True))
    assert _mask(image, to).ravel()[_mask(box, shape).ravel()].all()


@given(regrouped())
def test_a_reshaped_box_is_exact_where_it_can_be(
    case: tuple[tuple[int, ...], tuple[int, ...], Box],
) -> None:
    """Elements that lie in a row and form a box in the other shape as well: that box."""
    shape, to, box = case
    mask = _mask(box, shape).reshape(to)
    flat = mask.ravel()
    hull = tuple(_hull(sorted(set(found.tolist()))) for found in np.nonzero(mask))
    if volume(hull) == volume(box) and flat[flat.argmax() :][: volume(box)].all():
        assert reshape_box(box, shape, to) == hull


@given(regrouped())
def test_a_whole_tensor_reshapes_to_a_whole_tensor(
    case: tuple[tuple[int, ...], tuple[int, ...], Box],
) -> None:
    """No cut, no loss; and the same shape is the same box."""
    shape, to, box = case
    assert reshape_box(tuple((0, s) for s in shape), shape, to) == tuple((0, s) for s in to)
    assert reshape_box(box, shape, shape) == box


@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 5), st.data())
def test_there_and_back_is_the_same_box_at_aligned_cuts(c: int, h: int, w: int, data: st.DataObject) -> None:
    """Whole channels of a flattened image are a box either way."""
    low, high = data.draw(ranges(c))
    image = ((0, 3), (low, high), (0, h), (0, w))
    flat = ((0, 3), (low * h * w, high * h * w))
    assert reshape_box(flat, (3, c * h * w), (3, c, h, w)) == image
    assert reshape_box(image, (3, c, h, w), (3, c * h * w)) == flat


@given(st.integers(0, 10**30), st.integers(1, 10**15))
def test_ceil_div(a: int, b: int) -> None:
    """The least q with q b >= a, exact for integers of any size."""
    assert (ceil_div(a, b) - 1) * b < a <= ceil_div(a, b) * b
