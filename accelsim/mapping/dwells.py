"""Placement by lifetime and by errors: what would lie in a group for too long is not kept there.

For too long means longer than the group's ``max_dwell``, or, under the policy ``sensitivity``, until more
bits are wrong than the readers of the data tolerate. Under that policy a tensor's groups are taken in
another order too: first those that may hold it to its last use, of them the cheapest first.

What is fetched lies from its fill on, which may come kernels before its first use: into a group with
``max_dwell`` nothing is fetched earlier than its time there allows, nor, whatever that is, later than its
kernel begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from accelsim.geometry import ceil_div
from accelsim.mapping.gaps import Gap
from accelsim.mapping.storage import Life
from accelsim.program.program import Binding
from accelsim.resolve.machine import Machine, Tolerated

PS_PER_S = 10**12
SLACK = 2  # a kernel is taken to last so many times what its unit needs with everything at hand


@dataclass(frozen=True, slots=True)
class Stay:
    """How long a tensor would lie, and of what its readers tolerate the strictest in one group."""

    life: Life
    group: str
    lies_ps: int
    strictest: Tolerated


class Dwells:
    """How long data would lie, estimated from the times that the kernels' units need at least.

    Or, if given, from ``lasts_ps``, the times that kernels take by the estimates of a plan. Over several
    kernels those are right to a quarter, and what a fill takes at least; a single one may last twice as long.
    """

    def __init__(
        self,
        machine: Machine,
        lives: Mapping[str, Life],
        times_ps: Sequence[int],
        lasts_ps: Sequence[int] = (),
    ) -> None:
        self.machine = machine
        self.limits = {name: bank.max_dwell_ps for name, bank in machine.banks.items() if bank.max_dwell_ps}
        self.lasts_ps = tuple(lasts_ps)
        fill = machine.dram.latency_ps + machine.dma.descriptor_latency_ps if lasts_ps else 0
        self.alone = [SLACK * t + fill for t in lasts_ps or times_ps]
        each = [t + t // 4 + fill for t in lasts_ps] or self.alone
        self.until = list(accumulate(each, initial=0))
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
        leaves = self._leaves_ps(life)
        groups = tuple(g for g in gap.groups if self._holds(life, g, lies, leaves))
        return gap if groups == gap.groups else replace(gap, groups=groups)

    def over_the_step(self, life: Life) -> frozenset[str]:
        """Return those of a tensor's groups that may hold it for a whole step."""
        gap = self.machine.host_gap_ps
        return frozenset(g for g in life.groups if self._holds(life, g, self.until[-1], gap))

    def for_buffers(self, life: Life, kernel: int) -> tuple[str, ...]:
        """Return the groups that may hold buffers of a kernel.

        Those of the role, else any, that may hold them while it lasts; if none may, those of the role.
        """
        banks, lies = tuple(self.machine.banks), self.alone[kernel]
        named = life.groups or banks
        found = [g for g in named if self._holds(life, g, lies)]
        found = found or [g for g in banks if self._holds(life, g, lies)]
        return tuple(self._by_cost(life, found, lies)) or named

    def in_time(self, binding: Binding, kernel: int, last: int) -> Binding:
        """Return the binding of a read of ``kernel``, its fills held back where they would lie too long.

        The data lie until kernel ``last`` has ended, and are fetched as far ahead as that leaves time for.
        """
        limit = self.limits.get(binding.group)
        if limit is None or binding.place == "resident":
            return binding
        first = min(kernel, bisect_left(self.until, self.until[last + 1] - limit))
        return replace(binding, free_after=max(binding.free_after, first - 1))

    def stays(self, life: Life) -> list[Stay]:
        """Return the groups that the policy keeps a tensor out of, to its last use or altogether."""
        found, lies = [], self._lies(life)
        for group in life.groups:
            strictest = self._strictest(life, group)
            if strictest is not None and lies > strictest.dwell_ps[group]:
                found.append(Stay(life, group, lies, strictest))
        return found

    def _leaves_ps(self, life: Life) -> int:
        """Return how much longer a copy lies that is written back when it is given up, if it may be."""
        given_up = len(life.events()) > 2 or life.predecessor is not None
        if life.made < 0 or not given_up:
            return 0
        rate = self.machine.dram.bandwidth_bytes_per_s
        return self.machine.dma.descriptor_latency_ps + ceil_div(life.data.nbytes * PS_PER_S, rate)

    def _holds(self, life: Life, group: str, lies_ps: int, more_ps: int = 0) -> bool:
        """Return whether data may lie in a group so long, and ``more_ps`` as far as its limit goes."""
        if lies_ps + more_ps > self.limits.get(group, lies_ps + more_ps):
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
