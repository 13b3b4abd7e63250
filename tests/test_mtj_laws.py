"""Laws of the MTJ: golden values, monotony, bounds, borders, and what is said outside their ranges."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.device.mtj import (
    OutOfRange,
    attempt_time,
    critical_current,
    delta_nodes,
    intrinsic_time,
    read_disturb_probability,
    retention_flip_probability,
    retention_flip_probability_sum,
    retention_time,
    thermal_stability,
    thermal_stability_at,
    thermal_stability_from_geometry,
    write_current,
    write_energy,
    write_error_rate,
    write_pulse,
)
from accelsim.device.mtj.fokker_planck import solve_pulses
from accelsim.errors import InputError
from tests.physics_page import MARK, tables

GOLDEN = Path(__file__).parent / "golden" / "mtj"

deltas = st.floats(8, 80)
overdrives = st.floats(1.05, 8)
times = st.floats(0, 1e9)
pulses = st.floats(0, 1e-6)
spreads = st.sampled_from([0.0, 0.05, 0.077, 0.1, 0.2])
overdrive_spreads = st.sampled_from([0.0, 0.05, 0.2])


def golden(name: str) -> list[dict[str, str]]:
    lines = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize(
    ("column", "cv"), [("P_nominal", 0.0), ("P_cv5pct", 0.05), ("P_cv7.7pct", 0.077), ("P_cv10pct", 0.1)]
)
def test_flip_probabilities_are_the_golden_ones(column: str, cv: float) -> None:
    """To the digits of the file; its Deltas are rounded to two decimals, its retentions are not."""
    rows = golden("retention_failure.csv")
    wanted = np.array([float(r[column]) for r in rows])
    delta = thermal_stability([float(r["tau_s"]) for r in rows])
    got = retention_flip_probability([float(r["t_s"]) for r in rows], delta, cv=cv)

    assert len(rows) == 120
    assert got == pytest.approx(wanted, rel=1e-3, abs=1e-16)


def test_small_flip_probabilities_are_those_of_one_way_escape() -> None:
    """Below 1e-3 the flips back do not count yet: 1 - exp(-t / tau), a known table of two digits."""
    seconds = [100e-9, 1e-6, 100e-6, 1e-3, 10e-3, 1.0]
    table = {
        16.1: [1.0e-5, 1.0e-4],
        20.7: [1.0e-7, 1.0e-6, 1.0e-4],
        25.0: [1.4e-9, 1.4e-8, 1.4e-6, 1.4e-5, 1.4e-4],
        30.0: [9.4e-12, 9.4e-11, 9.4e-9, 9.4e-8, 9.4e-7, 9.4e-5],
        40.0: [4e-16, 4e-15, 4e-13, 4e-12, 4e-11, 4.2e-9],
    }
    for delta, wanted in table.items():
        got = retention_flip_probability(seconds[: len(wanted)], delta)
        assert got == pytest.approx(np.array(wanted), rel=0.07)


def average(time: float, delta: float, cv: float) -> float:
    """The flip probability over a spread by brute force: 20000 trapezoids."""
    x = np.linspace(max(0.0, delta * (1 - 16 * cv)), delta * (1 + 10 * cv), 20_001)
    weights = np.exp(-0.5 * ((x - delta) / (cv * delta)) ** 2)
    weights[[0, -1]] /= 2
    return float(weights @ (-0.5 * np.expm1(-2 * time * np.exp(-x) / 1e-9)) / weights.sum())


@pytest.mark.parametrize("cv", [0.01, 0.05, 0.077, 0.1, 0.2])
def test_the_quadrature_is_good_to_a_thousandth(cv: float) -> None:
    """Against brute force, from 1e-15 to saturation, where the weakest cells decide and where all do."""
    rng = np.random.default_rng(5)
    checked = 0
    while checked < 20:
        time, delta = 10 ** rng.uniform(-10, 10), rng.uniform(6, 100)
        wanted = average(time, delta, cv)
        if wanted >= 1e-15:
            assert float(retention_flip_probability(time, delta, cv=cv)) == pytest.approx(wanted, rel=1e-3)
            checked += 1


def test_rare_flips_see_a_smaller_delta() -> None:
    """The average is the flip probability at Delta - variance / 2."""
    effective = 60 - 6**2 / 2
    got = retention_flip_probability(1e-6, 60.0, cv=0.1)
    assert float(got) == pytest.approx(float(retention_flip_probability(1e-6, effective)), rel=1e-6)


def test_weights_add_up_and_nodes_have_a_barrier() -> None:
    """For any spread; without one there is a single node, and arrays of deltas get an axis more."""
    for cv in (0.0, 0.1, 0.5, 0.9):
        nodes, weights = delta_nodes([[20.0], [60.0]], cv)
        assert nodes.shape == (2, 1, len(weights))
        assert (nodes > 0).all()
        assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert delta_nodes(20.0, 0.0)[0].tolist() == [20.0]


@given(
    st.floats(0, 1e3), st.floats(0, 10), st.integers(0, 300), st.floats(5, 60), spreads
)  # dwells of whole refills
def test_a_sum_of_dwells_is_the_sum_of_its_terms(
    first: float, step: float, count: int, delta: float, cv: float
) -> None:
    """The closed form equals adding up, to rounding."""
    one_by_one = retention_flip_probability(first + step * np.arange(count), delta, cv=cv)
    got = retention_flip_probability_sum(first, step, count, delta, cv=cv)
    assert float(got) == pytest.approx(math.fsum(np.atleast_1d(one_by_one)), rel=1e-9, abs=1e-300)


def test_sums_of_very_many_and_very_small_terms() -> None:
    """A billion dwells: n^2 / 2 times the step where flips are rare, n / 2 where they are not; arrays."""
    n, step = 1e9, 1e-9
    rare = retention_flip_probability_sum(0.0, step, n, 60.0)
    assert float(rare) == pytest.approx(n * (n - 1) / 2 * step / float(retention_time(60.0)), rel=1e-9)
    assert float(retention_flip_probability_sum(1.0, 1.0, n, 8.0)) == pytest.approx(n / 2, rel=1e-9)
    assert retention_flip_probability_sum([0.0, 1.0], [[0.0], [1.0]], 3, 20.0, cv=0.1).shape == (2, 2)


@given(times, times, st.floats(1, 100), st.floats(1, 100), spreads)
def test_flips_rise_with_time_and_fall_with_delta(
    t1: float, t2: float, d1: float, d2: float, cv: float
) -> None:
    """And stay between 0 and 1/2."""
    (early, late), (weak, strong) = sorted((t1, t2)), sorted((d1, d2))
    (p_early, p_late), (p_weak, p_strong) = (
        retention_flip_probability([early, late], d1, cv=cv),
        retention_flip_probability(t1, [weak, strong], cv=cv),
    )
    assert 0 <= p_early <= p_late <= 0.5 + 1e-15
    assert p_strong <= p_weak


@given(deltas, st.floats(200, 450), st.floats(200, 450))
def test_hotter_is_weaker(delta: float, t1: float, t2: float) -> None:
    """Delta falls with temperature, and its product with it is kept."""
    cold, hot = sorted((t1, t2))
    assert thermal_stability_at(delta, hot) <= thermal_stability_at(delta, cold)
    assert float(thermal_stability_at(delta, t1)) * t1 == pytest.approx(delta * 300)


@given(st.floats(1, 600))
def test_retention_and_stability_are_inverse(delta: float) -> None:
    """Over the whole range, for any attempt time."""
    for tau0_s in (1e-9, 5e-10):
        back = thermal_stability(retention_time(delta, tau0_s=tau0_s), tau0_s=tau0_s)
        assert float(back) == pytest.approx(delta)


@given(pulses, pulses, overdrives, overdrives, deltas, deltas, overdrive_spreads)
def test_write_errors_are_monotone(
    t1: float, t2: float, i1: float, i2: float, d1: float, d2: float, sigma: float
) -> None:
    """They fall with pulse and overdrive and rise with delta and intrinsic time; probabilities."""
    rates: list[np.ndarray[Any, Any]] = [
        write_error_rate(sorted((t1, t2), reverse=True), i1, d1, overdrive_sigma=sigma),
        write_error_rate(t1, sorted((i1, i2), reverse=True), d1, overdrive_sigma=sigma),
        write_error_rate(t1, i1, sorted((d1, d2)), overdrive_sigma=sigma),
        write_error_rate(t1, i1, d1, overdrive_sigma=sigma, intrinsic_time_s=[1e-9, 2e-9]),
    ]
    for small, large in rates:
        assert 0 <= small <= large * (1 + 1e-12)
        assert large <= 1 + 1e-12


@given(pulses, pulses, st.floats(1.0001, 8), st.floats(1.0001, 8), st.floats(1, 100), st.floats(1, 100))
def test_the_closed_form_is_monotone(
    t1: float, t2: float, i1: float, i2: float, d1: float, d2: float
) -> None:
    """As the table."""
    closed: Callable[..., Any] = lambda t, i, d: write_error_rate(t, i, d, model="closed")  # noqa: E731
    for small, large in (
        closed(sorted((t1, t2), reverse=True), i1, d1),
        closed(t1, sorted((i1, i2), reverse=True), d1),
        closed(t1, i1, sorted((d1, d2))),
    ):
        assert 0 <= small <= large * (1 + 1e-9) <= 1 + 1e-8


@given(st.floats(-15, -0.01), overdrives, deltas, st.sampled_from(["table", "closed"]), st.floats(0.5, 5))
def test_pulse_and_error_rate_are_inverse(
    exponent: float, overdrive: float, delta: float, model: Any, intrinsic_ns: float
) -> None:
    """For both models; a longer intrinsic time means a longer pulse."""
    how: dict[str, Any] = {"model": model, "intrinsic_time_s": intrinsic_ns * 1e-9}
    wer = 10**exponent
    pulse = write_pulse(wer, overdrive, delta, **how)
    assert float(write_error_rate(pulse, overdrive, delta, **how)) == pytest.approx(wer, rel=1e-6)


@settings(max_examples=25)
@given(st.floats(-12, -0.5), st.floats(1.2, 4), deltas, st.floats(0.01, 0.2))
def test_the_pulse_of_a_spread_gives_its_average(
    exponent: float, overdrive: float, delta: float, sigma: float
) -> None:
    """The inverse solves the averaged law."""
    pulse = write_pulse(10**exponent, overdrive, delta, overdrive_sigma=sigma)
    back = write_error_rate(pulse, overdrive, delta, overdrive_sigma=sigma)
    assert float(back) == pytest.approx(10**exponent, rel=1e-6)


@pytest.mark.parametrize("model", ["table", "closed"])
@pytest.mark.parametrize("sigma", [0.03, 0.1])
def test_a_spread_is_averaged_over(model: Any, sigma: float) -> None:
    """Against a fine sum over overdrives, all of which the law covers."""
    z = np.linspace(-7, 7, 4001)
    weights = np.exp(-(z**2) / 2)
    for pulse in (3e-9, 10e-9, 20e-9):
        one_by_one = write_error_rate(pulse, 2.5 + sigma * z, 40.0, model=model)
        got = write_error_rate(pulse, 2.5, 40.0, model=model, overdrive_sigma=sigma)
        assert float(got) == pytest.approx(weights @ one_by_one / weights.sum(), rel=2e-3)


def test_a_spread_of_overdrives_costs_as_the_late_decay_says() -> None:
    """E[WER] tends to WER exp((2 tau sigma)^2 / 2): with the decay 2 tau taken at the pulse itself, 2 %."""
    tau, i, sigma, step = 20.0, 2.5, 0.04, 0.01
    rate = write_error_rate(tau, [i - step, i, i + step], 40.0, intrinsic_time_s=1.0)
    slope = (math.log(rate[0]) - math.log(rate[2])) / (2 * step)
    got = write_error_rate(tau, i, 40.0, intrinsic_time_s=1.0, overdrive_sigma=sigma)
    assert slope == pytest.approx(2 * tau, rel=0.05)
    assert float(got) == pytest.approx(rate[1] * math.exp((slope * sigma) ** 2 / 2), rel=0.02)


def test_a_spread_of_zero_is_no_spread() -> None:
    """Also beside points that have one."""
    alone = write_pulse(1e-9, 2.0, 40.0)
    both = write_pulse(1e-9, 2.0, 40.0, overdrive_sigma=[0.0, 0.1])
    assert both[0] == pytest.approx(float(alone), rel=1e-9)
    assert both[1] > both[0]


def test_directions_differ_by_their_critical_current_only() -> None:
    """The equation has no direction; ``asymmetry`` is the ratio of the two critical currents."""
    assert write_error_rate(5e-9, 2.0, 40.0, direction="p_to_ap") == write_error_rate(
        5e-9, 2.0, 40.0, direction="ap_to_p"
    )
    how: dict[str, Any] = {"alpha": 0.01, "efficiency": 0.5, "temperature_k": 300.0, "asymmetry": 1.5}
    hard, easy = (critical_current(40.0, direction=d, **how) for d in ("p_to_ap", "ap_to_p"))
    assert float(hard / easy) == pytest.approx(1.5)
    assert float(easy) == pytest.approx(40 * 0.503e-6, rel=1e-3)


def test_energies_against_error_rates_are_the_golden_ones() -> None:
    """Saving of a shorter pulse, and of a lower voltage at the same pulse, over an error rate of 1e-9."""
    for row in golden("write_energy_vs_wer.csv"):
        wer, delta = float(row["WER"]), float(row["Delta"])
        strict, relaxed = write_pulse([1e-9, wer], 2.0, delta, intrinsic_time_s=1.0)
        assert float(relaxed) == pytest.approx(float(row["fixedV_tau"]), rel=5e-3)
        saving = write_energy(2.0, 1.0, strict) / write_energy(2.0, 1.0, relaxed)
        assert float(saving) == pytest.approx(float(row["saving_fixedV"]), rel=5e-3)

        at_best = float(write_pulse(wer, float(row["best_i"]), delta, intrinsic_time_s=1.0))
        assert at_best == pytest.approx(float(row["best_tau"]), rel=5e-3)
        lower = float(write_pulse(wer, float(row["fixedT_i"]), delta, intrinsic_time_s=1.0))
        assert lower == pytest.approx(float(strict), rel=5e-3)


def test_retention_against_write_cost_is_the_golden_one() -> None:
    """From Delta to current, pulse and energy of one illustrative device, at an error rate of 1e-9."""
    unit = float(intrinsic_time(0.01, 0.3))
    for row in golden("retention_vs_write_model.csv"):
        delta = float(row["Delta"])
        ic0 = critical_current(delta, alpha=0.01, efficiency=0.5, temperature_k=300.0)
        assert float(ic0) == pytest.approx(float(row["Ic0_uA"]) * 1e-6, rel=2e-3)
        assert float(retention_time(delta)) == pytest.approx(float(row["mean_retention_s"]), rel=1e-2)
        overdrive = float(row["A_i"])
        model: Any = "table" if overdrive <= 4 else "closed"
        pulse = write_pulse(1e-9, overdrive, delta, intrinsic_time_s=unit, model=model)
        assert float(pulse) == pytest.approx(float(row["A_pulse_ns"]) * 1e-9, rel=5e-3)
        energy = write_energy(overdrive * ic0, 4500.0, pulse)
        assert float(energy) == pytest.approx(float(row["A_energy_fJ"]) * 1e-15, rel=1e-2)
        in_10_ns = write_pulse(1e-9, float(row["B_i"]), delta, intrinsic_time_s=unit, model="closed")
        assert float(in_10_ns) == pytest.approx(10e-9, rel=2e-3)


def test_the_power_law_of_the_low_retention_cache_paper_fits_the_table() -> None:
    """I = Ic0 (1 + c / t^1.15) with c = 16.6 t_D^1.15 at Delta 40 and an error rate of 1e-9: 8 %."""
    for overdrive in (1.3, 1.6, 2.0, 3.0, 4.0):
        pulse = write_pulse(1e-9, overdrive, 40.0)
        fitted = write_current(pulse, 1.0, 16.6 * 1.89e-9**1.15) - 1
        assert float(fitted) == pytest.approx(overdrive - 1, rel=0.08)


@given(st.floats(0, 1e-6), st.floats(0, 1e-6), st.floats(0, 0.999), st.floats(0, 0.999), deltas, deltas)
def test_read_disturb_is_monotone(t1: float, t2: float, i1: float, i2: float, d1: float, d2: float) -> None:
    """It rises with time and overdrive and falls with delta; a probability."""
    for small, large in (
        read_disturb_probability(sorted((t1, t2)), i1, d1),
        read_disturb_probability(t1, sorted((i1, i2)), d1),
        read_disturb_probability(t1, i1, sorted((d1, d2), reverse=True)),
    ):
        assert 0 <= small <= large <= 1


def test_read_disturb_without_current_is_escape_at_the_retention() -> None:
    """Continuous at overdrive 0; twice the flip probability where flips are rare."""
    disturbed = read_disturb_probability(1e-6, 0.0, 30.0)
    assert float(disturbed) == pytest.approx(1e-6 / float(retention_time(30.0)), rel=1e-6)
    assert float(disturbed) == pytest.approx(float(retention_flip_probability(1e-6, 30.0)), rel=1e-6)


@pytest.mark.parametrize(("delta", "overdrive"), [(10.0, 0.0), (20.0, 0.0), (20.0, 0.3), (40.0, 0.5)])
def test_the_attempt_time_is_that_of_the_equation(delta: float, overdrive: float) -> None:
    """Late decay of the solver over exp(-barrier), within 5 % for barriers from 5."""
    early, late = solve_pulses(np.array([1e-3, 1e-4]), overdrive, delta, cells=96)
    rate = math.log(10) / (late - early)
    wanted = math.exp(-delta * (1 - overdrive) ** 2) / rate
    assert float(attempt_time(delta, intrinsic_time_s=1.0, overdrive=overdrive)) == pytest.approx(
        wanted, 0.05
    )


def test_geometry_gives_the_same_barrier_as_energy() -> None:
    """mu0 Ms Hk V / 2 over k_B T, and a hotter cell has less of it."""
    volume, field, magnetisation = 2e-24, 0.3, 1.2e6
    got = thermal_stability_from_geometry(volume, field, magnetisation, temperature_k=[300.0, 360.0])
    assert got[0] == pytest.approx(0.5 * field * magnetisation * volume / (1.380649e-23 * 300))
    assert got[1] == pytest.approx(float(thermal_stability_at(got[0], 360.0)))


def test_numbers_give_numbers_and_arrays_give_arrays() -> None:
    """Everything broadcasts."""
    assert np.ndim(write_error_rate(1e-9, 2.0, 40.0)) == 0
    assert write_error_rate(np.ones((3, 1)) * 1e-8, [2.0, 3.0], 40.0).shape == (3, 2)
    assert write_pulse(np.empty((0,)), 2.0, 40.0).shape == (0,)
    assert read_disturb_probability(1e-9, [[0.1], [0.2]], [20.0, 30.0]).shape == (2, 2)
    assert retention_flip_probability([[1.0], [2.0]], [20.0, 30.0], cv=0.1).shape == (2, 2)


FAULTS: list[tuple[Callable[[], Any], str, str]] = [
    (
        lambda: write_error_rate(1e-9, 1.0, 40.0),
        "overdrive",
        "overdrive 1 is outside the range of the table of write errors, 1.05 to 8",
    ),
    (
        lambda: write_pulse(1e-9, [2.0, 8.5], 40.0),
        "overdrive",
        "overdrive 8.5 is outside the range of the table of write errors, 1.05 to 8",
    ),
    (
        lambda: write_error_rate(1e-9, 2.0, 81.0),
        "delta",
        "delta 81 is outside the range of the table of write errors, 8 to 80",
    ),
    (
        lambda: write_pulse(1e-9, 1.0, 40.0, model="closed"),
        "overdrive",
        "overdrive 1 must be over 1",
    ),
    (lambda: write_pulse(0.0, 2.0, 40.0), "wer", "wer 0 must be over 0"),
    (lambda: write_pulse(1.5, 2.0, 40.0), "wer", "wer 1.5 must be 1 or less"),
    (lambda: write_error_rate(-1e-9, 2.0, 40.0), "pulse_s", "pulse_s -1e-09 must be 0 or more"),
    (
        lambda: write_error_rate(1e-9, 2.0, 40.0, model="exact"),  # type: ignore[arg-type]
        "model",
        'model "exact" must be one of table, closed',
    ),
    (
        lambda: write_error_rate(1e-9, 2.0, 40.0, direction="up"),  # type: ignore[arg-type]
        "direction",
        'direction "up" must be one of p_to_ap, ap_to_p',
    ),
    (
        lambda: write_pulse(1e-9, 1.2, 40.0, model="closed", overdrive_sigma=0.1),
        "overdrive_sigma",
        "with this overdrive_sigma no pulse reaches the error rate: "
        "cells below the critical current never switch in the closed form",
    ),
    (lambda: retention_flip_probability(1.0, -20.0), "delta", "delta -20 must be over 0"),
    (lambda: retention_flip_probability(1.0, 20.0, cv=1.0), "cv", "cv 1 must be from 0 to below 1"),
    (lambda: retention_flip_probability(math.nan, 20.0), "time_s", "time_s nan is not a finite number"),
    (lambda: retention_flip_probability_sum(0, 1, 1.5, 20.0), "count", "count 1.5 is not a whole number"),
    (lambda: retention_time(701.0), "delta", "delta 701 must be 700 or less"),
    (lambda: thermal_stability(1e-9), "retention_s", "retention_s 1e-09 must be over 1e-09"),
    (lambda: thermal_stability_at(60.0, 0.0), "temperature_k", "temperature_k 0 must be over 0"),
    (
        lambda: read_disturb_probability(1e-9, 1.0, 40.0),
        "read_overdrive",
        "read_overdrive 1 must be below 1, where there is a barrier",
    ),
    (
        lambda: attempt_time(8.0, overdrive=0.5),
        "delta",
        "delta 8 with overdrive 0.5 leaves a barrier of 2 k_B T; an attempt time needs 4 or more",
    ),
    (lambda: intrinsic_time(2.0, 0.3), "alpha", "alpha 2 must be 1 or less"),
]


@pytest.mark.parametrize(("call", "argument", "message"), FAULTS)
def test_what_is_outside_is_named(call: Callable[[], Any], argument: str, message: str) -> None:
    """The argument, its first bad value and the range, as an error of the input."""
    with pytest.raises(OutOfRange) as caught:
        call()
    assert (caught.value.argument, str(caught.value)) == (argument, message)
    assert isinstance(caught.value, InputError)


def test_the_tables_of_the_physics_page_are_the_laws(regen: bool) -> None:
    """--regen-golden writes them."""
    page = Path(__file__).parent.parent / "docs" / "physics.md"
    text = page.read_text(encoding="utf-8")
    wanted = text[: text.index(MARK) + len(MARK)] + tables()
    if regen:
        page.write_text(wanted, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == wanted
