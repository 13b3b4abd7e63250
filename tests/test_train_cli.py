"""``accelsim train``: from a machine and a network to a folder, a table and a plot; killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.cli.app import main
from accelsim.trace.tables import read_table
from accelsim.train import experiment
from tests.train_models import write_tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small workload in it."""
    write_tiny(tmp_path, batch=16, lr=0.05)
    return tmp_path


def _main(folder: Path, *words: str, command: str = "train") -> int:
    """Run a command in this process, in ``folder``; return its exit code."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(SystemExit) as ended:
            main([command, "edge-hybrid", *words])
    finally:
        os.chdir(before)
    return int(ended.value.code or 0)


def _killed(folder: Path, *words: str) -> list[str]:
    """Run the command in a process that is killed as soon as it has shown two epochs; return them."""
    command = [sys.executable, "-m", "accelsim", "train", "edge-hybrid", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env
    ) as process:
        assert process.stderr is not None
        shown: list[str] = []
        while len(shown) < 2:
            line = process.stderr.readline()
            assert line, "the training ended before it could be killed"
            shown += [line] * (", epoch " in line)
        process.send_signal(signal.SIGKILL)
    return shown


def test_a_killed_training_goes_on_as_if_nothing_had_been(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After SIGKILL, rows that were shown are there, and the outcome is the uninterrupted one's."""
    options = ("tiny.toml", "--rates", "1e-5", "--epochs", "3", "--seeds", "1", "--protect", "msb:9")
    options += ("--checkpoint-every", "30", "--measure", "50")
    assert _main(folder, *options, "--out", "whole") == 0
    printed = capsys.readouterr().out
    assert "1 seed is anecdotal" in printed
    assert "training folder: whole" in printed
    made = {p.name for p in (folder / "whole").iterdir()}
    assert {"accuracy.png", "activity.parquet", "training.json", "log.jsonl"} <= made
    _measured_zeros_gate(folder, capsys)

    shown = _killed(folder, *options, "--out", "cut")
    log = (folder / "cut" / "log.jsonl").read_text()
    assert log.count("\n") >= len(shown)
    assert _main(folder, *options, "--out", "cut", "--resume", "--json", "--quiet") == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed == json.loads((folder / "whole" / "training.json").read_text())
    whole = (folder / "whole" / "log.jsonl").read_text()
    assert (folder / "cut" / "log.jsonl").read_text() == whole
    assert whole.startswith(log.rpartition("\n")[0])


def _measured_zeros_gate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the training measured, of words as stored, gates the products of a run of the same network."""
    rows = read_table(folder / "whole" / "activity.parquet").to_pylist()
    assert {r["role"]: r["format"] for r in rows} == {
        **dict.fromkeys(("input", "activation", "error", "weight", "weight_gradient"), "bf16"),
        "optimizer_state": "fp32",
    }
    energy = {}
    for name, options in {
        "blind": (),
        "told": ("--activity", str(folder / "whole/activity.parquet")),
    }.items():
        words = ("tiny.toml", "--set", "pe_array.zero_gating=true", "--out", name, "--json", "--quiet")
        assert _main(folder, *words, *options, command="run") == 0
        energy[name] = json.loads(capsys.readouterr().out)["energy_pj"]["by_action"]
    moved = {a for a in energy["blind"] if energy["blind"][a] != energy["told"][a]}
    assert {a for a in moved if a.startswith("pe_array ")} == {"pe_array mac.bf16"}
    assert energy["told"]["pe_array mac.bf16"] < 0.9 * energy["blind"]["pe_array mac.bf16"]


def test_the_profile_of_a_run_trains(folder: Path) -> None:
    """The simulated step's own table of errors is what the case "profile" draws from, by role and cause."""
    wish = experiment.Wish(
        arch="edge-mram",
        workload=str(folder / "tiny.toml"),
        epochs=1,
        seeds=1,
        overrides=("bank.mram.device=mram-26us", "host.gap=1us"),
        options={"protect": ("sign", "exponent")},
    )
    experiment.train(wish, folder / "out")
    summary = json.loads((folder / "out" / "training.json").read_text())
    assert summary["order"] == ["none", "profile"]
    flips = summary["cases"]["profile"]["flips"]
    told = read_table(folder / "out" / "run" / "errors.parquet").to_pylist()
    erring = {r["role"] for r in told if r["expected_flips"] > 1e-3 and r["reader_layer"] != "dma"}
    assert {"weight", "activation"} <= set(flips) <= erring
    assert flips["weight"]["retention"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny.toml",), "edge-hybrid: no bank group of this machine names a device"),
        (("tiny.toml", "--errors", "wieght=1e-5"), 'unknown role "wieght", did you mean weight?'),
        (("tiny.toml", "--rates", "1e-5", "--layers", "5"), 'no layer fits "5"'),
        (("tiny.toml", "--rates", "0.9"), "--rates: expected a bit error probability from 0 to 0.5, got 0.9"),
        (("tiny.toml", "--errors", "none", "--data", "mnist:nowhere"), "no such folder nowhere"),
        (
            ("tiny.toml", "--errors", "none", "--batch", "2000"),
            "--batch 2000: digits has 1437 training samples",
        ),
        (
            ("tiny.toml", "--errors", "none", "--nonfinite", "clip"),
            'unknown policy for non-finite values "clip"',
        ),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; no folder appears."""
    assert _main(folder, *words, "--quiet", "--out", "deep/out", "--epochs", "1") == 2
    assert sorted(p.name for p in folder.iterdir()) == ["tiny.py", "tiny.toml"]
    assert message in capsys.readouterr().err
