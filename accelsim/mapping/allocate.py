"""Addresses: extents of a bank group for copies and buffers, kernel by kernel.

Data may be scattered over extents, so whatever fits by size fits. Of the free extents those freed
longest ago are taken first: their last users are likely through, and fills can run ahead.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter

from accelsim.errors import MappingError
from accelsim.mapping.storage import rounded
from accelsim.program.program import Region


@dataclass(slots=True)
class _Free:
    offset: int
    nbytes: int
    since: int  # kernel that used it last; -1: none


class Allocator:
    """The space of one bank group."""

    def __init__(self, group: str, capacity_bytes: int, word_bytes: int) -> None:
        self.group = group
        self.word_bytes = word_bytes
        self.capacity_bytes = capacity_bytes // word_bytes * word_bytes
        self._free = [_Free(0, self.capacity_bytes, -1)]
        self.used = 0
        self.peak = 0

    def take(self, nbytes: int) -> tuple[Region, int]:
        """Return a region of ``nbytes`` and the last kernel that used any of it (-1: none).

        Raises:
            MappingError: if it does not fit.
        """
        need = rounded(max(1, nbytes), self.word_bytes)
        if need > self.capacity_bytes - self.used:
            raise MappingError(f"bank group {self.group}: {need} bytes do not fit beside {self.used}")
        self.used += need
        self.peak = max(self.peak, self.used)
        extents, since = [], -1
        while need:
            block = min(self._free, key=lambda f: (f.since, f.offset))
            size = min(need, block.nbytes)
            extents.append((block.offset, size))
            since = max(since, block.since)
            block.offset, block.nbytes = block.offset + size, block.nbytes - size
            if not block.nbytes:
                self._free.remove(block)
            need -= size
        return Region(group=self.group, extents=tuple(extents)), since

    def give(self, region: Region, kernel: int) -> None:
        """Take a region back after its last use in ``kernel``."""
        for offset, nbytes in region.extents:
            self.used -= nbytes
            self._insert(_Free(offset, nbytes, kernel))

    def _insert(self, block: _Free) -> None:
        """Put a block among the free ones, in order, as one with neighbours that were used as long ago."""
        free = self._free
        at = bisect_left(free, block.offset, key=attrgetter("offset"))
        if at < len(free) and _touch(block, free[at]):
            block.nbytes += free.pop(at).nbytes
        if at and _touch(free[at - 1], block):
            free[at - 1].nbytes += block.nbytes
        else:
            free.insert(at, block)


def _touch(low: _Free, high: _Free) -> bool:
    return low.since == high.since and low.offset + low.nbytes == high.offset
