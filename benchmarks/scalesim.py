"""Side by side with SCALE-Sim 3.0.0: cycles per layer, CPU time and peak memory of the whole commands.

    python benchmarks/scalesim.py [--topology NAME|FILE.csv ...] [--rows R --cols C --dataflow ws|is|os]
        [--folder FOLDER] [--scalesim-cached] [--measured FILE.json] [--runs N] [--json]

SCALE-Sim gets a virtual environment of its own, in --folder (kept) or in a temporary one, and is run once
per topology: it needs minutes and gigabytes (ResNet-50: 9 GB). What it took is kept in --measured, and
``--scalesim-cached`` takes it from there and installs nothing. It runs in its mode CALC (no stalls), without
writing traces. Ours is ``accelsim run tpu-like-sram`` with its array and ``convention = "scale-sim"``: the
first run has nothing cached, the medians are of --runs runs that find their mapping in the cache. A topology
of one's own needs a comma at the end of each line, which SCALE-Sim cuts off with whatever follows it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Cost, Others, circumstances, measured, say, table, told
from topologies import TOPOLOGIES, text_of

PACKAGES = ("scalesim==3.0.0", "numpy<2.4")  # numpy 2.4 refuses what it does with shapes
MEASURED = Path(__file__).parent / "scalesim_measured.json"
CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 6144
FilterSramSzkB: 6144
OfmapSramSzkB: 2048
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {dataflow}
Bandwidth: 10
ReadRequestBuffer: 512
WriteRequestBuffer: 512
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 1
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 1
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
DRIVER = """\
import sys
from scalesim.scale_sim import scalesim
config, layers, out, form = sys.argv[1:]
files = {"config": config, "topology": layers, "layout": layers}
run = scalesim(save_disk_space=True, verbose=False, input_type_gemm=form == "gemm", **files)
run.run_scale(out)
"""  # its command line writes the traces whatever it is told; a layout is read, but not used
OPS = """\
import json, sys
from accelsim.trace.runs import open_run
ops = open_run(sys.argv[1]).table("ops").to_pylist()
print(json.dumps([[op[c] for c in ("op", "compute_cycles", "array_busy_cycles")] for op in ops]))
"""  # in a process of its own: what reads tables is large, see measure.py
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A topology on an array."""

    name: str
    text: str
    rows: int
    cols: int
    dataflow: str

    @property
    def key(self) -> str:
        """Its name among the measured ones."""
        return f"{self.name} {self.rows}x{self.cols} {self.dataflow}"

    @property
    def digest(self) -> str:
        """The hash of the topology's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def form(self) -> str:
        """What its lines hold: ``gemm`` or ``conv``."""
        head = [cell.strip().lower() for cell in self.text.split("\n", 1)[0].split(",")]
        return "gemm" if head[1:4] == ["m", "n", "k"] else "conv"

    def write(self, folder: Path) -> Path:
        """Write the topology into ``folder``."""
        path = folder / f"{self.name}.csv"
        path.write_text(self.text, encoding="utf-8")
        return path


def job_of(topology: str, rows: int, cols: int, dataflow: str) -> Job:
    """Return the job of a topology given by name or file."""
    if topology in TOPOLOGIES:
        return Job(topology, text_of(topology), rows, cols, dataflow)
    path = Path(topology)
    if not path.is_file():
        sys.exit(f"{topology}: neither a file nor one of {', '.join(TOPOLOGIES)}")
    return Job(path.stem, path.read_text(encoding="utf-8"), rows, cols, dataflow)


def install(folder: Path) -> Path:
    """Return the Python of a virtual environment in ``folder`` that has SCALE-Sim."""
    python = folder / "scalesim-3.0.0" / "bin" / "python"
    check = [str(python), "-c", "import scalesim.scale_sim"]
    if not python.exists() or subprocess.run(check, capture_output=True, check=False).returncode:
        say(f"installing {' '.join(PACKAGES)} in {python.parents[1]}")
        venv.create(python.parents[1], with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def run_scalesim(job: Job, python: Path) -> Record:
    """Return what one run of SCALE-Sim took, and its cycles per layer."""
    say(f"SCALE-Sim: {job.key}")
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder) / "array.cfg", Path(folder) / "out"
        config.write_text(CONFIG.format(rows=job.rows, cols=job.cols, dataflow=job.dataflow))
        with Others() as others:
            paths = (str(config), str(job.write(Path(folder))), str(out))
            cost = measured([str(python), "-c", DRIVER, *paths, job.form])
        if cost.fault:
            return {"error": cost.fault}
        with (out / "run" / "COMPUTE_REPORT.csv").open(newline="") as lines:
            layers = list(csv.DictReader(lines, skipinitialspace=True))
    return {
        **circumstances(others.cores),
        "packages": list(PACKAGES),
        "topology_sha256": job.digest,
        "cpu_s": cost.cpu_s,
        "wall_s": cost.wall_s,
        "peak_mib": cost.peak_mib,
        "cycles": [int(r["Total Cycles"]) - int(r["Stall Cycles"]) for r in layers],
    }


def theirs(job: Job, path: Path, python: Path | None) -> Record:
    """Return SCALE-Sim's record: measured now and kept in ``path``, or, without a Python, what lies there."""
    known: dict[str, Record] = json.loads(path.read_text()) if path.exists() else {}
    if python is None:
        record = known.get(job.key)
        if record is None or record["topology_sha256"] != job.digest:
            return {"error": f"{job.key} is not among those measured; run it without --scalesim-cached"}
        return record
    record = run_scalesim(job, python)
    if "error" not in record:
        path.write_text(json.dumps({**known, job.key: record}, indent=1) + "\n")
    return record


