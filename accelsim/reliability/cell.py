"""The cells of a bank group, as rates and probabilities at every node of their spread.

The spread is static: a cell has one thermal stability, and all that happens to a copy's bit in it shares
it. So everything here has an axis of nodes, and averages are taken last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from accelsim.device.laws import laws, write_failure
from accelsim.reliability.chain import Array
from accelsim.resolve.bank_group import BankGroup, Device
from accelsim.resolve.machine import Changes
from accelsim.words import ROLES, Role

Cause = Literal["write", "retention", "read_disturb", "sense"]

DEFAULT_TOGGLE: Final = 0.5  # random data: half of the bits change
_MERGED: Final = 0.7  # of ln(rate): nodes as near as that are one where few have to do


@dataclass(frozen=True, eq=False)
class Cell:
    """What happens to a bit, by state and node (``k`` of them).

    Attributes:
        weights: Of the nodes, shape ``(k,)``, their sum is 1.
        rates: Of thermal flips out of each state, per ps, shape ``(2, k)``.
        disturb: Hazard of one read in each state, no unit, shape ``(2, k)``.
        writes: By role: the probability that a bit is left wrong by its write, by the value it was
            to have, shape ``(2, k)``.
        sense: Probability that a read delivers a right bit wrong.
        rewritten: Hazard of one refresh in each state, shape ``(2, 1)``: it writes what it sensed.
    """

    weights: Array
    rates: Array
    disturb: Array
    writes: Mapping[str, Array]
    sense: float
    rewritten: Array

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
            rewritten=self.rewritten if cause == "sense" else np.zeros_like(self.rewritten),
        )


Toggles = Mapping[Role, float | Changes]


def cell_of(group: BankGroup, device: Device, toggle: Toggles, *, fine: bool = True) -> Cell:
    """Return the cells of ``group``, made of ``device``.

    Args:
        toggle: Share of a written word's bits that change, or those that go to 0 and to 1, by role; a half
            where a role is absent.
        fine: Take all nodes of the device's laws; else as few as give averages to half a percent.

    Raises:
        InputError: A device outside the range of its laws.
    """
    law = laws(device.law)
    nodes, weights = law.nodes(device)
    disturb = np.zeros((2, len(nodes)))
    struck = np.minimum(law.read_disturb_probability(device, nodes), 1 - 1e-16)
    disturb[device.read_disturbs] = -np.log1p(-struck)
    rates = 1e-12 * np.array(law.rates_per_s(device, nodes))
    weights, rates, disturb = _thinned(weights, rates, disturb, None if fine else _MERGED)
    fails = np.array([[write_failure(law, device, 1 - new, group.write_retries)] for new in (0, 1)])
    return Cell(
        weights=weights,
        rates=rates,
        disturb=disturb,
        writes={r: np.repeat(_changed(toggle, r) * fails, len(weights), axis=1) for r in ROLES},
        sense=device.sense_error,
        rewritten=_hazard(device.sense_error * (1 - fails[::-1])),
    )


def _changed(toggle: Toggles, role: Role) -> Array:
    """Return the probability that a bit was the other one before its write, by its value; shape ``(2, 1)``.

    Of both values half of the bits are taken to be.
    """
    share = toggle.get(role, DEFAULT_TOGGLE)
    falls, rises = share if isinstance(share, tuple) else (share / 2, share / 2)
    return np.asarray(np.minimum(2 * np.array([[falls], [rises]]), 1.0))


def _hazard(leave: Array) -> Array:
    """Return the hazards of which ``drift`` makes ``leave``."""
    total = np.minimum(leave.sum(axis=0), 1 - 1e-16)
    scale = np.divide(-np.log1p(-total), total, out=np.ones_like(total), where=total > 0)
    return np.asarray(leave * scale)


def _thinned(weights: Array, rates: Array, disturb: Array, merge: float | None) -> tuple[Array, Array, Array]:
    """Return nodes without those that tell neither while errors are rare nor when all bits are random.

    With ``merge``, nodes whose rates are as near as that in ln count as one of the mean rate.
    """
    shares = [weights]
    for strength in (rates.sum(axis=0), disturb.sum(axis=0)):
        felt = weights * strength
        shares.append(felt / felt.sum() if felt.sum() else felt)
    keep = np.max(shares, axis=0) > (1e-16 if merge is None else 1e-8)
    weights, rates, disturb = weights[keep], rates[:, keep], disturb[:, keep]
    if merge is None or not rates.any():
        return weights, rates, disturb
    steps = np.floor(np.log(np.maximum(rates.sum(axis=0), 1e-300)) / merge)
    which = np.unique(steps, return_inverse=True)[1]
    pick = np.zeros((which.max() + 1, len(weights)))
    pick[which, np.arange(len(weights))] = weights
    total = pick.sum(axis=1)
    return total, rates @ pick.T / total, disturb @ pick.T / total
