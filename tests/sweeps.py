"""What the tests of sweeps share: a workload that takes a millisecond, and sweeps over it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelsim.sweep.runner import Asked, run_sweep
from accelsim.sweep.told import told

LAYERS = "name, h, w, kh, kw, channels, filters, stride,\none, 8, 8, 3, 3, 4, 8, 1,\n"
SWEEP = """base = "edge-hybrid"
workload = "tiny.csv"
objectives = ["cycles", "energy_pj.total"]
{keys}
[parameters]
{parameters}
"""
COUNTS = '"bank.mram.count" = [2, 4]\n"clock" = { range = ["400 MHz", "1 GHz"], levels = 6 }'


def write_sweep(folder: Path, parameters: str = COUNTS, keys: str = "", name: str = "tiny") -> Path:
    """Write a sweep of the tiny workload and return its file."""
    (folder / "tiny.csv").write_text(LAYERS)
    path = folder / f"{name}.toml"
    path.write_text(SWEEP.format(parameters=parameters, keys=keys))
    return path


def accelsim(*args: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``cwd``; it has to end with ``code``."""
    call = [sys.executable, "-m", "accelsim", *map(str, args)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=cwd, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def swept(file: str | Path, **asked: Any) -> dict[str, Any]:
    """Run a sweep in the working folder and return what ``--json`` prints."""
    return told(*run_sweep(str(file), Asked(**{"jobs": 2, **asked})))


def work(items: Sequence[Any]) -> list[Any]:
    """Do in a worker what each item says: ("die",), ("sleep", seconds), or ("give", value)."""
    return [_do(*item) for item in items]


def _do(what: str, value: Any = None) -> Any:
    if what == "die":
        os._exit(3)
    if what == "sleep":
        time.sleep(value)
    if what == "raise":
        raise ValueError(value)
    return value


def points_in(folder: Path) -> list[tuple[str, str, int]]:
    """Return (id, state, rowid) of all points."""
    with sqlite3.connect(folder / "runs/points.sqlite", timeout=30) as points:
        return list(points.execute("SELECT id, state, rowid FROM points"))


def has_done(folder: Path, wanted: int) -> bool:
    """Return whether so many points are done."""
    try:
        return sum(state == "done" for _, state, _ in points_in(folder)) >= wanted
    except sqlite3.Error:  # not made yet
        return False


def gone(group: int) -> bool:
    """Return whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(true: Callable[[], bool], limit_s: float = 60) -> None:
    """Wait for it, and fail after a minute."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s
        time.sleep(0.02)
