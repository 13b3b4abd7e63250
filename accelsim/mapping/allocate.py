"""Addresses: extents of a bank group for copies and buffers, kernel by kernel.

Data may be scattered over extents, so whatever fits by size fits. Of the free extents those freed
longest ago are taken first: their last users are likely through, and fills can run ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

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
            self._free.append(_Free(offset, nbytes, kernel))
            self.used -= nbytes
        self._merge()

    def _merge(self) -> None:
        self._free.sort(key=lambda f: f.offset)
        merged: list[_Free] = []
        for block in self._free:
            last = merged[-1] if merged else None
            if last is not None and last.since == block.since and last.offset + last.nbytes == block.offset:
                last.nbytes += block.nbytes
            else:
                merged.append(block)
        self._free = merged
