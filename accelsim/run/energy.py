"""Counts times prices: the energy table, and its sums by any key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import MAC, price_pj, standing_w
from accelsim.run.pe_energy import array_counts
from accelsim.trace.recorder import Part, Recorder

PER_BIT = {"noc", "dma", "dram", "transpose"}
STEP_END = "step end"  # standing power after the last op's window: last write-backs, the host's gap


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """One row of ``energy.parquet``."""

    component: str
    action: str
    part: Part
    role: str
    count: int
    price_pj: float
    powered_ps: int
    price_w: float

    @property
    def energy_pj(self) -> float:
        """count * price, or power * time (1 W for 1 ps is 1 pJ)."""
        return self.count * self.price_pj + self.powered_ps * self.price_w


def energy_rows(
    machine: Machine,
    recorder: Recorder,
    parts: Iterable[Part],
    powered: Mapping[tuple[str, str], float] | None = None,
    gated: Mapping[str, float] | None = None,
) -> list[EnergyRow]:
    """Return the priced counts and the standing power of every op's window, in a fixed order.

    Args:
        powered: Share of its leakage that a bank group draws, by op and group; 1 where it says nothing.
        gated: Share of an op's multiply-accumulates that cost nothing; 0 where it says nothing.
    """
    rows = [
        EnergyRow(
            component, action, part, role, n, price_pj(machine, component, action, role, part.layer), 0, 0.0
        )
        for (component, action, part, role), n in recorder.counts.items()
    ]
    if gated:
        rows = [_gated(row, gated) for row in rows]
    rows += [
        EnergyRow("pe_array", action, part, "", n, price_pj(machine, "pe_array", action), 0, 0.0)
        for action, part, n in array_counts(machine, recorder.counts, recorder.ops)
        if n
    ]
    powers = standing_w(machine)
    by_op: dict[str, dict[str, float]] = {}
    for (op, group), share in (powered or {}).items():
        by_op.setdefault(op, {})[f"spad.{group}"] = share
    last_end, last_phase = 0, Part(STEP_END, "", "forward")
    for part in parts:
        times = recorder.ops.get(part.op)
        if times is None or times.end_ps == times.start_ps:
            continue
        window = times.end_ps - times.start_ps
        drawn = _drawn(powers, part.op, by_op)
        rows += [EnergyRow(c, a, part, "", 0, 0.0, window, w) for c, a, w in drawn]
        if times.end_ps > last_end:
            last_end, last_phase = times.end_ps, Part(STEP_END, "", part.phase)
    rest = recorder.end_ps - last_end + machine.host_gap_ps
    if rest > 0:
        drawn = _drawn(powers, STEP_END, by_op)
        rows += [EnergyRow(c, a, last_phase, "", 0, 0.0, rest, w) for c, a, w in drawn]
    return sorted(rows, key=lambda r: (r.component, r.action, r.part.phase, r.part.layer, r.part.op, r.role))


def _gated(row: EnergyRow, gated: Mapping[str, float]) -> EnergyRow:
    if row.component != "pe_array" or not row.action.startswith(MAC):
        return row
    return replace(row, price_pj=row.price_pj * (1 - gated.get(row.part.op, 0.0)))


def _drawn(
    powers: list[tuple[str, str, float]], op: str, by_op: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, float]]:
    """Return the standing powers during an op, with what is gated off."""
    share = by_op.get(op)
    if not share:
        return powers
    return [(c, a, w * share.get(c, 1.0) if a == "leakage" else w) for c, a, w in powers]


def sums(rows: Iterable[EnergyRow]) -> dict[str, object]:
    """Return the total in pJ and its parts by component, action, role, phase and layer."""
    listed = list(rows)

    def by(key: Callable[[EnergyRow], str]) -> dict[str, float]:
        parts: dict[str, list[float]] = {}
        for row in listed:
            parts.setdefault(key(row), []).append(row.energy_pj)
        return {name: math.fsum(values) for name, values in sorted(parts.items())}

    return {
        "total": math.fsum(r.energy_pj for r in listed),
        "by_component": by(lambda r: r.component),
        "by_action": by(lambda r: f"{r.component} {r.action}"),
        "by_role": by(lambda r: r.role or "none"),
        "by_phase": by(lambda r: r.part.phase),
        "by_layer": by(lambda r: r.part.layer),
    }
