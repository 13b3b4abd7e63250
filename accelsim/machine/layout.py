"""Addresses: where the bytes that a stream moves lie, and which bank of a group holds them.

A stream goes through a walk: the rows of a box as they are stored, one after the other, again from the
beginning where more is moved than the box holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Box, ceil_div
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Interleave

Int = NDArray[np.int64]
Extents = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BankMap:
    """Lines of ``line_bytes`` go over ``banks`` in turn; a tensor's row r is r ``skew`` banks further."""

    banks: int
    line_bytes: int
    skew: int = 0

    @property
    def period_bytes(self) -> int:
        """Bytes after which the banks recur."""
        return self.banks * self.line_bytes

    def bank(self, address: Int, row: Int) -> Int:
        """Return the bank that holds each address, of a tensor's row."""
        return (address // self.line_bytes + row * self.skew) % self.banks


def bank_map(interleave: Interleave, line_bytes: int, skew: int, group: BankGroup) -> BankMap | None:
    """Return the map of a group; None: consecutive words go over all its macros.

    With ``tile``, a bank's addresses are consecutive: the line is as long as the bank.
    """
    if interleave == "word":
        return None
    if interleave == "tile":
        line_bytes = ceil_div(group.capacity_bytes, group.count * group.word_bytes) * group.word_bytes
    return BankMap(group.count, line_bytes, skew)


@dataclass(frozen=True)
class Layout:
    """A walk through a region.

    Attributes:
        extents: Of the region: (offset in the bank group, bytes), in order.
        corner: Where the walk begins in the region.
        outer: (count, stride in bytes) of the loops over rows, outermost first.
        run: Bytes of a row, which lie together.
        row: Bytes of a row of the whole tensor: what ``skew`` counts.
    """

    extents: Extents
    corner: int
    outer: tuple[tuple[int, int], ...]
    run: int
    row: int

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the walk; an empty box counts as one."""
        return max(1, self.run * prod(n for n, _ in self.outer))

    @property
    def _row(self) -> int:
        return max(1, self.run)

    def inside(self, at: Int) -> Int:
        """Return where in the region the bytes ``at`` of the walk lie."""
        rest, col = np.divmod(at % self.nbytes, self._row)
        found = self.corner + col
        for count, stride in reversed(self.outer):
            rest, index = np.divmod(rest, count)
            found = found + index * stride
        return found

    def addresses(self, inside: Int) -> Int:
        """Return the group's addresses of bytes of the region."""
        if len(self.extents) == 1:
            return inside + self.extents[0][0]
        offsets, sizes = (np.array(x, dtype=np.int64) for x in zip(*self.extents, strict=True))
        begins = np.cumsum(sizes) - sizes
        which = np.searchsorted(begins, inside, side="right") - 1
        return inside - begins[which] + offsets[which]

    def banks(self, at: Int, over: BankMap) -> Int:
        """Return the bank of each byte ``at`` of the walk."""
        inside = self.inside(at)
        return over.bank(self.addresses(inside), inside // self.row)

    def one_bank(self, over: BankMap) -> int | None:
        """Return the bank in which the whole walk lies; None: there are several."""
        if over.banks == 1:
            return 0
        if over.skew or len(self.extents) > 1:
            return None
        low = self.extents[0][0] + self.corner
        high = low + self._row - 1 + sum((n - 1) * stride for n, stride in self.outer)
        first, last = low // over.line_bytes, high // over.line_bytes
        return first % over.banks if first == last else None

    def key(self, over: BankMap) -> tuple[Any, ...]:
        """Return what two walks that pass the same banks in the same order have in common."""
        bank = self.one_bank(over)
        if bank is not None:
            return (bank,)
        if len(self.extents) > 1:
            return (self,)
        row = (self.corner % self.row, self.corner // self.row % over.banks, self.row) if over.skew else ()
        at = (self.extents[0][0] + self.corner) % over.period_bytes
        return at, self.outer, self.run, row

    def phase(self, at: int, over: BankMap, again: bool) -> tuple[Any, ...]:
        """Return what decides the banks of all bytes from ``at`` on, beyond the walk's end if ``again``."""
        key = self.key(over)
        if len(key) == 1 and key[0] is not self:
            return key
        if again or len(self.extents) > 1 or len(self.outer) > 1:
            return (*key, at % self.nbytes)
        index, col = divmod(at, self._row)
        stride = self.outer[0][1] if self.outer else 0
        begin = self.corner + index * stride
        row = (begin % self.row, begin // self.row % over.banks, self.row) if over.skew else ()
        return (self.extents[0][0] + begin) % over.period_bytes, col, stride, self.run, row


def contiguous(extents: Extents, row: int = 0) -> Layout:
    """Return the walk through all bytes of a region, in rows of ``row`` bytes."""
    size = max(1, sum(n for _, n in extents))
    return Layout(extents, 0, (), size, row or size)


def boxed(extents: Extents, shape: Sequence[int], box: Box, element_bytes: int) -> Layout:
    """Return the walk through ``box`` of a tensor of ``shape`` that a region holds row by row."""
    row = element_bytes * (shape[-1] if shape else 1)
    run, stride, corner = element_bytes, element_bytes, 0
    outer: list[tuple[int, int]] = []
    whole = True  # the dimensions so far are covered from end to end
    for size, (low, high) in zip(reversed(shape), reversed(box), strict=True):
        corner += low * stride
        if whole:
            run *= high - low
        elif high - low > 1:
            outer.append((high - low, stride))
        whole = whole and high - low == size
        stride *= size
    return Layout(extents, corner, tuple(reversed(outer)), run, row)


class At(NamedTuple):
    """The place of a stream's first byte: its walk, how far into it, whether streams go beyond its end."""

    layout: Layout
    start: int
    again: bool = False


@lru_cache(maxsize=1 << 16)
def shares(layout: Layout, start: int, count: int, word: int, over: BankMap) -> tuple[tuple[int, ...], ...]:
    """Return per bank which of ``count`` words from ``start`` of a walk lie there."""
    banks = layout.banks(start + word * np.arange(count, dtype=np.int64), over)
    return tuple(tuple(np.flatnonzero(banks == b).tolist()) for b in range(over.banks))
