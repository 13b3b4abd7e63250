"""How much of a figure's variance each parameter explains by itself.

A figure is fitted by a sum of one term per parameter, least squares. The share of a parameter is the
covariance of its term with the figure over the variance of the figure: Pratt's measure, and where parameters
vary independently the first-order index of Sobol. Shares add up to the R^2 of the fit.

On a full grid terms are the means of the values, and shares are exact. Elsewhere a fit explains some of
anything by chance. What it would of noise of the size of its residuals is taken off, so that shares add up to
the adjusted R^2, and a parameter shows one only if the fit is worse without it than by chance (F test).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.sweep.figures import figure
from accelsim.sweep.space import Space
from accelsim.sweep.view import Entry, View

Floats = NDArray[np.float64]
FEW: Final = 4  # points per value, from which on each value of a number has a mean of its own
LEVEL: Final = 0.05  # of the F test
NOTHING: Final = 1e-9  # of the variance: rounding
WIDE: Final = 10.0  # between the ends of a range that is fitted over its logarithm


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares of one figure's variance by parameter, in [0, 1].

    Attributes:
        shares: None: no more than chance explains. A parameter and what only follows from it are one,
            named ``a = b``.
        exact: Whether the points are a full grid: then no chance is in it, and the rest is interaction.
        missing: So many points more are needed to say anything; then there are no shares.
        varies: Whether there is anything to share: not where the figure is the same everywhere.
    """

    shares: dict[str, float | None]
    exact: bool
    missing: int = 0
    varies: bool = True

    @property
    def rest(self) -> float:
        """What the shares leave: interaction, and where they are not exact what the terms do not follow."""
        left = 1.0 if self.varies else 0.0
        return max(0.0, left - math.fsum(s for s in self.shares.values() if s))


def importance(found: View, name: str) -> Importance:
    """Return the shares of the variance of the figure ``name`` among the points that are done.

    A point that stands there several times counts once. A parameter that follows from several is left out.
    """
    listed = {repr(e.params): e for e in found.done if math.isfinite(figure(e.figures, name))}
    entries = list(listed.values())
    if len(entries) < 2:
        return Importance({}, False, 2 - len(entries))
    groups = _together(entries, found.varied, found.sweep.space)
    names = [" = ".join(group) for group in groups]
    counts = [len({repr(e.params.get(group[0])) for e in entries}) for group in groups]
    exact = math.prod(counts) == len(entries)
    terms = [_columns(entries, group[0], exact) for group in groups]
    values = np.array([figure(e.figures, name) for e in entries])
    if not exact:
        missing = 2 * (1 + sum(t.shape[1] for t in terms)) - len(entries)
        if missing > 0:
            return Importance({}, False, missing)
    each = dict(zip(names, shares(values, terms, exact), strict=True))
    return Importance(each, exact, varies=not _same(values))


def shares(values: Floats, terms: Sequence[Floats], exact: bool) -> list[float | None]:
    """Return the share of the variance of ``values``, shape (points,), of each of ``terms``.

    Args:
        values: The figure.
        terms: What each parameter is fitted by, shape (points, columns).
        exact: Take off nothing for chance.
    """
    y = values - values.mean()
    whole = float(y @ y)
    if _same(values):
        return [0.0] * len(terms)
    centred = [t - t.mean(axis=0) for t in terms]
    left, rank, fitted = _fit(y, centred)
    noise = 0.0 if exact or left <= NOTHING * whole else left / (len(y) - 1 - rank)
    found: list[float | None] = []
    for i, (part, freedom) in enumerate(fitted):
        share = max(0.0, (float(part @ y) - freedom * noise) / whole)
        others = centred[:i] + centred[i + 1 :]
        seen = exact or _matters(_fit(y, others)[:2], (left, rank), noise, whole, len(y))
        found.append((share if share > NOTHING else 0.0) if seen else None)
    return found


def _same(values: Floats) -> bool:
    """Return whether values differ by rounding at most."""
    return float(np.ptp(values)) <= NOTHING * float(np.abs(values).max())


def _matters(
    without: tuple[float, int], fit: tuple[float, int], noise: float, whole: float, points: int
) -> bool:
    """Return whether a fit without a term is worse than one with it by more than chance makes it."""
    from scipy.stats import f

    more, freedom = without[0] - fit[0], fit[1] - without[1]
    if more <= NOTHING * whole or freedom <= 0:
        return False
    return noise == 0 or bool(f.sf(more / freedom / noise, freedom, points - 1 - fit[1]) < LEVEL)


def _fit(y: Floats, terms: Sequence[Floats]) -> tuple[float, int, list[tuple[Floats, float]]]:
    """Return the sum of squares that a fit leaves, its rank, and of each term its part and its freedom."""
    if not terms:
        return float(y @ y), 0, []
    design = np.hstack(terms)
    size = np.sqrt((design**2).sum(axis=0))
    design = design / np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv(design, rcond=1e-9)
    by = inverse @ y
    residual = y - design @ by
    parts, at = [], 0
    for term in terms:
        here = slice(at, at + term.shape[1])
        parts.append((design[:, here] @ by[here], float(np.trace(inverse[here] @ design[:, here]))))
        at += term.shape[1]
    return float(residual @ residual), round(sum(freedom for _, freedom in parts)), parts


def _together(entries: Sequence[Entry], names: Sequence[str], space: Space) -> list[list[str]]:
    """Return the parameters with those beside each that only follow from it; of a mix of two one follows."""
    after = {
        x.key.path: [x.partner] if x.partner else list(x.expr.names if x.expr else ()) for x in space.linked
    }
    mixed = list(space.mix.names) if space.mix else []
    if len(mixed) == 2:
        after[mixed[1]] = mixed[:1]
    split = {name: _numbered([repr(e.params.get(name)) for e in entries]) for name in names}
    groups = {name: [name] for name in names if name not in after and len(set(split[name])) > 1}
    for name, of in after.items():
        chosen = [n for n in of if n in names]
        if len(chosen) == 1 and chosen[0] in groups and split.get(name) == split[chosen[0]]:
            groups[chosen[0]].append(name)
    return list(groups.values())


def _numbered(values: Sequence[str]) -> list[int]:
    """Return for each value the number of the first place of it."""
    first: dict[str, int] = {}
    return [first.setdefault(value, i) for i, value in enumerate(values)]


def _columns(entries: Sequence[Entry], name: str, exact: bool) -> Floats:
    """Return what a parameter is fitted by, shape (points, columns).

    That is a column per value, or, where a number has few points per value, the number and its square; of a
    number that spans a power of ten its logarithm.
    """
    given = [repr(e.params.get(name)) for e in entries]
    known = list(dict.fromkeys(given))
    numbers = [e.numbers.get(name) for e in entries]
    few = len(known) > 3 and len(entries) < FEW * len(known)
    if exact or not few or not all(map(_is_number, numbers)):
        return np.array([[float(g == k) for k in known[1:]] for g in given])
    x = np.array(numbers, dtype=np.float64)
    if x.min() > 0 and x.max() >= WIDE * x.min():
        x = np.log(x)
    x = (x - x.mean()) / x.std()
    return np.stack([x, x**2], axis=1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
