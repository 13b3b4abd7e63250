"""Scrubbing: every word is read, corrected and written back once in an interval.

A word with at most one wrong bit is right afterwards; one with more stays as it is (miscorrections are
counted in ``ecc``, not written back here) until the copy is written anew. So a bit is in a word that is
*live*, and then right after each scrub, or *stuck*, and then goes on flipping. Both are followed through
all scrubs of the dwell, for every phase of the scrubs against the write.

Taken as so: the other bits of a live word draw their Delta afresh at each scrub (too many stuck words
where the same weak cells are corrected again and again, which tells once most words are stuck); reads are
spread evenly over the whole dwell; a scrub senses without errors, its correction does not fail, and the
disturb of its own read stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.cell import Cell
from accelsim.reliability.chain import Array, blurred, drift, flipped, then
from accelsim.reliability.ecc import Patterns, Secded
from accelsim.reliability.history import History, Rows
from accelsim.reliability.phases import phases

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Mass:
    """Where a bit may be, by the value that was written."""

    live: Array
    right: Array  # in a stuck word
    wrong: Array

    def after(self, through: _Interval) -> _Mass:
        """Return the masses an interval and its scrub later."""
        return _Mass(
            self.live * (1 - through.to_wrong - through.to_right),
            self.right * (1 - through.new) + self.wrong * through.back + self.live * through.to_right,
            self.wrong * (1 - through.back) + self.right * through.new + self.live * through.to_wrong,
        )

    def stored(self, piece: Array) -> Array:
        """Return the probability that the bit is stored wrong after ``piece`` more, begun live and right."""
        return self.live * piece + self.stuck(piece)

    def stuck(self, piece: Array) -> Array:
        """Return the part of it that is in stuck words."""
        return self.right * piece + self.wrong * (1 - flipped(piece))


@dataclass(frozen=True, eq=False)
class _Interval:
    """From after one scrub to after the next: out of live, and between right and wrong of stuck words."""

    to_wrong: Array
    to_right: Array
    new: Array
    back: Array

    def then(self, more: _Interval) -> _Interval:
        """Return this followed by ``more``."""
        live = 1 - self.to_wrong - self.to_right
        return _Interval(
            self.to_wrong * (1 - more.back) + self.to_right * more.new + live * more.to_wrong,
            self.to_right * (1 - more.new) + self.to_wrong * more.back + live * more.to_right,
            self.new * (1 - more.back) + (1 - self.new) * more.new,
            self.back * (1 - more.new) + (1 - self.back) * more.back,
        )

    def power(self, times: Int) -> _Interval:
        """Return ``times`` intervals in a row, shape ``(n, p)``."""
        still = np.zeros_like(self.new)
        result, base, left = _Interval(still, still, still, still), self, times
        while np.any(left > 0):
            odd = (left % 2 == 1)[..., None]
            result = _chosen(odd, result.then(base), result)
            left = left // 2
            if np.any(left > 0):
                base = base.then(base)
        return result


def _chosen(where: NDArray[np.bool_], a: _Interval, b: _Interval) -> _Interval:
    return _Interval(
        np.where(where, a.to_wrong, b.to_wrong),
        np.where(where, a.to_right, b.to_right),
        np.where(where, a.new, b.new),
        np.where(where, a.back, b.back),
    )


@cache
def _two_others(others: int) -> Patterns:
    return Patterns.of([0, 0, *(math.comb(others, w) for w in range(2, others + 1))])


@dataclass(frozen=True, eq=False)
class _Others:
    """Probabilities that of the other bits of a word one or more, and two or more, are wrong."""

    one: Array
    two: Array

    @classmethod
    def of(cls, cell: Cell, wrong: Array, others: int) -> _Others:
        """Return them for ``others`` bits that are all wrong with the mean probability of ``wrong``."""
        mean = cell.mean(wrong).mean(axis=0)
        one = -np.expm1(others * np.log1p(-np.minimum(mean, 1 - 1e-16)))
        return cls(one[..., None], _two_others(others).probability(mean)[..., None])

    def interval(self, fresh: Array, stuck: Array) -> _Interval:
        """Return an interval: live bits go wrong with ``fresh``, ``stuck`` is the leave of the others."""
        return _Interval(fresh * self.one, (1 - fresh) * self.two, stuck, flipped(stuck))


def scrubbed(cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> History:
    """Return the histories of bits in words that are scrubbed every ``scrub_ps``."""
    return _Scrubbed(cell, rows, code, scrub_ps).history()


class _Scrubbed:
    """One evaluation: times of shape ``(n, p)`` by phase, probabilities ``(2, n, p, k)``."""

    def __init__(self, cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> None:
        self.cell, self.code = cell, code
        self.age, self.weight = phases(rows.dwell, rows.since, scrub_ps)
        dwell, before = rows.dwell[:, None], rows.before[:, None]
        met = self.age < dwell
        self.total = np.where(met, np.floor((dwell - self.age) / scrub_ps) + 1, 0).astype(np.int64)
        self.first = np.where(met, dwell - self.age - (self.total - 1) * scrub_ps, dwell)
        reached = (self.total > 0) & (before > self.first)
        self.earlier = np.where(reached, np.floor((before - self.first) / scrub_ps) + 1, 0).astype(np.int64)
        self.earlier = np.minimum(self.earlier, self.total)
        self.later = self.total - self.earlier
        reads = np.divide(rows.index, rows.dwell, out=np.zeros_like(rows.dwell), where=rows.dwell > 0)
        self.rates = (cell.rates[:, None] + cell.disturb[:, None] * reads[:, None])[:, :, None]
        self.written, self.pending = (w[:, :, None] for w in rows.split_writes)
        self.own = drift(cell.disturb)[:, None, None]  # the scrub's read
        self.before, self.gap, self.scrub_ps = before, rows.since[:, None], float(scrub_ps)
        self.write = rows.writes[:, :, None]

    def _drift(self, ps: Array) -> Array:
        return drift(self.rates * np.maximum(ps, 0.0)[..., None])

    def _fresh(self, ps: Array) -> Array:
        """Return the leave of the time since a scrub."""
        return then(self.own, self._drift(ps))

    def history(self) -> History:
        """Return the histories, averaged over phases and cells."""
        others = self.code.code_bits - 1
        whole = self._fresh(np.full_like(self.age, self.scrub_ps))
        opening = then(self.write, self._drift(self.first))
        begun, through = _Others.of(self.cell, opening, others), _Others.of(self.cell, whole, others)
        every = through.interval(whole, whole)
        right, wrong = self._at_access(begun, every)
        step = then(self.pending, self._drift(self.gap))
        moved = (self.later > 0)[..., None]
        early = (self.earlier == 0)[..., None]
        met = _Others(*(np.where(early, a, b) for a, b in zip(_pair(begun), _pair(through), strict=True)))
        right, wrong = self._over_gap(right, wrong, met, every)
        piece = np.where(moved, self._fresh(self.age), step)
        # where the gap had no scrub, bits of live words at the access before may be wrong already
        new = right.stored(piece)
        stale = np.where(moved, 0.0, wrong.live)
        both = wrong.stored(piece) + stale * (1 - piece - flipped(piece))
        back = (wrong.live - stale) * (1 - piece) + stale * flipped(piece)
        back = back + wrong.right * (1 - piece) + wrong.wrong * flipped(piece)
        stuck = right.stuck(piece) + wrong.stuck(piece)
        fresh = np.where((self.total > 0)[..., None], self._fresh(self.age), opening)
        return self._delivered((new, back, both), right.live + wrong.live, fresh, stuck)

    def _at_access(self, begun: _Others, every: _Interval) -> tuple[_Mass, _Mass]:
        """Return the masses of bits that were right, and wrong, at the access before."""
        opening = then(self.written, self._drift(np.minimum(self.first, self.before)))
        after = begun.interval(opening, opening).then(every.power(np.maximum(self.earlier - 1, 0)))
        live = 1 - after.to_wrong - after.to_right
        piece = self._fresh(self.before - self.first - (self.earlier - 1) * self.scrub_ps)
        met = (self.earlier > 0)[..., None]
        none = np.zeros_like(live)
        right = _Mass(
            np.where(met, live * (1 - piece), 1 - opening),
            np.where(met, after.to_right * (1 - piece) + after.to_wrong * flipped(piece), none),
            none,
        )
        wrong = _Mass(
            np.where(met, live * piece, opening),
            none,
            np.where(met, after.to_wrong * (1 - flipped(piece)) + after.to_right * piece, none),
        )
        return right, wrong

    def _over_gap(self, right: _Mass, wrong: _Mass, others: _Others, every: _Interval) -> tuple[_Mass, _Mass]:
        """Return the masses after the last scrub of the gap, or as they were if there is none."""
        moved = (self.later > 0)[..., None]
        rest = then(self.pending, self._drift(self.first + self.earlier * self.scrub_ps - self.before))
        more = every.power(np.maximum(self.later - 1, 0))

        def moved_on(at: _Mass, wrong_live: Array) -> _Mass:
            there = at.after(others.interval(wrong_live, rest)).after(more)
            return _Mass(
                np.where(moved, there.live, at.live),
                np.where(moved, there.right, at.right),
                np.where(moved, there.wrong, at.wrong),
            )

        return moved_on(right, rest), moved_on(wrong, 1 - flipped(rest))

    def _delivered(
        self, told: tuple[Array, Array, Array], live: Array, fresh: Array, stuck: Array
    ) -> History:
        """Average; a live word is decoded, a stuck one delivered as it is read."""
        cell, code, sense = self.cell, self.code, self.cell.sense
        read = blurred(fresh, sense)
        mean = cell.mean(read).mean(axis=0)
        delivered = live * code.delivered(read, mean[..., None])
        delivered = delivered + stuck * (1 - sense) + np.maximum(1 - live - stuck, 0.0) * sense
        alive = cell.mean(live).mean(axis=0)
        word = alive * code.wrong.probability(mean) + (1 - alive)

        def average(values: Array) -> Array:
            return np.asarray(np.einsum("np,snp->sn", self.weight, cell.mean(values)))

        new, back, both = map(average, told)
        raw = blurred(new + both, sense)
        return History(new, back, both, raw, average(delivered), np.einsum("np,np->n", self.weight, word))


def _pair(others: _Others) -> tuple[Array, Array]:
    return others.one, others.two
