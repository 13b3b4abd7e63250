"""The space of a sweep: every choice that a method may make, and the machine keys that it sets."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.config.arch import ArchSpec
from accelsim.sweep.axes import Axis, Linked, beside
from accelsim.sweep.expression import Expression, ExpressionError
from accelsim.sweep.mix import Mix, Settings

Choice = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One choice: ``params`` as they are shown, ``settings`` of the machine, both as TOML writes values."""

    params: Settings
    settings: Settings


@dataclass(frozen=True)
class Space:
    """Axes, what follows from them, and a mix."""

    axes: tuple[Axis, ...]
    linked: tuple[Linked, ...]
    mix: Mix | None
    levels: int
    base: ArchSpec

    @property
    def names(self) -> list[str]:
        """The names of all parameters, in order."""
        mix = list(self.mix.names) if self.mix else []
        return [*mix, *(a.name for a in self.axes), *(x.key.path for x in self.linked)]

    def grid(self) -> Iterator[Candidate]:
        """Return every candidate of the grid once, those of one mix and of early parameters together."""
        seen = set()
        splits = self.mix.splits() if self.mix else [()]
        for split in splits:
            for values in itertools.product(*(axis.grid(self.levels) for axis in self.axes)):
                found = self.candidate(dict(zip((a.name for a in self.axes), values, strict=True)), split)
                key = json.dumps(found.settings)
                if key not in seen:  # conditions make choices equal
                    seen.add(key)
                    yield found

    @property
    def size(self) -> int:
        """Choices of the grid, before conditions make some equal."""
        of_mix = sum(1 for _ in self.mix.splits()) if self.mix else 1
        return of_mix * math.prod(len(axis.grid(self.levels)) for axis in self.axes)

    @property
    def dimensions(self) -> int:
        """Of the unit cube that ``at`` takes points of."""
        return len(self.axes) + (1 if self.mix else 0)

    def at(self, shares: Sequence[float]) -> Candidate:
        """Return the candidate at a point of the unit cube."""
        shares = list(shares)
        split: tuple[int, ...] = ()
        if self.mix is not None:
            splits = list(self.mix.splits())
            split = splits[min(int(shares.pop() * len(splits)), len(splits) - 1)]
        return self.candidate({a.name: a.at(x) for a, x in zip(self.axes, shares, strict=True)}, split)

    def candidate(self, choice: Choice, split: Sequence[int] = ()) -> Candidate:
        """Return the candidate of a value per axis and a split of the mix; conditions leave some out."""
        mix = self.mix if split else None
        params: Settings = mix.shown(split) if mix else {}
        mixed: Settings = mix.settings(split) if mix else {}
        known = {**self._as_numbers(mixed), **params}
        chosen: Settings = {}
        for axis in self.axes:
            if self._holds(axis.when, known, chosen):
                chosen[axis.name] = choice[axis.name]
        for linked in self.linked:
            if self._holds(linked.when, known, chosen) and (not linked.partner or linked.partner in chosen):
                chosen[linked.key.path] = self._follows(linked, chosen, known)
        settings = {**mixed, **chosen}
        gone = [key[: -len("count")] for key, value in settings.items() if value == 0 and _is_count(key)]
        kept = {k: v for k, v in chosen.items() if _is_count(k) or not k.startswith(tuple(gone))}
        return Candidate({**params, **kept}, {**mixed, **kept})

    def _follows(self, linked: Linked, chosen: Settings, known: Settings) -> Any:
        if linked.partner:
            return beside(linked, self.axes, chosen)
        assert linked.expr is not None
        value = linked.expr.value({**known, **self._as_numbers(chosen)})
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return linked.key.written(value) if isinstance(value, int | float) else value

    def _holds(self, when: Expression | None, known: Settings, chosen: Settings) -> bool:
        """Return whether a condition holds; one on a parameter that was left out does not."""
        if when is None:
            return True
        try:
            return bool(when.value({**known, **self._as_numbers(chosen)}))
        except ExpressionError:
            return False

    def numbers(self, candidate: Candidate) -> Settings:
        """Return the parameters of a candidate as numbers in base units, for expressions."""
        return self._as_numbers(candidate.params)

    def _as_numbers(self, settings: Settings) -> Settings:
        """Return settings as numbers in base units, for expressions."""
        keys = {axis.name: axis.key for axis in self.axes} | {x.key.path: x.key for x in self.linked}
        return {k: keys[k].number(v) if k in keys else v for k, v in settings.items()}


def _is_count(key: str) -> bool:
    return key.startswith("bank.") and key.endswith(".count")


def check_linked(axes: Sequence[Axis], linked: Sequence[Linked]) -> dict[str, str]:
    """Return what is wrong with parameters that follow from others, by key path."""
    faults = {}
    by_name = {axis.name: axis for axis in axes}
    for one in linked:
        if one.partner:
            axis = by_name.get(one.partner)
            if axis is None or not axis.values:
                faults[one.key.path] = f'with: "{one.partner}" is no parameter with a list of values'
            elif len(axis.values) != len(one.values):
                what = f"{len(one.values)} values beside the {len(axis.values)} of {one.partner}"
                faults[one.key.path] = f"expected as many values: {what}"
    return faults
