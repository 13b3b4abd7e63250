"""The rows of array tables: one macro each, in a CSV file with comment lines that say where it comes from.

The layout is that of the shipped tables (``arch/macros``) and of what ``accelsim macros import`` writes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from accelsim.device.cells import Cell
from accelsim.errors import InputError

TEXTS: Final = ("cell", "roadmap")
WHOLE: Final = ("node_nm", "word_bits")
NUMBERS: Final = ("temperature_K", "area_mm2", "read_ns", "write_ns", "read_pJ", "write_pJ", "leak_mW")
OPTIONAL: Final = (
    *("read_cycle_ns", "sense_leak_mW", "cell_current_uA", "cell_pulse_ns", "cell_energy_pJ"),
    *("cell_area_F2", "cell_access_width_F"),
)
COLUMNS: Final = (
    *("cell", "node_nm", "roadmap", "temperature_K", "word_bits", "capacity_KiB", "area_mm2", "read_ns"),
    *("read_cycle_ns", "write_ns", "read_pJ", "write_pJ", "leak_mW", *OPTIONAL[1:], "flags"),
)
_MAY_BE_ZERO: Final = ("leak_mW", "sense_leak_mW")
FLAVOURS: Final = ("HP", "LOP", "LSTP")
_MOST: Final = {
    "ns": 1e6,
    "pJ": 1e9,
    "mW": 1e6,
    "mm2": 1e6,
    "K": 1e3,
}  # by unit: more is a slip of an exponent

Key = tuple[str, int, str, int]  # cell, node in nm, transistors, word in bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One macro. ``numbers`` has the columns that are numbers, by name; optional ones only where given."""

    cell: str
    node_nm: int
    flavour: str
    word_bits: int
    capacity_bytes: int
    numbers: Mapping[str, float]
    flags: str = ""

    @property
    def key(self) -> Key:
        """The series that the row belongs to."""
        return self.cell, self.node_nm, self.flavour, self.word_bits

    @property
    def kelvin(self) -> float:
        """Temperature of the numbers."""
        return self.numbers["temperature_K"]

    @property
    def mram_cell(self) -> Cell | None:
        """The cell of an STT-MRAM macro; None where the row does not say how it is written."""
        has = self.numbers
        if not {"cell_current_uA", "cell_pulse_ns", "cell_energy_pJ"} <= has.keys():
            return None
        return Cell(
            name=self.cell,
            set_current_a=has["cell_current_uA"] * 1e-6,
            set_pulse_s=has["cell_pulse_ns"] * 1e-9,
            set_energy_pj=has["cell_energy_pJ"],
            area_f2=has.get("cell_area_F2", 0.0),
            access_width_f=has.get("cell_access_width_F", 0.0),
        )


def read_rows(text: str, label: str, defaults: Mapping[str, str] | None = None) -> list[Row]:
    """Return the macros of a table.

    Args:
        text: CSV; lines that begin with ``#`` are comments.
        label: What the text is called in messages: the file.
        defaults: Values of columns that the table lacks, or leaves empty.

    Raises:
        InputError: ``label:line: column: what is wrong``.
    """
    lines = [(n, x) for n, x in enumerate(text.splitlines(), 1) if x.strip() and not x.startswith("#")]
    if not lines:
        raise InputError(f"{label}: no table in it; the first line names the columns: {', '.join(COLUMNS)}")
    at = [n for n, _ in lines]
    header = [name.strip() for name in next(csv.reader([lines[0][1]]))]
    missing = [c for c in _required(header) if c not in header and not (defaults or {}).get(c)]
    if missing:
        raise InputError(f"{label}:{at[0]}: no column {', '.join(missing)}; there are {', '.join(header)}")
    rows = []
    for n, values in zip(at[1:], csv.reader(x for _, x in lines[1:]), strict=True):
        if len(values) != len(header):
            raise InputError(f"{label}:{n}: {len(values)} values under {len(header)} columns")
        given = {name: value.strip() for name, value in zip(header, values, strict=True)}
        rows.append(row_of({**(defaults or {}), **{k: v for k, v in given.items() if v}}, f"{label}:{n}"))
    if not rows:
        raise InputError(f"{label}: a table without rows")
    return rows


