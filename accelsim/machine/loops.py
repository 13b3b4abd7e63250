"""Loops that alike kernels went through before: from a state back to it, over a sequence of tiles or folds.

A period that ends at the head in hand recurs as long as what follows is alike. What follows may also be
alike to an older stretch that began and ended in the same state, such as a row of a nest after the
shorter last one: that recurs then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from accelsim.machine.heads import Head, Period, Stand
from accelsim.machine.snapshot import Shot
from accelsim.machine.stretch import Stretch
from accelsim.program.program import Kernel

REMEMBERED = 12  # heads of equal state, and loops between them
MOST = 1 << 17  # of the sizes of all states that a kernel remembers: some 30 MB
LEAST = 20  # size of a state with nothing queued, in items
Kinds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A stretch between two heads of one state.

    ``kinds`` are those of its tiles, or folds, and of the ones that are looked at ahead. ``booked`` is what
    it added to the books; None: no other kernel goes through it.
    """

    kernel: Kernel
    period: Period
    kinds: Kinds
    booked: Stretch | None = None


@dataclass(slots=True)
class Seen:
    """The heads in one state, which is so large."""

    size: int
    heads: list[Head] = field(default_factory=list)

    def add(self, head: Head) -> None:
        """Remember a head."""
        self.heads.append(head)
        del self.heads[:-REMEMBERED]


class States:
    """The states that a kernel has been in, up to a ``MOST`` of them; what was not seen for longest goes."""

    def __init__(self) -> None:
        self._seen: dict[Shot, Seen] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._seen)

    def of(self, shot: Shot, queued: int) -> Seen:
        """Return the heads in a state, in which so many items are ``queued``: they are most of it."""
        seen = self._seen.pop(shot, None)
        if seen is None:
            seen = Seen(LEAST + queued)
            self._size += seen.size
        self._seen[shot] = seen
        while self._size > MOST and len(self._seen) > 1:
            self._size -= self._seen.pop(next(iter(self._seen))).size
        return seen


def as_before(loop: Loop, now: Head, most: int, counts: Sequence[bool]) -> Period | None:
    """Return the loop as a period that recurs from ``now`` on, up to ``most`` times; None: it does not.

    ``counts`` says of each engine whether the loop has it go through transfers of this kernel.
    """
    period = replace(loop.period, times=most, at=now)
    if any(period.first.slots.get(key) != now.slots.get(key) for key in period.renewed):
        return None
    times = most
    stands = zip(period.first.stands, period.last.stands, now.stands, counts, strict=True)
    for before, after, here, along in stands:
        if not here.since_as(after, wait=before.waits != after.waits):
            return None
        if before.moving == after.moving == here.moving and here.move is None:
            continue
        if not _stays(before, after, here, along):
            return None
        if here.results is not None and period.base.results:
            times = min(times, (here.results - 1) // period.base.results)
        if here.until is not None and period.tiles:
            times = min(times, (here.until - 1 - now.tile) // period.tiles)
    return replace(period, times=times) if times >= 1 else None


def _stays(before: Stand, after: Stand, here: Stand, along: bool) -> bool:
    """Return whether an engine stood still all through a loop, and does so here."""
    return before.still is not None and before.still == after.still and here.still is not None and not along
