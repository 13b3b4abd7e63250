"""What each layer costs, summed over its ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from accelsim.words import STALL_REASONS

if TYPE_CHECKING:
    import pyarrow as pa


STEP: Final = "(step)"  # how tables name the owner of what is no layer's


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer's ops together. Ops that ride on another's drain take no time of their own."""

    layer: str
    time_ps: int
    phase_ps: Mapping[str, int]
    stall_ps: int
    dram_bytes: int


def layer_costs(ops: pa.Table) -> list[LayerCost]:
    """Return the cost of every layer in the table ``ops``, the longest time first, then by name."""
    phase_ps: dict[str, dict[str, int]] = {}
    stall_ps: dict[str, int] = {}
    dram: dict[str, int] = {}
    wanted = ("layer", "phase", "fused_into", "start_ps", "end_ps", "dram_read_bytes", "dram_write_bytes")
    stalls = [f"stall_{reason}_ps" for reason in STALL_REASONS]
    for row in ops.select([*wanted, *stalls]).to_pylist():
        layer, phase = row["layer"], row["phase"]
        spent = 0 if row["fused_into"] else row["end_ps"] - row["start_ps"]
        by_phase = phase_ps.setdefault(layer, {})
        by_phase[phase] = by_phase.get(phase, 0) + spent
        stall_ps[layer] = stall_ps.get(layer, 0) + sum(row[name] for name in stalls)
        dram[layer] = dram.get(layer, 0) + row["dram_read_bytes"] + row["dram_write_bytes"]
    costs = [
        LayerCost(
            layer=layer,
            time_ps=sum(phases.values()),
            phase_ps=phases,
            stall_ps=stall_ps[layer],
            dram_bytes=dram[layer],
        )
        for layer, phases in phase_ps.items()
    ]
    return sorted(costs, key=lambda c: (-c.time_ps, c.layer))


def together(name: str, costs: Sequence[LayerCost]) -> LayerCost:
    """Return the sum of ``costs``, called ``name``."""
    phases = dict.fromkeys(p for c in costs for p in c.phase_ps)
    return LayerCost(
        layer=name,
        time_ps=sum(c.time_ps for c in costs),
        phase_ps={p: sum(c.phase_ps.get(p, 0) for c in costs) for p in phases},
        stall_ps=sum(c.stall_ps for c in costs),
        dram_bytes=sum(c.dram_bytes for c in costs),
    )


def step_costs(summary: Mapping[str, Any], ops: pa.Table) -> tuple[list[LayerCost], LayerCost]:
    """Return the cost of every layer, and of the step itself: all of them add up to the step.

    The step's own are ops outside of any layer, and the time after the last op, until its write-backs end.
    """
    costs = layer_costs(ops)
    known = together("", costs).phase_ps
    rest = {phase: of["time_ps"] - known.get(phase, 0) for phase, of in summary["phases"].items()}
    end = LayerCost(layer=STEP, time_ps=sum(rest.values()), phase_ps=rest, stall_ps=0, dram_bytes=0)
    return [c for c in costs if c.layer], together(STEP, [end, *(c for c in costs if not c.layer)])
