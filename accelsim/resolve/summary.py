"""What one wants to know of a machine before running it: pure functions of the resolved machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.device.laws import laws, mean_rate
from accelsim.device.mtj import thermal_stability_at
from accelsim.resolve.bank_group import BankGroup, Device
from accelsim.resolve.banks import TINY_ROWS
from accelsim.resolve.drive import LEAST_WER, WER, largest_delta
from accelsim.resolve.ledger import ASSUMED, CHOICE
from accelsim.resolve.machine import Machine
from accelsim.resolve.techniques import upkeep_share
from accelsim.words import FORMAT_BYTES, Role

TINY = "degenerate subarrays; area, leakage and energy are too high, times too short"
_WIDEST = 4  # bytes of an element where the workload decides on the format: torch's default, fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A bank group; bandwidths are those of all its macros busy with reads or with writes only."""

    name: str
    technology: str
    capacity_bytes: int
    macros: int
    macro_bytes: int
    word_bytes: int
    read_bytes_per_s: float
    write_bytes_per_s: float
    read_latency_ps: int
    read_cycle_ps: int
    write_cycle_ps: int
    read_pj_per_bit: float
    write_pj_per_bit: float
    leakage_mw: float
    area_mm2: float
    fit_residual: float  # largest of its numbers from the array table; 0 is exact
    tiny_rows: str  # capacities of degenerate rows of the array table that its macros are made of
    techniques: tuple[str, ...]
    device: DeviceSummary | None
    macro: MacroSummary | None  # of stt-mram


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """What the cells of an STT-MRAM group are, at the machine's temperature."""

    name: str
    delta: float
    retention_s: float  # of the mean cell
    pulse_s: float
    overdrive: float
    write_current_a: float
    write_error_rate: float  # 0 -> 1
    read_disturb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroSummary:
    """What the macro of an STT-MRAM group could write by itself.

    ``largest_delta`` is the largest thermal stability at the machine's temperature that the macro's own pulse
    and current write at ``target_wer``, the device's error rate or 1e-9; 0: none.
    """

    cell: str
    current_a: float  # that its access transistor gives
    target_wer: float
    largest_delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the array can take and give at full rate, in bytes per second."""

    read_bytes_per_s: float
    write_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSummary:
    """The machine in a few numbers."""

    name: str
    node_nm: int
    temperature_k: float
    clock_hz: int
    rows: int
    cols: int
    dataflow: str
    convention: str
    peak_macs_per_s: float
    vector_elements_per_s: float
    demand: Demand
    groups: tuple[GroupSummary, ...]
    capacity_bytes: int
    accumulator_bytes: int
    leakage_mw: float
    static_mw: float
    area_mm2: float
    dram_bytes_per_s: int
    dram_latency_ps: int
    ridge_macs_per_byte: float
    sources: tuple[str, ...]
    assumed: tuple[str, ...]


def summarize(machine: Machine) -> MachineSummary:
    """Return the summary of ``machine``."""
    array, banks = machine.pe_array, list(machine.banks.values())
    peak = float(array.rows * array.cols * machine.clock_hz)
    return MachineSummary(
        name=machine.name,
        node_nm=machine.node_nm,
        temperature_k=machine.temperature_k,
        clock_hz=machine.clock_hz,
        rows=array.rows,
        cols=array.cols,
        dataflow=array.dataflow,
        convention=array.convention,
        peak_macs_per_s=peak,
        vector_elements_per_s=float(machine.vector.lanes * machine.clock_hz),
        demand=array_demand(machine),
        groups=tuple(_group(machine, bank) for bank in banks),
        capacity_bytes=sum(bank.capacity_bytes for bank in banks),
        accumulator_bytes=machine.accumulator.capacity_bytes,
        leakage_mw=sum(bank.leakage_mw for bank in banks),
        static_mw=machine.static_mw,
        area_mm2=machine.area_mm2,
        dram_bytes_per_s=machine.dram.bandwidth_bytes_per_s,
        dram_latency_ps=machine.dram.latency_ps,
        ridge_macs_per_byte=peak / machine.dram.bandwidth_bytes_per_s,
        sources=sources_used(machine),
        assumed=assumed_keys(machine),
    )


def array_demand(machine: Machine) -> Demand:
    """Return the array's demand at full rate.

    ws, is: one streamed operand per row and cycle, the next stationary tile over as many cycles as the
    array has rows; os: one operand per row and one per column and cycle. Either way one result per
    column and cycle at most leaves the array. Elements are in the formats of weight and activation.
    """
    array, clock = machine.pe_array, machine.clock_hz
    activation, weight = _element(machine, "activation"), _element(machine, "weight")
    by_row, by_column = (weight, activation) if array.dataflow == "is" else (activation, weight)
    read = array.rows * by_row + array.cols * by_column
    return Demand(
        read_bytes_per_s=float(read * clock), write_bytes_per_s=float(array.cols * activation * clock)
    )


def sources_used(machine: Machine) -> tuple[str, ...]:
    """Return the keys of docs/sources.md behind the machine's numbers, sorted."""
    used = dict.fromkeys(s.source for s in machine.sources)
    return tuple(sorted(source for source in used if source not in (ASSUMED, CHOICE)))


def assumed_keys(machine: Machine) -> tuple[str, ...]:
    """Return the keys whose numbers are assumed, in the order of the machine."""
    return tuple(s.key for s in machine.sources if s.source == ASSUMED)


