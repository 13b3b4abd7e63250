"""The table of pulses that the Fokker-Planck equation gives, and its interpolation.

For each Delta and overdrive the table has the pulses of falling error rates. Their logarithms are
interpolated straight over ln Delta and, from overdrive 1.05 up, ln(i - 1). Between two error rates
ln(-ln(1 - WER)) is straight over the pulse, which is ln WER where that is small. Above the first error rate
-ln(1 - WER) falls as 1 / pulse, as a diffusion does that has far to go; below the last, WER decays
exponentially. All of it is monotone because the table is, and the inverse is exact.
Dimensionless: pulses are in intrinsic times. Source: docs/sources.md#macrospin-fokker-planck.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from accelsim.config.locate import shipped
from accelsim.device.mtj.fokker_planck import hazard
from accelsim.device.mtj.ranges import Array

MIN_OVERDRIVE: Final = 1.05  # below are rows for averages over a spread only
COLUMN: Final = "tau_"  # then the error rate


@dataclass(frozen=True, slots=True)
class Curves:
    """Error rate over pulse for points of any shape (...), as broken lines of k points."""

    log_hazards: Array  # (k,), falling
    pulses: Array  # (..., k), rising
    per_efold: Array  # (...), the pulse in which WER falls by e beyond the last point

    def error_rate(self, tau: Array) -> Array:
        """Return the error rate at pulses ``tau`` of shape (...)."""
        last = len(self.log_hazards) - 1
        part = np.clip(np.sum(self.pulses <= tau[..., None], axis=-1) - 1, 0, last - 1)
        start, end = _at(self.pulses, part), _at(self.pulses, part + 1)
        high, low = self.log_hazards[part], self.log_hazards[part + 1]
        inside = high + (low - high) * (tau - start) / (end - start)
        with np.errstate(divide="ignore"):
            before = self.log_hazards[0] + np.log(self.pulses[..., 0]) - np.log(tau)
        after = self.log_hazards[-1] - (tau - self.pulses[..., -1]) / self.per_efold
        y = np.where(tau < self.pulses[..., 0], before, np.where(tau > self.pulses[..., -1], after, inside))
        wer: Array = -np.expm1(-np.exp(np.minimum(y, 700.0)))
        return wer

    def pulse(self, wer: Array) -> Array:
        """Return the pulse whose error rate is ``wer``, of shape (...) and in (0, 1]."""
        last = len(self.log_hazards) - 1
        y = np.broadcast_to(np.log(hazard(wer)), self.pulses.shape[:-1])
        part = np.clip(np.searchsorted(-self.log_hazards, -y, side="right") - 1, 0, last - 1)
        start, end = _at(self.pulses, part), _at(self.pulses, part + 1)
        high, low = self.log_hazards[part], self.log_hazards[part + 1]
        inside = start + (end - start) * (np.minimum(y, high) - high) / (low - high)
        before = self.pulses[..., 0] * np.exp(np.minimum(self.log_hazards[0] - y, 0.0))
        after = self.pulses[..., -1] + (self.log_hazards[-1] - y) * self.per_efold
        beyond = np.where(y < self.log_hazards[-1], after, inside)
        found: Array = np.where(y > self.log_hazards[0], before, beyond)
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """The shipped numbers: d deltas, n overdrives and k error rates."""

    deltas: Array  # (d,), rising
    overdrives: Array  # (n,), rising
    wers: Array  # (k,), falling
    pulses: Array  # (d, n, k), in intrinsic times
    logs: Array  # (d, n, k + 1), of the pulses, and of the pulse per e-fold beyond the last

    def curves(self, overdrive: Array, delta: Array) -> Curves:
        """Return the curves at points inside the table; the arguments have one shape."""
        row, right = _place(np.log(delta), np.log(self.deltas))
        column, lower = _place(_stretched(overdrive), _stretched(self.overdrives))
        logs = self.logs
        near = (1 - lower) * logs[row, column] + lower * logs[row, column + 1]
        far = (1 - lower) * logs[row + 1, column] + lower * logs[row + 1, column + 1]
        found = np.exp((1 - right) * near + right * far)
        return Curves(np.log(hazard(self.wers)), found[..., :-1], found[..., -1])


def read_table(path: Path) -> Table:
    """Return the table in ``path``, a csv with one row per Delta and overdrive."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    wers = np.array([float(name.removeprefix(COLUMN)) for name in rows[0][2:]])
    values = np.array(rows[1:], dtype=np.float64)
    deltas, overdrives = np.unique(values[:, 0]), np.unique(values[:, 1])
    pulses = values[:, 2:].reshape(len(deltas), len(overdrives), len(wers))
    per_efold = (pulses[..., -1] - pulses[..., -2]) / np.log(wers[-2] / wers[-1])
    per_efold = np.maximum.accumulate(per_efold, axis=0)  # as monotone in delta as the pulses; at most 0.3 %
    logs = np.log(np.concatenate([pulses, per_efold[..., None]], axis=-1))
    return Table(deltas, overdrives, wers, pulses, logs)


def table_path() -> Path:
    """Return where the table is shipped."""
    return shipped("arch") / "mtj" / "write_pulses.csv"


@lru_cache(maxsize=1)
def shipped_table() -> Table:
    """Return the shipped table, read once."""
    return read_table(table_path())


def _stretched(overdrive: Array) -> Array:
    """Return ln(i - 1), continued straight below ``MIN_OVERDRIVE``."""
    least = MIN_OVERDRIVE - 1
    return np.log(np.maximum(overdrive - 1, least)) + np.minimum(overdrive - MIN_OVERDRIVE, 0.0) / least


def _place(wanted: Array, nodes: Array) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Array]:
    """Return the interval of each point, and where in it the point lies, 0 to 1, with one axis more."""
    low = np.clip(np.searchsorted(nodes, wanted, side="right") - 1, 0, len(nodes) - 2)
    share = (wanted - nodes[low]) / (nodes[low + 1] - nodes[low])
    return low, share[..., None]


def _at(values: Array, index: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Array:
    """Return ``values[..., index]``, one of the last axis for each point."""
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
