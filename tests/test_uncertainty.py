"""Error bars of energies, corners, and break-even: all from a run's ledger, which is linear in its prices."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from accelsim.cli.app import app
from accelsim.config.arch import VectorFunction
from accelsim.config.ranges import price_names
from accelsim.errors import ConfigError, InputError
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.sweep import breakeven_plot
from accelsim.sweep.breakeven import AXES, Pair, Parts, crossing, pair_of, surface
from accelsim.sweep.corners import corners
from accelsim.sweep.ledger import ledger
from accelsim.sweep.prices import Range, Ranges, assumed_ranges, load_ranges, machine_ranges
from accelsim.sweep.timings import time_swings, timed
from accelsim.sweep.uncertainty import uncertain
from accelsim.trace.runs import Run, open_run
from tests.sweeps import LAYERS

EXACT = Ranges(())


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Run]]:
    """Runs of the tiny workload on three machines."""
    import tempfile

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        Path("tiny.csv").write_text(LAYERS)
        for arch in ("edge-sram", "edge-mram", "edge-hybrid"):
            command = ["accelsim", "run", arch, "tiny.csv", "--set", "host.gap=1 us"]
            simulate(arch, "tiny.csv", overrides=("host.gap=1 us",), out=f"runs/{arch}", command=command)
        yield {arch: open_run(f"runs/{arch}") for arch in ("edge-sram", "edge-mram", "edge-hybrid")}


def test_a_ledger_is_the_runs_energy(runs: dict[str, Run]) -> None:
    """By price; the sum is the summary's total."""
    for run in runs.values():
        assert ledger(run).total_pj == pytest.approx(run.summary["energy_pj"]["total"], rel=1e-12)


def test_without_ranges_nothing_is_uncertain(runs: dict[str, Run]) -> None:
    """Every percentile is the nominal energy."""
    found = uncertain([ledger(run) for run in runs.values()], EXACT, samples=50)

    for interval in found.intervals():
        assert (interval.low, interval.high) == pytest.approx((interval.nominal, interval.nominal))


@given(low=st.floats(0.2, 1.0), high=st.floats(1.0, 5.0))
def test_draws_are_those_of_the_distribution(low: float, high: float) -> None:
    """Triangular: ends at 0 and 1, the share below the nominal value by its place; never outside."""
    draws = Range(low, 1.0, high).draws(np.linspace(0, 1, 2001))

    assert draws.min() >= low - 1e-9
    assert draws.max() <= high + 1e-9
    assert draws.mean() == pytest.approx((low + 1 + high) / 3, rel=2e-3)


def test_energy_follows_the_prices_as_a_new_run_would(runs: dict[str, Run]) -> None:
    """Twice the DRAM price, by the ledger and by a run with that price."""
    ranges = Ranges((("dram read", Range(2.0, 2.0, 2.0)), ("dram write", Range(2.0, 2.0, 2.0))))
    (interval,) = uncertain([ledger(runs["edge-sram"])], ranges, samples=3).intervals()
    double = ("host.gap=1 us", "dram.read_energy=16 pJ/bit", "dram.write_energy=16 pJ/bit")

    ran = simulate("edge-sram", "tiny.csv", overrides=double, out="runs/double", force=True)

    assert interval.median == pytest.approx(ran.summary["energy_pj"]["total"], rel=1e-9)


def test_two_runs_share_their_draws(runs: dict[str, Run]) -> None:
    """What both pay the same price for does not make them differ: a run against itself is never less."""
    led = ledger(runs["edge-sram"])
    found = uncertain([led, ledger(runs["edge-mram"])], assumed_ranges(), samples=2000)

    assert found.less(led.run, led.run) == 0.0
    assert found.less("edge-sram", "edge-mram") == pytest.approx(1 - found.less("edge-mram", "edge-sram"))


def test_the_tornado_puts_what_matters_first(runs: dict[str, Run]) -> None:
    """Each price alone between its ends."""
    swings = uncertain([ledger(runs["edge-sram"])], assumed_ranges(), samples=10).tornado("edge-sram", 5)

    assert [s.size for s in swings] == sorted((s.size for s in swings), reverse=True)
    assert swings[0].price == "dram read"
    only = Ranges((("dram write", Range(0.5, 1.0, 2.0)),))
    named = uncertain([ledger(runs["edge-sram"])], only, samples=10).tornado("edge-sram", 5)
    assert [s.price for s in named] == ["dram write"]


