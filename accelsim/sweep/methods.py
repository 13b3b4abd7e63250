"""Which candidates a study tries: all of a grid, a spread of the space, or what a search proposes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accelsim.sweep.space import Candidate, Space
from accelsim.sweep.spec import SweepSpec

Numbered = tuple[int, Candidate]
AHEAD = 256  # candidates that are looked at together, so that equal simulations meet


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a method hears of a candidate: what is to be minimised, and how far constraints are from holding.

    ``costs`` is None where there are no figures; ``failed`` tells an error from a candidate left out.
    """

    costs: list[float] | None
    excess: Mapping[str, float]
    failed: bool = False


class Method(Protocol):
    """Asked for candidates, and told what became of them."""

    ahead: int
    total: int
    exhausted: bool
    will_ask: frozenset[int] | None
    """Of those that it has asked for before, the numbers that it asks for again; None: all."""

    def ask(self) -> Numbered | None:
        """Return the next candidate with its number; None if there are no more: then it is exhausted."""

    def tell(self, number: int, verdict: Verdict) -> None:
        """Hear what became of a candidate."""

    def close(self) -> None:
        """Give back what it holds."""


class Listed:
    """Candidates that are known beforehand."""

    ahead = AHEAD
    exhausted = False
    will_ask: frozenset[int] | None = None

    def __init__(self, candidates: Iterator[Candidate], total: int) -> None:
        self.total = total
        self._numbered = enumerate(candidates)

    def ask(self) -> Numbered | None:
        """Return the next one."""
        found = next(self._numbered, None)
        self.exhausted = found is None
        return found

    def tell(self, number: int, verdict: Verdict) -> None:
        """Nothing is learnt."""

    def close(self) -> None:
        """Nothing is held."""


def listed(spec: SweepSpec, space: Space) -> Listed:
    """Return the method ``grid``, ``random`` or ``sobol`` of a sweep."""
    if spec.method == "grid":
        return Listed(space.grid(), space.size)
    draw = _random if spec.method == "random" else _sobol
    return Listed((space.at(row) for row in draw(space.dimensions, spec.samples, spec.seed)), spec.samples)


def _random(dimensions: int, samples: int, seed: int) -> list[list[float]]:
    rows: list[list[float]] = np.random.default_rng([seed, 1]).random((samples, dimensions)).tolist()
    return rows


def _sobol(dimensions: int, samples: int, seed: int) -> list[list[float]]:
    """Return the first points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    power = max(0, (samples - 1).bit_length())  # whole powers of two: their balance is what one wants of it
    rows: list[list[float]] = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(power).tolist()
    return rows[:samples]
