"""Currents, energies and the time scale of a write."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from accelsim.device.mtj import constants
from accelsim.device.mtj.ranges import Array, OutOfRange, above, at_least, kelvin, stability

Direction = Literal["p_to_ap", "ap_to_p"]

DIRECTIONS: Final = get_args(Direction)


def critical_current(
    delta: ArrayLike,
    *,
    alpha: ArrayLike,
    efficiency: ArrayLike,
    temperature_k: ArrayLike,
    direction: Direction = "p_to_ap",
    asymmetry: ArrayLike = 1.0,
) -> Array:
    r"""Return the critical current Ic0 in amperes of a perpendicular MTJ.

    .. math:: I_{c0} = \frac{4 e \alpha k_B T \Delta}{\hbar \eta}

    for AP -> P, and ``asymmetry`` times as much for P -> AP. As ``delta`` falls with 1/T, their product and
    so the critical current do not depend on the temperature at which both are taken.

    Args:
        delta: Thermal stability factor at ``temperature_k``, no unit, in (0, 700].
        alpha: Gilbert damping, no unit, over 0; usual are 0.005 to 0.03.
        efficiency: Efficiency eta of the spin-transfer torque for AP -> P, no unit, over 0; usual are
            0.3 to 0.7.
        temperature_k: Kelvin, in (0, 1000].
        direction: Of the write.
        asymmetry: Ic0 of P -> AP over that of AP -> P, no unit, over 0; 1.2 to 2 is usual. All broadcast.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#critical-current.

    >>> ic0 = critical_current([40.0, 20.7], alpha=0.01, efficiency=0.5, temperature_k=300.0)
    >>> (ic0 * 1e6).round(1)
    array([20.1, 10.4])
    """
    one_way = 4 * constants.CHARGE_C * constants.BOLTZMANN_J_PER_K / constants.HBAR_J_S
    torque = above("alpha", alpha, 0.0) / above("efficiency", efficiency, 0.0)
    easy = one_way * torque * kelvin("temperature_k", temperature_k) * stability(delta)
    ratio = above("asymmetry", asymmetry, 0.0)
    return easy * (ratio if check_direction(direction) == "p_to_ap" else np.ones_like(ratio))


def intrinsic_time(alpha: ArrayLike, anisotropy_field_t: ArrayLike) -> Array:
    r"""Return the intrinsic time t_D in seconds, in which pulses are counted.

    .. math:: t_D = \frac{1 + \alpha^2}{\alpha \gamma \mu_0 H_k}

    Args:
        alpha: Gilbert damping, no unit, in (0, 1]: a larger one would lengthen it again.
        anisotropy_field_t: mu0 Hk, the effective perpendicular anisotropy field in tesla, over 0.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#macrospin-fokker-planck.

    >>> float((intrinsic_time(0.01, 0.3) * 1e9).round(3))
    1.893
    """
    damping = above("alpha", alpha, 0.0)
    if np.any(damping > 1):
        raise OutOfRange("alpha", f"alpha {damping[damping > 1].flat[0]:g} must be 1 or less")
    field = above("anisotropy_field_t", anisotropy_field_t, 0.0)
    return (1 + damping**2) / (damping * constants.GYROMAGNETIC_RAD_PER_S_T * field)


def write_energy(current_a: ArrayLike, resistance_ohm: ArrayLike, pulse_s: ArrayLike) -> Array:
    r"""Return the energy in joules of one pulse through one ohmic cell.

    .. math:: E = I^2 R t

    Of the cell only: drivers, bit lines and the rest of the array are the macro's.

    Args:
        current_a: Write current in amperes, 0 or more.
        resistance_ohm: Resistance of the cell in ohms, over 0.
        pulse_s: Length of the pulse in seconds, 0 or more. All broadcast.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#macrospin-fokker-planck.

    >>> float((write_energy(60.4e-6, 4500.0, 11.88e-9) * 1e15).round(0))  # fJ
    195.0
    """
    current = at_least("current_a", current_a, 0.0)
    return current**2 * above("resistance_ohm", resistance_ohm, 0.0) * at_least("pulse_s", pulse_s, 0.0)


def write_current(pulse_s: ArrayLike, ic0_a: ArrayLike, c: ArrayLike, gamma: ArrayLike = 1.15) -> Array:
    r"""Return the current in amperes that writes in ``pulse_s``, as the low-retention cache paper has it.

    .. math:: I(t) = I_{c0} (1 + c / t^{\gamma})

    An empirical power law at one error rate that is left unsaid. The numbers of the paper are not known;
    fits of the table give, for Delta 40, c = 16.6 t_D^gamma and gamma 1.15 at an error rate of 1e-9.

    Args:
        pulse_s: Length of the pulse in seconds, over 0.
        ic0_a: Critical current in amperes, over 0.
        c: The paper's C over its J_C0, in s^gamma, 0 or more.
        gamma: Exponent of the pulse, no unit, over 0. All broadcast.

    Raises:
        OutOfRange: An argument outside its range.

    Source: docs/sources.md#low-retention-cache.

    >>> c = 16.6 * 1.893e-9**1.15
    >>> (write_current([5e-9, 10e-9, 20e-9], 20e-6, c) * 1e6).round(0)
    array([129.,  69.,  42.])
    """
    time = above("pulse_s", pulse_s, 0.0)
    over = at_least("c", c, 0.0) / time ** above("gamma", gamma, 0.0)
    return above("ic0_a", ic0_a, 0.0) * (1 + over)


def check_direction(direction: str) -> str:
    """Return ``direction`` if there is such a one."""
    if direction not in DIRECTIONS:
        raise OutOfRange("direction", f'direction "{direction}" must be one of {", ".join(DIRECTIONS)}')
    return direction
