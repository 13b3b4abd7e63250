"""The error profile of a run on a machine whose cells err."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.reliability import Profile, columns_of, error_profile
from accelsim.reliability.sums import error_sums, overall
from accelsim.resolve.machine import Machine
from accelsim.trace.folder import RunFolder


def write_errors(folder: RunFolder, machine: Machine, residencies: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``errors.parquet`` if a bank group has a device, and return what the summary says of it.

    Args:
        residencies: The columns of ``residencies.parquet``.
    """
    if not has_devices(machine):
        return {}
    profile = error_profile(machine.banks, machine.toggle, residencies)
    folder.write_extra("errors", columns_of(profile))
    return _told(machine, profile)


def error_figures(machine: Machine, residencies: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the summary says of errors, and write nothing.

    Returns:
        Empty, or ``errors``: means per bit over all reads, by role, and each group's device.
    """
    if not has_devices(machine):
        return {}
    return _told(machine, error_profile(machine.banks, machine.toggle, residencies))


def has_devices(machine: Machine) -> bool:
    """Return whether the cells of any bank group err."""
    return any(bank.device is not None for bank in machine.banks.values())


def _told(machine: Machine, profile: Profile) -> dict[str, Any]:
    devices = {name: bank.device for name, bank in machine.banks.items() if bank.device is not None}
    told = {name: {"name": d.name, "temperature_k": d.temperature_k} for name, d in devices.items()}
    by_role = error_sums(profile)["by_role"]
    return {"errors": {"devices": told, "all": overall(profile), "by_role": by_role}}
