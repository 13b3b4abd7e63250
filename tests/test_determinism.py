"""The same inputs give the same bytes, whatever the seed of Python's hashes, and imports stay light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.trace.schema import TABLES

FILES = ["summary.json", *(f"{t}.parquet" for t in TABLES), "copies.parquet"]
HEAVY = ["torch", "pyarrow", "simpy"]


def _run(folder: Path, seed: str, *args: str) -> dict[str, bytes]:
    env = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-m", "accelsim", "run", "--quiet", "--out", str(folder), *args]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return {name: (folder / name).read_bytes() for name in FILES}


def test_equal_bytes_under_two_hash_seeds(tmp_path: Path) -> None:
    """mlp on edge-hybrid, with single copies: every table and the summary."""
    args = ["edge-hybrid", "mlp", "--batch", "16", "--trace-tensor", "fc.0*"]
    zero, one = (_run(tmp_path / seed, seed, *args) for seed in ("0", "1"))

    assert [name for name in FILES if zero[name] != one[name]] == []


def test_a_second_run_replaces_the_first_with_the_same_bytes(tmp_path: Path) -> None:
    """Into the same folder, without --force: the id is the same."""
    args = ["tpu-like-mram", "mlp", "--batch", "4", "--cold", "--trace-tensor", "fc.1*"]

    assert _run(tmp_path / "run", "7", *args) == _run(tmp_path / "run", "8", *args)


@pytest.mark.parametrize("module", ["accelsim", "accelsim.cli", "accelsim.cli.app"])
def test_importing_loads_no_heavy_package(module: str) -> None:
    """Neither torch nor pyarrow nor simpy."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
