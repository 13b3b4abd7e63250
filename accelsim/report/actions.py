"""A run's counts by op and component, without prices: for spreadsheets and other energy tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Final

from accelsim.errors import InputError, writing
from accelsim.trace.runs import Run

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Final = ("component", "action", "op", "phase", "layer", "role", "count", "powered_ps")
SUFFIXES: Final = (".csv", ".parquet")


def write_actions(run: Run, path: Path) -> int:
    """Write one row per count, and per stretch of standing power, and return their number.

    Raises:
        InputError: The file has another suffix, or lies in no folder, or in one that takes none.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"--actions {path}: expected a file that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"--actions {path}: no folder {path.parent}")
    table = run.table("energy").select(list(COLUMNS))
    with writing(path, "--actions"):
        _write(table, path)
    return int(table.num_rows)


def _write(table: pa.Table, path: Path) -> None:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path, compression="zstd")
        return
    columns = table.to_pydict()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(columns[c] for c in COLUMNS), strict=True))
