"""How long an MTJ keeps its bit: thermal stability, mean retention, and the probability of a flip."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from accelsim.device.mtj import constants
from accelsim.device.mtj.ranges import Array, OutOfRange, above, at_least, kelvin, spread, stability

NODES: Final = 192  # of the quadrature over a spread of Delta

_LOW_SIGMAS, _HIGH_SIGMAS = -12.0, 6.0


def thermal_stability(retention_s: ArrayLike, *, tau0_s: float = 1e-9) -> Array:
    r"""Return the thermal stability factor whose mean retention is ``retention_s``.

    .. math:: \Delta = \ln(t_{ret} / \tau_0)

    Args:
        retention_s: Mean time to a flip out of one state in seconds, any shape, over ``tau0_s``.
        tau0_s: Inverse attempt frequency in seconds; 1 ns is the custom of the field.

    Raises:
        OutOfRange: ``retention_s`` is not over ``tau0_s``: the cell would have no barrier.

    Source: docs/sources.md#neel-arrhenius.

    >>> thermal_stability([10e-3, 1.0]).round(2)
    array([16.12, 20.72])
    """
    attempt = above("tau0_s", tau0_s, 0.0)
    retention = above("retention_s", retention_s, float(attempt))
    return np.log(retention / attempt)


def retention_time(delta: ArrayLike, *, tau0_s: float = 1e-9) -> Array:
    r"""Return the mean retention in seconds of a cell of thermal stability ``delta``.

    .. math:: t_{ret} = \tau_0 e^{\Delta}

    The inverse of ``thermal_stability``. By this time 63 % of the cells have flipped at least once: a
    retention quoted for an error limit of p is shorter by the factor p.

    Args:
        delta: Thermal stability factor E_b / k_B T, no unit, any shape, in (0, 700].
        tau0_s: Inverse attempt frequency in seconds, over 0.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius.

    >>> float((retention_time(40.3) / (365.25 * 24 * 3600)).round(1))  # years
    10.1
    """
    attempt = above("tau0_s", tau0_s, 0.0)
    return attempt * np.exp(stability(delta))


def thermal_stability_at(delta: ArrayLike, temperature_k: ArrayLike, reference_k: ArrayLike = 300.0) -> Array:
    r"""Return the thermal stability at ``temperature_k`` of a cell that has ``delta`` at ``reference_k``.

    .. math:: \Delta(T) = \Delta(T_0) T_0 / T

    The barrier itself is taken as constant: that magnetisation and anisotropy fall with temperature is
    left out, so that a hot cell is flattered.

    Args:
        delta: Thermal stability factor at ``reference_k``, no unit, in (0, 700].
        temperature_k: Kelvin, in (0, 1000]; broadcasts with the others.
        reference_k: Kelvin, in (0, 1000].

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius.

    >>> thermal_stability_at(60.0, [300.0, 358.0]).round(1)
    array([60. , 50.3])
    """
    return stability(delta) * kelvin("reference_k", reference_k) / kelvin("temperature_k", temperature_k)


def thermal_stability_from_geometry(
    volume_m3: ArrayLike,
    anisotropy_field_t: ArrayLike,
    saturation_a_per_m: ArrayLike,
    *,
    temperature_k: ArrayLike,
) -> Array:
    r"""Return the thermal stability of a free layer that switches as one.

    .. math:: \Delta = \frac{\mu_0 H_k M_s V}{2 k_B T}

    Args:
        volume_m3: Volume of the free layer in cubic metres, over 0.
        anisotropy_field_t: mu0 Hk, the effective perpendicular anisotropy field in tesla, over 0.
        saturation_a_per_m: Saturation magnetisation Ms in A/m, over 0.
        temperature_k: Kelvin, in (0, 1000]. All broadcast.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius.

    >>> disc = 3.14159 / 4 * 50e-9**2 * 1e-9  # 50 nm wide, 1 nm thick
    >>> float(thermal_stability_from_geometry(disc, 0.3, 1.2e6, temperature_k=300.0).round(2))
    85.33
    """
    field = above("anisotropy_field_t", anisotropy_field_t, 0.0)
    moment = above("saturation_a_per_m", saturation_a_per_m, 0.0) * above("volume_m3", volume_m3, 0.0)
    return field * moment / (2 * constants.BOLTZMANN_J_PER_K * kelvin("temperature_k", temperature_k))


def delta_nodes(delta: ArrayLike, cv: float, *, count: int = NODES) -> tuple[Array, Array]:
    r"""Return nodes and weights of the average over cells whose Delta is spread about ``delta``.

    .. math:: E[f(\Delta)] = \sum_j w_j f(\Delta_j), \qquad
              \Delta = \bar\Delta Y, \quad Y \sim N(1, cv^2) \text{ given } Y > 0

    A cell without a barrier does not exist, so that the normal distribution ends at 0 and what is left is
    normalised (cv 10 % cuts off 8e-24, cv 20 % 3e-7). The nodes are those of Gauss and Legendre from 12
    standard deviations under the mean, or 0, to 6 over it: where errors are rare, the cells that make
    them lie about cv * delta standard deviations under the mean, where a quadrature of Gauss and
    Hermite has few nodes. They are the same multiples of ``delta`` for every delta, so that an average is
    as monotone in it as the law. With cv = 0 there is one node.

    Args:
        delta: Mean thermal stability factor, no unit, any shape, in (0, 700].
        cv: Standard deviation over mean, one number in [0, 1).
        count: How many nodes; the default is good to 2e-4 for cv * delta up to 20.

    Returns:
        The nodes, of the shape of ``delta`` and one axis more, and the weights, of that last axis; they add
        up to 1.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius; the quadrature is this project's own.

    >>> nodes, weights = delta_nodes(20.72, 0.077)
    >>> float((weights @ nodes).round(6)), float((weights @ np.exp(-nodes) * 1e9).round(4))
    (20.72, 3.5822)
    """
    multiples, weights = _unit_nodes(spread(cv), count)
    return stability(delta)[..., None] * multiples, weights


def average(values: Array, weights: Array) -> Array:
    """Return the average over the last axis; term by term, as a matrix product may round rows differently.

    So what is monotone at every node is monotone to the last bit.
    """
    total: Array = np.sum(values * weights, axis=-1)
    return total


def retention_flip_probability(
    time_s: ArrayLike, delta: ArrayLike, *, cv: float = 0.0, tau0_s: float = 1e-9
) -> Array:
    r"""Return the probability that a cell reads the other state ``time_s`` after its write.

    .. math:: p = \tfrac12 \bigl(1 - e^{-2 t / (\tau_0 e^{\Delta})}\bigr),
              \text{ averaged over } \Delta \sim N(\bar\Delta, (cv \bar\Delta)^2)

    Escape from both wells at the same rate, so that p tends to 1/2. Rises with time, falls with delta.
    Within 1e-3 of the average from 1e-15 to 1/2, for cv * delta up to 20. Where p is small, the spread
    counts as a delta that is smaller by half its variance.

    Args:
        time_s: Seconds since the write, 0 or more; broadcasts with ``delta``.
        delta: (Mean) thermal stability factor, no unit, at the cell's temperature, in (0, 700].
        cv: Standard deviation of Delta over its mean, in [0, 1); ``delta_nodes`` says what is cut off.
        tau0_s: Inverse attempt frequency in seconds, over 0.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius.

    >>> retention_flip_probability([0.0, 1e-3, 1e6], 25.0)
    array([0.0000000e+00, 1.3887751e-05, 5.0000000e-01])
    >>> float(retention_flip_probability(1e-6, 20.72, cv=0.1).round(9))
    8.578e-06
    """
    time = at_least("time_s", time_s, 0.0)
    nodes, weights = delta_nodes(delta, cv)
    flips = -0.5 * np.expm1(-time[..., None] * _relaxation(nodes, tau0_s))
    return np.minimum(average(flips, weights), 0.5)


def retention_flip_probability_sum(
    first_s: ArrayLike,
    step_s: ArrayLike,
    count: ArrayLike,
    delta: ArrayLike,
    *,
    cv: float = 0.0,
    tau0_s: float = 1e-9,
) -> Array:
    r"""Return the sum of the flip probabilities at first_s, first_s + step_s, ..., ``count`` of them.

    .. math:: \sum_{k=0}^{n-1} p(t_0 + k s) = \tfrac12 \Bigl( n - e^{-a}
              \frac{1 - e^{-n b}}{1 - e^{-b}} \Bigr), \qquad a = 2 t_0 / t_{ret}, \; b = 2 s / t_{ret}

    per node of the spread of Delta: the expected flips of words that were written one after another and are
    read at once. It costs the same for any count.

    Args:
        first_s: Shortest dwell in seconds, 0 or more.
        step_s: Difference of neighbouring dwells in seconds, 0 or more.
        count: How many dwells, whole, 0 or more. All three broadcast with ``delta``.
        delta, cv, tau0_s: As in ``retention_flip_probability``.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#neel-arrhenius; the sum is this project's own.

    >>> dwells = 1e-6 + 1e-7 * np.arange(1000)
    >>> one_by_one = retention_flip_probability(dwells, 16.1, cv=0.077).sum()
    >>> at_once = retention_flip_probability_sum(1e-6, 1e-7, 1000, 16.1, cv=0.077)
    >>> bool(np.isclose(one_by_one, at_once, rtol=1e-12))
    True
    """
    first = at_least("first_s", first_s, 0.0)[..., None]
    step = at_least("step_s", step_s, 0.0)[..., None]
    terms = _whole(count)[..., None]
    nodes, weights = delta_nodes(delta, cv)
    rate = _relaxation(nodes, tau0_s)
    lost = _lost_from_geometric_sum(rate * step, terms)
    gone = lost - (terms - lost) * np.expm1(-rate * first)  # n - S + S (1 - exp(-a))
    return average(0.5 * gone, weights)


def _lost_from_geometric_sum(b: Array, n: Array) -> Array:
    """Return n - (1 - exp(-n b)) / (1 - exp(-b)), also where both parts are almost n."""
    small = n * b < 1e-3
    # the sums of k, k^2 and k^3 below n
    ones = n * (n - 1) / 2
    series = b * (ones - b * (n - 1) * n * (2 * n - 1) / 12 + b**2 * ones**2 / 6)
    safe = np.where(small, 1.0, b)
    return np.where(small, series, n - np.expm1(-n * safe) / np.expm1(-safe))


def _relaxation(nodes: Array, tau0_s: float) -> Array:
    """Return 2 / mean retention, in 1/s."""
    return 2 * np.exp(-nodes) / above("tau0_s", tau0_s, 0.0)


def _whole(count: ArrayLike) -> Array:
    given = at_least("count", count, 0.0)
    if np.any(given != np.floor(given)):
        raise OutOfRange("count", f"count {given[given != np.floor(given)].flat[0]:g} is not a whole number")
    return given


@lru_cache(maxsize=64)
def _unit_nodes(cv: float, count: int) -> tuple[Array, Array]:
    """Return nodes and weights for a mean of 1; not to be written to."""
    if cv == 0:
        points, weights = np.ones(1), np.ones(1)
    else:
        low, high = max(0.0, 1 + _LOW_SIGMAS * cv), 1 + _HIGH_SIGMAS * cv
        roots, weights = np.polynomial.legendre.leggauss(count)
        points = (low + high) / 2 + (high - low) / 2 * roots
        weights = weights * np.exp(-0.5 * ((points - 1) / cv) ** 2)
        weights = weights / weights.sum()
    points.setflags(write=False)
    weights.setflags(write=False)
    return points, weights
