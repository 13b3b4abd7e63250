"""What matters in a sweep: shares of variance, and slices through one point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accelsim.sweep.figures import figure
from accelsim.sweep.view import Entry, View


def importance(found: View, name: str) -> dict[str, float]:
    """Return the share of a figure's variance that each parameter explains by itself, the largest first.

    That is the variance between the means of its values over the whole: the first-order index of Sobol's
    decomposition where the space is covered evenly. Continuous parameters are put in eight classes.
    """
    entries = found.done
    values = [figure(e.figures, name) for e in entries]
    whole = _variance(values)
    if not whole:
        return {}
    shares = {p: _between(_classes(entries, p), values) / whole for p in found.varied}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _classes(entries: list[Entry], param: str) -> list[Any]:
    given = [e.params.get(param) for e in entries]
    distinct = list(dict.fromkeys(map(repr, given)))
    numbers = [e.numbers.get(param) for e in entries]
    if len(distinct) <= 8 or not all(isinstance(n, int | float) for n in numbers):
        return list(map(repr, given))
    order = sorted(range(len(entries)), key=lambda i: numbers[i] or 0)
    classes: list[Any] = [0] * len(entries)
    for place, i in enumerate(order):
        classes[i] = place * 8 // len(entries)
    return classes


def _between(classes: list[Any], values: list[float]) -> float:
    groups: dict[Any, list[float]] = {}
    for key, value in zip(classes, values, strict=True):
        groups.setdefault(key, []).append(value)
    mean = math.fsum(values) / len(values)
    return math.fsum(len(g) * (math.fsum(g) / len(g) - mean) ** 2 for g in groups.values()) / len(values)


def _variance(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / len(values)


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
