"""One bank group: explicit keys first, the array table for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from accelsim import plugins
from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.origins import Fault, Origins
from accelsim.config.positions import KeyPath
from accelsim.device.macros import Macro, MacroTable, NotInTable, Series
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.cells import PS_PER_S, CellWrite, cell_write
from accelsim.resolve.front import note_front, size_faults, with_front
from accelsim.resolve.ledger import Ledger
from accelsim.resolve.tables import cell_of, table_of
from accelsim.resolve.techniques import (
    data_capacity,
    ecc_of,
    note_techniques,
    upkeep_fault,
    with_techniques,
)

Values = dict[str, float | int]
TINY_ROWS: Final = "tiny_rows"  # last part of the key of a note on degenerate rows of the table

_KEYS: Final = (
    ("read_latency", "ps"),
    ("read_cycle", "ps"),
    ("write_cycle", "ps"),
    ("read_energy", "pJ"),
    ("write_energy", "pJ"),
    ("leakage", "mW"),
    ("area", "mm2"),
)
_COLUMNS: Final = {  # of the array table
    "read_latency": "read_ns",
    "read_cycle": "read_cycle_ns",
    "write_cycle": "write_ns",
    "read_energy": "read_pJ",
    "write_energy": "write_pJ",
    "leakage": "leak_mW",
    "area": "area_mm2",
}


@dataclass(frozen=True, slots=True)
class Where:
    """The machine around a bank group."""

    spec: ArchSpec
    origins: Origins

    def fault(self, name: str, key: str, what: str) -> Fault:
        """Return the fault of ``bank.NAME.key``, or of ``node`` or ``temperature`` on behalf of that bank."""
        if key in ("node", "temperature"):
            return self.origins.fault(
                (key,), f"bank {name}: {what}; give another, or the bank's values explicitly"
            )
        return self.origins.fault(("bank", name, key), what)


def series_of(bank: BankSpec, table: MacroTable, spec: ArchSpec) -> Series:
    """Return the array table's macros for ``bank``."""
    return table.find(cell_of(bank), spec.node, bank.flavour, bank.word * 8)


def resolve_bank(
    name: str, bank: BankSpec, capacity: int, where: Where, ledger: Ledger
) -> BankGroup | list[Fault]:
    """Return the bank group ``name`` at ``capacity`` bytes, or what is wrong with it.

    Raises:
        ConfigError: Its array table cannot be read.
    """
    faults = _shape_faults(name, bank, capacity, where)
    faults += size_faults(name, bank, capacity, where.spec, where.origins)
    if faults:
        return faults
    table = table_of(name, bank, where.spec, where.origins)
    write = cell_write(bank, table, where.spec, where.origins, name)
    if isinstance(write, list):
        return write
    values = _explicit(bank, where.spec.clock)
    if "read_latency" in values:
        values.setdefault("read_cycle", values["read_latency"])
    given = tuple(values)
    if any(key not in values for key, _ in _KEYS):
        try:
            filled = _from_table(
                bank, table, capacity, where.spec, write, with_leakage="leakage" not in values
            )
            values = filled | values
        except NotInTable as exc:
            return [where.fault(name, exc.key, str(exc))]
    zero = [key for key in ("read_cycle", "write_cycle") if not values[key]]
    if zero:
        return [
            where.fault(name, key, "a port cannot serve a word in no time; give more than 0") for key in zero
        ]
    if write is not None and write.device is not None:
        short = _too_little(bank, values, write)
        if short:
            return [where.fault(name, key, what) for key, what in short]
        for s in write.sources:
            ledger.note(("bank", name, "device", s.key), s.value, s.unit, s.source)
    note_techniques(name, bank, ledger)
    _note(name, bank, table, values, given, ledger)
    _note_fit(name, bank, table, capacity, values, given, where.spec, ledger)
    bare = _group(name, bank, capacity, values, write, where.spec.clock)
    group = with_techniques(with_front(bare, bank, where.spec), bank, where.spec)
    note_front(group, bank, ledger)
    what = upkeep_fault(group)
    key = "scrub_interval" if group.scrub_ps else "refresh_interval"
    return [where.fault(name, key, what)] if what else group


def _too_little(bank: BankSpec, values: Values, write: CellWrite) -> list[tuple[str, str]]:
    """Return the keys that give a write less time or energy than its device takes."""
    device, found = write.device, []
    assert device is not None
    if values["write_cycle"] < device.pulse_s * PS_PER_S:
        found.append(
            ("write_cycle", f"is shorter than the pulse of {device.name}, {device.pulse_s * 1e9:.4g} ns")
        )
    cells_pj = bank.word * 8 * write.bit_pj
    if bank.write_energy is not None and values["write_energy"] < cells_pj:
        what = f"is less than the cells of {device.name} take, {cells_pj:.4g} pJ a word; leave it out"
        found.append(("write_energy", what))
    return found


