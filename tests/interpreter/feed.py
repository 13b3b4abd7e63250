"""What comes to the array's edges word by word: nothing is delivered that is not in a word at hand.

A vector of elements is due per cycle. Streams along their grain have a register that holds as many words as a
vector of neighbours may touch; streams that pay words for elements fetch anew for every vector;
the transpose unit holds the words of one block of vectors and lanes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from accelsim.program.program import Binding
from tests.interpreter.memory import Banks, Numbers, Places

NONE = -1  # the address of a zero that is inserted


@dataclass
class Words:
    """The words that kernels fetched and stored, and what their program booked, by op and operand."""

    block: int  # of the transpose unit
    word_bytes: dict[str, int]  # by bank group
    fetched: dict[tuple[str, str], int] = field(default_factory=dict)
    booked: dict[tuple[str, str], int] = field(default_factory=dict)
    vectors: dict[tuple[str, str], int] = field(default_factory=dict)
    lies: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, op: str, name: str, lie: str, fetched: int, booked: int, vectors: int) -> None:
        """Count what one tile of ``op`` moved of an operand."""
        key = (op, name)
        self.lies[key] = lie
        for counts, n in ((self.fetched, fetched), (self.booked, booked), (self.vectors, vectors)):
            counts[key] = counts.get(key, 0) + n


class Feed:
    """One operand's way between its bank and an edge of the array."""

    def __init__(self, banks: Banks, binding: Binding, words: Words) -> None:
        self.banks = banks
        self.binding = binding
        self.word = words.word_bytes[binding.group]
        self.block = words.block
        self.count = 0  # words
        self._held: dict[int, Numbers] = {}

    def vectors(self, at: Places) -> Numbers:
        """Return the elements at addresses ``at`` (time, lane), fetched as the binding says."""
        delivered = np.zeros(at.shape)
        for rows, lanes in self._stretches(at.shape):
            part = at[rows, lanes]
            self._fetch(part)
            delivered[rows, lanes] = self._picked(part)
            self._keep(part.size)
        return delivered

    def words_of(self, at: Places) -> int:
        """Return how many words are written for results at addresses ``at`` (time, lane)."""
        for rows, lanes in self._stretches(at.shape):
            self._fetch(at[rows, lanes])
            self._keep(at[rows, lanes].size)
        return self.count

    def _stretches(self, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
        """Return what is in the edge's register, or in the unit, at the same time, in order."""
        time, lanes = shape
        if self.binding.way == "unit":
            b = self.block
            return [
                (slice(t, t + b), slice(lane, lane + b))
                for t in range(0, time, b)
                for lane in range(0, lanes, b)
            ]
        return [(slice(t, t + 1), slice(0, lanes)) for t in range(time)]

    def _keep(self, elements: int) -> None:
        """Keep the words that the register has room for: those of ``elements`` neighbours, and one begun."""
        room = -(-elements * self.binding.data.element_bytes // self.word) + 1
        self._held = dict(list(self._held.items())[-room:]) if self.binding.way == "along" else {}

    def _fetch(self, at: Places) -> None:
        """Fetch the words of ``at`` that are not held."""
        needed = np.unique(at[at != NONE] // self.word)
        known = {n: self._held[n] for n in needed if n in self._held}
        self.count += needed.size - len(known)
        group = self.binding.group
        self._held = {n: known.get(n, self.banks.word(group, n, self.word)) for n in needed}

    def _picked(self, at: Places) -> Numbers:
        """Return the elements at ``at`` out of the words that are held; any other is a KeyError."""
        picked, wanted = np.zeros(at.shape), at != NONE
        number, offset = np.divmod(at[wanted], self.word)
        held = {n: row for row, n in enumerate(self._held)}
        words = np.array(list(self._held.values())).reshape(-1, self.word)
        picked[wanted] = words[[held[int(n)] for n in number], offset]
        assert not np.isnan(picked).any()
        return picked