PRICES = {
    '[prices]\n"dram *" = { low = 0.5 }\n': "prices.dram *: expected low and high, or sigma",
    '[prices]\n"dram *" = { low = 2.0, high = 1.0 }\n': "expected low <= nominal <= high, got 2.0, 1.0, 1.0",
    '[prices]\n"dram *" = { sigam = 0.5 }\n': "unknown key, did you mean sigma?",
    "[prices]\n": "prices: no prices, and no timings",
    '[prices]\n"dram *" = { sigma = 4 }\n': "p.toml:2:22: prices.dram *.sigma: expected at most 3.0, got 4",
    '[prices]\n"dram *" = { low = 1, high = 1e300 }\n': "prices.dram *.high: expected at most 1000.0",
}


@pytest.mark.parametrize(("text", "fault"), PRICES.items())
def test_faults_of_a_price_file_say_where(tmp_path: Path, text: str, fault: str) -> None:
    """file:line:column: key: what is wrong."""
    path = tmp_path / "p.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=re.escape(fault)):
        load_ranges(path)


MINE = """extends = "edge-sram"
[host]
gap = "1 us"
[prices]
"dram *" = { low = 0.5, high = 2.0 }
"spad.* leakage" = { sigma = 0.3 }
"""
OTHER = """extends = "mine.toml"
[prices]
"dram write" = { low = 0.9, high = 1.1, source = "datasheet" }
"""


@pytest.fixture(scope="module")
def ranged(runs: dict[str, Run]) -> dict[str, Run]:
    """Runs of machines with tables of prices: mine, other that extends it, and mine without the table."""
    del runs
    made = {}
    for name, text in (("mine", MINE), ("other", OTHER), ("bare", MINE.partition("[prices]")[0])):
        folder = Path("bare" if name == "bare" else ".")
        folder.mkdir(exist_ok=True)
        path = folder / ("mine.toml" if name == "bare" else f"{name}.toml")
        path.write_text(text)
        simulate(str(path), "tiny.csv", out=f"runs/{name}")
        made[name] = open_run(f"runs/{name}")
    return made


def test_a_machines_own_ranges_are_those_of_its_runs(ranged: dict[str, Run], runs: dict[str, Run]) -> None:
    """Through extends, the most letters count; what nobody names is assumed; shared prices are one."""
    opened = [ranged["other"], runs["edge-mram"]]
    found, own = machine_ranges(opened, [ledger(run) for run in opened])

    assert found.of("dram write") == Range(0.9, 1.0, 1.1)
    assert found.of("dram read") == Range(0.5, 1.0, 2.0)
    assert found.of("spad.sram leakage") == Range(1.0, 1.0, 1.0, 0.3)
    assert found.of("spad.mram write") == assumed_ranges().of("spad.mram write")
    assert own == 4
    assert (
        uncertain([ledger(opened[0])], found, 500).intervals()
        != uncertain([ledger(opened[0])], assumed_ranges(), 500).intervals()
    )


def test_ranges_change_no_result(ranged: dict[str, Run]) -> None:
    """The id is the same, and so is the resolved machine; the manifest has the ranges."""
    mine, bare = ranged["mine"], ranged["bare"]

    assert mine.manifest["id"] == bare.manifest["id"]
    assert mine.manifest["machine"] == bare.manifest["machine"]
    assert mine.manifest["prices"]["dram *"] == {"low": 0.5, "nominal": 1.0, "high": 2.0, "source": "assumed"}
    assert "prices" not in bare.manifest
    told = [CliRunner().invoke(app, ["check", path]).output for path in ("mine.toml", "bare/mine.toml")]
    assert told[0] == told[1] != ""


def test_machines_that_disagree_are_refused(ranged: dict[str, Run]) -> None:
    """With the price, both runs and what they say; a file of prices decides."""
    del ranged
    call = CliRunner().invoke
    fault = str(call(app, ["uncertainty", "runs/mine", "runs/other"]).exception)
    assert 'the price "dram write" is one for all runs, but the machine of mine says 0.5 to 2' in fault
    assert "that of other 0.9 to 1.1; say what holds with --prices FILE" in fault
    Path("p.toml").write_text('[prices]\n"dram *" = { sigma = 0.1 }\n')
    told = call(app, ["uncertainty", "runs/mine", "runs/other", "--prices", "p.toml"])
    assert told.exit_code == 0
    assert "ranges:" not in told.output
    assert "4 by the machines' tables" in " ".join(call(app, ["uncertainty", "runs/mine"]).output.split())