def write_rows(path: Path, rows: Iterable[Row], comments: Iterable[str]) -> None:
    """Write a table with its comments, columns that no row has left out."""
    listed = sorted(rows, key=lambda r: (r.key, r.kelvin, r.capacity_bytes))
    texts = [_texts(row) for row in listed]
    columns = [c for c in COLUMNS if any(text.get(c) for text in texts)]
    lines = [f"# {line}\n" for line in comments]
    lines += [",".join(row) + "\n" for row in [columns, *([t.get(c, "") for c in columns] for t in texts)]]
    path.write_text("".join(lines), encoding="utf-8")


def _required(header: list[str]) -> list[str]:
    cycle = [] if "read_GBps" in header else ["read_cycle_ns"]
    return [*TEXTS, *WHOLE, "capacity_KiB", *NUMBERS, *cycle]


def row_of(given: Mapping[str, str], where: str) -> Row:
    """Return the row with these columns.

    Raises:
        InputError: ``where: column: what is wrong``.
    """
    word = _whole(given, "word_bits", where)
    if word % 8:
        raise InputError(f"{where}: word_bits: expected whole bytes, got {word} bit")
    numbers = {name: _number(given, name, where) for name in NUMBERS}
    numbers |= {name: _number(given, name, where) for name in OPTIONAL if given.get(name)}
    if "read_cycle_ns" not in numbers:
        numbers["read_cycle_ns"] = word / 8 / _number(given, "read_GBps", where)
    if given["roadmap"] not in FLAVOURS:
        hint = f"expected {', '.join(FLAVOURS[:-1])} or {FLAVOURS[-1]}, got {given['roadmap']}"
        raise InputError(f"{where}: roadmap: {hint}")
    return Row(
        cell=given["cell"],
        node_nm=_whole(given, "node_nm", where),
        flavour=given["roadmap"],
        word_bits=word,
        capacity_bytes=_capacity(given, where),
        numbers=numbers,
        flags=given.get("flags", ""),
    )


def _number(given: Mapping[str, str], name: str, where: str) -> float:
    text = given.get(name, "")
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {name}: expected a number, got {text!r}") from None
    least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
    if not math.isfinite(value):
        raise InputError(f"{where}: {name}: expected a finite number, got {text}")
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise InputError(f"{where}: {name}: expected {least}, got {text}")
    unit = name.rpartition("_")[2]
    if value > _MOST.get(unit, math.inf):
        raise InputError(f"{where}: {name}: expected at most {_MOST[unit]:,.0f} {unit}, got {text}")
    return value


def _whole(given: Mapping[str, str], name: str, where: str) -> int:
    value = _number(given, name, where)
    if value != int(value):
        raise InputError(f"{where}: {name}: expected a whole number, got {given[name]}")
    return int(value)


def _capacity(given: Mapping[str, str], where: str) -> int:
    _number(given, "capacity_KiB", where)
    size = Fraction(given["capacity_KiB"]) * 1024
    if size.denominator != 1:
        raise InputError(f"{where}: capacity_KiB: expected whole bytes, got {given['capacity_KiB']} KiB")
    return int(size)


def _texts(row: Row) -> dict[str, str]:
    texts = {name: _plain(value) for name, value in row.numbers.items()}
    return {
        **texts,
        "cell": row.cell,
        "node_nm": str(row.node_nm),
        "roadmap": row.flavour,
        "word_bits": str(row.word_bits),
        "capacity_KiB": _plain(row.capacity_bytes / 1024),
        "flags": row.flags,
    }


def _plain(value: float) -> str:
    """Return a number as it is read back, whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
