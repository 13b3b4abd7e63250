"""The list of runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group

from accelsim.report.layout import grid
from accelsim.trace import human
from accelsim.trace.runs import Run


def listing(runs: Sequence[Run]) -> Group:
    """Return one row per run: what was simulated, and its time, energy and DRAM traffic."""
    rows = []
    for run in runs:
        s = run.summary
        cost = (human.time(s["time_ps"]), human.energy(s["energy_pj"]["total"]))
        dram = human.traffic(s["dram_bytes"]["read"] + s["dram_bytes"]["write"])
        rows.append((run.name, s["machine"], s["workload"], str(s["batch"]), s["phase"], *cost, dram))
    columns = ("run", "machine", "workload", "batch", "phase", "time", "energy", "DRAM")
    return grid("Runs", columns, rows, text_columns=3)
