"""The closed loop's decisions: from drifts and offers to a safer or a cheaper machine. Pure functions.

A machine is a base and a *level* of every remedy, 0 being the base's own setting. A check that finds more
drift than tolerated raises levels, those first that remove most harm for their price; checks in a row that
find little let one level go back: that which saves most, if a trial says that it is safe. A step back that
had to be undone, or that there was none, doubles the patience with the next one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

SLACK: Final = 0.5  # of the tolerance: less drift counts as little
PATIENCE: Final = 2  # checks in a row with little drift before a step back
PLACES: Final = "placement."  # how the names of remedies begin that move a role
MOST_PATIENCE: Final = 16
MOST_AT_ONCE: Final = 3  # offers per check


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loop may do.

    Attributes:
        tolerance: Drift that is taken.
        most: The highest level of every remedy.
    """

    tolerance: float
    most: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class State:
    """Where a loop stands.

    Attributes:
        levels: Of the remedies that are not at 0.
        slack: Checks in a row with little drift.
        patience: How many of them it takes for a step back.
        eased: Whether the last change was a step back.
    """

    levels: Mapping[str, int] = field(default_factory=dict)
    slack: int = 0
    patience: int = PATIENCE
    eased: bool = False

    def json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        names = ("levels", "slack", "patience", "eased")
        return {name: getattr(self, name) for name in names} | {"levels": dict(self.levels)}


@dataclass(frozen=True, slots=True)
class Offer:
    """A remedy raised by a level, or several together.

    Attributes:
        price: Relative rise of the step's energy plus that of its time; below 0 it saves.
        removed: Harm that it takes away, in whatever unit harms are in.
    """

    remedies: tuple[str, ...]
    price: float
    removed: float


@dataclass(frozen=True, slots=True)
class Easing:
    """A remedy lowered by a level.

    Attributes:
        price: As of an offer: below 0 it saves.
        risk: The drift that a trial of a few steps gave.
    """

    remedy: str
    price: float
    risk: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What a check decided: the remedies raised, or the one lowered, and the state after it."""

    kind: Literal["hold", "tighten", "ease"]
    remedies: tuple[str, ...]
    state: State
    reason: str


def wants_offers(drift: float, limits: Limits) -> bool:
    """Return whether ``decide`` looks at offers: they cost simulations."""
    return not drift <= limits.tolerance


def wants_easings(state: State, drift: float, limits: Limits) -> bool:
    """Return whether ``decide`` looks at steps back: they cost simulations and trials."""
    little = drift <= SLACK * limits.tolerance
    return little and bool(state.levels) and state.slack + 1 >= state.patience


def candidates(state: State, limits: Limits) -> list[str]:
    """Return the remedies that can be raised."""
    return [name for name, most in limits.most.items() if state.levels.get(name, 0) < most]


def choices(state: State, limits: Limits) -> list[tuple[str, ...]]:
    """Return what may be offered: every remedy that can be raised, and all places together.

    Roles compete for the safe groups: where one moves there, another may have to leave.
    """
    names = candidates(state, limits)
    places = tuple(name for name in names if name.startswith(PLACES))
    return [(name,) for name in names] + ([places] if len(places) > 1 else [])


def ranked(offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers that remove harm, in order: savings first, then by price per removed harm."""
    useful = [o for o in offers if o.removed > 0 and not math.isnan(o.price)]
    free = sorted((o for o in useful if o.price <= 0), key=lambda o: (-o.removed, o.price, o.remedies))
    dear = sorted((o for o in useful if o.price > 0), key=lambda o: (o.price / o.removed, o.remedies))
    return free + dear


def decide(
    state: State, drift: float, offers: Sequence[Offer], easings: Sequence[Easing], limits: Limits
) -> Decision:
    """Return what a check that found ``drift`` decides; no drift, or NaN, counts as the most there can be.

    More drift never gives a laxer machine: with up to twice the tolerance one offer is taken, with up to four
    times two, beyond that three, always the first of one ranking; a remedy rises by one level at most.
    """
    if wants_offers(drift, limits):
        return _tighten(state, drift, offers, limits)
    if drift > SLACK * limits.tolerance:
        return Decision("hold", (), replace(state, slack=0), "drift is tolerated")
    if not state.levels:
        return Decision("hold", (), replace(state, slack=state.slack + 1), "the base machine does")
    if not wants_easings(state, drift, limits):
        return Decision("hold", (), replace(state, slack=state.slack + 1), "little drift")
    return _ease(state, easings, limits)


def _ease(state: State, easings: Sequence[Easing], limits: Limits) -> Decision:
    safe = [
        e
        for e in easings
        if e.price < 0 and e.risk <= SLACK * limits.tolerance and state.levels.get(e.remedy, 0) > 0
    ]
    if not safe:
        waiting = replace(state, slack=0, patience=min(MOST_PATIENCE, 2 * state.patience))
        return Decision("hold", (), waiting, "no step back is cheaper and safe")
    best = min(safe, key=lambda e: (e.price, e.risk, e.remedy)).remedy
    levels = _without_zeros({**state.levels, best: state.levels[best] - 1})
    eased = replace(state, levels=levels, slack=0, eased=True)
    return Decision("ease", (best,), eased, f"little drift in {state.patience} checks in a row")


def _tighten(state: State, drift: float, offers: Sequence[Offer], limits: Limits) -> Decision:
    open_ones = set(candidates(state, limits))
    best = [o for o in ranked(offers) if open_ones.issuperset(o.remedies)]
    best = best[: _how_many(drift, limits.tolerance)]
    patience = min(MOST_PATIENCE, 2 * state.patience) if state.eased else state.patience
    waiting = replace(state, slack=0, patience=patience)
    if not best:
        reason = "no remedy is left" if not open_ones else "no remedy helps"
        return Decision("hold", (), replace(waiting, eased=False), reason)
    names = tuple(dict.fromkeys(name for o in best for name in o.remedies))
    levels = {**state.levels, **{n: state.levels.get(n, 0) + 1 for n in names}}
    after = replace(waiting, levels=levels, eased=False)
    return Decision("tighten", names, after, f"drift {drift:.3g} is more than {limits.tolerance:g}")


def _how_many(drift: float, tolerance: float) -> int:
    """Return how many offers are taken at once.

    >>> [_how_many(d, 0.01) for d in (0.011, 0.02, 0.03, 0.05, math.inf, math.nan)]
    [1, 1, 2, 3, 3, 3]
    """
    if not math.isfinite(drift) or drift > 4 * tolerance:
        return MOST_AT_ONCE
    return 1 if drift <= 2 * tolerance else 2


def _without_zeros(levels: Mapping[str, int]) -> dict[str, int]:
    return {name: level for name, level in levels.items() if level}
