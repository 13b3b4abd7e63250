"""Where each key of a merged description comes from: the file that holds it, or a ``--set``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from accelsim.config.positions import KeyPath, Position
from accelsim.errors import ConfigError


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault; sorted by the order in which sources were read, then by position."""

    source: int
    line: int
    column: int
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands. ``at`` is None for a key given with ``--set``."""

    source: int
    label: str  # the file as the user sees it, or "--set bank.sram.word"
    at: Position | None


class Origins:
    """The place of every key of one loaded description."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.places: dict[KeyPath, Place] = {}

    def source_label(self, keys: KeyPath) -> str | None:
        """Return the file, or ``--set key``, that gives ``keys``; None where it was left to its default."""
        place = self.places.get(keys)
        return place.label if place else None

    def is_set(self, keys: KeyPath) -> bool:
        """Return whether ``keys`` was given on the command line."""
        place = self.places.get(keys)
        return place is not None and place.at is None

    def fault(self, keys: KeyPath, what: str, *, at_key: bool = False) -> Fault:
        """Return the fault ``what`` of ``keys``, placed at its value, its key or the nearest table above."""
        name = dotted(keys)
        for length in range(len(keys), 0, -1):
            place = self.places.get(keys[:length])
            if place is not None:
                return _fault(place, name, what, at_key or length < len(keys))
        return Fault(0, 1, 1, ": ".join(part for part in (f"{self.label}:1:1", name, what) if part))


def _fault(place: Place, name: str, what: str, at_key: bool) -> Fault:
    if place.at is None:
        prefix = place.label if place.label in (f"--set {name}", f"--{name}") else f"{place.label}: {name}"
        return Fault(place.source, 0, 0, f"{prefix}: {what}")
    line, column = place.at[:2] if at_key else place.at[2:]
    return Fault(place.source, line, column, f"{place.label}:{line}:{column}: {name}: {what}")


def error(faults: Iterable[Fault]) -> ConfigError:
    """Return the exception that carries ``faults``, sorted, each once."""
    return ConfigError(list(dict.fromkeys(f.text for f in sorted(faults))))


def dotted(keys: KeyPath) -> str:
    """Return ``keys`` as one reads it: ``bank.sram.word``, ``extends[1]``.

    >>> dotted(("bank", "sram", "word")), dotted(("placement", "weight", 1))
    ('bank.sram.word', 'placement.weight[1]')
    """
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
