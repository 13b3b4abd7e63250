"""A study as one table: parquet or CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Final

from accelsim.errors import InputError
from accelsim.sweep.view import View, table_of

SUFFIXES: Final = (".parquet", ".csv")


def export(view: View, path: Path) -> int:
    """Write one row per candidate and return their number.

    Raises:
        InputError: The file has another suffix.
    """
    columns = table_of(view)
    if path.suffix == ".parquet":
        _parquet(view, columns, path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    else:
        raise InputError(f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}")
    return len(view.entries)


def _parquet(view: View, columns: dict[str, list[object]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"study": view.study.name, "model_version": view.study.about.model_version}
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"accelsim": json.dumps(about)}), path)
