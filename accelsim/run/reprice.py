"""A finished run's counts at another machine's prices, without simulating.

Counts, times and residencies depend on what decides timing and mapping; energies only multiply them. Where
two machines differ in nothing but prices, the other's energy is that of its own run, row by row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from accelsim.config.faults import listed
from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.resolve.load import load_prices, load_unused
from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import MAC
from accelsim.resolve.summary import assumed_keys, sources_used
from accelsim.resolve.tomlkeys import toml_key
from accelsim.run.columns import energy_columns
from accelsim.run.energy import EnergyRow, energy_rows, sums
from accelsim.run.pe_energy import follows
from accelsim.trace.folder import MAPPING, RunFolder
from accelsim.trace.recorder import OpTimes, Part, Recorder
from accelsim.trace.runs import Run
from accelsim.trace.schema import ENERGY, TABLES

PRICES: Final = frozenset(  # last parts of the keys that no time and no place depends on
    (
        *("mac_pj", "rmw_pj", "pj", "read_pj", "write_pj", "write_cell_pj", "unchanged_cost", "changed_cost"),
        *("falling_cost", "register_pj_per_bit", "clock_pj", "content", "im2col_pj_per_byte"),
        *("leakage_mw", "area_mm2", "pj_per_bit", "read_pj_per_bit", "write_pj_per_bit", "background_mw"),
        *("access_pj", "static_mw", "toggle", "sources", "name", "node_nm", "temperature_k"),
    )
)
TEXTS: Final = frozenset({"sources", "name", "area_mm2", "node_nm", "temperature_k"})  # no energies
TIMES: Final = "decide times or places"
MAPPED: Final = "decide how the step is mapped"
GATED: Final = "decide which multiply-accumulates cost nothing, which is counted while simulating"
POWERED: Final = "decide what is off, for how long, which is found while simulating"
ERRORS: Final = "decide the run's bit errors"
EXTRA: Final = ("errors.parquet", "copies.parquet", MAPPING)  # where the run has them
KEPT: Final = tuple(f"{name}.parquet" for name in TABLES if name != "energy")


def reprice(
    run: Run,
    arch: str,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    force: bool = False,
    command: Sequence[str] = (),
) -> tuple[Path, dict[str, Any]]:
    """Write the run of ``arch`` that ``run``'s counts give, and return its folder and summary.

    Raises:
        InputError: if the machines differ in more than prices, naming the keys.
    """
    machine = load_machine(arch, tuple(overrides))
    described = json.loads(json.dumps(asdict(machine)))
    before = run.manifest["machine"]
    differ = list(_differences(before, described, ""))
    if machine.mapping.priced and "mapping_from" not in run.manifest["decides"] and not differ:
        _refuse_other_prices(run, before, described)
    why = list(_refusals(machine, before, described, differ))
    if why:
        raise InputError(
            f"{run.path}: cannot be priced as {machine.name}: {'; '.join(why)}; simulate it instead"
        )
    rows = _rows(run, machine)
    summary = _summary(run, machine, rows)
    told = {
        **run.manifest,
        "machine": described,
        "command": list(command),
        "repriced_from": run.manifest["id"],
        "prices": load_prices(arch, tuple(overrides)),
        "unused_keys": load_unused(arch, tuple(overrides)),
    }
    run_id = hashlib.sha256(json.dumps([run.manifest["id"], described], sort_keys=True).encode()).hexdigest()
    default = f"{machine.name}_{summary['workload']}-repriced"
    with RunFolder.create(out, default, run_id, force) as folder:
        folder.write_table("energy", energy_columns(rows, ENERGY))
        for name in (*KEPT, *(n for n in EXTRA if (run.path / n).is_file())):
            folder.copy_file(run.path / name)
        folder.write_summary(summary)
        empty = (key for key in ("prices", "unused_keys") if not told[key])
        left_out = ("id", "schema", "files", *empty)
        folder.write_manifest({k: v for k, v in told.items() if k not in left_out})
    return folder.path, summary


def _refusals(
    machine: Machine, before: Mapping[str, Any], described: Mapping[str, Any], differ: Sequence[str]
) -> Iterator[str]:
    """Yield why the counts of one machine are not those of another, with the keys of its file."""
    by: dict[str, list[str]] = {}
    for field in (f for f in differ if not _follows(f, differ)):
        by.setdefault(_why(field), []).append(toml_key(field))
    if any(b.device is not None for b in machine.banks.values()) and before["toggle"] != described["toggle"]:
        by.setdefault(ERRORS, []).append("toggle_rate")
    if _zeros(before) != _zeros(described):
        by.setdefault(GATED, []).append("zero_rate")
    for why in (TIMES, MAPPED, GATED, POWERED, ERRORS):
        if why in by:
            keys = dict.fromkeys(by[why])
            yield f"{listed(keys, most=8)} {why if len(keys) > 1 else why.replace('decide', 'decides', 1)}"


def _follows(field: str, differ: Sequence[str]) -> bool:
    """Return whether a field differs because another one does: of a hot device, of what has no power."""
    group, in_device, _ = field.partition(".device.")
    if in_device:
        heat = f"{group}.device.temperature_k"
        return field != heat and heat in differ and f"{group}.device.name" not in differ
    group, _, last = field.rpartition(".")
    shares = ("gated_leakage", "drowsy_leakage", "wakeup_ps")
    return last in shares and f"{group}.power_gating" in differ


def _why(field: str) -> str:
    """Return what a field decides beside prices."""
    last, in_bank = field.rpartition(".")[2], field.startswith("banks.")
    if field == "pe_array.zero_gating":
        return GATED
    if in_bank and last in ("power_gating", "gated_leakage", "drowsy_leakage"):
        return POWERED
    if in_bank and (".device" in field or last == "refresh_model"):
        return ERRORS
    places = field.startswith(("mapping.", "placement", "sensitivity", "policy"))
    return MAPPED if places or last == "max_dwell_ps" else TIMES


def _refuse_other_prices(run: Run, before: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Refuse other prices where they decided the mapping: the other machine would have another one."""
    differ = list(_differences(before, described, "", TEXTS))
    if differ:
        objective = described["mapping"]["objective"]
        raise InputError(
            f'{run.path}: was mapped by its prices ([mapping] objective = "{objective}"), and these differ: '
            f"{listed(dict.fromkeys(map(toml_key, differ)), most=8)}; for this mapping at other prices, "
            f"simulate with --mapping-from {run.name}"
        )


