"""``accelsim check --self``: arithmetic on the user's machine beside what is simulated."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from accelsim.cli.app import main
from accelsim.config.locate import names
from accelsim.resolve import load_machine
from accelsim.run.memorychecks import Check
from accelsim.run.selfcheck import self_checks

ODD = (
    ("accumulator.capacity=0 B",),
    ("pe_array.zero_gating=true", "zero_rate.activation=0.5"),
    ("dma.burst=4 KiB", "dma.outstanding=1"),
    ("format.weight=int8", "format.activation=fp32", "format.input=fp16"),
    ("clock=333 MHz", "dram.bandwidth=1.7 GB/s", "dram.latency=77 ns"),
    ("pe_array.rows=7", "pe_array.cols=13"),
    ("bank.sram.power_gating=empty",),
    ("pe_array.accumulate=bf16", "host.gap=1 us"),
)


@pytest.mark.parametrize("name", names("arch"))
def test_every_shipped_machine_passes(name: str) -> None:
    """Each check of each, none left out."""
    checks = self_checks(load_machine(name))
    assert [c for c in checks if not c.passed] == []
    assert len(checks) == 12 + 2 * len(load_machine(name).banks)


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("convention", ["physical", "scale-sim"])
@pytest.mark.parametrize("settings", ODD, ids=" ".join)
def test_odd_machines_pass(dataflow: str, convention: str, settings: tuple[str, ...]) -> None:
    """The arithmetic holds for what users describe, not for the shipped machines alone."""
    of = (f"pe_array.dataflow={dataflow}", f"pe_array.convention={convention}")
    assert [c for c in self_checks(load_machine("edge-sram", (*of, *settings))) if not c.passed] == []


def _banks(capacity: str, count: int, subbanks: int) -> tuple[str, ...]:
    return f"bank.sram.capacity={capacity}", f"bank.sram.count={count}", f"bank.sram.subbanks={subbanks}"


@pytest.mark.parametrize(
    ("arch", "settings", "extent", "exact"),
    [  # each was cut by the mapper, an operand read twice
        ("edge-sram", _banks("64 KiB", 2, 1), "64 x 32 x 32", True),
        ("tpu-like-sram", _banks("256 KiB", 4, 1), "256 x 128 x 128", True),
        (
            "edge-sram",
            ("pe_array.dataflow=is", "bank.sram.word=64 bit", *_banks("96 KiB", 3, 1)),
            "32 x 64 x 32",
            True,
        ),
        ("edge-sram", ("pe_array.rows=128", "pe_array.cols=128"), "256 x 128 x 128", True),
        ("edge-mram", ("pe_array.rows=128", "pe_array.cols=128"), "256 x 128 x 128", True),
        # a shorter stream fits; nothing fits whole
        (
            "edge-sram",
            ("pe_array.rows=128", "pe_array.cols=128", *_banks("64 KiB", 2, 1)),
            "32 x 128 x 128",
            True,
        ),
        ("edge-sram", ("pe_array.rows=512", "pe_array.cols=512"), "1024 x 512 x 512", False),
    ],
)
def test_one_tile_is_one_tile_where_it_fits(
    arch: str, settings: tuple[str, ...], extent: str, exact: bool
) -> None:
    """With equalities; where none fits, DRAM traffic and shifting have bounds, and all checks pass."""
    checks = self_checks(load_machine(arch, settings))
    assert [c for c in checks if not c.passed] == []
    bounds = {c.name for c in checks if c.at_least} - {"its time, ps"}
    assert any(c.name.startswith(f"one tile of {extent}: ") for c in checks)
    assert ("bytes read from DRAM" in bounds) is not exact
    assert bool(bounds) is not exact


SPLIT = (
    "pe_array.rows=7",
    "pe_array.cols=13",
    *(f'placement.{role}={{"msb:3"=["sram"],rest=["mram"]}}' for role in ("input", "weight", "activation")),
)
MEMORIES = {  # settings, and how many checks they add to those of edge-hybrid
    (): 0,
    ("scratchpad.interleave=line",): 4,
    ("scratchpad.interleave=line", "scratchpad.line=4 KiB", "bank.mram.ports=1r1w"): 4,
    ("scratchpad.interleave=tile", "scratchpad.skew=1"): 4,
    ("bank.mram.write_buffer.entries=16", "bank.mram.ecc=secded"): 2,
    ("bank.sram.write_buffer.entries=1", "bank.mram.write_buffer.entries=5", "scratchpad.interleave=tile"): 8,
    SPLIT: 0,
}


@pytest.mark.parametrize("settings", MEMORIES, ids=" ".join)
def test_what_stands_before_cells_has_checks(settings: tuple[str, ...]) -> None:
    """Maps of addresses and write buffers have rows of their own; bit fields move in bursts of their own."""
    checks = self_checks(load_machine("edge-hybrid", settings))
    assert [c for c in checks if not c.passed] == []
    assert len(checks) == 16 + MEMORIES[settings]
    assert any("by bit field" in c.formula for c in checks) == (settings == SPLIT)


def test_a_check_that_differs_fails() -> None:
    """One part in 10^8 is too much; a bound may be exceeded, not missed."""
    check = Check("x", "y", 100.0, 100.0)
    assert check.passed
    assert not replace(check, found=100.000001).passed
    assert replace(check, found=101.0, at_least=True).passed
    assert not replace(check, found=99.0, at_least=True).passed
    assert not replace(check, note="does not fit").passed


def test_it_prints_marks_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A line per check; the same in JSON."""
    with pytest.raises(SystemExit) as ended:
        main(["check", "edge-hybrid", "--self"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("pass ", " pass ")) for line in lines) == 16
    with pytest.raises(SystemExit):
        main(["check", "edge-hybrid", "--self", "--json"])
    told = json.loads(capsys.readouterr().out)["self_checks"]
    assert [c["passed"] for c in told] == [True] * 16
