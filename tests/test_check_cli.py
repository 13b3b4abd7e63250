"""accelsim check and schema; the generated reference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.cli.check import check, schema
from accelsim.config.locate import names, shipped
from accelsim.config.reference import arch_reference, device_reference
from accelsim.config.sources import SOURCES

DOC = shipped("arch").parent / "docs" / "arch-reference.md"


def accelsim(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from accelsim.cli.app import main; main()", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_check_prints_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Rates beside the array's demand, area, leakage, DRAM, ridge, sources, assumed values."""
    check("tpu-like-hybrid")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "tpu-like-hybrid",
        "PE array 128 x 128, ws, physical folds, 1 GHz",
        "peak 16.38 TMAC/s",
        "node, temperature 22 nm, 350 K",
        "scratchpad 8 MiB, 3.093 mm2, 57.36 mW leakage",
        "DRAM 256 GB/s, 100 ns",
        "ridge 64 MAC per DRAM byte",
        "sram sram 2 MiB 32 x 64 KiB 1,024 1,024",
        "mram stt-mram 6 MiB 96 x 64 KiB 1,531 569.1",
        "array's demand 512 256",
        "sources: accelergy-cacti, nvsim-macros",
    ):
        assert line in lines
    assert any(line.startswith("assumed values: 52: static (1), host (1), ") for line in lines)


@pytest.mark.parametrize("name", names("arch"))
def test_check_takes_every_machine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All shipped machines print and give one JSON object."""
    check(name)
    capsys.readouterr()
    check(name, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == name
    assert found["area_mm2"] == pytest.approx(sum(group["area_mm2"] for group in found["groups"]))


def test_check_takes_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    """--set is as in a file."""
    check("edge-sram", ["clock=1 GHz", "dram.bandwidth=10 GB/s"], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["peak_macs_per_s"] == 32 * 32 * 1e9
    assert found["ridge_macs_per_byte"] == pytest.approx(102.4)


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object on stdout."""
    schema()
    assert json.loads(capsys.readouterr().out)["title"] == "accelsim machine"


def test_bad_input_ends_with_2_and_every_fault(tmp_path: Path) -> None:
    """The command prints the faults on stderr, nothing on stdout, and no traceback."""
    path = tmp_path / "bad.toml"
    path.write_text('[pe_array]\nrows = "4"\ncols = 4\n[bank.a]\ntechnology = "sram"\nword = 3\n')
    done = accelsim("check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f'{path}:2:8: pe_array.rows: expected a whole number, got "4"' in done.stderr
    assert f"{path}:4:1: bank.a: missing key capacity" in done.stderr
    assert f'{path}:6:8: bank.a.word: expected a size such as "256 KiB" (units: ' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_reference_is_up_to_date(regen: bool) -> None:
    """docs/arch-reference.md is what the specs give; --regen-golden writes it."""
    if regen:
        DOC.write_text(arch_reference())
    assert DOC.read_text() == arch_reference()


def test_the_reference_of_devices_is_up_to_date(regen: bool) -> None:
    """docs/device-reference.md likewise."""
    page = DOC.parent / "device-reference.md"
    if regen:
        page.write_text(device_reference())
    assert page.read_text() == device_reference()


def test_every_key_has_a_meaning() -> None:
    """No row of the references is without one."""
    text = arch_reference() + device_reference()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(len(row.split(" | ")) == 4 and not row.endswith("|  |") for row in rows)


def test_sources_are_those_of_the_page() -> None:
    """The keys that are known at run time are its headings."""
    page = (DOC.parent / "sources.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\S+)$", page, re.M)) == SOURCES


def test_sources_of_ones_own_are_listed_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the machine, of a device and of prices; in JSON too, where there are any."""
    (tmp_path / "d.toml").write_text('extends = "mram-1s"\nsource = "my-device"\nretention = "2 s"\n')
    path = tmp_path / "m.toml"
    path.write_text(
        'extends = "edge-mram"\nbank.mram.device = "d.toml"\n[dram]\nsource = "my-dram"\nlatency = "60 ns"\n'
        '[prices]\n"dram *" = { sigma = 0.1, source = "my-prices" }\n'
    )
    check(str(path))
    lines = capsys.readouterr().out.splitlines()
    assert "sources not in docs/sources.md: my-device, my-dram, my-prices" in map(str.rstrip, lines)
    assert not any(line.startswith("sources: ") and "my-" in line for line in lines)
    check("edge-mram", as_json=True)
    assert "sources_not_in_docs" not in json.loads(capsys.readouterr().out)
