"""Thermally activated switching under a current below the critical one: read disturb."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from accelsim.device.mtj.ranges import Array, OutOfRange, above, at_least, stability

MIN_BARRIER: Final = 4.0  # of the asymptotic attempt time, in k_B T


def read_disturb_probability(
    time_s: ArrayLike, read_overdrive: ArrayLike, delta: ArrayLike, *, tau0_s: float = 1e-9
) -> Array:
    r"""Return the probability that a read current of ``time_s`` flips the state that it destabilises.

    .. math:: p = 1 - \exp\bigl(-(t / \tau_0) e^{-\Delta (1 - i)^2}\bigr)

    One-directional: the other state is held. The exponent 2 is that of a perpendicular MTJ; with the
    exponent 1 of many cache papers p would be about 40 times smaller at i = 0.3 and Delta 20. At i = 0 it is
    the escape of ``retention_time``. Rises with time and overdrive, falls with delta.

    Args:
        time_s: Seconds of read current, 0 or more.
        read_overdrive: Read current over the critical current of its direction, no unit, in [0, 1).
        delta: Thermal stability factor, no unit, in (0, 700].
        tau0_s: Inverse attempt frequency in seconds, over 0; ``attempt_time`` has the macrospin's own.

    Raises:
        OutOfRange: An argument outside its range. At i = 1 the barrier is gone: that is a write.

    Source: docs/sources.md#read-disturb.

    >>> float(read_disturb_probability(3e-9, 0.2, 20.7).round(8))
    5.29e-06
    """
    barrier = stability(delta) * (1 - _below_critical("read_overdrive", read_overdrive)) ** 2
    rate = np.exp(-barrier) / above("tau0_s", tau0_s, 0.0)
    return -np.expm1(-at_least("time_s", time_s, 0.0) * rate)


def attempt_time(
    delta: ArrayLike, *, intrinsic_time_s: ArrayLike = 1.89e-9, overdrive: ArrayLike = 0.0
) -> Array:
    r"""Return the inverse attempt frequency in seconds that a macrospin implies, for use as ``tau0_s``.

    .. math:: \tau_0 = t_D \sqrt{\frac{\pi}{\Delta}} \,
              \frac{1 + (1 + \frac{1 + 3 i^2}{(1 + i)^2}) / (2 B)}{(1 - i^2) (1 - i)},
              \qquad B = \Delta (1 - i)^2

    0.4 to 0.8 ns for the default t_D and Delta 20 to 60, where the field's custom is 1 ns. Within 5 % of the
    Fokker-Planck equation for a barrier B of 5 or more.

    Args:
        delta: Thermal stability factor, no unit.
        intrinsic_time_s: t_D in seconds, over 0.
        overdrive: Current over critical current, no unit, in [0, 1). All broadcast.

    Raises:
        OutOfRange: An argument outside its range, or a barrier below 4.

    Source: docs/sources.md#macrospin-fokker-planck.

    >>> (attempt_time([20.0, 40.0, 60.0]) * 1e9).round(2)
    array([0.79, 0.54, 0.44])
    """
    given = stability(delta)
    i = _below_critical("overdrive", overdrive)
    barrier = given * (1 - i) ** 2
    low = np.argmin(barrier)
    if barrier.flat[low] < MIN_BARRIER:
        where = f"delta {(given + 0 * i).flat[low]:g} with overdrive {(i + 0 * given).flat[low]:g}"
        raise OutOfRange(
            "delta",
            f"{where} leaves a barrier of {barrier.flat[low]:g} k_B T; "
            f"an attempt time needs {MIN_BARRIER:g} or more",
        )
    scale = above("intrinsic_time_s", intrinsic_time_s, 0.0) * np.sqrt(np.pi / given)
    correction = (1 + (1 + 3 * i**2) / (1 + i) ** 2) / (2 * barrier)
    return scale * (1 + correction) / ((1 - i**2) * (1 - i))


def _below_critical(argument: str, value: ArrayLike) -> Array:
    given = at_least(argument, value, 0.0)
    if np.any(given >= 1):
        first = given[given >= 1].flat[0]
        raise OutOfRange(argument, f"{argument} {first:g} must be below 1, where there is a barrier")
    return given
