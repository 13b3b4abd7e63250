"""Tensors that are split by bit fields: what each bit of a stored number carries of a double.

The interpreter's numbers are doubles, whatever the format. So that all of a double is in exactly one place,
bit b of a format of w bits carries the 64/w bits of the double from b * 64/w on; a field that is lost, late
or exchanged with another one then makes another number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.program.program import Data, Region

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Carried = NDArray[np.int64]  # elements x bits of the field; -1: not there

ABSENT = -1


def carried_by(data: Data, values: Numbers) -> Carried:
    """Return what the bits of a field carry of ``values``."""
    share = 64 // (8 * data.element_bytes)
    pattern = np.ascontiguousarray(values).view(np.uint64)[:, None]
    shifts = np.array(data.bit_places, dtype=np.uint64) * np.uint64(share)
    return ((pattern >> shifts) & np.uint64((1 << share) - 1)).astype(np.int64)


def joined(fields: list[tuple[Data, Carried]]) -> Numbers:
    """Return the numbers of which ``fields`` carry all bits."""
    first = fields[0][0]
    width = 8 * first.element_bytes
    places = sorted(b for data, _ in fields for b in data.bit_places)
    assert places == list(range(width)), f"{first.tensor}: bits {places} of {width}"
    share = 64 // width
    pattern = np.zeros(len(fields[0][1]), dtype=np.uint64)
    for data, carried in fields:
        for i, place in enumerate(data.bit_places):
            pattern |= carried[:, i].astype(np.uint64) << np.uint64(place * share)
    return pattern.view(np.float64)


class BitCells:
    """The cells of all bank groups, bit by bit."""

    def __init__(self, capacity_bytes: dict[str, int]) -> None:
        self._capacity = capacity_bytes
        self._cells: dict[str, Carried] = {}
        self._bytes: dict[Region, Places] = {}

    def _of(self, group: str) -> Carried:
        if group not in self._cells:
            self._cells[group] = np.full(8 * self._capacity[group], ABSENT)
        return self._cells[group]

    def addresses(self, region: Region, data: Data, places: Places) -> Places:
        """Return the bit addresses of elements of a field whose bits are packed into ``region``."""
        if region not in self._bytes:
            self._bytes[region] = np.concatenate([np.arange(at, at + n) for at, n in region.extents])
        bits = places.ravel()[:, None] * data.bits + np.arange(data.bits)
        return self._bytes[region][bits // 8] * 8 + bits % 8

    def write(self, group: str, at: Places, carried: Carried) -> None:
        """Write bits."""
        self._of(group)[at] = carried

    def read(self, group: str, at: Places) -> Carried:
        """Return bits; those that are not there are ``ABSENT``."""
        found: Carried = self._of(group)[at]
        return found

    def lose(self, group: str, first: Places, nbytes: int) -> None:
        """Lose the bits of elements of ``nbytes`` bytes that begin at the byte addresses ``first``."""
        if group in self._cells:
            cells = self._cells[group].reshape(-1, 8)
            for byte in range(nbytes):
                cells[first + byte] = ABSENT

    def lose_where(self, group: str, lost: NDArray[np.bool_]) -> None:
        """Lose the bits of the bytes that ``lost`` marks."""
        if group in self._cells:
            self._cells[group].reshape(-1, 8)[lost] = ABSENT
