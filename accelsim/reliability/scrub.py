"""Scrubbing: every word is read, corrected and written back once in an interval.

A bit is followed through all scrubs of the dwell, for every phase of the scrubs against the write.

Taken as so: the other bits of a word draw their Delta afresh at each scrub (too many lost words where the
same weak cells are corrected again and again, which tells once most words are lost); a scrub senses without
errors, its correction does not fail, and the disturb of its own read stays.
"""

from __future__ import annotations

import numpy as np

from accelsim.reliability.cell import Cause, Cell
from accelsim.reliability.chain import Array, blurred, drift, flipped, then
from accelsim.reliability.ecc import Secded
from accelsim.reliability.history import History, Rows, last_disturb
from accelsim.reliability.phases import phases
from accelsim.reliability.words import Int, Interval, Mass, interval


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
        total = np.where(met, np.floor((dwell - self.age) / scrub_ps) + 1, 0).astype(np.int64)
        self.first = np.where(met, dwell - self.age - (total - 1) * scrub_ps, dwell)
        reached = met & (before > self.first)
        self.earlier = np.where(reached, np.floor((before - self.first) / scrub_ps) + 1, 0).astype(np.int64)
        self.earlier = np.minimum(self.earlier, total)  # scrubs before the access before
        self.later = total - self.earlier
        self.moved, self.begun = (self.later > 0)[..., None], (self.earlier > 0)[..., None]
        reads, ages = np.maximum(rows.index - 1.0, 0.0), rows.before
        self.per_ps = np.divide(reads, ages, out=np.zeros_like(ages), where=ages > 0)
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

    def _every(self, reads_per_ps: Array, times: Int) -> Interval:
        """Return ``times`` whole intervals, shape ``(n, p)``, in which a copy is read so often, ``(n,)``.

        Few of them are different: they are made once each.
        """
        pairs = np.stack([np.broadcast_to(reads_per_ps[:, None], times.shape), times], axis=-1)
        kinds, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
        rates = self.cell.rates[:, None] + self.cell.disturb[:, None] * kinds[:, :1]
        whole = then(drift(self.cell.disturb)[:, None], drift(rates * self.scrub_ps))
        one = interval(self.cell, self.code, whole, whole, whole)
        return one.power(kinds[:, 1].astype(np.int64)).take(which.reshape(times.shape))

    def history(self) -> History:
        """Return the histories, averaged over phases and cells."""
        early = self._drift(self.early, np.minimum(self.first, self.before))
        opening, all_opening = then(self.written, early), then(self.write, early)
        # scrubs before the access before, and what the bits are at it
        first = interval(self.cell, self.code, all_opening, opening, opening)
        fresh_word = Mass.begin(opening)
        at = fresh_word.after(first).after(self._every(self.per_ps, np.maximum(self.earlier - 1, 0)))
        piece = self._fresh(self.early, self.before - self.first - (self.earlier - 1) * self.scrub_ps)
        right, wrong = at.where(self.begun, fresh_word).shown(np.where(self.begun, piece, opening))
        shown = np.where(self.begun, piece, all_opening)  # of live bits at that access
        # scrubs in the gap, if there are
        rest_ps = self.first + self.earlier * self.scrub_ps - self.before
        rest, word = self._over(self.pending, rest_ps), self._over(shown, rest_ps)
        more = self._every(np.zeros_like(self.per_ps), np.maximum(self.later - 1, 0))
        as_right, as_wrong = (
            interval(self.cell, self.code, word, leave, rest) for leave in (rest, 1 - flipped(rest))
        )
        after = [right.after(as_right, as_wrong).after(more), wrong.after(as_wrong, as_right).after(more)]
        # the time since the last scrub, or since the access before
        last, step = self._fresh(self.late, self.age), self._over(self.pending, self.gap)
        new = np.where(self.moved, after[0].wrong(last), right.total * step)
        back = np.where(self.moved, after[1].right(last), wrong.total * flipped(step))
        both = np.where(self.moved, after[1].wrong(last), wrong.total * (1 - flipped(step)))
        lost = np.where(
            self.moved,
            sum(m.lost_right * last + m.lost_wrong * (1 - flipped(last)) for m in after),
            right.lost_right * step + wrong.lost_wrong * (1 - flipped(step)),
        )
        now = [m.where(self.moved, before) for m, before in zip(after, (right, wrong), strict=True)]
        fresh = np.where(self.moved, last, self._over(shown, self.gap))
        return self._delivered((new, back, both), now, fresh, lost)

    def _delivered(
        self, told: tuple[Array, Array, Array], now: list[Mass], fresh: Array, lost: Array
    ) -> History:
        """Average; live and taken words are decoded, a lost one is delivered as it is read."""
        cell, code, sense = self.cell, self.code, self.cell.sense
        read = blurred(fresh, sense)
        mean = cell.mean(read).mean(axis=0)
        decoded = code.delivered(read, mean[..., None])
        live, taken_right, taken_wrong, lost_all = (
            sum((getattr(m, name) for m in now), np.zeros_like(fresh))
            for name in ("live", "taken_right", "taken_wrong", "lost_right")
        )
        lost_all = lost_all + now[0].lost_wrong + now[1].lost_wrong
        delivered = (live + taken_right) * decoded + taken_wrong * (1 - flipped(decoded))
        delivered = delivered + lost * (1 - sense) + np.maximum(lost_all - lost, 0.0) * sense
        alive = cell.mean(live).mean(axis=0)
        word = np.clip(alive * code.wrong.probability(mean) + (1 - alive), 0.0, 1.0)

        def average(values: Array) -> Array:
            return np.asarray(np.einsum("np,snp->sn", self.weight, cell.mean(values)))

        new, back, both = map(average, told)
        raw = blurred(new + both, sense)
        return History(new, back, both, raw, average(delivered), np.einsum("np,np->n", self.weight, word))