def _group(
    name: str, bank: BankSpec, capacity: int, values: Values, write: CellWrite | None, clock_hz: int
) -> BankGroup:
    """Return the bare bank group, before what techniques make of it."""
    cells_pj = bank.word * 8 * write.bit_pj if write is not None else 0.0
    ecc = ecc_of(bank, clock_hz)
    return BankGroup(
        name=name,
        technology=bank.technology,
        count=bank.count,
        subbanks=bank.subbanks,
        capacity_bytes=data_capacity(capacity, bank, ecc),
        word_bytes=bank.word,
        ports=bank.ports,
        read_latency_ps=int(values["read_latency"]),
        read_cycle_ps=int(values["read_cycle"]),
        write_cycle_ps=int(values["write_cycle"]),
        read_pj=float(values["read_energy"]),
        write_pj=float(values["write_energy"]),
        leakage_mw=float(values["leakage"]),
        area_mm2=float(values["area"]),
        cell=cell_of(bank),
        cell_current_a=write.available_a if write is not None else 0.0,
        cell_pulse_s=write.cell.set_pulse_s if write is not None else 0.0,
        write_cell_pj=min(float(values["write_energy"]), cells_pj),
        device=write.device if write is not None else None,
        ecc=ecc,
        model=bank.model,
        model_identity=plugins.demand(plugins.BANKS, bank.model).identity if bank.model else "",
    )


def macro_of(bank: BankSpec, table: MacroTable, capacity: int, spec: ArchSpec) -> Macro:
    """Return the array table's macro of which ``bank`` has count x subbanks."""
    return series_of(bank, table, spec).macro(capacity // (bank.count * bank.subbanks), spec.temperature)


def _shape_faults(name: str, bank: BankSpec, capacity: int, where: Where) -> list[Fault]:
    faults = []
    if (bank.technology == "sram") != cell_of(bank).startswith("sram"):
        fits = "stt34 or stt54" if bank.technology == "stt-mram" else "sram"
        what = f'"{bank.macro}" is not a cell of technology "{bank.technology}"; use {fits}'
        faults.append(where.fault(name, "macro", what))
    lanes = bank.count * bank.subbanks
    if capacity % (lanes * bank.word):
        what = (
            f"{capacity} B are not a whole number of {bank.word} B words in each of "
            f"{lanes} macros (count x subbanks); use a multiple of {lanes * bank.word} B"
        )
        faults.append(where.fault(name, "capacity", what))
    return faults


def _explicit(bank: BankSpec, clock_hz: int) -> Values:
    values: Values = {}
    for key, unit in _KEYS:
        value = getattr(bank, key)
        if value is not None:
            values[key] = value.ps(clock_hz) if unit == "ps" else value
    return values


def _from_table(
    bank: BankSpec,
    table: MacroTable,
    capacity: int,
    spec: ArchSpec,
    write: CellWrite | None,
    *,
    with_leakage: bool,
) -> Values:
    """Return the values of the array table; a cycle is at least one clock period.

    A device's pulse and cell energy take the place of the cell's own.
    """
    macro, lanes = macro_of(bank, table, capacity, spec), bank.count * bank.subbanks
    period = _period(spec)
    write_ns = macro.write_ns + (write.longer_ns if write is not None else 0.0)
    write_pj = macro.write_pj + (bank.word * 8 * write.dearer_pj if write is not None else 0.0)
    values: Values = {
        "read_latency": _ps(macro.read_ns),
        "read_cycle": max(_ps(macro.read_cycle_ns), period),
        "write_cycle": max(_ps(write_ns), period),
        "read_energy": macro.read_pj,
        "write_energy": write_pj,
        "area": lanes * macro.area_mm2 + (write.added_mm2(capacity, spec.node) if write is not None else 0.0),
    }
    if with_leakage:
        one = series_of(bank, table, spec).leakage_mw(capacity // lanes, spec.temperature)
        values["leakage"] = lanes * one
    return values


def _period(spec: ArchSpec) -> int:
    """Return the clock's period in picoseconds, rounded up."""
    return -(-(10**12) // spec.clock)


def _ps(ns: float) -> int:
    """Return whole picoseconds, rounded up but for the noise of floats."""
    return math.ceil(round(ns * 1000, 6))


def _note(
    name: str, bank: BankSpec, table: MacroTable, values: Values, given: tuple[str, ...], ledger: Ledger
) -> None:
    for key, unit in _KEYS:
        keys: KeyPath = ("bank", name, key)
        if key not in given:
            ledger.note(keys, values[key], unit, table.source)
        elif key == "read_cycle" and bank.read_cycle is None:
            ledger.written(keys, values[key], unit, as_for=("bank", name, "read_latency"))
        else:
            ledger.written(keys, values[key], unit)


def _note_fit(
    name: str,
    bank: BankSpec,
    table: MacroTable,
    capacity: int,
    values: Values,
    given: tuple[str, ...],
    spec: ArchSpec,
    ledger: Ledger,
) -> None:
    """Note how far the fit is from the table's values, where it decides on a number, and degenerate rows."""
    period = _period(spec)
    fitted = {
        key: column
        for key, column in _COLUMNS.items()
        if key not in given and not (key.endswith("_cycle") and values[key] == period)
    }
    if not fitted:
        return
    macro = macro_of(bank, table, capacity, spec)
    for key, column in fitted.items():
        if macro.residuals[column]:
            ledger.note(("bank", name, key, "fit_residual"), macro.residuals[column], "1", table.source)
    if macro.tiny:
        ledger.note(("bank", name, "macro", TINY_ROWS), ", ".join(macro.tiny), "", table.source)
