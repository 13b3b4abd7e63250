"""GEMMs of ONNXim beside ours: the closed form with perfect memory, and a whole cold run.

    python benchmarks/onnxim.py

ONNXim's set-up (docs/sources.md#onnxim): one core at 1 GHz, weight-stationary; 128x128 with 32 MiB of
scratchpad, 4 MiB of accumulators and 614.4 GB/s of HBM, or 8x8 with 64 KiB, 16 KiB and 25.6 GB/s of DDR4.
Its cycles hold its DRAM model's timing, ours are flat: the whole runs are reported, not gated.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from accelsim.frontend import load_workload
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.program.folds import compute_cycles
from accelsim.resolve import load_machine
from accelsim.sim import Clock

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "onnxim_gemm.json"
BANK = ("read_latency=1ns", "read_cycle=1ns", "write_cycle=1ns", "read_energy=10pJ", "write_energy=10pJ")
SET_UP = {
    128: ("32 MiB", "4 MiB", "614.4 GB/s", "bf16", 16, 8),
    8: ("64 KiB", "16 KiB", "25.6 GB/s", "int8", 4, 1),
}


def overrides(size: int) -> list[str]:
    """Return the settings that make the shipped SRAM machine ONNXim's."""
    spad, accumulator, bandwidth, fmt, count, subbanks = SET_UP[size]
    bank = [f"bank.sram.{setting}" for setting in (*BANK, "leakage=1mW", "area=1mm2")]
    return [
        "clock=1GHz",
        f"pe_array.rows={size}",
        f"pe_array.cols={size}",
        f'bank.sram.capacity="{spad}"',
        f"bank.sram.count={count}",
        f"bank.sram.subbanks={subbanks}",
        *bank,
        f'accumulator.capacity="{accumulator}"',
        f'dram.bandwidth="{bandwidth}"',
        *(f"format.{role}={fmt}" for role in ("input", "weight", "activation")),
    ]


def whole_run(size: int, m: int, n: int, k: int) -> int:
    """Return the cycles of one cold run from DRAM to DRAM."""
    machine = load_machine("tpu-like-sram", overrides(size))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gemm.csv"
        path.write_text(f"Layer, M, N, K\ngemm, {m}, {n}, {k}\n", encoding="utf-8")
        program = map_graph(load_workload(str(path)).graph, machine, cold=True)
    return Clock(machine.clock_hz).at_or_after(run_program(machine, program).end_ps)


def main() -> None:
    """Print one row per point."""
    print("| array | M x K x N | ONNXim | closed form | | whole cold run | |")
    print("|---|---|---:|---:|---:|---:|---:|")
    golden_file = json.loads(GOLDEN.read_text(encoding="utf-8"))
    (points,) = (value for value in golden_file.values() if isinstance(value, list))
    for point in points:
        size = golden_file["configs"][point["config"]]["rows"]
        m, n, k, golden = (point[key] for key in ("m", "n", "k", "layer_finish"))
        closed = compute_cycles("physical", "ws", size, size, m=m, n=n, k=k)
        whole = whole_run(size, m, n, k)
        ratios = (f"{100 * (c / golden - 1):+.1f} %" for c in (closed, whole))
        cells = (
            f"{size}x{size}",
            f"{m}x{k}x{n}",
            f"{golden:,}",
            f"{closed:,}",
            next(ratios),
            f"{whole:,}",
            next(ratios),
        )
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
