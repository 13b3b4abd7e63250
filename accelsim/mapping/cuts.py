"""Candidate cuts of one side of a nest, and what each makes of every operand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from accelsim.geometry import Axis, DimMap, Operand, ceil_div
from accelsim.program.program import Cut
from accelsim.program.ranges import tiles_per_panel

MOST_CUTS = 18  # candidates per side; the search is over their products
C = TypeVar("C")
_COUNTS = sorted({1, 2, 3} | {f << e for e in range(24) for f in (4, 5, 6, 7)})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to cut a side: tiles, the points of the largest and of all of them, in their order."""

    cut: Cut
    count: int
    largest: int
    points: tuple[tuple[int, int], ...]  # (points of a tile, how many such tiles)

    def total(self, quantum: int, least: int = 0) -> int:
        """Return the sum over tiles of points in units of ``quantum``, rounded up, at least ``least``."""
        return sum(max(least, ceil_div(p, quantum)) * n for p, n in self.points)


@lru_cache(maxsize=4096)
def candidates(axes: tuple[Axis, ...], quantum: int, least: int = 0) -> tuple[Candidate, ...]:
    """Return cuts of a side, from the finest worth trying to none; tiles prefer multiples of ``quantum``.

    Those whose largest tile has fewer than ``least`` points are left out.
    """
    if not axes:
        return (Candidate(Cut(axis=0, step=1), 1, 1, ((1, 1),)),)
    found: dict[tuple[int, int], Candidate] = {}
    for cut in _cuts(axes, quantum):
        candidate = candidate_of(axes, cut)
        found.setdefault((candidate.count, candidate.largest), candidate)
    ordered = sorted(found.values(), key=lambda c: c.largest)
    return tuple(_thin([c for c in ordered if c.largest >= least] or ordered[-1:]))


