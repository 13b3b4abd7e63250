"""Bad input, a full disk and Ctrl-C: one clear message, the right exit code, nothing half-written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.warm import accelsim

ROOT = Path(__file__).parents[1]
MODELS = """
import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x):
        y = self.a(x)
        return y if float(y.sum()) > 0 else -y


class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x):
        return self.a(x)
"""
EXPLICIT = (
    "count = 1\nsubbanks = 1\n"
    'read_latency = "1 ns"\nwrite_cycle = "1 ns"\nread_energy = "1 pJ"\nwrite_energy = "1 pJ"\n'
    'leakage = "0 mW"\narea = "1 mm2"\n'
)
FILES = {
    "models.py": MODELS,
    "branch.toml": 'model = "models.py:Branch"\nbatch = 2\n[inputs.x]\nshape = [6]\n',
    "shape.toml": 'model = "models.py:Fine"\nbatch = 2\n[inputs.x]\nshape = [7]\n',
    "fine.csv": "Layer,M,N,K\na,4,4,4\n",
    "broken.toml": 'extends = "edge-sram"\nclock = "1 GHz\n',
    "unit.toml": 'extends = "edge-sram"\n[bank.sram]\ncapacity = "512 ns"\n',
    "small.toml": f'extends = "edge-sram"\n[bank.sram]\ncapacity = "64 B"\n{EXPLICIT}',
    "rows.csv": "Layer,M,N,K\na,1,2\n",
    "plain": "a file\n",
}
SIZES = "B, KiB, MiB, GiB, kB, MB, GB, bit, kbit, Mbit, Gbit, Kib, Mib, Gib"
SHIPPED = (
    "edge-hybrid, edge-hybrid-iso-area, edge-mram, edge-mram-iso-area, edge-sram, tpu-like-hybrid, "
    "tpu-like-hybrid-iso-area, tpu-like-mram, tpu-like-mram-iso-area, tpu-like-sram"
)
CASES: dict[str, tuple[list[str], str]] = {
    "no such machine": (
        ["nope", "fine.csv"],
        f'accelsim: unknown machine "nope"; shipped: {SHIPPED}; a path ends in .toml',
    ),
    "missing file": (["edge-sram", "./nope.toml"], "accelsim: ./nope.toml: no such file"),
    "broken TOML": (["broken.toml", "fine.csv"], "broken.toml:2:15: not valid TOML: illegal character '\\n'"),
    "wrong unit": (
        ["unit.toml", "fine.csv"],
        f'unit.toml:3:12: bank.sram.capacity: expected a size such as "256 KiB" (units: {SIZES}), '
        'got "512 ns"',
    ),
    "unknown key": (
        ["edge-sram", "fine.csv", "--set", "bank.sram.capacty=1"],
        "--set bank.sram.capacty: unknown key, did you mean capacity?",
    ),
    "absurd clock": (
        ["edge-sram", "fine.csv", "--set", "clock=1e30GHz"],
        '--set clock: expected a frequency of at most 10 THz, got "1e30GHz"',
    ),
    "absurd number": (
        ["edge-sram", "fine.csv", "--set", "pe_array.rows=1000000000000"],
        "--set pe_array.rows: expected at most 1000000, got 1000000000000",
    ),
    "bank smaller than a tile": (
        ["small.toml", "fine.csv"],
        "accelsim: a: its smallest tile does not fit into the scratchpad (sram 64 bytes); "
        "make [bank.NAME] capacity larger, or the batch smaller",
    ),
    "a model that does not trace": (
        ["edge-sram", "branch.toml"],
        "accelsim: branch.toml: models.py:Branch cannot be traced: values of a tensor decide what is "
        "computed (aten._local_scalar_dense.default); replace such branches, .item() and nonzero() by "
        "operations on whole tensors (torch.where, masks)",
    ),
    "wrong input shape": (
        ["edge-sram", "shape.toml"],
        "shape.toml:4:9: inputs.x.shape: the model fails in layer a on inputs x (2, 7): RuntimeError: a and "
        "b must have same reduction dim, but got [2, 7] X [6, 6].; correct the shape (without the batch) or "
        "the model",
    ),
    "broken topology": (["edge-sram", "rows.csv"], "rows.csv:2:1: expected 4 cells (name, M, N, K), got 3"),
    "out is a file": (
        ["edge-sram", "fine.csv", "--out", "plain"],
        "accelsim: plain: exists and is not a folder; give --out another name",
    ),
}


def _environment(folder: Path) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**keep, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file of the cases, as the working folder of a user."""
    here = tmp_path / "here"
    here.mkdir()
    for name, text in FILES.items():
        (here / name).write_text(text)
    return here


