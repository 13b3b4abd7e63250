"""The array table: fits, ranges, leakage against temperature, energies of arithmetic."""

from __future__ import annotations

import csv
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.config.locate import shipped
from accelsim.device import compute
from accelsim.device.fit import monotone_fit
from accelsim.device.leakage import factor, max_kelvin
from accelsim.device.macros import NotInTable, macro_leakage_mw, series
from accelsim.words import FORMATS

KIB = 1024
SERIES = [
    (cell, 22, flavour, word)
    for cell in ("sram", "stt34", "stt54")
    for flavour in ("HP", "LOP")
    for word in (64, 128, 256, 512)
] + [(cell, 45, "LOP", 256) for cell in ("sram", "stt34", "stt54")]
QUANTITIES = ("read_ns", "read_cycle_ns", "write_ns", "read_pj", "write_pj", "leak_350_mw", "area_mm2")


def rows() -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for path in sorted((shipped("arch") / "macros").glob("*_min64.csv")):
        found += csv.DictReader(x for x in path.read_text().splitlines() if not x.startswith("#"))
    return [row for row in found if row["roadmap"] != "LSTP"]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_a_fit_is_monotone_and_as_near_as_it_says(ys: list[float]) -> None:
    """Non-decreasing everywhere; within its residual of the data; exact for data that are monotone."""
    xs = [8.0 * 2**i for i in range(len(ys))]
    fit = monotone_fit(xs, ys)
    between = [fit.at(xs[0] * (xs[-1] / xs[0]) ** (i / 50)) for i in range(50)] if len(ys) > 1 else []
    assert all(b >= a * (1 - 1e-12) for a, b in pairwise(between))
    assert max(abs(fit.at(x) / y - 1) for x, y in zip(xs, ys, strict=True)) == fit.residual
    assert monotone_fit(xs, sorted(ys)).ys == tuple(sorted(ys))
    assert monotone_fit(xs, sorted(ys)).residual == 0


def test_the_fit_is_that_of_least_squares() -> None:
    """Violators are pooled to their geometric mean; between points it is straight in log-log."""
    fit = monotone_fit([1, 2, 4, 8], [1.0, 8.0, 2.0, 16.0])
    assert fit.ys == pytest.approx((1, 4, 4, 16))
    assert fit.residual == pytest.approx(1.0)
    assert fit.at(4 * math.sqrt(2)) == pytest.approx(8)


@pytest.mark.parametrize("key", SERIES, ids=str)
def test_macros_rise_with_capacity(key: tuple[str, int, str, int]) -> None:
    """Area, leakage, times and energies never fall from one capacity to a larger one."""
    macros = [series(*key).macro(int(8 * KIB * 2 ** (i / 4))) for i in range(41)]
    for quantity in QUANTITIES:
        values = [getattr(m, quantity) for m in macros]
        assert all(b >= a * (1 - 1e-12) for a, b in pairwise(values)), quantity


def test_at_a_capacity_of_the_table_the_fit_is_within_its_residual() -> None:
    """And exact for area, leakage and write energy, which are monotone in every series."""
    columns = {"read_ns": "read_ns", "write_ns": "write_ns", "read_pj": "read_pJ", "write_pj": "write_pJ"}
    for row in rows():
        key = (row["cell"], int(row["node_nm"]), row["roadmap"], int(row["word_bits"]))
        macro = series(*key).macro(int(row["capacity_KiB"]) * KIB)
        for name, column in columns.items():
            off = abs(getattr(macro, name) / float(row[column]) - 1)
            assert off <= macro.residuals[column] + 1e-12
        assert macro.area_mm2 == float(row["area_mm2"])
        assert macro.leak_350_mw == float(row["leak_mW"])
        assert macro.write_pj == float(row["write_pJ"])


def test_known_macros() -> None:
    """22 nm LOP, 256 bit, 64 KiB, as in the table; the SRAM's read time is pooled over its dip."""
    stt = series("stt34", 22, "LOP", 256).macro(64 * KIB)
    assert (stt.write_pj, stt.area_mm2, stt.leak_350_mw) == (67.9144, 0.017255, 0.0991372)
    assert stt.write_ns == pytest.approx(math.sqrt(5.40237 * 5.39334))
    assert stt.read_cycle_ns == pytest.approx(32 / math.sqrt(15.9593 * 15.9495), rel=1e-3)
    sram = series("sram", 22, "LOP", 256).macro(64 * KIB)
    pooled = [0.773049, 0.774189, 1.09747, 0.52516, 0.5434, 0.595241, 0.668205]
    assert sram.read_ns == pytest.approx(math.prod(pooled) ** (1 / 7))
    assert sram.residuals["read_ns"] == pytest.approx(1 - sram.read_ns / 1.09747)


