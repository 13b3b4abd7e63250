"""Placement by sensitivity: what training tolerates says which bank group may hold what, for how long."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from accelsim.cli.app import main
from accelsim.errors import ConfigError
from accelsim.mapping import map_graph
from accelsim.mapping.refusals import refusals
from accelsim.program.program import Program
from accelsim.reliability.cell import cell_of
from accelsim.reliability.ecc import secded
from accelsim.reliability.history import Rows, plain
from accelsim.reliability.scrub import scrubbed
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.resolve.tolerance import GroupErrors
from accelsim.run import simulate
from accelsim.words import ROLES
from tests.strategies import shipped_graph

DEVICE = "bank.mram.device=mram-1s"
SRAM_FIRST = (DEVICE, "bank.sram.leakage=0.1mW", *(f'placement.{r}=["sram","mram"]' for r in ROLES[:2]))
SRAM_FIRST += tuple(f'placement.{r}=["sram","mram"]' for r in ROLES[3:])  # master weights are absent
HEAD = 'workload = "lenet5"\ntolerance = 0.02\nclean_accuracy = 0.97\nepochs = 3\n'


def _entry(role: str, rate: float, layer: str = "*") -> str:
    return f'[[tolerated]]\nrole = "{role}"\nlayer = "{layer}"\nrate = {rate!r}\ntried = 7\n'


def _file(folder: Path, *entries: str, name: str = "s.toml") -> tuple[str, str]:
    """Write a file of entries; return the settings that use it."""
    path = folder / name
    path.write_text(HEAD + "".join(entries))
    return "placement.policy=sensitivity", f"placement.sensitivity={path}"


def _all(folder: Path, rate: float) -> tuple[str, str]:
    return _file(folder, *(_entry(role, rate) for role in ROLES))


def _held(program: Program, group: str) -> set[str]:
    """Return the roles of what lies whole in a group between kernels."""
    return {c.data.role for c in program.copies if c.region.group == group and c.last > c.first}


def _mapped(*settings: str) -> Program:
    return map_graph(shipped_graph("lenet5", 8), load_machine("edge-hybrid", settings))


def test_a_strict_tolerance_leaves_no_byte_in_cells_that_err(tmp_path: Path) -> None:
    """Not even the buffers of tiles."""
    program = _mapped(DEVICE, *_all(tmp_path, 1e-12))
    assert program.peak_bytes["mram"] == 0
    assert program.peak_bytes["sram"] > 0


def test_a_loose_tolerance_changes_nothing_but_the_order(tmp_path: Path) -> None:
    """With lists in the order of cost, the program is that without the policy."""
    assert _mapped(*SRAM_FIRST, *_all(tmp_path, 0.5)) == _mapped(*SRAM_FIRST)
    assert _mapped(DEVICE, *_all(tmp_path, 0.5)).peak_bytes["mram"] > 0


def test_a_middling_tolerance_keeps_out_what_lies_long(tmp_path: Path) -> None:
    """What survives the step is carried in MRAM without the policy, not with it; what is read soon stays."""

    def carried(program: Program) -> list[str]:
        copies = [c for c in program.copies if c.region.group == "mram" and c.carried_from is not None]
        return [c.data.tensor for c in copies]

    middling = _mapped(DEVICE, *_all(tmp_path, 5e-3))
    assert {"activation", "error"} <= _held(middling, "mram")
    assert carried(_mapped(DEVICE))
    assert not carried(middling)
    assert "optimizer_state" not in _held(middling, "mram")


def test_cheapest_is_energy_of_access_and_share_of_leakage(tmp_path: Path) -> None:
    """SRAM for what is gone soon, MRAM for what lies until leakage outweighs a write: by the formula."""
    machine = load_machine("edge-hybrid", (DEVICE, *_all(tmp_path, 0.5)))
    assert machine.sensitivity is not None
    sram, mram = machine.banks["sram"], machine.banks["mram"]
    at_ps = 10**9
    assert machine.sensitivity.cost_pj("weight", "sram", at_ps) == pytest.approx(
        (sram.read_pj + sram.write_pj) / 256 + sram.leakage_mw * 1e-3 * at_ps / (8 * sram.capacity_bytes)
    )
    cost = machine.sensitivity.cost_pj
    assert cost("weight", "sram", 0) < cost("weight", "mram", 0)
    assert cost("weight", "sram", 10**10) > cost("weight", "mram", 10**10)
    assert mram.leakage_mw / mram.capacity_bytes < sram.leakage_mw / sram.capacity_bytes


def test_the_strictest_reader_counts_and_the_first_glob_that_fits(tmp_path: Path) -> None:
    """tanh1's output is read by tanh1 (backward) and pool1: one strict reader keeps it out."""
    loose = [_entry(role, 0.5) for role in ROLES]
    settings = _file(tmp_path, _entry("activation", 1e-9, "pool1"), *loose)
    out = refusals(shipped_graph("lenet5", 8), load_machine("edge-hybrid", (DEVICE, *settings)))
    assert [(s.life.data.tensor, s.group, s.strictest.layer) for s in out] == [
        ("tanh1:tanh", "mram", "pool1")
    ]
    settings = _file(tmp_path, *loose, _entry("activation", 1e-9, "pool1"))
    assert not refusals(shipped_graph("lenet5", 8), load_machine("edge-hybrid", (DEVICE, *settings)))


