"""What a run used, as a mapping file (docs/mapping.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from accelsim.config.machinefile import toml
from accelsim.errors import InputError
from accelsim.trace.folder import MAPPING
from accelsim.trace.runs import Run


def mapping_file(run: Run) -> str:
    """Return the TOML text that imposes a run's tiles, orders and places, whole.

    Raises:
        InputError: if the run has no ``mapping.json``, or tensors that are split or in other orders.
    """
    path = run.path / MAPPING
    if not path.is_file():
        raise InputError(f"{run.path}: has no {MAPPING}; run it again")
    if "fields" in run.summary:
        raise InputError(
            f"{run.path}: its machine splits its tensors by bit fields; a mapping file places whole ones "
            "(--mapping-from takes the mapping as it is)"
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    if "orders" in record:
        raise InputError(
            f"{run.path}: tensors are stored in other orders than torch's, or twice "
            '(scratchpad.layout = "modelled"), which a mapping file cannot say '
            "(--mapping-from takes the mapping as it is)"
        )
    ops = {kernel["op"]: _op(kernel) for kernel in record["kernels"]}
    lines = [f"# {record['workload']} on {record['machine']}, as in {run.name}", "", "[op]"]
    lines += [f"{toml(_glob(name))} = {_inline(table)}" for name, table in ops.items()]
    lines += ["", "[tensor]"]
    lines += [f"{toml(_glob(name))} = {_inline(table)}" for name, table in record["tensors"].items()]
    return "\n".join(lines) + "\n"


def _op(kernel: Mapping[str, Any]) -> dict[str, Any]:
    buffers = {_glob(name): group for name, group in kernel["buffers"].items()}
    table = {key: kernel[key] for key in ("tile", "order", "hold", "panel") if key in kernel}
    table["tile"] = {side: table["tile"][side] for side in "mnk" if side in table["tile"]}
    return {**table, **({"buffers": buffers} if buffers else {})}


def _glob(name: str) -> str:
    """Return the glob that fits a name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _inline(value: Any) -> str:
    """Return a value as one line of TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(v) for v in value) + "]"
    return toml(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)