def _inside(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")


@pytest.mark.parametrize("case", CASES)
def test_one_message_exit_2_and_nothing_written(case: str, folder: Path, tmp_path: Path) -> None:
    """The whole of stderr is that message; stdout is empty; no run folder appears."""
    args, message = CASES[case]
    done = accelsim(["run", "--quiet", *args], folder, _environment(tmp_path))

    assert done.stderr == message + "\n"
    assert (done.code, done.stdout) == (2, "")
    assert _inside(folder) == sorted(FILES)


def test_an_output_folder_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    """Below a file no folder can be made: said before the simulation's result would be lost."""
    command = [sys.executable, "-m", "accelsim", "run", "-q", "edge-sram", "fine.csv", "--out", "plain/run"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=_environment(tmp_path), check=False
    )

    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("accelsim: ")
    assert "plain" in done.stderr
    assert _inside(folder) == sorted(FILES)


CELLS = ROOT / "tests" / "golden" / "macros" / "cacti_out.csv"
OF_CELLS = ("--flavour", "LOP", "--temperature", "350 K")
PLACES = {
    "run": ["run", "-q", "edge-sram", "fine.csv", "--out", "plain/run"],
    "train": ["train", "-q", "edge-hybrid", "lenet-tinydnn", "--rates", "1e-3", "--out", "plain/run"],
    "sensitivity": ["sensitivity", "-q", "lenet-tinydnn", "--data", "digits", "--out", "plain/run"],
    "device": ["device", "mram-1s", "--plot", "taken.png"],
    "errors": ["errors", "there", "--plot", "taken.png"],
    "breakeven": ["breakeven", "there", "there", "--over", "leakage", "--plot", "taken.png"],
    "report": ["report", "there", "--actions", "taken.csv"],
    "macros": ["macros", "import", str(CELLS), "--name", "mine", *OF_CELLS, "--out", "taken.csv", "--force"],
}


@pytest.fixture(scope="module")
def full_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a macro table, and places in which no file can be written, also not by root."""
    here = tmp_path_factory.mktemp("places")
    for name, text in FILES.items():
        (here / name).write_text(text)
    for name in ("taken.png", "taken.csv"):
        (here / name).mkdir()
    done = accelsim(["run", "-q", "edge-hybrid", "fine.csv", "--out", "there"], here, _environment(here))
    assert done.code == 0, done.stderr
    return here


@pytest.mark.parametrize("command", PLACES)
def test_a_place_that_takes_no_file_is_bad_input(command: str, full_folder: Path) -> None:
    """Whatever writes there: the path, why, and that it needs another, with the option for it."""
    args = PLACES[command]
    option = next(a for a in reversed(args) if a.startswith("--") and a != "--force")
    before = _inside(full_folder)
    done = accelsim(args, full_folder, _environment(full_folder))

    assert done.code == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("accelsim: ")
    assert done.stderr.endswith((f"; give {option} another place\n", "; give another place\n"))
    assert ("plain" in done.stderr) or ("taken" in done.stderr)
    assert _inside(full_folder) == before


def test_a_full_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third table meets a full disk: exit 1, what to do, and nothing left of the first two."""
    import pyarrow.parquet as pq

    from accelsim.cli import app

    write, calls = pq.write_table, []

    def full(table: object, where: object, *args: object, **kwargs: object) -> None:
        calls.append(where)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        write(table, where, *args, **kwargs)

    monkeypatch.setattr(pq, "write_table", full)
    monkeypatch.chdir(folder)

    with pytest.raises(SystemExit) as ended:
        app.main(["run", "edge-sram", "fine.csv", "--quiet", "--out", "deep/run"])

    out, err = capsys.readouterr()
    assert (ended.value.code, out, len(calls)) == (1, "", 3)
    assert err.startswith("accelsim: the disk is full (")
    assert err.endswith("); free some space, or give --out another disk\n")
    assert _inside(folder) == sorted(FILES)


FORGETFUL = """
import os, signal, weakref
from accelsim.cli import app

class Thing:
    pass

def run(args):
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))  # raised where Python forgets it
    del thing
    for _ in range(10**9):
        pass
    return 0

app._run = run
app.main(["ls"])
"""


def test_an_interrupt_in_a_callback_is_not_lost(tmp_path: Path) -> None:
    """It is raised again, a moment later."""
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL],
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
        timeout=60,
    )
    assert done.returncode == 130
    assert done.stderr == "accelsim: interrupted; no half-written run is left behind\n"


def test_ctrl_c(folder: Path, tmp_path: Path) -> None:
    """SIGINT in the midst of a real run: exit 130, one message, no folder."""
    command = [
        sys.executable,
        "-m",
        "accelsim",
        "run",
        "tpu-like-hybrid",
        "resnet18-cifar",
        "-q",
        "--out",
        "r/x",
    ]
    env = _environment(tmp_path)
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as run:
        for _ in range(1200):
            if (folder / "r").exists() or run.poll() is not None:  # made as mapping begins
                break
            time.sleep(0.05)
        time.sleep(1.0)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)

    assert (run.returncode, out) == (130, "")
    assert err == "accelsim: interrupted; no half-written run is left behind\n"
    assert _inside(folder) == sorted(FILES)
