"""Quantities: a number and a unit in a string, to a number in the base unit.

Base units: bytes, picoseconds, hertz, bytes per second, nanometres (whole numbers); picojoules, pJ/bit,
pJ/bit/mm, milliwatts, mm2, millimetres, kelvin, and of devices seconds, metres, tesla, A/m, amperes, ohms
(floats). kB MB GB are decimal, KiB MiB GiB binary. Parsing is exact; a time of the machine is rounded up to
whole picoseconds.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*(\S.*)")
_POWERS: Final = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
CYCLES: Final = ("cycle", "cycles")
MOST_CYCLES: Final = 10**9


class UnitError(ValueError):
    """A text that is not a quantity of the wanted dimension; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """A kind of quantity: its noun, an example, the size of every accepted unit in the base unit, its bounds.

    The bounds are far outside of what can be built: what lies beyond is a slip of the pen or of an exponent.
    """

    noun: str
    example: str
    base: str
    units: Mapping[str, Fraction]
    most: str
    least: str = ""  # else 0
    minimum: Fraction = Fraction(0)
    floor: str = "of at least 0"  # the minimum in words
    positive: bool = False

    def parse(self, text: object) -> Fraction:
        """Return ``text`` in the base unit, exactly.

        Raises:
            UnitError: A bare number, an unknown unit, no number at all, or out of bounds.
        """
        value, unit = self._value(text)
        if value is None:
            raise UnitError(self._expected(text, unit))
        if value < self.minimum or (self.positive and value == 0):
            limit = "of more than 0" if self.positive else self.floor
            raise UnitError(f"expected {self.noun} {limit}, got {_quoted(text)}")
        if value > self._bound(self.most):
            raise UnitError(f"expected {self.noun} of at most {self.most}, got {_quoted(text)}")
        if self.least and value < self._bound(self.least):
            raise UnitError(f"expected {self.noun} of at least {self.least}, got {_quoted(text)}")
        return value

    def _bound(self, text: str) -> Fraction:
        value, _ = self._value(text)
        assert value is not None
        return value

    def _value(self, text: object) -> tuple[Fraction | None, str | None]:
        """Return ``text`` in the base unit, None if it is none of these quantities, and its unit."""
        found = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
        if not found:
            return None, None
        size = self.units.get(found[2])
        return Fraction(found[1]) * size if size is not None else None, found[2]

    @property
    def pattern(self) -> str:
        """The regular expression of JSON Schema for a text of this dimension."""
        names = "|".join(re.escape(unit).replace("/", r"\/") for unit in self.units)
        return rf"^\s*[+-]?\d+(\.\d+)?([eE][+-]?\d{{1,2}})?\s*({names})\s*$"

    def _expected(self, got: object, unit: str | None) -> str:
        near = [u for u in self.units if unit and u.lower() == unit.lower()]
        near = near or (difflib.get_close_matches(unit, self.units, n=1, cutoff=0.5) if unit else [])
        hint = f", did you mean {near[0]}?" if near else ""
        return (
            f'expected {self.noun} such as "{self.example}" (units: {", ".join(self.units)}), '
            f"got {_quoted(got)}{hint}"
        )


def _quoted(got: object) -> str:
    if isinstance(got, str):
        return f'"{got}"'
    if isinstance(got, bool):
        return str(got).lower()
    return "a table" if isinstance(got, dict) else "a list" if isinstance(got, list) else str(got)


def _si(unit: str, prefixes: str, base: int = 0) -> dict[str, Fraction]:
    """Return ``unit`` with each of the ``prefixes`` ("-" is none), in units of 10**base."""
    powers = {"" if p == "-" else p: _POWERS["" if p == "-" else p] for p in prefixes}
    return {prefix + unit: Fraction(10) ** (power - base) for prefix, power in powers.items()}


def _sizes(suffix: str = "") -> dict[str, Fraction]:
    decimal = _si("B", "-kMG") | {k: v / 8 for k, v in _si("bit", "-kMG").items()}
    binary = {p + "B": Fraction(n) for p, n in _BINARY.items()}
    bits = {p + "b": Fraction(n, 8) for p, n in _BINARY.items()}
    both = {"B": decimal["B"]} | binary | decimal | bits
    return {unit + suffix: size for unit, size in both.items()}


def _energies(suffix: str) -> dict[str, Fraction]:
    return {unit + suffix: size for unit, size in _si("J", "pfnum", -12).items()}


