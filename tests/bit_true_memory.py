"""A memory that holds actual bits and loses them one by one: what the error profile must agree with.

It shares no formula with ``accelsim.reliability``. Every cell has its own Delta, drawn once; thermal flips
are Poisson events, writes fail bit by bit, reads disturb, a decoder corrects what it finds. Many equal
memories (``repeats``) run side by side; arrays of bits have the shape (repeats, words, bits of a word).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Rng = np.random.Generator

DATA = 64
TRIPLES = [sum(1 << i for i in c) for c in combinations(range(8), 3)]
FIVES = [(0b11111 << i | 0b11111 >> 8 - i) & 0xFF for i in range(8)]
COLUMNS = np.array([*TRIPLES, *FIVES, *(1 << i for i in range(8))])  # data bits first, then check bits
PARITY = (COLUMNS[:, None] >> np.arange(8) & 1).astype(np.float32)
ERROR_OF = np.full(256, -1)
ERROR_OF[COLUMNS] = np.arange(len(COLUMNS))


@dataclass(frozen=True, kw_only=True)
class Physics:
    """What befalls a bit. ``fails_to_1`` is the probability that one pulse does not make a 0 a 1."""

    delta: float
    cv: float
    asymmetry: float  # state 0 has delta (1 + a), state 1 delta (1 - a)
    fails_to_1: float
    fails_to_0: float
    toggle: float
    retries: int
    disturbs: int  # the state that a read drives out
    read_s: float
    read_overdrive: float
    sense: float
    coded: bool
    scrub_ps: int
    refresh_ps: int


def syndrome(words: Bits) -> NDArray[np.int64]:
    """Return the syndrome of each code word."""
    parity = (words.astype(np.float32) @ PARITY).astype(np.int64) & 1
    return parity @ (1 << np.arange(8))


def encoded(data: Bits) -> Bits:
    """Return data words with their check bits."""
    empty = np.concatenate([data, np.zeros((*data.shape[:-1], 8), dtype=bool)], axis=-1)
    checks = syndrome(empty)[..., None] >> np.arange(8) & 1
    empty[..., DATA:] = checks.astype(bool)
    return empty


def decoded(words: Bits) -> Bits:
    """Return what the decoder makes of words: it flips the one bit that the syndrome names, if any."""
    place = ERROR_OF[syndrome(words)]
    found = words.copy()
    at = np.nonzero(place >= 0)
    found[(*at, place[at])] ^= True
    return found


class Memory:
    """Words written at one time and read at others."""

    def __init__(self, physics: Physics, rng: Rng, data: Bits, at_ps: int) -> None:
        self.physics, self.rng = physics, rng
        wanted = encoded(data) if physics.coded else data
        self.delta = rng.normal(physics.delta, physics.cv * physics.delta, wanted.shape)
        per_ps = 1e-12 / 1e-9  # over the attempt time, 1 ns
        self.rates = per_ps * np.exp(-self.delta * (1 + physics.asymmetry))
        self.rates_of_1 = per_ps * np.exp(-self.delta * (1 - physics.asymmetry))
        sign = -1 if physics.disturbs else 1
        barrier = self.delta * (1 + sign * physics.asymmetry) * (1 - physics.read_overdrive) ** 2
        self.struck = 1 - np.exp(-physics.read_s / 1e-9 * np.exp(-barrier))
        self.cells = wanted ^ (rng.random(wanted.shape) < physics.toggle)  # what was there before
        for _ in range(physics.retries + 1):
            self._pulse(wanted)
        self.now = np.full(wanted.shape[:2], float(at_ps))
        period = physics.scrub_ps or physics.refresh_ps or np.inf
        phase = rng.random(self.now.shape)
        self.next = self.now + phase * period if np.isfinite(period) else np.full(self.now.shape, np.inf)

    def _pulse(self, wanted: Bits) -> None:
        """Drive every cell to its wanted value; those that have it cannot fail."""
        fails = np.where(wanted, self.physics.fails_to_1, self.physics.fails_to_0)
        self.cells = np.where(self.rng.random(wanted.shape) < fails, self.cells, wanted)

    def _pass(self, until: NDArray[np.float64]) -> None:
        """Let time pass, word by word: events of the faster state's rate, thinned in the slower one."""
        fastest = np.maximum(self.rates, self.rates_of_1)
        events = self.rng.poisson(fastest * (until - self.now)[..., None])
        while (where := np.nonzero(events))[0].size:
            state = self.cells[where]
            rate = np.where(state, self.rates_of_1[where], self.rates[where])
            self.cells[where] ^= self.rng.random(state.shape) < rate / fastest[where]
            events[where] -= 1
        self.now = until

    def _sense(self) -> Bits:
        sensed = self.cells ^ (self.rng.random(self.cells.shape) < self.physics.sense)
        state = bool(self.physics.disturbs)
        self.cells ^= (self.cells == state) & (self.rng.random(self.cells.shape) < self.struck)
        return sensed

    def until(self, at_ps: int) -> None:
        """Come to an instant, by way of the scrubs and refreshes before it."""
        while np.any(due := self.next < at_ps):
            self._pass(np.where(due, self.next, self.now))
            cells = self.cells.copy()
            sensed = self._sense()
            back = decoded(sensed) if self.physics.scrub_ps else sensed
            # the write-back drives the bits that it changes
            driven, here = back ^ cells, self.cells
            self._pulse(np.where(driven, back, here))
            self.cells = np.where(due[..., None], self.cells, cells)
            self.next = np.where(
                due, self.next + (self.physics.scrub_ps or self.physics.refresh_ps), self.next
            )
        self._pass(np.full(self.now.shape, float(at_ps)))

    def read(self, at_ps: int) -> tuple[Bits, Bits]:
        """Return the data bits as they are stored and as they are delivered."""
        self.until(at_ps)
        stored = self.cells[..., :DATA].copy()
        sensed = self._sense()
        return stored, (decoded(sensed) if self.physics.coded else sensed)[..., :DATA]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of a copy: its class, what it was filled from, when it was written and read, and by whom."""

    copy_class: str
    parent: str  # empty: an original or a product
    words: int
    written_ps: int
    reads: tuple[tuple[int, str], ...]  # instant and reader, in order


Place = tuple[str, str, int]  # class, reader, read index
Tally = dict[str, NDArray[np.float64]]  # by name: bits of each repeat


def played(
    pieces: Iterable[Piece], physics: Mapping[str, Physics | None], repeats: int, rng: Rng
) -> dict[Place, Tally]:
    """Play the lives of ``pieces`` (parents first) and count wrong bits by class, reader and read index.

    ``physics`` is by copy class; None: a memory without errors. A piece with a parent is filled with what the
    reads of the parent's write-backs (reader ``dma``) delivered.
    """
    dram: defaultdict[str, list[tuple[Bits, Bits]]] = defaultdict(list)  # truth and what is there
    counts: defaultdict[Place, Any] = defaultdict(lambda: defaultdict(lambda: np.zeros(repeats)))
    for piece in pieces:
        truth = rng.random((repeats, piece.words, DATA)) < 0.5
        given = truth
        if piece.parent:
            true, there = (np.concatenate(x, axis=1) for x in zip(*dram[piece.parent], strict=True))
            which = rng.integers(0, true.shape[1], piece.words)
            truth, given = true[:, which], there[:, which]
        kind = physics[piece.copy_class]
        memory = None if kind is None else Memory(kind, rng, given, piece.written_ps)
        before = None
        for index, (at_ps, reader) in enumerate(piece.reads):
            stored, delivered = (given, given) if memory is None else memory.read(at_ps)
            wrong = stored ^ truth
            tally = counts[piece.copy_class, reader, index]
            for name, found in {
                "bits": np.ones_like(wrong),
                "stored": wrong,
                "total": delivered ^ truth,
                "right": np.ones_like(wrong) if before is None else ~before,
                "new": wrong if before is None else wrong & ~before,
                "both": np.zeros_like(wrong) if before is None else wrong & before,
            }.items():
                tally[name] += found.sum(axis=(1, 2))
            if reader == "dma":
                dram[piece.copy_class].append((truth, delivered))
            before = wrong
    return counts
