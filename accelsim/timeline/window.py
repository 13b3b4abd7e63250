"""Which stretch of time to show."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from accelsim.errors import InputError
from accelsim.words import PHASES

if TYPE_CHECKING:
    import pyarrow as pa


def layer_windows(ops: pa.Table, glob: str) -> dict[str, tuple[int, int]]:
    """Return, for each phase in which layers matching ``glob`` run, when (start, end in ps).

    An op that rides on another's drain runs when that one does.

    Raises:
        InputError: If no layer matches.
    """
    columns = ("op", "layer", "phase", "fused_into", "start_ps", "end_ps")
    rows = ops.select(list(columns)).to_pylist()
    when = {r["op"]: (r["start_ps"], r["end_ps"]) for r in rows}
    windows: dict[str, tuple[int, int]] = {}
    for row in rows:
        if fnmatchcase(row["layer"], glob):
            start, end = when.get(row["fused_into"]) or when[row["op"]]
            low, high = windows.get(row["phase"], (start, end))
            windows[row["phase"]] = min(low, start), max(high, end)
    if not windows:
        raise InputError(_no_layer(glob, list(dict.fromkeys(r["layer"] for r in rows))))
    return {p: windows[p] for p in PHASES if p in windows and windows[p][0] < windows[p][1]}


def _no_layer(glob: str, layers: list[str]) -> str:
    near = difflib.get_close_matches(glob.rstrip("*"), layers, 1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"layers are {', '.join(layers[:8])} ..."
    return f'--layer: no layer matches "{glob}"; {hint}'
