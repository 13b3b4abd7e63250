"""The solver behind the table of write error rates: the Fokker-Planck equation of a macrospin.

.. math:: \\partial_\\tau \\rho = \\partial_x \\Bigl[ (1 - x^2) \\Bigl( (i - x) \\rho
          + \\tfrac{1}{2 \\Delta} \\partial_x \\rho \\Bigr) \\Bigr], \\qquad x = \\cos \\theta

x is the free layer's direction along the easy axis, i the overdrive, tau the pulse over the intrinsic
time. A pulse begins with the Boltzmann distribution of the well x > 0 and fails where x > 0 at its end.
Cells that come below ``FAR`` count as written for good: what would return from there is the stationary
tail under the current, below 4e-11 for every overdrive from 1.05 and Delta from 8.

Space is cut into finite volumes with exponentially fitted rates, so that the equation becomes a Markov
chain. Its transition matrices come from a Taylor series and repeated squaring, in which no two numbers
are subtracted: the smallest probability is as exact as the largest. Two grids and Richardson's
extrapolation take the error of second order out.
Source: docs/sources.md#macrospin-fokker-planck.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR: Final = -0.9  # x under which a cell is in the other well
CELLS: Final = 256  # of the coarser grid, from pole to pole
_STEPS: Final = 64  # per doubling of the time
_FIRST_STEP: Final = 2.0**-13  # in units of the intrinsic time


def hazard(wer: Array) -> Array:
    """Return -ln(1 - wer): the same as ``wer`` where that is small, and still telling near 1."""
    with np.errstate(divide="ignore"):
        return -np.log1p(-wer)


def solve_pulses(wers: Array, overdrive: float, delta: float, cells: int = CELLS) -> Array:
    """Return the pulses, in intrinsic times, after which the error rates are ``wers``.

    Args:
        wers: Error rates in (0, 1), falling, shape ``(k,)``.
        overdrive: Current over critical current, 0 or more.
        delta: Thermal stability factor, about 5 to 100.
        cells: Finite volumes of the coarser of the two grids.
    """
    coarse, fine = (pulses_on_grid(wers, overdrive, delta, n) for n in (cells, 2 * cells))
    return fine + (fine - coarse) / 3


def pulses_on_grid(wers: Array, overdrive: float, delta: float, cells: int) -> Array:
    """Return the pulses of ``wers`` on one grid."""
    times, left = decay(overdrive, delta, cells, float(wers.min()))
    return _inverse(np.log(hazard(wers)), np.log(hazard(left)), np.log(times))


def decay(overdrive: float, delta: float, cells: int, until: float) -> tuple[Array, Array]:
    """Return rising times, and the error rate at each, from nearly 1 down to below ``until``."""
    start, rates = _chain(overdrive, delta, cells)
    step = _FIRST_STEP
    transition = _exponential(rates * step)
    fails = (np.arange(len(start)) < cells // 2).astype(np.float64)  # by where a cell starts
    times: list[float] = []
    left: list[float] = []
    now = 0.0
    steps = 2 * _STEPS  # from 0; later from one power of two to the next
    while not left or left[-1] >= until / 10:
        for _ in range(steps):
            fails = transition @ fails
            now += step
            times.append(now)
            left.append(float(start @ fails))
        transition = transition @ transition
        transition /= transition.sum(axis=1, keepdims=True)  # or rounding would double each time
        step *= 2
        steps = _STEPS
    told = np.array(left)
    keep = told < 1 - 1e-12
    return np.array(times)[keep], told[keep]


def _chain(overdrive: float, delta: float, cells: int) -> tuple[Array, Array]:
    """Return the start distribution and the rate matrix (from row to column); the last volume absorbs."""
    edge = np.cos(np.linspace(0.0, np.pi, cells + 1))  # of the volumes, from x = 1 down
    edge[cells // 2] = 0.0
    centre = np.cos((np.arange(cells) + 0.5) * np.pi / cells)
    width = edge[:-1] - edge[1:]
    inner = edge[1:-1]
    gap = centre[:-1] - centre[1:]
    conductance = (1 - inner**2) / (2 * delta * gap)
    # ln of stationary density: delta (x^2 - 2 i x); its rise over a gap decides the fitting
    rise = delta * (centre[1:] ** 2 - centre[:-1] ** 2 - 2 * overdrive * (centre[1:] - centre[:-1]))
    down = conductance * _bernoulli(-rise) / width[:-1]  # towards x = -1
    up = conductance * _bernoulli(rise) / width[1:]
    rates = np.diag(down, 1) + np.diag(up, -1)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    start = np.where(centre > 0, _boltzmann(edge, delta), 0.0)
    kept = int(np.count_nonzero(centre >= FAR))
    rates[kept] = 0.0  # the first volume beyond takes all that comes
    return start[: kept + 1] / start.sum(), rates[: kept + 1, : kept + 1]


def _boltzmann(edge: Array, delta: float) -> Array:
    """Return the integrals of exp(delta (x^2 - 1)) over the volumes, by Gauss-Legendre."""
    points, weights = np.polynomial.legendre.leggauss(8)
    middle, half = (edge[:-1] + edge[1:]) / 2, (edge[:-1] - edge[1:]) / 2
    x = middle[:, None] + half[:, None] * points
    return half * (np.exp(delta * (x**2 - 1)) @ weights)


def _bernoulli(z: Array) -> Array:
    """Return z / (exp(z) - 1)."""
    small = np.abs(z) < 1e-6
    safe = np.where(small, 1.0, z)
    return np.where(small, 1 - z / 2, safe / np.expm1(safe))


def _exponential(rates: Array) -> Array:
    """Return exp of a matrix that is non-negative off its diagonal, without a subtraction."""
    shift = float(-rates.diagonal().min())
    halvings = max(0, int(np.ceil(np.log2(max(shift, 1e-300)))))
    positive = (rates + shift * np.eye(len(rates))) / 2**halvings
    term = total = np.eye(len(rates))
    for order in range(1, 24):
        term = term @ positive / order
        total = total + term
    total *= np.exp(-shift / 2**halvings)
    for _ in range(halvings):
        total = total @ total
    return total


def _inverse(wanted: Array, falling: Array, log_times: Array) -> Array:
    """Return the times at which ``falling`` is ``wanted``, by cubics through four points."""
    y, x = falling[::-1], log_times[::-1]
    first = np.clip(np.searchsorted(y, wanted) - 2, 0, len(y) - 4)
    near = first[:, None] + np.arange(4)
    ys, xs = y[near], x[near]
    total = np.zeros(len(wanted))
    for a in range(4):
        others = [b for b in range(4) if b != a]
        basis = np.ones(len(wanted))
        for b in others:
            basis *= (wanted - ys[:, b]) / (ys[:, a] - ys[:, b])
        total += xs[:, a] * basis
    return np.exp(total)