def test_what_was_not_measured_tolerates_nothing(tmp_path: Path) -> None:
    """A role that the file leaves out may lie in no cell that errs."""
    settings = _file(tmp_path, *(_entry(role, 0.5) for role in ROLES if role != "error"))
    out = refusals(shipped_graph("lenet5", 8), load_machine("edge-hybrid", (DEVICE, *settings)))
    assert {s.life.data.role for s in out} == {"error"}


@pytest.mark.parametrize(
    "technique",
    [(), ("bank.mram.ecc=secded",), ("bank.mram.ecc=secded", "bank.mram.scrub_interval=20us")],
)
@pytest.mark.parametrize("time_ps", [10**3, 10**6, 10**7, 10**8])
def test_the_bound_is_above_the_errors_of_a_run_and_near(technique: tuple[str, ...], time_ps: int) -> None:
    """One write, one read, and the read that counts, by the laws that judge a run: a half of it at least."""
    machine: Machine = load_machine("edge-hybrid", (DEVICE, *technique))
    group = machine.banks["mram"]
    assert group.device is not None
    cell = cell_of(group, group.device, {}, fine=not group.scrub_ps)
    one = np.array([float(time_ps)])
    rows = Rows(one, one / 2, np.array([1]), cell.writes["activation"][:, None, :])
    if group.scrub_ps and group.ecc:
        wrong = scrubbed(cell, rows, secded(group.ecc), group.scrub_ps).delivered.mean()
    elif group.ecc:
        raw = plain(cell, rows).raw
        wrong = secded(group.ecc).delivered(raw, raw.mean(axis=0)).mean()
    else:
        wrong = plain(cell, rows).raw.mean()
    told = GroupErrors(group, group.device, 0.5).at(time_ps)
    assert wrong <= told * (1 + 1e-3)
    assert told < 2 * wrong


def test_a_dwell_is_where_the_bound_meets_the_rate() -> None:
    """From both sides; no limit where errors stay below, none where they begin above."""
    group = load_machine("edge-hybrid", (DEVICE,)).banks["mram"]
    assert group.device is not None
    errors = GroupErrors(group, group.device, 0.5)
    dwell = errors.largest_dwell_ps(1e-3)
    assert dwell is not None
    assert errors.at(dwell) <= 1e-3 < errors.at(dwell * 1.001 + 1)
    assert errors.largest_dwell_ps(0.5) is None
    assert errors.largest_dwell_ps(errors.at(0) * 0.99) == 0


def test_a_run_keeps_below_the_tolerated_rates(tmp_path: Path) -> None:
    """Every row of errors.parquet, in a run that uses the MRAM; the same file elsewhere is the same run."""
    settings = (DEVICE, *_all(tmp_path, 5e-3))
    run = simulate("edge-hybrid", "lenet5", batch=8, overrides=settings, out=tmp_path / "a")
    rows = pq.read_table(run.run_dir / "errors.parquet").to_pylist()
    assert sum(r["bits"] for r in rows if r["bank_group"] == "mram") > 1e6
    assert 1e-3 < max(r["p_total"] for r in rows) <= 5e-3
    assert run.summary["errors"]["breaches"]["rows"] == 0
    assert {(k["role"], k["group"]) for k in run.summary["placement"]["kept_out"]} >= {("weight", "mram")}
    manifest = json.loads((run.run_dir / "manifest.json").read_text())
    (tmp_path / "sub").mkdir()
    again = simulate(
        "edge-hybrid",
        "lenet5",
        batch=8,
        overrides=(DEVICE, *_all(tmp_path / "sub", 5e-3)),
        out=tmp_path / "b",
    )
    assert json.loads((again.run_dir / "manifest.json").read_text())["id"] == manifest["id"]
    assert manifest["machine"]["sensitivity"]["tolerated"][0]["rate"] == 5e-3
    other = simulate(
        "edge-hybrid", "lenet5", batch=8, overrides=(DEVICE, *_all(tmp_path, 6e-3)), out=tmp_path / "c"
    )
    assert json.loads((other.run_dir / "manifest.json").read_text())["id"] != manifest["id"]


