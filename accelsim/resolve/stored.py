"""Bank groups of a finished run, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from accelsim.errors import InputError
from accelsim.resolve.machine import BankGroup, Device, Ecc
from accelsim.words import Role

_PARTS: dict[str, type[Any]] = {"device": Device, "ecc": Ecc}


def stored_banks(machine: Mapping[str, Any], where: str) -> dict[str, BankGroup]:
    """Return the bank groups of a manifest's ``machine``; what was no key yet has its default.

    Args:
        machine: As ``dataclasses.asdict`` made it.
        where: The run, for messages.

    Raises:
        InputError: Keys are missing, or unknown here: another version of accelsim wrote it.
    """
    banks = machine.get("banks")
    if not isinstance(banks, Mapping):
        raise InputError(f"{where}: its manifest has no bank groups; run it again")
    found = {}
    for name, stored in banks.items():
        values = dict(stored)
        for part, kind in _PARTS.items():
            if values.get(part) is not None:
                values[part] = _made(kind, values[part], f"{where}: bank {name}: {part}")
        found[name] = _made(BankGroup, values, f"{where}: bank {name}")
    return found


def stored_toggle(machine: Mapping[str, Any]) -> dict[Role, float]:
    """Return the share of bits that change, by role, of a manifest's ``machine``; empty if it has none."""
    return dict(machine.get("toggle", {}))


def _made(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing, unknown = [n for n in needed if n not in values], [n for n in values if n not in known]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [
            f"has unknown {', '.join(unknown)}"
        ] * bool(unknown)
        raise InputError(
            f"{where} {' and '.join(faults)}: another version of accelsim wrote it; run it again"
        )
    return kind(**values)
