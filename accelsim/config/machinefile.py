"""A machine as a file: what it extends, and the keys that it sets beside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine_toml(base: str, settings: Mapping[str, Any], comment: str, at: Path) -> str:
    """Return the TOML of ``base`` with ``settings``, as it has to be written at the path ``at``.

    >>> print(machine_toml("edge-sram", {"clock": "1 GHz", "bank.sram.count": 2}, "Best.", Path("x.toml")))
    # Best.
    extends = "edge-sram"
    clock = "1 GHz"
    <BLANKLINE>
    [bank.sram]
    count = 2
    <BLANKLINE>
    """
    if "/" in base or base.endswith(".toml"):
        base = os.path.relpath(Path(base).resolve(), at.parent.resolve())
        base = base if "/" in base else f"./{base}"
    lines = [f"# {comment}", f"extends = {toml(base)}"]
    tables: dict[str, list[str]] = {}
    for path, value in settings.items():
        table, _, key = path.rpartition(".")
        tables.setdefault(table, []).append(f"{key} = {toml(value)}")
    lines += tables.pop("", [])
    for table, keys in tables.items():
        lines += ["", f"[{table}]", *keys]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML: JSON's forms are TOML's, but for one character, and for tables.

    >>> toml("1 GHz"), toml([1, True]), toml(1e-06), toml('a"b'), toml({"msb:9": ["sram"]})
    ('"1 GHz"', '[1, true]', '1e-06', '"a\\\\"b"', '{ "msb:9" = ["sram"] }')
    """
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
