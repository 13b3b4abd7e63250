"""The error profile of a simulated run, ``errors.parquet``, as laws of the reads of a torch model.

A torch op reads a tensor once and whole; the machine reads it in tiles, of several copies. So the rows of one
(tensor, reader, phase, bit field) are averaged, weighted by their bits, at each copy's first read there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.trace.coded import Coded
from accelsim.trace.schema import ERRORS
from accelsim.trace.tables import read_table
from accelsim.train.laws import FieldLaw, Law, Read, checked_rate
from accelsim.words import WRITE_BACK

FILE: Final = "errors.parquet"
CAUSES: Final = ("write", "retention", "read_disturb", "inherited")
_NEEDED: Final = (
    "tensor",
    "role",
    "layer",
    "reader_layer",
    "phase_read",
    "read_index",
    "copy_class",
    "bit_field",
    "bits",
    *(f"p_{cause}" for cause in CAUSES),
    "p_sense",
    "p_stored",
    "p_new",
    "p_back",
    "p_total",
)
_OWNED: Final = ("weight", "master_weight", "weight_gradient", "optimizer_state")
_PREFIXES: Final = ("state/", "grad/", "next/")

Row = dict[str, Any]
Key = tuple[str, str, str, str]  # role, parameter or producing layer, reader, phase


@dataclass(frozen=True, slots=True)
class _Site:
    """The rows of one read site, each copy class's first read there alone."""

    rows: tuple[Row, ...]
    continues: bool  # most bits belong to copies that an earlier site has read


class RunProfile:
    """Laws from the rows of ``errors.parquet``; a read without a row meets no errors."""

    def __init__(self, rows: Iterable[Row], name: str = FILE) -> None:
        self._name = name
        read = [_checked(row, name, number) for number, row in enumerate(rows, 1)]
        table = [_corrected(row) for row in read if row["reader_layer"] != WRITE_BACK]
        self._layers = sorted({row[c] for row in table for c in ("layer", "reader_layer")} - {"", "loss"})
        self._sites = _sites(table)
        self._laws: dict[Key, Law] = {key: _law(key, site) for key, site in self._sites.items()}

    @classmethod
    def load(cls, path: Path) -> RunProfile:
        """Read ``path``: an ``errors.parquet`` or the run folder that holds one.

        Raises:
            InputError: There is none, or its columns or probabilities are at fault.
        """
        file = path / FILE if path.is_dir() else path
        if path.is_dir() and not file.is_file():
            raise InputError(
                f"{path}: no {FILE}; a run has one if a bank group of its machine names a device "
                "(or is not a run folder)"
            )
        table = read_table(file)
        missing = [c for c in _NEEDED if c not in table.column_names]
        if missing:
            raise InputError(
                f"{file}: not a table of errors, lacks {', '.join(missing)}; "
                f"expected the columns {', '.join(ERRORS)}"
            )
        return cls(table.select(list(_NEEDED)).to_pylist(), str(path))

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any], name: str = FILE) -> RunProfile:
        """Return the profile of the columns that ``reliability.columns_of`` returns."""
        listed = {c: _listed(columns[c]) for c in _NEEDED}
        return cls((dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)), name)

    def laws(self, read: Read) -> Sequence[Law]:
        """Return the law of ``read``: by parameter where it has one, by producing layer else."""
        owner = read.tensor or read.layer
        for key in ((read.role, owner, read.reader, read.phase), (read.role, owner, "", read.phase)):
            if key in self._laws:
                return (self._laws[key],)
        return ()

    def check(self, layers: Sequence[str]) -> None:
        """Refuse a profile of a model with other layers."""
        unknown = [layer for layer in self._layers if layer not in layers]
        if unknown:
            known = ", ".join([layer for layer in layers if layer][:6])
            more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
            raise InputError(
                f"{self._name}: the profile of another model: it has layers {', '.join(unknown[:4])}{more}, "
                f"which this model has not{did_you_mean(unknown[0], layers)}; layers here: {known}, ..."
            )

    @property
    def description(self) -> str:
        """The file and the mean probability of a wrong bit, over all bits read."""
        rows = [row for site in self._sites.values() for row in site.rows]
        bits = sum(row["bits"] for row in rows)
        mean = sum(row["bits"] * row["p_stored"] for row in rows) / bits if bits else 0.0
        return f"profile {self._name} (mean {mean:.3g} per bit)"


