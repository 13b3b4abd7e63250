"""Options and fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from accelsim.trace.folder import RunFolder
from accelsim.trace.schema import TABLES
from accelsim.words import STALL_REASONS

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for torch, here and in what tests start: others test beside
os.environ.pop("COLUMNS", None)  # which readline sets in the process that starts pytest-xdist's workers

settings.register_profile("accelsim", deadline=None)  # shared machines are slow now and then
settings.load_profile("accelsim")

US = 1_000_000  # ps


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen-golden", action="store_true", help="Rewrite golden files and generated docs.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run, and why: an external program was not found."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons: dict[str, int] = {}
    for report in skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = why.removeprefix("Skipped: ")
        reasons[why] = reasons.get(why, 0) + 1
    for why, n in sorted(reasons.items()):
        terminalreporter.write_line(f"{n} test{'s' * (n != 1)} did not run: {why}")


@pytest.fixture
def regen(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--regen-golden"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, as many small ops are slower with more."""
    import torch  # here, as most tests need none

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _columns(table: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns of ``table``; what a row leaves out is empty or zero."""
    empty = {"string": "", "dict": "", "int64": 0, "double": 0.0, "decimal": 0}
    return {c: [r.get(c, empty[t]) for r in rows] for c, t in TABLES[table].items()}


def _op(op: str, layer: str, phase: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"op": op, "layer": layer, "phase": phase, "start_ps": start * US, "end_ps": end * US, **more}


def _span(component: str, category: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    start, end = start * US, end * US
    times = {"queued_ps": start, "start_ps": start, "end_ps": end, "busy_ps": end - start, "repeat": 1}
    return {"component": component, "category": category, **times, **more}


OPS = [
    _op("c1:conv", "conv1", "forward", 0, 40, unit="pe_array", macs=1000, dram_read_bytes=4096),
    _op("c1:relu", "conv1", "forward", 0, 40, unit="vector", fused_into="c1:conv"),
    _op("fc:mm", "fc", "forward", 40, 60, unit="pe_array", stall_operand_late_ps=5 * US),
    _op("bwd/fc:mm", "fc", "backward", 60, 90, unit="pe_array", dram_write_bytes=8192),
    _op("upd/fc:sgd", "fc", "update", 90, 100, unit="vector"),
]
SPANS = [
    _span("pe_array", "compute", 0, 40, op="c1:conv", layer="conv1", phase="forward"),
    _span("pe_array", "stall", 40, 45, reason="operand_late", op="fc:mm", layer="fc", phase="forward"),
    _span("pe_array", "compute", 45, 60, op="fc:mm", layer="fc", phase="forward"),
    _span("pe_array", "compute", 60, 90, op="bwd/fc:mm", layer="fc", phase="backward"),
    _span("vector", "vector", 90, 100, op="upd/fc:sgd", layer="fc", phase="update"),
    _span("spad.mram", "read", 0, 2, layer="conv1", phase="forward", repeat=10, period_ps=4 * US),
    _span("spad.mram", "stall", 60, 70, reason="write_pulse", layer="fc", phase="backward"),
    _span("dram", "read", 0, 50, layer="conv1", phase="forward", busy_ps=25 * US),
]


def _summary(machine: str, scale: int) -> dict[str, Any]:
    def phase(time: int, busy: int, late: int) -> dict[str, Any]:
        return {
            "time_ps": time * US * scale,
            "busy_ps": busy * US * scale,
            "idle_ps": (time - busy - late) * US * scale,
            "stall_ps": {r: (late * US * scale if r == "operand_late" else 0) for r in STALL_REASONS},
        }

    return {
        "schema": 1,
        "model_version": "1",
        "machine": machine,
        "workload": "tiny",
        "batch": 2,
        "phase": "all",
        "cold": False,
        "clock_hz": 1_000_000_000,
        "cycles": 100_000 * scale,
        "time_ps": 100 * US * scale,
        "host_gap_ps": 0,
        "macs": 1_234_567,
        "pe_utilization": 0.5,
        "parameters": 650,
        "energy_pj": {
            "total": 2e6 * scale,
            "by_component": {"pe_array": 1.5e6 * scale, "spad.mram": 0.5e6 * scale},
            "by_action": {"pe_array mac.bf16": 1.5e6 * scale, "spad.mram read": 0.5e6 * scale},
            "by_role": {"": 0.25e6 * scale, "weight": 1.75e6 * scale},
            "by_phase": {"forward": 1e6 * scale, "backward": 1e6 * scale},
            "by_layer": {"conv1": 1.5e6 * scale, "fc": 0.5e6 * scale},
        },
        "dram_bytes": {"read": 4096, "write": 8192},
        "stall_ps": {r: (5 * US * scale if r == "operand_late" else 0) for r in STALL_REASONS},
        "peak_occupancy_bytes": {"mram": 1 << 19},
        "capacity_bytes": {"mram": 1 << 20},
        "area_mm2": 1.25,
        "unsupported_ops": 0,
        "unsupported": [],
        "components": {
            "pe_array": phase(100, 85, 5),
            "spad.mram": {"busy_ps": 20 * US, "idle_ps": 70 * US, "stall_ps": {"write_pulse": 10 * US}},
        },
        "phases": {"forward": phase(60, 55, 5), "backward": phase(30, 30, 0), "update": phase(10, 8, 0)},
        "estimate": {"time_ps": 95 * US, "dram_bytes": 12_288},
        "assumed": ["vector.rates", "static.power"],
        "sources": ["nvsim-macros", "horowitz-2014"],
        "notes": ["transposed operand reads count as along the grain"],
    }


SKIP = {"tiles_simulated": 12, "tiles_skipped": 0, "folds_skipped": 0, "kernels_skipped": 0, "no_period": {}}


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a small hand-made run folder and return its path; ``scale`` stretches times and energies."""

    def make(
        name: str = "one", *, machine: str = "m1", scale: int = 1, run_id: str = "", force: bool = False
    ) -> Path:
        run_id = run_id or f"{machine}-{scale}".ljust(64, "0")
        with RunFolder.create(tmp_path / "runs" / name, "unused", run_id, force) as folder:
            folder.write_summary(_summary(machine, scale))
            clock = {"name": machine, "clock_hz": scale * 10**9}
            workload = {"name": "tiny"}
            made_from = {"machine": clock, "workload": workload, "command": ["accelsim"], "skip": SKIP}
            folder.write_manifest(made_from)
            folder.write_table("ops", _columns("ops", OPS))
            folder.write_table("spans", _columns("spans", SPANS))
            folder.write_table("energy", _columns("energy", []))
            folder.write_table("residencies", _columns("residencies", [{"dwell_byte_ps": 10**30 + 1}]))
        return folder.path

    return make
