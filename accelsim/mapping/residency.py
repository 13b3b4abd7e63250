"""Which data stay in the scratchpad between their uses.

A *gap* is the stretch between two uses of a tensor. Kernels are walked in order; every gap that begins
is kept until the group is too full, then the gap whose next use is farthest is given up and its data go
to DRAM. What is given up in its first group tries the next one of its list. Parameters and optimizer
state that survive the update are pinned over the whole step where room is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from accelsim.mapping.storage import Life, rounded
from accelsim.resolve.machine import Machine


@dataclass(frozen=True, slots=True)
class Gap:
    """Data of ``tensor`` between kernels ``start`` and ``end``."""

    tensor: str
    start: int
    end: int
    nbytes: int


@dataclass(slots=True)
class Residency:
    """The gaps kept per tensor, the group of every tensor that has any, and the tensors pinned."""

    kept: dict[str, list[Gap]]
    group: dict[str, str]
    pinned: dict[str, str]  # predecessor tensor -> group
    usage: dict[str, np.ndarray]  # bytes per kernel


def plan_residency(
    lives: Mapping[str, Life], machine: Machine, capacity: Mapping[str, int], kernels: int, cyclic: bool
) -> Residency:
    """Return what stays resident when each group may hold ``capacity`` bytes of whole tensors."""
    usage = {g: np.zeros(kernels, dtype=np.int64) for g in machine.banks}
    plan = Residency({}, {}, {}, usage)
    waiting = sorted(_gaps(lives), key=lambda g: (g.start, g.end, g.tensor))
    depth = max((len(x.groups) for x in lives.values()), default=0)
    for choice in range(depth):
        given_up: list[Gap] = []
        by_group: dict[str, list[Gap]] = {}
        for gap in waiting:
            groups = lives[gap.tensor].groups
            if choice < len(groups) and plan.group.get(gap.tensor, groups[choice]) == groups[choice]:
                by_group.setdefault(groups[choice], []).append(gap)
            else:
                given_up.append(gap)
        for group, gaps in by_group.items():
            keep = _walk if choice == 0 else _fit
            given_up += keep(plan, machine, group, gaps, capacity[group])
        waiting = sorted(given_up, key=lambda g: (g.start, g.end, g.tensor))
    if cyclic:
        _pin(plan, lives, machine, capacity)
    return plan


def _gaps(lives: Mapping[str, Life]) -> list[Gap]:
    gaps = []
    for name, life in lives.items():
        events = life.events()
        for start, end in pairwise(events):
            gaps.append(Gap(name, start, end, life.data.nbytes))
    return gaps


def _walk(plan: Residency, machine: Machine, group: str, gaps: list[Gap], capacity: int) -> list[Gap]:
    """Keep the gaps of one group, farthest next use given up first; return those given up."""
    word = machine.banks[group].word_bytes
    used = plan.usage[group]
    active: list[Gap] = []
    given_up: list[Gap] = []
    for gap in gaps:
        size = rounded(gap.nbytes, word)
        if size > capacity:
            given_up.append(gap)
            continue
        active = [g for g in active if g.end >= gap.start]
        _occupy(plan, group, gap, word)
        active.append(gap)
        while int(used[gap.start]) > capacity:
            farthest = max(active, key=lambda g: (g.end, g.nbytes, g.tensor))
            active.remove(farthest)
            _release(plan, group, farthest, word)
            given_up.append(farthest)
            if farthest is gap:
                break
    return given_up


def _fit(plan: Residency, machine: Machine, group: str, gaps: list[Gap], capacity: int) -> list[Gap]:
    """Keep gaps of another group's tensors where there is room, nearest next use first."""
    word = machine.banks[group].word_bytes
    given_up = []
    for gap in sorted(gaps, key=lambda g: (g.end - g.start, g.start, g.tensor)):
        room = capacity - int(plan.usage[group][gap.start : gap.end + 1].max())
        if rounded(gap.nbytes, word) <= room:
            _occupy(plan, group, gap, word)
        else:
            given_up.append(gap)
    return given_up


def _occupy(plan: Residency, group: str, gap: Gap, word: int) -> None:
    before = plan.kept.setdefault(gap.tensor, [])
    # the tensor lies there already in a kernel that it shares with a gap before or after
    first = gap.start + (1 if any(g.end == gap.start for g in before) else 0)
    last = gap.end - (1 if any(g.start == gap.end for g in before) else 0)
    plan.usage[group][first : last + 1] += rounded(gap.nbytes, word)
    before.append(gap)
    plan.group[gap.tensor] = group


def _release(plan: Residency, group: str, gap: Gap, word: int) -> None:
    kept = plan.kept[gap.tensor]
    kept.remove(gap)
    first = gap.start + (1 if any(g.end == gap.start for g in kept) else 0)
    last = gap.end - (1 if any(g.start == gap.end for g in kept) else 0)
    plan.usage[group][first : last + 1] -= rounded(gap.nbytes, word)
    if not kept:
        del plan.kept[gap.tensor]
        del plan.group[gap.tensor]


def _pin(plan: Residency, lives: Mapping[str, Life], machine: Machine, capacity: Mapping[str, int]) -> None:
    """Pin what survives the update over the whole step, most DRAM traffic saved per byte first."""
    surviving = [(n, x) for n, x in lives.items() if x.successor is not None]
    surviving.sort(key=lambda item: (-len(item[1].reads), item[1].data.nbytes, item[0]))
    for name, life in surviving:
        for group in life.groups:
            word = machine.banks[group].word_bytes
            size = rounded(life.data.nbytes, word)
            own = plan.kept.get(name, []) if plan.group.get(name) == group else []
            used = plan.usage[group].copy()
            covered = _covered(own, used.size)
            used[covered] -= size
            if used.size and int(used.max()) + size > capacity[group]:
                continue
            _unkeep(plan, lives, machine, name)
            plan.usage[group] += size
            plan.pinned[name] = group
            break


def _covered(gaps: list[Gap], kernels: int) -> np.ndarray:
    mask = np.zeros(kernels, dtype=bool)
    for gap in gaps:
        mask[gap.start : gap.end + 1] = True
    return mask


def _unkeep(plan: Residency, lives: Mapping[str, Life], machine: Machine, name: str) -> None:
    """Forget the gaps of a tensor that is pinned now."""
    gaps = plan.kept.pop(name, [])
    group = plan.group.pop(name, None)
    if group is not None:
        size = rounded(lives[name].data.nbytes, machine.banks[group].word_bytes)
        plan.usage[group][_covered(gaps, plan.usage[group].size)] -= size
