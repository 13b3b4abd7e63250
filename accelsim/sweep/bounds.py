"""Lower bounds of a point's figures that cost nothing: from the machine and the graph alone.

No step is faster than its multiply-accumulates on a full array, and none takes less energy than these and
what stands under power meanwhile. So a point whose bounds lose to a point that is done cannot win.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from accelsim.graph.ir import Graph
from accelsim.mapping.variants import least_macs
from accelsim.resolve.machine import Machine
from accelsim.sweep.figures import Figures, of_machine


def lower_bounds(machine: Machine, graph: Graph) -> Figures:
    """Return figures that no run of ``graph`` on ``machine`` comes below; those of the machine are exact."""
    cells = machine.pe_array.rows * machine.pe_array.cols
    cycles = math.ceil(_macs(machine, graph) / cells)
    time_ps = cycles * 10**12 // machine.clock_hz
    energy = mac_pj(machine, graph) + ungated_mw(machine) * 1e-3 * time_ps
    return {"cycles": cycles, "time_ps": time_ps, "host_gap_ps": machine.host_gap_ps} | {
        "energy_pj.total": energy * (1 - 1e-9),
        **of_machine(machine),
    }


BOUNDED: Final = frozenset(
    {
        "cycles",
        "time_ps",
        "time_s",
        "energy_pj",
        "energy_pj.total",
        "edp",
        "edp_pj_s",
        "area_mm2",
        "leakage_mw",
    }
    | {"capacity_bytes", "capacity", "clock_hz"}
)
"""The figures of which there are bounds."""


def mac_pj(machine: Machine, graph: Graph) -> float:
    """Return the energy of the multiply-accumulates of ``graph``, at the cheapest format of the machine."""
    array = machine.pe_array
    cheapest = 0.0 if array.zero_gating else min(array.mac_pj.values())
    return _macs(machine, graph) * cheapest


def _macs(machine: Machine, graph: Graph) -> int:
    return sum(least_macs(op.gemm, machine) for op in graph.ops if op.gemm is not None)


def standing_mw(machine: Machine) -> float:
    """Return the power of what is never off."""
    banks = math.fsum(b.leakage_mw for b in machine.banks.values())
    return banks + machine.dram.background_mw + machine.static_mw


def ungated_mw(machine: Machine) -> float:
    """Return the power that stands even where bank groups are gated."""
    gated = math.fsum(
        b.leakage_mw * (1 if b.power_gating == "none" else min(b.gated_leakage, b.drowsy_leakage))
        for b in machine.banks.values()
    )
    return gated + machine.dram.background_mw + machine.static_mw


def loses(bound: Mapping[str, float], to: Mapping[str, float], cost: Callable[..., list[float]]) -> bool:
    """Return whether a point within ``bound`` is dominated by ``to``, whatever it comes to."""
    mine, others = cost(bound), cost(to)
    return all(a >= b for a, b in zip(mine, others, strict=True)) and mine != others
