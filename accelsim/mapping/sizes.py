"""Cuts as people give them: the points of a side's largest tile, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from accelsim.geometry import Axis
from accelsim.mapping.cuts import candidate_of, cuts_to
from accelsim.program.program import Cut


def cut_of(axes: tuple[Axis, ...], points: int) -> Cut:
    """Return the cut whose tiles have ``points`` points, or as many less as whole rows of storage make."""
    return cuts_to(axes, [points])[0].cut


@lru_cache(maxsize=4096)
def size_of(axes: tuple[Axis, ...], cut: Cut) -> int | dict[str, Any]:
    """Return what ``cut_of`` makes ``cut`` of; where it cannot, the axis cut and the step along it."""
    if not axes:
        return 1
    points = candidate_of(axes, cut).largest
    back = cut_of(axes, points)
    if _lengths(axes, back) == _lengths(axes, cut):
        return points
    return {"axis": axes[cut.axis].name, "step": cut.step}


@lru_cache(maxsize=4096)
def points_of(axes: tuple[Axis, ...], cut: Cut) -> int:
    """Return the points of the largest tile of a cut."""
    return candidate_of(axes, cut).largest if axes else 1


def _lengths(axes: tuple[Axis, ...], cut: Cut) -> list[int]:
    """Return how long a tile is along every axis."""
    steps = [a.unit if i < cut.axis else cut.step if i == cut.axis else a.size for i, a in enumerate(axes)]
    return [min(step, a.size) for step, a in zip(steps, axes, strict=True)]
