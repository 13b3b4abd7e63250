"""Placement by lifetime: what would lie in a group for longer than its ``max_dwell`` is not kept there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from accelsim.mapping.gaps import Gap
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import BankGroup

SLACK = 2  # a kernel is taken to last so many times what its unit needs with everything at hand


def for_as_long(banks: Mapping[str, BankGroup], groups: Iterable[str], time_ps: int) -> tuple[str, ...]:
    """Return those of ``groups`` that may hold buffers of a kernel whose unit needs ``time_ps`` at least."""
    return tuple(g for g in groups if SLACK * time_ps <= (banks[g].max_dwell_ps or SLACK * time_ps))


class Dwells:
    """How long data would lie, estimated from the times that the kernels' units need at least."""

    def __init__(self, banks: Mapping[str, BankGroup], times_ps: Sequence[int]) -> None:
        self.limits = {name: bank.max_dwell_ps for name, bank in banks.items() if bank.max_dwell_ps}
        self.until = [SLACK * t for t in accumulate(times_ps, initial=0)]

    def allowed(self, gap: Gap, life: Life) -> Gap:
        """Return the gap with the groups left that may hold it from the copy's write to the gap's end.

        The write is the tensor's own, or, where it is filled, at the earliest its first use.
        """
        if not self.limits:
            return gap
        lies = self.until[gap.end + 1] - self.until[life.events()[0]]
        return replace(gap, groups=tuple(g for g in gap.groups if self._holds(g, lies)))

    def over_the_step(self, groups: Iterable[str]) -> frozenset[str]:
        """Return those groups that may hold data for a whole step."""
        return frozenset(g for g in groups if self._holds(g, self.until[-1]))

    def _holds(self, group: str, lies_ps: int) -> bool:
        return lies_ps <= self.limits.get(group, lies_ps)
