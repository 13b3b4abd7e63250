"""What the benchmarks share."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Others, circumstances, measured

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


def test_the_page_of_training_steps_has_all_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a real run, and one that failed is named."""
    monkeypatch.syspath_prepend(str(Path(measured.__code__.co_filename).parent))  # as when it is run
    networks = importlib.import_module("networks")
    small = networks.Case("mlp", 8)
    record = networks.measure(small, "edge-sram", 0, 120.0)
    failed = {"error": "killed", "after_s": 1.0}

    told = networks.page(
        [(small, record), (small, failed)], {"arch": "edge-sram", "runs": 0, **circumstances(0.0)}
    )

    tables = [line for line in told.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables[:3]}) == len({line.count("|") for line in tables[3:]}) == 1
    assert "kernels skipped" in tables[3]
    assert f"{record['first']['cycles']:,}" in tables[5]
    assert told.endswith("failed after 1.0 s: killed")
