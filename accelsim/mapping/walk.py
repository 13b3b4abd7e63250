"""The walk over the kernels that decides which gaps a bank group keeps."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from accelsim.mapping.gaps import Gap


@dataclass(frozen=True, slots=True)
class Walked:
    """What the walk over one group's gaps keeps and gives up, and the bytes in use per kernel."""

    kept: dict[str, list[Gap]]
    given_up: list[Gap]
    usage: list[int]


class Track:
    """The gaps that prefer one group, in order, and what the walk needs to know of each.

    ``rank`` is high where the next use is far; ``before`` and ``after`` are the gaps of the same tensor
    that touch it, by their index, or -1.
    """

    def __init__(self, group: str, gaps: list[Gap]) -> None:
        self.gaps = gaps
        self.size = [g.size[group] for g in gaps]
        self.rank = [0] * len(gaps)
        self.by_rank = sorted(range(len(gaps)), key=lambda i: (gaps[i].end, gaps[i].nbytes, gaps[i].tensor))
        for rank, i in enumerate(self.by_rank):
            self.rank[i] = rank
        ends = {(g.tensor, g.end): i for i, g in enumerate(gaps)}
        self.before = [ends.get((g.tensor, g.start), -1) for g in gaps]
        self.after = [-1] * len(gaps)
        for i, before in enumerate(self.before):
            if before >= 0:
                self.after[before] = i


class _Level:
    """Bytes in use, kernel by kernel, read in the order of kernels while gaps come and go."""

    def __init__(self, track: Track, kernels: int, base: Sequence[int]) -> None:
        self.track = track
        self.change = [0] * (kernels + 2)
        for kernel, used in enumerate(base):
            self.change[kernel] += used
            self.change[kernel + 1] -= used
        self.at = -1
        self.now = 0
        self.kept = [False] * len(track.gaps)

    def go(self, kernel: int) -> None:
        """Move on to a kernel."""
        while self.at < kernel:
            self.at += 1
            self.now += self.change[self.at]

    def put(self, i: int, keep: bool) -> None:
        """Let a gap occupy its kernels, or leave them.

        The tensor lies there already in a kernel that it shares with a gap before or after.
        """
        track, gap = self.track, self.track.gaps[i]
        before, after = track.before[i], track.after[i]
        first = gap.start + 1 if before >= 0 and self.kept[before] else gap.start
        last = gap.end - 1 if after >= 0 and self.kept[after] else gap.end
        size = track.size[i] if keep else -track.size[i]
        self.change[first] += size
        self.change[last + 1] -= size
        if first <= self.at <= last:
            self.now += size
        self.kept[i] = keep


def walk(track: Track, capacity: int, kernels: int, base: Sequence[int] = ()) -> Walked:
    """Keep the gaps of one group, farthest next use given up first; ``base`` bytes are in use anyway."""
    level = _Level(track, kernels, base)
    active: list[int] = []
    given_up: list[Gap] = []
    for i, gap in enumerate(track.gaps):
        if track.size[i] > capacity:
            given_up.append(gap)
            continue
        level.go(gap.start)
        level.put(i, True)
        heapq.heappush(active, -track.rank[i])
        while level.now > capacity:  # what has ended ranks below the gap itself
            farthest = track.by_rank[-heapq.heappop(active)]
            level.put(farthest, False)
            given_up.append(track.gaps[farthest])
            if farthest == i:
                break
    kept: dict[str, list[Gap]] = {}
    for gap, keep in zip(track.gaps, level.kept, strict=True):
        if keep:
            kept.setdefault(gap.tensor, []).append(gap)
    return Walked(kept, given_up, list(accumulate(level.change[:kernels])))
