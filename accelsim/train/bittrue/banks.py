"""Bank groups that keep what is written into them, and DRAM, which keeps whole tensors.

Beside every word lies which of its bits are wrong: against what the unit made that wrote it, whatever
happened to it since, in other places too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from accelsim.graph.ir import Tensor
from accelsim.program.program import Data
from accelsim.train.bittrue.words import WORD, Spot, Words, repacked
from accelsim.train.counts import Counts
from accelsim.words import Role

INHERITED: Final = "inherited"
CAUSES: Final = ("write", "retention", "read_disturb", INHERITED)  # of what is stored
SENSE: Final = "sense"
MISCORRECTED: Final = "miscorrected"  # by a decoder, in what it writes back
_TALLIES: Final = ("wrong", "read", "delivered", "exposed", "set_bits", "written", "changed")


def ones(words: Words) -> int:
    """Return the bits that are 1."""
    return int(np.bitwise_count(words).sum())


class Books:
    """What was seen: bits flipped, by role and cause, and of every read its bits and those of them wrong.

    Attributes:
        counts: Bits that became wrong, and values read that are no finite numbers.
        read: Bits read.
        wrong: Of those, stored wrong, by cause.
        delivered: Of those, delivered wrong: after sensing, and a decoder.
        exposed, set_bits: Bits read in cells that can fail, and those of them that are 1.
        written, changed: Bits written into cells that can fail, and those of them that changed.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.wrong: Counter[tuple[Role, str]] = Counter()
        self.read: Counter[Role] = Counter()
        self.delivered: Counter[Role] = Counter()
        self.exposed: Counter[Role] = Counter()
        self.set_bits: Counter[Role] = Counter()
        self.written: Counter[Role] = Counter()
        self.changed: Counter[Role] = Counter()

    def bits(self) -> dict[str, Any]:
        """Return the bits read, written, changed and wrong, by role and cause, as plain data."""
        wrong: dict[str, dict[str, int]] = {}
        for (role, cause), count in sorted(self.wrong.items()):
            if count:
                wrong.setdefault(role, {})[cause] = count
        tallies = _TALLIES[1:]
        return {name: dict(sorted(getattr(self, name).items())) for name in tallies} | {"wrong": wrong}

    def state(self) -> dict[str, Any]:
        """Return plain data from which ``restore`` goes on."""
        tallies = {name: dict(getattr(self, name)) for name in _TALLIES}
        return {**tallies, "counts": self.counts.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        for name in _TALLIES:
            setattr(self, name, Counter(state[name]))
        self.counts.restore(state["counts"])


class Bank:
    """A group whose cells do not err; what is wrong in it has come from elsewhere."""

    def __init__(self, group: str, nbytes: int, word: int, books: Books) -> None:
        self.group = group
        self.word = word
        self.books = books
        self.data: Words = np.zeros(nbytes // word, WORD[word])
        self.wrong: Words = np.zeros_like(self.data)
        self.inherits = False  # a bit at least is wrong

    def read(self, spot: Spot, at_ps: int, place: tuple[int, ...]) -> tuple[Words, Words]:  # noqa: ARG002
        """Return what a read at ``at_ps`` delivers, and which of its bits are wrong.

        ``place`` names the access, for what is drawn at random.
        """
        words, wrong = self.data[spot.at], self.wrong[spot.at]
        self.books.read[spot.role] += 8 * self.word * words.size
        if self.inherits:
            self.books.wrong[spot.role, INHERITED] += ones(wrong)
        self._deliver(spot, wrong)
        return words, wrong

    def _deliver(self, spot: Spot, wrong: Words) -> None:
        """Note how many bits are delivered wrong."""
        if wrong.any():
            self.books.delivered[spot.role] += ones(wrong)

    def write(
        self,
        spot: Spot,
        words: Words,
        wrong: Words | None,
        at_ps: int,  # noqa: ARG002
        place: tuple[int, ...],  # noqa: ARG002
    ) -> None:
        """Write ``words``, whose bits ``wrong`` are wrong already, at ``at_ps``."""
        self.data[spot.at] = words
        self.wrong[spot.at] = 0 if wrong is None else wrong
        if wrong is not None:
            self.inherits = True
            self.books.counts.flip(spot.role, INHERITED, ones(wrong))

    def put(self, spot: Spot, words: Words) -> None:
        """Let ``words`` lie there, without an error and at no time."""
        self.data[spot.at] = words
        self.wrong[spot.at] = 0

    def get(self, spot: Spot) -> Words:
        """Return what lies there, without a read."""
        return np.array(self.data[spot.at])

    def passed(self, spot: Spot, at_ps: int) -> None:
        """Note that ``spot`` was last touched at ``at_ps``."""

    def state(self) -> dict[str, Any]:
        """Return arrays from which ``restore`` goes on."""
        return {"data": self.data, "wrong": self.wrong, "inherits": self.inherits}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        for name, value in state.items():
            setattr(self, name, value.copy() if isinstance(value, np.ndarray) else value)


class Dram:
    """Whole tensors as words of their format, without errors of its own."""

    def __init__(self) -> None:
        self._words: dict[str, Words] = {}
        self._wrong: dict[str, Words] = {}

    def put(self, name: str, words: Words) -> None:
        """Let the tensor ``name`` be ``words``, without a wrong bit."""
        self._words[name] = words
        self._wrong.pop(name, None)

    def read(self, spot: Spot, word: int) -> tuple[Words, Words | None]:
        """Return the elements of ``spot`` in words of ``word`` bytes, and their wrong bits, if any."""
        name = spot.data.tensor
        wrong = self._wrong.get(name)
        words = repacked(self._words[name][spot.elements], word)
        return words, None if wrong is None else repacked(wrong[spot.elements], word)

    def write(self, spot: Spot, words: Words, wrong: Words) -> None:
        """Take elements from a bank."""
        data = spot.data
        unit = data.element_bytes
        if data.tensor not in self._words:
            self._words[data.tensor] = np.zeros(elements_of(data), WORD[unit])
        self._words[data.tensor][spot.elements] = repacked(words, unit)
        known = self._wrong.get(data.tensor)
        if known is None and not wrong.any():
            return
        if known is None:
            known = self._wrong[data.tensor] = np.zeros(elements_of(data), WORD[unit])
        known[spot.elements] = repacked(wrong, unit)

    def whole(self, name: str) -> Words:
        """Return the words of a tensor."""
        return self._words[name]

    def rename(self, new: str, old: str) -> None:
        """Let the next step find ``new`` in the place of ``old``."""
        self._words[old] = self._words.pop(new)
        wrong = self._wrong.pop(new, None)
        self._wrong.pop(old, None)
        if wrong is not None:
            self._wrong[old] = wrong

    def keep(self, names: set[str]) -> None:
        """Forget all tensors but ``names``."""
        self._words = {n: w for n, w in self._words.items() if n in names}
        self._wrong = {n: w for n, w in self._wrong.items() if n in names}

    def state(self) -> dict[str, Any]:
        """Return arrays from which ``restore`` goes on."""
        return {"words": self._words, "wrong": self._wrong}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._words = {n: w.copy() for n, w in state["words"].items()}
        self._wrong = {n: w.copy() for n, w in state["wrong"].items()}


def elements_of(data: Data | Tensor) -> int:
    """Return the elements of a tensor."""
    return int(np.prod(data.shape, dtype=np.int64))
