"""Seconds, memory and tiles of whole training steps: the command ``accelsim run NETWORK --json``.

    python benchmarks/networks.py [--only NAME ...] [--runs N] [--arch ARCH] [--limit SECONDS] [--json]

Per network, one run with nothing cached (torch captures the step, the mapper maps it), then the medians of
--runs runs that find both in the cache. NAME is a workload, or a workload and a batch: ``resnet50-b8``. A
network that is absent, fails or takes longer than --limit per run is reported, and the next one follows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Cost, Others, circumstances, measured, say, table, told

STAGES = ("capture", "map", "simulate", "write")
TILES = ("tiles_simulated", "tiles_skipped", "folds_skipped", "kernels_skipped")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A training step, and how long simulating it and the whole command may take, in seconds."""

    workload: str
    batch: int
    simulate_s: float | None = None
    whole_s: float | None = None

    @property
    def name(self) -> str:
        """As --only knows it."""
        return f"{self.workload}-b{self.batch}"


CASES = (
    Case("lenet5", 64, 0.05, 1.0),
    Case("resnet18-cifar", 128, 0.3, 1.5),
    Case("resnet50", 32, 1.0, 3.0),
    Case("bert-base", 8, 1.0, 3.0),
    Case("gpt2-small", 4, 1.0, 3.0),
    Case("mobilenetv2", 32),
    *(Case("resnet50", batch) for batch in (1, 8, 64, 256)),
)


def figures(cost: Cost) -> Record:
    """Return the figures of one run."""
    run = json.loads(cost.stdout)
    return {
        **{stage: run["wall_s"][stage] for stage in STAGES},
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "peak_mib": cost.peak_mib,
        **{key: run["skip"][key] for key in TILES},
        "cycles": run["cycles"],
    }


def measure(case: Case, arch: str, runs: int, limit_s: float) -> Record:
    """Return the figures of the first run and the medians of the later ones, or what went wrong."""
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = {"ACCELSIM_CACHE": str(Path(folder) / "cache")}
        for i in range(1 + runs):
            say(f"{case.name}: run {i} of {runs}")
            run = ["run", arch, case.workload, "--batch", str(case.batch), "--json", "--quiet"]
            out = str(Path(folder) / f"run{i}")
            cost = measured([sys.executable, "-m", "accelsim", *run, "--out", out], cache, limit_s)
            if cost.fault:
                return {"error": cost.fault, "after_s": cost.wall_s}
            found.append(figures(cost))
    later = found[1:] or found
    medians = {key: round(statistics.median(f[key] for f in later), 4) for key in found[0]}
    return {"first": found[0], "median": medians}


def chosen(only: list[str]) -> list[Case]:
    """Return the cases that --only names: all of them if it names none."""
    unknown = [name for name in only if not any(name in (c.name, c.workload) for c in CASES)]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)}; there are {', '.join(c.name for c in CASES)}")
    return [c for c in CASES if not only or c.name in only or c.workload in only]


def later_table(done: list[tuple[Case, Record]]) -> str:
    """Return the medians beside the targets."""
    head = ("network", *STAGES[:3], "target", "write", "whole", "target", "CPU s", "peak MiB")
    rows = []
    for case, record in done:
        m = record["median"]
        simulate = (_s(m["simulate"], case.simulate_s), _target(case.simulate_s))
        whole = (_s(m["wall_s"], case.whole_s), _target(case.whole_s))
        rest = (f"{m['cpu_s']:.2f}", f"{m['peak_mib']:,.0f}")
        rows.append((case.name, _s(m["capture"]), _s(m["map"]), *simulate, _s(m["write"]), *whole, *rest))
    return table(head, rows)


def first_table(done: list[tuple[Case, Record]]) -> str:
    """Return the figures of the first runs, and what was simulated."""
    head = ("network", "capture", "map", "whole", "CPU s", "peak MiB", "cycles")
    named = (key.replace("_", " ") for key in TILES)
    rows = []
    for case, record in done:
        f = record["first"]
        times = (
            _s(f["capture"]),
            _s(f["map"]),
            _s(f["wall_s"]),
            f"{f['cpu_s']:.2f}",
            f"{f['peak_mib']:,.0f}",
        )
        counts = (f"{f[key]:,}" for key in ("cycles", *TILES))
        rows.append((case.name, *times, *counts))
    return table((*head, *named), rows)


def _s(seconds: float, target: float | None = None) -> str:
    text = f"{seconds:.3f}"
    return f"**{text}**" if target is not None and seconds > target else text


def _target(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"


def page(results: list[tuple[Case, Record]], where: Record) -> str:
    """Return the results as markdown."""
    parts = [f"{where['arch']}; {told(where)}"]
    if done := [(case, record) for case, record in results if "error" not in record]:
        what = f"medians of {where['runs']} runs" if where["runs"] else "the first run"
        parts += [f"Seconds, captured and mapped before, {what} (bold: slower than the target):"]
        parts += [later_table(done), "The first run, nothing cached:", first_table(done)]
    failed = [(case, record) for case, record in results if "error" in record]
    parts += [f"{case.name}: failed after {r['after_s']:.1f} s: {r['error']}" for case, r in failed]
    return "\n\n".join(parts)


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Seconds, memory and tiles of whole training steps.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="workloads, or workload-bBATCH")
    parser.add_argument("--runs", type=int, default=3, help="after the first one")
    parser.add_argument("--arch", default="tpu-like-hybrid")
    parser.add_argument("--limit", type=float, default=900, help="seconds that one run may take")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Measure and print; return 1 if a network failed."""
    given = arguments()
    with Others() as others:
        results = [(c, measure(c, given.arch, given.runs, given.limit)) for c in chosen(given.only)]
    where = {"arch": given.arch, "runs": given.runs, **circumstances(others.cores)}
    if given.json:
        targets = [{"simulate_s": c.simulate_s, "whole_s": c.whole_s} for c, _ in results]
        named = [{"name": c.name, "targets": t, **r} for (c, r), t in zip(results, targets, strict=True)]
        print(json.dumps({**where, "results": named}, indent=1))
    else:
        print(page(results, where))
    return int(any("error" in record for _, record in results))


if __name__ == "__main__":
    sys.exit(main())
