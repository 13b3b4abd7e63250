"""The inputs in which two runs differ: in full, or with what one run alone has in one row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from rich.console import Group
from rich.text import Text

from accelsim.report.layout import grid

# what says how a run was made or what came out of it, rather than what decided its result
NOT_INPUTS: Final = ("id", "files", "schema", "command", "wall_s", "skip", "cached", "unused_keys")
DERIVED: Final = (  # what says again, or follows from, what the machine's other numbers say
    "machine.sources",
    "machine.sensitivity.access_pj_per_bit",
    "machine.sensitivity.leakage_pj_per_bit_ps",
    "machine.sensitivity.tolerated*.least",
    "machine.sensitivity.tolerated*.dwell_ps",
)
FOLDED: Final = 4  # values that a table may have of which the other run has nothing, one by one
MOST: Final = 24  # rows of one table
NONE: Final = "-"
HASH: Final = re.compile(r"\b[0-9a-f]{32,}\b")
DIGITS: Final = (4, 6, 9, 17)  # of a figure: as few as tell two of them apart
Row = tuple[str, str, str]


def inputs(a: Mapping[str, Any], b: Mapping[str, Any], everything: bool = False) -> Group | Text:
    """Return the inputs in which two manifests differ, by their path.

    Args:
        everything: Every value, also of a table that one of them lacks, and of a table with a hundred rows.
    """
    one, two = ({k: v for k, v in m.items() if k not in NOT_INPUTS} for m in (a, b))
    rows = sorted(_differing(one, two, "", everything))
    if not rows:
        return Text("The inputs are the same.\n")
    if not everything:
        rows = list(_shortened(rows))
    return grid("Inputs that differ", ("input", "A", "B"), rows, text_columns=3)


def _differing(a: Any, b: Any, path: str, everything: bool) -> Iterator[Row]:
    """Yield ``(dotted path, text in a, text in b)`` of what differs; None: it is not there."""
    if any(fnmatchcase(path, pattern) for pattern in DERIVED):
        return
    one, two = _items(a, path), _items(b, path)
    if one is None and two is None:
        if a != b or type(a) is not type(b):
            yield path, *_texts(a, b)
        return
    if not everything and (one is None or two is None) and _leaves(one or two or {}) > FOLDED:
        yield path, _whole(a, one), _whole(b, two)
        return
    if one is None or two is None:
        other = a if one is None else b
        if other is not None:  # a value where the other one has a table
            text = _text(other)
            yield (path, text, NONE) if one is None else (path, NONE, text)
    for key in {*(one or {}), *(two or {})}:
        yield from _differing((one or {}).get(key), (two or {}).get(key), key, everything)


def _texts(a: Any, b: Any) -> tuple[str, str]:
    """Return two values as text, with as many digits as tell them apart."""
    for digits in DIGITS:
        texts = _text(a, digits), _text(b, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _text(value: Any, digits: int = DIGITS[0]) -> str:
    """Return a value as text: figures rounded, of a hash the beginning.

    >>> _text(0.01899177084950216), _text("8d5f2a1c" * 8), _text(1 << 20), _text(None)
    ('0.01899', 'hash 8d5f2a1c8d5f', '1048576', '-')
    """
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return NONE if value is None else HASH.sub(lambda found: f"hash {found[0][:12]}", str(value))


def _items(value: Any, path: str) -> dict[str, Any] | None:
    """Return the parts of a table, or of a list of tables, by their paths; None: it is a value."""
    if isinstance(value, Mapping) and value:
        return {f"{path}.{key}" if path else str(key): below for key, below in value.items()}
    if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        names = [item.get("key", i) if isinstance(item, Mapping) else i for i, item in enumerate(value)]
        return {f"{path}[{name}]": item for name, item in zip(names, value, strict=True)}
    return None


def _leaves(items: Mapping[str, Any]) -> int:
    below = ((value, _items(value, path)) for path, value in items.items())
    return sum(1 if inner is None else _leaves(inner) for _, inner in below)


def _whole(value: Any, items: Mapping[str, Any] | None) -> str:
    """Return a table in short: its name, if it has one, and its number of values."""
    if items is None:
        return _text(value)
    name = value.get("name", "") if isinstance(value, Mapping) else ""
    return f"{name}{', ' * bool(name)}{_leaves(items)} values"


def _shortened(rows: list[Row]) -> Iterator[Row]:
    """Yield the first rows of every table, and how many more there are."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(_table(row[0]), []).append(row)
    for table, of in tables.items():
        more = len(of) - MOST
        yield from of if more <= 1 else of[:MOST]
        if more > 1:
            yield f"{table}...", f"{more} more rows", "--all shows them"


def _table(path: str) -> str:
    parts = path.split(".")
    depth = 3 if parts[:2] == ["machine", "banks"] else 2
    return ".".join(parts[:depth] if len(parts) > depth else parts[: depth - 1])
