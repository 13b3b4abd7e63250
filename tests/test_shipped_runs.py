"""Every shipped machine runs every small workload and keeps the laws; golden traces of small runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.trace.recorder import Recorder
from tests.strategies import ARCHS, bank, convs, gemms, machine, shipped_graph
from tests.test_machine_laws import LAWS, Run

GOLDEN = Path(__file__).parent / "golden" / "traces"
ISO_AREA = [
    "edge-mram-iso-area",
    "edge-hybrid-iso-area",
    "tpu-like-mram-iso-area",
    "tpu-like-hybrid-iso-area",
]
PAIRS = [(a, w) for a in ARCHS for w in ("mlp", "lenet5", "lenet-tinydnn")] + [(a, "mlp") for a in ISO_AREA]
GOLDEN_RUNS = {
    "gemm_ws": (gemms((9, 6, 7)), {"dataflow": "ws"}),
    "gemm_is": (gemms((9, 6, 7)), {"dataflow": "is"}),
    "gemm_os": (gemms((9, 6, 7)), {"dataflow": "os"}),
    "gemm_scale_sim": (gemms((9, 6, 7)), {"dataflow": "ws", "convention": "scale-sim"}),
    "conv": (convs((6, 6, 3, 3, 2, 5, 1)), {"line_buffer": 64}),
}


@pytest.mark.parametrize(("arch", "workload"), PAIRS)
def test_every_machine_runs_every_small_workload(arch: str, workload: str) -> None:
    """A batch of two, a whole step, every law."""
    on, graph = load_machine(arch, ()), shipped_graph(workload, 2)
    program = map_graph(graph, on)
    run = Run(graph, on, program, run_program(on, program))
    for law in LAWS:
        law(run)


def _trace(recorder: Recorder) -> dict[str, Any]:
    return {
        "end_ps": recorder.end_ps,
        "ops": {name: asdict(times) for name, times in recorder.ops.items()},
        "components": {name: asdict(times) for name, times in recorder.components.items()},
        "counts": sorted([c, a, p.op, r, n] for (c, a, p, r), n in recorder.counts.items()),
        "spans": [
            [s.component, s.category, s.reason, s.tensor, s.queued_ps, s.start_ps, s.end_ps, s.nbytes]
            for s in recorder.spans
        ],
    }


def _text(trace: dict[str, Any]) -> str:
    """Return JSON with a line per count and span."""
    head = {k: v for k, v in trace.items() if k not in ("counts", "spans")}
    lines = [json.dumps(head, indent=1, sort_keys=True)[:-2]]
    for key in ("counts", "spans"):
        rows = ",\n".join(f"  {json.dumps(row)}" for row in trace[key])
        lines.append(f' "{key}": [\n{rows}\n ]')
    return ",\n".join(lines) + "\n}\n"


@pytest.mark.parametrize("name", GOLDEN_RUNS)
def test_the_trace_is_the_golden_one(name: str, regen: bool) -> None:
    """The whole trace of a fixed little run. --regen-golden rewrites it; review the diff."""
    graph, array = GOLDEN_RUNS[name]
    mram = bank("mram", capacity=4096, technology="stt-mram", word=4, read=(1_500, 1_000), write=5_300)
    sram = bank("sram", capacity=4096, word=4, count=2, ports="1r1w")
    places = {"weight": ("mram",), "input": ("sram",), "activation": ("sram",)}
    on = machine(sram, mram, placement=places, dma=(3_000, 2, 8), granularity=16, noc_ps=400, **array)
    got = _text(_trace(run_program(on, map_graph(graph, on))))

    path = GOLDEN / f"{name}.json"
    if regen:
        path.parent.mkdir(exist_ok=True)
        path.write_text(got)
    assert json.loads(got) == json.loads(path.read_text())  # no file: the test fails
