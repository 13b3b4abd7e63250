"""Counts times prices: the energy table, and its sums by any key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from accelsim.errors import RunError
from accelsim.resolve.machine import BankGroup, Machine
from accelsim.run.pe_energy import MAC, array_counts, array_price_pj
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


def price_pj(machine: Machine, component: str, action: str, role: str = "", layer: str = "") -> float:
    """Return the energy of one action in pJ.

    What the data of ``role`` look like, in ``layer`` where that has been measured, decides a write's energy.

    Raises:
        RunError: if the machine has no price for it, naming the key to set.
    """
    if component == "pe_array":
        other = array_price_pj(machine, action)
        if other is not None:
            return other
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
    group = component.removeprefix("spad.")
    if group.endswith(".buffer"):
        buffer = machine.banks[group.removesuffix(".buffer")].buffer
        assert buffer is not None
        return buffer.access_pj
    bank = machine.banks[group]
    if action != "write":
        return bank.read_pj
    data = machine.content_of(role, layer)
    return write_price_pj(bank, data.toggles, data.rises)


def write_price_pj(bank: BankGroup, toggle: float, rises: float = 0.5) -> float:
    """Return the energy of a word's write of which a share ``toggle`` of the bits change.

    ``rises`` of these go from 0 to 1.
    """
    changed = rises * bank.changed_cost + (1 - rises) * bank.falling_cost
    driven = toggle * changed + (1 - toggle) * bank.unchanged_cost
    return bank.write_pj - bank.write_cell_pj * (1 - driven)


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
    powers = _standing_w(machine)
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


def _standing_w(machine: Machine) -> list[tuple[str, str, float]]:
    """Return (component, action, watts) of everything that draws power all the time."""
    powers = [(f"spad.{n}", "leakage", b.leakage_mw * 1e-3) for n, b in machine.banks.items()]
    powers += [(f"spad.{n}", "scrub", upkeep_w(b)) for n, b in machine.banks.items()]
    powers.append(("dram", "background", machine.dram.background_mw * 1e-3))
    powers.append(("static", "logic", machine.static_mw * 1e-3))
    return [p for p in powers if p[2]]


def _drawn(
    powers: list[tuple[str, str, float]], op: str, by_op: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, float]]:
    """Return the standing powers during an op, with what is gated off."""
    share = by_op.get(op)
    if not share:
        return powers
    return [(c, a, w * share.get(c, 1.0) if a == "leakage" else w) for c, a, w in powers]


def upkeep_w(bank: BankGroup) -> float:
    """Return the power of scrub and refresh: all words read and written back, unchanged, per interval."""
    words = bank.capacity_bytes // bank.word_bytes
    per_pass = words * (bank.read_pj + write_price_pj(bank, 0.0))  # pJ; 1 pJ per ps is 1 W
    return sum(per_pass / interval for interval in (bank.scrub_ps, bank.refresh_ps) if interval)


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
