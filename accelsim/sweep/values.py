"""Values of parameters for people: what a range wrote in base units, in the unit that fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from accelsim.trace import human

_HERTZ: Final = ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"))
_QUANTITY: Final = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?) (\S+)")


def _hertz(hz: float) -> str:
    step, unit = next((s for s in _HERTZ if abs(hz) >= s[0]), (1.0, "Hz"))
    return f"{hz / step:.4g} {unit}"


_SHOWN: Final[dict[str, Callable[[float], str]]] = {
    "ps": human.time,
    "pJ": human.energy,
    "B": human.capacity,
    "Hz": _hertz,
}


def value_text(value: Any) -> str:
    """Return a figure or parameter for people: four digits, and of a quantity the unit that fits.

    >>> value_text(1234567), value_text(0.00012345), value_text("1 GHz"), value_text(None)
    ('1,234,567', '0.0001234', '1 GHz', '-')
    >>> value_text("50000 ps"), value_text("301669057 Hz"), value_text("0.8123456 pJ/bit")
    ('50 ns', '301.7 MHz', '0.8123 pJ/bit')
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, dict):  # bit fields
            return "; ".join(f"{name}: {value_text(inner)}" for name, inner in value.items())
        return ", ".join(map(str, value)) if isinstance(value, list) else _quantity_text(str(value))
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return f"{int(value):,}"
    return f"{value:.4g}"


def _quantity_text(text: str) -> str:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return text
    number, unit = float(found[1]), found[2]
    if unit in _SHOWN and number:
        return _SHOWN[unit](number)
    return f"{number:.4g} {unit}" if "." in found[1] else text