def command(job: Job, topology: Path, out: Path) -> list[str]:
    """Return our command of ``job``."""
    keys = {"rows": job.rows, "cols": job.cols, "dataflow": job.dataflow, "convention": "scale-sim"}
    settings = [part for key, value in keys.items() for part in ("--set", f"pe_array.{key}={value}")]
    run = [sys.executable, "-m", "accelsim", "run", "tpu-like-sram", str(topology), *settings]
    return [*run, "--json", "--quiet", "--out", str(out)]


def figures(cost: Cost) -> Record:
    """Return one of our runs' figures."""
    run = json.loads(cost.stdout)
    return {
        "cpu_s": cost.cpu_s,
        "wall_s": cost.wall_s,
        "peak_mib": cost.peak_mib,
        "simulate_s": run["wall_s"]["simulate"],
        "map_s": run["wall_s"]["map"],
    }


def ours(job: Job, runs: int) -> Record:
    """Return the figures of our first run, the medians of the next ones, and the cycles per layer."""
    say(f"accelsim: {job.key}")
    with tempfile.TemporaryDirectory() as folder:
        topology = job.write(Path(folder))
        cache = {"ACCELSIM_CACHE": str(Path(folder) / "cache")}
        found = []
        for i in range(1 + runs):
            cost = measured(command(job, topology, Path(folder) / f"run{i}"), cache)
            if cost.fault:
                return {"error": cost.fault}
            found.append(figures(cost))
        ops = subprocess.run(
            [sys.executable, "-c", OPS, str(Path(folder) / "run0")],
            check=True,
            capture_output=True,
            text=True,
        )
    later = found[1:] or found
    medians = {key: round(statistics.median(f[key] for f in later), 4) for key in found[0]}
    return {"first": found[0], "median": medians, "layers": json.loads(ops.stdout)}


def beside(job: Job, their: Record, our: Record) -> Record:
    """Return both records, and what they come to beside each other."""
    both: Record = {"name": job.key, "scalesim": their, "accelsim": our}
    if "error" in their or "error" in our:
        return both
    names, closed, busy = zip(*our["layers"], strict=True)
    true = [cycles + 1 for cycles in their["cycles"]]  # it reports the index of the last cycle
    differ = [n for n, c, t in zip(names, closed, true, strict=True) if c != t]
    return {
        **both,
        "layers": len(true),
        "cycles": sum(true),
        "layers_that_differ": differ,
        "executed_as_long": sum(b == t for b, t in zip(busy, true, strict=True)),
        "executed_cycles": sum(busy),
        "ratios": {run: ratios(their, our[run]) for run in ("first", "median")},
    }


def ratios(their: Record, our: Record) -> Record:
    """Return by how much SCALE-Sim takes more than one of our runs."""
    return {key: round(their[key] / our[key], 2) for key in ("cpu_s", "wall_s", "peak_mib")}


