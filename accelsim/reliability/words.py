"""Words under scrub: where a bit is after each scrub, by the kind of its word.

A word with at most one wrong bit is right after its scrub: *live*. One whose errors are found is left as
it is and goes on flipping: *lost*, with a pair of wrong bits as a rule. One of those may flip back, and the
next scrub corrects the other; a third may go wrong, and the decoder takes most such words for another code
word, four bits away. That one is *held* by later scrubs as a live word is, and lost and mended likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.chain import Array, flipped

Int = NDArray[np.int64]


class Is(IntEnum):
    """Where a bit is after a scrub: the kind of its word, and whether it is right, by the word's code word.

    A live word is at the written code word, a held one at another; a held one that was lost and mended counts
    as live. A lost word has two wrong bits (pair), an odd number, or an even one of four and more. ``TURNED``
    is only where to: held at a code word in which the bit has the other value.
    """

    LIVE = 0
    HELD = 1
    PAIR_RIGHT = 2
    PAIR_WRONG = 3
    ODD_RIGHT = 4
    ODD_WRONG = 5
    EVEN_RIGHT = 6
    EVEN_WRONG = 7
    TURNED = 8


KINDS: Final = tuple(kind for kind in Is if kind is not Is.TURNED)
LOST_WRONG: Final = (Is.PAIR_WRONG, Is.ODD_WRONG, Is.EVEN_WRONG)
RIGHT: Final = (Is.LIVE, Is.HELD, Is.PAIR_RIGHT, Is.ODD_RIGHT, Is.EVEN_RIGHT)

# Probabilities by where a bit is, shape (2, n, p, k) each by the value that was written; 0 where absent. The
# first of a place is whether the word is at a code word in which the bit is the other one (1).
Place = tuple[int, Is]
Mass = Mapping[Place, Array]
Moves = Mapping[Is, Array]  # by where to, not of staying; shape (2, ..., k), by the value in the code word
PLACES: Final = tuple((turned, kind) for turned in (0, 1) for kind in KINDS)


def _sum(values: Iterable[Array]) -> Array:
    return np.asarray(sum(values), dtype=np.float64)


def total(mass: Mass) -> Array:
    """Return the sum over all places."""
    return _sum(mass.values())


def _sides(mass: Mass) -> tuple[Array, Array]:
    """Return the bits that were as written at the last scrub, and not."""
    agree, differ = (
        _sum(
            mass[turned, kind]
            for turned, kinds in ((side, RIGHT), (1 - side, LOST_WRONG))
            for kind in kinds
            if (turned, kind) in mass
        )
        for side in (0, 1)
    )
    return agree, differ


def wrong_after(mass: Mass, piece: Array) -> Array:
    """Return the probability that the bit is stored wrong after a leave of ``piece`` more."""
    right, wrong = _sides(mass)
    return right * piece + wrong * (1 - flipped(piece))


def right_after(mass: Mass, piece: Array) -> Array:
    """Return the probability that it is stored right then."""
    right, wrong = _sides(mass)
    return right * (1 - piece) + wrong * flipped(piece)


def merged(*masses: Mass) -> Mass:
    """Return masses together."""
    places = {place: None for mass in masses for place in mass}
    return {place: _sum(mass[place] for mass in masses if place in mass) for place in places}


def where(condition: NDArray[np.bool_], mass: Mass, other: Mass) -> Mass:
    """Return one where the condition holds, else the other."""
    return {
        place: np.where(condition, mass.get(place, 0.0), other.get(place, 0.0)) for place in {**mass, **other}
    }


_SHOWN: Final = (  # kind, that if the bit is then right by its code word, and if it is wrong
    (Is.LIVE, Is.LIVE, Is.LIVE),
    (Is.HELD, Is.HELD, Is.HELD),
    (Is.PAIR_RIGHT, Is.PAIR_RIGHT, Is.ODD_WRONG),
    (Is.PAIR_WRONG, Is.LIVE, Is.PAIR_WRONG),
    (Is.ODD_RIGHT, Is.ODD_RIGHT, Is.EVEN_WRONG),
    (Is.ODD_WRONG, Is.EVEN_RIGHT, Is.ODD_WRONG),
    (Is.EVEN_RIGHT, Is.EVEN_RIGHT, Is.ODD_WRONG),
    (Is.EVEN_WRONG, Is.ODD_RIGHT, Is.EVEN_WRONG),
)


def shown(mass: Mass, piece: Array) -> tuple[Mass, Mass]:
    """Return the masses of bits that are stored right, and wrong, after ``piece`` more.

    Those of live and held words stay what they are to the next scrub, whatever they show; so does a pair's
    other bit when one is right again, which makes the word live.
    """
    sides: tuple[dict[Place, Array], dict[Place, Array]] = ({}, {})
    for turned, leave in ((0, piece), (1, flipped(piece))):
        for kind, right, wrong in _SHOWN:
            if (turned, kind) not in mass:
                continue
            here = mass[turned, kind]
            errs = 1 - flipped(leave) if kind in LOST_WRONG else leave
            for amiss, to, part in ((0, right, here * (1 - errs)), (1, wrong, here * errs)):
                side, place = sides[amiss ^ turned], (turned, to)
                side[place] = side[place] + part if place in side else part
    return sides


@dataclass(frozen=True, eq=False)
class Interval:
    """A time and the scrub at its end: the moves from each kind."""

    moves: Mapping[Is, Moves]

    def after(self, mass: Mass, other: Interval | None = None) -> Mass:
        """Return the masses an interval and its scrub later.

        Args:
            other: The interval by which bits move whose code word has the other value, if not as in this.
        """
        found: dict[Place, Array] = {}
        for (turned, kind), here in mass.items():
            moves = ((other or self) if turned else self).moves[kind]
            if turned:
                moves = {to: flipped(p) for to, p in moves.items()}
            for to, moved in [(kind, 1 - _sum(moves.values())), *moves.items()]:
                place = (1 - turned, Is.HELD) if to is Is.TURNED else (turned, to)
                part = here * moved
                found[place] = found[place] + part if place in found else part
        return found

    def matrix(self) -> Array:
        """Return all moves and stays, by value in the code word and kind; shape ``(..., k, 16, 16)``."""
        shape, size = self.moves[Is.HELD][Is.TURNED].shape[1:], len(KINDS)
        found = np.zeros((*shape, 2, size, 2, size))
        for kind, moves in self.moves.items():
            stays = 1 - _sum(moves.values())
            for value in (0, 1):
                found[..., value, kind, value, kind] = stays[value]
                for to, p in moves.items():
                    place = (1 - value, Is.HELD) if to is Is.TURNED else (value, to)
                    found[..., value, kind, place[0], place[1]] = p[value]
        return found.reshape(*shape, 2 * size, 2 * size)


class Repeated:
    """Some times an interval, row by row."""

    def __init__(self, matrix: Array, which: Int, times: Int) -> None:
        """Prepare ``times`` intervals, shape ``(n, p)``; within a row they hardly differ.

        Args:
            matrix: Of kinds of intervals, shape ``(m, k, 16, 16)``.
            which: The kind of each row, shape ``(n,)``.
        """
        least = times.min(axis=1)
        pairs, pair = np.unique(np.stack([which, least]), axis=1, return_inverse=True)
        self.any = bool(times.any())
        self.power = _powers(matrix, *pairs)[pair.reshape(-1)] if least.any() else None
        self.left = np.tile(times - least[:, None], 2)[:, None, :, None]
        self.once = matrix if len(matrix) == 1 else matrix[which]

    def after(self, mass: Mass) -> Mass:
        """Return the masses afterwards."""
        if not self.any or not mass:
            return mass
        state = _rows(mass)
        if self.power is not None:
            state = state @ self.power
        left = self.left
        while left.any():
            state = np.where(left > 0, state @ self.once, state)
            left = np.maximum(left - 1, 0)
        return _mass(state)


def _powers(matrix: Array, which: Int, times: Int) -> Array:
    """Return the ``times``-th powers of ``which`` matrices."""
    found = np.broadcast_to(np.eye(matrix.shape[-1]), (len(which), *matrix.shape[1:])).copy()
    left = times.copy()
    while True:
        odd = np.flatnonzero(left % 2)
        found[odd] = found[odd] @ matrix[which[odd]]
        left //= 2
        if not left.any():
            return found
        matrix = matrix @ matrix


def _rows(mass: Mass) -> Array:
    """Return masses as ``(n, k, 2 p, 16)``: by value in the code word and kind."""
    _, n, phases, nodes = next(iter(mass.values())).shape
    found = np.zeros((n, nodes, 2, phases, 2, len(KINDS)))
    for (turned, kind), values in mass.items():
        for written in (0, 1):
            found[:, :, written, :, written ^ turned, kind] = values[written].swapaxes(1, 2)
    return found.reshape(n, nodes, 2 * phases, 2 * len(KINDS))


def _mass(rows: Array) -> Mass:
    """Return what ``_rows`` made rows of."""
    n, nodes, lanes, _ = rows.shape
    values = rows.reshape(n, nodes, 2, lanes // 2, 2, len(KINDS)).transpose(5, 4, 2, 0, 3, 1)
    found = np.empty(values.shape)
    for turned in (0, 1):
        for written in (0, 1):
            found[:, turned, written] = values[:, written ^ turned, written]
    return {(turned, kind): found[kind, turned] for turned, kind in PLACES}
