"""How long data may lie in a bank group until a given share of its bits is read wrong.

One write, one read before the one that counts, and the time between them; after correction, and between
scrubs. What is left out is small where errors are rare, and what is simplified errs towards more errors:
of a code word all errors of three or more bits count as miscorrected, and a word that a scrub finds lost
is lost for good. The errors of a run, which know every read, are in its ``errors.parquet``.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from accelsim.device.laws import flipped, laws, write_failure
from accelsim.resolve.bank_group import BankGroup, Device, Ecc

LONGEST_PS: Final = 10**20  # three years: what lasts longer has no limit
_HALVINGS: Final = 60


class GroupErrors:
    """The probability that a bit of one group is read wrong, by the time since its write."""

    def __init__(self, group: BankGroup, device: Device, toggle: float) -> None:
        self.group, self.device, self.law = group, device, laws(device.law)
        fails = [write_failure(self.law, device, old, group.write_retries) for old in (0, 1)]
        self.write = toggle * sum(fails) / 2
        nodes, weights = self.law.nodes(device)
        self.disturb = float(weights @ self.law.read_disturb_probability(device, nodes)) / 2

    def at(self, time_ps: float) -> float:
        """Return the probability ``time_ps`` after the write."""
        group = self.group
        if group.refresh_ps and group.refresh_model == "literature":
            time_ps = min(time_ps, group.refresh_ps)
        if group.ecc is None:
            return self._raw(self._flipped(time_ps) + self._rewritten(time_ps))
        scrub = group.scrub_ps
        if not scrub or time_ps <= scrub:
            return delivered(group.ecc, self._raw(self._flipped(time_ps) + self._rewritten(time_ps)))
        since = self._flipped(scrub) + self.disturb
        scrubs = time_ps / scrub
        lost = scrubs * (
            delivered(group.ecc, since) + _two_or_more(group.ecc, since) * self._flipped(time_ps)
        )
        return min(0.5, delivered(group.ecc, self._raw(self._flipped(scrub))) + lost)

    def _flipped(self, time_ps: float) -> float:
        return flipped(self.law, self.device, time_ps * 1e-12)

    def _rewritten(self, time_ps: float) -> float:
        """Return what refreshes leave wrong: each senses, writes what it sensed, and disturbs."""
        if not self.group.refresh_ps:
            return 0.0
        return time_ps / self.group.refresh_ps * (self.disturb + self.device.sense_error)

    def _raw(self, kept: float) -> float:
        return min(0.5, self.write + self.disturb + self.device.sense_error + kept)

    def largest_dwell_ps(self, rate: float) -> int | None:
        """Return the longest time after which no more than ``rate`` is wrong; 0: never; None: no limit."""
        if self.at(0.0) > rate:
            return 0
        if self.at(LONGEST_PS) <= rate:
            return None
        low, high = 1.0, float(LONGEST_PS)
        if self.at(low) > rate:
            return 0
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self.at(middle) > rate else (middle, high)
        return int(low)


def delivered(ecc: Ecc, wrong: float) -> float:
    """Return at most how many bits are wrong after correction, of which ``wrong`` are before.

    A wrong bit stays if another of its word is wrong; three and more wrong bits may turn a right one.
    """
    p = np.float64(min(wrong, 0.5))
    stays = p * -np.expm1((ecc.code_bits - 1) * np.log1p(-p))
    return float(min(stays + _or_more(ecc.code_bits, p, 3) / ecc.data_bits, p * ecc.code_bits, 0.5))


def _two_or_more(ecc: Ecc, wrong: float) -> float:
    return _or_more(ecc.code_bits, np.float64(min(wrong, 0.5)), 2)


def _or_more(bits: int, p: np.float64, least: int) -> float:
    """Return the probability that ``least`` or more of ``bits`` are wrong, as a sum without differences."""
    odds = p / (1 - p)
    none = float((1 - p) ** bits)
    return min(1.0, sum(math.comb(bits, w) * float(odds) ** w * none for w in range(least, bits + 1)))
