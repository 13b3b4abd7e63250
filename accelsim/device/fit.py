"""A monotone fit in log-log, for array quantities over capacity."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fit:
    """A non-decreasing curve from the first to the last x, straight in log-log between its points."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    residual: float  # largest |fit / data - 1| over the data

    def at(self, x: float) -> float:
        """Return y at ``x``, which lies within the points; exactly the fitted value at a point."""
        i = bisect.bisect_left(self.xs, x)
        if self.xs[i] == x or self.ys[i] == self.ys[i - 1]:
            return self.ys[i]
        share = math.log(x / self.xs[i - 1]) / math.log(self.xs[i] / self.xs[i - 1])
        return self.ys[i - 1] * math.exp(share * math.log(self.ys[i] / self.ys[i - 1]))


def monotone_fit(xs: Sequence[float], ys: Sequence[float]) -> Fit:
    """Return the non-decreasing fit of least squares in log y (pool adjacent violators).

    Monotone data are returned as they are, with residual 0. ``xs`` rise; ``ys`` are positive, or all zero.

    >>> monotone_fit([1, 2, 4], [1.0, 4.0, 1.0]).ys
    (1.0, 2.0, 2.0)
    """
    if not any(ys):
        return Fit(tuple(xs), tuple(ys), 0.0)
    pools: list[list[float]] = []
    for y in ys:
        pools.append([y])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    fitted = tuple(_mean(pool) for pool in pools for _ in pool)
    residual = max(abs(f / y - 1) for f, y in zip(fitted, ys, strict=True))
    return Fit(tuple(xs), fitted, residual)


def _mean(pool: list[float]) -> float:
    """Return the geometric mean, without rounding for a single value."""
    return pool[0] if len(pool) == 1 else math.exp(math.fsum(map(math.log, pool)) / len(pool))