MACHINE_FAULTS = {
    '"dram raed" = { sigma = 0.1 }': '3:1: prices.dram raed: no price of this machine is called "dram raed"',
    '"spad.mram *" = { sigma = 0.1 }': '3:1: prices.spad.mram *: no price of this machine is called "spad',
    '"dram *" = { low = 0.5 }': "3:12: prices.dram *: expected low and high, or sigma",
    '"dram *" = { low = 2, high = 3 }': "prices.dram *: expected low <= nominal <= high, got 2.0, 1.0, 3.0",
    '"dram *" = { sgima = 0.1 }': "3:14: prices.dram *.sgima: unknown key, did you mean sigma?",
}


@pytest.mark.parametrize(("line", "fault"), MACHINE_FAULTS.items())
def test_faults_of_a_machines_prices_say_where(tmp_path: Path, line: str, fault: str) -> None:
    """file:line:column: key: what is wrong."""
    path = tmp_path / "m.toml"
    path.write_text(f"extends = 'edge-sram'\n[prices]\n{line}\n")

    with pytest.raises(ConfigError, match=re.escape(fault)):
        load_machine(str(path))


def test_every_price_of_a_run_has_a_name_that_ranges_may_give(runs: dict[str, Run]) -> None:
    """The list by which misspelt names are found is whole."""
    known = set(price_names(["sram", "mram"], get_args(VectorFunction)))
    overrides = ("bank.mram.ecc=secded", "bank.mram.scrub_interval=1 ms", "dram.background=1 mW")
    simulate("edge-hybrid", "lenet5", batch=2, overrides=overrides, out="runs/lenet", force=True)

    for run in (*runs.values(), open_run("runs/lenet")):
        assert set(ledger(run).energy_pj) <= known


def test_uncertain_times_are_simulated_again(runs: dict[str, Run], tmp_path: Path) -> None:
    """With the key at either end, as a run there would be."""
    path = tmp_path / "p.toml"
    path.write_text('[timings]\n"dram.latency" = { low = "100 ns", high = "1 us" }\n')
    run = runs["edge-sram"]
    (again,) = timed([run], load_ranges(path))
    (swing,) = time_swings(again)
    slow = ("host.gap=1 us", "dram.latency=1 us")
    ran = simulate("edge-sram", "tiny.csv", overrides=slow, out="runs/slow", force=True)

    assert swing.time_ps == (run.summary["time_ps"], ran.summary["time_ps"])
    assert swing.energy_pj[1] == ran.summary["energy_pj"]["total"]


def test_the_nominal_corner_at_the_runs_temperature_is_the_run(runs: dict[str, Run]) -> None:
    """And another temperature is what a run there gives."""
    run = runs["edge-hybrid"]
    (same,) = corners(run, ["tt"], [350.0])
    (cold,) = corners(run, ["tt"], [300.0])
    overrides = ("host.gap=1 us", "temperature=300 K")
    ran = simulate("edge-hybrid", "tiny.csv", overrides=overrides, out="runs/cold", force=True)

    assert same.total_pj == pytest.approx(run.summary["energy_pj"]["total"], rel=1e-12)
    assert cold.total_pj == pytest.approx(ran.summary["energy_pj"]["total"], rel=1e-9)


def test_corners_scale_leakage_alone(runs: dict[str, Run]) -> None:
    """Of a fast one more, of a slow one less."""
    tt, ff, ss = corners(runs["edge-sram"], ["tt", "ff", "ss"], [350.0])

    assert ss.leakage_pj < tt.leakage_pj < ff.leakage_pj
    assert ff.total_pj - ff.leakage_pj == pytest.approx(tt.total_pj - tt.leakage_pj)


numbers = st.floats(1.0, 1e3)


@given(st.tuples(*[numbers] * 16), st.sampled_from(list(AXES)))
def test_at_a_crossing_both_need_the_same(values: tuple[float, ...], axis: str) -> None:
    """For every axis, wherever there is one."""
    a, b = (
        Parts(str(i), *values[8 * i : 8 * i + 6], *map(round, values[8 * i + 6 : 8 * i + 8])) for i in (0, 1)
    )
    pair = Pair(a, b)
    at = crossing(pair, axis)
    if at is not None:
        one, other = pair.energies(**{axis: at})
        assert one == pytest.approx(other, rel=1e-6)


def test_a_run_at_the_gap_of_a_share_needs_what_the_share_says(runs: dict[str, Run]) -> None:
    """The share is step over step and gap; the same runs at another gap are where the model puts them."""
    pair = pair_of(runs["edge-mram"], runs["edge-sram"], ["utilization"])
    step = runs["edge-mram"].summary["time_ps"]
    share = pair.a.utilization / 3
    gap = ("host.gap=" + str(round(pair.gap_ps(share))) + " ps",)
    found = []
    for arch in ("edge-mram", "edge-sram"):
        ran = simulate(arch, "tiny.csv", overrides=gap, out=f"runs/{arch}-rare", force=True)
        found.append(ran.summary["energy_pj"]["total"])

    assert pair.now("utilization") == step / (step + 1_000_000)
    assert pair.energies(utilization=share) == pytest.approx(tuple(found), rel=1e-9)
    assert pair.energies(utilization=pair.now("utilization")) == pytest.approx(pair.energies(), rel=1e-12)


