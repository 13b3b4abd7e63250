"""Tables of a run and of the difference between two: whole texts, and the sums behind them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

import accelsim
from accelsim.cli.app import main
from accelsim.report import comparison, listing, report
from accelsim.report.compare import changes
from accelsim.report.inputs import inputs
from accelsim.report.layers import layer_costs, step_costs
from accelsim.report.layout import grid
from accelsim.report.run import costliest_layers, far_estimate, footnotes
from accelsim.report.si import lifetime, si
from accelsim.trace import human
from accelsim.trace.runs import open_run

MakeRun = Callable[..., Path]
GOLDEN = Path(__file__).parent / "golden" / "cli"


def _text(what: RenderableType, width: int = 110) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(what)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _same_as_golden(name: str, text: str, regen: bool) -> None:
    if regen:
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")  # no file: the test fails


def test_the_report_of_a_run(make_run: MakeRun, regen: bool) -> None:
    """The whole text. --regen-golden rewrites it; review the diff."""
    run = open_run(make_run())

    _same_as_golden("report.txt", _text(report(run.summary, run.manifest, run.table("ops"))), regen)


def test_mean_power_says_over_what_it_is_taken(make_run: MakeRun) -> None:
    """Of a step with a gap after it: energy through the time of both."""
    run = open_run(make_run())
    gap_ps = 3 * run.summary["time_ps"]
    summary = {**run.summary, "host_gap_ps": gap_ps}

    told = re.search(r"\(([\d.]+) W (on average.*)\)", _text(report(summary, run.manifest, run.table("ops"))))

    assert told is not None
    assert float(told[1]) == pytest.approx(summary["energy_pj"]["total"] / (gap_ps * 4 / 3), rel=0.01)
    assert told[2] == f"on average over the step and the {human.time(gap_ps)} after it"


def test_the_comparison_of_two_runs(make_run: MakeRun, regen: bool) -> None:
    """The whole text but the paths: inputs first, then totals, phases, components, layers."""
    a, b = open_run(make_run("a")), open_run(make_run("b", machine="m2", scale=2))

    text = _text(comparison(a, b)).replace(str(a.path), "runs/a").replace(str(b.path), "runs/b")
    _same_as_golden("compare.txt", text, regen)


def test_a_run_compared_with_itself_differs_in_nothing(make_run: MakeRun) -> None:
    """Every ratio is 1 and no input differs."""
    run = open_run(make_run())
    text = _text(comparison(run, run))

    assert "The inputs are the same." in text
    assert {line.split()[-1] for line in text.splitlines() if line.endswith(("00", "50"))} == {"1.000"}


def test_inputs_are_compared_by_path_and_how_a_run_was_made_is_none() -> None:
    """Command and wall time do not count; entries of a list are named by their key."""
    a = {
        "command": ["x"],
        "wall_s": {"map": 1},
        "machine": {"list": [{"key": "dram.latency", "value": 1}], "sources": [{"key": "x", "value": 1}]},
    }
    b = {
        "command": ["y"],
        "wall_s": {"map": 2},
        "machine": {"list": [{"key": "dram.latency", "value": 2}], "sources": [{"key": "x", "value": 2}]},
    }

    assert "machine.list[dram.latency].value   1   2" in _text(inputs(a, b))
    assert _text(inputs(a, {**a, "command": []})) == "The inputs are the same.\n\n"


def test_what_one_run_alone_has_is_one_row_and_long_tables_are_cut() -> None:
    """A bank group, a device, a hundred measured layers; everything is there with --all."""
    group = {"count": 4, "word": 32, "name": "mram", "device": {"delta": 20, "name": "x"}, "ecc": None}
    content = {f"weight layer{i:02}": {"zeros": 0.5} for i in range(40)}
    other = {name: {"zeros": 0.25} for name in content}
    a = {"machine": {"banks": {"sram": {"count": 1}}, "content": content, "device": None}}
    b = {
        "machine": {"banks": {"sram": {"count": 2}, "mram": group}, "content": other, "device": "x"},
        "mapping_file": {"name": "m.toml"},
    }

    short, full = _text(inputs(a, b)), _text(inputs(a, b, everything=True))
    assert ["machine.banks.mram", "-", "mram,", "6", "values"] in [x.split() for x in short.splitlines()]
    assert ["machine.banks.sram.count", "1", "2"] in [x.split() for x in short.splitlines()]
    cut = "machine.content... 16 more rows --all shows them"
    assert cut in [" ".join(x.split()) for x in short.splitlines()]
    assert ["mapping_file.name", "-", "m.toml"] in [x.split() for x in short.splitlines()]
    assert short.count("0.25") == 24
    assert full.count("0.25") == 40
    assert ["machine.banks.mram.device.delta", "-", "20"] in [x.split() for x in full.splitlines()]
    assert "more rows" not in full


def test_figures_have_the_digits_that_tell_them_apart_and_hashes_their_beginning() -> None:
    """Four, or more where two figures would read the same; twelve of a hash, which is called one."""
    a = {"noc": 0.01899177084950216, "near": 1.00001, "program": "8d5f2a1c" * 8, "n": 1234567, "flag": True}
    b = {"noc": 0.02246, "near": 1.00002, "program": "1c8d5f2a" * 8, "n": 1234568, "flag": False}

    rows = [" ".join(line.split()) for line in _text(inputs(a, b)).splitlines()]
    assert rows[4:] == [
        "flag True False",
        "n 1234567 1234568",
        "near 1.00001 1.00002",
        "noc 0.01899 0.02246",
        "program hash 8d5f2a1c8d5f hash 1c8d5f2a1c8d",
        "",
    ]


NAMES = ("machine.banks.sram.capacity_bytes", "machine.placement.optimizer_state")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_names_stay_whole_and_tables_within_the_screen(width: int) -> None:
    """Values are wrapped, and at last broken; numbers are whole though their names are in two lines."""
    values = [("a value of some words " * 4, "runs/a/" + "x" * 40), ("short", "y" * 50)]
    rows = [(name, *of) for name, of in zip(NAMES, values, strict=True)]
    text = _text(grid("T", ("input", "A", "B"), rows, text_columns=3), width)
    assert all(name in text.split() for name in NAMES)
    assert max(map(len, text.splitlines())) <= max(width, len(NAMES[0]) + 2 * 16 + 10)

    numbers = grid("T", ("", *["bits read again"] * 5), [("all", *["1.234e-05"] * 5)])
    text = _text(numbers, 75)
    assert text.split().count("1.234e-05") == 5
    assert max(map(len, text.splitlines())) <= 75


def test_a_table_that_is_too_wide_goes_on_below_with_the_same_keys() -> None:
    """Whole where there is room; else in parts, each with its keys, without rows that say nothing."""
    names = ("case", "one and two", "three and four", "note")
    table = grid("T", names, [("a", "1" * 12, "2" * 12, "x"), ("b", "3" * 12, "4" * 12, "")], keys=1)
    assert [line.split() for line in _text(table, 60).splitlines()][4:] == [
        ["a", "1" * 12, "2" * 12, "x"],
        ["b", "3" * 12, "4" * 12],
        [],
    ]
    lines = [line.split() for line in _text(table, 30).splitlines()]
    assert max(map(len, _text(table, 30).splitlines())) <= 30
    assert [line for line in lines if line[:1] in (["a"], ["b"])] == [
        ["a", "1" * 12],
        ["b", "3" * 12],
        ["a", "2" * 12, "x"],
        ["b", "4" * 12],
    ]


def test_what_the_command_line_prints_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables and paragraphs at 100 columns; at 20 a number is rather out of the screen than cut off."""
    printed = {}
    for width in (100, 20):
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit):
            main(["check", "edge-hybrid", "--self"])
        printed[width] = capsys.readouterr().out
    assert max(map(len, printed[100].splitlines())) <= 100
    assert printed[20].count("pass") == 16
    assert printed[20].count("41,060,000") == 2


