"""Where each key of a merged description comes from: the file that holds it, or a ``--set``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from accelsim.config.positions import KeyPath, Position
from accelsim.errors import ConfigError

MOST: Final = 3  # faults of one key that are told: a glob may fit a thousand names


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault; sorted by the order in which sources were read, then by position."""

    source: int
    line: int
    column: int
    prefix: str = field(compare=False)  # "file:line:column: key", or the option
    what: str = field(compare=False)

    @property
    def text(self) -> str:
        """The line that the user reads."""
        return f"{self.prefix}: {self.what}"


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
        return Fault(0, 1, 1, f"{self.label}:1:1" + (f": {name}" if name else ""), what)


def _fault(place: Place, name: str, what: str, at_key: bool) -> Fault:
    if place.at is None:
        return Fault(place.source, 0, 0, _option(place.label, name), what)
    line, column = place.at[:2] if at_key else place.at[2:]
    return Fault(place.source, line, column, f"{place.label}:{line}:{column}: {name}", what)


def _option(label: str, name: str) -> str:
    """Return the option that gave a key, and what of the key it does not name already.

    >>> _option("--set bank.sram", "bank.sram.word"), _option("--set bank.sram.word", "bank.sram")
    ('--set bank.sram.word', '--set bank.sram.word: bank.sram')
    """
    option, _, typed = label.partition(" ")
    own = typed or option.removeprefix("--")
    if name == own or name.startswith((f"{own}.", f"{own}[")):
        return label + name.removeprefix(own)
    return f"{label}: {name}"


def error(faults: Iterable[Fault]) -> ConfigError:
    """Return the exception that carries ``faults``, sorted, each once; of one key a few and their number."""
    told = {fault.text: fault for fault in sorted(faults)}
    of_key = Counter(fault.prefix for fault in told.values())
    lines: list[str] = []
    seen: Counter[str] = Counter()
    for text, fault in told.items():
        seen[fault.prefix] += 1
        more = of_key[fault.prefix] - MOST
        if seen[fault.prefix] <= MOST or more == 1:
            lines.append(text)
        elif seen[fault.prefix] == MOST + 1:
            lines.append(f"{fault.prefix}: ... and {more} more of this kind")
    return ConfigError(lines)


def dotted(keys: KeyPath) -> str:
    """Return ``keys`` as one reads it: ``bank.sram.word``, ``extends[1]``.

    >>> dotted(("bank", "sram", "word")), dotted(("placement", "weight", 1))
    ('bank.sram.word', 'placement.weight[1]')
    """
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
