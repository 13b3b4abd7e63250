"""The ledger of sources: where every number of a resolved machine comes from."""

from __future__ import annotations

from typing import Final

from accelsim.config.arch import ArchSpec
from accelsim.config.origins import Origins, dotted
from accelsim.config.positions import KeyPath
from accelsim.resolve.machine import Sourced

ASSUMED: Final = "assumed"
CHOICE: Final = "choice"  # a decision of the description, no claim about the world


class Ledger:
    """Collects ``Sourced`` numbers while a machine is resolved."""

    def __init__(self, spec: ArchSpec, origins: Origins) -> None:
        self._spec = spec
        self._origins = origins
        self._numbers: list[Sourced] = []

    def note(self, keys: KeyPath, value: float | int | str, unit: str, source: str) -> None:
        """Note that the number ``keys`` comes from ``source``."""
        self._numbers.append(Sourced(key=dotted(keys), value=value, unit=unit, source=source))

    def written(self, keys: KeyPath, value: float | int | str, unit: str, *, as_for: KeyPath = ()) -> None:
        """Note a number of a description: it has its table's ``source`` if both stand in the same file.

        A file that overrides a number without saying where it got it, and ``--set``, make it assumed;
        so is every default. ``as_for`` is the key that was written, where the number follows from it.
        """
        self.note(keys, value, unit, self._source(as_for or keys))

    def sources(self) -> tuple[Sourced, ...]:
        """Return all numbers, in the order in which they were noted."""
        return tuple(self._numbers)

    def _source(self, keys: KeyPath) -> str:
        table = _table_of(keys)
        claimed = self._origins.source_label((*table, "source"))
        given = self._origins.source_label(keys)
        if claimed is None or given != claimed:
            return ASSUMED
        block = getattr(self._spec, str(table[0]))
        return str((block[table[1]] if len(table) == 2 else block).source)


def _table_of(keys: KeyPath) -> KeyPath:
    """Return the table whose ``source`` covers ``keys``: ``bank.NAME``, or the first part."""
    return keys[:2] if keys[0] == "bank" else keys[:1]
