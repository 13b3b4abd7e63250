"""Keys that change nothing are told, truly, and where another key makes them count they are not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from accelsim.cli.app import main
from accelsim.config.locate import names
from accelsim.errors import ConfigError
from accelsim.resolve import load_machine
from accelsim.resolve.load import load_unused

DEVICE = "bank.mram.device=mram-1s"
LOP = "bank.sram.flavour=LOP"
GIVEN = (
    *("bank.sram.read_latency=1ns", "bank.sram.read_cycle=1ns", "bank.sram.write_cycle=1ns"),
    *("bank.sram.read_energy=1pJ", "bank.sram.write_energy=1pJ", "bank.sram.leakage=1mW"),
)
CASES: dict[
    str, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # key: with what it has none, and what makes it count
    "bank.sram.gated_leakage=0.3": ((), ("bank.sram.power_gating=empty",)),
    "bank.sram.drowsy_leakage=0.3": (("bank.sram.power_gating=empty",), ("bank.sram.power_gating=drowsy",)),
    "bank.sram.wakeup_latency=9ns": ((), ("bank.sram.power_gating=drowsy",)),
    "bank.sram.mux_area=0.3": (("bank.sram.subbanks=1",), ("bank.sram.subbanks=2",)),
    "bank.sram.mux_energy=0.3": (("bank.sram.subbanks=1",), ("bank.sram.subbanks=2",)),
    "bank.sram.mux_latency=2ns": (("bank.sram.subbanks=1",), ("bank.sram.subbanks=2",)),
    "bank.sram.ecc_word=32bit": ((), ("bank.sram.ecc=secded",)),
    "bank.sram.ecc_latency=1ns": ((), ("bank.sram.ecc=secded",)),
    "bank.sram.write_buffer.high=0.9": (
        ("bank.sram.write_buffer.entries=0",),
        ("bank.sram.write_buffer.entries=8",),
    ),
    "bank.sram.flavour=HP": ((*GIVEN, "bank.sram.area=1mm2"), GIVEN),
    "transpose.block=8": ((), ("scratchpad.layout=modelled", "transpose.rate=32B")),
    "transpose.rate=64B": ((), ("scratchpad.layout=modelled",)),
    "transpose.area=1mm2": (("transpose.rate=64B",), ("transpose.rate=64B", "scratchpad.layout=modelled")),
    "scratchpad.skew=1": ((), ("scratchpad.interleave=tile",)),
    "scratchpad.line=64B": (("scratchpad.interleave=tile",), ("scratchpad.interleave=line",)),
    "im2col.energy=3pJ": (("im2col.line_buffer=0B",), ("im2col.line_buffer=8KiB",)),
}


def _machine(*overrides: str) -> dict[str, object]:
    described = asdict(load_machine("edge-hybrid", overrides))
    return {k: v for k, v in described.items() if k != "sources"}


@pytest.mark.parametrize("key", CASES)
def test_what_is_told_is_true(key: str) -> None:
    """The machine is the same without the key; with the other key it is another one, and nothing is told."""
    without, counts = CASES[key]
    name = key.partition("=")[0]
    told = [line for line in load_unused("edge-hybrid", (*without, key)) if f"--set {name}: " in line]
    assert len(told) == 1
    assert "has no effect" in told[0]
    if key.startswith("im2col"):
        assert _machine(*without, key)["im2col_line_buffer_bytes"] == 0
    else:
        assert _machine(*without, key) == _machine(*without)
    assert [line for line in load_unused("edge-hybrid", (*counts, key)) if f"--set {name}: " in line] == []
    assert _machine(*counts, key) != _machine(*counts)


def test_what_data_look_like_needs_somebody_to_look() -> None:
    """Zeros need gating, and gating zeros; toggles need cells that tell bits apart."""
    assert load_unused("edge-sram", ("zero_rate.activation=0.5", "pe_array.zero_gating=true")) == []
    assert "without pe_array.zero_gating" in load_unused("edge-sram", ("zero_rate.activation=0.5",))[0]
    gating = ("pe_array.zero_gating=true",)
    assert "without zero_rate" in load_unused("edge-sram", gating)[0]
    assert load_unused("edge-sram", gating, measured=True) == []
    toggles = ("toggle_rate.weight=0.1",)
    assert "has a device, differential_write" in load_unused("edge-hybrid", toggles)[0]
    assert load_unused("edge-hybrid", (*toggles, DEVICE)) == []


def test_one_bank_per_group_has_no_map_of_addresses() -> None:
    """``line`` over one bank is that bank."""
    one = ("bank.sram.count=1", "scratchpad.interleave=line", "scratchpad.line=512B")
    told = load_unused("edge-sram", one)
    assert [line.partition(": ")[0] for line in told] == [
        "--set scratchpad.interleave",
        "--set scratchpad.line",
    ]
    assert load_unused("edge-sram", one[1:]) == []


@pytest.mark.parametrize("arch", names("arch"))
def test_shipped_machines_say_nothing_in_vain(arch: str) -> None:
    """No key of theirs is without effect."""
    assert load_unused(arch) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("scratchpad.interleave=line", "scratchpad.line=256KiB"),
            "--set scratchpad.line: 256 KiB are more than a bank of sram has, 128 KiB",
        ),
        (
            ("bank.sram.write_buffer.entries=4097",),
            "--set bank.sram.write_buffer.entries: 4097 words are more than a bank has, 4096; give fewer",
        ),
    ],
)
def test_nothing_is_larger_than_its_bank(overrides: tuple[str, ...], message: str) -> None:
    """Lines and write buffers; as large as the bank is legal."""
    with pytest.raises(ConfigError) as fault:
        load_machine("edge-sram", overrides)
    assert message in str(fault.value)
    load_machine("edge-sram", tuple(o.replace("256", "128").replace("4097", "4096") for o in overrides))


def test_check_and_report_tell_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line and key; the summary and the id of the run know nothing of it."""
    file = tmp_path / "m.toml"
    file.write_text('extends = "edge-sram"\n[bank.sram]\nwakeup_latency = "2 ns"\n')
    note = f"Note: {file}:3:18: bank.sram.wakeup_latency: has no effect without power_gating"

    def run(*args: str) -> str:
        with pytest.raises(SystemExit) as done:
            main(list(args))
        assert not done.value.code
        return capsys.readouterr().out

    assert note in run("check", str(file))
    assert len(json.loads(run("check", str(file), "--json"))["unused_keys"]) == 1
    told = run("run", str(file), "mlp", "--batch", "4", "--quiet", "--out", str(tmp_path / "a"))
    assert "bank.sram.wakeup_latency: has no effect without power_gating" in " ".join(told.split())
    file.write_text('extends = "edge-sram"\n')
    assert "has no effect" not in run(
        "run", str(file), "mlp", "--batch", "4", "-q", "--out", str(tmp_path / "b")
    )
    one, two = ((tmp_path / name / "summary.json").read_bytes() for name in "ab")
    assert one == two
