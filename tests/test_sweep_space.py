"""Sweeps as they are written: expressions, parameters, mixes, and their faults at their places."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import ConfigError, InputError
from accelsim.resolve import load_machine
from accelsim.sweep.expression import ExpressionError, parse
from accelsim.sweep.methods import listed
from accelsim.sweep.plan import Sweep, load_sweep
from accelsim.sweep.reference import sweep_reference

LAYERS = "name, h, w, kh, kw, channels, filters, stride,\none, 8, 8, 3, 3, 4, 8, 1,\n"


def sweep_of(folder: Path, text: str, head: str = 'objectives = ["cycles"]\n') -> Sweep:
    """Return the sweep of a text that names no base, workload or objectives."""
    (folder / "tiny.csv").write_text(LAYERS)
    path = folder / "s.toml"
    path.write_text(f'base = "edge-hybrid"\nworkload = "tiny.csv"\n{head}{text}')
    return load_sweep(str(path))


def settings(sweep: Sweep) -> list[dict[str, Any]]:
    return [c.settings for c in sweep.space.grid()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 MiB", 2**21),
        ("area_mm2 <= 12", True),
        ("1.5 ns + 2 ps", 1502),
        ("bank.mram.capacity >= 2 MiB and not area_mm2 > 12 mm2", False),
        ('device in ["mram-1s", "mram-10y"]', True),
        ('device == "2 MiB"', False),
        ("min(area_mm2, 3) * 2", 6),
        ("1 < area_mm2 < 11", True),
        ("errors < 1e-6 or errors <= 1.5E-5", True),
        ("2e3 ns", 2_000_000),
    ],
)
def test_expressions_have_units_and_dotted_names(text: str, value: object) -> None:
    """Quantities become numbers in base units; texts stay texts."""
    names = {"area_mm2": 10.0, "bank.mram.capacity": 2**20, "device": "mram-1s", "errors": 1e-5}

    assert parse(text).value(names) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "a.b()",
        "[x for x in a]",
        "lambda: 1",
        "a[0]",
        "area <=",
        "2 mm3",
        "f'{a}'",
        "a := 1",
        "max(key=1)",
    ],
)
def test_nothing_else_of_python_is_an_expression(text: str) -> None:
    """What could run code, or is none of the language, is refused as it is read."""
    with pytest.raises(ExpressionError):
        parse(text)


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    """So that a misspelt constraint is not silently met."""
    with pytest.raises(ExpressionError, match=r'no figure or key "area", did you mean area_mm2\?'):
        parse("area <= 3").value({"area_mm2": 1})


def test_the_excess_of_a_constraint_is_its_relative_distance() -> None:
    """A search follows it downhill."""
    assert parse("a <= 10").excess({"a": 12}) == pytest.approx(0.2)
    assert parse("a <= 10").excess({"a": 10}) == 0.0


def test_a_grid_is_the_product_of_lists_and_of_levels_of_ranges(tmp_path: Path) -> None:
    """Log ranges are evenly spaced in the logarithm; steps end at or before the end."""
    sweep = sweep_of(
        tmp_path,
        '[parameters]\n"bank.mram.count" = [2, 4]\n'
        '"clock" = { range = ["100 MHz", "10 GHz"], log = true, levels = 3 }\n'
        '"dma.outstanding" = { range = [2, 9], step = 3 }\n',
    )
    found = settings(sweep)

    assert len(found) == sweep.space.size == 2 * 3 * 3
    assert list(dict.fromkeys(s["clock"] for s in found)) == [
        "100000000 Hz",
        "1000000000 Hz",
        "10000000000 Hz",
    ]
    assert list(dict.fromkeys(s["dma.outstanding"] for s in found)) == [2, 5, 8]


def test_linked_parameters_follow_others(tmp_path: Path) -> None:
    """By an expression, or by standing beside."""
    found = settings(
        sweep_of(
            tmp_path,
            '[parameters]\n"bank.mram.count" = [2, 4]\n"bank.sram.count" = { expr = "8 - bank.mram.count" }\n'
            '"bank.mram.subbanks" = { with = "bank.mram.count", values = [6, 3] }\n',
        )
    )

    assert [(s["bank.mram.count"], s["bank.sram.count"], s["bank.mram.subbanks"]) for s in found] == [
        (2, 6, 6),
        (4, 4, 3),
    ]


def test_a_parameter_of_a_group_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    """A device only if there is an MRAM group; so too under a condition of one's own."""
    found = settings(
        sweep_of(
            tmp_path,
            '[parameters]\n"bank.mram.count" = [0, 4]\n"bank.mram.device" = ["mram-1s", "mram-10ms"]\n'
            '"clock" = { values = ["1 GHz", "500 MHz"], when = "bank.mram.count > 0" }\n',
        )
    )

    assert len(found) == 1 + 2 * 2
    assert {"bank.mram.count": 0} in found


def test_a_mix_of_banks_splits_all_of_them(tmp_path: Path) -> None:
    """Every split once; a group without banks is not in the machine."""
    sweep = sweep_of(
        tmp_path,
        'mix = { budget = "banks: 4", step = 2, groups = { sram = "sram", mram = "stt34" } }\n',
    )
    machines = [sweep.machine_of(c.settings) for c in sweep.space.grid()]

    assert [{n: b.count for n, b in m.banks.items()} for m in machines] == [
        {"mram": 4},
        {"sram": 2, "mram": 2},
        {"sram": 4},
    ]
    assert [m.banks["mram"].capacity_bytes for m in machines[:2]] == [384 * 1024, 192 * 1024]


