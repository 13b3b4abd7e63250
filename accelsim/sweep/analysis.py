"""Slices of a sweep through one point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.sweep.view import Entry, View


def slices(found: View, around: Entry) -> Mapping[str, list[Entry]]:
    """Return, for each parameter, the points that differ from ``around`` in it alone, sorted by its value."""
    lines: dict[str, list[Entry]] = {}
    for param in found.varied:
        line = [e for e in found.done if _rest(e, param) == _rest(around, param)]
        if len(line) > 1:
            lines[param] = sorted(line, key=lambda e: _place(e, param))
    return lines


def _rest(entry: Entry, param: str) -> dict[str, Any]:
    return {k: v for k, v in entry.params.items() if k != param}


def _place(entry: Entry, param: str) -> tuple[bool, float, str]:
    value = entry.numbers.get(param)
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, str(value)
