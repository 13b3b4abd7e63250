"""The public entry: from the name of a machine, or a file, to the resolved machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelsim.config.arch import ArchSpec
from accelsim.config.document import load_spec
from accelsim.config.locate import find
from accelsim.config.machinefile import toml
from accelsim.config.origins import Origins, error
from accelsim.device.macros import load_table
from accelsim.errors import InputError
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.banks import Where, resolve_bank
from accelsim.resolve.checks import cross_faults, without_empty_groups
from accelsim.resolve.iso_area import solved_capacities
from accelsim.resolve.ledger import Ledger
from accelsim.resolve.machine import Machine
from accelsim.resolve.parts import assemble
from accelsim.resolve.sensitivity import sensitivity_of
from accelsim.resolve.unused import unused_keys


def load_machine(name_or_path: str, overrides: Sequence[str] = ()) -> Machine:
    """Return the resolved machine of a shipped name (``tpu-like-hybrid``) or of a file (``my.toml``).

    Args:
        name_or_path: What contains a slash or ends in ``.toml`` is a path.
        overrides: Texts ``key.path=value``, as after ``--set``.

    Raises:
        InputError: No such name or file.
        ConfigError: Every fault of the description, a line each.
    """
    return _load(find("arch", name_or_path), overrides, ())


def load_against(name_or_path: str, overrides: Sequence[str], table: str) -> Machine:
    """Return the machine with all its bank groups from array table ``table``, also those that name their own.

    Raises:
        InputError: As ``load_machine``, or what is wrong with the table.
    """
    try:
        load_table(table)
    except InputError as exc:
        raise InputError(f"--macros-against: {exc}") from None
    path = find("arch", name_or_path)
    spec, _ = load_spec(path, ArchSpec, overrides=overrides, resolve_name=partial(find, "arch"))
    value = toml(table)
    own = [f"bank.{toml(name)}.macro_table={value}" for name, bank in spec.bank.items() if bank.macro_table]
    return _load(path, (*overrides, f"macro_table={value}", *own), ())


def load_prices(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the table ``[prices]`` of a machine as plain data: it decides no result, so machines lack it.

    Raises:
        InputError: As ``load_machine``.
    """
    path = find("arch", name_or_path)
    spec, _ = load_spec(path, ArchSpec, overrides=overrides, resolve_name=partial(find, "arch"))
    return {name: given.model_dump(exclude_none=True) for name, given in spec.prices.items()}


def load_unused(name_or_path: str, overrides: Sequence[str] = (), *, measured: bool = False) -> list[str]:
    """Return the keys of a machine that are given and change nothing, a line each, with what they need.

    Args:
        measured: As for ``unused_keys``.

    Raises:
        InputError: As ``load_machine``.
    """
    path = find("arch", name_or_path)
    spec, origins = load_spec(path, ArchSpec, overrides=overrides, resolve_name=partial(find, "arch"))
    return unused_keys(spec, origins, measured=measured)


def _load(path: Path, overrides: Sequence[str], above: tuple[Path, ...]) -> Machine:
    spec, origins = load_spec(path, ArchSpec, overrides=overrides, resolve_name=partial(find, "arch"))
    faults = cross_faults(spec, origins)
    if faults:
        raise error(faults)
    spec = without_empty_groups(spec)
    capacities = {name: bank.capacity for name, bank in spec.bank.items()}
    if spec.iso_area_with:
        other = _other(path, spec.iso_area_with, origins, above)
        capacities |= solved_capacities(Where(spec, origins), other)
    ledger = Ledger(spec, origins)
    banks = _banks(spec, origins, capacities, ledger)
    return assemble(path.stem, spec, banks, ledger, sensitivity_of(spec, origins, banks))


def _banks(
    spec: ArchSpec, origins: Origins, capacities: dict[str, int], ledger: Ledger
) -> dict[str, BankGroup]:
    banks, faults = {}, []
    for name, bank in spec.bank.items():
        group = resolve_bank(name, bank, capacities[name], Where(spec, origins), ledger)
        if isinstance(group, list):
            faults += group
        else:
            banks[name] = group
    if faults:
        raise error(faults)
    return banks


def _other(path: Path, name: str, origins: Origins, above: tuple[Path, ...]) -> Machine:
    """Return the machine that ``iso_area_with`` names; a path is relative to the file."""
    is_path = "/" in name or name.endswith(".toml")
    try:
        other = find("arch", str(path.parent / name) if is_path else name)
    except InputError as exc:
        raise error([origins.fault(("iso_area_with",), str(exc))]) from None
    line = (*above, path.resolve())
    if other.resolve() in line:
        cycle = " -> ".join(p.stem for p in (*line[line.index(other.resolve()) :], other))
        raise error([origins.fault(("iso_area_with",), f"cycle {cycle}")])
    return _load(other, (), line)