@given(steps=st.integers(1, 8), groups=st.integers(2, 4))
def test_splits_are_all_ways_to_share_steps(steps: int, groups: int) -> None:
    """Each sums to the budget, none twice, as many as combinatorics says."""
    from math import comb

    from accelsim.sweep.mix import Group, Mix

    mix = Mix(False, 1, steps, tuple(Group(f"g{i}", {}, 1) for i in range(groups)), {})
    found = list(mix.splits())

    assert len(set(found)) == len(found) == comb(steps + groups - 1, groups - 1)
    assert {sum(split) for split in found} == {steps}


def test_a_mix_of_area_stays_within_it(tmp_path: Path) -> None:
    """The array table's macros, as many as fit; new groups come at the end of every placement."""
    sweep = sweep_of(
        tmp_path,
        'mix = { budget = "area: 0.5 mm2", step = "0.1 mm2", '
        'groups = { sram = "sram", mram_1s = "mram-1s", mram_10y = "mram-10y" } }\n',
    )
    machines = [sweep.machine_of(c.settings) for c in sweep.space.grid()]

    assert len(machines) == 21
    assert all(0.4 < m.area_mm2 <= 0.5 for m in machines)
    assert machines[7].placement["error"] == ("sram", "mram_1s", "mram_10y")


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_spread_points_are_those_of_the_seed(tmp_path: Path, method: str) -> None:
    """As many as asked for, the same each time, others under another seed."""
    text = f'method = "{method}"\nsamples = 10\nseed = %d\n'
    text += '[parameters]\n"clock" = { range = ["1 MHz", "1 GHz"] }\n'

    def points(seed: int) -> list[Any]:
        sweep = sweep_of(tmp_path, text % seed)
        source = listed(sweep.spec, sweep.space)
        return [asked[1].settings["clock"] for asked in iter(source.ask, None)]

    assert len(set(points(1))) == 10
    assert points(1) == points(1) != points(2)


FAULTS = {
    '[parameters]\n"bank.mrma.count" = [2]\n': (
        '5:1: parameters.bank.mrma.count: no bank group "mrma", did you mean mram?'
    ),
    '[parameters]\n"bank.mram.cuont" = [2]\n': (
        '5:1: parameters.bank.mram.cuont: no key "cuont" in bank.mram, did you mean count?'
    ),
    '[parameters]\n"clock" = ["fast"]\n': "5:11: parameters.clock: expected a frequency such as",
    '[parameters]\n"bank.mram.count" = []\n': "expected a list of values that is not empty",
    '[parameters]\n"bank.mram.count" = [2, 2]\n': "2 stands twice",
    '[parameters]\n"clock" = { range = ["2 GHz", "1 GHz"] }\n': "expected the lower end first",
    '[parameters]\n"clock" = { rnage = ["1 GHz", "2 GHz"] }\n': "parameters.clock.rnage",
    "": "parameters: an empty space: give [parameters] or a mix",
    'constraints = ["aera_mm2 <= 3"]\n[parameters]\n"clock" = ["1 GHz"]\n': (
        '4:16: constraints[0]: no figure or key "aera_mm2", did you mean area_mm2?'
    ),
    'mehtod = "grid"\n': "4:1: mehtod: unknown key, did you mean method?",
    'mix = { budget = "area: 8", step = "1 mm2", groups = { a = "sram", b = "stt34" } }\n': "mix.budget",
    'mix = { budget = "banks: 2", step = 4, groups = { a = "sram", b = "stt34" } }\n': "more than the budget",
    'method = "tpe"\nfidelity = { rank = "estimate" }\n[parameters]\n"clock" = ["1 GHz"]\n': "fidelity.rank",
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.items())
def test_faults_of_a_sweep_say_where_and_what_was_meant(tmp_path: Path, text: str, fault: str) -> None:
    """file:line:column: key: what is wrong."""
    with pytest.raises(ConfigError, match=re.escape(fault)):
        sweep_of(tmp_path, text)


def test_an_unknown_objective_is_a_fault_of_the_file(tmp_path: Path) -> None:
    """With the nearest figure."""
    with pytest.raises(
        ConfigError, match=r'3:15: objectives\[0\]: no figure or key "cycels", did you mean cycles'
    ):
        sweep_of(tmp_path, '[parameters]\n"clock" = ["1 GHz"]\n', 'objectives = ["cycels"]\n')


def test_what_needs_training_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A topology has no model."""
    with pytest.raises(ConfigError, match="2:12: workload: a topology file has no model to train"):
        sweep_of(tmp_path, '[parameters]\n"clock" = ["1 GHz"]\n', 'objectives = ["accuracy"]\n')


def test_a_bank_group_of_no_banks_is_not_there() -> None:
    """Also in a machine's own file: placements pass over it, and at least one group has to remain."""
    machine = load_machine("edge-hybrid", ("bank.mram.count=0",))

    assert list(machine.banks) == ["sram"]
    assert machine.placement["weight"] == ("sram",)
    with pytest.raises(InputError, match="every bank group has count = 0"):
        load_machine("edge-hybrid", ("bank.mram.count=0", "bank.sram.count=0"))


@pytest.mark.parametrize("name", ["equal-area", "retention", "capacity"])
def test_shipped_sweeps_are_whole(name: str) -> None:
    """Every candidate of theirs is a machine."""
    sweep = load_sweep(name)

    assert all(sweep.machine_of(c.settings).banks for c in sweep.space.grid())


def test_the_reference_of_sweeps_is_up_to_date(regen: bool) -> None:
    """docs/sweeps.md ends in what the specs give; --regen-golden writes it."""
    page = Path(__file__).parent.parent / "docs" / "sweeps.md"
    text = page.read_text(encoding="utf-8")
    head = text[: text.index("\n", text.index("<!-- from here on: generated")) + 2]
    if regen:
        page.write_text(head + sweep_reference(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == head + sweep_reference()
