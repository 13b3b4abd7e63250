"""Weak cells: stuck at 0 or 1, at the same physical addresses in every step."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.train.draws import NONE, Positions, Stream, flips

_CHUNK: Final = 1 << 20  # bits of memory whose weak cells are drawn together


class WeakCells:
    """The stuck cells of one memory of ``memory_bytes``.

    A tensor lies where the hash of its name says, in every step, and wraps around at the memory's end:
    tensors share cells, as they do in a scratchpad.
    """

    def __init__(self, rate: float, seed: int, memory_bytes: int = 8 << 20) -> None:
        self.rate = rate
        self._stream = Stream(seed)
        self._bits = memory_bytes * 8
        self._chunks: dict[int, tuple[Positions, NDArray[np.bool_]]] = {}

    def of(self, name: str, bits: int) -> tuple[Positions, NDArray[np.bool_]]:
        """Return where among the ``bits`` bits of ``name`` weak cells are, and what they are stuck at."""
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        base = int.from_bytes(digest, "little") % self._bits
        found, stuck, done = [NONE], [np.empty(0, bool)], 0
        while done < bits:
            chunk, skip = divmod((base + done) % self._bits, _CHUNK)
            size = min(_CHUNK - skip, self._bits - chunk * _CHUNK - skip, bits - done)
            positions, values = self._chunk(chunk)
            low, high = np.searchsorted(positions, (skip, skip + size))
            found.append(positions[low:high] - skip + done)
            stuck.append(values[low:high])
            done += size
        return np.concatenate(found), np.concatenate(stuck)

    def _chunk(self, chunk: int) -> tuple[Positions, NDArray[np.bool_]]:
        if chunk not in self._chunks:
            generator = self._stream.at("weak", chunk)
            positions = flips(generator, _CHUNK, self.rate)
            self._chunks[chunk] = (positions, generator.random(positions.size) < 0.5)
        return self._chunks[chunk]
