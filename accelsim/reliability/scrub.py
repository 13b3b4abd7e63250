"""Scrubbing: every word is read, corrected and written back once in an interval.

A word with at most one wrong bit is right afterwards; one with more stays wrong until the copy is written
anew, with one bit more where the decoder takes it for another word. So a bit is in a word that is *live*, and
then right after each scrub, or *stuck*, and then goes on flipping. Both are followed through all scrubs of
the dwell, for every phase of the scrubs against the write.

Taken as so: a stuck word is corrected no more, although one that the decoder made another code word would
be, to that one; the other bits of a live word draw their Delta afresh at each scrub (too many stuck words
where the same weak cells are corrected again and again, which tells once most words are stuck); a scrub
senses without errors, its correction does not fail, and the disturb of its own read stays.
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
from accelsim.reliability.history import History, Rows, last_disturb
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
class _Met:
    """A scrub that meets live words whose bits are wrong with one mean probability, by the other bits.

    ``one`` and ``two`` are the probabilities that of the others one or more, two or more, are wrong.
    """

    stays: Array
    made_wrong: Array
    one: Array
    two: Array

    @classmethod
    def of(cls, cell: Cell, wrong: Array, code: Secded) -> _Met:
        """Return what meets words in which ``wrong`` is the probability of each bit."""
        mean, others = cell.mean(wrong).mean(axis=0), code.code_bits - 1
        one = -np.expm1(others * np.log1p(-np.minimum(mean, 1 - 1e-16)))
        two = _two_others(others).probability(mean)
        told = (code.stays.probability(mean), code.made_wrong.probability(mean), one, two)
        return cls(*(values[..., None] for values in told))

    def interval(self, fresh: Array, stuck: Array) -> _Interval:
        """Return an interval that ends so.

        Args:
            fresh: Probability that a live bit is wrong before the scrub.
            stuck: Leave of the bits of stuck words.
        """
        to_wrong = fresh * self.stays + (1 - fresh) * self.made_wrong
        left = fresh * self.one + (1 - fresh) * self.two
        return _Interval(to_wrong, np.maximum(left - to_wrong, 0.0), stuck, flipped(stuck))


def scrubbed(cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> History:
    """Return the histories of bits in words that are scrubbed every ``scrub_ps``."""
    return _Scrubbed(cell, rows, code, scrub_ps).history()


class _Scrubbed:
    """One evaluation: times of shape ``(n, p)`` by phase, probabilities ``(2, n, p, k)``."""

    def __init__(self, cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> None:
        self.cell, self.code, self.scrub_ps = cell, code, float(scrub_ps)
        self.age, self.weight = phases(rows.dwell, rows.since, scrub_ps)
        dwell, before = rows.dwell[:, None], rows.before[:, None]
        met = self.age < dwell
        total = np.where(met, np.floor((dwell - self.age) / scrub_ps) + 1, 0).astype(np.int64)
        self.first = np.where(met, dwell - self.age - (total - 1) * scrub_ps, dwell)
        reached = met & (before > self.first)
        self.earlier = np.where(reached, np.floor((before - self.first) / scrub_ps) + 1, 0).astype(np.int64)
        self.earlier = np.minimum(self.earlier, total)  # scrubs before the access before
        self.later = total - self.earlier
        self.moved, self.begun = (self.later > 0)[..., None], (self.earlier > 0)[..., None]
        reads, ages = np.maximum(rows.index - 1.0, 0.0), rows.before
        per_ps = np.divide(reads, ages, out=np.zeros_like(ages), where=ages > 0)[:, None]
        self.late = cell.rates[:, None, None]  # in the gap, which has no reads
        self.early = self.late + (cell.disturb[:, None] * per_ps)[:, :, None]
        self.own = drift(cell.disturb)[:, None, None]  # the scrub's read
        self.struck = last_disturb(cell, rows)[:, :, None]
        self.written, self.pending = (w[:, :, None] for w in rows.split_writes)
        self.write = rows.writes[:, :, None]
        self.before, self.gap = before, rows.since[:, None]

    def _drift(self, rates: Array, ps: Array) -> Array:
        return drift(rates * np.maximum(ps, 0.0)[..., None])

    def _fresh(self, rates: Array, ps: Array) -> Array:
        """Return the leave of the time since a scrub."""
        return then(self.own, self._drift(rates, ps))

    def _over(self, start: Array, ps: Array) -> Array:
        """Return the leave of ``start``, of the disturb by the access before, and of a time after it."""
        return then(then(start, self.struck), self._drift(self.late, ps))

    def history(self) -> History:
        """Return the histories, averaged over phases and cells."""
        early = self._drift(self.early, np.minimum(self.first, self.before))
        # scrubs before the access before, and what the bits are at it
        piece = self._fresh(self.early, self.before - self.first - (self.earlier - 1) * self.scrub_ps)
        after = self._scrubs_before(early)
        right, wrong = self._at_access(after, then(self.written, early), piece)
        shown = np.where(self.begun, piece, then(self.write, early))  # of live bits, at that access
        # scrubs in the gap
        rest = self.first + self.earlier * self.scrub_ps - self.before
        met = _Met.of(self.cell, self._over(shown, rest), self.code)
        right, wrong = self._over_gap(right, wrong, met, self._over(self.pending, rest))
        # the time since the last scrub, or since the access before
        last = self._fresh(self.late, self.age)
        piece = np.where(self.moved, last, self._over(self.pending, self.gap))
        fresh = np.where(self.moved, last, self._over(shown, self.gap))
        # where the gap had no scrub, bits of live words may be wrong already
        stale = np.where(self.moved, 0.0, wrong.live)
        new = right.stored(piece)
        both = wrong.stored(piece) + stale * (1 - piece - flipped(piece))
        back = (wrong.live - stale + wrong.right) * (1 - piece) + (stale + wrong.wrong) * flipped(piece)
        stuck = right.stuck(piece) + wrong.stuck(piece)
        return self._delivered((new, back, both), right.live + wrong.live, fresh, stuck)

    def _every(self, rates: Array, times: Int) -> _Interval:
        """Return ``times`` whole intervals."""
        whole = self._fresh(rates, np.full_like(self.age, self.scrub_ps))
        return _Met.of(self.cell, whole, self.code).interval(whole, whole).power(times)

    def _scrubs_before(self, early: Array) -> _Interval:
        """Return from the write to after the last scrub before the access before."""
        opening = then(self.written, early)
        met = _Met.of(self.cell, then(self.write, early), self.code)
        begun = met.interval(opening, opening)
        return begun.then(self._every(self.early, np.maximum(self.earlier - 1, 0)))

    def _at_access(self, after: _Interval, opening: Array, piece: Array) -> tuple[_Mass, _Mass]:
        """Return the masses of bits that were right, and wrong, at the access before."""
        live, none = 1 - after.to_wrong - after.to_right, np.zeros_like(after.to_wrong)
        right = _Mass(
            np.where(self.begun, live * (1 - piece), 1 - opening),
            np.where(self.begun, after.to_right * (1 - piece) + after.to_wrong * flipped(piece), none),
            none,
        )
        wrong = _Mass(
            np.where(self.begun, live * piece, opening),
            none,
            np.where(self.begun, after.to_wrong * (1 - flipped(piece)) + after.to_right * piece, none),
        )
        return right, wrong

    def _over_gap(self, right: _Mass, wrong: _Mass, met: _Met, rest: Array) -> tuple[_Mass, _Mass]:
        """Return the masses after the last scrub of the gap, or as they were if there is none."""
        more = self._every(self.late, np.maximum(self.later - 1, 0))

        def moved_on(at: _Mass, wrong_live: Array) -> _Mass:
            there = at.after(met.interval(wrong_live, rest)).after(more)
            return _Mass(
                np.where(self.moved, there.live, at.live),
                np.where(self.moved, there.right, at.right),
                np.where(self.moved, there.wrong, at.wrong),
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
