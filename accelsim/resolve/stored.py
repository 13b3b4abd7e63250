"""The machine of a finished run, from its manifest."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from accelsim.errors import InputError
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Changes, Machine, changes
from accelsim.words import Role


def stored_machine(machine: Mapping[str, Any], where: str) -> Machine:
    """Return a manifest's ``machine`` as ``dataclasses.asdict`` took it apart; new keys have their defaults.

    Args:
        where: The run, for messages.

    Raises:
        InputError: Keys are missing, or unknown here: another version of accelsim wrote it.
    """
    made: Machine = _made(Machine, machine, where)
    return made


def stored_banks(machine: Mapping[str, Any], where: str) -> dict[str, BankGroup]:
    """Return the bank groups of a manifest's ``machine``, alone: the rest may be of another version.

    Raises:
        InputError: As ``stored_machine``, of the banks.
    """
    banks = machine.get("banks")
    if not isinstance(banks, Mapping):
        raise InputError(f"{where}: its manifest has no bank groups; run it again")
    return {name: _made(BankGroup, stored, f"{where}: bank {name}") for name, stored in banks.items()}


def stored_changes(machine: Mapping[str, Any]) -> dict[Role, Changes]:
    """Return the shares of bits that go to 0 and to 1, by role, of a manifest's ``machine``; may be empty."""
    content = machine.get("content", {})
    return {
        role: changes(toggle, content.get(role, {}).get("rises", 0.5))
        for role, toggle in machine.get("toggle", {}).items()
    }


def _made(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing, unknown = [n for n in needed if n not in values], [n for n in values if n not in known]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing)
        faults += [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise InputError(
            f"{where} {' and '.join(faults)}: another version of accelsim wrote it; run it again"
        )
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return what JSON has of a value of a type as it was."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        some = [i for i in inner if i is not type(None)]
        return None if value is None else _value(some[0], value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value, where)
    if origin is Mapping:
        return {key: _value(inner[1], item, where) for key, item in value.items()}
    if origin is tuple:
        return tuple(_value(inner[0], item, where) for item in value)
    return value
