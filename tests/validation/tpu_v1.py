"""Share of cycles in which the array of TPU v1 takes a row: its published networks, run forward."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.frontend import load_workload
from accelsim.geometry import Axis, ceil_div
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from tests.validation.counts import PEERS

GOLDEN: dict[str, Any] = json.loads((PEERS / "tpu_v1.json").read_text())
APPS: dict[str, dict[str, float]] = GOLDEN["apps"]


@dataclass(frozen=True)
class Share:
    """What a run of one network says."""

    weights: int  # elements, biases left out
    uses: float  # multiply-accumulates per weight
    active: float  # of all cycles
    cycles: int


def share(app: str, cache: Path) -> Share:
    """Return the share of ``app``; captured graphs are kept in ``cache``."""
    machine = load_machine(str(PEERS / "tpu_v1.toml"))
    graph = load_workload(str(PEERS / f"tpu_v1_{app.lower()}.toml"), phase="forward", cache=cache).graph
    recorder = run_program(machine, map_graph(graph, machine))
    cycles = ceil_div(recorder.end_ps * machine.clock_hz, 10**12)
    weights = sum(t.elements for t in graph.tensors.values() if t.role == "weight" and len(t.shape) > 1)
    macs = sum(op.macs for op in graph.ops)
    rows, cols = machine.pe_array.rows, machine.pe_array.cols
    return Share(weights, macs / weights, _active_cycles(graph, rows, cols) / cycles, cycles)


def _active_cycles(graph: Graph, rows: int, cols: int) -> int:
    """Return the cycles in which a row enters the array: every row of every tile of weights, once."""
    gemms = [op.gemm for op in graph.ops if op.gemm is not None]
    return sum(_size(g.m) * ceil_div(_size(g.n), cols) * ceil_div(_size(g.k), rows) for g in gemms)


def _size(axes: tuple[Axis, ...]) -> int:
    return math.prod(a.size for a in axes)
