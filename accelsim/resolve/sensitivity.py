"""Placement by sensitivity: tolerated error rates, and what they mean for a machine's bank groups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from accelsim.config.arch import ArchSpec
from accelsim.config.document import load_spec
from accelsim.config.locate import find
from accelsim.config.origins import Origins, error
from accelsim.config.positions import KeyPath
from accelsim.config.sensitivity import SensitivitySpec
from accelsim.errors import ConfigError, InputError
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.beside import beside
from accelsim.resolve.machine import Sensitivity, Tolerated
from accelsim.resolve.techniques import TOGGLE
from accelsim.resolve.tolerance import GroupErrors
from accelsim.words import ROLES, Role

KEY: Final[KeyPath] = ("placement", "sensitivity")


def sensitivity_of(spec: ArchSpec, origins: Origins, banks: Mapping[str, BankGroup]) -> Sensitivity | None:
    """Return what the policy ``sensitivity`` of a machine goes by; None under another policy.

    A role that the file leaves open, for all or for some layers, tolerates nothing: it was not measured.

    Raises:
        ConfigError: The file is missing or at fault, a line each.
    """
    if spec.placement.policy != "sensitivity":
        return None
    path, found = _load(spec, origins)
    toggle = {role: spec.toggle_rate.get(role, TOGGLE) for role in ROLES}
    errors = {
        role: {
            name: GroupErrors(bank, bank.device, toggle[role])
            for name, bank in banks.items()
            if bank.device is not None
        }
        for role in ROLES
    }
    entries = [(t.role, t.layer, t.rate, True) for t in found.tolerated]
    entries += [(role, "*", 0.0, False) for role in ROLES]
    return Sensitivity(
        file=path.name,
        workload=found.workload,
        tolerance=found.tolerance,
        clean_accuracy=found.clean_accuracy,
        tolerated=tuple(_tolerated(*entry, errors[entry[0]]) for entry in entries),
        access_pj_per_bit={
            role: {name: _access_pj(bank, toggle[role]) for name, bank in banks.items()} for role in ROLES
        },
        leakage_pj_per_bit_ps={
            name: bank.leakage_mw * 1e-3 / (8 * bank.capacity_bytes) for name, bank in banks.items()
        },
        measured_with=_conditions(found),
    )


def _conditions(found: SensitivitySpec) -> str:
    """Return what of the trainings decides whether their tolerances hold for a machine."""
    told = []
    if found.storage_format:
        told.append(f"data stored as {found.storage_format}")
    if isinstance(found.protect, list | tuple):
        safe = ", ".join(map(str, found.protect))
        told.append(f"{safe} without errors" if safe else "no bits protected")
    if found.nonfinite:
        told.append(f"non-finite values {found.nonfinite}")
    return ", ".join(told)


def _load(spec: ArchSpec, origins: Origins) -> tuple[Path, SensitivitySpec]:
    path = Path(beside(spec.placement.sensitivity, origins, KEY))
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        where = "" if origins.is_set(KEY) else " beside the file that names it"
        raise error([origins.fault(KEY, f'{what} "{spec.placement.sensitivity}"{where}')])
    try:
        found, _ = load_spec(path, SensitivitySpec, resolve_name=partial(find, "arch"))
    except ConfigError as exc:  # its faults stand in its own file
        raise error([origins.fault(KEY, line) for line in exc.faults]) from None
    except InputError as exc:
        raise error([origins.fault(KEY, str(exc))]) from None
    return path, found


def _tolerated(
    role: Role, layer: str, rate: float, measured: bool, errors: Mapping[str, GroupErrors]
) -> Tolerated:
    dwells = {name: of.largest_dwell_ps(rate) for name, of in errors.items()}
    return Tolerated(
        role=role,
        layer=layer,
        rate=rate,
        measured=measured,
        least={name: of.at(0.0) for name, of in errors.items()},
        dwell_ps={name: dwell for name, dwell in dwells.items() if dwell is not None},
    )


def _access_pj(bank: BankGroup, toggle: float) -> float:
    """Return the energy of a bit's write and read, where ``toggle`` of what is written changes."""
    changed = (bank.changed_cost + bank.falling_cost) / 2
    driven = toggle * changed + (1 - toggle) * bank.unchanged_cost
    write = bank.write_pj - bank.write_cell_pj * (1 - driven)
    return (write + bank.read_pj) / (8 * bank.word_bytes)
