"""Counts times prices: the energy table, and its sums by any key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from accelsim.errors import RunError
from accelsim.resolve.machine import Machine
from accelsim.trace.recorder import Part, Recorder

PER_BIT = {"noc", "dma", "dram"}
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


def price_pj(machine: Machine, component: str, action: str) -> float:
    """Return the energy of one action in pJ.

    Raises:
        RunError: if the machine has no price for it, naming the key to set.
    """
    if component == "pe_array":
        prices = machine.pe_array.mac_pj
        fmt = action.removeprefix("mac.")
        if fmt not in prices:
            known = ", ".join(prices)
            raise RunError(f"no energy for a {fmt} MAC; set pe_array.mac_energy.{fmt} (known: {known})")
        return prices[fmt]  # type: ignore[index]
    if component == "accumulator":
        return machine.accumulator.rmw_pj
    if component == "vector":
        return machine.vector.pj.get(action, machine.vector.pj["add"])
    if component == "noc":
        return machine.noc.pj_per_bit
    if component == "dma":
        return machine.dma.pj_per_bit
    if component == "dram":
        return machine.dram.read_pj_per_bit if action == "read" else machine.dram.write_pj_per_bit
    bank = machine.banks[component.removeprefix("spad.")]
    return bank.read_pj if action == "read" else bank.write_pj


def energy_rows(machine: Machine, recorder: Recorder, parts: Iterable[Part]) -> list[EnergyRow]:
    """Return the priced counts and the standing power of every op's window, in a fixed order."""
    rows = [
        EnergyRow(component, action, part, role, n, price_pj(machine, component, action), 0, 0.0)
        for (component, action, part, role), n in recorder.counts.items()
    ]
    powers = _standing_w(machine)
    last_end, last_phase = 0, Part(STEP_END, "", "forward")
    for part in parts:
        times = recorder.ops.get(part.op)
        if times is None or times.end_ps == times.start_ps:
            continue
        rows += [EnergyRow(c, a, part, "", 0, 0.0, times.end_ps - times.start_ps, w) for c, a, w in powers]
        if times.end_ps > last_end:
            last_end, last_phase = times.end_ps, Part(STEP_END, "", part.phase)
    rest = recorder.end_ps - last_end + machine.host_gap_ps
    if rest > 0:
        rows += [EnergyRow(c, a, last_phase, "", 0, 0.0, rest, w) for c, a, w in powers]
    return sorted(rows, key=lambda r: (r.component, r.action, r.part.phase, r.part.layer, r.part.op, r.role))


def _standing_w(machine: Machine) -> list[tuple[str, str, float]]:
    """Return (component, action, watts) of everything that draws power all the time."""
    powers = [(f"spad.{n}", "leakage", b.leakage_mw * 1e-3) for n, b in machine.banks.items()]
    powers.append(("dram", "background", machine.dram.background_mw * 1e-3))
    powers.append(("static", "logic", machine.static_mw * 1e-3))
    return [p for p in powers if p[2]]


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