def _differences(ours: Any, other: Any, key: str, passed_over: frozenset[str] = PRICES) -> Iterator[str]:
    """Yield the dotted keys in which two descriptions differ, but for prices."""
    if key.rpartition(".")[2] in passed_over and ".device." not in key:
        return
    if isinstance(ours, Mapping) and isinstance(other, Mapping):
        for name in sorted({*ours, *other}):
            below = f"{key}.{name}" if key else name
            yield from _differences(ours.get(name), other.get(name), below, passed_over)
    elif ours != other:
        yield key


def _zeros(machine: Mapping[str, Any]) -> dict[str, float]:
    """Return what decides how many multiply-accumulates are gated."""
    gating = machine["pe_array"].get("zero_gating", False)
    return {what: data["zeros"] for what, data in machine.get("content", {}).items()} if gating else {}


def _rows(run: Run, machine: Machine) -> list[EnergyRow]:
    """Return the energy rows of the run's counts and windows on ``machine``."""
    recorder = Recorder()
    recorder.end_ps = run.summary["time_ps"]
    parts = []
    for op in run.table("ops").to_pylist():
        parts.append(Part(op["op"], op["layer"], op["phase"]))
        times = OpTimes(start_ps=op["start_ps"], end_ps=op["end_ps"], idle_ps=op["idle_ps"])
        recorder.ops[op["op"]] = times
    old = run.manifest["machine"]["banks"]
    mac_pj = run.manifest["machine"]["pe_array"]["mac_pj"]
    shares: dict[tuple[str, str], float] = {}
    gated: dict[str, float] = {}
    for row in run.table("energy").to_pylist():
        part = Part(row["op"], row["layer"], row["phase"])
        group = row["component"].removeprefix("spad.")
        if row["count"]:
            key = (row["component"], row["action"], part, row["role"])
            if not follows(row["component"], row["action"]):
                recorder.counts[key] = row["count"]
            full = mac_pj.get(row["action"].removeprefix(MAC), 0.0) if row["component"] == "pe_array" else 0.0
            if full and row["action"].startswith(MAC) and row["price_pj"] < full:
                gated[row["op"]] = 1 - row["price_pj"] / full
        elif row["action"] == "leakage" and machine.banks[group].power_gating != "none":
            shares[row["op"], group] = row["price_w"] / (old[group]["leakage_mw"] * 1e-3)
    return energy_rows(machine, recorder, parts, shares, gated)


def _summary(run: Run, machine: Machine, rows: list[EnergyRow]) -> dict[str, Any]:
    return {
        **run.summary,
        "machine": machine.name,
        "energy_pj": sums(rows),
        "area_mm2": machine.area_mm2,
        "assumed": list(assumed_keys(machine)),
        "sources": list(sources_used(machine)),
        "notes": [*run.summary["notes"], f"priced from the counts of {run.name}, not simulated"],
    }
