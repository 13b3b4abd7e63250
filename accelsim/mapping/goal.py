"""What a mapping is for: what is least in the plan taken, and by what tiles are ranked meanwhile.

Where energies or writes decide, every plan is made under several rankings of its tiles, those of the other
objectives among them: what another objective would have chosen is never better than the plan taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accelsim.resolve.machine import Machine

if TYPE_CHECKING:
    from accelsim.mapping.costs import Cost

Key = tuple[int, ...]  # of what is least first


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective. ``weight_w`` is what a picosecond weighs under ``edp``, in pJ."""

    objective: str
    rankings: tuple[str, ...]
    weight_w: float = 0.0

    @property
    def extra(self) -> bool:
        """Whether more than time and DRAM bytes are looked at."""
        return self.objective not in ("time", "dram")

    def key(self, time_ps: int, total: Sequence[int]) -> Key:
        """Return what is compared of a plan.

        Args:
            time_ps: Its time in steps.
            total: Unrounded time, DRAM bytes, and the sums of ``Cost.amounts``.
        """
        if self.objective == "time":
            return time_ps, total[1]
        if self.objective == "dram":
            return total[1], time_ps
        _, dram, raw_ps, energy, mram = total
        if self.objective == "mram_writes":
            return mram, time_ps, dram
        return energy * raw_ps if self.objective == "edp" else energy, raw_ps, dram

    def rank(self, cost: Cost, ranking: str) -> tuple[float, ...]:
        """Return what is compared of one kernel under a ranking."""
        if ranking == "time":
            return cost.time_ps, cost.dram_bytes
        if ranking == "dram":
            return cost.dram_bytes, cost.time_ps
        raw_ps, energy, mram = cost.amounts
        if ranking == "mram_writes":
            return mram, cost.time_ps, cost.dram_bytes
        weight = self.weight_w if ranking == "edp" else 0.0
        return energy + weight * raw_ps, raw_ps, cost.dram_bytes


def goal_of(machine: Machine, weight_w: float) -> Goal:
    """Return the goal of a machine's mapping. Prices must not show where they are not asked for."""
    objective = machine.mapping.objective
    if objective in ("time", "dram"):
        return Goal(objective, (objective,))
    if objective == "mram_writes":
        return Goal(objective, ("mram_writes", "time", "dram"))
    mram = any(b.technology == "stt-mram" for b in machine.banks.values())
    rankings = (objective, "edp" if objective == "energy" else "energy", "time", "dram")
    return Goal(objective, (*rankings, *(("mram_writes",) if mram else ())), weight_w)
