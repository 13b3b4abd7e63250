r"""What a scrub makes of a bit: its moves between kinds of words, from the leaves since the scrub before.

The other bits of a word draw their Delta afresh at each scrub: exact for the first one, and for what any
single scrub loses. What is known of a lost word's wrong bits is kept: with leaves p there and q back, a bit
went wrong by p, so that it flips back by :math:`E[p q] / E[p]`, more than the mean bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from accelsim.reliability.cell import Cell
from accelsim.reliability.chain import Array, flipped
from accelsim.reliability.ecc import Patterns, Secded
from accelsim.reliability.words import Interval, Is, Moves


@dataclass(frozen=True, eq=False)
class Lots:
    """What becomes of words, by the errors of the bits but one: where that one is right, and wrong."""

    one: Patterns
    two: Patterns
    odd: tuple[Patterns, Patterns]
    even: tuple[Patterns, Patterns]
    taken: tuple[Patterns, Patterns]
    struck: Patterns  # taken, and the decoder flipped a bit, this one or another
    share: float  # of words with three wrong bits that are taken


@cache
def lots(code: Secded) -> Lots:
    """Return the patterns of ``code``; lost with two wrong bits, an odd, an even number of more, or taken."""
    others, flips = code.code_bits - 1, code.miscorrected
    odd, even = (
        Patterns(tuple(n * (w > 2 and w % 2 == rest) for w, n in enumerate(code.detected.counts))).by_one_bit
        for rest in (1, 0)
    )
    taken = Patterns(tuple(a + b for a, b in zip(flips.counts, code.undetected.counts, strict=True)))
    return Lots(
        one=_of_weight(others, 1),
        two=_of_weight(others, 2),
        odd=odd,
        even=even,
        taken=taken.by_one_bit,
        struck=flips.by_one_bit[0],
        share=flips.counts[3] / math.comb(code.code_bits, 3),
    )


def _of_weight(bits: int, weight: int) -> Patterns:
    return Patterns(tuple(float(math.comb(bits, w) * (w == weight)) for w in range(bits + 1)))


def interval(cell: Cell, code: Secded, leave: Array) -> Interval:
    """Return a time that ends with a scrub, with a leave of shape ``(2, ..., k)`` for all bits."""
    return Interval({**from_live(cell, code, leave, leave), **from_lost(cell, code, leave)})


def from_live(cell: Cell, code: Secded, word: Array, fresh: Array) -> dict[Is, Moves]:
    """Return the moves from live words and held ones.

    Args:
        word: Leave of the bits of such a word, of which the mean is taken; shape ``(2, ..., k)``.
        fresh: Probability that this bit is wrong before the scrub.
    """
    lot, mean = lots(code), cell.mean(word).mean(axis=0)[..., None]
    held = 1 - fresh
    # a decoder that finds three wrong bits flips any of the others
    struck = held * (lot.struck.probability(mean) / (code.code_bits - 3))
    pair_right, pair_wrong = held * lot.two.probability(mean), fresh * lot.one.probability(mean)
    odd_right, odd_wrong = held * lot.odd[0].probability(mean), fresh * lot.odd[1].probability(mean)
    even_right, even_wrong = held * lot.even[0].probability(mean), fresh * lot.even[1].probability(mean)
    taken_right = held * lot.taken[0].probability(mean) - struck
    taken_wrong = fresh * lot.taken[1].probability(mean) + struck
    live = {
        Is.PAIR_RIGHT: pair_right,
        Is.PAIR_WRONG: pair_wrong,
        Is.ODD_RIGHT: odd_right,
        Is.ODD_WRONG: odd_wrong,
        Is.EVEN_RIGHT: even_right,
        Is.EVEN_WRONG: even_wrong,
        Is.TURNED: taken_wrong,
    }
    return {Is.LIVE: {**live, Is.HELD: taken_right}, Is.HELD: live}


def again(cell: Cell, leave: Array) -> Array:
    """Return the probability that a bit which has gone wrong flips back, shape ``(..., 1)``."""
    wrong, back = (cell.mean(x).mean(axis=0)[..., None] for x in (leave, leave * flipped(leave)))
    return _ratio(back, wrong)


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 1e-250)


def from_lost(cell: Cell, code: Secded, lost: Array) -> dict[Is, Moves]:
    """Return the moves from lost words, by their bits' leave; an odd number of wrong ones counts as three."""
    bits, share = code.code_bits, lots(code).share
    mean, back = cell.mean(lost).mean(axis=0)[..., None], again(cell, lost)
    backs = _ratio(back, mean * (bits - 1))  # by each wrong bit, of the single flips
    caught = share, 1 / (bits - 3)
    return {
        **_from_pair(lost, back, mean, bits, caught),
        **_from_odd(lost, _parities(mean, bits - 1), np.minimum(3 * backs, 1.0), np.minimum(2 * backs, 1.0)),
        **_from_even(lost, _parities(mean, bits - 1), caught),
    }


def _parities(mean: Array, bits: int) -> tuple[Array, Array, Array]:
    """Return the probabilities that none of ``bits`` flip, an odd number, and an even one."""
    none = (1 - mean) ** bits
    odd = -0.5 * np.expm1(bits * np.log1p(-2 * np.minimum(mean, 0.5 - 1e-16)))
    return none, odd, np.maximum(1 - none - odd, 0.0)


