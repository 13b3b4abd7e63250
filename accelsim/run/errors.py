"""The error profile of a run on a machine whose cells err."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.program.program import Program
from accelsim.reliability import columns_of, error_profile
from accelsim.reliability.sums import error_sums, overall, worst_reads
from accelsim.resolve.machine import Machine
from accelsim.run.placement import breaches
from accelsim.run.wear import hottest_writes
from accelsim.trace.folder import RunFolder
from accelsim.trace.recorder import CountKey


def write_errors(
    folder: RunFolder | None,
    machine: Machine,
    residencies: Mapping[str, Any],
    program: Program,
    counts: Mapping[CountKey, int],
) -> dict[str, Any]:
    """Write ``errors.parquet`` if a bank group has a device, and return what the summary says of it.

    Args:
        folder: Where it is written; None: nothing is written.
        residencies: The columns of ``residencies.parquet``.
        program, counts: What was run, and how much was written, to tell which lines are written most.

    Returns:
        What ``judged`` returns.
    """
    told, columns = judged(machine, residencies, program, counts)
    if folder is not None and columns is not None:
        folder.write_extra("errors", columns)
    return told


def judged(
    machine: Machine,
    residencies: Mapping[str, Any],
    program: Program,
    counts: Mapping[CountKey, int],
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what the summary says of a run's errors, and the columns of its ``errors.parquet``.

    Returns:
        Nothing and None where no group has a device; else ``errors``: means per bit over all reads, by
        role, the worst read of each role, each group's device, how often its most written words are
        written in a step, and, under the policy ``sensitivity``, what met more errors than tolerated.
    """
    devices = {name: bank.device for name, bank in machine.banks.items() if bank.device is not None}
    if not devices:
        return {}, None
    profile = error_profile(machine.banks, machine.changes, residencies)
    columns = dict(columns_of(profile))
    hottest = {
        name: hottest_writes(program, counts, name, machine.banks[name].word_bytes) for name in devices
    }
    sums = error_sums(profile)
    errors: dict[str, Any] = {
        "devices": {name: {"name": d.name, "temperature_k": d.temperature_k} for name, d in devices.items()},
        "all": overall(profile),
        **{name: sums[name] for name in ("by_role", "by_field") if name in sums},
        "worst": worst_reads(columns),
        "hottest_writes": hottest,
    }
    if machine.sensitivity is not None:
        errors["breaches"] = breaches(machine.sensitivity, columns)
    return {"errors": errors}, columns
