"""Tiles partition a loop nest; parts of a tile partition the tile."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.geometry import Axis, Range, ceil_div
from accelsim.program.program import Cut
from accelsim.program.ranges import extent, part, tile_count, tiles_of

Point = tuple[int, ...]


@st.composite
def sides(draw: st.DrawFn) -> list[Axis]:
    """One to three axes; some are several dimensions in one, cut at multiples of their unit."""
    axes = []
    for i in range(draw(st.integers(1, 3))):
        unit = draw(st.sampled_from([1, 1, 1, 2, 3]))
        axes.append(Axis(f"x{i}", unit * draw(st.integers(1, 5)), unit))
    return axes


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[Axis], Cut]:
    """A side and a cut of it at whole units of one axis."""
    axes = draw(sides())
    index = draw(st.integers(0, len(axes) - 1))
    axis = axes[index]
    return axes, Cut(axis=index, step=axis.unit * draw(st.integers(1, axis.size // axis.unit)))


def _points(axes: Sequence[Axis], tile: Mapping[str, Range]) -> list[Point]:
    return list(itertools.product(*(range(*tile[a.name]) for a in axes)))


def _whole(axes: Sequence[Axis]) -> dict[str, Range]:
    return {a.name: (0, a.size) for a in axes}


@given(cuts())
def test_tiles_partition_the_side(case: tuple[list[Axis], Cut]) -> None:
    """Every point is in one tile, and there are as many tiles as announced."""
    axes, cut = case
    tiles = tiles_of(axes, cut)
    points = Counter(p for t in tiles for p in _points(axes, t))
    assert points == Counter(_points(axes, _whole(axes)))
    assert len(tiles) == tile_count(axes, cut)


@given(cuts())
def test_tiles_come_in_row_major_order(case: tuple[list[Axis], Cut]) -> None:
    """The last axis runs fastest; cuts fall at multiples of the unit, or at the end."""
    axes, cut = case
    tiles = tiles_of(axes, cut)
    corners = [tuple(t[a.name][0] for a in axes) for t in tiles]
    assert corners == sorted(corners)
    for axis in axes:
        assert all(t[axis.name][0] % axis.unit == 0 for t in tiles)


@given(cuts())
def test_extents_add_up(case: tuple[list[Axis], Cut]) -> None:
    """The points of all tiles are the points of the side."""
    axes, cut = case
    assert sum(extent(axes, t) for t in tiles_of(axes, cut)) == math.prod(a.size for a in axes)


def test_no_axes_are_one_tile() -> None:
    """A side without axes has one tile of one point."""
    assert tile_count([], Cut(axis=0, step=1)) == 1
    assert tiles_of([], Cut(axis=0, step=1)) == [{}]
    assert extent([], {}) == 1


@given(cuts(), st.integers(1, 9), st.data())
def test_parts_partition_the_tile(case: tuple[list[Axis], Cut], width: int, data: st.DataObject) -> None:
    """The parts of all blocks are disjoint and cover the tile; what a None stands for is empty."""
    axes, cut = case
    tile = data.draw(st.sampled_from(tiles_of(axes, cut)))
    blocks = ceil_div(extent(axes, tile), width)
    parts = [part(axes, tile, b, width) for b in range(blocks)]
    points = Counter(p for t in parts if t is not None for p in _points(axes, t))
    assert points == Counter(_points(axes, tile))
    assert all(t is None or _points(axes, t) for t in parts)


@given(cuts(), st.integers(1, 9), st.data())
def test_parts_keep_up_with_their_blocks(
    case: tuple[list[Axis], Cut], width: int, data: st.DataObject
) -> None:
    """By the end of a block all its points have been in parts, but those of the row that it cuts."""
    axes, cut = case
    tile = data.draw(st.sampled_from(tiles_of(axes, cut)))
    many = [i for i, a in enumerate(axes) if tile[a.name][1] - tile[a.name][0] > a.unit]
    leading = many[0] if many else len(axes) - 1
    assume(extent(axes[:leading], tile) == 1)  # else one unit of more than one row lies before it
    total, row = extent(axes, tile), axes[leading].unit * extent(axes[leading + 1 :], tile)
    covered = 0
    for block in range(ceil_div(total, width)):
        narrowed = part(axes, tile, block, width)
        covered += extent(axes, narrowed) if narrowed else 0
        assert 0 <= min(total, (block + 1) * width) - covered < row


@pytest.mark.parametrize(
    ("block", "y", "x"),
    [(0, (0, 1), (0, 5)), (1, (1, 3), (0, 5)), (2, (3, 4), (0, 5))],
)
def test_parts_by_hand(block: int, y: Range, x: Range) -> None:
    """Stretches of 8 points over 4 rows of 5 end at points 8, 16, 20: whole rows 1, 3, 4."""
    axes = [Axis("b", 1), Axis("y", 4), Axis("x", 5)]
    assert part(axes, _whole(axes), block, 8) == {"b": (0, 1), "y": y, "x": x}


def test_a_block_within_a_row_has_no_part_of_its_own() -> None:
    """Stretches of 2 points over 2 rows of 5: the first two end within the first row."""
    axes = [Axis("y", 2), Axis("x", 5)]
    got = [part(axes, _whole(axes), b, 2) for b in range(5)]
    assert got == [None, None, {"y": (0, 1), "x": (0, 5)}, None, {"y": (1, 2), "x": (0, 5)}]
