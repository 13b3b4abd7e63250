"""``accelsim sensitivity``: from a network to a file and a table; interrupted and resumed; bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.cli.app import main
from tests.train_models import write_tiny

RESULTS = ("sensitivity.toml", "sensitivity.json", "log.jsonl", "settings.json")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small workload in it, in which commands run."""
    write_tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _main(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["sensitivity", "tiny.toml", *words])
    return int(ended.value.code or 0)


def _interrupted(folder: Path, trainings: int, *words: str) -> str:
    """Interrupt the command when it has shown so many ``trainings``; return what it printed on stderr."""
    command = [sys.executable, "-m", "accelsim", "sensitivity", "tiny.toml", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        shown = ""
        while shown.count(", flips ") < trainings:
            line = process.stderr.readline()
            assert line, f"the search ended before it could be interrupted: {shown}"
            shown += line
        process.send_signal(signal.SIGINT)
        shown += process.stderr.read()
    assert process.returncode == 130
    return shown


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 130 and a hint; with --resume no training is done twice, and every byte is the same."""
    options = ("--roles", "activation", "--resolution", "100", "--low", "1e-7", "--high", "1e-3")
    options += ("--epochs", "1", "--seeds", "2", "--tolerance", "0.05", "--checkpoint-every", "10")
    assert _main(*options, "--out", "whole") == 0
    out, err = capsys.readouterr()
    assert "2 seeds are anecdotal" in out
    assert "tolerances: whole/sensitivity.toml" in out
    (row,) = json.loads((folder / "whole" / "sensitivity.json").read_text())["tolerated"]
    at_edge = [trial["by"] for trial in row["trials"] if trial["rate"] == row["rate"]]
    assert ("not established: activation[*] at" in out) == (at_edge == ["mean"])
    assert "activation at 0.001: refused" in err

    shown = _interrupted(folder, 3, *options, "--out", "cut")
    assert "the same command with --resume goes on" in shown
    done = (folder / "cut" / "log.jsonl").read_text()
    assert (
        done.count("\n") == shown.count(", flips ") < (folder / "whole" / "log.jsonl").read_text().count("\n")
    )
    assert not (folder / "cut" / "sensitivity.toml").exists()

    assert _main(*options, "--out", "cut", "--resume", "--json") == 0
    out, err = capsys.readouterr()
    assert err.count("from the log") == done.count("\n")
    assert json.loads(out) == json.loads((folder / "whole" / "sensitivity.json").read_text())
    for name in RESULTS:
        assert (folder / "cut" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert _main(*options, "--out", "cut") == 2
    assert "--resume goes on with it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--roles", "wieght"), '--roles: unknown role "wieght", did you mean weight?'),
        (("--layers", "fc1"), '--layers: no layer fits "fc1"'),
        (("--low", "0"), "--low 0, --high 0.01: expected 0 < low < high"),
        (("--high", "0.7"), "--high: expected a bit error probability from 0 to 0.5, got 0.7"),
        (("--resolution", "1"), "--resolution 1: expected a factor of at least 1.1"),
        (("--tolerance", "2"), "--tolerance 2: expected a loss of accuracy from 0 to 1"),
        (("--nonfinite", "clip"), '--nonfinite: expected "raw", "zero" or "clamp", got "clip"'),
        (("--protect", "exponnent"), '--protect: unknown bit field "exponnent", did you mean exponent?'),
        (("--storage-format", "fp64"), '--storage-format: expected "fp32", "bf16", "fp16" or "int8"'),
        (("--batch", "2000"), "--batch 2000: digits has 1437 training samples"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; no folder appears."""
    assert _main(*words, "--out", "deep/out") == 2
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == ["tiny.py", "tiny.toml"]
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
