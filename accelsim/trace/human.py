"""Numbers for people: a value in base units becomes a short text with the unit that fits."""

from __future__ import annotations

from typing import Final

_TIME: Final = ((10**12, "s"), (10**9, "ms"), (10**6, "us"), (10**3, "ns"), (1, "ps"))
_ENERGY: Final = ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ"))
_BYTES: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))
_CAPACITY: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_COUNT: Final = ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**3, " k"), (1, ""))


def digits(value: float) -> str:
    """Return four significant digits without an exponent; whole numbers as they are.

    >>> digits(2.03), digits(10.0), digits(12345.6)
    ('2.030', '10', '12,346')
    """
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{0 if value == int(value) else 1 if size >= 100 else 2 if size >= 10 else 3}f}"


def _scaled(value: float, scale: tuple[tuple[float, str], ...], gap: str = " ") -> str:
    if value == 0:
        return "0"
    for step, unit in scale:
        # 999.96 of a unit would print as 1,000: take the next larger one
        if abs(value) >= step * 0.99995:
            return f"{digits(value / step)}{gap}{unit}"
    step, unit = scale[-1]
    return f"{value / step:.3g}{gap}{unit}"


def time(ps: float) -> str:
    """Return picoseconds as text.

    >>> time(1_500), time(2_345_678_901), time(0)
    ('1.500 ns', '2.346 ms', '0')
    """
    return _scaled(ps, _TIME)


def seconds(value: float) -> str:
    """Return seconds as text.

    >>> seconds(1e-9), seconds(3e-3)
    ('1 ns', '3 ms')
    """
    return time(float(f"{value * 1e12:.4g}"))  # without the noise of the conversion


def energy(pj: float) -> str:
    """Return picojoules as text.

    >>> energy(0.25), energy(12_345_678.0)
    ('0.25 pJ', '12.35 uJ')
    """
    return _scaled(pj, _ENERGY)


def traffic(nbytes: float) -> str:
    """Return bytes moved as text, in decimal units as bandwidths are.

    >>> traffic(44_700_000)
    '44.70 MB'
    """
    return _scaled(nbytes, _BYTES)


def capacity(nbytes: float) -> str:
    """Return bytes held as text, in binary units as memories are.

    >>> capacity(8 << 20)
    '8 MiB'
    """
    return _scaled(nbytes, _CAPACITY)


def count(n: float) -> str:
    """Return a count as text.

    >>> count(11_173_962), count(12)
    ('11.17 M', '12')
    """
    return _scaled(n, _COUNT, gap="")


def percent(part: float, whole: float) -> str:
    """Return ``part`` of ``whole`` in percent.

    >>> percent(1, 3), percent(0, 0)
    ('33.3 %', '-')
    """
    return share(part / whole, 1) if whole else "-"


def share(of_one: float, decimals: int = 2) -> str:
    """Return a share, such as an accuracy, in percent.

    >>> share(0.8806)
    '88.06 %'
    """
    return f"{100 * of_one:.{decimals}f} %"


def counted(n: int, noun: str) -> str:
    """Return how many of something there are.

    >>> counted(1, "epoch"), counted(20, "epoch")
    ('1 epoch', '20 epochs')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