def _element(machine: Machine, role: Role) -> int:
    fmt = machine.formats[role]
    return FORMAT_BYTES[fmt] if fmt else _WIDEST


def tiny_rows(machine: Machine, group: str) -> str:
    """Return the capacities of degenerate rows of the array table behind a group; empty: none."""
    return next((str(s.value) for s in machine.sources if s.key == f"bank.{group}.macro.{TINY_ROWS}"), "")


def _group(machine: Machine, bank: BankGroup) -> GroupSummary:
    bits, per_s = bank.word_bytes * 8, bank.lanes * bank.word_bytes * 10**12
    prefix = f"bank.{bank.name}."
    residuals = [
        float(s.value)
        for s in machine.sources
        if s.key.startswith(prefix) and s.key.endswith(".fit_residual")
    ]
    return GroupSummary(
        name=bank.name,
        technology=bank.technology,
        capacity_bytes=bank.capacity_bytes,
        macros=bank.lanes,
        macro_bytes=bank.capacity_bytes // bank.lanes,
        word_bytes=bank.word_bytes,
        read_bytes_per_s=per_s / bank.read_cycle_ps,
        write_bytes_per_s=per_s / bank.write_cycle_ps,
        read_latency_ps=bank.read_latency_ps,
        read_cycle_ps=bank.read_cycle_ps,
        write_cycle_ps=bank.write_cycle_ps,
        read_pj_per_bit=bank.read_pj / bits,
        write_pj_per_bit=bank.write_pj / bits,
        leakage_mw=bank.leakage_mw,
        area_mm2=bank.area_mm2,
        fit_residual=max(residuals, default=0.0),
        tiny_rows=tiny_rows(machine, bank.name),
        techniques=_techniques(bank),
        device=_device(bank),
        macro=_macro(machine, bank),
    )


def _device(bank: BankGroup) -> DeviceSummary | None:
    """Return what the group's device comes to."""
    if bank.device is None:
        return None
    device, law = bank.device, laws(bank.device.law)
    nodes, weights = law.nodes(device)
    return DeviceSummary(
        name=device.name,
        delta=_delta(device),
        retention_s=1 / mean_rate(law, replace(device, delta_cv=0.0, state_asymmetry=0.0)),
        pulse_s=device.pulse_s,
        overdrive=device.overdrive,
        write_current_a=device.write_current_a,
        write_error_rate=law.write_error_rate(device, 0, 1),
        read_disturb=float(weights @ law.read_disturb_probability(device, nodes)),
    )


def _delta(device: Device) -> float:
    return float(thermal_stability_at(device.delta, device.temperature_k, device.reference_k))


def _macro(machine: Machine, bank: BankGroup) -> MacroSummary | None:
    """Return what the macro's own pulse writes, at its device's error rate and critical current."""
    if not bank.cell_current_a:
        return None
    device = bank.device
    wer, per_delta, intrinsic = WER, None, None
    if device is not None:
        wer = laws(device.law).write_error_rate(device, 0, 1)
        per_delta = device.write_current_a / device.overdrive / _delta(device)
        intrinsic = device.intrinsic_time_s
    largest = largest_delta(
        bank.cell_current_a,
        bank.cell_pulse_s,
        wer,
        ic0_per_delta_a=per_delta,
        intrinsic_time_s=intrinsic,
        temperature_k=machine.temperature_k,
    )
    return MacroSummary(
        cell=bank.cell, current_a=bank.cell_current_a, target_wer=max(wer, LEAST_WER), largest_delta=largest
    )


def _techniques(bank: BankGroup) -> tuple[str, ...]:
    """Return what a group does beside reading and writing, a phrase each."""
    found = []
    if bank.ecc is not None:
        found.append(f"SECDED({bank.ecc.code_bits},{bank.ecc.data_bits})")
    for what, interval in (("scrub", bank.scrub_ps), ("refresh", bank.refresh_ps)):
        if interval:
            found.append(f"{what} every {interval / 1e6:g} us")
    if bank.scrub_ps or bank.refresh_ps:
        found.append(f"{100 * upkeep_share(bank):.3g} % of the port")
    if bank.refresh_model == "literature":
        found.append("refresh taken to reset errors, as the literature does")
    if bank.write_retries:
        found.append(f"verified writes, up to {bank.write_retries} more")
    if bank.unchanged_cost < 1:
        found.append(
            f"bits driven at {bank.changed_cost:.3g} (changed), {bank.unchanged_cost:.3g} (unchanged)"
        )
    if bank.power_gating != "none":
        found.append(
            f"power gating ({bank.power_gating}), {100 * bank.gated_leakage:g} % of the leakage left"
        )
    if bank.power_gating == "drowsy":
        found.append(
            f"drowsy words leak {100 * bank.drowsy_leakage:g} % and wake in {bank.wakeup_ps / 1000:g} ns"
        )
    if bank.buffer is not None:
        b = bank.buffer
        found.append(
            f"write buffer of {b.entries} words a bank, {b.area_mm2:.2g} mm2, marks at {b.high} and {b.low}"
            f"{', coalesces' * b.coalescing}{', forwards' * b.forwarding}"
        )
    if bank.max_dwell_ps:
        found.append(f"data lie at most {bank.max_dwell_ps / 1e6:.4g} us")
    return tuple(found)
