"""What one wants to know of a machine before running it: pure functions of the resolved machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.device.cells import cell
from accelsim.device.laws import laws
from accelsim.device.mtj import thermal_stability_at
from accelsim.resolve.drive import largest_delta
from accelsim.resolve.ledger import ASSUMED, CHOICE
from accelsim.resolve.machine import BankGroup, Machine
from accelsim.words import FORMAT_BYTES, Role

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
    ecc: str  # "none", or data + check bits of a code word
    device: DeviceSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """What the cells of an STT-MRAM group are; without a device only what their macro could write.

    ``largest_delta`` is the largest thermal stability at the machine's temperature that the macro's own pulse
    and current write at ``target_wer``; 0: none.
    """

    name: str
    delta: float
    retention_s: float
    pulse_s: float
    overdrive: float
    write_current_a: float
    cell_current_a: float  # that the macro's access transistor gives
    write_error_rate: float  # 0 -> 1
    read_disturb: float
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
        ecc=f"SECDED({bank.ecc.code_bits},{bank.ecc.data_bits})" if bank.ecc is not None else "none",
        device=_device(bank),
    )


def _device(bank: BankGroup) -> DeviceSummary | None:
    """Return what the group's device comes to, and what the macro could write."""
    if bank.device is None:
        return None
    device, law = bank.device, laws(bank.device.law)
    nodes, weights = law.nodes(device)
    up, down = law.rates_per_s(replace(device, delta_cv=0.0), law.nodes(replace(device, delta_cv=0.0))[0])
    wer = law.write_error_rate(device, 0, 1)
    delta = float(thermal_stability_at(device.delta, device.temperature_k, device.reference_k))
    own = cell(bank.cell)
    return DeviceSummary(
        name=device.name,
        delta=delta,
        retention_s=2 / float(up[0] + down[0]),
        pulse_s=device.pulse_s,
        overdrive=device.overdrive,
        write_current_a=device.write_current_a,
        cell_current_a=bank.cell_current_a,
        write_error_rate=wer,
        read_disturb=float(weights @ law.read_disturb_probability(device, nodes)),
        target_wer=wer,
        largest_delta=largest_delta(
            bank.cell_current_a,
            own.set_pulse_s,
            wer,
            ic0_per_delta_a=device.write_current_a / device.overdrive / delta,
            intrinsic_time_s=device.intrinsic_time_s,
        ),
    )
