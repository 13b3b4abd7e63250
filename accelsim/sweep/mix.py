"""Mixes: a budget of banks or of area, split in steps over technologies and devices.

A group's banks are those of the base machine's group of that name, else of its first group of the same
technology: word, ports, transistors and the size of a macro stay, the number of macros follows from the
share of the budget. A group without a share is not there, nor is one of the base that the mix does not name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from accelsim import units
from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.machinefile import toml
from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.sweep.spec import MixSpec
from accelsim.units import UnitError
from accelsim.words import ROLES

Settings = dict[str, Any]
CELLS: Final = ("sram", "stt34", "stt54")
MOST: Final = 200_000  # splits


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a mix: its banks for one macro, and what a macro takes of the budget."""

    name: str
    settings: Settings
    macro_bytes: int
    macro_mm2: float = 0.0
    subbanks: int = 1

    def macros(self, share: float, by_area: bool) -> int:
        """Return how many macros fit into ``share`` of the budget."""
        return int(share / self.macro_mm2 + 1e-9) if by_area else round(share) * self.subbanks


@dataclass(frozen=True, slots=True)
class Mix:
    """A budget in ``steps`` parts of ``step``, over groups. ``rest`` is set whatever the split."""

    by_area: bool
    step: float
    steps: int
    groups: tuple[Group, ...]
    rest: Settings

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the shares: ``mix.GROUP``."""
        return tuple(f"mix.{g.name}" for g in self.groups)

    def splits(self) -> Iterator[tuple[int, ...]]:
        """Return all ways to give every step to one of the groups."""
        cuts = len(self.groups) - 1
        for bars in itertools.combinations(range(self.steps + cuts), cuts):
            ends = (-1, *bars, self.steps + cuts)
            yield tuple(b - a - 1 for a, b in itertools.pairwise(ends))

    def of_cuts(self, cuts: Sequence[int]) -> tuple[int, ...]:
        """Return the split between sorted cuts in [0, steps]."""
        ends = (0, *sorted(cuts), self.steps)
        return tuple(b - a for a, b in itertools.pairwise(ends))

    def shown(self, split: Sequence[int]) -> Settings:
        """Return the shares as numbers: mm2, or banks."""
        return {
            name: round(n * self.step, 9) if self.by_area else int(n * self.step)
            for name, n in zip(self.names, split, strict=True)
        }

    def settings(self, split: Sequence[int]) -> Settings:
        """Return the keys of the machine that this split sets."""
        found: Settings = {}
        for group, n in zip(self.groups, split, strict=True):
            macros = group.macros(n * self.step, self.by_area)
            shape = (macros, 1) if self.by_area else (macros // group.subbanks, group.subbanks)
            at = f"bank.{group.name}."
            found |= {at + key: value for key, value in group.settings.items()}
            found |= {at + "count": shape[0], at + "subbanks": shape[1]}
            found[at + "capacity"] = units.size_text(max(macros, 1) * group.macro_bytes)
        return found | self.rest


def mix_of(spec: MixSpec, base: str, machine: ArchSpec) -> Mix:
    """Return the mix that ``spec`` describes for the base machine.

    Raises:
        InputError: Of ``(key, message)``: what is wrong at that key of the table.
    """
    kind, _, amount = spec.budget.partition(":")
    if kind.strip() not in ("area", "banks"):
        raise InputError("budget", f'expected "area: 8 mm2" or "banks: 16", got "{spec.budget}"')
    by_area = kind.strip() == "area"
    budget, step = _amount("budget", amount.strip(), by_area), _amount("step", spec.step, by_area)
    steps = int(budget / step + 1e-9)
    if steps < 1:
        raise InputError("step", f'"{spec.step}" is more than the budget "{spec.budget}"')
    if len(spec.groups) < 2:
        raise InputError("groups", "expected at least two groups to split the budget over")
    groups = [_group(name, made_of, machine) for name, made_of in spec.groups.items()]
    groups = _with_areas(groups, base) if by_area else groups
    others = {f"bank.{name}.count": 0 for name in machine.bank if name not in spec.groups}
    rest = others | _placement(machine, [g.name for g in groups])
    mix = Mix(by_area, step, steps, tuple(groups), rest)
    if sum(1 for _ in itertools.islice(mix.splits(), MOST + 1)) > MOST:
        raise InputError("step", f"makes more than {MOST} splits; take a larger one")
    return mix


def _amount(key: str, text: Any, by_area: bool) -> float:
    try:
        if by_area:
            return units.real(text, units.AREA)
        number = int(text)
    except UnitError as exc:
        raise InputError(key, str(exc)) from None
    except (TypeError, ValueError):
        raise InputError(key, f"expected a number of banks, got {text!r}") from None
    if number < 1:
        raise InputError(key, f"expected at least 1, got {number}")
    return number


def _group(name: str, made_of: str, machine: ArchSpec) -> Group:
    technology = "sram" if made_of == "sram" else "stt-mram"
    like = _template(name, technology, machine)
    if like.area is not None or like.leakage is not None:
        what = (
            f"{name}: the base gives area or leakage of a whole group; a mix needs those of the array table"
        )
        raise InputError("groups", what)
    lanes = max(1, like.count) * like.subbanks
    settings: Settings = {
        "technology": technology,
        "word": f"{like.word} B",
        "ports": like.ports,
        "flavour": like.flavour,
    }
    if made_of in CELLS:
        settings["macro"] = made_of
    elif made_of != "stt-mram":
        settings["device"] = made_of
    if "macro" not in settings and like.macro is not None and like.technology == technology:
        settings["macro"] = like.macro
    return Group(name, settings, like.capacity // lanes, subbanks=like.subbanks)


def _template(name: str, technology: str, machine: ArchSpec) -> BankSpec:
    own = machine.bank.get(name)
    if own is not None and own.technology == technology:
        return own
    same = [bank for bank in machine.bank.values() if bank.technology == technology]
    return (same or list(machine.bank.values()))[0]


def _with_areas(groups: list[Group], base: str) -> list[Group]:
    """Enter what one macro of each group takes, as the base machine resolves it."""
    settings: Settings = {}
    for group in groups:
        at = f"bank.{group.name}."
        settings |= {at + key: value for key, value in group.settings.items()}
        settings |= {at + "count": 1, at + "subbanks": 1, at + "capacity": f"{group.macro_bytes} B"}
    try:
        banks = load_machine(base, as_overrides(settings)).banks
    except InputError as exc:
        raise InputError("groups", str(exc)) from None
    return [replace(g, macro_mm2=banks[g.name].area_mm2) for g in groups]


def _placement(machine: ArchSpec, names: list[str]) -> Settings:
    """Let every list of placement that the base has end in the mix's groups that it does not name."""

    def longer(listed: Sequence[str]) -> list[str]:
        return [*listed, *(n for n in names if n not in listed)]

    placement = machine.placement
    found: Settings = {
        f"placement.{role}": longer(listed) for role in ROLES if (listed := placement.lists.get(role))
    }
    for role, fields in placement.fields.items():
        found[f"placement.{role}"] = {name: longer(groups) for name, groups in fields.items()}
    return found


def as_overrides(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return settings as texts ``key=value``."""
    return tuple(f"{key}={toml(value)}" for key, value in settings.items())
