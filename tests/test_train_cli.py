"""``accelsim train``: from a machine and a network to a folder, a table and a plot; killed and resumed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from accelsim.cli.app import main
from accelsim.cli.training import tables
from accelsim.trace.tables import read_table
from accelsim.train import experiment
from accelsim.train.plot import drawn
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


def test_a_training_does_not_depend_on_the_number_of_cores(tmp_path: Path) -> None:
    """Torch computes with one thread unless told otherwise, whatever it would use by itself."""
    options = ("lenet-tinydnn", "--epochs", "1", "--seeds", "1", "--errors", "none", "--quiet")
    logs = {}
    for name, cores, more in (("one", 1, ()), ("two", 2, ()), ("threads", 1, ("--threads", "2"))):
        torch.set_num_threads(cores)
        assert _main(tmp_path, *options, *more, "--out", name) == 0
        assert torch.get_num_threads() == cores
        logs[name] = (tmp_path / name / "log.jsonl").read_bytes()
    assert logs["one"] == logs["two"]
    assert json.loads((tmp_path / "threads" / "settings.json").read_bytes())["threads"] == 2


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


def test_gradients_are_clipped_without_errors_too(folder: Path) -> None:
    """Else a difference would be the clip's; with so small a norm neither learns, and both say so.

    The outcome fits a terminal of 80 columns, and names the step of a divergence.
    """
    wish = experiment.Wish(
        arch="edge-hybrid",
        workload=str(folder / "tiny.toml"),
        epochs=1,
        seeds=2,
        rates=(1e-5,),
        options={"protect": ("sign", "exponent"), "clip_gradients": 1e-6},
    )
    summary = json.loads((experiment.train(wish, folder / "out") / "training.json").read_text())
    for case in ("none", "1e-05"):
        assert summary["cases_by_name"][case].endswith("gradients clipped to a norm of 1e-06")
        assert summary["cases"][case]["accuracy_best"] < 0.3  # one epoch without a clip: over 0.8

    summary["cases"]["none"]["diverged_steps"]["1"] = 1234
    for width, heads in ((80, 2), (110, 1)):
        printed = _shown(summary, width)
        assert max(map(len, printed)) <= width
        assert sum("  difference" in line or "diverged, 95 %" in line for line in printed) == heads
        assert any(line.split()[-3:] == ["-", "step", "1,234"] for line in printed)


def _shown(summary: dict[str, Any], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(tables(summary), crop=False)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_plot_is_in_per_cent_and_says_what_its_lines_are() -> None:
    """Marks of energy stand apart, whatever its size; seeds and divergences are in the legend, if any."""
    rows = [
        {"case": "none", "seed": seed, "epoch": n, "accuracy": n / 3, "energy_pj": n * 37e6}
        | {"diverged_step": 5 if seed and n == 3 else None}
        for seed in (0, 1)
        for n in (1, 2, 3)
    ]
    for shown, extra in ((rows, ["seed 0", "other seeds", "diverged"]), (rows[:3], [])):
        figure = drawn(shown, "t")
        figure.draw_without_rendering()
        epoch, energy = figure.axes
        assert epoch.get_ylabel() == "test accuracy [%]"
        assert list(epoch.lines[0].get_ydata()) == pytest.approx([100 / 3, 200 / 3, 100])
        assert [text.get_text() for text in epoch.get_legend().get_texts()] == ["none", *extra]
        low, high = energy.get_xlim()
        marks = [tick.label1 for tick in energy.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert {mark.get_text().split()[-1] for mark in marks} == {"µJ"}
        edges = [(box.x0, box.x1) for box in (mark.get_window_extent() for mark in marks)]
        assert all(b[0] - a[1] > 10 for a, b in pairwise(edges))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny.toml",), "edge-hybrid: no bank group of this machine names a device"),
        (("tiny.toml", "--errors", "wieght=1e-5"), 'unknown role "wieght", did you mean weight?'),
        (("tiny.toml", "--errors", "foo=1e-5"), '--errors: unknown role "foo"; there are input, weight'),
        (("tiny.toml", "--errors", "weight=1e-5,weight=1e-4"), "--errors: weight has two rates"),
        (("tiny.toml", "--errors", "none", "--rates", "1e-3"), "--errors none: contradicts --rates"),
        (("tiny.toml", "--errors", "none", "--ecc", "secded"), "--ecc: has no effect with --errors none"),
        (
            ("tiny.toml", "--errors", "none", "--nonfinite", "zero"),
            "--nonfinite: has no effect with --errors none",
        ),
        (("tiny.toml", "--layers", "1"), "--layers: has no effect without --rates or --errors role=rate"),
        (("tiny.toml", "--rates", "1e-5,1e-4,1e-5"), "--rates: 1e-05 is given twice"),
        (
            ("tiny.toml", "--rates", "1e-5", "--layers", "55"),
            '--layers: activation: no layer fits "55"; there are 0, 1, 2, 3, loss',
        ),
        (("tiny.toml", "--rates", "1e-5", "--protect", "foo"), '--protect: unknown bit field "foo"; there'),
        (("tiny.toml", "--rates", "1e-5", "--ecc", "foo"), '--ecc: expected "secded", got "foo"'),
        (
            ("tiny.toml", "--rates", "1e-5", "--storage-format", "fp64"),
            '--storage-format: expected "fp32", "bf16", "fp16" or "int8", got "fp64"',
        ),
        *(
            (
                ("tiny.toml", "--rates", "1e-5", "--clip-gradients", norm),
                f"--clip-gradients: expected a finite number above 0, got {norm}",
            )
            for norm in ("0", "-1", "nan", "inf")
        ),
        (("tiny.toml", "--rates", "0.9"), "--rates: expected a bit error probability from 0 to 0.5, got 0.9"),
        (("tiny.toml", "--errors", "none", "--data", "mnist:nowhere"), "no such folder nowhere"),
        (
            ("tiny.toml", "--errors", "none", "--batch", "2000"),
            "--batch 2000: digits has 1437 training samples",
        ),
        (
            ("tiny.toml", "--errors", "none", "--nonfinite", "clip"),
            '--nonfinite: expected "raw", "zero" or "clamp", got "clip"',
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
