"""A sweep of a thousand points, killed and resumed; and what its controller needs in memory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.sweeps import gone, has_done, points_in, wait_until

LENET = """base = "edge-hybrid"
workload = "lenet5"
batch = 1
objectives = ["cycles", "energy_pj.total"]
fidelity = { bounds = false }
[parameters]
"bank.mram.count" = [2, 4]
"dram.background" = { range = ["0 mW", "24 mW"], levels = 25 }
"static.power" = { range = ["0 mW", "19 mW"], levels = 20 }
"""
MANY = 1000
GROWTH_KIB = 12 * 1024  # of 800 points; the figures of all of them would be twice that


def started(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the sweep of a thousand points in ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "lenet.toml").write_text(LENET)
    call = [sys.executable, "-m", "accelsim", "sweep", "lenet.toml", "--jobs", "2", "--quiet", *more]
    return subprocess.Popen(call, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)


def contents(folder: Path) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Return the figures of all points, and what became of all candidates."""
    with sqlite3.connect(folder / "runs/points.sqlite") as points:
        listed = list(points.execute("SELECT id, figures FROM points WHERE state = 'done'"))
        assert len(listed) == len(dict(listed))
        told = points.execute("SELECT number, state, ids, params FROM candidates ORDER BY number")
        return dict(listed), list(told)


def resident_kib(pid: int) -> int:
    """Return the memory that a process has; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def test_a_killed_sweep_of_a_thousand_points_is_as_one_that_never_was(tmp_path: Path) -> None:
    """SIGKILL of the controller at random moments: nothing is lost, doubled or another; workers end too.

    The controller that is left alone does not grow with the number of points.
    """
    whole = started(tmp_path / "whole")
    wait_until(partial(has_done, tmp_path / "whole", 200))
    early = late = resident_kib(whole.pid)
    while not has_done(tmp_path / "whole", MANY):
        late = max(late, resident_kib(whole.pid))
        time.sleep(0.05)
    assert whole.wait(timeout=60) == 0

    random = Random(7)
    kept: dict[str, str] = {}
    for moment in sorted(random.sample(range(1, 900), 3)):
        cut = started(tmp_path / "cut", "--resume")
        wait_until(partial(has_done, tmp_path / "cut", moment))
        time.sleep(random.random() / 10)
        cut.kill()
        cut.wait()
        wait_until(partial(gone, cut.pid))
        now = contents(tmp_path / "cut")[0]
        assert kept.items() <= now.items()
        assert moment <= len(now) < MANY
        kept = now
    assert started(tmp_path / "cut", "--resume").wait(timeout=60) == 0

    assert len(contents(tmp_path / "whole")[0]) == MANY
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert {state for _, state, _ in points_in(tmp_path / "cut")} == {"done"}
    assert early > 0
    assert late - early < GROWTH_KIB
