"""What the benchmarks share."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.measure import Others, measured

BURN = "import time\nwhile time.process_time() < 0.3: pass"
LEAVE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"


def _children_s() -> float:
    return sum(os.times()[2:4])


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_times_of_processes_that_outlive_their_parents_are_not_others() -> None:
    """As a pool's workers do, whose fork server nobody waits for."""
    before = _children_s()
    with Others() as others:
        measured([sys.executable, "-c", LEAVE])

    assert _children_s() - before >= 0.3
    assert others.cores is not None
