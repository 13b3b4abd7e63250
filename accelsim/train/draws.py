"""Random positions from a counter-based generator on the host.

A draw is named by seed, site, step and copy, not by what was drawn before it: so it is the same on every
device, and whatever other sites there are.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]  # sorted, each once

NONE: Final[Positions] = np.empty(0, np.int64)
DENSE: Final = 0.02  # from this probability on every bit is drawn: sorting positions would cost more
_CHUNK: Final = 1 << 22  # bits drawn at once where every bit is drawn


class Stream:
    """One Philox generator that is set to the place of each draw; setting it costs 8 microseconds."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bits = np.random.Philox(0)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": np.zeros(4, np.uint64), "key": np.zeros(2, np.uint64)},
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,  # nothing is left in the buffer
            "has_uint32": 0,
            "uinteger": 0,
        }

    def at(self, *place: object) -> np.random.Generator:
        """Return the generator at the place that ``place`` names, until the next call."""
        return self._set(self._digest(place))

    def unless_none(self, expected: float, *place: object) -> np.random.Generator | None:
        """Return the generator at ``place``, or None with probability exp(-expected): then nothing flips.

        That is the cheap way out where few flips are expected: no generator is set. What is drawn from the
        generator has to be drawn again until there is one flip at least (``flips(..., some=True)``).
        """
        digest = self._digest(place)
        if int.from_bytes(digest[16:], "little") < math.exp(-expected) * 2.0**64:
            return None
        return self._set(digest)

    def _digest(self, place: tuple[object, ...]) -> bytes:
        name = "|".join(map(str, (self._seed, *place)))
        return hashlib.blake2b(name.encode(), digest_size=24).digest()

    def _set(self, digest: bytes) -> np.random.Generator:
        self._state["state"]["key"] = np.frombuffer(digest, np.uint64, 2)
        self._bits.state = self._state
        return self._generator


def flips(generator: np.random.Generator, bits: int, p: float, some: bool = False) -> Positions:
    """Return which of ``bits`` bits flip, each with probability ``p`` and independently.

    That is Binomial(bits, p) many, uniform without replacement. Below ``DENSE`` the cost follows the flips.
    ``some``: given that one flips at least.
    """
    if p <= 0 or bits <= 0:
        return NONE
    if p >= DENSE:
        return _each(generator, bits, p)
    count = int(generator.binomial(bits, p))
    while some and not count:
        count = int(generator.binomial(bits, p))
    return subset(generator, bits, count)


def subset(generator: np.random.Generator, bits: int, count: int) -> Positions:
    """Return ``count`` of ``bits`` positions; every subset of that size is equally probable.

    Positions are drawn one after another and repeated ones drawn again, until there are ``count``.
    """
    if count <= 0:
        return NONE
    found = generator.integers(0, bits, count)
    found.sort()
    found = _distinct(found)
    while found.size < count:
        more = generator.integers(0, bits, count - found.size)
        found = _distinct(np.sort(np.concatenate((found, more))))
    return found


def _distinct(ordered: Positions) -> Positions:
    if not (ordered[1:] == ordered[:-1]).any():
        return ordered
    return ordered[run_starts(ordered)]


def run_starts(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each run of equal values begins.

    >>> run_starts(np.array([3, 3, 5, 7, 7]))
    array([0, 2, 3])
    """
    new = np.empty(ordered.size, bool)
    new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def _each(generator: np.random.Generator, bits: int, p: float) -> Positions:
    parts = []
    for start in range(0, bits, _CHUNK):
        drawn = generator.random(min(_CHUNK, bits - start), np.float32) < p
        parts.append(np.flatnonzero(drawn) + start)
    return np.concatenate(parts)
