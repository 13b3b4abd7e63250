"""Seconds per stage of ``accelsim run``, cold and warm, for a list of workloads.

    python benchmarks/stages.py [WORKLOAD ...] [--arch ARCH] [--batch N] [--runs N] [--simulate] [--json]

Per workload: capturing the graph (torch; once), mapping it, and the same with both found in the cache; each
the median of ``--runs`` runs. ``--simulate`` runs the program and writes the folder as well. Workloads that
are not there, or do not map, say so. The cache is a folder of its own, empty at the beginning.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from accelsim.errors import AccelsimError
from accelsim.frontend import load_workload
from accelsim.graph.store import content_hash
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.run.collector import seldom_collected
from accelsim.run.plans import program_of

WORKLOADS = ("lenet5", "resnet18-cifar", "resnet50", "mobilenetv2", "bert-base", "gpt2-small")
Seconds = dict[str, float]


def median(runs: int, work: Callable[[], object]) -> float:
    """Return the median of the seconds that ``work`` takes."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken), 4)


def start_up(runs: int) -> Seconds:
    """Return the seconds that the command line takes before it does anything."""

    def python(*args: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *args], check=True, capture_output=True)

    return {
        "python": median(runs, python("-c", "pass")),
        "accelsim --help": median(runs, python("-m", "accelsim", "--help")),
        "import accelsim.run": median(runs, python("-c", "import accelsim.run")),
    }


@seldom_collected()  # as a run does
def stages(arch: str, workload: str, batch: int | None, runs: int, whole: bool) -> Seconds:
    """Return the seconds per stage."""
    found: Seconds = {"machine": median(runs, lambda: load_machine(arch))}
    machine = load_machine(arch)
    found["capture"] = median(1, lambda: load_workload(workload, batch=batch))
    found["capture, warm"] = median(runs, lambda: load_workload(workload, batch=batch))
    graph = load_workload(workload, batch=batch).graph
    found["hash"] = median(runs, lambda: content_hash(graph))
    key = content_hash(graph)
    found["map"] = median(runs, lambda: map_graph(graph, machine))
    program_of(graph, key, machine)
    found["map, warm"] = median(runs, lambda: program_of(graph, key, machine))
    if whole:
        with tempfile.TemporaryDirectory() as folder:
            walls = [
                simulate(arch, workload, batch=batch, out=Path(folder) / "run", force=True).wall_s
                for _ in range(runs)
            ]
        for stage in ("simulate", "write"):
            found[stage] = round(statistics.median(w[stage] for w in walls), 4)
    return found


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description="Seconds per stage of accelsim run.")
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    parser.add_argument("--arch", default="tpu-like-hybrid")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--simulate", action="store_true", help="run and write as well")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: dict[str, Seconds | str] = {"start-up": start_up(given.runs)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ACCELSIM_CACHE"] = cache
        for workload in given.workloads:
            try:
                results[workload] = stages(given.arch, workload, given.batch, given.runs, given.simulate)
            except AccelsimError as fault:
                results[workload] = str(fault).splitlines()[0]
    if given.json:
        print(json.dumps({"arch": given.arch, "runs": given.runs, "seconds": results}, indent=1))
        return
    for workload, found in results.items():
        text = found if isinstance(found, str) else "  ".join(f"{k} {v:.3f}" for k, v in found.items())
        print(f"{workload:16s} {text}")


if __name__ == "__main__":
    main()
