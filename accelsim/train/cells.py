"""Bit positions of a stored tensor: which bits lie in the memory, and where its decoder sees them.

Without ECC a position is ``element * width + bit``. With SECDED, the bits in the memory (all that are not
protected) are packed into words of 64, and a position is ``word * 72 + code bit``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.train import ecc
from accelsim.train.draws import DENSE, NONE, Positions, flips, run_starts
from accelsim.train.formats import StorageFormat, Words, field_bits


class Layout:
    """Where the bits of a storage format lie; protected ones are elsewhere, without errors."""

    def __init__(self, form: StorageFormat, protect: tuple[str, ...], secded: bool) -> None:
        safe = {b for field in protect for b in field_bits(field, form)}
        self.form = form
        self.secded = secded
        self.stored = np.array([b for b in range(form.width) if b not in safe], np.int64)
        self._rank = np.full(form.width, -1, np.int64)
        self._rank[self.stored] = np.arange(self.stored.size)
        self._fields: dict[str, NDArray[np.int64]] = {}

    def bits_of(self, field: str) -> NDArray[np.int64]:
        """Return the bits of ``field`` that lie in the memory."""
        if field not in self._fields:
            wanted = np.array(field_bits(field, self.form), np.int64)
            self._fields[field] = wanted[self._rank[wanted] >= 0]
        return self._fields[field]

    def expected(self, elements: int, field: str, p: float) -> float | None:
        """Return ``-log`` of the probability that no bit flips; None if that is not decided beforehand."""
        if self.secded or not 0 < p < DENSE:
            return None
        return -math.log1p(-p) * elements * self.bits_of(field).size

    def draw(
        self, generator: np.random.Generator, elements: int, field: str, p: float, some: bool = False
    ) -> Positions:
        """Return positions that flip, each bit of ``field`` with probability ``p``; check bits too.

        ``some``: given that one flips at least.
        """
        bits = self.bits_of(field)
        if not bits.size:
            return NONE
        drawn = flips(generator, elements * bits.size, p, some)
        if self.secded:
            data = self._coded(*np.divmod(drawn, bits.size), bits)
            words = -(-elements * self.stored.size // ecc.DATA)
            word, check = np.divmod(flips(generator, words * ecc.CHECK, p), ecc.CHECK)
            return np.sort(np.concatenate((data, word * ecc.CODE + ecc.DATA + check)))
        if bits.size == self.form.width or not drawn.size:
            return drawn
        element = drawn // bits.size
        if bits[-1] == bits.size - 1:  # the lowest bits of the word
            placed: Positions = drawn + element * (self.form.width - bits.size)
        else:
            placed = element * self.form.width + bits[drawn - element * bits.size]
        return placed

    def _coded(
        self, element: NDArray[np.int64], which: NDArray[np.int64], bits: NDArray[np.int64]
    ) -> Positions:
        word, bit = np.divmod(element * self.stored.size + self._rank[bits[which]], ecc.DATA)
        return word * ecc.CODE + bit

    def place(self, element: NDArray[np.int64], bit: NDArray[np.int64]) -> Positions:
        """Return the positions of bits of elements; those that are protected are left out."""
        kept = self._rank[bit] >= 0
        element, bit = element[kept], bit[kept]
        if self.secded:
            return self._coded(element, bit, np.arange(self.form.width))
        return element * self.form.width + bit

    def in_field(self, positions: Positions, field: str) -> NDArray[np.bool_]:
        """Return which positions belong to ``field``; check bits belong to every field."""
        if field == "all" or not positions.size:
            return np.ones(positions.size, bool)
        bits = self.bits_of(field)
        if not self.secded:
            return np.isin(positions % self.form.width, bits)
        word, code = np.divmod(positions, ecc.CODE)
        bit = self.stored[(word * ecc.DATA + code) % self.stored.size]
        return (code >= ecc.DATA) | np.isin(bit, bits)

    def masks(self, wrong: Positions, elements: int) -> tuple[NDArray[np.int64], Words]:
        """Return the elements that are read wrong, ascending, and the mask of each one's wrong bits."""
        element, bit = self._delivered(wrong, elements)
        if not element.size:
            return NONE, np.empty(0, self.form.unsigned)
        single = np.left_shift(self.form.unsigned.type(1), bit.astype(self.form.unsigned))
        start = run_starts(element)
        if start.size == element.size:
            return element, single
        return element[start], np.bitwise_or.reduceat(single, start)

    def _delivered(self, wrong: Positions, elements: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not self.secded:
            shift = self.form.width.bit_length() - 1
            return wrong >> shift, wrong & (self.form.width - 1)
        data = ecc.decode(wrong)
        data = data[data < elements * self.stored.size]
        element, rank = np.divmod(data, self.stored.size)
        return element, self.stored[rank]


@lru_cache(maxsize=64)
def layout(form: StorageFormat, protect: tuple[str, ...], secded: bool) -> Layout:
    """Return the layout, made once."""
    return Layout(form, protect, secded)
