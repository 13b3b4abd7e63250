"""The device laws against a magnetisation that really moves: a macrospin Langevin Monte Carlo.

Nothing is shared with the solver of the table. ``precess`` moves unit vectors by the Landau-Lifshitz-Gilbert
equation with anisotropy, spin-transfer torque and a thermal field, in the Heun scheme of Stratonovich.
Damping 1 is chosen because precession then costs no small steps: by the intrinsic time the result is that of
every damping. ``fall`` moves only their height, by random rotations and the drift that damping and torque
leave: five times faster, for rare events. Sizes are such that three standard deviations lie within 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from accelsim.device.mtj import (
    Direction,
    attempt_time,
    read_disturb_probability,
    retention_flip_probability,
    write_error_rate,
    write_pulse,
)

Spins = NDArray[np.float32]

ALPHA = 1.0
BLOCK = 8192  # spins at a time: they stay in the cache
WRITTEN = -0.9  # from there none comes back during the pulse


def boltzmann(rng: np.random.Generator, n: int, delta: float) -> Spins:
    """Return n unit vectors, shape (3, n), in equilibrium in the upper well, by rejection."""
    found: list[float] = []
    while len(found) < n:
        u = rng.exponential(1 / delta, 2 * n)  # 1 - z; its law is exp(-2 delta u + delta u^2) for u < 1
        kept = u[(u < 1) & (rng.random(2 * n) < np.exp(-delta * u * np.clip(1 - u, 0, 1)))]
        found.extend(kept)
    z = 1 - np.array(found[:n])
    angle = rng.uniform(0, 2 * np.pi, n)
    flat = np.sqrt(1 - z**2)
    return np.array([flat * np.cos(angle), flat * np.sin(angle), z]).astype(np.float32)


def torque(m: Spins, field: Spins, current: float) -> Spins:
    """Return dm / d(gamma mu0 Hk t) = -(m x h + alpha m x (m x (h - i z))) / (1 + alpha^2).

    The field h, in units of Hk, is the thermal ``field`` and the anisotropy's m_z along z; i is the
    ``current`` over that which outweighs the damping.
    """
    x, y, z = m
    hx, hy, hz = field[0], field[1], field[2] + z
    push = hz - np.float32(current)
    along = x * hx + y * hy + z * push  # m x (m x g) = m (m g) - g
    alpha = np.float32(ALPHA)
    out = np.empty_like(m)
    out[0] = y * hz - z * hy + alpha * (x * along - hx)
    out[1] = z * hx - x * hz + alpha * (y * along - hy)
    out[2] = x * hy - y * hx + alpha * (z * along - push)
    out *= np.float32(-1 / (1 + ALPHA**2))
    return out


def precess(rng: np.random.Generator, m: Spins, delta: float, current: float, dt: float) -> Spins:
    """Return the unit vectors, shape (3, n), an intrinsic time ``dt`` later."""
    dt *= (1 + ALPHA**2) / ALPHA  # in units of 1 / (gamma mu0 Hk)
    # 2 alpha k_B T / (mu0 Hk Ms V) = alpha / delta is the strength of the thermal field
    field = rng.standard_normal(m.shape, dtype=np.float32)
    field *= np.float32(math.sqrt(ALPHA / (delta * dt)))
    slope = torque(m, field, current)
    slope += torque(m + np.float32(dt) * slope, field, current)
    slope *= np.float32(dt / 2)
    slope += m
    slope /= np.sqrt(slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2)
    return slope


def fall(rng: np.random.Generator, m: Spins, delta: float, current: float, dt: float) -> Spins:
    """Return the heights of spins, shape (1, n), an intrinsic time ``dt`` later: drift, rotation, drift."""
    z = drift(m, current, dt / 2)
    along, across = rng.standard_normal((2, *z.shape), dtype=np.float32) * np.float32(math.sqrt(dt / delta))
    angle2 = along * along + across * across  # small: two terms of cosine and sine are enough
    cosine = 1 - angle2 / 2 + angle2 * angle2 / 24
    z = z * cosine + np.sqrt(1 - z * z) * along * (1 - angle2 / 6)
    return drift(z, current, dt / 2)


def drift(z: Spins, current: float, dt: float) -> Spins:
    """Return z after dz/dt = (1 - z^2) (z - current), by the midpoint rule, within the sphere."""
    i, half = np.float32(current), np.float32(dt / 2)
    middle = z + half * (1 - z * z) * (z - i)
    return np.clip(z + 2 * half * (1 - middle * middle) * (middle - i), -1, 1)


def failures(
    seed: int,
    n: int,
    delta: float,
    current: float,
    taus: list[float],
    steps_per_tau: int,
    move: Callable[..., Spins],
    *,
    start: int = 1,
    forget: bool = True,
) -> NDArray[np.int64]:
    """Return how many of ``n`` spins are still on their first side after each pulse.

    Args:
        move: ``precess`` or ``fall``.
        start: 1: the spins start up and the current pushes down; -1: the mirror image.
        forget: Leave out what is written, as it cannot come back against the current.
    """
    rng = np.random.default_rng(seed)
    left = np.zeros(len(taus), dtype=np.int64)
    ends = [0, *(round(tau * steps_per_tau) for tau in taus)]
    for low in range(0, n, BLOCK):
        m = boltzmann(rng, min(BLOCK, n - low), delta) * np.float32(start)
        m = m[2:] if move is fall else m
        for k, (begin, end) in enumerate(pairwise(ends)):
            for done in range(begin, end):
                m = move(rng, m, delta, start * current, 1 / steps_per_tau)
                if forget and done % 4 == 0:
                    m = m[:, start * m[-1] > WRITTEN]
            left[k] += np.count_nonzero(start * m[-1] > 0)
    return left


@pytest.mark.parametrize(
    ("delta", "overdrive", "direction", "move", "n", "steps_per_tau"),
    [
        (10.0, 3.0, "p_to_ap", fall, 1_200_000, 16),
        (15.0, 2.0, "ap_to_p", fall, 1_200_000, 10),
        (20.0, 1.5, "p_to_ap", fall, 1_200_000, 8),
        (10.0, 3.0, "ap_to_p", precess, 150_000, 40),
        (20.0, 1.5, "p_to_ap", precess, 150_000, 16),
        (20.0, 1.5, "ap_to_p", precess, 150_000, 16),
    ],
)
def test_write_errors(
    delta: float,
    overdrive: float,
    direction: Direction,
    move: Callable[..., Spins],
    n: int,
    steps_per_tau: int,
) -> None:
    """The table's error rates are those of the Monte Carlo within 10 %: to 1e-3, with precession to 1e-2."""
    wers = [1e-1, 1e-2, 1e-3] if move is fall else [1e-1, 1e-2]
    wanted = write_pulse(wers, overdrive, delta, intrinsic_time_s=1.0, direction=direction)
    taus = [round(tau * steps_per_tau) / steps_per_tau for tau in wanted]
    start = 1 if direction == "p_to_ap" else -1
    found = failures(1, n, delta, overdrive, taus, steps_per_tau, move, start=start) / n

    law = write_error_rate(taus, overdrive, delta, intrinsic_time_s=1.0, direction=direction)
    assert 3 / np.sqrt(n * law.min()) < 0.1
    assert found == pytest.approx(law, rel=0.1)


