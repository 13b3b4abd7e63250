r"""Single error correction, double error detection: what a decoder leaves, exactly.

The code is Hsiao's: the columns of the parity-check matrix are the unit vectors (check bits) and distinct
vectors of odd weight (data bits), light ones first and taken so that the rows stay balanced. An even
syndrome, or an odd one that is no column, is detected and the word delivered as it was read; a syndrome
that is a column flips that bit, whether it was wrong or not.

With bits wrong independently with probability p, every result is a polynomial

.. math:: \sum_w n_w \, p^w (1 - p)^{N - w}

whose :math:`n_w` count error patterns and are exact integers, from the weights of the :math:`2^r` words
of the dual code (MacWilliams). Nothing is subtracted in evaluating it, so a result of 1e-30 is as exact as
one of 0.5.
Source: docs/sources.md#hsiao-secded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.resolve.bank_group import Ecc

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patterns:
    """A probability as counts of error patterns: ``counts[w]`` of those of weight w."""

    counts: tuple[float, ...]

    @classmethod
    def of(cls, counts: Sequence[int], share: int = 1) -> Patterns:
        """Return the patterns of ``counts`` (of weight 0, 1, ...), divided by ``share``."""
        return cls(tuple(n / share for n in counts))

    @cached_property
    def by_one_bit(self) -> tuple[Patterns, Patterns]:
        """The patterns of the bits but one, where that one is right, and where it is wrong.

        In the mean over which bit it is: of the patterns of weight w it is wrong in w of N.
        """
        bits = len(self.counts) - 1
        right = tuple(n * (bits - w) / bits for w, n in enumerate(self.counts[:-1]))
        wrong = tuple(n * w / bits for w, n in enumerate(self.counts))[1:]
        return Patterns(right), Patterns(wrong)

    def probability(self, p: Array) -> Array:
        """Return the probability of one of the patterns.

        Args:
            p: Probability that a bit is wrong, any shape, in [0, 1].
        """
        low = np.minimum(p, 0.5)
        found = _by_odds(self.counts, low)
        if np.any(p > low):
            found = np.where(p > low, _by_odds(self.counts[::-1], 1 - np.maximum(p, 0.5)), found)
        return np.minimum(found, 1.0)


def _by_odds(counts: Sequence[float], p: Array) -> Array:
    """Return the sum over w of n_w x^w, x = p / (1 - p), times (1 - p)^N: by Horner, for p up to 1/2."""
    odds = p / (1 - p)
    total = np.zeros_like(odds)
    for n in reversed(counts):
        total *= odds
        total += n
    return np.asarray(total * (1 - p) ** (len(counts) - 1))


@dataclass(frozen=True, eq=False)
class Secded:
    """A code and what its decoder leaves.

    Attributes:
        columns: Of the parity-check matrix as numbers, the data bits' first.
        data_bits: How many of them hold data.
        stays: Probability that a wrong data bit is delivered wrong, by the other bits of the word.
        made_wrong: Probability that a right data bit is delivered wrong, likewise.
        detected: Probability that a word is found uncorrectable.
        miscorrected: Probability that the decoder flips a bit of a word and leaves it wrong.
        undetected: Probability that a wrong word looks right.
        wrong: Probability that a word is delivered with a data bit wrong.
        left: Probability that a word has two or more bits wrong: what scrubbing leaves as it is.
    """

    columns: tuple[int, ...]
    data_bits: int
    stays: Patterns
    made_wrong: Patterns
    detected: Patterns
    miscorrected: Patterns
    undetected: Patterns
    wrong: Patterns
    left: Patterns

    @property
    def code_bits(self) -> int:
        """Bits of a code word."""
        return len(self.columns)

    def delivered(self, wrong: Array, mean: Array) -> Array:
        """Return the probability that a bit is delivered wrong.

        Args:
            wrong: Probability that it is read wrong.
            mean: The same for the other bits of its word; broadcasts against ``wrong``.

        >>> code = secded(Ecc(data_bits=64, check_bits=8, latency_ps=0))
        >>> p = np.array([1e-15, 1e-4])
        >>> (code.delivered(p, p) / p**2).round(1)  # 71 others, any of which spoils the correction
        array([71. , 70.8])
        """
        return wrong * self.stays.probability(mean) + (1 - wrong) * self.made_wrong.probability(mean)


def secded(ecc: Ecc) -> Secded:
    """Return the code of ``ecc``.

    Raises:
        InputError: If so few check bits have no such code.
    """
    return _secded(ecc.data_bits, ecc.check_bits)


@cache
def _secded(data_bits: int, check_bits: int) -> Secded:
    columns = (*_data_columns(data_bits, check_bits), *(1 << i for i in range(check_bits)))
    bits = len(columns)
    words = _dual(columns, check_bits)
    stays, made = _of_one_bit(words, columns[:data_bits], check_bits)
    dual = Counter(w.bit_count() for w in words)
    codewords = _counts(dual, bits, check_bits)
    every = [math.comb(bits, w) for w in range(bits + 1)]
    away, back = _corrections(codewords)
    wrong = [n - m for n, m in zip(every, _right(columns, data_bits, check_bits), strict=True)]
    return Secded(
        columns=columns,
        data_bits=data_bits,
        stays=Patterns.of(stays, data_bits),
        made_wrong=Patterns.of(made, data_bits),
        detected=Patterns.of(
            [n - c - a - b for n, c, a, b in zip(every, codewords, away, back, strict=True)]
        ),
        miscorrected=Patterns.of([a + b for a, b in zip(away, [0, 0, *back[2:]], strict=True)]),
        undetected=Patterns.of([0, *codewords[1:]]),
        wrong=Patterns.of(wrong),
        left=Patterns.of([0, 0, *every[2:]]),
    )


def _data_columns(data_bits: int, check_bits: int) -> list[int]:
    """Return columns of odd weight, 3 and more; of the last weight those that balance the rows."""
    if data_bits < 1 or data_bits > 2 ** (check_bits - 1) - check_bits:
        raise InputError(
            f"ecc: {check_bits} check bits serve at most {max(0, 2 ** (check_bits - 1) - check_bits)} "
            f"data bits, not {data_bits}"
        )
    chosen: list[int] = []
    load = [0] * check_bits
    for weight in range(3, check_bits + 1, 2):
        free = list(combinations(range(check_bits), weight))
        whole = len(free) <= data_bits - len(chosen)
        while free and len(chosen) < data_bits:
            rows = free[0] if whole else min(free, key=lambda c: sorted((load[r] for r in c), reverse=True))
            free.remove(rows)
            chosen.append(sum(1 << r for r in rows))
            for r in rows:
                load[r] += 1
    return chosen


def _dual(columns: Sequence[int], check_bits: int) -> list[int]:
    """Return all sums of rows of the parity-check matrix; bit i of a word belongs to column i."""
    words = [0]
    for row in range(check_bits):
        line = sum(1 << i for i, c in enumerate(columns) if c >> row & 1)
        words += [w ^ line for w in words]
    return words


def _counts(dual: Counter[int], bits: int, check_bits: int) -> list[int]:
    """Return how many patterns of each weight have a syndrome, from (signed) weights of the dual.

    The sum over the dual's words of :math:`(1-x)^j (1+x)^{N-j}`, divided by their number.
    """
    total = [0] * (bits + 1)
    for j, n in dual.items():
        for w, k in enumerate(_krawtchouk(bits, j)):
            total[w] += n * k
    return [t >> check_bits for t in total]


@cache
def _krawtchouk(bits: int, j: int) -> tuple[int, ...]:
    """Return the coefficients of (1 - x)^j (1 + x)^(bits - j)."""
    row = [math.comb(bits - j, w) for w in range(bits - j + 1)]
    for _ in range(j):
        row = [a - b for a, b in zip([*row, 0], [0, *row], strict=True)]
    return tuple(row)


def _of_one_bit(words: list[int], data: Sequence[int], check_bits: int) -> tuple[list[int], list[int]]:
    """Return the patterns of the other bits that leave a wrong data bit wrong, and make a right one wrong.

    Summed over the data bits. The decoder rights bit i if the others' syndrome is 0, and spoils it if
    their syndrome is its column.
    """
    plain: Counter[int] = Counter()
    signed: Counter[int] = Counter()
    bits = len(data) + check_bits - 1
    for word in words:
        weight, inside = word.bit_count(), (word & ((1 << len(data)) - 1)).bit_count()
        outside = len(data) - inside
        plain[weight - 1] += inside
        plain[weight] += outside
        signed[weight - 1] -= inside
        signed[weight] += outside
    plain.pop(-1, None)
    signed.pop(-1, None)
    righted, spoiled = _counts(plain, bits, check_bits), _counts(signed, bits, check_bits)
    stays = [len(data) * math.comb(bits, w) - n for w, n in enumerate(righted)]
    return stays, spoiled


def _corrections(codewords: list[int]) -> tuple[list[int], list[int]]:
    """Return the patterns that one flip takes to a codeword: by one more wrong bit, by one less.

    A syndrome that is a column has a coset leader of weight one: each such pattern is a codeword with
    one bit changed, and of one codeword only.
    """
    last = len(codewords) - 1
    away = [(w + 1) * codewords[w + 1] if w < last else 0 for w in range(last + 1)]
    back = [(last - w + 1) * codewords[w - 1] if w else 0 for w in range(last + 1)]
    return away, back


def _right(columns: Sequence[int], data_bits: int, check_bits: int) -> list[int]:
    """Return the patterns after which all data bits are delivered right: see ``Secded.wrong``.

    None wrong, one wrong, or some check bits wrong whose syndrome is no data bit's column.
    """
    right = [0] * (len(columns) + 1)
    used = Counter(c.bit_count() for c in columns[:data_bits])
    for weight in range(check_bits + 1):
        right[weight] = math.comb(check_bits, weight) - used.get(weight, 0)
    right[1] += data_bits
    return right
