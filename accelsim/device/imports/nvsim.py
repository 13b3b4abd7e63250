"""What NVSim prints (``nvsim CONFIG > FILE``): its cell, design specification, configuration and result.

Form and units: SEAL-UCSB/NVSim, ``Result::print``, ``MemCell::PrintCell``, ``PrintInputParameter`` and the
macros TO_SECOND, TO_JOULE, TO_WATT, TO_SQM, TO_BPS (macros.h).
The output says neither node, transistors nor temperature: they are in the configuration that its first line
names. Source: docs/sources.md#nvsim-output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from accelsim.device.imports.given import Beside, Given, plain
from accelsim.device.rows import Row, row_of
from accelsim.errors import InputError

_CELLS: Final = {"SRAM": "sram", "MRAM (Magnetoresistive)": "mram"}
_UNITS: Final = {
    "ps": 1e-3,
    "ns": 1.0,
    "us": 1e3,
    "ms": 1e6,
    "s": 1e9,  # to ns
    "pJ": 1.0,
    "nJ": 1e3,
    "uJ": 1e6,
    "mJ": 1e9,
    "J": 1e12,  # to pJ
    "pW": 1e-9,
    "nW": 1e-6,
    "uW": 1e-3,
    "mW": 1.0,
    "W": 1e3,  # to mW
    "nm^2": 1e-12,
    "um^2": 1e-6,
    "mm^2": 1.0,
    "m^2": 1e6,  # to mm2
    "B/s": 1e-9,
    "KB/s": 1e-6,
    "MB/s": 1e-3,
    "GB/s": 1.0,
    "TB/s": 1e3,  # to 1e9 byte/s
}
_RESULTS: Final = {  # column: line, whose last value counts
    "area_mm2": " - Total Area =",
    "read_ns": " -  Read Latency =",
    "write_ns": " - Write Latency =",
    "read_GBps": " - Read Bandwidth  =",
    "read_pJ": " -  Read Dynamic Energy =",
    "write_pJ": " - Write Dynamic Energy =",
    "leak_mW": " - Leakage Power =",
}
_CONFIG: Final = {  # column: key of a configuration
    "node_nm": "-ProcessNode",
    "roadmap": "-DeviceRoadmap",
    "temperature_K": "-Temperature (K)",
}
_CELL: Final = {  # column: key of a cell's file
    "cell_current_uA": "-SetCurrent (uA)",
    "cell_pulse_ns": "-SetPulse (ns)",
    "cell_energy_pJ": "-SetEnergy (pJ)",
    "cell_access_width_F": "-AccessCMOSWidth (F)",
}


def is_nvsim(text: str) -> bool:
    """Return whether ``text`` is what NVSim prints."""
    return "Memory Cell: " in text and "DESIGN SPECIFICATION" in text


def nvsim_rows(text: str, label: str, given: Given, beside: Beside) -> list[Row]:
    """Return the macros of all results in ``text``; ``beside`` finds the configuration that it names.

    Raises:
        InputError: No result, one that is no bank of SRAM or MRAM, or what neither files nor options say.
    """
    return [_row(run, f"{label}:{line}", given, beside) for line, run in _runs(text, label)]


def _runs(text: str, label: str) -> Iterator[tuple[int, str]]:
    """Yield the line at which each result begins, and its part of the text."""
    begins = [m.start() for m in re.finditer(r"^(User-defined|Default) configuration file", text, re.M)]
    if not begins:  # the first line was cut off
        begins = [m.start() for m in re.finditer(r"^Memory Cell: ", text, re.M)]
    if not begins:
        raise InputError(f"{label}: no result of NVSim in it")
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        yield text.count("\n", 0, begin) + 1, text[begin:end]


def _row(run: str, where: str, given: Given, beside: Beside) -> Row:
    cell = _after(run, "Memory Cell: ")
    if cell not in _CELLS:
        raise InputError(f"{where}: a macro of {cell or 'no cell'}; only SRAM and MRAM are bank groups")
    if _after(run, "Design Target: ") != "Random Access Memory":
        raise InputError(f"{where}: not a bank but a cache or a CAM; set -DesignTarget: RAM and run it again")
    if "No valid solutions" in run:
        raise InputError(f"{where}: NVSim found no valid solution")
    word = _after(run, "Data Width : ").partition("Bits")[0]
    said = {"cell": _CELLS[cell], "word_bits": word, **_settings(run, beside)}
    said |= _cell_write(run, beside) if cell != "SRAM" else {}
    name = re.search(r"configuration file \((.+?)\) is loaded", run)
    config = name.group(1) if name else "its configuration"
    columns = given.over(said, where, f"NVSim does not print all, and {config} is not beside the file")
    columns |= {column: plain(_value(run, line, where)) for column, line in _RESULTS.items()}
    columns["capacity_KiB"] = plain(_capacity_bits(run, where) / 8 / 1024)
    return row_of(columns, where)


def _settings(run: str, beside: Beside) -> dict[str, str]:
    config = _config(run, beside)
    return {column: config[key] for column, key in _CONFIG.items() if key in config}


def _config(run: str, beside: Beside) -> Mapping[str, str]:
    name = re.search(r"configuration file \((.+?)\) is loaded", run)
    return _keys(beside(name.group(1)) if name else None)


def _cell_write(run: str, beside: Beside) -> dict[str, str]:
    """Return how the cell is written: as printed, and what only its file says."""
    cell = _keys(beside(_config(run, beside).get("-MemoryCellInputFile", "")))
    found = {column: cell[key] for column, key in _CELL.items() if key in cell}
    current = re.search(r"^  - Set Current: ([\d.]+)uA$", run, re.M)
    pulse = re.search(r"^  - Set Pulse: ([\d.]+)(ps|ns|us|ms|s)$", run, re.M)
    area = re.search(r"^Cell Area \(F\^2\)\s*: ([\d.]+)", run, re.M)
    if current is not None:
        found.setdefault("cell_current_uA", current.group(1))
    if pulse is not None:
        found.setdefault("cell_pulse_ns", plain(float(pulse.group(1)) * _UNITS[pulse.group(2)]))
    if area is not None:
        found["cell_area_F2"] = area.group(1)
    return found


def _keys(text: str | None) -> dict[str, str]:
    """Return the settings of a configuration or of a cell's file, lines ``-Key: value``."""
    lines = (line.partition(":") for line in (text or "").splitlines() if line.startswith("-"))
    return {key.strip(): value.strip() for key, _, value in lines if value.strip()}