def _from_pair(
    lost: Array, again: Array, mean: Array, bits: int, caught: tuple[float, float]
) -> dict[Is, Moves]:
    """Return the moves of a bit beside the pair, and of one of it, as wrong bits, itself and others flip.

    Args:
        again: Probability that a wrong bit flips back.
        mean: That any other one flips.
        caught: The share of words with three wrong bits that are taken, and the probability that a right
            bit is then the one that the decoder flips.
    """
    share, hit = caught
    stay, back = 1 - lost, flipped(lost)
    still = 1 - back
    none, odd, even = _parities(mean, bits - 3)
    fewer = np.minimum(2 * again, 1.0)
    same = 1 - fewer
    third = stay * (same * odd * share)
    right = {
        Is.LIVE: stay * (fewer * none),
        Is.PAIR_WRONG: lost * (fewer * none),
        Is.ODD_RIGHT: stay * (same * odd * (1 - share) + fewer * even),
        Is.ODD_WRONG: lost * (same * (none * (1 - share) + even) + fewer * odd),
        Is.EVEN_RIGHT: stay * (same * even),
        Is.EVEN_WRONG: lost * (same * odd + fewer * even),
        Is.HELD: third * (1 - hit),
        Is.TURNED: lost * (same * none * share) + third * hit,
    }
    none, odd, even = _parities(mean, bits - 2)
    same = 1 - again
    wrong = {
        Is.LIVE: back * (same * none + again * (none + odd)) + still * (again * none),
        Is.PAIR_RIGHT: back * (same * odd + again * even),
        Is.ODD_RIGHT: back * (same * even),
        Is.ODD_WRONG: still * (same * odd * (1 - share) + again * even),
        Is.EVEN_WRONG: still * (same * even),
        Is.TURNED: still * (same * odd * share),
    }
    return {Is.PAIR_RIGHT: right, Is.PAIR_WRONG: wrong}


def _from_odd(lost: Array, parities: tuple[Array, Array, Array], three: Array, two: Array) -> dict[Is, Moves]:
    """Return the moves from words with three wrong bits, of which one may flip back."""
    _, odd, _ = parities
    stay, back, even = 1 - lost, flipped(lost), 1 - odd
    still = 1 - back
    right = {
        Is.PAIR_RIGHT: stay * (odd * three),
        Is.ODD_WRONG: lost * odd,
        Is.EVEN_RIGHT: stay * (odd * (1 - three)),
        Is.EVEN_WRONG: lost * even,
    }
    wrong = {
        Is.PAIR_RIGHT: back * even,
        Is.PAIR_WRONG: still * (odd * two),
        Is.ODD_RIGHT: back * odd,
        Is.EVEN_WRONG: still * (odd * (1 - two)),
    }
    return {Is.ODD_RIGHT: right, Is.ODD_WRONG: wrong}


def _from_even(
    lost: Array, parities: tuple[Array, Array, Array], caught: tuple[float, float]
) -> dict[Is, Moves]:
    """Return the moves from words with four wrong bits or more."""
    share, hit = caught
    _, odd, _ = parities
    stay, back, even = 1 - lost, flipped(lost), 1 - odd
    still = 1 - back
    held, gone = stay * (odd * share), back * (even * share)
    right = {
        Is.ODD_RIGHT: stay * (odd * (1 - share)),
        Is.ODD_WRONG: lost * (even * (1 - share)),
        Is.EVEN_WRONG: lost * odd,
        Is.HELD: held * (1 - hit),
        Is.TURNED: lost * (even * share) + held * hit,
    }
    wrong = {
        Is.ODD_RIGHT: back * (even * (1 - share)),
        Is.ODD_WRONG: still * (odd * (1 - share)),
        Is.EVEN_RIGHT: back * odd,
        Is.HELD: gone * (1 - hit),
        Is.TURNED: still * (odd * share) + gone * hit,
    }
    return {Is.EVEN_RIGHT: right, Is.EVEN_WRONG: wrong}


def delivered_wrong(code: Secded, back: Array, mean: Array, read: Array, own: Array) -> Mapping[Is, Array]:
    """Return the probability that a bit is delivered wrong by its code word, by its kind at the last scrub.

    A lost word is delivered as it is read, unless one of a pair has flipped back or a third bit is wrong.

    Args:
        back: Probability that a wrong bit has flipped back since, shape ``(n, p, 1)``.
        mean: That one of the other bits is read wrong, shape ``(n, p)``.
        read: That this one is, of a live word, ``(2, n, p, k)``.
        own: Likewise of a lost word, where it was right.
    """
    bits = code.code_bits
    none, odd, _ = _parities(mean[..., None], bits - 3)
    decoded = code.delivered(read, mean[..., None])
    third = (1 - own) * ((1 - 2 * back).clip(0.0) * odd * (lots(code).share / (bits - 3)))
    kept = 1 - flipped(own)
    return {
        Is.LIVE: decoded,
        Is.HELD: decoded,
        Is.PAIR_RIGHT: own + third,
        Is.PAIR_WRONG: kept * (1 - back * none),
        Is.ODD_RIGHT: own,
        Is.ODD_WRONG: kept,
        Is.EVEN_RIGHT: own + third,
        Is.EVEN_WRONG: kept,
    }