def test_the_surface_has_a_winner(runs: dict[str, Run]) -> None:
    """At factors of 1 the surface is the ratio of the runs; of a run and itself none."""
    a, b = runs["edge-mram"], runs["edge-sram"]
    axes = ["leakage", "write_energy"]
    found = surface(pair_of(a, b, axes), axes)
    middle = len(found.xs) // 2
    energies = [run.summary["energy_pj"]["total"] for run in (a, b)]

    assert found.pair.energies() == pytest.approx(tuple(energies))
    assert found.ratio[middle, middle] == pytest.approx(energies[0] / energies[1])
    assert found.winner(0, len(found.xs) - 1) == "edge-mram"
    assert surface(pair_of(a, a, axes), axes).winner(0, 0) == "equal"
    told = CliRunner().invoke(app, ["breakeven", "runs/edge-sram", "runs/edge-sram"]).output
    assert len(re.findall(r" everywhere +equal ", told)) == 3


def test_two_runs_of_one_name_are_told_apart_by_their_paths(runs: dict[str, Run]) -> None:
    """The winner is one of the two."""
    a, b = runs["edge-mram"], runs["edge-sram"]
    shutil.copytree(b.path, "elsewhere/edge-mram")
    pair = pair_of(a, open_run("elsewhere/edge-mram"), ["leakage"])
    assert pair.less() in {"runs/edge-mram", "elsewhere/edge-mram"}
    assert pair_of(a, a, ["leakage"]).a.run == "edge-mram"


def test_a_price_that_no_version_takes_any_more_is_named(runs: dict[str, Run]) -> None:
    """Of a run that is there: its folder, the price, and what to do."""
    shutil.copytree(runs["edge-sram"].path, "runs/older")
    path = Path("runs/older/manifest.json")
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {"prices": {"dram read": {"sigma": 4.0, "source": "assumed"}}}))
    wrong = r'^runs/older: .* "dram read": .*3.*4.*; another version allowed it: run it again'
    with pytest.raises(InputError, match=wrong):
        machine_ranges([open_run("runs/older")], [ledger(open_run("runs/older"))])


def test_the_commands_print_and_draw(runs: dict[str, Run]) -> None:
    """Tables of all kinds, and refusals with the names that there are."""
    del runs
    call = CliRunner().invoke

    told = call(app, ["uncertainty", "runs/edge-sram", "runs/edge-mram"]).output
    assert "Probability of needing less energy" in told
    assert "ss" in call(app, ["uncertainty", "runs/edge-sram", "--corners", "tt,ss"]).output
    assert (
        "Break-even" in call(app, ["breakeven", "runs/edge-mram", "runs/edge-sram", "--plot", "b.png"]).output
    )
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (["--over", "leekage"], ["--over", ""], ["--plot", "none/b.png"]):
        fault = call(app, ["breakeven", "runs/edge-mram", "runs/edge-sram", *wrong]).exception
        assert isinstance(fault, InputError)


@pytest.mark.usefixtures("runs")
def test_temperatures_go_with_corners_and_are_named() -> None:
    """Alone they are refused; one that the machine cannot be at is blamed as it was typed, once."""
    alone = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "--temperatures", "350"])
    hot = CliRunner().invoke(
        app, ["uncertainty", "runs/edge-hybrid", "--corners", "tt", "--temperatures", "900"]
    )

    assert str(alone.exception) == "--temperatures 350: goes with --corners, such as --corners tt,ff,ss"
    assert str(hot.exception) == (
        "--temperatures 900: bank sram: 900 K is outside the array table's leakage law, 300 K to 400 K; "
        "give another, or the bank's values explicitly"
    )


@pytest.mark.usefixtures("runs")
def test_timings_alone_are_shown_alone() -> None:
    """Without prices there are no intervals, and nothing that matters to them."""
    Path("timings.toml").write_text('[timings."dram.latency"]\nlow = "50 ns"\nhigh = "200 ns"\n')
    done = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "--prices", "timings.toml"])

    assert done.exit_code == 0
    assert "What matters" not in done.output
    assert "simulated again at both ends" in done.output