def test_what_could_not_be_kept_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine of MRAM alone has nowhere else for its buffers: the breaches told are those of the table."""
    words = ["run", "edge-mram", "mlp", "--batch", "4", "--quiet", "--out", str(tmp_path / "a")]
    words += [w for s in (DEVICE, *_all(tmp_path, 1e-7)) for w in ("--set", s)]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    printed = capsys.readouterr().out
    told = json.loads((tmp_path / "a" / "summary.json").read_text())["errors"]["breaches"]
    rows = pq.read_table(tmp_path / "a" / "errors.parquet").to_pylist()
    over = [r for r in rows if r["p_total"] > 1e-7 and r["reader_layer"] != "dma"]
    assert over
    assert (told["rows"], told["bits"]) == (len(over), sum(r["bits"] for r in over))
    assert "More errors than tolerated" in printed
    assert "wrong at once, 1e-07 tolerated" in printed


def test_check_shows_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Role and group: the longest stay, or why not."""
    settings = _file(tmp_path, _entry("weight", 1e-3), _entry("error", 1e-9), _entry("input", 0.5))
    with pytest.raises(SystemExit, match="0"):
        main(["check", "edge-hybrid", *(w for s in (DEVICE, *settings) for w in ("--set", s))])
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert "weight * 0.001 no errors 20.42 us" in lines
    assert "error * 1e-09 no errors none: 1.6e-06 > 1e-09" in lines
    assert "input * 0.5 no errors no limit" in lines
    assert any(line.startswith("activation * not measured") for line in lines)


def test_faults_are_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the machine's file, or in the file that it names."""
    monkeypatch.chdir(tmp_path)
    base = 'extends = "edge-hybrid"\n[placement]\n'

    def faults(text: str) -> list[str]:
        Path("m.toml").write_text(base + text)
        with pytest.raises(ConfigError) as caught:
            load_machine("m.toml")
        return caught.value.faults

    policy = 'policy = "sensitivity"\n'
    assert faults(policy) == [
        'm.toml:3:10: placement.policy: needs placement.sensitivity, the file of "accelsim sensitivity"'
    ]
    assert faults('sensitivity = "s.toml"\n') == [
        'm.toml:3:15: placement.sensitivity: has no effect without policy = "sensitivity"'
    ]
    assert faults(policy + 'sensitivity = "s.toml"\n') == [
        'm.toml:4:15: placement.sensitivity: no such file "s.toml" beside the file that names it'
    ]
    Path("s.toml").write_text(HEAD + _entry("wieght", 0.6) + _entry("weight", 0.1) + "extra = 1\n")
    found = faults(policy + 'sensitivity = "s.toml"\n')
    where = "m.toml:4:15: placement.sensitivity: s.toml"
    assert len(found) == 3
    assert all(f.startswith(where) for f in found)
    assert "did you mean weight?" in found[0]
    assert "expected at most 0.5, got 0.6" in found[1]
    assert "unknown key" in found[2]


def test_a_path_in_a_file_is_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of --set to the working folder."""
    (tmp_path / "m").mkdir()
    _file(tmp_path / "m", _entry("weight", 0.25))
    text = 'extends = "edge-hybrid"\n[placement]\npolicy = "sensitivity"\nsensitivity = "s.toml"\n'
    (tmp_path / "m" / "m.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    machine = load_machine("m/m.toml")
    assert machine.sensitivity is not None
    assert machine.sensitivity.tolerated[0].rate == 0.25
    assert replace(machine, name="") == replace(
        load_machine("edge-hybrid", ("placement.policy=sensitivity", "placement.sensitivity=m/s.toml")),
        name="",
    )


def test_a_run_tells_what_tolerances_rest_on(tmp_path: Path) -> None:
    """How they were measured, and which entries no layer reads."""
    settings = _file(
        tmp_path,
        'protect = ["sign", "exponent"]\nstorage_format = "fp32"\nnonfinite = "raw"\n',
        _entry("activation", 1e-3),
        _entry("weight", 1e-3, "no_such*"),
    )
    done = simulate("edge-hybrid", "mlp", batch=4, overrides=(DEVICE, *settings), out=tmp_path / "run")
    notes = "\n".join(done.summary["notes"])
    assert "measured with data stored as fp32, sign, exponent without errors, non-finite values raw" in notes
    assert "no layer fits weight[no_such*]" in notes
    assert "measured on lenet5, not on this workload" in notes