def cuts_to(axes: tuple[Axis, ...], points: Sequence[int]) -> tuple[Candidate, ...]:
    """Return the cuts of a side that make tiles of as many ``points``, or little less, finest first."""
    found: dict[Cut, Candidate] = {}
    for most in points if axes else ():
        inner = [math.prod(a.size for a in axes[i + 1 :]) * a.unit for i, a in enumerate(axes)]
        index = next((i for i, n in enumerate(inner) if n <= most), len(axes) - 1)
        axis = axes[index]
        cut = Cut(axis=index, step=min(axis.size, max(1, most // inner[index]) * axis.unit))
        found.setdefault(cut, candidate_of(axes, cut))
    return tuple(found.values()) or candidates(axes, 1)[-1:]


def _cuts(axes: tuple[Axis, ...], quantum: int) -> Iterator[Cut]:
    for index, axis in enumerate(axes):
        inner = math.prod(a.size for a in axes[index + 1 :])
        for step in _steps(axis, inner, quantum):
            if step < axis.size or index == 0:  # else the same as cutting the axis before one by one
                yield Cut(axis=index, step=step)


@dataclass(frozen=True, slots=True)
class Twice:
    """A side cut twice: the panels, the tiles that they fall into, and the most tiles of a panel."""

    panels: Candidate
    tiles: Candidate
    inside: int


@lru_cache(maxsize=4096)
def cut_twice(axes: tuple[Axis, ...], width: int, grain: int) -> tuple[Twice, ...]:
    """Return ways to cut a side into panels of several tiles, each tile of ``width`` points or little more.

    Tiles are whole multiples of ``grain`` points; where that is one point, they are equally long.
    """
    found: dict[tuple[int, int], Twice] = {}
    for cut in _cuts(axes, width):
        twice = _twice(axes, cut, width, grain)
        if twice.inside > 1:
            found.setdefault((twice.panels.count, twice.panels.largest), twice)
    whole = _twice(axes, Cut(axis=0, step=axes[0].size), width, grain)
    return tuple(_thin(sorted(found.values(), key=lambda t: t.panels.largest))) or (whole,)


def _twice(axes: tuple[Axis, ...], cut: Cut, width: int, grain: int) -> Twice:
    inner = [math.prod(a.size for a in axes[i + 1 :]) for i in range(len(axes))]
    index = next((i for i in range(cut.axis, len(axes)) if inner[i] <= width), len(axes) - 1)
    axis, least = axes[index], ceil_div(width, inner[index] * axes[index].unit)
    whole = ceil_div(cut.step if index == cut.axis else axis.size, axis.unit)
    tile = (least if grain > 1 else ceil_div(whole, max(1, whole // least))) * axis.unit
    if index == cut.axis:  # panels are of whole tiles
        cut = Cut(axis=index, step=min(axis.size, ceil_div(whole * axis.unit, tile) * tile))
    tiles = Cut(axis=index, step=min(axis.size, tile))
    return Twice(candidate_of(axes, cut), candidate_of(axes, tiles), max(tiles_per_panel(axes, tiles, cut)))


def twice_of(axes: tuple[Axis, ...], panels: Cut, tiles: Cut) -> Twice:
    """Return a side cut into ``panels`` of ``tiles``."""
    most = max(tiles_per_panel(axes, tiles, panels))
    return Twice(candidate_of(axes, panels), candidate_of(axes, tiles), most)


def _steps(axis: Axis, inner: int, quantum: int) -> list[int]:
    """Return the smallest steps that make 1, 2, ... 8, 10, 12, 14, 16, 20, ... tiles of the axis.

    What counts is the number of tiles; the smallest step that makes it needs the least room. Steps are
    multiples of ``quantum`` points where the axis is long enough.
    """
    units = ceil_div(axis.size, axis.unit)
    coarse = max(1, min(units, quantum // (inner * axis.unit)))
    steps = set()
    for count in _COUNTS:
        if count > ceil_div(units, coarse):
            break
        even = ceil_div(ceil_div(units, count), coarse) * coarse
        steps.add(min(axis.size, even * axis.unit))
    for finer in (coarse, ceil_div(coarse, 2), ceil_div(coarse, 8), 1):  # for scratchpads that small
        steps.add(min(axis.size, finer * axis.unit))
    return sorted(steps)


def candidate_of(axes: Sequence[Axis], cut: Cut) -> Candidate:
    """Return what a cut makes of a side."""
    outer = math.prod(ceil_div(a.size, a.unit) for a in axes[: cut.axis])
    units = math.prod(a.unit for a in axes[: cut.axis])
    inner = math.prod(a.size for a in axes[cut.axis + 1 :]) * units
    size = axes[cut.axis].size
    full, rest = divmod(size, cut.step)
    points = [(cut.step * inner, full * outer)] if full else []
    if rest:
        points.append((rest * inner, outer))
    return Candidate(cut, outer * (full + (1 if rest else 0)), max(p for p, _ in points), tuple(points))


def _thin(ordered: list[C]) -> list[C]:
    """Keep the coarser half of what may be kept, and of the finer cuts evenly many."""
    if len(ordered) <= MOST_CUTS:
        return ordered
    coarse = MOST_CUTS // 2
    fine, few = ordered[:-coarse], MOST_CUTS - coarse
    keep = [fine[round(i * (len(fine) - 1) / (few - 1))] for i in range(few)]
    return keep + ordered[-coarse:]


@lru_cache(maxsize=65536)
def lengths(operand: Operand, axes: tuple[Axis, ...], cut: Cut) -> tuple[int, int]:
    """Return (sum over tiles, most) of the elements that ``operand`` has along one side's axes."""
    total = most = 1
    for index, axis in enumerate(axes):
        step = axis.unit if index < cut.axis else cut.step if index == cut.axis else axis.size
        followed = [(d, s) for d, s in zip(operand.dims, operand.shape, strict=True) if d.axis == axis.name]
        summed, largest = _along(axis, step, followed)
        total, most = total * summed, most * largest
    return total, most


def _along(axis: Axis, step: int, followed: list[tuple[DimMap, int]]) -> tuple[int, int]:
    if all(d.kind == "direct" for d, _ in followed) and len(followed) <= 1:
        return (axis.size, min(step, axis.size)) if followed else (ceil_div(axis.size, step), 1)
    summed = largest = 0
    for low in range(0, axis.size, step):
        tile = {axis.name: (low, min(low + step, axis.size))}
        length = 1
        for dim, size in followed:
            a, b = dim.range(tile, size)
            length *= b - a
        summed, largest = summed + length, max(largest, length)
    return summed, largest


def follows_side(operand: Operand, axes: tuple[Axis, ...]) -> bool:
    """Return whether any dimension of ``operand`` follows an axis of the side."""
    sizes = {a.name: a.size for a in axes}
    return any(d.axis in sizes and (sizes[d.axis] > 1 or d.kind != "direct") for d in operand.dims)


def free_elements(operand: Operand, sides: Sequence[tuple[Axis, ...]]) -> int:
    """Return the elements along dimensions that follow no axis of any side."""
    names = {a.name for axes in sides for a in axes}
    return math.prod(s for d, s in zip(operand.dims, operand.shape, strict=True) if d.axis not in names)