BAD_RANGES = {
    '[timings]\n"dram.latncy" = { low = "1 ns", high = "2 ns" }': (
        "p.toml:2:1: timings.dram.latncy: unknown key, did you mean latency?"
    ),
    '[timings]\n"dram.latency" = { low = "1 ns", high = "-140 ns" }': (
        'p.toml:2:41: timings.dram.latency.high: expected a time of at least 0, got "-140 ns"'
    ),
    '[timings]\n"dram.latency" = { low = "50 ns", high = "40 ns" }': (
        'p.toml:2:1: timings.dram.latency: expected low <= high, got "50 ns", "40 ns"'
    ),
    '[timings]\n"bank.mrma.write_cycle" = { low = "5 ns", high = "20 ns" }': (
        "p.toml:2:1: timings.bank.mrma.write_cycle: no run's machine has a bank group mrma, "
        "did you mean mram?"
    ),
    '[prices]\n"dram raed" = { sigma = 0.1 }': (
        'p.toml:2:1: prices.dram raed: no run has a price "dram raed", did you mean dram read?'
    ),
}


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("text", BAD_RANGES)
def test_what_no_run_can_take_is_told_before_anything_is_printed(text: str) -> None:
    """By the file's line and key, not by a --set that nobody typed."""
    Path("p.toml").write_text(text)
    done = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "runs/edge-mram", "--prices", "p.toml"])

    assert str(done.exception) == BAD_RANGES[text]
    assert done.output == ""


@pytest.mark.usefixtures("runs")
def test_a_machine_without_the_group_of_a_time_is_passed_over() -> None:
    """It is said; the others are simulated again."""
    Path("p.toml").write_text('[timings]\n"bank.mram.write_cycle" = { low = "5 ns", high = "20 ns" }\n')
    done = CliRunner().invoke(app, ["uncertainty", "runs/edge-mram", "runs/edge-sram", "--prices", "p.toml"])

    assert "edge-mram, simulated again at both ends" in done.output
    assert "edge-sram: bank.mram.write_cycle: no such bank group" in done.output
    assert "edge-sram, simulated" not in done.output


@pytest.mark.usefixtures("runs")
def test_runs_are_told_apart() -> None:
    """The same one twice is refused; of two folders of one name the paths are shown."""
    shutil.copytree("runs/edge-sram", "copies/edge-sram", dirs_exist_ok=True)
    twice = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "edge-sram"])
    alike = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "copies/edge-sram"])

    assert str(twice.exception) == "edge-sram: the same run as runs/edge-sram; give each run once"
    assert "runs/edge-sram < copies/edge-sram" in alike.output


@pytest.mark.usefixtures("runs")
def test_prices_do_not_go_with_corners() -> None:
    """They would change nothing."""
    done = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "--corners", "tt", "--prices", "p.toml"])

    assert "--prices p.toml: ranges have no effect with --corners" in str(done.exception)


@pytest.mark.usefixtures("runs")
def test_a_source_of_ones_own_is_told() -> None:
    """Of a file of prices."""
    Path("own.toml").write_text('[prices]\n"dram *" = { sigma = 0.1, source = "my-paper" }\n')
    done = CliRunner().invoke(app, ["uncertainty", "runs/edge-sram", "--prices", "own.toml"])

    assert "sources not in docs/sources.md: my-paper" in done.output


@pytest.mark.usefixtures("runs")
def test_the_break_even_matrix_fits_80_columns() -> None:
    """Columns between others are left out, and told."""
    done = CliRunner().invoke(app, ["breakeven", "runs/edge-mram", "runs/edge-sram"], env={"COLUMNS": "80"})

    assert max(map(len, done.output.splitlines())) <= 80
    assert "A wider screen has more columns: 0.178" in done.output


def test_the_break_even_plot_says_what_it_shows(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Axes as in the table, the ratio beside the colours, and what the plus is."""
    kept: list[Any] = []
    monkeypatch.setattr(breakeven_plot, "save", lambda made, _: kept.append(made))
    axes = ["leakage", "write_energy"]
    breakeven_plot.breakeven_plot(pair_of(runs["edge-mram"], runs["edge-sram"], axes), axes, Path("b.png"))
    made = kept[0]
    made.draw_without_rendering()
    panel, bar = made.axes

    assert (panel.get_xlabel(), panel.get_ylabel()) == tuple(AXES[axis] for axis in axes)
    assert bar.get_ylabel() == "energy of edge-mram / edge-sram"
    assert "1.000" in [tick.get_text() for tick in bar.get_yticklabels()]  # where both need the same
    assert "+: as it is" in made.get_suptitle()