def cycles_table(done: list[Record]) -> str:
    """Return the table of cycles."""
    head = ("topology and array", "layers", "cycles", "layers equal", "cycles executed", "layers equal")
    rows = [
        (
            r["name"],
            str(r["layers"]),
            f"{r['cycles']:,}",
            str(r["layers"] - len(r["layers_that_differ"])),
            f"{r['executed_cycles']:,}",
            str(r["executed_as_long"]),
        )
        for r in done
    ]
    return table(head, rows)


def cost_table(done: list[Record]) -> str:
    """Return the table of CPU time and memory."""
    head = ("", "CPU s", "wall s", "peak MiB", "map s", "simulate s", "CPU ratio", "memory ratio")
    rows: list[tuple[str, ...]] = []
    for r in done:
        their, first, later = r["scalesim"], r["accelsim"]["first"], r["accelsim"]["median"]
        rows += [
            (r["name"], "", "", "", "", "", "", ""),
            ("- SCALE-Sim", *_costs(their), "", "", "", ""),
            ("- accelsim, first run", *_costs(first), *_stages(first), *_ratios(r, "first")),
            ("- accelsim, later runs", *_costs(later), *_stages(later), *_ratios(r, "median")),
        ]
    return table(head, rows)


def _costs(f: Record) -> tuple[str, str, str]:
    return f"{f['cpu_s']:.2f}", f"{f['wall_s']:.2f}", f"{f['peak_mib']:,.0f}"


def _stages(f: Record) -> tuple[str, str]:
    return f"{f['map_s']:.3f}", f"{f['simulate_s']:.3f}"


def _ratios(r: Record, run: str) -> tuple[str, str]:
    return f"{r['ratios'][run]['cpu_s']:,.3g}", f"{r['ratios'][run]['peak_mib']:,.3g}"


def page(results: list[Record], where: Record) -> str:
    """Return the results as markdown."""
    parts = [f"accelsim: {told(where)}"]
    done = [r for r in results if "layers" in r]
    parts += [f"SCALE-Sim, {r['name']}: {told(r['scalesim'])}" for r in done]
    if done:
        parts += [cycles_table(done), cost_table(done)]
    for r in results:
        faults = {who: r[who]["error"] for who in ("scalesim", "accelsim") if "error" in r[who]}
        parts += [f"{r['name']}: {who}: {fault}" for who, fault in faults.items()]
        if r.get("layers_that_differ"):
            parts.append(f"{r['name']}: cycles differ in {', '.join(r['layers_that_differ'])}")
    return "\n\n".join(parts)


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="accelsim beside SCALE-Sim 3.0.0.")
    parser.add_argument(
        "--topology", nargs="+", default=list(TOPOLOGIES), help="resnet18, resnet50, or files"
    )
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--cols", type=int, default=128)
    parser.add_argument("--dataflow", choices=("ws", "is", "os"), default="ws")
    parser.add_argument("--folder", type=Path, help="where SCALE-Sim is installed, and kept; else temporary")
    parser.add_argument("--scalesim-cached", action="store_true", help="take its figures from --measured")
    parser.add_argument("--measured", type=Path, default=MEASURED, help="where its figures are kept")
    parser.add_argument("--runs", type=int, default=3, help="of ours, after the first")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and return 1 if a cycle differs or a run failed."""
    given = arguments()
    jobs = [job_of(t, given.rows, given.cols, given.dataflow) for t in given.topology]
    place: AbstractContextManager[Any] = nullcontext(given.folder)
    if not given.folder:
        place = tempfile.TemporaryDirectory()
    with place as folder:
        python = None if given.scalesim_cached else install(Path(folder).resolve())
        their = [theirs(job, given.measured, python) for job in jobs]
    with Others() as others:
        our = [ours(job, given.runs) for job in jobs]
    where = circumstances(others.cores)
    results = [beside(*both) for both in zip(jobs, their, our, strict=True)]
    print(json.dumps({**where, "results": results}, indent=1) if given.json else page(results, where))
    return int(any("layers" not in r or r["layers_that_differ"] for r in results))


if __name__ == "__main__":
    sys.exit(main())
