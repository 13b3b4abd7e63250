"""Energy reference tables of Accelergy, and which of their actions price ours.

The tables: ``ERT: {version, tables: [{name, actions: [{name, arguments, energy}]}]}`` of versions 0.3 and
0.4, or ``ERT_summary``; energies in pJ. Source: docs/sources.md#accelergy-ert.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from accelsim.config.faults import did_you_mean
from accelsim.config.spec import Count, Seconds, SomeBytes, Spec, Text
from accelsim.errors import InputError

_RANGE: Final = re.compile(r"\[(\d+)\.\.(\d+)\]")
Arguments = Mapping[str, float]


class ErtEntrySpec(Spec):
    """``[price."COMPONENT ACTION"]``: the action of an energy reference table that prices ours."""

    component: Text
    """Name of the component in the table, or the last part of it, without ``[0..3]``."""
    action: Text
    """Name of its action."""
    arguments: dict[str, float] = Field(default_factory=dict)
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
    """
    import yaml  # type: ignore[import-untyped]

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as exc:
        raise InputError(f"{path}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {exc.start})") from None
    except yaml.YAMLError as exc:
        at = getattr(exc, "problem_mark", None)
        line = f":{at.line + 1}:{at.column + 1}" if at is not None else ""
        raise InputError(f"{path}{line}: not valid YAML: {getattr(exc, 'problem', exc)}") from None
    top = data if isinstance(data, dict) else {}
    body = top.get("ERT") or top.get("ERT_summary")
    tables = (body.get("tables") or body.get("table_summary")) if isinstance(body, dict) else None
    if not isinstance(tables, list):
        raise InputError(
            f"{path}: no energy reference table (ERT: version: 0.3 or later, with a list tables)"
        )
    try:
        return tuple(_component(table) for table in tables)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InputError(f"{path}: a table is not of the form name, actions: {exc!r}") from None


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
    hint = did_you_mean(name, there) or f"; there are {', '.join(there)}"
    raise InputError(f'no component "{name}"{hint}')


def _component(table: Mapping[str, Any]) -> ErtComponent:
    name = str(table["name"])
    instances = math.prod(int(high) - int(low) + 1 for low, high in _RANGE.findall(name))
    energies: dict[str, list[tuple[Arguments, float]]] = {}
    for action in table["actions"]:
        arguments = {str(k): float(v) for k, v in (action.get("arguments") or {}).items()}
        energy = float(action["energy"] if "energy" in action else action["average_energy"])
        energies.setdefault(str(action["name"]), []).append((arguments, energy))
    return ErtComponent(
        _RANGE.sub("", name), instances, {n: ErtAction(tuple(found)) for n, found in energies.items()}
    )
