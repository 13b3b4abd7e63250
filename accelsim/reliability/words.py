"""Words under scrub: how a bit moves between words that are right, found wrong, and taken for others.

A word with at most one wrong bit is right after its scrub: *live*. One whose errors are found is left as
it is and goes on flipping: *lost*, with two wrong bits as a rule. One that the decoder takes for another
code word (four wrong bits as a rule) is kept at that one by later scrubs as a live one is at the right one:
*taken*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.cell import Cell
from accelsim.reliability.chain import Array, flipped
from accelsim.reliability.ecc import Patterns, Secded

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mass:
    """Where a bit may be after a scrub, by the value that was written; they add up to at most 1."""

    live: Array
    lost_right: Array
    lost_wrong: Array
    taken_right: Array
    taken_wrong: Array

    @property
    def total(self) -> Array:
        """All together."""
        return self.live + self.lost_right + self.lost_wrong + self.taken_right + self.taken_wrong

    @classmethod
    def begin(cls, like: Array) -> Mass:
        """Return that of a word that is right."""
        none = np.zeros_like(like)
        return cls(np.ones_like(like), none, none, none, none)

    def after(self, by: Interval, other: Interval | None = None) -> Mass:
        """Return the masses an interval and its scrub later.

        A taken word is to its code word what a live one is to the right one. Its wrong bits have flipped
        where they show what is right: they move as ``other`` says, where that is not ``by``.
        """
        live, right, wrong = self.live, self.lost_right, self.lost_wrong
        held, hit = self.taken_right, self.taken_wrong
        mirror = by if other is None else other  # for wrong bits: what their code word has is wrong
        lost_right, lost_wrong = flipped(mirror.lost_wrong), flipped(mirror.lost_right)
        taken_wrong = flipped(mirror.taken_wrong)
        moved = lost_right + lost_wrong + taken_wrong
        return Mass(
            live * (1 - by.lost_right - by.lost_wrong - by.taken_right - by.taken_wrong),
            right * (1 - by.new - by.right_taken - by.new_taken)
            + wrong * by.back
            + (live + held) * by.lost_right
            + hit * lost_right,
            wrong * (1 - by.back - by.wrong_taken - by.back_taken)
            + right * by.new
            + (live + held) * by.lost_wrong
            + hit * lost_wrong,
            held * (1 - by.lost_right - by.lost_wrong - by.taken_wrong)
            + live * by.taken_right
            + right * by.right_taken
            + wrong * by.back_taken
            + hit * taken_wrong,
            hit * (1 - moved)
            + (live + held) * by.taken_wrong
            + right * by.new_taken
            + wrong * by.wrong_taken,
        )

    def where(self, condition: NDArray[np.bool_], other: Mass) -> Mass:
        """Return these masses where ``condition`` holds, else the other ones."""
        return Mass(*(np.where(condition, a, b) for a, b in zip(_parts(self), _parts(other), strict=True)))

    def wrong(self, piece: Array) -> Array:
        """Return the probability that the bit is stored wrong after ``piece`` more."""
        right = self.live + self.lost_right + self.taken_right
        return right * piece + (self.lost_wrong + self.taken_wrong) * (1 - flipped(piece))

    def right(self, piece: Array) -> Array:
        """Return the probability that it is stored right then."""
        right = self.live + self.lost_right + self.taken_right
        return right * (1 - piece) + (self.lost_wrong + self.taken_wrong) * flipped(piece)

    def shown(self, piece: Array) -> tuple[Mass, Mass]:
        """Return the masses of bits that are stored right, and wrong, after ``piece`` more.

        Those of live and taken words stay what they are to the next scrub, whatever they show.
        """
        stay, leave, back = 1 - piece, piece, flipped(piece)
        none = np.zeros_like(self.live)
        lost_right = self.lost_right * stay + self.lost_wrong * back
        lost_wrong = self.lost_wrong * (1 - back) + self.lost_right * leave
        return (
            Mass(self.live * stay, lost_right, none, self.taken_right * stay, self.taken_wrong * back),
            Mass(
                self.live * leave, none, lost_wrong, self.taken_right * leave, self.taken_wrong * (1 - back)
            ),
        )


@dataclass(frozen=True, eq=False)
class Interval:
    """A time and the scrub at its end: the probabilities of a bit's moves, of those that may be small.

    From a live word into a lost or taken one, right or wrong there; in a lost one from right to wrong
    (``new``) and back; from there into a taken one, as right or wrong as it was, or newly so.
    """

    lost_right: Array
    lost_wrong: Array
    taken_right: Array
    taken_wrong: Array
    new: Array
    right_taken: Array
    new_taken: Array
    back: Array
    wrong_taken: Array
    back_taken: Array

    def then(self, more: Interval) -> Interval:
        """Return this followed by ``more``: where each kind of bit is after both."""
        live = 1 - self.lost_right - self.lost_wrong - self.taken_right - self.taken_wrong
        right = 1 - self.new - self.right_taken - self.new_taken
        wrong = 1 - self.back - self.wrong_taken - self.back_taken
        from_live = Mass(live, self.lost_right, self.lost_wrong, self.taken_right, self.taken_wrong).after(
            more
        )
        none = np.zeros_like(live)
        from_right = Mass(none, right, self.new, self.right_taken, self.new_taken).after(more)
        from_wrong = Mass(none, self.back, wrong, self.back_taken, self.wrong_taken).after(more)
        return Interval(
            from_live.lost_right,
            from_live.lost_wrong,
            from_live.taken_right,
            from_live.taken_wrong,
            from_right.lost_wrong,
            from_right.taken_right,
            from_right.taken_wrong,
            from_wrong.lost_right,
            from_wrong.taken_wrong,
            from_wrong.taken_right,
        )

    def power(self, times: Int) -> Interval:
        """Return ``times`` of it in a row, shape ``(n,)``; it itself has the shape ``(2, n, k)``."""
        still = np.zeros_like(self.new)
        result, base, left = Interval(*(still,) * 10), self, times
        while np.any(left > 0):
            odd = (left % 2 == 1)[:, None]
            if odd.any():
                both = zip(_parts(result.then(base)), _parts(result), strict=True)
                result = Interval(*(np.where(odd, a, b) for a, b in both))
            left = left // 2
            if np.any(left > 0):
                base = base.then(base)
        return result

    def take(self, which: Int) -> Interval:
        """Return it for rows and phases: ``which`` of its rows holds there, shape ``(n, p)``."""
        return Interval(*(x[:, which] for x in _parts(self)))


def _parts(of: Mass | Interval) -> list[Array]:
    return [getattr(of, f.name) for f in fields(of)]


@cache
def _two_others(others: int) -> Patterns:
    return Patterns.of([0, 0, *(math.comb(others, w) for w in range(2, others + 1))])


def interval(cell: Cell, code: Secded, word: Array, fresh: Array, lost: Array) -> Interval:
    """Return a time that ends with a scrub.

    Exact for live words up to which of them are taken: as if three bits were wrong. Of lost words the
    next flip but a wrong bit's makes a third wrong bit; what share of those is taken for another is counted.

    Args:
        word: Leave of all bits of a live word, of which the mean is taken; shape ``(2, n, p, k)``.
        fresh: Probability that this bit of a live word is wrong before the scrub.
        lost: Leave of this bit of a lost word.
    """
    mean, bits = cell.mean(word).mean(axis=0), code.code_bits

    def by_word(values: Array) -> Array:
        return values[..., None]

    one = by_word(-np.expm1((bits - 1) * np.log1p(-np.minimum(mean, 1 - 1e-16))))
    left = fresh * one + (1 - fresh) * by_word(_two_others(bits - 1).probability(mean))
    wrong = code.delivered(fresh, by_word(mean))
    taken = by_word(code.miscorrected.probability(mean) + code.undetected.probability(mean))
    ratio = np.divide(fresh, by_word(mean), out=np.ones_like(fresh), where=by_word(mean) > 1e-200)
    taken_wrong = np.minimum(taken * (3 * ratio + 1 - fresh) / bits, wrong)
    taken_right = np.maximum(taken - taken_wrong, 0.0)
    # a lost word
    mean = cell.mean(lost).mean(axis=0)
    odd = by_word(-0.5 * np.expm1((bits - 2) * np.log1p(-2 * np.minimum(mean, 0.5 - 1e-16))))
    share = code.miscorrected.counts[3] / math.comb(bits, 3)
    caught, back = odd * share, flipped(lost)
    new_taken = share * lost + (1 - lost) * caught / (bits - 2)
    return Interval(
        lost_right=np.maximum(left - wrong - taken_right, 0.0),
        lost_wrong=wrong - taken_wrong,
        taken_right=taken_right,
        taken_wrong=taken_wrong,
        new=lost * (1 - share),
        right_taken=np.maximum((1 - lost) * caught * (1 - 1 / (bits - 2)), 0.0),
        new_taken=new_taken,
        back=back,
        wrong_taken=(1 - back) * caught,
        back_taken=np.zeros_like(lost),
    )
