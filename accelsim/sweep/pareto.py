"""Fronts of points that are to be small in every coordinate: who is on them, their volume, their knee."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Costs = Sequence[Sequence[float]]


def front(costs: Costs) -> list[int]:
    """Return the indices of the points that no other one dominates, in order; equal points are all on it.

    >>> front([(1, 4), (2, 2), (3, 3), (4, 1)])
    [0, 1, 3]
    """
    found = []
    array = _array(costs)
    for i, row in enumerate(array):
        worse = (array <= row).all(axis=1) & (array < row).any(axis=1)
        if not worse.any() and np.isfinite(row).all():
            found.append(i)
    return found


def ranks(costs: Costs) -> list[int]:
    """Return the front that each point is on: 0 of all, 1 of those that are left, and so on."""
    rank = [0] * len(costs)
    left = list(range(len(costs)))
    number = 0
    while left:
        on = front([costs[i] for i in left]) or range(len(left))
        for i in on:
            rank[left[i]] = number
        gone = {left[i] for i in on}
        left = [i for i in left if i not in gone]
        number += 1
    return rank


def hypervolume(costs: Costs) -> float:
    """Return the share of the box between the best and the worst value of each coordinate that is dominated.

    The box is that of all the points given, so that 1 is a front of one point that is best in everything.

    >>> hypervolume([(0, 1), (1, 0)]), hypervolume([(0, 2), (1, 1), (2, 0)])
    (0.0, 0.25)
    """
    array = _array(costs)
    if not len(array):
        return 0.0
    low, high = array.min(axis=0), array.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled = (array - low) / span
    scaled = scaled[:, high > low]
    if scaled.shape[1] == 0:
        return 1.0
    return _volume(scaled[front(scaled.tolist())])


def _volume(points: NDArray[np.float64]) -> float:
    """Return the volume between ``points`` and (1, ..., 1), slice by slice along the last coordinate."""
    if points.shape[1] == 1:
        return float(1 - points.min())
    points = points[np.argsort(points[:, -1], kind="stable")]
    ends = [*points[1:, -1], 1.0]
    total = []
    for i, (row, end) in enumerate(zip(points, ends, strict=True)):
        if end > row[-1]:
            below = points[: i + 1, :-1]
            total.append((end - row[-1]) * _volume(below[front(below.tolist())]))
    return math.fsum(total)


def knee(costs: Costs) -> int | None:
    """Return the index of the point of the front farthest below the line, or plane, through its ends.

    Coordinates are scaled to the front's own extent; so it is where giving up a little of one gains the most
    of the others. None of no points.

    >>> knee([(0, 10), (1, 2), (10, 0)])
    1
    """
    on = front(costs)
    if not on:
        return None
    array = _array(costs)[on]
    low, high = array.min(axis=0), array.max(axis=0)
    scaled = (array - low) / np.where(high > low, high - low, 1.0)
    return on[int(np.argmin(scaled.sum(axis=1)))]


def _array(costs: Costs) -> NDArray[np.float64]:
    array = np.asarray(costs, dtype=np.float64)
    return array.reshape(len(array), -1) if len(array) else array.reshape(0, 1)