@pytest.mark.parametrize(
    ("key", "at", "message"),
    [
        (("sram", 28, "LOP", 256), "node", "the array table has no 28 nm, only 22 nm, 45 nm"),
        (("sram", 45, "HP", 256), "flavour", "the array table has no HP at 45 nm, only LOP"),
        (("stt34", 45, "LOP", 128), "word", "the array table has no 128 bit at 45 nm LOP, only 256 bit"),
        (
            ("sram", 22, "LOP", 96),
            "word",
            "the array table has no 96 bit at 22 nm LOP, only 64 bit, 128 bit, 256 bit, 512 bit",
        ),
        (("rram", 22, "LOP", 256), "macro", 'the array table has no cell "rram", only sram, stt34, stt54'),
    ],
)
def test_only_what_the_table_has(key: tuple[Any, ...], at: str, message: str) -> None:
    """Node, flavour and word are never interpolated."""
    with pytest.raises(NotInTable) as fault:
        series(*key)
    assert (fault.value.key, str(fault.value)) == (at, message)


@pytest.mark.parametrize("capacity", [8 * KIB - 1, 8192 * KIB + 1, 16384 * KIB])
def test_capacity_is_never_extrapolated(capacity: int) -> None:
    """One byte outside the range is refused, the ends are not."""
    table = series("sram", 22, "LOP", 256)
    assert table.capacities == (8 * KIB, 8192 * KIB)
    for end in table.capacities:
        table.macro(end)
    with pytest.raises(NotInTable, match=r"is outside the array table, which has 8 KiB to 8 MiB; change"):
        table.macro(capacity)


def test_leakage_follows_the_law() -> None:
    """leak(T) = S + (leak(350) - S) r(T), S = 150 nW per sense amplifier."""
    stt = series("stt34", 22, "LOP", 256).macro(64 * KIB)
    assert stt.sense_leak_mw == 0.0384
    assert macro_leakage_mw(stt, 22, "LOP", 350.0) == pytest.approx(stt.leak_350_mw)
    assert macro_leakage_mw(stt, 22, "LOP", 400.0) == pytest.approx(0.0384 + (0.0991372 - 0.0384) * 1.995)
    sram = series("sram", 22, "LOP", 256).macro(64 * KIB)
    assert sram.sense_leak_mw == 0
    assert macro_leakage_mw(sram, 22, "LOP", 300.0) == pytest.approx(1.49495 * 0.481)


@pytest.mark.parametrize(("node", "flavour"), [(22, "HP"), (22, "LOP"), (45, "LOP")])
def test_leakage_rises_with_temperature(node: int, flavour: str) -> None:
    """The factor is 1 at 350 K, rises, and has no jump between the table's temperatures."""
    kelvins = [300 + i / 4 for i in range(int(max_kelvin(flavour) - 300) * 4 + 1)]
    values = [factor(node, flavour, k) for k in kelvins]
    steps = [b / a for a, b in pairwise(values)]
    assert factor(node, flavour, 350) == 1
    assert all(1 < step < 1.02 for step in steps)


@pytest.mark.parametrize(
    ("flavour", "kelvin", "message"),
    [
        ("LOP", 299.9, "299.9 K is outside the array table's leakage law, 300 K to 400 K"),
        ("LOP", 400.1, "400.1 K is outside the array table's leakage law, 300 K to 400 K"),
        ("HP", 350.5, "350.5 K is above 350 K, where the leakage law of HP ends"),
    ],
)
def test_temperature_is_never_extrapolated(flavour: str, kelvin: float, message: str) -> None:
    """HP ends at 350 K, LOP at 400 K."""
    macro = series("sram", 22, flavour, 256).macro(64 * KIB)
    with pytest.raises(NotInTable) as fault:
        macro_leakage_mw(macro, 22, flavour, kelvin)
    assert (fault.value.key, str(fault.value)) == ("temperature", message)


def test_mac_energies_are_the_tables_at_their_nodes() -> None:
    """Multiply plus accumulating add, as derived in the sources."""
    old = {fmt: compute.mac_pj(fmt, 45) for fmt in FORMATS}
    new = {fmt: compute.mac_pj(fmt, 7) for fmt in FORMATS}
    assert (old["int8"], old["fp16"], old["fp32"]) == pytest.approx((0.3, 2.0, 4.6))
    assert (new["int8"], new["bf16"], new["fp32"]) == pytest.approx((0.1, 0.59, 1.69))


@pytest.mark.parametrize("fmt", FORMATS)
def test_mac_energy_between_the_nodes(fmt: Any) -> None:
    """Straight in log-log: the geometric middle of the nodes has the geometric mean of the energies."""
    values = [compute.mac_pj(fmt, node) for node in range(7, 46)]
    assert all(b > a for a, b in pairwise(values))
    share = math.log(22 / 7) / math.log(45 / 7)
    expected = values[0] * (values[-1] / values[0]) ** share
    assert compute.mac_pj(fmt, 22) == pytest.approx(expected)


def test_functions_cost_their_operations() -> None:
    """An add costs an add, exp four multiply-adds; a partial sum two accesses of an 8 KB SRAM."""
    assert compute.function_pj("add", 45) == pytest.approx(0.9)
    assert compute.function_pj("exp", 7) == pytest.approx(4 * 1.69)
    assert compute.accumulate_pj(4, 45) == pytest.approx(10.0)
