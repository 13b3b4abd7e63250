"""A write buffer before the cells: writes enter at once, and go on when nobody reads.

Lazily evaluated: what the cells have taken by some instant is worked out when somebody asks, beat by beat,
and does not depend on how often one asks. A beat takes as many words as there are macros, in order of entry.
It begins when the port is free; a request of the same instant goes first. From the high watermark on the
beats follow each other down to the low one, and whoever comes meanwhile waits behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from accelsim.geometry import ceil_div
from accelsim.resolve.bank_group import WriteBuffer
from accelsim.words import StallReason

if TYPE_CHECKING:
    from accelsim.machine.memory import Port

PENDING = -1  # ``Entry.done_ps`` of words that have yet to come to the cells


class Entry:
    """Words of one write, in the buffer from ``there_ps`` on; ``done_ps`` is when the last one is written."""

    __slots__ = ("done_ps", "extra_ps", "offsets", "space", "taken", "there_ps")

    def __init__(self, space: Hashable, offsets: Sequence[int], there_ps: int, extra_ps: int) -> None:
        self.space = space
        self.offsets = offsets  # words, counted from where the space begins
        self.there_ps = there_ps
        self.extra_ps = extra_ps  # that the cells need beside their beats
        self.taken = 0
        self.done_ps = PENDING

    @property
    def left(self) -> int:
        """Words that have yet to come to the cells."""
        return len(self.offsets) - self.taken


class Entered(NamedTuple):
    """A write that was taken: from when, until when, what it waited for, words that are new, their entry."""

    start_ps: int
    done_ps: int
    cause: StallReason | None
    new: int
    entry: Entry | None


class Buffer:
    """The write buffer of one server, whose cells take ``lanes`` words in ``cycle_ps``."""

    def __init__(
        self, spec: WriteBuffer, banks: int, lanes: int, cycle_ps: int, port: Port, cause: StallReason
    ) -> None:
        self.spec = spec
        self.capacity = spec.entries * banks
        self.high, self.low = spec.high * banks, spec.low * banks
        self.lanes = lanes
        self.cycle_ps = cycle_ps
        self.enter_ps = min(spec.cycle_ps, cycle_ps)  # of a beat
        self.port = port
        self.cause = cause
        self.fifo: deque[Entry] = deque()
        self.level = 0
        self.free_ps = 0  # its entrance
        self.full = False  # who waits at the entrance waits for room

    def enter(self, now: int, space: Hashable, offsets: Sequence[int], extra_ps: int = 0) -> Entered:
        """Take words into the buffer, now, and those over its high watermark out of it."""
        self.settle(now)
        start = max(now, self.free_ps)
        waited: StallReason | None = None
        if start > now:
            waited = "write_buffer_full" if self.full else "port_busy"
        done = start + ceil_div(len(offsets), self.lanes) * self.enter_ps
        fresh = self._new(space, offsets)
        entry, self.full = None, False
        if fresh:
            entry = Entry(space, fresh, start + self.enter_ps, extra_ps)
            self.fifo.append(entry)
            self.level += entry.left
            if self.level > self.capacity:
                self._drain(None, self.capacity)
                if self.port.free_ps > done:
                    done, waited, self.full = self.port.free_ps, "write_buffer_full", True
            if self.level >= self.high:
                self._drain(None, self.low)
        self.free_ps = done
        self.port.served += 1
        return Entered(start, done, waited, len(fresh), entry)

    def held(self, space: Hashable, offsets: Sequence[int]) -> int:
        """Return how many of the words are in the buffer, for a read to be served from there."""
        if not self.spec.forwarding or space is None:
            return 0
        return len(self._pending(space).intersection(offsets))

    def settle(self, now: int) -> None:
        """Let the cells take what they could since they were last looked at: beats that began before now."""
        if self.level:
            self._drain(now, 0)

    def flush(self, now: int) -> int:
        """Let the cells take everything, before anyone else, and return when they have."""
        self.settle(now)
        self._drain(None, 0)
        return max(now, self.port.free_ps)

    def soonest_ps(self, entry: Entry, now: int) -> int:
        """Return when ``entry`` will be in the cells at the soonest; it is settled up to ``now``.

        A read that comes between may let words come together that would have gone in beats of their own.
        """
        if entry.done_ps != PENDING:
            return entry.done_ps
        place = self.fifo.index(entry)
        words = sum(e.left for e in islice(self.fifo, place + 1))
        cells = max(now, self.port.free_ps) + ceil_div(words, self.lanes) * self.cycle_ps
        return max(cells, entry.there_ps + self.cycle_ps) + entry.extra_ps

    def standing(self, now: int) -> tuple[Any, ...]:
        """Return what decides the future, times from ``now`` on: the entrance, and what is in the buffer."""
        self.settle(now)
        entries = tuple(
            (e.space, tuple(e.offsets[e.taken :]), max(0, e.there_ps - now), e.extra_ps) for e in self.fifo
        )
        entrance = max(0, self.free_ps - now)
        return entrance, self.full and entrance > 0, entries

    # -- beats -----------------------------------------------------------------------------------

    def _new(self, space: Hashable, offsets: Sequence[int]) -> Sequence[int]:
        """Return the words that are not in the buffer already."""
        if not self.spec.coalescing or space is None:
            return offsets
        known = self._pending(space)
        return [o for o in offsets if o not in known] if known else offsets

    def _pending(self, space: Hashable) -> set[int]:
        return {o for e in self.fifo if e.space == space for o in e.offsets[e.taken :]}

    def _drain(self, before: int | None, floor: int) -> None:
        """Write beats that begin before an instant, or at any, while more than ``floor`` words are left."""
        while self.level > floor:
            start = max(self.port.free_ps, self.fifo[0].there_ps)
            if before is not None and start >= before:
                return
            ready = self._ready(start)
            beats = min(ready // self.lanes, ceil_div(self.level - floor, self.lanes))
            if before is not None:
                beats = min(beats, ceil_div(before - start, self.cycle_ps))
            self._write(start, beats * self.lanes or ready)

    def _ready(self, start: int) -> int:
        """Return the words that beats from ``start`` on may take one after the other."""
        ready = 0
        for entry in self.fifo:
            if entry.there_ps > start:
                break
            ready += entry.left
            if entry.extra_ps:
                break
        return ready

    def _write(self, start: int, words: int) -> None:
        """Write ``words`` in beats from ``start`` on."""
        taken, extra = 0, 0
        while taken < words:
            entry = self.fifo[0]
            part = min(entry.left, words - taken)
            entry.taken += part
            taken += part
            if not entry.left:
                extra = entry.extra_ps
                entry.done_ps = start + ceil_div(taken, self.lanes) * self.cycle_ps + extra
                self.fifo.popleft()
        self.level -= words
        hold = ceil_div(words, self.lanes) * self.cycle_ps + extra
        self.port.free_ps = start + hold
        self.port.busy_ps += hold
        self.port.cause = self.cause
