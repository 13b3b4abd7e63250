"""Closed forms of cycles beside other simulators' figures, from the golden files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accelsim.geometry import ceil_div
from accelsim.program.folds import compute_cycles

GOLDEN = Path(__file__).parents[1] / "golden"
STONNE_PER_FOLD = 5  # of its own, beside R + C + T - 2
LAST_INDEX = 1  # SCALE-Sim reports the index of the last cycle


@dataclass(frozen=True)
class Tally:
    """Points compared with one tool and the largest difference, theirs after its known constant."""

    points: int
    arrays: str
    largest_cycles: int


@dataclass(frozen=True)
class Npu:
    """One GEMM beside ONNXim, M x K x N as it says them."""

    array: str
    shape: str
    theirs: float
    ours: int

    @property
    def apart(self) -> float:
        """Return ours over theirs, less one."""
        return self.ours / self.theirs - 1


def scale_sim() -> Tally:
    """Return the comparison with SCALE-Sim 3.0.0: its figure plus one."""
    with (GOLDEN / "scalesim_compute_cycles.csv").open(newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return _tally(rows, "reported", lambda _: LAST_INDEX)


def peers(source: str) -> Tally:
    """Return the comparison with ``llmcompass`` (its figure plus one) or ``stonne`` (less 5 a fold)."""
    with (GOLDEN / "peers_os_cycles.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["source"] == source]

    def constant(row: dict[str, str]) -> int:
        if source == "llmcompass":
            return LAST_INDEX
        m, n, rows, cols = (int(row[x]) for x in ("m", "n", "rows", "cols"))
        return -STONNE_PER_FOLD * ceil_div(m, rows) * ceil_div(n, cols)

    return _tally(rows, "cycles", constant)


def _tally(rows: list[dict[str, str]], column: str, constant: Callable[[dict[str, str]], int]) -> Tally:
    apart = [int(r[column]) + constant(r) - _ours(r) for r in rows]
    arrays = sorted({(int(r["rows"]), int(r["cols"])) for r in rows})
    return Tally(len(rows), ", ".join(f"{r}x{c}" for r, c in arrays), max(map(abs, apart)))


def _ours(row: dict[str, str]) -> int:
    rows, cols, m, n, k = (int(row[x]) for x in ("rows", "cols", "m", "n", "k"))
    return compute_cycles("scale-sim", row.get("dataflow", "os"), rows, cols, m, n, k)  # type: ignore[arg-type]


def onnxim() -> Iterator[Npu]:
    """Yield every point of ONNXim beside the closed form of ``physical``."""
    golden = json.loads((GOLDEN / "onnxim_gemm.json").read_text())
    for point in golden["points"]:
        array = golden["configs"][point["config"]]
        m, n, k = (int(point[x]) for x in "mnk")
        ours = compute_cycles("physical", "ws", array["rows"], array["cols"], m, n, k)
        name = f"{array['rows']}x{array['cols']}"
        yield Npu(name, f"{m}x{k}x{n}", float(point["layer_finish"]), ours)