SIZE: Final = Dimension("a size", "256 KiB", "B", _sizes(), most="1000000 GiB")
DURATION: Final = Dimension(
    "a time", "5.3 ns", "ps", _si("s", "pnum-", -12) | {name: Fraction(1) for name in CYCLES}, most="1000 s"
)
FREQUENCY: Final = Dimension("a frequency", "1 GHz", "Hz", _si("Hz", "-kMGT"), most="10 THz", positive=True)
BANDWIDTH: Final = Dimension(
    "a bandwidth",
    "25.6 GB/s",
    "B/s",
    _sizes("/s") | _si("B/s", "T"),
    most="1000000 GB/s",
    positive=True,
)
ENERGY: Final = Dimension("an energy", "0.8 pJ", "pJ", _energies(""), most="1000 mJ")
ENERGY_PER_BIT: Final = Dimension(
    "an energy per bit", "0.8 pJ/bit", "pJ/bit", _energies("/bit"), most="1000 mJ/bit"
)
ENERGY_PER_BIT_MM: Final = Dimension(
    "an energy per bit and millimetre",
    "0.08 pJ/bit/mm",
    "pJ/bit/mm",
    _energies("/bit/mm"),
    most="1000 mJ/bit/mm",
)
POWER: Final = Dimension("a power", "12 mW", "mW", _si("W", "mnup-", -3), most="1000000 W")
AREA: Final = Dimension(
    "an area", "0.5 mm2", "mm2", {"mm2": Fraction(1), "um2": Fraction(1, 10**6)}, most="1000000 mm2"
)
LENGTH: Final = Dimension(
    "a length", "2 mm", "mm", {"mm": Fraction(1), "um": Fraction(1, 1000)}, most="1000 mm"
)
NODE: Final = Dimension(
    "a technology node", "22 nm", "nm", {"nm": Fraction(1)}, most="10000 nm", positive=True
)
_DAY: Final = Fraction(86_400)
LIFETIME: Final = Dimension(
    "a time",
    "10 ms",
    "s",
    _si("s", "pnum-")
    | {"min": Fraction(60), "h": Fraction(3600), "d": _DAY}
    | dict.fromkeys(("y", "year", "years"), Fraction(1461, 4) * _DAY),
    most="1000000 years",
    least="0.001 ps",
    positive=True,
)
EXTENT: Final = Dimension(
    "a length", "50 nm", "m", _si("m", "nu"), most="1000 um", least="0.001 nm", positive=True
)
FIELD: Final = Dimension(
    "a magnetic field", "0.3 T", "T", _si("T", "m-"), most="1000 T", least="0.000001 T", positive=True
)
MAGNETISATION: Final = Dimension(
    "a magnetisation", "1200 kA/m", "A/m", _si("A/m", "-kM"), most="100000 kA/m", least="1 A/m", positive=True
)
CURRENT: Final = Dimension(
    "a current", "40 uA", "A", _si("A", "num-"), most="10 A", least="0.001 nA", positive=True
)
RESISTANCE: Final = Dimension(
    "a resistance", "6 kohm", "ohm", _si("ohm", "-kM"), most="1000 Mohm", least="0.001 ohm", positive=True
)
_ZERO_CELSIUS: Final = Fraction(27315, 100)
_ABOVE_ZERO: Final = "above absolute zero"
TEMPERATURE: Final = Dimension(
    "a temperature",
    "350 K",
    "K",
    dict.fromkeys(("K", "C", "degC"), Fraction(1)),
    most="10000 K",
    minimum=-_ZERO_CELSIUS,
    floor=_ABOVE_ZERO,
)


@dataclass(frozen=True, slots=True)
class Duration:
    """A time, or a number of cycles of the machine's clock."""

    amount: Fraction  # picoseconds or cycles
    in_cycles: bool = False

    def ps(self, clock_hz: int) -> int:
        """Return whole picoseconds, rounded up.

        >>> Duration(Fraction(3), in_cycles=True).ps(3_800_000_000)
        790
        """
        return math.ceil(self.amount * 10**12 / clock_hz if self.in_cycles else self.amount)


def duration(text: object) -> Duration:
    """Return ``"5.3 ns"`` or ``"3 cycles"``."""
    amount = DURATION.parse(text)
    in_cycles = str(text).split()[-1].lstrip("0123456789.eE+-") in CYCLES
    if in_cycles and amount > MOST_CYCLES:
        raise UnitError(f"expected a time of at most {MOST_CYCLES} cycles, got {_quoted(text)}")
    return Duration(amount, in_cycles=in_cycles)


def whole(text: object, dimension: Dimension) -> int:
    """Return ``text`` in whole base units.

    Raises:
        UnitError: Not a quantity of ``dimension``, or not a whole number of base units.

    >>> whole("256 KiB", SIZE), whole("256 bit", SIZE), whole("3.8 GHz", FREQUENCY)
    (262144, 32, 3800000000)
    """
    value = dimension.parse(text)
    if value.denominator != 1:
        raise UnitError(f"expected {dimension.noun} of whole {dimension.base}, got {_quoted(text)}")
    return int(value)


def real(text: object, dimension: Dimension) -> float:
    """Return ``text`` in the base unit.

    >>> real("0.8 nJ", ENERGY), real("250 uW", POWER)
    (800.0, 0.25)
    """
    return float(dimension.parse(text))


def kelvin(text: object) -> float:
    """Return ``"350 K"`` or ``"77 C"`` in kelvin.

    Raises:
        UnitError: Not a temperature, or not above absolute zero.

    >>> kelvin("350 K"), kelvin("77 C")
    (350.0, 350.15)
    """
    value = TEMPERATURE.parse(text)
    if str(text).strip().endswith("C"):
        value += _ZERO_CELSIUS
    if value <= 0:
        raise UnitError(f"expected a temperature {_ABOVE_ZERO}, got {_quoted(text)}")
    return float(value)


def duration_text(ps: int) -> str:
    """Return picoseconds in the largest unit in which they are whole.

    >>> duration_text(100_000_000), duration_text(1_500)
    ('100 us', '1500 ps')
    """
    for unit, size in (("s", 10**12), ("ms", 10**9), ("us", 10**6), ("ns", 10**3)):
        if ps and ps % size == 0:
            return f"{ps // size} {unit}"
    return f"{ps} ps"


def size_text(nbytes: int) -> str:
    """Return ``nbytes`` in the largest binary unit that keeps it whole.

    >>> size_text(2 * 2**20), size_text(1536), size_text(33)
    ('2 MiB', '1536 B', '33 B')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes and nbytes % size == 0:
            return f"{nbytes // size} {unit}"
    return f"{nbytes} B"
