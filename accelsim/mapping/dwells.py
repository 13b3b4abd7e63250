"""Placement by lifetime and by errors: what would lie in a group for too long is not kept there.

For too long means longer than the group's ``max_dwell``, or, under the policy ``sensitivity``, until more
bits are wrong than the readers of the data tolerate. Under that policy a tensor's groups are taken in
another order too: first those that may hold it to its last use, of them the cheapest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from accelsim.mapping.gaps import Gap
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import Machine, Tolerated

SLACK = 2  # a kernel is taken to last so many times what its unit needs with everything at hand


@dataclass(frozen=True, slots=True)
class Stay:
    """How long a tensor would lie, and of what its readers tolerate the strictest in one group."""

    life: Life
    group: str
    lies_ps: int
    strictest: Tolerated


class Dwells:
    """How long data would lie, estimated from the times that the kernels' units need at least."""

    def __init__(self, machine: Machine, lives: Mapping[str, Life], times_ps: Sequence[int]) -> None:
        self.machine = machine
        self.limits = {name: bank.max_dwell_ps for name, bank in machine.banks.items() if bank.max_dwell_ps}
        self.until = [SLACK * t for t in accumulate(times_ps, initial=0)]
        self._tolerated = {name: _tolerated(machine, lives, life) for name, life in lives.items()}

    def ordered(self, lives: Mapping[str, Life]) -> dict[str, Life]:
        """Return the lives with their groups in the order of the policy."""
        if self.machine.sensitivity is None:
            return dict(lives)
        return {name: replace(life, groups=self._order(life)) for name, life in lives.items()}

    def allowed(self, gap: Gap, life: Life) -> Gap:
        """Return the gap with the groups left that may hold it from the copy's write to the gap's end.

        The write is the tensor's own, or, where it is filled, at the earliest its first use.
        """
        lies = self.until[gap.end + 1] - self.until[life.events()[0]]
        groups = tuple(g for g in gap.groups if self._holds(life, g, lies))
        return gap if groups == gap.groups else replace(gap, groups=groups)

    def over_the_step(self, life: Life) -> frozenset[str]:
        """Return those of a tensor's groups that may hold it for a whole step."""
        return frozenset(g for g in life.groups if self._holds(life, g, self.until[-1]))

    def for_buffers(self, life: Life, time_ps: int) -> tuple[str, ...]:
        """Return the groups that may hold buffers of a kernel whose unit needs ``time_ps`` at least.

        Those of the role, else any, that may hold them for so long; if none may, those of the role.
        """
        banks, lies = tuple(self.machine.banks), SLACK * time_ps
        named = life.groups or banks
        found = [g for g in named if self._holds(life, g, lies)]
        found = found or [g for g in banks if self._holds(life, g, lies)]
        return tuple(self._by_cost(life, found, lies)) or named

    def stays(self, life: Life) -> list[Stay]:
        """Return the groups that the policy keeps a tensor out of, to its last use or altogether."""
        found, lies = [], self._lies(life)
        for group in life.groups:
            strictest = self._strictest(life, group)
            if strictest is not None and lies > strictest.dwell_ps[group]:
                found.append(Stay(life, group, lies, strictest))
        return found

    def _holds(self, life: Life, group: str, lies_ps: int) -> bool:
        if lies_ps > self.limits.get(group, lies_ps):
            return False
        strictest = self._strictest(life, group)
        return strictest is None or 0 < strictest.dwell_ps[group] >= lies_ps

    def _strictest(self, life: Life, group: str) -> Tolerated | None:
        """Return the entry that lets a tensor lie in a group for the shortest time; None: there is none."""
        limiting = [t for t in self._tolerated[life.data.tensor] if group in t.dwell_ps]
        return min(limiting, key=lambda t: t.dwell_ps[group], default=None)

    def _lies(self, life: Life) -> int:
        """Return how long a tensor would lie until its last use; over the step if it survives it."""
        events = life.events()
        if life.successor is not None or life.predecessor is not None or not events:
            return self.until[-1]
        return self.until[events[-1] + 1] - self.until[events[0]]

    def _order(self, life: Life) -> tuple[str, ...]:
        lies = self._lies(life)
        by_cost = self._by_cost(life, life.groups, lies)
        return tuple(sorted(by_cost, key=lambda g: not self._holds(life, g, lies)))

    def _by_cost(self, life: Life, groups: Iterable[str], lies_ps: int) -> list[str]:
        sensitivity = self.machine.sensitivity
        if sensitivity is None:
            return list(groups)
        return sorted(groups, key=lambda g: sensitivity.cost_pj(life.data.role, g, lies_ps))


def _tolerated(machine: Machine, lives: Mapping[str, Life], life: Life) -> tuple[Tolerated, ...]:
    """Return what the readers of a tensor tolerate, those included that read it under its other name."""
    if machine.sensitivity is None:
        return ()
    names = (life.data.tensor, life.predecessor, life.successor)
    readers = dict.fromkeys(r for n in names if n is not None for r in lives[n].readers)
    of = machine.sensitivity.of
    return tuple(of(life.data.role, reader) for reader in readers or (life.data.layer,))
