"""The array tables: SRAM and STT-MRAM macros by cell, node, transistors, word and capacity.

Node, transistors and word width are taken as they are in a table, never interpolated; capacity is
interpolated with a monotone fit, never extrapolated. Source: docs/sources.md#nvsim-macros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from accelsim.config.faults import did_you_mean
from accelsim.config.locate import shipped
from accelsim.device.cells import Cell, cells
from accelsim.device.fit import Fit, monotone_fit
from accelsim.device.leakage import MAX_K, MIN_K, leakage_mw, max_kelvin
from accelsim.device.rows import Key, Row, read_rows
from accelsim.errors import InputError
from accelsim.units import size_text

SOURCE: Final = "nvsim-macros"
DEFAULT: Final = "nvsim-min64"
_LAW_K: Final = 350.0  # whose rows the leakage law of the shipped tables starts from
_FILES: Final = {  # shipped: files, and the key of docs/sources.md
    DEFAULT: (("nvsim_macros_22nm_min64.csv", "nvsim_macros_45nm_min64.csv"), SOURCE),
    "nvsim-read-edp": (
        ("nvsim_macros_22nm_read_edp.csv", "nvsim_macros_45nm_read_edp.csv"),
        "nvsim-macros-read-edp",
    ),
}
_COLUMNS: Final = (
    *("area_mm2", "read_ns", "write_ns", "read_pJ", "write_pJ", "leak_mW", "sense_leak_mW", "read_cycle_ns"),
)
TINY: Final = "tiny"  # flag of rows whose subarrays are degenerate


class NotInTable(InputError):
    """The table has no such macro. ``key`` names the key of the description that is at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro: times of a word in nanoseconds, energies of a word in pJ, area in mm2.

    ``leak_350_mw`` is the leakage at the table's temperature, 350 K in the shipped ones.
    ``residuals[quantity]`` is the largest relative difference between the fit and the table's own values.
    ``tiny`` names the capacities of degenerate rows that it is made of.
    """

    read_ns: float
    read_cycle_ns: float
    write_ns: float
    read_pj: float
    write_pj: float
    leak_350_mw: float
    sense_leak_mw: float
    area_mm2: float
    residuals: Mapping[str, float]
    tiny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """All macros of one cell, node, flavour and word, as fits over capacity in bytes.

    Attributes:
        fits: At the first temperature of ``at_kelvin``.
        table: What messages call the table.
        law: Whether leakage follows the law of ``device.leakage``; else temperatures are those of the table.
        at_kelvin: Fits by temperature, rising.
        tiny: Capacities of the rows with degenerate subarrays.
    """

    key: Key
    fits: Mapping[str, Fit]
    table: str = "the array table"
    law: bool = True
    at_kelvin: Mapping[float, Mapping[str, Fit]] | None = None
    tiny: frozenset[int] = frozenset()

    @property
    def capacities(self) -> tuple[int, int]:
        """Smallest and largest capacity in bytes."""
        xs = self.fits["area_mm2"].xs
        return int(xs[0]), int(xs[-1])

    def area_mm2(self, capacity_bytes: int) -> float:
        """Return the area of one macro."""
        return self.fits["area_mm2"].at(capacity_bytes)

    def macro(self, capacity_bytes: int, kelvin: float | None = None) -> Macro:
        """Return the macro of ``capacity_bytes``, by the tabulated temperature next to ``kelvin``.

        Raises:
            NotInTable: Outside the table's capacities (key ``capacity``).
        """
        fits = self._nearest(kelvin)
        xs = fits["area_mm2"].xs
        if not xs[0] <= capacity_bytes <= xs[-1]:
            has = size_text(int(xs[0])) + (f" to {size_text(int(xs[-1]))}" if len(xs) > 1 else " only")
            raise NotInTable(
                "capacity",
                f"a macro of {size_text(capacity_bytes)} is outside {self.table}, which has "
                f"{has}; change capacity, count or subbanks",
            )
        at = {name: fit.at(capacity_bytes) for name, fit in fits.items()}
        near = {max(x for x in xs if x <= capacity_bytes), min(x for x in xs if x >= capacity_bytes)}
        return Macro(
            read_ns=at["read_ns"],
            read_cycle_ns=at["read_cycle_ns"],
            write_ns=at["write_ns"],
            read_pj=at["read_pJ"],
            write_pj=at["write_pJ"],
            leak_350_mw=at["leak_mW"],
            sense_leak_mw=at["sense_leak_mW"],
            area_mm2=at["area_mm2"],
            residuals={name: fit.residual for name, fit in fits.items()},
            tiny=tuple(size_text(int(x)) for x in sorted(near & self.tiny)),
        )

    def leakage_mw(self, capacity_bytes: int, kelvin: float) -> float:
        """Return the leakage of one macro at ``kelvin``.

        By the law, or log-linear between the table's temperatures.

        Raises:
            NotInTable: Outside the law's or the table's temperatures (key ``temperature``).
        """
        if self.law or self.at_kelvin is None:
            return macro_leakage_mw(self.macro(capacity_bytes), self.key[1], self.key[2], kelvin)
        there = list(self.at_kelvin)
        if not there[0] <= kelvin <= there[-1]:
            has = f"at {there[0]:g} K" + (f" to {there[-1]:g} K" if len(there) > 1 else " only")
            raise NotInTable(
                "temperature",
                f"{kelvin:g} K: {self.table} has leakage {has}, and no law for other temperatures "
                "(macros may be imported at several)",
            )
        low = max(k for k in there if k <= kelvin)
        high = min(k for k in there if k >= kelvin)
        leaks = [self.macro(capacity_bytes, k).leak_350_mw for k in (low, high)]
        if low == high or not all(leaks):
            return leaks[0]
        share = (kelvin - low) / (high - low)
        return math.exp(math.log(leaks[0]) * (1 - share) + math.log(leaks[1]) * share)

    def _nearest(self, kelvin: float | None) -> Mapping[str, Fit]:
        if kelvin is None or not self.at_kelvin:
            return self.fits
        return self.at_kelvin[min(self.at_kelvin, key=lambda k: (abs(k - kelvin), k))]


@dataclass(frozen=True, slots=True)
class MacroTable:
    """One array table: its series, the STT-MRAM cells behind them, the source of its numbers."""

    name: str
    label: str  # in messages
    source: str
    series: Mapping[Key, Series]
    cells: Mapping[str, Cell]

    def find(self, cell: str, node_nm: int, flavour: str, word_bits: int) -> Series:
        """Return the table's macros of exactly these.

        Raises:
            NotInTable: No such node (key ``node``), flavour or word; the message lists what there is.
        """
        key: Key = (cell, node_nm, flavour, word_bits)
        if key in self.series:
            return self.series[key]
        near = [k for k in self.series if k[0] == cell]
        if not near:
            there = list(dict.fromkeys(k[0] for k in self.series))
            raise NotInTable("macro", f'{self.label} has no cell "{cell}", only {", ".join(there)}')
        for i, name, unit in ((1, "node", " nm"), (2, "flavour", ""), (3, "word", " bit")):
            has = list(dict.fromkeys(k[i] for k in near))
            if key[i] not in has:
                known = ", ".join(f"{value}{unit}" for value in has)
                given = f" at {node_nm} nm" if i == 2 else f" at {node_nm} nm {flavour}" if i == 3 else ""
                raise NotInTable(name, f"{self.label} has no {key[i]}{unit}{given}, only {known}")
            near = [k for k in near if k[i] == key[i]]
        raise AssertionError(f"{key} is in the table")


def series(cell: str, node_nm: int, flavour: str, word_bits: int) -> Series:
    """Return the macros of exactly these of the default table.

    Raises:
        NotInTable: As ``MacroTable.find``.
    """
    return load_table(DEFAULT).find(cell, node_nm, flavour, word_bits)


def macro_leakage_mw(macro: Macro, node_nm: int, flavour: str, kelvin: float) -> float:
    """Return the leakage of one macro of a shipped table at ``kelvin``.

    Raises:
        NotInTable: Outside the law's temperatures (key ``temperature``).
    """
    if not MIN_K <= kelvin <= MAX_K:
        raise NotInTable(
            "temperature",
            f"{kelvin:g} K is outside the array table's leakage law, {MIN_K:g} K to {MAX_K:g} K",
        )
    if kelvin > max_kelvin(flavour):
        raise NotInTable(
            "temperature",
            f"{kelvin:g} K is above {max_kelvin(flavour):g} K, where the leakage law of {flavour} ends",
        )
    return leakage_mw(macro.leak_350_mw, macro.sense_leak_mw, node_nm, flavour, kelvin)


def table_names() -> list[str]:
    """Return the names of the shipped tables."""
    return list(_FILES)


def load_table(name_or_path: str) -> MacroTable:
    """Return a shipped table by its name, or the table in a CSV file.

    Raises:
        InputError: No such table, or what is wrong in it.
    """
    if name_or_path in _FILES:
        return _shipped(name_or_path)
    if "/" not in name_or_path and not name_or_path.endswith(".csv"):
        hint = did_you_mean(name_or_path, table_names()) or ";"
        known = ", ".join(table_names())
        raise InputError(f'no array table "{name_or_path}"{hint} shipped: {known}; a file ends in .csv')
    path = Path(name_or_path)
    try:
        stat = path.stat()
    except OSError:
        raise InputError(f"{name_or_path}: no such file") from None
    return _of_file(name_or_path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _shipped(name: str) -> MacroTable:
    files, source = _FILES[name]
    rows: list[Row] = []
    for file in files:
        text = (shipped("arch") / "macros" / file).read_text()
        rows += [r for r in read_rows(text, file) if r.kelvin == _LAW_K and r.flavour != "LSTP"]
    label = "the array table" if name == DEFAULT else f'the array table "{name}"'
    return MacroTable(name, label, source, _by_key(rows, label, law=True), cells())


@lru_cache(maxsize=8)
def _of_file(path: str, _changed: int, _size: int) -> MacroTable:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{path}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {exc.start})") from None
    return table_of_rows(read_rows(text, path), path)


def table_of_rows(rows: Sequence[Row], path: str) -> MacroTable:
    """Return the table of ``rows`` of a file.

    Raises:
        InputError: Two rows of the same macro, or of one cell that is written in two ways.
    """
    label = f'the array table "{Path(path).name}"'
    own = {r.cell: cell for r in rows if (cell := r.mram_cell) is not None}
    if any(r.mram_cell not in (None, own[r.cell]) for r in rows if r.cell in own):
        raise InputError(f"{path}: rows of one cell differ in its write; give the cells different names")
    return MacroTable(
        path, label, Path(path).name, _by_key(rows, path, law=False, label=label), cells() | own
    )


def _by_key(rows: Sequence[Row], path: str, *, law: bool, label: str | None = None) -> dict[Key, Series]:
    by_key: dict[Key, dict[float, list[Row]]] = {}
    for row in rows:
        by_key.setdefault(row.key, {}).setdefault(row.kelvin, []).append(row)
    return {key: _series(key, found, path, law, label or path) for key, found in by_key.items()}


def _series(key: Key, by_kelvin: Mapping[float, list[Row]], path: str, law: bool, label: str) -> Series:
    at_kelvin, tiny = {}, set()
    for kelvin, rows in sorted(by_kelvin.items()):
        rows = sorted(rows, key=lambda row: row.capacity_bytes)
        xs = [row.capacity_bytes for row in rows]
        twice = [x for x, after in pairwise(xs) if x == after]
        if twice:
            what = f"{key[0]}, {key[1]} nm, {key[2]}, {key[3]} bit, {size_text(twice[0])} at {kelvin:g} K"
            raise InputError(f"{path}: two rows of {what}")
        at_kelvin[kelvin] = {
            name: monotone_fit(xs, [row.numbers.get(name, 0.0) for row in rows]) for name in _COLUMNS
        }
        tiny |= {row.capacity_bytes for row in rows if TINY in row.flags.split(";")}
    return Series(key, next(iter(at_kelvin.values())), label, law, at_kelvin, frozenset(tiny))
