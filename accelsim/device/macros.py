"""The array tables: SRAM and STT-MRAM macros by cell, node, transistors, word and capacity.

Node, transistors and word width are taken as they are in the table, never interpolated; capacity is
interpolated with a monotone fit, never extrapolated. Source: docs/sources.md#nvsim-macros.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from accelsim.config.locate import shipped
from accelsim.device.fit import Fit, monotone_fit
from accelsim.device.leakage import MAX_K, MIN_K, leakage_mw, max_kelvin
from accelsim.errors import InputError
from accelsim.units import size_text

SOURCE: Final = "nvsim-macros"
_FILES: Final = ("nvsim_macros_22nm_min64.csv", "nvsim_macros_45nm_min64.csv")
_COLUMNS: Final = ("area_mm2", "read_ns", "write_ns", "read_pJ", "write_pJ", "leak_mW", "sense_leak_mW")

Key = tuple[str, int, str, int]  # cell, node in nm, transistors, word in bits


class NotInTable(InputError):
    """The table has no such macro. ``key`` names the key of the description that is at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro: times of a word in nanoseconds, energies of a word in pJ, area in mm2.

    ``residuals[quantity]`` is the largest relative difference between the fit and the table's own values.
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


@dataclass(frozen=True, slots=True)
class Series:
    """All macros of one cell, node, flavour and word, as fits over capacity in bytes."""

    key: Key
    fits: Mapping[str, Fit]

    @property
    def capacities(self) -> tuple[int, int]:
        """Smallest and largest capacity in bytes."""
        xs = self.fits["area_mm2"].xs
        return int(xs[0]), int(xs[-1])

    def area_mm2(self, capacity_bytes: int) -> float:
        """Return the area of one macro."""
        return self.fits["area_mm2"].at(capacity_bytes)

    def macro(self, capacity_bytes: int) -> Macro:
        """Return the macro of ``capacity_bytes``.

        Raises:
            NotInTable: Outside the table's capacities (key ``capacity``).
        """
        low, high = self.capacities
        if not low <= capacity_bytes <= high:
            raise NotInTable(
                "capacity",
                f"a macro of {size_text(capacity_bytes)} is outside the array table, which has "
                f"{size_text(low)} to {size_text(high)}; change capacity, count or subbanks",
            )
        at = {name: fit.at(capacity_bytes) for name, fit in self.fits.items()}
        return Macro(
            read_ns=at["read_ns"],
            read_cycle_ns=at["read_cycle_ns"],
            write_ns=at["write_ns"],
            read_pj=at["read_pJ"],
            write_pj=at["write_pJ"],
            leak_350_mw=at["leak_mW"],
            sense_leak_mw=at["sense_leak_mW"],
            area_mm2=at["area_mm2"],
            residuals={name: fit.residual for name, fit in self.fits.items()},
        )


def series(cell: str, node_nm: int, flavour: str, word_bits: int) -> Series:
    """Return the table's macros of exactly these.

    Raises:
        NotInTable: No such node (key ``node``), flavour or word; the message lists what there is.
    """
    table = _table()
    key: Key = (cell, node_nm, flavour, word_bits)
    if key in table:
        return table[key]
    near = [k for k in table if k[0] == cell]
    if not near:
        raise NotInTable("macro", f'the array table has no cell "{cell}"')
    for i, name, unit in ((1, "node", " nm"), (2, "flavour", ""), (3, "word", " bit")):
        there = list(dict.fromkeys(k[i] for k in near))
        if key[i] not in there:
            known = ", ".join(f"{value}{unit}" for value in there)
            given = f" at {node_nm} nm" if i == 2 else f" at {node_nm} nm {flavour}" if i == 3 else ""
            raise NotInTable(name, f"the array table has no {key[i]}{unit}{given}, only {known}")
        near = [k for k in near if k[i] == key[i]]
    raise AssertionError(f"{key} is in the table")


def macro_leakage_mw(macro: Macro, node_nm: int, flavour: str, kelvin: float) -> float:
    """Return the leakage of one macro at ``kelvin``.

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


@lru_cache(maxsize=1)
def _table() -> Mapping[Key, Series]:
    rows: dict[Key, list[dict[str, str]]] = {}
    for name in _FILES:
        lines = (shipped("arch") / "macros" / name).read_text().splitlines()
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            if row["roadmap"] != "LSTP":  # its STT leakage is a constant of the sense amplifiers: not offered
                key = (row["cell"], int(row["node_nm"]), row["roadmap"], int(row["word_bits"]))
                rows.setdefault(key, []).append(row)
    return {key: Series(key, _fits(of_key, key[3])) for key, of_key in rows.items()}


def _fits(rows: list[dict[str, str]], word_bits: int) -> dict[str, Fit]:
    rows = sorted(rows, key=lambda row: int(row["capacity_KiB"]))
    xs = [int(row["capacity_KiB"]) * 1024 for row in rows]
    columns = {name: [float(row[name]) for row in rows] for name in _COLUMNS}
    columns["read_cycle_ns"] = [word_bits / 8 / float(row["read_GBps"]) for row in rows]
    return {name: monotone_fit(xs, ys) for name, ys in columns.items()}