def _listed(column: Any) -> list[Any]:
    if isinstance(column, Coded):
        return [column.words[code] for code in column.codes]
    values: list[Any] = column.tolist()
    return values


def _checked(row: Row, name: str, number: int) -> Row:
    for column in ("p_stored", "p_sense"):
        checked_rate(row[column], f"{name}: row {number}: {column}")
    for column in ("p_new", "p_back", "p_total"):
        if not 0 <= row[column] <= 1:
            raise InputError(f"{name}: row {number}: {column}: expected 0 to 1, got {row[column]!r}")
    return row


def _corrected(row: Row) -> Row:
    """Return a row with the errors that its bank's correction lets through, new ones in proportion.

    ``p_stored`` and ``p_new`` are of the cells; without correction ``p_total`` is ``p_stored`` and sensing.
    """
    stored, sense = row["p_stored"], row["p_sense"]
    delivered = (row["p_total"] - sense) / (1 - 2 * sense) if sense < 0.5 else stored
    let_through = min(1.0, max(0.0, delivered / stored)) if stored else 1.0
    if let_through > 1 - 1e-9:
        return row
    return {**row, "p_stored": stored * let_through, "p_new": row["p_new"] * let_through}


def _owner(row: Row) -> str:
    """Return the parameter that a row's tensor belongs to, or the layer that produced it."""
    tensor = str(row["tensor"])
    if row["role"] not in _OWNED or ":" in tensor:  # what an op makes on the way belongs to its layer
        return str(row["layer"])
    for prefix in (*_PREFIXES, *_PREFIXES):  # next/state/...
        tensor = tensor.removeprefix(prefix)
    return tensor


def _sites(table: list[Row]) -> dict[Key, _Site]:
    """Return the rows by read site, first reads of each copy class only."""
    opening: dict[tuple[str, str], int] = {}
    grouped: dict[Key, dict[tuple[str, str], Row]] = {}
    for row in table:
        copy = (row["copy_class"], row["bit_field"])
        opening[copy] = min(opening.get(copy, row["read_index"]), row["read_index"])
        key = (row["role"], _owner(row), row["reader_layer"], row["phase_read"])
        first = grouped.setdefault(key, {})
        if copy not in first or row["read_index"] < first[copy]["read_index"]:
            first[copy] = row
    return {key: _site(first, opening) for key, first in sorted(grouped.items())}


def _site(first: dict[tuple[str, str], Row], opening: dict[tuple[str, str], int]) -> _Site:
    if any(field != "all" for _, field in first):  # labels and masks beside them are not split, nor drawn
        first = {copy: row for copy, row in first.items() if copy[1] != "all"}
    late = {copy: row for copy, row in first.items() if row["read_index"] > opening[copy]}
    bits = sum(row["bits"] for row in first.values())
    continues = 2 * sum(row["bits"] for row in late.values()) > bits
    return _Site(tuple((late if continues else first).values()), continues)


def _law(key: Key, site: _Site) -> Law:
    fields = sorted({row["bit_field"] for row in site.rows})
    laws = [_field_law([r for r in site.rows if r["bit_field"] == f], f, site.continues) for f in fields]
    return Law("/".join(key), tuple(laws), fresh=not site.continues)


def _field_law(rows: list[Row], field: str, continues: bool) -> FieldLaw:
    bits = sum(row["bits"] for row in rows) or 1

    def mean(column: str) -> float:
        return float(sum(row["bits"] * row[column] for row in rows) / bits)

    shares = {cause: mean(f"p_{cause}") for cause in CAUSES}
    if continues:  # what the copy was written with is in it already
        shares |= {"write": 0.0, "inherited": 0.0}
    total = sum(shares.values())
    causes = tuple((c, s / total) for c, s in shares.items() if s) if total else (("retention", 1.0),)
    if continues:
        return FieldLaw(field, mean("p_new"), mean("p_back"), mean("p_sense"), causes)
    return FieldLaw(field, mean("p_stored"), 0.0, mean("p_sense"), causes)
