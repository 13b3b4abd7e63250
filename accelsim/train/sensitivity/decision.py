"""Whether a rate is within tolerance, from trainings seed by seed, with no more of them than it takes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from accelsim.train.statistics import CONFIDENCE, paired

_EPSILON: Final = 1e-12  # accuracies are fractions: a loss of exactly the tolerance is within it


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the trainings at a rate say.

    Attributes:
        by: ``certain``: no outcome of the seeds left could change it; ``interval``: the interval of the mean
            difference lies on one side; ``mean``: all seeds are used and the interval does not tell.
        difference: Mean, over the seeds trained, of the accuracy minus that without errors.
        half_width: Of its interval; None for one seed.
    """

    within: bool
    by: Literal["certain", "interval", "mean"]
    difference: float
    half_width: float | None


def decide(clean: Sequence[float], found: Sequence[float], tolerance: float) -> Verdict | None:
    """Return the verdict of the first seeds, or None if another one is to be trained.

    Args:
        clean: Final accuracies without errors of all seeds that may be used.
        found: Those with errors, of the first of these seeds; 0 for a training that diverged.
        tolerance: Largest loss of accuracy, mean over seeds.

    Looked at after each of K seeds from the second on, the interval takes its 5 % of error in K - 1 parts, so
    that all looks together stay within it.

    >>> decide([0.9, 0.9, 0.9], [0.0], 0.02)  # what the other two could gain does not make up for it
    Verdict(within=False, by='certain', difference=-0.9, half_width=None)
    >>> decide([0.9, 0.9, 0.9], [0.85], 0.02) is None
    True
    """
    differences = [with_errors - without for with_errors, without in zip(found, clean, strict=False)]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(clean) - 1)
    mean, half = paired(differences, confidence)
    edge = -tolerance - _EPSILON
    left = clean[len(found) :]
    best, worst = _mean(differences, [1 - c for c in left]), _mean(differences, [-c for c in left])
    if left and (best < edge or worst >= edge):
        return Verdict(worst >= edge, "certain", mean, half)
    if half is not None and (mean - half >= edge or mean + half < edge):
        return Verdict(mean >= edge, "interval", mean, half)
    return None if left else Verdict(mean >= edge, "mean", mean, half)


def _mean(some: Sequence[float], others: Sequence[float]) -> float:
    return statistics.fmean([*some, *others])
