"""The outcome of an experiment: every case beside the error-free one, paired by seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accelsim.train.statistics import clopper_pearson, paired, weight_of

CLEAN: Final = "none"
_MARGIN: Final = 0.01  # the target is this much below the error-free accuracy

Rows = Sequence[Mapping[str, Any]]


def summarize(rows: Rows, target: float | None = None) -> dict[str, Any]:
    """Return figures by case; ``target`` is the accuracy that time and energy are counted to.

    Without one it is a point below the error-free training's mean final accuracy.
    """
    by_case: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {}).setdefault(row["seed"], []).append(row)
    seeds = sorted({row["seed"] for row in rows})
    clean = {s: _final(r) for s, r in by_case.get(CLEAN, {}).items()}
    if target is None and clean:
        target = statistics.fmean(clean.values()) - _MARGIN
    return {
        "seeds": seeds,
        "believe": weight_of(len(seeds)),
        "target_accuracy": target,
        "cases": {case: _case(trainings, clean, target) for case, trainings in by_case.items()},
        "by_epoch": _by_epoch(by_case),
    }


def _by_epoch(by_case: Mapping[str, Mapping[int, Rows]]) -> list[dict[str, Any]]:
    """Return time, energy and the mean accuracy of every case by epoch; what has diverged stays as it was."""
    longest = max((rows for t in by_case.values() for rows in t.values()), key=len, default=[])
    table = []
    for number, row in enumerate(longest):
        means = {
            case: statistics.fmean(
                rows[min(number, len(rows) - 1)]["accuracy"] for rows in trainings.values()
            )
            for case, trainings in by_case.items()
        }
        table.append({**{k: row[k] for k in ("epoch", "time_ps", "energy_pj")}, "accuracy": means})
    return table


def _final(rows: Rows) -> float:
    return float(rows[-1]["accuracy"])


def _case(trainings: Mapping[int, Rows], clean: Mapping[int, float], target: float | None) -> dict[str, Any]:
    final = {seed: _final(rows) for seed, rows in trainings.items()}
    differences = [final[s] - clean[s] for s in final if s in clean]
    mean, half = paired(differences) if differences else (0.0, None)
    diverged = sum(rows[-1]["diverged_step"] is not None for rows in trainings.values())
    low, high = clopper_pearson(diverged, len(trainings))
    return {
        "accuracy": {str(seed): value for seed, value in final.items()},
        "accuracy_best": max(row["accuracy"] for rows in trainings.values() for row in rows),
        "accuracy_mean": statistics.fmean(final.values()),
        "difference": mean,
        "difference_half_width": half,
        "diverged": diverged,
        "trainings": len(trainings),
        "diverged_low": low,
        "diverged_high": high,
        "diverged_steps": {str(s): rows[-1]["diverged_step"] for s, rows in trainings.items()},
        "flips": _flips(trainings),
        "non_finite": sum(row["non_finite"] for rows in trainings.values() for row in rows),
        "first_non_finite_steps": {
            str(s): rows[-1]["first_non_finite_step"] for s, rows in trainings.items()
        },
        "to_accuracy": {str(s): _reached(rows, target) for s, rows in trainings.items()},
    }


def _flips(trainings: Mapping[int, Rows]) -> dict[str, dict[str, int]]:
    """Return flips by role and cause, all seeds together."""
    total: dict[str, dict[str, int]] = {}
    for rows in trainings.values():
        for row in rows:
            for role, causes in row["flips"].items():
                for cause, count in causes.items():
                    into = total.setdefault(role, {})
                    into[cause] = into.get(cause, 0) + count
    return total


def _reached(rows: Rows, target: float | None) -> dict[str, Any] | None:
    """Return epoch, time and energy at which ``target`` was first reached; None if it was not."""
    for row in rows:
        if target is not None and row["accuracy"] >= target:
            return {key: row[key] for key in ("epoch", "time_ps", "energy_pj")}
    return None
