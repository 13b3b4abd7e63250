"""The table of write pulses: what it is made from, how near it is between its points, how it ends."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from accelsim.device.mtj import write_error_rate, write_pulse
from accelsim.device.mtj.fokker_planck import hazard, solve_pulses
from accelsim.device.mtj.regenerate import HEADER, WERS, nodes, row
from accelsim.device.mtj.table import MIN_OVERDRIVE, shipped_table, table_path

GOLDEN = Path(__file__).parent / "golden" / "mtj" / "wer_fokker_planck.csv"


def pulses(wers: list[float], overdrive: float, delta: float) -> NDArray[np.float64]:
    return write_pulse(wers, overdrive, delta, intrinsic_time_s=1.0)


def test_pulses_are_those_of_another_solver() -> None:
    """A Legendre-Galerkin solver with matrix exponentials: 0.3 % over Delta 20 to 60, overdrive 1.2 to 4.

    Pulses below 1e-5 that have lost the even step of a decade to rounding are left out.
    """
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    columns = {c: float(c.removeprefix("tau_WER_")) for c in rows[0] if c.startswith("tau_WER_")}
    checked = 0
    for values in rows:
        wanted = {w: float(values[c]) for c, w in columns.items()}
        got = pulses(list(wanted), float(values["i"]), float(values["Delta"]))
        decade = wanted[1e-5] - wanted[1e-4]
        for (wer, tau), ours in zip(wanted.items(), got, strict=True):
            straight = wanted[1e-5] + decade * math.log10(1e-5 / wer)
            if wer >= 1e-5 or abs(tau - straight) < 1e-2 * decade:
                assert ours == pytest.approx(tau, rel=3e-3)
                checked += 1
    assert checked > 0.95 * len(rows) * len(columns)


def legendre_error_rates(overdrive: float, delta: float, taus: list[float], order: int) -> list[float]:
    """Return error rates by moments of Legendre polynomials and an exponential of their matrix.

    q_n is the integral of P_n rho. As (1 - x^2) P_n' = c_n (P_(n-1) - P_(n+1)) with
    c_n = n (n + 1) / (2 n + 1), it changes at the rate
    -c_n (g_(n-1) - g_(n+1)) - n (n + 1) / (2 delta) q_n, where g_n is the integral of (i - x) P_n rho.
    """
    n = np.arange(order + 1)
    times_x = np.diag((n[:-1] + 1) / (2 * n[:-1] + 1), 1) + np.diag(n[1:] / (2 * n[1:] + 1), -1)
    g = overdrive * np.eye(order + 1) - times_x
    c = n * (n + 1) / (2 * n + 1)
    lower, upper = np.eye(order + 1, k=-1), np.eye(order + 1, k=1)
    matrix = -c[:, None] * ((lower - upper) @ g) - np.diag(n * (n + 1) / (2 * delta))

    x, weights = np.polynomial.legendre.leggauss(200)
    x, weights = (x + 1) / 2, weights / 2
    polynomials = np.polynomial.legendre.legvander(x, order)
    start = weights * np.exp(delta * (x**2 - 1))
    moments = (start / start.sum()) @ polynomials
    above = (2 * n + 1) / 2 * (weights @ polynomials)  # of P_n over x > 0

    found = []
    for tau in taus:
        halvings = 15
        small = matrix * tau / 2**halvings
        step = np.eye(order + 1)
        for k in range(20, 0, -1):
            step = np.eye(order + 1) + small @ step / k
        found.append(float(above @ np.linalg.matrix_power(step, 2**halvings) @ moments))
    return found


@pytest.mark.parametrize(
    ("delta", "overdrive"), [(8.0, 1.05), (8.0, 8.0), (12.0, 1.5), (30.0, 1.3), (40.0, 3.0)]
)
def test_the_solver_is_another_method_s(delta: float, overdrive: float) -> None:
    """Moments of Legendre polynomials give its error rates to 3e-4 where double precision can."""
    wers = np.array([0.5, 0.1, 1e-2, 1e-3, 1e-4])
    taus = solve_pulses(wers, overdrive, delta)
    got = legendre_error_rates(overdrive, delta, list(taus), order=120)
    assert np.array(got) == pytest.approx(wers, rel=3e-4)


def test_the_solver_has_converged() -> None:
    """A grid of a quarter of the cells moves pulses by less than 2 % in the hardest corners."""
    wers = np.array([0.5, 1e-3, 1e-12])
    for delta, overdrive in ((80.0, 8.0), (80.0, 1.05), (8.0, 8.0)):
        fine = solve_pulses(wers, overdrive, delta)
        assert solve_pulses(wers, overdrive, delta, cells=64) == pytest.approx(fine, rel=2e-2)


def test_the_shipped_table_is_what_the_script_writes() -> None:
    """Header, columns, nodes and a few rows, made anew."""
    text = table_path().read_text(encoding="utf-8")
    assert text.startswith(HEADER)
    lines = text.removeprefix(HEADER).splitlines()
    deltas, overdrives = nodes()
    assert len(lines) == 1 + len(deltas) * len(overdrives)
    assert shipped_table().wers == pytest.approx(WERS)
    by_key = {tuple(line.split(",")[:2]): line for line in lines[1:]}
    for delta, overdrive in ((deltas[0], overdrives[-1]), (deltas[6], 1.05), (deltas[-1], 0.9)):
        new = row(float(delta), float(overdrive)).strip()
        old = by_key[f"{delta:.6g}", f"{overdrive:.6g}"]
        numbers = [[float(v) for v in line.split(",")] for line in (old, new)]
        assert numbers[0] == pytest.approx(numbers[1], rel=2e-6)


def test_pulses_between_the_points_are_the_solver_s() -> None:
    """At 250 random points pulses for 0.3 to 1e-12 are within 0.5 %: a tenth of what is promised."""
    rng = np.random.default_rng(11)
    worst = 0.0
    for _ in range(250):
        delta = math.exp(rng.uniform(math.log(8), math.log(80)))
        overdrive = 1 + math.exp(rng.uniform(math.log(0.05), math.log(7)))
        wers = 10 ** np.sort(rng.uniform(-12, math.log10(0.3), 3))[::-1]
        wanted = solve_pulses(wers, overdrive, delta, cells=64)
        got = pulses(list(wers), overdrive, delta)
        worst = max(worst, float(np.abs(got / wanted - 1).max()))
    assert worst < 5e-3


def test_the_table_is_monotone() -> None:
    """Pulses rise with delta, fall with overdrive, rise as the error rate falls: so does what is between."""
    table = shipped_table()
    assert (np.diff(table.pulses, axis=0) > 0).all()
    assert (np.diff(table.pulses, axis=1) < 0).all()
    assert (np.diff(table.pulses, axis=2) > 0).all()
    assert (np.diff(table.logs[..., -1], axis=0) >= 0).all()
    beyond = table.logs[:, table.overdrives >= MIN_OVERDRIVE, -1]
    assert (np.diff(beyond, axis=1) < 0).all()


def test_error_rates_have_no_steps() -> None:
    """Around every point of the table, its first and last included, in pulse, overdrive and delta."""
    table = shipped_table()
    for delta, overdrive in ((8.0, 1.05), (table.deltas[5], table.overdrives[25]), (80.0, 8.0)):
        at = write_pulse(table.wers, overdrive, delta, intrinsic_time_s=1.0)
        below, above = (
            write_error_rate(at * f, overdrive, delta, intrinsic_time_s=1.0) for f in (1 - 1e-9, 1 + 1e-9)
        )
        assert hazard(below) == pytest.approx(hazard(above), rel=1e-6)
        assert above == pytest.approx(table.wers, rel=1e-6)
    d, i = float(table.deltas[5]), float(table.overdrives[25])
    beside = write_error_rate(
        20.0, [i - 1e-9, i + 1e-9, i, i], [d, d, d - 1e-9, d + 1e-9], intrinsic_time_s=1.0
    )
    assert beside == pytest.approx(beside[0], rel=1e-6)


def test_errors_decay_exponentially_below_the_table() -> None:
    """At the rate of its last three decades, and so at the solver's."""
    wers = [1e-15, 1e-18, 1e-30, 1e-60]
    at = pulses(wers, 2.0, 40.0)
    steps = np.diff(at) / np.array([3, 12, 30])
    assert steps == pytest.approx(steps[0], rel=1e-9)
    wanted = solve_pulses(np.array([1e-30]), 2.0, 40.0)
    assert at[2] == pytest.approx(float(wanted[0]), rel=5e-3)


def test_the_first_moments_of_a_pulse_write_nothing() -> None:
    """The error rate is 1 at no pulse and stays there: its distance from 1 vanishes faster than any power."""
    rates = write_error_rate([0.0, 0.01, 0.1, 0.5], 2.0, 40.0, intrinsic_time_s=1.0)
    assert rates[0] == 1
    assert (np.diff(rates) <= 0).all()
    assert 1 - rates[1:3] == pytest.approx(0, abs=1e-12)


def test_the_closed_form_is_pessimistic_as_documented() -> None:
    """Delta 40: its pulse for 1e-6 is 40 % too long at overdrive 1.2, 6 % at 1.8, right from 3."""
    for overdrive, low, high in ((1.2, 1.35, 1.45), (1.8, 1.04, 1.07), (2.5, 1.0, 1.02), (3.0, 0.99, 1.01)):
        closed, table = (write_pulse(1e-6, overdrive, 40.0, model=m) for m in ("closed", "table"))
        assert low <= float(closed / table) <= high
