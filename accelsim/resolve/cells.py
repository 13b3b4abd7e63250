"""The cells of a bank group: the macro's own, or a device in its place, with what speaks against it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.origins import Fault, Origins
from accelsim.device.cells import Cell
from accelsim.device.macros import MacroTable
from accelsim.errors import ConfigError, InputError
from accelsim.resolve.bank_group import Device
from accelsim.resolve.beside import beside
from accelsim.resolve.device import described_device, share_of
from accelsim.resolve.machine import Sourced
from accelsim.resolve.tables import cell_of, mram_cell
from accelsim.units import LIFETIME, UnitError

PS_PER_S: Final = 10**12
MOST_WIDTH: Final = 8  # of access_width_scale


@dataclass(frozen=True, slots=True)
class CellWrite:
    """How a bit of a group is written; ``device`` None: by the macro's own pulse, with no errors known."""

    cell: Cell
    device: Device | None
    width_scale: float
    sources: tuple[Sourced, ...] = ()  # of the device's numbers

    @property
    def available_a(self) -> float:
        """Current that the access transistor gives."""
        return self.cell.set_current_a * self.width_scale

    @property
    def bit_pj(self) -> float:
        """Energy of one bit's write: current squared, write path, pulse."""
        if self.device is None:
            return self.cell.set_energy_pj
        return self.device.write_current_a**2 * self.device.cell_ohm * self.device.pulse_s * 1e12

    @property
    def longer_ns(self) -> float:
        """By how much the pulse is longer than the macro's own."""
        return (self.device.pulse_s - self.cell.set_pulse_s) * 1e9 if self.device is not None else 0.0

    @property
    def dearer_pj(self) -> float:
        """By how much a bit's write costs more than the macro's own."""
        return self.bit_pj - self.cell.set_energy_pj

    def added_mm2(self, capacity_bytes: int, node_nm: int) -> float:
        """Return by how much the group's cells are larger than the macro's own."""
        return self.cell.added_mm2(self.width_scale, capacity_bytes * 8, node_nm)


def added_mm2(bank: BankSpec, table: MacroTable, capacity_bytes: int, node_nm: int) -> float:
    """Return by how much a group's cells are larger than its macro's own."""
    own = mram_cell(bank, table) if bank.technology != "sram" else None
    return own.added_mm2(bank.access_width_scale, capacity_bytes * 8, node_nm) if own is not None else 0.0


def cell_write(
    bank: BankSpec, table: MacroTable, spec: ArchSpec, origins: Origins, name: str
) -> CellWrite | list[Fault] | None:
    """Return how cells of an STT-MRAM group are written, or what is wrong with the device.

    None: SRAM, or a macro of whose cells the array table says nothing.
    """
    if bank.technology == "sram":
        return None
    own = mram_cell(bank, table)
    wrong = _unknown_cell(bank, table) if own is None else _unknown_width(bank, own)
    if wrong:
        return [origins.fault(("bank", name, key), what) for key, what in wrong]
    if own is None:
        return None
    if not bank.device:
        return CellWrite(own, None, bank.access_width_scale)
    try:
        device, sources = described_device(
            beside(bank.device, origins, ("bank", name, "device")), spec.temperature
        )
    except ConfigError as exc:  # its faults stand in its own file
        return [origins.fault(("bank", name, "device"), line) for line in exc.faults]
    except InputError as exc:
        return [origins.fault(("bank", name, "device"), str(exc))]
    width = bank.access_width_scale  # of a wider transistor the path has less resistance: the voltage stays
    write = CellWrite(own, replace(device, cell_ohm=own.path_ohm / width), width, sources)
    fault = _drive_fault(write)
    return [origins.fault(("bank", name, "device"), fault)] if fault else write


def _unknown_cell(bank: BankSpec, table: MacroTable) -> list[tuple[str, str]]:
    """Return what is wrong where the array table does not say how the macro writes its cells."""
    name = cell_of(bank)
    there = dict.fromkeys(cell for cell, *_ in table.series)
    if name not in there:
        return [("macro", f'{table.label} has no cell "{name}", only {", ".join(there)}')]
    given = {
        "device": bool(bank.device),
        "differential_write": bank.differential_write,
        "access_width_scale": bank.access_width_scale != 1,
    }
    needs = "--cell-current, --cell-pulse and --cell-energy"
    what = f'needs the write of cell "{name}", of which {table.label} says nothing; import it with {needs}'
    return [(key, what) for key, is_on in given.items() if is_on]


