"""The write error rate of a pulse, and the pulse of a write error rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from accelsim.device.mtj.closed import closed_error_rate, closed_pulse
from accelsim.device.mtj.currents import Direction, check_direction
from accelsim.device.mtj.ranges import Array, OutOfRange, above, at_least, stability, within
from accelsim.device.mtj.retention import average
from accelsim.device.mtj.table import MIN_OVERDRIVE, shipped_table

Model = Literal["table", "closed"]

MIN_DELTA: Final = 8.0
MAX_DELTA: Final = 80.0
MAX_OVERDRIVE: Final = 8.0

_BLOCK: Final = 20_000  # points at a time, for memory
_SIGMAS: Final = np.arange(-8.5, 5.0 + 1e-9, 0.125)  # of the average over a spread of overdrives
_PRECISION: Final = 1e-12  # of the logarithm of a pulse
_SHORTEST: Final = 1e-12  # in intrinsic times


@dataclass(frozen=True, slots=True)
class _Law:
    """Error rate and pulse of a model, in intrinsic times, of points of one shape."""

    error_rate: Callable[[Array], Array]
    pulse: Callable[[Array], Array]


def write_error_rate(
    pulse_s: ArrayLike,
    overdrive: ArrayLike,
    delta: ArrayLike,
    *,
    intrinsic_time_s: ArrayLike = 1.89e-9,
    model: Model = "table",
    overdrive_sigma: ArrayLike = 0.0,
    direction: Direction = "p_to_ap",
) -> Array:
    r"""Return the probability that a pulse does not switch a cell that it should switch.

    ``model="table"``: the Fokker-Planck equation of a macrospin from its Boltzmann distribution,

    .. math:: \partial_\tau \rho = \partial_x \bigl[ (1 - x^2) \bigl( (i - x) \rho
              + \tfrac{1}{2 \Delta} \partial_x \rho \bigr) \bigr], \quad
              WER = \int_0^1 \rho \, dx, \quad \tau = t / t_D

    from a table, for delta 8 to 80 and overdrive 1.05 to 8. Below its last error rate, 1e-15, WER decays as
    exp(-lambda tau). ``model="closed"``: the form of Butler et al., for any delta and any overdrive over 1,

    .. math:: WER = 1 - \exp \frac{-(\pi^2 / 4) \Delta (i - 1)}{i e^{2 (i - 1) \tau} - 1}

    which is too high up to i = 3 (1.6 to 2.5 times at i = 2, 3 to 26 times at 1.5, far more below) and a
    little too low from 4.

    Falls with pulse and overdrive, rises with delta and with the intrinsic time; 1 at pulse 0 (closed:
    almost). A bit that is written as it was cannot fail: multiply by the share of changed bits.

    Args:
        pulse_s: Length of the pulse in seconds, 0 or more.
        overdrive: Current over the critical current of this direction, no unit.
        delta: Thermal stability factor at the cell's temperature, no unit.
        intrinsic_time_s: t_D in seconds, over 0; see ``intrinsic_time``.
        model: "table" or "closed".
        overdrive_sigma: Standard deviation of a normal spread of overdrives over cells or pulses, no unit,
            0 or more: the result is the average. Overdrives of the spread that are below 0 count as 0,
            those over the table as its last.
        direction: Of the write. The equation is the same for both, as ``overdrive`` is over the direction's
            own critical current: ``critical_current`` has the ratio of the two.

    Returns:
        Probabilities in [0, 1], of the broadcast shape of the numbers.

    Raises:
        OutOfRange: An argument outside its range; an overdrive of 1 or less never writes in this regime.

    Source: docs/sources.md#macrospin-fokker-planck and #butler-2012.

    >>> [f"{wer:.2g}" for wer in write_error_rate([5e-9, 10e-9, 20e-9], 2.0, 40.0)]
    ['0.15', '0.00073', '1.6e-08']
    """
    check_direction(direction)
    pulse = at_least("pulse_s", pulse_s, 0.0)
    points = _points(pulse, overdrive, delta, intrinsic_time_s, overdrive_sigma, model)

    def block(tau: Array, i: Array, stable: Array, sigma: Array) -> Array:
        law, weights = _law(i, stable, sigma, model)
        return _average(law, weights, tau)

    return _in_blocks(block, points)


def write_pulse(
    wer: ArrayLike,
    overdrive: ArrayLike,
    delta: ArrayLike,
    *,
    intrinsic_time_s: ArrayLike = 1.89e-9,
    model: Model = "table",
    overdrive_sigma: ArrayLike = 0.0,
    direction: Direction = "p_to_ap",
) -> Array:
    """Return the length in seconds of the pulse whose ``write_error_rate`` is ``wer``.

    Within 0.3 % of the solver for error rates from 1e-15 to 0.5, 1 % to 0.97. Falls with wer and overdrive,
    rises with delta.

    Args:
        wer: Error rate, in (0, 1].
        overdrive, delta, intrinsic_time_s, model, overdrive_sigma, direction: As in ``write_error_rate``.

    Raises:
        OutOfRange: An argument outside its range, or a spread for which no pulse is long enough.

    Source: docs/sources.md#macrospin-fokker-planck and #butler-2012.

    >>> (write_pulse([1e-9, 1e-6, 1e-3], 2.0, 40.0) * 1e9).round(1)
    array([22.6, 16.2,  9.7])
    """
    check_direction(direction)
    wanted = above("wer", wer, 0.0)
    if np.any(wanted > 1):
        raise OutOfRange("wer", f"wer {wanted[wanted > 1].flat[0]:g} must be 1 or less")
    points = _points(wanted, overdrive, delta, intrinsic_time_s, overdrive_sigma, model, scaled=False)

    def block(target: Array, i: Array, stable: Array, sigma: Array) -> Array:
        law, weights = _law(i, stable, sigma, model)
        if len(weights) == 1:
            return law.pulse(target[:, None])[:, 0]
        return _solve(law, weights, target)

    return _in_blocks(block, points) * above("intrinsic_time_s", intrinsic_time_s, 0.0)


def _points(
    first: Array,
    overdrive: ArrayLike,
    delta: ArrayLike,
    intrinsic_time_s: ArrayLike,
    sigma: ArrayLike,
    model: str,
    scaled: bool = True,
) -> list[Array]:
    """Return the checked numbers, broadcast; ``first`` over the intrinsic time if ``scaled``."""
    unit = above("intrinsic_time_s", intrinsic_time_s, 0.0)
    if model == "table":
        i = within("overdrive", overdrive, MIN_OVERDRIVE, MAX_OVERDRIVE, "the table of write errors")
        stable = within("delta", delta, MIN_DELTA, MAX_DELTA, "the table of write errors")
    elif model == "closed":
        i, stable = above("overdrive", overdrive, 1.0), stability(delta)
    else:
        raise OutOfRange("model", f'model "{model}" must be one of table, closed')
    first = first / unit if scaled else first
    return list(np.broadcast_arrays(first, i, stable, at_least("overdrive_sigma", sigma, 0.0)))


def _in_blocks(block: Callable[[Array, Array, Array, Array], Array], points: list[Array]) -> Array:
    """Return ``block`` of the flattened points, a bounded number at a time, in their shape."""
    flat = [p.ravel() for p in points]
    size = _BLOCK if not flat[3].any() else _BLOCK // len(_SIGMAS)
    parts = [block(*(p[k : k + size] for p in flat)) for k in range(0, len(flat[0]), size)]
    found = np.concatenate(parts) if parts else np.empty(0)
    return found.reshape(points[0].shape)[()]


def _law(overdrive: Array, delta: Array, sigma: Array, model: str) -> tuple[_Law, Array]:
    """Return the law at n points and, for each, at the m nodes of its spread, and the m weights."""
    sigmas = _SIGMAS if sigma.any() else np.zeros(1)
    weights = np.exp(-(sigmas**2) / 2)
    spread = np.maximum(overdrive[:, None] + sigma[:, None] * sigmas, 0.0)
    stable = np.broadcast_to(delta[:, None], spread.shape)
    if model == "closed":
        law = _Law(
            lambda tau: closed_error_rate(tau, spread, stable), lambda wer: closed_pulse(wer, spread, stable)
        )
    else:
        curves = shipped_table().curves(np.minimum(spread, MAX_OVERDRIVE), stable)
        law = _Law(curves.error_rate, curves.pulse)
    return law, weights / weights.sum()


def _average(law: _Law, weights: Array, tau: Array) -> Array:
    """Return the error rates of n points at pulses ``tau``, averaged over their spreads."""
    rates = law.error_rate(np.repeat(tau[:, None], len(weights), axis=1))
    return np.minimum(average(rates, weights), 1.0)


def _solve(law: _Law, weights: Array, target: Array) -> Array:
    """Return the pulses at which the average is ``target``, by bisection of their logarithms."""
    low = law.pulse(target[:, None])[:, -1]  # of the largest overdrive: all others fail more often
    high = np.maximum(law.pulse(target[:, None])[:, 0], low)
    if np.any(_average(law, weights, high) > target * (1 + 1e-9)):
        raise OutOfRange(
            "overdrive_sigma",
            "with this overdrive_sigma no pulse reaches the error rate: cells below the critical current "
            "never switch in the closed form",
        )
    bottom, top = np.log(np.maximum(low, _SHORTEST)), np.log(np.maximum(high, _SHORTEST))
    while np.max(top - bottom) > _PRECISION:
        middle = (bottom + top) / 2
        fails = _average(law, weights, np.exp(middle))
        bottom, top = np.where(fails > target, middle, bottom), np.where(fails > target, top, middle)
    return np.where(target == 1, 0.0, np.exp(top))
