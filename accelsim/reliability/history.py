"""From a copy's write over its access before to the present read: the chain of one stored bit.

Of the reads before the present one a residency row tells how many there were and when the last was.
The others are taken as spread evenly over the time between the write and that last one. In the mean over
both values of a bit this is exact: thermal flips and disturbs multiply the memory of the written value,
:math:`1 - p_0 - p_1`, by factors whose order does not matter. Only how errors divide between stored 0 and
1 depends on it.

A read senses first and disturbs afterwards, so that the first read of a copy sees no disturb. Errors are
against the value that was written; ``chains`` adds what was wrong with that value itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.cell import Cause, Cell
from accelsim.reliability.chain import Array, blurred, drift, flipped, then
from accelsim.reliability.phases import phases


@dataclass(frozen=True, eq=False)
class Rows:
    """Reads of copies in one group, row by row, arrays of shape ``(n,)``; times in ps."""

    dwell: Array
    gap: Array
    index: NDArray[np.int64]
    writes: Array  # (2, n, k): the leave of the write

    def __len__(self) -> int:
        return len(self.dwell)

    @property
    def before(self) -> Array:
        """The age of the copy at its access before: 0 at its first read."""
        return np.where(self.index > 0, self.dwell - self.gap, 0.0)

    @property
    def since(self) -> Array:
        """The time since then."""
        return self.dwell - self.before

    @property
    def split_writes(self) -> tuple[Array, Array]:
        """The write before the access before, or, at a first read, after it."""
        first = (self.index == 0)[:, None]
        return np.where(first, 0.0, self.writes), np.where(first, self.writes, 0.0)


@dataclass(frozen=True, eq=False)
class History:
    """What has become of a bit by the value that was written, averaged over cells; shape ``(2, n)`` each.

    Attributes:
        new: Probability that it was right at the access before and is stored wrong now.
        back: That it was wrong and is right.
        both: That it was wrong and is wrong. At a first read the access before is the write, right by
            definition: ``new`` holds its errors.
        raw: That it is read wrong, before a decoder.
        delivered: That it is delivered wrong.
        word: Probability that a unit of the code, or a bit without one, is delivered wrong; ``(n,)``.
    """

    new: Array
    back: Array
    both: Array
    raw: Array
    delivered: Array
    word: Array

    @property
    def stored(self) -> Array:
        """Probability that the bit is stored wrong."""
        return self.new + self.both


def uncoded(new: Array, back: Array, both: Array, sense: float) -> History:
    """Return the history of bits that are delivered as they are read."""
    raw = blurred(new + both, sense)
    return History(new, back, both, raw, raw, raw.mean(axis=0))


def hazards(cell: Cell, times: Array, disturbs: Array, refreshes: Array) -> Array:
    """Return the hazards of leaving each state, shape ``(2, n, k)``.

    Refresh writes back what it reads: its disturb stays, and so does what it sensed wrong.

    Args:
        times: In ps; ``disturbs`` are reads and ``refreshes`` refreshes in them, shape ``(n,)`` each.
    """
    with_reads = cell.disturb[:, None] * (disturbs + refreshes)[:, None]
    sensed = cell.rewritten[:, None] * refreshes[:, None]
    return np.asarray(cell.rates[:, None] * times[:, None] + with_reads + sensed)


def plain(cell: Cell, rows: Rows, refresh_ps: int = 0) -> History:
    """Return the histories of bits that nothing corrects.

    Refresh does not touch retention: a thermal flip is stored, and rewriting it changes nothing.

    Args:
        refresh_ps: Time between refreshes; 0: none. Their number in a time is taken as its mean.
    """
    per_ps = 1 / refresh_ps if refresh_ps else 0.0
    written, pending = rows.split_writes
    reads = np.maximum(rows.index - 1, 0).astype(np.float64)
    earlier, since = rows.before, rows.since
    before = then(written, drift(hazards(cell, earlier, reads, earlier * per_ps)))
    later = drift(hazards(cell, since, np.zeros_like(since), since * per_ps))
    step = then(then(pending, last_disturb(cell, rows)), later)
    return uncoded(
        cell.mean((1 - before) * step),
        cell.mean(before * flipped(step)),
        cell.mean(before * (1 - flipped(step))),
        cell.sense,
    )


def alone(cell: Cell, rows: Rows, refresh_ps: int = 0) -> dict[Cause, Array]:
    """Return the probability that each cause by itself makes a bit wrong, as ``plain`` sees it; ``(n,)``.

    In the mean over both values a cause leaves :math:`(1 - e^{-(h_0 + h_1)}) / 2` wrong.
    """
    refreshes = rows.dwell / refresh_ps if refresh_ps else np.zeros_like(rows.dwell)

    def mean(counts: Array, hazard: Array) -> Array:
        return np.asarray(-0.5 * np.expm1(-counts[:, None] * hazard.sum(axis=0)) @ cell.weights)

    return {
        "write": cell.mean(rows.writes).mean(axis=0),
        "retention": mean(rows.dwell, cell.rates),
        "read_disturb": mean(rows.index + refreshes, cell.disturb),
        "sense": blurred(-0.5 * np.expm1(-refreshes * cell.rewritten.sum()), cell.sense),
    }


def last_disturb(cell: Cell, rows: Rows) -> Array:
    """Return the leave of the disturb by the read before, if there was one."""
    return drift(cell.disturb)[:, None] * (rows.index > 0)[:, None]


def restored(cell: Cell, rows: Rows, refresh_ps: int) -> History:
    """Return the histories in the model of papers on low-retention caches.

    Every refresh resets the time that counts for retention, as if the bits were right again. Write errors
    and disturbs stay. The phase of the refreshes is uniform against the writes.
    """
    written, pending = rows.split_writes
    earlier, gap = rows.before[:, None], rows.since[:, None]
    reads = np.maximum(rows.index - 1, 0).astype(np.float64)
    still = np.zeros_like(rows.dwell)
    base = then(written, drift(hazards(cell, still, reads, still)))[:, :, None]
    struck = then(pending, last_disturb(cell, rows))[:, :, None]
    age, weight = phases(rows.dwell, rows.since, refresh_ps)

    def kept(ps: Array) -> Array:
        return drift(cell.rates[:, None, None] * np.maximum(ps, 0.0)[..., None])

    between = (age < gap)[..., None]  # a refresh between the access before and this one
    age_before = np.where(between[..., 0], np.minimum((age - gap) % refresh_ps, earlier), age - gap)
    lost = kept(age_before)
    shown = then(base, lost)
    kept_now = then(struck, kept(np.where(between[..., 0], age, gap)))
    right, wrong = 1 - base, base
    new = right * (1 - lost) * kept_now + wrong * flipped(lost) * (1 - flipped(kept_now))
    back = right * lost * (1 - kept_now) + wrong * (1 - flipped(lost)) * flipped(kept_now)
    both = right * lost * kept_now + wrong * (1 - flipped(lost)) * (1 - flipped(kept_now))
    new = np.where(between, new, (1 - shown) * kept_now)
    back = np.where(between, back, shown * flipped(kept_now))
    both = np.where(between, both, shown * (1 - flipped(kept_now)))

    def mean(values: Array) -> Array:
        return np.asarray(np.einsum("np,snp->sn", weight, cell.mean(values)))

    return uncoded(mean(new), mean(back), mean(both), cell.sense)
