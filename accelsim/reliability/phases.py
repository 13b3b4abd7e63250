"""Where an event that recurs stands against a copy's dwell: quadrature over its phase."""

from __future__ import annotations

from typing import Final

import numpy as np

from accelsim.reliability.chain import Array

PHASES: Final = 6
_POINTS: Final = PHASES // 3  # per stretch without a kink


def phases(dwell: Array, gap: Array, period_ps: int) -> tuple[Array, Array]:
    """Return times since the last event of a period, uniform in it, and their weights.

    The number of events in the dwell and in the gap steps where the time since the last one passes the
    dwell's and the gap's remainder: Gauss-Legendre on the three stretches between. An event that would
    lie before the write is no event: its time since is the whole dwell.

    Args:
        dwell: Time since the write, in ps, shape ``(n,)``.
        gap: Time since the access before, likewise.
        period_ps: Time between events.

    Returns:
        Ages in ps, at most the dwell, and weights that add up to 1, both of shape ``(n, PHASES)``.
    """
    kinks = np.sort(np.stack([dwell % period_ps, gap % period_ps], axis=1), axis=1)
    low = np.concatenate([np.zeros((len(dwell), 1)), kinks], axis=1)
    width = np.concatenate([kinks, np.full((len(dwell), 1), float(period_ps))], axis=1) - low
    at, weights = np.polynomial.legendre.leggauss(_POINTS)
    ages = low[..., None] + width[..., None] * (at + 1) / 2
    shares = width[..., None] * weights / 2 / period_ps
    flat = ages.reshape(len(dwell), -1)
    return np.minimum(flat, dwell[:, None]), shares.reshape(len(dwell), -1)
