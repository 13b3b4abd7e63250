"""The closed form of the write error rate. Dimensionless: pulses are in intrinsic times.

Source: docs/sources.md#butler-2012.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from accelsim.device.mtj.fokker_planck import hazard
from accelsim.device.mtj.ranges import Array

LONG: Final = 1e6  # intrinsic times: more than a millisecond

_SCALE: Final = np.pi**2 / 4


def closed_error_rate(tau: Array, overdrive: Array, delta: Array) -> Array:
    """Return 1 - exp(-(pi^2/4) delta (i - 1) / (i exp(2 (i - 1) tau) - 1)).

    Continued below i = 1, where it tends to a constant: averages over a spread of overdrives need that.
    """
    away = np.abs(overdrive - 1)
    decay = np.exp(-2 * away * tau)
    safe = np.where(away == 0, 1.0, away)
    grown = np.where(away == 0, 2 * tau, -np.expm1(-2 * safe * tau) / safe)
    over = overdrive >= 1
    wer: Array = -np.expm1(
        -_SCALE * delta * np.where(over, decay, 1.0) / (1 + np.where(over, 1.0, overdrive) * grown)
    )
    return wer


def closed_pulse(wer: Array, overdrive: Array, delta: Array) -> Array:
    """Return the pulse at which ``closed_error_rate`` is ``wer``, or 0; ``LONG`` for overdrives up to 1."""
    over = overdrive > 1
    away = np.where(over, overdrive - 1, 1.0)
    with np.errstate(divide="ignore"):
        needed = (1 + _SCALE * delta * away / hazard(wer)) / np.where(over, overdrive, 1.0)
    return np.where(over, np.maximum(np.log(needed), 0.0) / (2 * away), LONG)
