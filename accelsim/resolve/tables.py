"""The array table of a bank group, and the cell that it writes."""

from __future__ import annotations

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.origins import Origins, error
from accelsim.config.positions import KeyPath
from accelsim.device.cells import Cell
from accelsim.device.macros import MacroTable, load_table
from accelsim.errors import InputError
from accelsim.resolve.beside import beside


def cell_of(bank: BankSpec) -> str:
    """Return the cell of the array table that ``bank`` uses."""
    return bank.macro or ("sram" if bank.technology == "sram" else "stt34")


def table_of(name: str, bank: BankSpec, spec: ArchSpec, origins: Origins) -> MacroTable:
    """Return the array table of the bank group ``name``.

    Raises:
        ConfigError: No such table, or what is wrong in it, placed at the key that names it.
    """
    keys: KeyPath = ("bank", name, "macro_table") if bank.macro_table else ("macro_table",)
    try:
        return load_table(beside(bank.macro_table or spec.macro_table, origins, keys))
    except InputError as exc:
        raise error([origins.fault(keys, str(exc))]) from None


def mram_cell(bank: BankSpec, table: MacroTable) -> Cell | None:
    """Return how the cells of an STT-MRAM group are written by the macro; None: the table does not say."""
    return table.cells.get(cell_of(bank))
