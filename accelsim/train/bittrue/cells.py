"""A bank group whose cells lose bits: by failed writes, heat, the current of reads, and in sensing.

Every cell has its own place in the device's spread, drawn once by address. Time passes lazily: when words
are touched, what has befallen them since they were last touched is drawn. Thermal flips are events of a
Poisson process at the rate of a cell's faster state; in the slower one only its share of them counts. So a
bit goes to and fro as it would, and only events are drawn, not bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.device.laws import laws, write_failure
from accelsim.resolve.bank_group import BankGroup
from accelsim.train.bittrue.banks import CAUSES, INHERITED, SENSE, Bank, Books, ones
from accelsim.train.bittrue.words import Spot, Words, is_number
from accelsim.train.draws import Stream, flips
from accelsim.train.formats import field_bits, format_of
from accelsim.words import Format

Array = NDArray[np.float64]
Int = NDArray[np.int64]
_HOT: Final = 4.0  # events of a word on average: from there on its bits are drawn one by one
_CHUNK: Final = 1 << 16  # words whose cells are drawn together


@dataclass(frozen=True, slots=True, eq=False)
class Physics:
    """What the laws say of a group's cells.

    Attributes:
        nodes: Weights of the places in the spread.
        rates: Of thermal flips out of each state, per ps, by node; shape ``(2, k)``.
        disturb: Hazard of one read by node, in the state that it drives out.
        victim: That state.
        fails: Probability that a bit which is to become 0, or 1, does not.
        sense: Probability that a read delivers a bit wrong.
    """

    nodes: Array
    rates: Array
    disturb: Array
    victim: int
    fails: tuple[float, float]
    sense: float

    @classmethod
    def of(cls, group: BankGroup) -> Physics:
        """Return the physics of ``group``, which has a device."""
        device = group.device
        assert device is not None
        law = laws(device.law)
        nodes, weights = law.nodes(device)
        struck = np.minimum(law.read_disturb_probability(device, nodes), 1 - 1e-16)
        fails = [write_failure(law, device, 1 - new, group.write_retries) for new in (0, 1)]
        return cls(
            nodes=weights,
            rates=1e-12 * np.array(law.rates_per_s(device, nodes)),
            disturb=-np.log1p(-struck),
            victim=device.read_disturbs,
            fails=(fails[0], fails[1]),
            sense=device.sense_error,
        )


class Cells(Bank):
    """The group of a device."""

    def __init__(
        self,
        group: str,
        nbytes: int,
        word: int,
        books: Books,
        physics: Physics,
        stream: Stream,
        protect: Sequence[str] = (),
    ) -> None:
        super().__init__(group, nbytes, word, books)
        self.physics = physics
        self.since: Int = np.zeros(self.data.size, dtype=np.int64)
        self.by_cause: dict[str, Words] = {c: np.zeros_like(self.data) for c in CAUSES}
        self._stream = stream
        self._protect = tuple(protect)
        self._safe: dict[Format, Words] = {}
        self._width = 8 * word
        self._no_bits: Words = np.zeros(1, dtype=self.data.dtype)
        self._fastest = physics.rates.max(axis=0)
        self._node = self._drawn_nodes()
        self._heat = self._word_sums(self._fastest)  # per ps
        self._strain = self._word_sums(physics.disturb)

    def _drawn_nodes(self) -> NDArray[np.uint16]:
        """Return each cell's place in the spread, shape (words, bits): the same for a seed and an address."""
        edges = np.cumsum(self.physics.nodes)
        edges /= edges[-1]
        found = np.zeros((self.data.size, self._width), dtype=np.uint16)
        for first in range(0, self.data.size, _CHUNK):
            generator = self._stream.at("cells", self.group, self.word, first)
            drawn = generator.random((min(_CHUNK, self.data.size - first), self._width))
            found[first : first + _CHUNK] = np.searchsorted(edges, drawn)
        return found

    def _word_sums(self, values: Array) -> Array:
        sums = [
            values[self._node[first : first + _CHUNK]].sum(axis=1)
            for first in range(0, self.data.size, _CHUNK)
        ]
        return np.concatenate([np.zeros(0), *sums])

    # -- accesses --------------------------------------------------------------------------------

    def read(self, spot: Spot, at_ps: int, place: tuple[int, ...]) -> tuple[Words, Words]:
        """Return what a read delivers, and its wrong bits; the cells have aged, and are disturbed by it."""
        if not is_number(spot.data.element_format):
            self.since[spot.at] = at_ps
            return super().read(spot, at_ps, place)
        generator = self._stream.at("read", self.group, *place)
        where = indices(spot)
        self._age(spot, where, at_ps, generator, counted=True)
        words, wrong = self.data[spot.at].copy(), self.wrong[spot.at].copy()
        self._note(spot, where, words, wrong)
        if self.physics.sense:
            sensed = self._spread(flips(generator, self._width * where.size, self.physics.sense), where.size)
            sensed &= ~self._kept_safe(spot)
            self.books.counts.flip(spot.role, SENSE, ones(sensed))
            self.books.wrong[spot.role, SENSE] += ones(sensed)
            words, wrong = words ^ sensed, wrong ^ sensed
        self._disturb(spot, where, generator)
        self._deliver(spot, wrong)
        return words, wrong

    def write(
        self, spot: Spot, words: Words, wrong: Words | None, at_ps: int, place: tuple[int, ...]
    ) -> None:
        """Write ``words``, of which ``wrong`` is wrong already; cells that should change may not."""
        where = indices(spot)
        if not is_number(spot.data.element_format):
            super().write(spot, words, wrong, at_ps, place)
            self._settle(spot, None, None)
            self.since[spot.at] = at_ps
            return
        generator = self._stream.at("write", self.group, *place)
        self._age(spot, where, at_ps, generator, counted=False)
        changed = self.data[spot.at] ^ words
        safe = self._kept_safe(spot)
        self.books.written[spot.role] += self._width * words.size - ones(safe)
        self.books.changed[spot.role] += ones(changed & ~safe)
        failed = self._failed(words, changed, generator) & ~safe
        self._count_write(spot, wrong, failed)
        self.data[spot.at] = words ^ failed
        self._settle(spot, wrong, failed)

    def _count_write(self, spot: Spot, wrong: Words | None, failed: Words) -> None:
        self.books.counts.flip(spot.role, "write", ones(failed if wrong is None else failed & ~wrong))
        if wrong is not None:
            self.books.counts.flip(spot.role, INHERITED, ones(wrong))

    def age(self, spot: Spot, at_ps: int | Int, generator: np.random.Generator) -> None:
        """Let time pass for ``spot``, up to one instant or one per word."""
        self._age(spot, indices(spot), at_ps, generator, counted=True)

    def strike(self, spot: Spot, generator: np.random.Generator) -> None:
        """Let a read disturb ``spot``."""
        self._disturb(spot, indices(spot), generator)

    def mend(self, spot: Spot, masks: Words) -> None:
        """Turn the bits ``masks`` back, which are wrong."""
        which = np.flatnonzero(masks)
        self._flip(spot, indices(spot), which, masks[which], False)

    def passed(self, spot: Spot, at_ps: int) -> None:
        self.since[spot.at] = at_ps

    def put(self, spot: Spot, words: Words) -> None:
        super().put(spot, words)
        self._settle(spot, None, None)

    def _settle(self, spot: Spot, inherited: Words | None, failed: Words | None) -> None:
        """Enter which bits are wrong after a write; one that fails to take over a wrong bit is right."""
        at = spot.at
        for mask in self.by_cause.values():
            mask[at] = 0
        self.wrong[at] = 0
        if inherited is not None:
            self.by_cause[INHERITED][at] = inherited if failed is None else inherited & ~failed
            self.wrong[at] = inherited
        if failed is not None:
            self.by_cause["write"][at] = failed if inherited is None else failed & ~inherited
            self.wrong[at] ^= failed

    def _note(self, spot: Spot, where: Int, words: Words, wrong: Words) -> None:
        safe = self._kept_safe(spot)
        self.books.read[spot.role] += self._width * words.size
        self.books.exposed[spot.role] += self._width * words.size - ones(safe)
        self.books.set_bits[spot.role] += ones(words & ~safe)
        some = np.flatnonzero(wrong)
        if some.size:
            for cause, mask in self.by_cause.items():
                count = ones(mask[where[some]])
                if count:
                    self.books.wrong[spot.role, cause] += count

    # -- what befalls cells ----------------------------------------------------------------------

    def _age(
        self, spot: Spot, where: Int, at_ps: int | Int, generator: np.random.Generator, counted: bool
    ) -> None:
        """Let time pass for words up to ``at_ps``; what lay there dead before a write is not counted."""
        age = np.maximum(at_ps - self.since[spot.at], 0)
        self.since[spot.at] = at_ps
        events = self._heat[spot.at] * age
        if events.size and events.max() > _HOT:
            hot = events > _HOT
            which = np.flatnonzero(hot)
            self._flip(spot, where, which, self._dense(where[which], age[which], generator), counted)
            events[hot] = 0.0
        word, bit = self._picked(where, events, self._fastest, generator)
        if not word.size:
            return
        chance = generator.random(word.size)
        self._in_turn(spot, where, word, bit, chance, counted)

    def _in_turn(self, spot: Spot, where: Int, word: Int, bit: Int, chance: Array, counted: bool) -> None:
        """Carry out events of words ``where[word]``: those of one bit one after the other."""
        order = np.lexsort((np.arange(word.size), bit, word))
        word, bit, chance = word[order], bit[order], chance[order]
        cell = word * self._width + bit
        while cell.size:
            first = np.ones(cell.size, dtype=bool)
            first[1:] = cell[1:] != cell[:-1]
            at = where[word[first]]
            bits = bit[first]
            state = (self.data[at] >> bits.astype(self.data.dtype)) & 1
            node = self._node[at, bits]
            flip = chance[first] * self._fastest[node] < self.physics.rates[state.astype(np.intp), node]
            masks = self._spread(cell[first][flip], where.size)
            touched = np.flatnonzero(masks)
            self._flip(spot, where, touched, masks[touched], counted)
            word, bit, chance, cell = word[~first], bit[~first], chance[~first], cell[~first]

    def _dense(self, where: Int, age: Int, generator: np.random.Generator) -> Words:
        """Return which bits of words have changed after ``age``, each drawn by itself."""
        rates = self.physics.rates[:, self._node[where]]
        total = rates.sum(axis=0)
        state = self._bits(self.data[where])
        own = np.where(state, rates[1], rates[0])
        share = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
        gone = share * -np.expm1(-total * age[:, None])
        return self._joined(generator.random(gone.shape) < gone)

    def _disturb(self, spot: Spot, where: Int, generator: np.random.Generator) -> None:
        """Let a read drive out some of the bits in the state that it disturbs."""
        if not self.physics.disturb.any():
            return
        word, bit = self._picked(where, self._strain[spot.at], self.physics.disturb, generator)
        if not word.size:
            return
        masks = self._spread(np.unique(word * self._width + bit), where.size)
        here = self.data[where]
        masks &= here if self.physics.victim else ~here
        touched = np.flatnonzero(masks)
        self._flip(spot, where, touched, masks[touched], True, "read_disturb")

    def _failed(self, words: Words, changed: Words, generator: np.random.Generator) -> Words:
        """Return which of the bits that a write changes it leaves as they were."""
        to_0, to_1 = self.physics.fails
        worst = max(to_0, to_1)
        if not worst:
            return np.zeros_like(words)
        tried = flips(generator, self._width * words.size, worst)
        word, bit = np.divmod(tried, self._width)
        new = (words[word] >> bit.astype(words.dtype)) & 1
        kept = generator.random(tried.size) * worst < np.where(new == 1, to_1, to_0)
        return self._spread(tried[kept], words.size) & changed

    def _picked(
        self, where: Int, events: Array, weights: Array, generator: np.random.Generator
    ) -> tuple[Int, Int]:
        """Return the word and bit of each event, of which word ``i`` has ``events[i]`` in the mean.

        Args:
            weights: By node: how the events of a word fall to its cells.
        """
        total = np.cumsum(events)
        count = int(generator.poisson(total[-1])) if total.size and total[-1] > 0 else 0
        if not count:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        word = np.searchsorted(total, generator.random(count) * total[-1], side="right")
        word = np.minimum(word, where.size - 1)
        cells = np.cumsum(weights[self._node[where[word]]], axis=1)
        picked = generator.random(count)[:, None] * cells[:, -1:]
        return word, np.minimum((cells <= picked).sum(axis=1), self._width - 1)

    def _flip(
        self, spot: Spot, where: Int, which: Int, masks: Words, counted: bool, cause: str = "retention"
    ) -> None:
        """Flip the bits ``masks`` of those of the words ``where`` that ``which`` counts, each once."""
        safe = self._safe_of(spot)
        if safe is not None:
            masks = masks & ~safe[which % safe.size]
        at = where[which]
        self.data[at] ^= masks
        before = self.wrong[at]
        new = masks & ~before
        self.wrong[at] = before ^ masks
        for mask in self.by_cause.values():
            mask[at] &= ~masks
        self.by_cause[cause][at] |= new
        if counted:
            self.books.counts.flip(spot.role, cause, ones(new))

    # -- bits ------------------------------------------------------------------------------------

    def _spread(self, cells: Int, count: int) -> Words:
        """Return masks of ``count`` words with the bits ``cells`` (word times width plus bit), each once."""
        masks = np.zeros(count, dtype=self.data.dtype)
        if cells.size:
            word, bit = np.divmod(cells, self._width)
            np.bitwise_or.at(masks, word, np.left_shift(np.array(1, masks.dtype), bit.astype(masks.dtype)))
        return masks

    def _bits(self, words: Words) -> NDArray[np.bool_]:
        shifts = np.arange(self._width).astype(words.dtype)
        bits: NDArray[np.bool_] = ((words[:, None] >> shifts) & 1).astype(bool)
        return bits

    def _joined(self, bits: NDArray[np.bool_]) -> Words:
        shifts = np.arange(self._width).astype(self.data.dtype)
        joined: Words = np.bitwise_or.reduce(bits.astype(self.data.dtype) << shifts, axis=1)
        return joined

    def _kept_safe(self, spot: Spot) -> Words:
        """Return the bits of every word of ``spot`` that lie in a safe place."""
        safe = self._safe_of(spot)
        if safe is None:
            return self._no_bits
        if safe.size == 1 and isinstance(spot.at, slice):
            return np.broadcast_to(safe, (spot.at.stop - spot.at.start,))
        return np.tile(safe, spot.count)

    def _safe_of(self, spot: Spot) -> Words | None:
        if not self._protect:
            return None
        stored = spot.data.element_format
        if stored not in self._safe:
            form = format_of(stored)
            bits = sorted({b for field in self._protect for b in field_bits(field, form)})
            whole = np.bitwise_or.reduce(np.left_shift(np.uint64(1), np.array(bits, dtype=np.uint64)))
            self._safe[stored] = (
                np.array([whole], "<u8").view(np.uint8)[: form.width // 8].view(self.data.dtype)
            )
        return self._safe[stored]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "since": self.since, "by_cause": self.by_cause}

    def restore(self, state: Mapping[str, Any]) -> None:
        masks = {c: m.copy() for c, m in state["by_cause"].items()}
        super().restore({k: v for k, v in state.items() if k != "by_cause"})
        self.by_cause = masks


def indices(spot: Spot) -> Int:
    """Return the numbers of a spot's words in their group."""
    if isinstance(spot.at, slice):
        return np.arange(spot.at.start, spot.at.stop)
    return spot.at
