"""The single copies of chosen tensors, as columns of ``copies.parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from accelsim.geometry import ceil_div
from accelsim.trace.recorder import Recorder


def copy_columns(recorder: Recorder, names: Iterable[str]) -> Mapping[str, list[Any]]:
    """Return one row per read of a piece of a traced tensor's copies, in order of the reads."""
    singles = sorted(recorder.histogram.singles, key=lambda s: (s.read_ps, s.key.copy_class, s.box))
    values: dict[str, list[Any]] = {
        "bank_group": [s.key.bank_group for s in singles],
        "tensor": [s.key.tensor for s in singles],
        "copy_class": [s.key.copy_class for s in singles],
        "box": [" ".join(f"{a}:{b}" for a, b in s.box) for s in singles],
        "read_index": [s.read_index for s in singles],
        "reader_layer": [s.reader.layer for s in singles],
        "phase_read": [s.reader.phase for s in singles],
        "written_ps": [s.written_ps for s in singles],
        "read_ps": [s.read_ps for s in singles],
        "bytes": [s.nbytes if s.key.bit_field == "all" else ceil_div(s.nbytes, 8) for s in singles],
    }
    return {name: values[name] for name in names}