@pytest.mark.parametrize(("delta", "overdrive", "tau"), [(20.0, 0.3, 700.0), (12.0, 0.2, 200.0)])
def test_read_disturb(delta: float, overdrive: float, tau: float) -> None:
    """The escape under a read current is the law's, with the attempt time that the macrospin implies.

    The law's usual tau0 of 1 ns is a convention, so that its form is what is tested.
    """
    n = 2 * BLOCK
    flipped = 1 - failures(2, n, delta, overdrive, [tau], 8, fall)[0] / n

    tau0 = float(attempt_time(delta, intrinsic_time_s=1.0, overdrive=overdrive))
    law = read_disturb_probability(tau, overdrive, delta, tau0_s=tau0)
    assert 3 / math.sqrt(n * law) < 0.1
    assert flipped == pytest.approx(float(law), rel=0.1)


def test_retention() -> None:
    """Without current, flips back included, the law of retention holds with the macrospin's attempt time."""
    n, tau, delta = 2 * BLOCK, 1000.0, 10.0
    flipped = 1 - failures(3, n, delta, 0.0, [tau], 8, fall, forget=False)[0] / n

    tau0 = float(attempt_time(delta, intrinsic_time_s=1.0))
    law = retention_flip_probability(tau, delta, tau0_s=tau0)
    assert 3 / math.sqrt(n * law) < 0.1
    assert flipped == pytest.approx(float(law), rel=0.1)
