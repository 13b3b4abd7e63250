"""Numbers of devices for people: SI prefixes, and times that may be years."""

from __future__ import annotations

from typing import Final

from accelsim.trace import human

_MANY: Final = 1e6  # years, from which their order is enough
_SI: Final = (
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
    (1e-9, "n"),
    (1e-12, "p"),
    (1e-15, "f"),
)
_YEAR_S: Final = 31_557_600.0


def si(value: float, unit: str) -> str:
    """Return a value with a prefix.

    >>> si(2.05e-5, "A"), si(0.0, "s")
    ('20.50 uA', '0 s')
    """
    for size, prefix in _SI:
        if abs(value) >= size * 0.99995:
            return f"{_digits(value / size)} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _digits(value: float) -> str:
    return human.digits(float(f"{value:.4g}"))  # 100.00000000000001 is a whole number


def lifetime(seconds: float) -> str:
    """Return a time that may be years.

    >>> lifetime(315576000.0), lifetime(0.0511)
    ('10 years', '51.10 ms')
    """
    if seconds >= _YEAR_S:
        years = seconds / _YEAR_S
        return f"{_digits(years) if years < _MANY else f'{years:.4g}'} years"
    return f"{_digits(seconds / 3600)} h" if seconds >= 3600 else si(seconds, "s")
