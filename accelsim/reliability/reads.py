"""The rows of ``residencies.parquet`` as arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.trace.coded import Coded

if TYPE_CHECKING:
    import pyarrow as pa

    Residencies = pa.Table | Mapping[str, Any]

Array = NDArray[np.float64]

WORDS: Final = (
    "bank_group",
    "tensor",
    "role",
    "copy_class",
    "parent_class",
    "origin",
    "layer",
    "reader_layer",
    "phase_written",
    "phase_read",
)
FIELD, BITS = "bit_field", "bits"  # columns of residencies with tensors that are split by bits


@dataclass(frozen=True, eq=False)
class Reads:
    """Reads of copies, alike ones together: one entry per row of the residency table.

    Attributes:
        words: The columns that name things.
        index: Reads of the copy before this one.
        bins: Bin of the time since the write.
        reads: How many reads.
        bits: Read by all of them.
        dwell_ps: Mean time since the write.
        gap_ps: Mean time since the copy's access before, between 0 and the dwell.
    """

    words: Mapping[str, Coded]
    index: NDArray[np.int64]
    bins: NDArray[np.int64]
    reads: NDArray[np.int64]
    bits: NDArray[np.int64]
    dwell_ps: Array
    gap_ps: Array

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, source: Residencies) -> Reads:
        """Read a table or columns of ``trace.schema.RESIDENCIES``; the means are exact to rounding."""
        nbytes = _whole(source, "bytes")
        weight = np.maximum(nbytes, 1)
        dwell = _real(source, "dwell_byte_ps") / weight
        return cls(
            words={name: _words(source, name) for name in WORDS} | {FIELD: _fields(source, len(nbytes))},
            index=_whole(source, "read_index"),
            bins=_whole(source, "bin"),
            reads=_whole(source, "reads"),
            bits=_whole(source, BITS) if BITS in _names(source) else 8 * nbytes,
            dwell_ps=np.maximum(dwell, 0.0),
            gap_ps=np.clip(_real(source, "gap_byte_ps") / weight, 0.0, np.maximum(dwell, 0.0)),
        )

    def where(self, column: str, word: str) -> NDArray[np.intp]:
        """Return the rows whose ``column`` is ``word``."""
        coded = self.words[column]
        code = coded.words.index(word) if word in coded.words else -1
        return np.flatnonzero(coded.codes == code)

    def text(self, column: str) -> list[str]:
        """Return a column of words, row by row."""
        coded = self.words[column]
        return [coded.words[c] for c in coded.codes]


def _names(source: Residencies) -> Collection[str]:
    return source.keys() if isinstance(source, Mapping) else source.column_names


def _fields(source: Residencies, rows: int) -> Coded:
    if FIELD in _names(source):
        return _words(source, FIELD)
    return Coded(np.zeros(rows, dtype=np.int32), ["all"] if rows else [])


def _words(source: Residencies, name: str) -> Coded:
    column = source[name]
    if not hasattr(column, "combine_chunks"):
        return column if isinstance(column, Coded) else Coded.of(column)
    array: Any = column.unify_dictionaries().combine_chunks()
    return Coded(array.indices.to_numpy().astype(np.int32), array.dictionary.to_pylist())


def _whole(source: Residencies, name: str) -> NDArray[np.int64]:
    return np.asarray(source[name], dtype=np.int64)


def _real(source: Residencies, name: str) -> Array:
    column = source[name]
    if hasattr(column, "combine_chunks"):
        import pyarrow as pa

        column = column.cast(pa.float64())
    return np.asarray(column, dtype=np.float64)
