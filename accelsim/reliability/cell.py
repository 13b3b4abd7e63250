"""The cells of a bank group, as rates and probabilities at every node of their spread of Delta.

The spread is static: a cell has one Delta, and all that happens to a copy's bit in it shares that Delta.
So everything here has an axis of Delta nodes, and averages are taken last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from accelsim.device import mtj
from accelsim.device.mtj.retention import NODES
from accelsim.reliability.chain import Array
from accelsim.resolve.machine import BankGroup, Device
from accelsim.words import ROLES, Role

Cause = Literal["write", "retention", "read_disturb", "sense"]

_NODES: Final = ((1.0, 32), (3.0, 48), (4.5, 64), (np.inf, 96))  # up to a spread cv * Delta: 1e-3
DEFAULT_TOGGLE: Final = 0.5  # random data: half of the bits change
_SIGMAS: Final = np.arange(-8.5, 5.0 + 1e-9, 0.125)  # of the spread of overdrives


@dataclass(frozen=True, eq=False)
class Cell:
    """What happens to a bit, by state and node of Delta (``k`` of them).

    Attributes:
        weights: Of the nodes, shape ``(k,)``, their sum is 1.
        rates: Of thermal flips out of each state, per ps, shape ``(2, k)``.
        disturb: Hazard of one read in each state, no unit, shape ``(2, k)``.
        writes: By role: the probability that a bit is left wrong by its write, by the value it was
            to have, shape ``(2, k)``.
        sense: Probability that a read delivers a right bit wrong.
    """

    weights: Array
    rates: Array
    disturb: Array
    writes: Mapping[str, Array]
    sense: float

    def mean(self, values: Array) -> Array:
        """Return the average over nodes, which are the last axis."""
        return np.asarray(values @ self.weights)

    def only(self, cause: Cause) -> Cell:
        """Return the cells as if there were no other cause of errors."""
        still = np.zeros_like(self.rates)
        return replace(
            self,
            rates=self.rates if cause == "retention" else still,
            disturb=self.disturb if cause == "read_disturb" else still,
            writes=self.writes if cause == "write" else dict.fromkeys(self.writes, still),
            sense=self.sense if cause == "sense" else 0.0,
        )


def cell_of(group: BankGroup, device: Device, toggle: Mapping[Role, float], *, fine: bool = True) -> Cell:
    """Return the cells of ``group``, made of ``device``.

    Args:
        toggle: Share of a written word's bits that change, by role; a half where a role is absent.
        fine: Take all nodes of the device's laws; else as few as give averages to 1e-3.
    """
    mean = mtj.thermal_stability_at(device.delta, device.temperature_k, device.reference_k)
    spread = float(mean) * device.delta_cv
    few = next(count for limit, count in _NODES if spread <= limit)
    nodes, weights = mtj.delta_nodes(mean, device.delta_cv, count=NODES if fine else few)
    states = np.array([[1 + device.state_asymmetry], [1 - device.state_asymmetry]]) * nodes
    fails = write_failures(device, nodes, group.write_retries)
    cell = Cell(
        weights=weights,
        rates=1e-12 / device.tau0_s * np.exp(-states),
        disturb=_disturb(device, states),
        writes={role: toggle.get(role, DEFAULT_TOGGLE) * fails for role in ROLES},
        sense=device.sense_error,
    )
    return _without_negligible(cell, fails, 1e-16 if fine else 1e-8)


def _without_negligible(cell: Cell, fails: Array, limit: float) -> Cell:
    """Return the cells without nodes that tell neither while errors are rare nor when all bits are random."""
    shares = [cell.weights]
    for strength in (cell.rates, cell.disturb, fails):
        felt = cell.weights * strength.sum(axis=0)
        shares.append(felt / max(felt.sum(), 1e-300))
    keep = np.max(shares, axis=0) > limit
    return replace(
        cell,
        weights=cell.weights[keep],
        rates=cell.rates[:, keep],
        disturb=cell.disturb[:, keep],
        writes={role: values[:, keep] for role, values in cell.writes.items()},
    )


def _disturb(device: Device, states: Array) -> Array:
    """Return the hazard of one read: of the one state that the read current drives out."""
    hazard = np.zeros_like(states)
    s = device.read_disturbs
    p = mtj.read_disturb_probability(device.read_s, device.read_overdrive, states[s], tau0_s=device.tau0_s)
    hazard[s] = -np.log1p(-np.minimum(p, 1 - 1e-16))
    return hazard


def write_failures(device: Device, nodes: Array, retries: int) -> Array:
    """Return the probability that a bit which should change does not, by the value it should take.

    A write and its ``retries`` fail together where each fails; a cell's overdrive is the same each time.
    The overdrive is the device's at every node: what of its spread comes with that of Delta is in
    ``overdrive_sigma`` as far as the device says so. Nodes outside of the law's table count as its ends;
    one that stands for all cells is refused there.

    Args:
        nodes: Delta of the mean of both states, shape ``(k,)``.
        retries: Writes after the first.

    Returns:
        Shape ``(2, k)``; the first axis is the value: 0 (antiparallel to parallel) or 1.
    """
    fails = np.empty((2, len(nodes)))
    inside = np.clip(nodes, mtj.MIN_DELTA, mtj.MAX_DELTA) if len(nodes) > 1 else nodes
    directions: tuple[tuple[int, float, mtj.Direction], ...] = (
        (0, device.overdrive * device.write_asymmetry, "ap_to_p"),
        (1, device.overdrive, "p_to_ap"),
    )
    for value, overdrive, direction in directions:
        mean = min(overdrive, mtj.MAX_OVERDRIVE)
        sigma = device.overdrive_sigma
        if retries == 0 or sigma == 0:
            wer = _error_rate(device, np.array([mean]), inside, sigma, direction)[0]
            fails[value] = wer ** (retries + 1)
            continue
        spread = mean + sigma * _SIGMAS
        held = np.clip(spread, mtj.MIN_OVERDRIVE, mtj.MAX_OVERDRIVE)
        each = _error_rate(device, held, inside, 0.0, direction)
        each = np.where(spread[:, None] < mtj.MIN_OVERDRIVE, 1.0, each)
        weights = np.exp(-(_SIGMAS**2) / 2)
        fails[value] = (weights / weights.sum()) @ each ** (retries + 1)
    return fails


def _error_rate(
    device: Device, overdrive: Array, nodes: Array, sigma: float, direction: mtj.Direction
) -> Array:
    """Return one write's error rate, by overdrive and node."""
    return np.asarray(
        mtj.write_error_rate(
            device.pulse_s,
            overdrive[:, None],
            nodes,
            intrinsic_time_s=device.intrinsic_time_s,
            overdrive_sigma=sigma,
            direction=direction,
        )
    )
