"""Scrubbed words whose cells stay what they are: many lives at once, event by event.

``bit_true_memory`` goes through every cell at every scrub; here a cell costs only its events. A bit that may
flip to and fro is one that takes a new state, 1 with its share in equilibrium, at instants of a Poisson
process; a read sets a cell to what it drives to, with the probability that it does. An instant belongs to the
scrub or read before it, and words go from scrub to scrub together, decoded where something has happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tests.bit_true_memory import COLUMNS, DATA, Bits, Physics, Rng, decoded

CODE = len(COLUMNS)
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a read finds, as shares of a word's data bits: wrong as stored, delivered, newly, and again."""

    stored: NDArray[np.float64]
    total: NDArray[np.float64]
    new: NDArray[np.float64]
    both: NDArray[np.float64]


def read_words(physics: Physics, words: int, reads_ps: tuple[int, ...], rng: Rng) -> list[Read]:
    """Return what each of a copy's reads finds in words of random data: shares of their data bits."""
    value = rng.random((words, CODE), dtype=np.float32) < 0.5
    delta = rng.normal(physics.delta, physics.cv * physics.delta, (words, CODE))
    per_ps = 1e-12 / 1e-9  # over the attempt time, 1 ns
    out_of_0 = per_ps * np.exp(-delta * (1 + physics.asymmetry))
    out_of_1 = per_ps * np.exp(-delta * (1 - physics.asymmetry))
    phase = rng.random(words) * physics.scrub_ps
    # an action is a scrub or a read: their numbers in each word, in order
    reads = np.array(reads_ps)
    read_at = (np.floor((reads[:, None] - phase) / physics.scrub_ps) + 1).astype(np.int64)
    read_at += np.arange(len(reads))[:, None]
    word, cell, action, state = _events(physics, delta, out_of_0, out_of_1, phase, reads, rng)
    fails = np.where(value, physics.fails_to_1, physics.fails_to_0)
    old = rng.random(value.shape, dtype=np.float32) < physics.toggle  # the bits that change
    wrong = old & (rng.random(value.shape) < fails ** (physics.retries + 1))
    touched = np.ones(words, dtype=bool)
    edges = np.searchsorted(action, np.arange(read_at.max() + 2))
    found: list[Bits] = [np.zeros_like(wrong) for _ in reads]
    for number, (start, end) in enumerate(pairwise(edges)):
        here, there = word[start:end], cell[start:end]
        wrong[here, there] = state[start:end] ^ value[here, there]
        touched[here] = True
        at_read = read_at == number
        for copy, at in zip(found, at_read, strict=True):
            copy[at] = wrong[at]
        due = np.flatnonzero(touched & ~at_read.any(axis=0) & (number < read_at[-1]))
        wrong[due] = decoded(wrong[due])
        touched[due] = False
    return [_told(physics, now, before, rng) for now, before in zip(found, [None, *found], strict=False)]


def _events(
    physics: Physics,
    delta: NDArray[np.float64],
    out_of_0: NDArray[np.float64],
    out_of_1: NDArray[np.float64],
    phase: NDArray[np.float64],
    reads: Ints,
    rng: Rng,
) -> tuple[Ints, Ints, Ints, Bits]:
    """Return words, cells, how many actions were before, and new states, in order."""
    end = reads[-1]
    word, cell = _struck(rng.poisson((out_of_0 + out_of_1) * end))
    at = rng.random(len(word)) * end
    action = np.floor((at - phase[word]) / physics.scrub_ps).astype(np.int64) + 1 + np.searchsorted(reads, at)
    state = rng.random(len(word)) < (out_of_0 / (out_of_0 + out_of_1))[word, cell]
    actions = np.floor((end - phase) / physics.scrub_ps).astype(np.int64) + len(reads)  # before the last read
    if not physics.read_overdrive:
        order = np.lexsort((at, action))
        return word[order], cell[order], action[order], state[order]
    sign = -1 if physics.disturbs else 1
    barrier = delta * (1 + sign * physics.asymmetry) * (1 - physics.read_overdrive) ** 2
    hazard = physics.read_s / 1e-9 * np.exp(-barrier)
    struck_word, struck_cell = _struck(rng.poisson(hazard * actions[:, None]))
    struck_by = np.floor(rng.random(len(struck_word)) * actions[struck_word]).astype(np.int64) + 1
    driven_to = np.full(len(struck_word), not physics.disturbs)
    action = np.concatenate([struck_by, action])
    order = np.lexsort((np.concatenate([np.zeros(len(struck_word)), 1 + at]), action))
    return (
        np.concatenate([struck_word, word])[order],
        np.concatenate([struck_cell, cell])[order],
        action[order],
        np.concatenate([driven_to, state])[order],
    )


def _struck(events: Ints) -> tuple[Ints, Ints]:
    """Return the word and the cell of each event."""
    word, cell = np.nonzero(events)
    times = events[word, cell]
    return np.repeat(word, times), np.repeat(cell, times)


def _told(physics: Physics, now: Bits, before: Bits | None, rng: Rng) -> Read:
    seen = now ^ (rng.random(now.shape, dtype=np.float32) < physics.sense) if physics.sense else now
    stored, total = now[:, :DATA], decoded(seen)[:, :DATA]
    earlier = np.zeros_like(stored) if before is None else before[:, :DATA]
    both = stored & earlier
    return Read(
        stored=stored.mean(axis=1),
        total=total.mean(axis=1),
        new=(stored & ~earlier).mean(axis=1),
        both=both.mean(axis=1),
    )
