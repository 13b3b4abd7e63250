"""What data look like, as measured in training: ``activity.parquet`` on a machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.resolve.machine import Content, Machine
from accelsim.trace.schema import ACTIVITY
from accelsim.trace.tables import read_table
from accelsim.words import ROLES

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Activity:
    """Contents by role, and by ``role layer``; the layers are those that produced the data."""

    name: str
    content: Mapping[str, Content]
    layers: tuple[str, ...]

    def check(self, layers: Sequence[str]) -> None:
        """Refuse an activity of a model with other layers.

        Raises:
            InputError: naming what differs.
        """
        unknown = [layer for layer in self.layers if layer not in layers]
        if unknown:
            more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
            raise InputError(
                f"{self.name}: measured on another model: it has layers {', '.join(unknown[:4])}{more}, "
                f"which this one has not{did_you_mean(unknown[0], layers)}"
            )


def load_activity(path: Path) -> Activity:
    """Read what ``accelsim train --measure`` or ``ErrorInjector(measure=...)`` has written.

    Raises:
        InputError: No such file, no such table, or shares beyond 0 to 1.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; accelsim train --measure N writes activity.parquet")
    table = read_table(path)
    missing = [c for c in ACTIVITY if c not in table.column_names]
    if missing:
        raise InputError(f"{path}: not a table of activity, lacks {', '.join(missing)}; measure it again")
    rows = table.to_pylist()
    for number, row in enumerate(rows, 1):
        _check(row, f"{path}: row {number}")
    by_role, by_layer = defaultdict(list), defaultdict(list)
    for row in rows:
        by_role[row["role"]].append(row)
        by_layer[f"{row['role']} {row['layer']}"].append(row)
    content = {key: _mean(some) for key, some in sorted({**by_role, **by_layer}.items())}
    layers = sorted({row["layer"] for row in rows} - {"", "loss"})
    return Activity(str(path), content, tuple(layers))


def with_activity(machine: Machine, activity: Activity) -> Machine:
    """Return the machine with the shares that ``activity`` knows in place of those of its description."""
    toggle = {role: activity.content[role].toggles for role in ROLES if role in activity.content}
    content = {**machine.content, **activity.content}
    return replace(machine, content=content, toggle={**machine.toggle, **toggle})


def _check(row: Row, where: str) -> None:
    if row["role"] not in ROLES:
        raise InputError(f'{where}: unknown role "{row["role"]}"{did_you_mean(row["role"], ROLES)}')
    for column in ("zeros", "ones", "toggles", "rises"):
        if not 0 <= row[column] <= 1:
            raise InputError(f"{where}: {column}: expected a share from 0 to 1, got {row[column]!r}")


def _mean(rows: Iterable[Row]) -> Content:
    """Return the mean of some rows, weighted by their elements; rises by the bits that change."""
    some = list(rows)
    elements = sum(r["elements"] for r in some) or 1
    zeros = sum(r["zeros"] * r["elements"] for r in some) / elements
    toggles = sum(r["toggles"] * r["elements"] for r in some) / elements
    changed = sum(r["toggles"] * r["elements"] for r in some)
    rises = sum(r["rises"] * r["toggles"] * r["elements"] for r in some) / changed if changed else 0.5
    return Content(zeros=zeros, toggles=toggles, rises=rises)