def test_the_largest_change_comes_first_and_the_rest_is_counted() -> None:
    """Sorted by the size of the change, then by name; entries of one side only are shown."""
    text = _text(changes("T", "layer", {"a": 1, "b": 9, "c": 5}, {"a": 2, "b": 9, "d": 7}, human.time, top=2))

    assert text.splitlines()[0].startswith("T (2 smaller changes not shown)")
    assert [line.split()[0] for line in text.splitlines()[4:6]] == ["d", "c"]
    assert "-5 ps" in text


def test_what_rounds_to_nothing_has_no_sign() -> None:
    """Nor a unit, as all else that is 0."""
    one = changes("T", "", {"a": 33.30001, "b": 0}, {"a": 33.29999, "b": 0}, "{:.1f} %".format)

    rows = [line.split() for line in _text(one).splitlines()[4:-1]]
    assert rows == [["a", "33.3", "%", "33.3", "%", "0", "1.000"], ["b", "0", "0", "0", "-"]]


def test_figures_of_devices_have_four_digits() -> None:
    """2.030 beside 2.043; whole numbers as they are, also where a float is a little off."""
    assert [si(v, "s") for v in (2.03e-9, 2.043e-9, 1e-7, 0.3)] == [
        "2.030 ns",
        "2.043 ns",
        "100 ns",
        "300 ms",
    ]
    assert [lifetime(v) for v in (315_576_000.0, 31_557_600 * 1.23e9)] == ["10 years", "1.23e+09 years"]


def test_layers_sum_their_ops_and_fused_ones_take_no_time(make_run: MakeRun) -> None:
    """conv1's relu rides on its convolution; fc has three ops."""
    costs = layer_costs(open_run(make_run()).table("ops"))

    assert [(c.layer, c.time_ps, c.stall_ps) for c in costs] == [
        ("fc", 60_000_000, 5_000_000),
        ("conv1", 40_000_000, 0),
    ]
    assert costs[0].phase_ps == {"forward": 20_000_000, "backward": 30_000_000, "update": 10_000_000}
    assert [c.dram_bytes for c in costs] == [8192, 4096]


