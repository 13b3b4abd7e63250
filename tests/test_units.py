"""Quantities: exact, rounded one way, and refused with a message that says what is accepted."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim import units
from accelsim.units import Dimension, UnitError

DIMENSIONS = [value for value in vars(units).values() if isinstance(value, Dimension)]


@pytest.mark.parametrize(
    ("text", "dimension", "base"),
    [
        ("256 KiB", units.SIZE, 256 * 1024),
        ("1 MB", units.SIZE, 10**6),
        ("256 bit", units.SIZE, 32),
        ("8 Kib", units.SIZE, 1024),
        ("1.5KiB", units.SIZE, 1536),
        ("3.8 GHz", units.FREQUENCY, 3_800_000_000),
        ("25.6 GB/s", units.BANDWIDTH, 25_600_000_000),
        ("8 Gbit/s", units.BANDWIDTH, 10**9),
        ("22 nm", units.NODE, 22),
    ],
)
def test_whole_quantities(text: str, dimension: Dimension, base: int) -> None:
    """Sizes, rates, frequencies and nodes are whole numbers of the base unit."""
    assert units.whole(text, dimension) == base


@pytest.mark.parametrize(
    ("text", "dimension", "base"),
    [
        ("0.8 pJ/bit", units.ENERGY_PER_BIT, 0.8),
        ("0.08 pJ/bit/mm", units.ENERGY_PER_BIT_MM, 0.08),
        ("82 pJ", units.ENERGY, 82.0),
        ("1.5 nJ", units.ENERGY, 1500.0),
        ("12 W", units.POWER, 12_000.0),
        ("500 um2", units.AREA, 0.0005),
    ],
)
def test_real_quantities(text: str, dimension: Dimension, base: float) -> None:
    """Energies, powers and areas are floats of the base unit."""
    assert units.real(text, dimension) == base


@given(st.decimals(0, 10**6, places=5), st.integers(1, 5_000_000_000))
def test_times_round_up_to_whole_picoseconds(amount: Decimal, clock_hz: int) -> None:
    """A time is the least whole number of picoseconds that is not shorter than what was written."""
    for text, exact in (
        (f"{amount} ns", Fraction(amount) * 1000),
        (f"{amount} cycles", Fraction(amount) * 10**12 / clock_hz),
    ):
        ps = units.duration(text).ps(clock_hz)
        assert ps - 1 < exact <= ps


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.noun)
def test_every_example_and_unit_parses_and_matches_the_schema(dimension: Dimension) -> None:
    """The example of a message is accepted, and JSON Schema accepts what the parser does."""
    import re

    for text in [dimension.example, *(f"2.5 {unit}" for unit in dimension.units)]:
        assert dimension.parse(text) > 0
        assert re.search(dimension.pattern, text)
    for text in ["1", "1 furlong", "x"]:
        assert not re.search(dimension.pattern, text)
        with pytest.raises(UnitError):
            dimension.parse(text)


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        (
            3,
            units.DURATION,
            'expected a time such as "5.3 ns" (units: ps, ns, us, ms, s, cycle, cycles), got 3',
        ),
        (
            "fast",
            units.FREQUENCY,
            'expected a frequency such as "1 GHz" (units: Hz, kHz, MHz, GHz, THz), got "fast"',
        ),
        (
            "256 KB",
            units.SIZE,
            'expected a size such as "256 KiB" (units: B, KiB, MiB, GiB, kB, MB, GB, bit, kbit, Mbit, '
            'Gbit, Kib, Mib, Gib), got "256 KB", did you mean kB?',
        ),
        (
            "0 GHz",
            units.FREQUENCY,
            'expected a frequency of more than 0, got "0 GHz"',
        ),
        ("-1 pJ", units.ENERGY, 'expected an energy of at least 0, got "-1 pJ"'),
        (True, units.POWER, 'expected a power such as "12 mW" (units: mW, nW, uW, pW, W), got true'),
    ],
)
def test_messages_of_faults(text: object, dimension: Dimension, message: str) -> None:
    """A fault lists the accepted units with an example, and what was meant."""
    with pytest.raises(UnitError) as fault:
        dimension.parse(text)
    assert str(fault.value) == message


def test_a_part_of_a_byte_is_refused() -> None:
    """Sizes come to whole bytes."""
    with pytest.raises(UnitError) as fault:
        units.whole("12 bit", units.SIZE)
    assert str(fault.value) == 'expected a size of whole B, got "12 bit"'


@pytest.mark.parametrize(("text", "kelvin"), [("350 K", 350.0), ("77 C", 350.15), ("-40 degC", 233.15)])
def test_temperatures(text: str, kelvin: float) -> None:
    """Celsius is converted."""
    assert units.kelvin(text) == kelvin


def test_nothing_is_colder_than_absolute_zero() -> None:
    """-300 C and 0 K are refused."""
    with pytest.raises(UnitError, match='temperature above absolute zero, got "0 K"'):
        units.kelvin("0 K")
    with pytest.raises(UnitError):
        units.kelvin("-300 C")


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.noun)
def test_what_no_chip_has_is_refused_with_the_bound(dimension: Dimension) -> None:
    """A slip of an exponent is a fault where it stands, not an overflow later; the bounds themselves pass."""
    unit = max(dimension.units, key=lambda u: dimension.units[u])
    assert units.real(dimension.most, dimension) > 0
    with pytest.raises(UnitError, match=f"of at most {re.escape(dimension.most)}, got"):
        dimension.parse(f"1e30 {unit}")
    if dimension.least:
        assert units.real(dimension.least, dimension) > 0
        with pytest.raises(UnitError, match=f"of at least {re.escape(dimension.least)}, got"):
            dimension.parse(f"1e-30 {unit}")


def test_cycles_have_a_bound_of_their_own() -> None:
    """They are longer on a slower clock."""
    with pytest.raises(UnitError, match="at most 1000000000 cycles"):
        units.duration("1e10 cycles")
