"""Which data stay in the scratchpad between their uses.

A *gap* is the stretch between two uses of a tensor. Kernels are walked in order; every gap that begins
is kept until the group is too full, then the gap whose next use is farthest is given up and its data go
to DRAM. What is given up in its first group tries the next one of its list. Parameters and optimizer
state that survive the update are pinned over the whole step where room is left. Bit fields of a tensor that
is split go their own ways; what not all of them keep is given up by the others too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType

from accelsim.mapping.dwells import Dwells
from accelsim.mapping.fields import Fields
from accelsim.mapping.gaps import Gap, Residency, gaps_of, in_one_order, sizes_of
from accelsim.mapping.given import Lying
from accelsim.mapping.walk import Track, Walked, walk
from accelsim.resolve.machine import Machine

_Sized = tuple[str, Mapping[str, int]]  # a tensor, or a bit field, and its bytes per group


class ResidencyPlanner:
    """Plans the residency of one step under varying capacities."""

    def __init__(
        self,
        fields: Fields,
        machine: Machine,
        dwells: Dwells,
        cyclic: bool,
        given: Mapping[str, Lying] = MappingProxyType({}),
    ) -> None:
        lives = self.lives = fields.lives
        self.split = fields.split
        self.kernels = len(dwells.until) - 1
        self.words = {g: b.word_bytes for g, b in machine.banks.items()}
        self.depth = max((len(x.groups) for x in lives.values()), default=0)
        gaps = [dwells.allowed(gap, lives[gap.tensor]) for gap in gaps_of(lives, self.words)]
        gaps = self.gaps = in_one_order(gaps)
        self.given = given
        self.base = self._placed_by_hand()
        self.homeless = [g for g in gaps if not g.groups and g.tensor not in given]
        first: dict[str, list[Gap]] = {}
        for gap in gaps:
            if gap.groups and gap.tensor not in given:
                first.setdefault(gap.groups[0], []).append(gap)
        self.first = {group: Track(group, those) for group, those in first.items()}
        surviving = [(n, fields.of(n)) for n in fields.keys if cyclic and n not in given]
        surviving = [(n, parts) for n, parts in surviving if parts[0].successor is not None]
        surviving.sort(key=lambda s: (-len(s[1][0].reads), sum(x.data.nbytes for x in s[1]), s[0]))
        self.surviving: list[list[_Sized]] = [
            [(x.data.key, sizes_of(x, self.words)) for x in parts] for _, parts in surviving
        ]
        self.lasting = {x.data.key: dwells.over_the_step(x) for _, parts in surviving for x in parts}
        self._walked: dict[tuple[str, int], Walked] = {}
        self._planned: dict[tuple[int, ...], Residency] = {}

    @cached_property
    def _most(self) -> dict[str, int]:
        """The bytes of whole tensors that each group can have to hold: more room changes nothing."""
        most = {g: max(used, default=0) for g, used in self.base.usage.items()}
        for group in most:
            used = [0] * self.kernels
            for gap in self.gaps:
                if group in gap.groups:
                    used[gap.start : gap.end + 1] = [
                        n + gap.size[group] for n in used[gap.start : gap.end + 1]
                    ]
            most[group] += max(used, default=0)
            most[group] += sum(size.get(group, 0) for parts in self.surviving for _, size in parts)
        return most

    def plan(self, capacity: Mapping[str, int]) -> Residency:
        """Return what stays where when each group may hold ``capacity`` bytes of whole tensors.

        The same object where more room changes nothing: it is to be read only.
        """
        enough = {g: min(n, self._most[g]) for g, n in capacity.items()}
        about = tuple(enough.values())
        if about not in self._planned:
            self._planned[about] = self._plan(enough)
        return self._planned[about]

    def _plan(self, capacity: Mapping[str, int]) -> Residency:
        base = self.base
        kept = {tensor: list(gaps) for tensor, gaps in base.kept.items()}
        usage = {g: list(used) for g, used in base.usage.items()}
        plan = Residency(kept, dict(base.group), dict(base.pinned), usage)
        given_up = list(self.homeless)
        for group in self.first:
            walked = self._walk(group, capacity[group])
            plan.usage[group] = list(walked.usage)
            for tensor, gaps in walked.kept.items():
                plan.kept[tensor] = list(gaps)
                plan.group[tensor] = group
            given_up += walked.given_up
        for choice in range(1, self.depth):
            given_up = self._next_choice(plan, given_up, choice, capacity)
        for keys in self.split:
            self._join(plan, keys)
        self._drop_parts(plan)
        self._pin(plan, capacity)
        return plan

    def _walk(self, group: str, capacity: int) -> Walked:
        key = (group, capacity)
        if key not in self._walked:
            base = self.base.usage[group]
            room = max(capacity, *base) if base else capacity
            self._walked[key] = walk(self.first[group], room, self.kernels, base if self.given else ())
        return self._walked[key]

    def _placed_by_hand(self) -> Residency:
        """Return what a mapping file keeps where."""
        plan = Residency({}, {}, {}, {g: [0] * self.kernels for g in self.words})
        for gap in self.gaps:
            lying = self.given.get(gap.tensor)
            if lying is None or lying.group is None:
                continue
            if any(first <= gap.start and gap.end <= last for first, last in lying.stretches):
                _occupy(plan, lying.group, gap)
        for name, lying in self.given.items():
            life = self.lives[name]
            if lying.pinned and lying.group is not None and life.successor is not None:
                plan.pinned[name] = lying.group
                size = sizes_of(life, self.words)[lying.group]
                plan.usage[lying.group] = [n + size for n in plan.usage[lying.group]]
        return plan

    def _next_choice(
        self, plan: Residency, waiting: list[Gap], choice: int, capacity: Mapping[str, int]
    ) -> list[Gap]:
        """Keep gaps in the group that their tensor names as its ``choice``-th; return those given up."""
        given_up: list[Gap] = []
        by_group: dict[str, list[Gap]] = {}
        for gap in sorted(waiting, key=attrgetter("order")):
            named = gap.groups[choice] if choice < len(gap.groups) else None
            if named is not None and plan.group.get(gap.tensor, named) == named:
                by_group.setdefault(named, []).append(gap)
            else:
                given_up.append(gap)
        for group, gaps in by_group.items():
            given_up += _fit(plan, group, gaps, capacity[group])
        return given_up

    def _join(self, plan: Residency, keys: tuple[str, ...]) -> None:
        """Give up the gaps of a split tensor that not all of its bit fields keep."""
        kept = [{(g.start, g.end) for g in plan.kept.get(key, ())} for key in keys]
        common = set.intersection(*kept)
        for key, own in zip(keys, kept, strict=True):
            if own == common:
                continue
            group, gaps = plan.group[key], plan.kept.pop(key)
            _fill(plan.usage[group], gaps, -gaps[0].size[group])
            left = [g for g in gaps if (g.start, g.end) in common]
            if left:
                plan.kept[key] = left
                _fill(plan.usage[group], left, gaps[0].size[group])
            else:
                del plan.group[key]

    def _drop_parts(self, plan: Residency) -> None:
        """Give up gaps that begin with a read of a part: nothing would fill the rest of the copy."""
        for name, gaps in list(plan.kept.items()):
            life, kept = self.lives[name], []
            there = -1  # the kernel until which the whole tensor is at hand
            for gap in sorted(gaps, key=attrgetter("start")):
                if gap.start in (life.made, there) or gap.start in life.whole:
                    kept.append(gap)
                    there = gap.end
            if len(kept) < len(gaps):
                plan.kept[name] = kept
            if not kept:
                del plan.kept[name], plan.group[name]

    def _pin(self, plan: Residency, capacity: Mapping[str, int]) -> None:
        """Pin what survives the update over the whole step, most DRAM traffic saved per byte first."""
        tops = {g: _Top(used) for g, used in plan.usage.items()}
        for parts in self.surviving:
            homes = self._homes(plan, tops, parts, capacity)
            for (name, size), group in zip(parts, homes, strict=False):
                left = plan.group.pop(name, None)
                if left is not None:
                    tops[left].remove(plan.kept.pop(name), size[left])
                tops[group].extra += size[group]
                plan.pinned[name] = group
        for group, top in tops.items():
            if top.extra:
                plan.usage[group] = [n + top.extra for n in top.used]

    def _homes(
        self, plan: Residency, tops: Mapping[str, _Top], parts: list[_Sized], capacity: Mapping[str, int]
    ) -> list[str]:
        """Return a group for each bit field of a tensor that can be pinned; none if one has no room."""
        found: list[str] = []
        room = dict(capacity)
        for name, size in parts:
            for group, nbytes in size.items():
                own = plan.kept[name] if plan.group.get(name) == group else []
                if group in self.lasting[name] and tops[group].fits(own, nbytes, room[group]):
                    found.append(group)
                    room[group] -= nbytes
                    break
            else:
                return []
        return found


def _fill(used: list[int], gaps: list[Gap], nbytes: int) -> None:
    """Add ``nbytes`` to every kernel that gaps of one tensor cover."""
    for first, end in _covered(gaps):
        used[first:end] = [n + nbytes for n in used[first:end]]


def _fit(plan: Residency, group: str, gaps: list[Gap], capacity: int) -> list[Gap]:
    """Keep gaps of another group's tensors where there is room, nearest next use first."""
    used = plan.usage[group]
    given_up = []
    for gap in sorted(gaps, key=attrgetter("reach")):
        room = capacity - gap.size[group]
        if used[gap.start] <= room and used[gap.end] <= room and max(used[gap.start : gap.end + 1]) <= room:
            _occupy(plan, group, gap)
        else:
            given_up.append(gap)
    return given_up