def _after(run: str, begins: str) -> str:
    found = re.search(rf"^{re.escape(begins)}(.*)$", run, re.M)
    return found.group(1).strip() if found else ""


def _value(run: str, begins: str, where: str) -> float:
    """Return the last value of a line in the base unit."""
    values = re.findall(r"([\d.]+(?:e[+-]?\d+)?)([a-zA-Z][\w^/]*)", _after(run, begins))
    if not values or values[-1][1] not in _UNITS:
        raise InputError(f'{where}: no value in line "{begins.strip(" -=")}" of the result')
    number, unit = values[-1]
    return float(number) * _UNITS[unit]


def _capacity_bits(run: str, where: str) -> int:
    """Return the bits of the organisation: the capacity is printed in whole KB, MB or GB only."""
    banks = re.search(r"^Bank Organization: (\d+) x (\d+)$", run, re.M)
    mats = re.search(r"^Mat Organization: (\d+) x (\d+)$", run, re.M)
    cells = re.search(r"^ - Subarray Size    : (\d+) Rows x (\d+) Columns$", run, re.M)
    if banks is None or mats is None or cells is None:
        raise InputError(f"{where}: no configuration (banks, mats, subarrays) in the result")
    bits = 1
    for found in (banks, mats, cells):
        bits *= int(found.group(1)) * int(found.group(2))
    return bits
