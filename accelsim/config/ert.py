"""Energy reference tables of Accelergy, and which of their actions price ours.

The tables: ``ERT: {version, tables: [{name, actions: [{name, arguments, energy}]}]}`` of versions 0.3 and
0.4, or ``ERT_summary``; energies in pJ. Source: docs/sources.md#accelergy-ert.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)

from accelsim.config.faults import did_you_mean, faults_of, listed
from accelsim.config.origins import error
from accelsim.config.spec import Count, Seconds, SomeBytes, Spec, Text
from accelsim.config.yamlfile import load_yaml
from accelsim.errors import InputError

_RANGE: Final = re.compile(r"\[(\d+)\.\.(\d+)\]")
Arguments = Mapping[str, float]


class ErtEntrySpec(Spec):
    """``[price."COMPONENT ACTION"]``: the action of an energy reference table that prices ours."""

    component: Text
    """Name of the component in the table, or the last part of it, without ``[0..3]``."""
    action: Text
    """Name of its action."""
    arguments: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Which of the action's energies, where they differ by arguments."""
    width: SomeBytes | None = None
    """Bits that one of its actions moves ("64 bit"); what we count in words or bits is divided by it."""
    instances: Count | None = None
    """Of standing power: of how many the energy per cycle is paid; default: as many as the name has."""


class ErtMapSpec(Spec):
    """The file of ``--map``."""

    price: dict[Text, ErtEntrySpec] = Field(default_factory=dict)
    """By "COMPONENT ACTION" of energy.parquet, with * and ?; of several that fit, the longest."""
    free: tuple[Text, ...] = ()
    """What costs nothing there, likewise."""
    cycle: Seconds | None = None
    """Of the table's energies per cycle (leak); default: of the run's clock."""


def _number(value: object) -> object:
    """Return a number that YAML 1.1 takes for a text (``1e-3``); true and false are none."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


Number = Annotated[float, BeforeValidator(_number), Strict(), Field(allow_inf_nan=False)]
NumberOrMore = Annotated[Number, Field(ge=0)]


class _Ert(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _ErtAction(_Ert):
    name: Text
    arguments: dict[str | int, Number] | None = None
    energy: NumberOrMore | None = None
    average_energy: NumberOrMore | None = None  # of a summary

    @property
    def pj(self) -> float:
        return self.energy if self.energy is not None else (self.average_energy or 0.0)

    @model_validator(mode="after")
    def _has_energy(self) -> Self:
        if self.energy is None and self.average_energy is None:
            raise ValueError(f"action {self.name}: missing key energy, a number of pJ")
        return self


class _ErtTable(_Ert):
    name: Text
    actions: tuple[_ErtAction, ...]

    @field_validator("name")
    @classmethod
    def _counts(cls, name: str) -> str:
        for low, high in _RANGE.findall(name):
            if int(low) > int(high):
                raise ValueError(f"expected instances such as [0..3], lowest first, got [{low}..{high}]")
        return name


class _ErtBody(_Ert):
    tables: tuple[_ErtTable, ...] | None = None
    table_summary: tuple[_ErtTable, ...] | None = None


class _WholeErt(_Ert):
    ERT: _ErtBody | None = None
    ERT_summary: _ErtBody | None = None


@dataclass(frozen=True, slots=True)
class ErtAction:
    """The energies of an action, by its arguments."""

    energies: tuple[tuple[Arguments, float], ...]

    def pj(self, arguments: Arguments, what: str) -> float:
        """Return the energy of the action with ``arguments``; those not named have to make no difference.

        Raises:
            InputError: It has none with these, or several.
        """
        fits = {
            energy
            for has, energy in self.energies
            if all(has.get(name) == value for name, value in arguments.items())
        }
        if len(fits) == 1:
            return fits.pop()
        those = "; ".join(
            f"{', '.join(f'{k} = {v:g}' for k, v in has.items())}: {e:g} pJ" for has, e in self.energies
        )
        why = "has no energy with these arguments" if not fits else "has several energies; say arguments"
        raise InputError(f"{what} {why} ({those})")


@dataclass(frozen=True, slots=True)
class ErtComponent:
    """One table: a component, of which there may be many, and its actions."""

    name: str  # without [0..3]
    instances: int
    actions: Mapping[str, ErtAction]

    @property
    def leaf(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


def load_ert(path: Path) -> tuple[ErtComponent, ...]:
    """Return the components of an energy reference table.

    Raises:
        InputError: It cannot be read, or is none of version 0.3 or later.
        ConfigError: Every fault of its tables, a line each: ``file:line:column: key: what is wrong``.
    """
    data, origins = load_yaml(path)
    top = data if isinstance(data, dict) else {}
    try:
        whole = _WholeErt.model_validate({k: v for k, v in top.items() if k in ("ERT", "ERT_summary")})
    except ValidationError as exc:
        raise error(faults_of(exc, _WholeErt, origins)) from None
    tables = (whole.ERT.tables if whole.ERT else None) or (
        whole.ERT_summary.table_summary if whole.ERT_summary else None
    )
    if not tables:
        raise InputError(
            f"{origins.label}: no energy reference table (ERT: version: 0.3 or later, with a list tables)"
        )
    return tuple(_component(table) for table in tables)


def find_component(tables: tuple[ErtComponent, ...], name: str) -> ErtComponent:
    """Return the component of this name, or the only one whose last part it is.

    Raises:
        InputError: None, or several.
    """
    plain = _RANGE.sub("", name)
    found = [t for t in tables if t.name == plain] or [t for t in tables if t.leaf == plain]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f'"{name}" is ambiguous: {", ".join(t.name for t in found)}')
    there = [t.leaf for t in tables]
    hint = did_you_mean(name.rpartition(".")[2], there) or f"; there are {listed(there)}"
    raise InputError(f'no component "{name}"{hint}')


def _component(table: _ErtTable) -> ErtComponent:
    instances = math.prod(int(high) - int(low) + 1 for low, high in _RANGE.findall(table.name))
    energies: dict[str, list[tuple[Arguments, float]]] = {}
    for action in table.actions:
        arguments = {str(k): v for k, v in (action.arguments or {}).items()}
        energies.setdefault(action.name, []).append((arguments, action.pj))
    return ErtComponent(
        _RANGE.sub("", table.name), instances, {n: ErtAction(tuple(of)) for n, of in energies.items()}
    )