def _unknown_width(bank: BankSpec, own: Cell) -> list[tuple[str, str]]:
    if bank.access_width_scale == 1 or own.access_width_f:
        return []
    what = f'needs the access width of cell "{own.name}"; import it with --cell-access-width'
    return [("access_width_scale", what)]


def _drive_fault(write: CellWrite) -> str:
    """Return what is wrong if the access transistor cannot give the write current; else nothing."""
    assert write.device is not None
    needed, own = write.device.write_current_a, write.cell.set_current_a
    if needed <= write.available_a * (1 + 1e-9):
        return ""
    scale = math.ceil(100 * needed / own) / 100
    wider = f"access_width_scale = {scale:g} or more (a larger cell), " if scale <= MOST_WIDTH else ""
    return (
        f"{write.device.name} is written with {needed * 1e6:.4g} uA, but the cell of macro {write.cell.name} "
        f"gives {write.available_a * 1e6:.4g} uA; use {wider}another macro, or a device that needs less"
    )


def technique_faults(name: str, bank: BankSpec, origins: Origins) -> list[Fault]:
    """Return the keys of a bank group that contradict each other, or have no effect."""
    wrong = _device_faults(bank) + _upkeep_faults(bank)
    return [origins.fault(("bank", name, key), what) for key, what in wrong]


def _device_faults(bank: BankSpec) -> list[tuple[str, str]]:
    mram, wrong = bank.technology == "stt-mram", []
    if bank.device and not mram:
        wrong.append(("device", 'is of stt-mram; this group is technology = "sram"'))
    if bank.access_width_scale != 1 and not bank.device:
        wrong.append(("access_width_scale", "has no effect without a device"))
    elif bank.access_width_scale != 1 and bank.area is not None:
        wrong.append(("access_width_scale", "has no effect on the area that is given; leave one of them out"))
    for key in ("early_termination", "write_retries"):
        if getattr(bank, key) and not bank.device:
            wrong.append((key, "has no effect without a device, whose error rate decides"))
    if bank.power_gating in ("idle", "drowsy") and (bank.scrub_interval or bank.refresh_interval):
        wrong.append(("power_gating", 'scrub and refresh need power at all times; use "empty"'))
    if bank.differential_write and not mram:
        wrong.append(("differential_write", "is for stt-mram"))
    if bank.power_gating == "idle" and not mram:
        wrong.append(("power_gating", 'sram loses its content without power; use "drowsy" or "empty"'))
    if bank.power_gating == "drowsy" and mram:
        wrong.append(("power_gating", 'stt-mram keeps its content without power; use "idle"'))
    return wrong


def _dwell_fault(bank: BankSpec) -> str:
    """Return what is wrong with ``max_dwell``; else nothing."""
    if not bank.max_dwell or (bank.device and share_of(bank.max_dwell) is not None):
        return ""
    if bank.max_dwell.startswith("ber:"):
        how = "a share between 0 and 0.5" if bank.device else "a device, whose flips it counts"
        return f'"{bank.max_dwell}" needs {how}'
    try:
        LIFETIME.parse(bank.max_dwell)
    except UnitError as exc:
        return f'{exc}; or "ber:1e-6"'
    return ""


def _upkeep_faults(bank: BankSpec) -> list[tuple[str, str]]:
    wrong = []
    if bank.scrub_interval is not None and bank.ecc == "none":
        what = 'has nothing to correct with; give ecc = "secded", or refresh_interval instead'
        wrong.append(("scrub_interval", what))
    if bank.ecc != "none" and bank.word % bank.ecc_word:
        wrong.append(("ecc_word", f"does not divide the word of {bank.word * 8} bit"))
    if bank.refresh_interval is None and bank.refresh_model == "literature":
        wrong.append(("refresh_model", "has no effect without refresh_interval"))
    dwell = _dwell_fault(bank)
    if dwell:
        wrong.append(("max_dwell", dwell))
    for key in ("scrub_interval", "refresh_interval"):
        given = getattr(bank, key)
        if given is not None and given.amount == 0:
            wrong.append((key, "expected a time of more than 0"))
    return wrong
