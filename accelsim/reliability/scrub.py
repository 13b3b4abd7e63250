"""Scrubbing: every word is read, corrected and written back once in an interval.

A bit is followed through all scrubs of the dwell, for every phase of the scrubs against the write, in words
that are lost, flip back, are taken for others: see ``words`` and ``moves``.

Taken as so: a scrub senses without errors, its correction does not fail, and the disturb of its own read
stays; the other bits of a word are drawn afresh from the spread at each scrub. A word with weak cells is lost
early, but it is also the one that is mended and lost again, so that the two nearly cancel.
"""

from __future__ import annotations

import numpy as np

from accelsim.reliability.cell import Cause, Cell
from accelsim.reliability.chain import Array, blurred, drift, flipped, then
from accelsim.reliability.ecc import Secded
from accelsim.reliability.history import History, Rows, last_disturb
from accelsim.reliability.moves import again, delivered_wrong, from_live, from_lost, interval
from accelsim.reliability.phases import phases
from accelsim.reliability.words import (
    Int,
    Interval,
    Is,
    Mass,
    Repeated,
    merged,
    right_after,
    shown,
    total,
    where,
    wrong_after,
)


def scrubbed(cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> History:
    """Return the histories of bits in words that are scrubbed every ``scrub_ps``."""
    return _Scrubbed(cell, rows, code, scrub_ps).history()


def alone_since_scrub(cell: Cell, rows: Rows, scrub_ps: int) -> dict[Cause, Array]:
    """Return what each cause by itself makes wrong since the last scrub, or the write; ``(n,)`` each.

    What is in lost words came of several errors, and is no cause's alone.
    """
    age, weight = phases(rows.dwell, rows.since, scrub_ps)
    met = age < rows.dwell[:, None]
    share = np.divide(age, rows.dwell[:, None], out=np.ones_like(age), where=met)
    reads = np.asarray(rows.index[:, None] * share + met, dtype=np.float64)

    def mean(counts: Array, hazard: Array) -> Array:
        wrong = -0.5 * np.expm1(-counts[..., None] * hazard.sum(axis=0)) @ cell.weights
        return np.asarray((weight * wrong).sum(axis=1))

    return {
        "write": cell.mean(rows.writes).mean(axis=0) * (weight * ~met).sum(axis=1),
        "retention": mean(age, cell.rates),
        "read_disturb": mean(reads, cell.disturb),
        "sense": np.full(len(rows), cell.sense),
    }


class _Scrubbed:
    """One evaluation: times of shape ``(n, p)`` by phase, probabilities ``(2, n, p, k)``."""

    def __init__(self, cell: Cell, rows: Rows, code: Secded, scrub_ps: int) -> None:
        self.cell, self.code, self.scrub_ps = cell, code, float(scrub_ps)
        self.age, self.weight = phases(rows.dwell, rows.since, scrub_ps)
        dwell, before = rows.dwell[:, None], rows.before[:, None]
        met = self.age < dwell
        scrubs = np.where(met, np.floor((dwell - self.age) / scrub_ps) + 1, 0).astype(np.int64)
        self.first = np.where(met, dwell - self.age - (scrubs - 1) * scrub_ps, dwell)
        reached = met & (before > self.first)
        self.earlier = np.where(reached, np.floor((before - self.first) / scrub_ps) + 1, 0).astype(np.int64)
        self.earlier = np.minimum(self.earlier, scrubs)  # scrubs before the access before
        self.later = scrubs - self.earlier
        self.moved, self.begun = (self.later > 0)[..., None], (self.earlier > 0)[..., None]
        # reads that do not disturb are left out: rows are alike then
        reads, ages = np.maximum(rows.index - 1.0, 0.0), rows.before
        self.per_ps = np.divide(reads, ages, out=np.zeros_like(ages), where=(ages > 0) & cell.disturb.any())
        self.late = cell.rates[:, None, None]  # in the gap, which has no reads
        self.early = self.late + (cell.disturb[:, None] * self.per_ps[:, None])[:, :, None]
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

    def _every(self, reads_per_ps: Array, times: Int) -> Repeated:
        """Return ``times`` whole intervals, shape ``(n, p)``, in which a copy is read so often, ``(n,)``."""
        kinds, which = np.unique(reads_per_ps, return_inverse=True)
        rates = self.cell.rates[:, None] + self.cell.disturb[:, None] * kinds[:, None]
        whole = then(drift(self.cell.disturb)[:, None], drift(rates * self.scrub_ps))
        return Repeated(interval(self.cell, self.code, whole).matrix(), which, times)

    def _at_access(self) -> tuple[Mass, Mass, Array]:
        """Return the bits that are right, and wrong, at the access before, and the leave of live ones."""
        early = self._drift(self.early, np.minimum(self.first, self.before))
        opening, all_opening = then(self.written, early), then(self.write, early)
        fresh_words = {(0, Is.LIVE): np.ones_like(opening)}
        if not self.earlier.any():
            return *shown(fresh_words, opening), all_opening
        first = Interval(from_live(self.cell, self.code, all_opening, opening))
        every = self._every(self.per_ps, np.maximum(self.earlier - 1, 0))
        mass = every.after(first.after(fresh_words))
        piece = self._fresh(self.early, self.before - self.first - (self.earlier - 1) * self.scrub_ps)
        mass = where(self.begun, mass, fresh_words)
        right, wrong = shown(mass, np.where(self.begun, piece, opening))
        return right, wrong, np.where(self.begun, piece, all_opening)

    def history(self) -> History:
        """Return the histories, averaged over phases and cells."""
        right, wrong, seen = self._at_access()
        # scrubs in the gap, if there are
        rest_ps = self.first + self.earlier * self.scrub_ps - self.before
        rest, word = self._over(self.pending, rest_ps), self._over(seen, rest_ps)
        lost = from_lost(self.cell, self.code, rest)
        as_right, as_wrong = (
            Interval({**from_live(self.cell, self.code, word, leave), **lost})
            for leave in (rest, 1 - flipped(rest))
        )
        more = self._every(np.zeros_like(self.per_ps), np.maximum(self.later - 1, 0))
        after = [more.after(as_right.after(right, as_wrong)), more.after(as_wrong.after(wrong, as_right))]
        # the time since the last scrub, or since the access before
        last, step = self._fresh(self.late, self.age), self._over(self.pending, self.gap)
        new = np.where(self.moved, wrong_after(after[0], last), total(right) * step)
        back = np.where(self.moved, right_after(after[1], last), total(wrong) * flipped(step))
        both = np.where(self.moved, wrong_after(after[1], last), total(wrong) * (1 - flipped(step)))
        now = where(self.moved, merged(*after), merged(right, wrong))
        own, since = np.where(self.moved, last, step), np.where(self.moved, last, self._over(seen, self.gap))
        return self._read((new, back, both), now, own, since)

    def _read(self, told: tuple[Array, Array, Array], now: Mass, own: Array, since: Array) -> History:
        """Average what is read.

        Args:
            told: New, back and both, before averages.
            now: The masses at the last scrub, or at the access before.
            own: Leave of this bit of a lost word from then on.
            since: Leave since the last scrub, of all bits.
        """
        cell, code = self.cell, self.code
        read = blurred(since, cell.sense)
        mean = cell.mean(read).mean(axis=0)
        amiss = delivered_wrong(code, again(cell, since), mean, read, blurred(own, cell.sense))
        delivered = np.zeros_like(read)
        for (turned, kind), here in now.items():
            delivered += here * (1 - flipped(amiss[kind]) if turned else amiss[kind])
        alive = cell.mean(now[0, Is.LIVE]).mean(axis=0)
        word = np.clip(alive * code.wrong.probability(mean) + (1 - alive), 0.0, 1.0)

        def average(values: Array) -> Array:
            return np.asarray(np.einsum("np,snp->sn", self.weight, cell.mean(values)))

        new, back, both = map(average, told)
        raw = blurred(new + both, cell.sense)
        return History(new, back, both, raw, average(delivered), np.einsum("np,np->n", self.weight, word))