def test_only_the_costliest_layers_are_shown(make_run: MakeRun) -> None:
    """With how many there are."""
    run = open_run(make_run())
    text = _text(costliest_layers(run.summary, run.table("ops"), top=1))

    assert "1 costliest of 2 layers" in text
    assert "conv1" not in text


@pytest.mark.parametrize("top", [1, 4, 99])
def test_rows_of_layers_add_up_to_the_step(tmp_path: Path, top: int) -> None:
    """In time, share, energy and traffic, with what is left out and what is no layer's; one name for that."""
    small = tmp_path / "small"
    accelsim.simulate("edge-sram", "mlp", batch=2, out=small)  # ends with write-backs
    run = open_run(small)
    summary, ops = run.summary, run.table("ops")
    text = _text(costliest_layers(summary, ops, top))
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[4:-1]]
    layers, step = step_costs(summary, ops)

    assert [r[0] for r in rows][-2:] == ["(step)", "total"]
    assert sum(float(r[2].removesuffix(" %")) for r in rows[:-1]) == pytest.approx(100, abs=0.3)
    assert rows[-1][1:3] == [human.time(summary["time_ps"]), "100.0 %"]
    assert rows[-1][-2] == human.energy(summary["energy_pj"]["total"])
    assert step.time_ps > 0
    assert sum(c.time_ps for c in [*layers, step]) == summary["time_ps"]
    assert sum(c.dram_bytes for c in [*layers, step]) == sum(summary["dram_bytes"].values())
    compared = _text(comparison(run, run))
    assert compared.count(" (step) ") == 2  # time and energy
    assert "(none)" not in compared


def test_a_narrow_screen_has_fewer_columns(make_run: MakeRun) -> None:
    """Rather than lines that wrap; which, is told."""
    run = open_run(make_run())
    wide, narrow = (_text(costliest_layers(run.summary, run.table("ops")), width) for width in (110, 80))

    assert "wider" not in wide
    assert max(map(len, wide.splitlines())) > 80 >= max(map(len, narrow.splitlines()))
    assert "A wider screen has more columns: stalled\n" in narrow


def test_unsupported_ops_are_in_every_report(make_run: MakeRun) -> None:
    """At the top, by op, layer and phase."""
    run = open_run(make_run())
    op = {"aten": "aten.fft.default", "layer": "mix[0]", "phase": "forward", "count": 2}
    summary = {**run.summary, "unsupported_ops": 2, "unsupported": [op]}
    text = _text(report(summary, run.manifest, run.table("ops")))

    assert "2 UNSUPPORTED OPS (costed as elementwise: --allow-unsupported)" in text
    assert ["aten.fft.default", "mix[0]", "forward", "2"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("estimate", "told"),
    [(1.0, ""), (1.09, ""), (0.8, "takes 25 % longer than the mapping"), (1.25, "takes 20 % shorter than")],
)
def test_an_estimate_that_is_far_off_is_told(make_run: MakeRun, estimate: float, told: str) -> None:
    """From a tenth on, either way; not where the estimate is of the machine that another run was for."""
    run = open_run(make_run())
    summary = {**run.summary, "estimate": {"time_ps": round(run.summary["time_ps"] * estimate)}}
    (note,) = list(far_estimate(summary, run.manifest)) or [""]
    assert told in note
    assert bool(told) == bool(note)
    assert list(far_estimate(summary, {**run.manifest, "decides": {"mapping_from": "x"}})) == []


def test_every_assumed_value_is_named(make_run: MakeRun) -> None:
    """Counted, with keys of one table together."""
    summary = {**open_run(make_run()).summary, "assumed": ["a.b.x", "c", "a.b.y", "a.z"]}
    text = "".join(_text(part) for part in footnotes(summary))

    assert text.startswith("4 assumed values: a.b.{x, y}, c, a.z\n")


def test_the_listing_has_a_row_per_run(make_run: MakeRun) -> None:
    """Name, machine, workload and costs."""
    text = _text(listing([open_run(make_run("a")), open_run(make_run("b", machine="m2"))]))

    assert [line.split()[0] for line in text.splitlines()[4:6]] == ["a", "b"]
    assert "100 us     2 uJ   12.29 kB" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (human.time(999), "999 ps"),
        (human.time(999_999), "1.000 us"),
        (human.time(1_234_567_890_123), "1.235 s"),
        (human.energy(999.99), "1.000 nJ"),
        (human.energy(-2500.0), "-2.500 nJ"),
        (human.capacity(1536), "1.500 KiB"),
        (human.traffic(1024), "1.024 kB"),
        (human.count(0), "0"),
        (human.percent(1, 0), "-"),
    ],
)
def test_numbers_for_people(text: str, expected: str) -> None:
    """Four digits and the unit that fits, also at the borders."""
    assert text == expected