def _occupy(plan: Residency, group: str, gap: Gap) -> None:
    before = plan.kept.setdefault(gap.tensor, [])
    first = gap.start + (1 if any(g.end == gap.start for g in before) else 0)
    last = gap.end - (1 if any(g.start == gap.end for g in before) else 0)
    used, size = plan.usage[group], gap.size[group]
    used[first : last + 1] = [n + size for n in used[first : last + 1]]
    before.append(gap)
    plan.group[gap.tensor] = group


class _Top:
    """The bytes in use of one group: ``extra`` in all kernels over ``used``, and where they are most."""

    def __init__(self, used: list[int]) -> None:
        self.used = used
        self.extra = 0
        self._find()

    def _find(self) -> None:
        self.most = max(self.used, default=0)
        self.at = self.used.index(self.most) if self.used else -1

    def fits(self, own: list[Gap], nbytes: int, capacity: int) -> bool:
        """Return whether a tensor fits over all kernels, where its gaps ``own`` have a place already."""
        room = capacity - self.extra - nbytes
        if self.most <= room or not self.used:
            return True
        if not any(g.start <= self.at <= g.end for g in own):
            return False
        free = 0  # the first kernel after the stretches seen so far
        for first, end in _covered(own):
            if max(self.used[free:first], default=0) > room or max(self.used[first:end]) > room + nbytes:
                return False
            free = end
        return max(self.used[free:], default=0) <= room

    def remove(self, gaps: list[Gap], nbytes: int) -> None:
        """Free the kernels of a tensor's gaps."""
        _fill(self.used, gaps, -nbytes)
        self._find()


def _covered(gaps: list[Gap]) -> list[tuple[int, int]]:
    """Return the stretches of kernels, ends excluded, that gaps of one tensor cover, in order."""
    found: list[tuple[int, int]] = []
    for gap in sorted(gaps, key=lambda g: g.start):
        if found and found[-1][1] > gap.start:
            found[-1] = (found[-1][0], gap.end + 1)
        else:
            found.append((gap.start, gap.end + 1))
    return found
