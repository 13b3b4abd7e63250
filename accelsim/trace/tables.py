"""Parquet tables with a declared schema: equal columns give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import InputError
from accelsim.trace.coded import Coded
from accelsim.trace.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Column = Sequence[Any] | Coded | NDArray[Any]


def _type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name == "dict":
        return pa.dictionary(pa.int32(), pa.string())
    if name == "decimal":
        return pa.decimal128(38, 0)
    plain: dict[str, pa.DataType] = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64()}
    return plain[name]


def arrow_schema(schema: Mapping[str, str]) -> pa.Schema:
    """Return the pyarrow schema of ``schema`` (column -> type name of ``trace.schema``)."""
    import pyarrow as pa

    fields = [pa.field(column, _type(name), nullable=False) for column, name in schema.items()]
    return pa.schema(fields, metadata={"accelsim.schema": str(SCHEMA_VERSION)})


def _array(name: str, values: Column) -> pa.Array[Any]:
    """Return ``values`` as a column; ints of a ``decimal`` stay exact."""
    import pyarrow as pa

    if name != "dict" and not isinstance(values, Coded):
        return pa.array(values, _type(name))
    coded = values if isinstance(values, Coded) else Coded.of(values)
    words = pa.array(coded.words, pa.string())
    return words if words.null_count else pa.DictionaryArray.from_arrays(coded.codes, words)


def table(schema: Mapping[str, str], columns: Mapping[str, Column]) -> pa.Table:
    """Return ``columns`` as a table of ``schema``.

    Raises:
        ValueError: If a column is missing, unknown, of another length, or holds a null.
    """
    import pyarrow as pa

    missing = [c for c in schema if c not in columns]
    unknown = [c for c in columns if c not in schema]
    if missing or unknown:
        raise ValueError(f"columns differ from the schema: missing {missing}, unknown {unknown}")
    lengths = {c: len(columns[c]) for c in schema}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    made = [_array(t, columns[c]) for c, t in schema.items()]
    nulls = [c for c, array in zip(schema, made, strict=True) if array.null_count]
    if nulls:
        raise ValueError(f"null in {', '.join(nulls)}")
    return pa.Table.from_arrays(made, schema=arrow_schema(schema))


def write_table(path: Path, schema: Mapping[str, str], columns: Mapping[str, Column]) -> None:
    """Write ``columns`` (sequences, arrays or coded words, of equal length) to the parquet file ``path``.

    Compressed with zstd. The bytes depend on the values and pyarrow's version only.
    """
    import pyarrow.parquet as pq

    pq.write_table(table(schema, columns), path, compression="zstd", row_group_size=1 << 20)


def read_table(path: Path) -> pa.Table:
    """Read a table that ``write_table`` wrote.

    Raises:
        InputError: If the file is absent or is no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # not pq.read_table, which imports data sets of many files first
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the run folder is incomplete, run it again") from None
    except pa.ArrowInvalid as fault:
        raise InputError(f"{path}: not a readable parquet file ({fault}); run it again") from None
