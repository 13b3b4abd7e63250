"""Candidate cuts of one side of a nest, and what each makes of every operand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from accelsim.geometry import Axis, DimMap, Operand, ceil_div
from accelsim.program.program import Cut

MOST_CUTS = 18  # candidates per side; the search is over their products
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
def candidates(axes: tuple[Axis, ...], quantum: int) -> tuple[Candidate, ...]:
    """Return cuts of a side, from the finest worth trying to none; tiles prefer multiples of ``quantum``."""
    if not axes:
        return (Candidate(Cut(axis=0, step=1), 1, 1, ((1, 1),)),)
    found: dict[tuple[int, int], Candidate] = {}
    for index, axis in enumerate(axes):
        inner = math.prod(a.size for a in axes[index + 1 :])
        for step in _steps(axis, inner, quantum):
            if step == axis.size and index > 0:
                continue  # the same as cutting the axis before one by one
            candidate = _candidate(axes, Cut(axis=index, step=step))
            found.setdefault((candidate.count, candidate.largest), candidate)
    ordered = sorted(found.values(), key=lambda c: c.largest)
    return tuple(_thin(ordered))


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


def _candidate(axes: Sequence[Axis], cut: Cut) -> Candidate:
    outer = math.prod(ceil_div(a.size, a.unit) for a in axes[: cut.axis])
    units = math.prod(a.unit for a in axes[: cut.axis])
    inner = math.prod(a.size for a in axes[cut.axis + 1 :]) * units
    size = axes[cut.axis].size
    full, rest = divmod(size, cut.step)
    points = [(cut.step * inner, full * outer)] if full else []
    if rest:
        points.append((rest * inner, outer))
    return Candidate(cut, outer * (full + (1 if rest else 0)), max(p for p, _ in points), tuple(points))


def _thin(ordered: list[Candidate]) -> list[Candidate]:
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
