"""The gaps between the uses of tensors, and which of them are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from accelsim.mapping.storage import Life, rounded


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """Data of ``tensor``, or of the bit field of this key, between kernels ``start`` and ``end``.

    ``size`` is in whole words of each group. ``order`` counts the gaps as they begin, ``reach`` from
    the nearest next use to the farthest.
    """

    tensor: str
    start: int
    end: int
    nbytes: int
    groups: tuple[str, ...]
    size: Mapping[str, int]
    order: int = -1
    reach: int = -1


@dataclass(slots=True)
class Residency:
    """The gaps kept per tensor, the group of every tensor that has any, and the tensors pinned.

    Bit fields count as tensors, by their keys; those of one tensor keep the same gaps.
    """

    kept: dict[str, list[Gap]]
    group: dict[str, str]
    pinned: dict[str, str]  # predecessor tensor -> group
    usage: dict[str, list[int]]  # bytes per kernel


def gaps_of(lives: Mapping[str, Life], words: Mapping[str, int]) -> list[Gap]:
    """Return all gaps as they begin."""
    gaps = []
    for name, life in lives.items():
        nbytes, size = life.data.nbytes, sizes_of(life, words)
        gaps += [Gap(name, start, end, nbytes, life.groups, size) for start, end in pairwise(life.events())]
    nearest = sorted(gaps, key=lambda g: (g.end - g.start, g.start, g.tensor))
    reach = {gap: rank for rank, gap in enumerate(nearest)}
    ordered = sorted(gaps, key=lambda g: (g.start, g.end, g.tensor))
    return [replace(gap, order=order, reach=reach[gap]) for order, gap in enumerate(ordered)]


def in_one_order(gaps: list[Gap]) -> list[Gap]:
    """Return the gaps with the groups that may hold more gaps of their tensor first.

    A tensor lies in one group. Those that may hold its late gaps may hold the early ones too, so that all
    gaps that any group may hold have the same first group.
    """
    held = Counter((gap.tensor, group) for gap in gaps for group in gap.groups)

    def ordered(gap: Gap) -> Gap:
        groups = tuple(sorted(gap.groups, key=lambda group: -held[gap.tensor, group]))
        return gap if groups == gap.groups else replace(gap, groups=groups)

    return [ordered(gap) for gap in gaps]


def sizes_of(life: Life, words: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of a tensor in whole words, per group that may hold it."""
    return {g: rounded(life.data.nbytes, words[g]) for g in life.groups}
