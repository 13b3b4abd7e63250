"""What seeds can tell: paired differences, and proportions with their exact intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from scipy import special

CONFIDENCE: Final = 0.95
FEW: Final = 5  # seeds; below that a figure is an anecdote


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact confidence interval of a proportion.

    >>> [round(p, 3) for p in clopper_pearson(0, 3)]
    [0.0, 0.708]
    """
    tail = (1 - confidence) / 2
    low = special.betaincinv(hits, trials - hits + 1, tail) if hits else 0.0
    high = special.betaincinv(hits + 1, trials - hits, 1 - tail) if hits < trials else 1.0
    return float(low), float(high)


def paired(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float | None]:
    """Return the mean of differences and the half width of its interval (Student's t); None for one.

    >>> mean, half = paired([0.01, 0.03])
    >>> round(mean, 3), round(half, 3)
    (0.02, 0.127)
    """
    n = len(differences)
    mean = statistics.fmean(differences)
    if n < 2:
        return mean, None
    spread = statistics.stdev(differences) / math.sqrt(n)
    return mean, float(special.stdtrit(n - 1, (1 + confidence) / 2)) * spread


def weight_of(seeds: int) -> str:
    """Return how much ``seeds`` seeds are to be believed."""
    name = "1 seed is" if seeds == 1 else f"{seeds} seeds are"
    if seeds < FEW:
        return f"{name} anecdotal: intervals are wide, and no difference is established by them"
    return f"{seeds} seeds; intervals are of {CONFIDENCE:.0%} confidence"
