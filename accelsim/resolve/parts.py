"""The parts of a machine besides its banks, and the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

from accelsim import plugins
from accelsim.config.arch import ArchSpec
from accelsim.config.bitfields import REST, split_fields
from accelsim.config.positions import KeyPath
from accelsim.device.compute import (
    CLOCK,
    DEFAULT_RATES,
    accumulate_format,
    accumulate_pj,
    function_pj,
    mac_pj,
    register_mm2,
    register_pj_per_bit,
)
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.checks import POLICIES
from accelsim.resolve.ledger import ASSUMED, CHOICE, Ledger
from accelsim.resolve.machine import (
    Accumulator,
    Content,
    Dma,
    Dram,
    Machine,
    MappingChoices,
    Noc,
    PeArray,
    Sensitivity,
    Transpose,
    VectorUnit,
)
from accelsim.resolve.techniques import TOGGLE
from accelsim.words import FORMAT_BYTES, FORMATS, ROLES, Role


def assemble(
    name: str,
    spec: ArchSpec,
    banks: Mapping[str, BankGroup],
    ledger: Ledger,
    sensitivity: Sensitivity | None = None,
) -> Machine:
    """Return the whole machine ``name``; every number is noted in ``ledger``."""
    _choices(spec, banks, ledger)
    ledger.written(("static", "power"), spec.static.power, "mW")
    if any(bank.device or bank.differential_write for bank in spec.bank.values()):
        for role in ROLES:
            ledger.written(("toggle_rate", role), spec.toggle_rate.get(role, TOGGLE), "1")
    if spec.pe_array.zero_gating:
        for role in ROLES:
            ledger.written(("zero_rate", role), spec.zero_rate.get(role, 0.0), "1")
    policy = spec.placement.policy if spec.placement.policy not in POLICIES else ""
    host_gap = spec.host.gap.ps(spec.clock)
    transpose = _transpose(spec, ledger)
    ledger.written(("host", "gap"), host_gap, "ps")
    return Machine(
        name=name,
        clock_hz=spec.clock,
        node_nm=spec.node,
        temperature_k=spec.temperature,
        pe_array=_pe_array(spec, ledger),
        accumulator=_accumulator(spec, ledger),
        vector=_vector(spec, ledger),
        banks=dict(banks),
        granularity_bytes=spec.scratchpad.granularity,
        noc=_noc(spec, banks, ledger),
        dma=_dma(spec, ledger),
        dram=_dram(spec, ledger),
        im2col_line_buffer_bytes=spec.im2col.line_buffer,
        im2col_pj_per_byte=_line_buffer(spec, ledger),
        mapping=MappingChoices(
            objective=spec.mapping.objective,
            fusion=spec.mapping.fusion,
            depthwise=spec.mapping.depthwise,
            dgrad=spec.mapping.dgrad,
        ),
        static_mw=spec.static.power,
        host_gap_ps=host_gap,
        formats={role: spec.format.get(role) for role in ROLES},
        placement=_placement(spec, banks),
        sources=ledger.sources(),
        toggle={role: spec.toggle_rate.get(role, TOGGLE) for role in ROLES},
        content={role: _content(spec, role) for role in ROLES},
        sensitivity=sensitivity,
        policy=policy,
        policy_identity=plugins.demand(plugins.PLACEMENT, policy).identity if policy else "",
        interleave=spec.scratchpad.interleave,
        line_bytes=spec.scratchpad.line if spec.scratchpad.interleave == "line" else 0,
        skew=spec.scratchpad.skew if spec.scratchpad.interleave != "word" else 0,
        layout=spec.scratchpad.layout,
        transpose=transpose,
    )


def _placement(spec: ArchSpec, banks: Mapping[str, BankGroup]) -> dict[str, tuple[str, ...]]:
    """Return the groups by role and, where its tensors are split, by ``role field``."""
    found: dict[str, tuple[str, ...]] = {role: spec.placement.lists.get(role, tuple(banks)) for role in ROLES}
    for role, table in spec.placement.fields.items():
        names = split_fields(tuple(table), spec.format[role])[0]
        if len(names) > 1:
            found |= {f"{role} {name}": table[name if name in table else REST] for name in names}
    return found


def _content(spec: ArchSpec, role: Role) -> Content:
    return Content(zeros=spec.zero_rate.get(role, 0.0), toggles=spec.toggle_rate.get(role, TOGGLE))


def _choices(spec: ArchSpec, banks: Mapping[str, BankGroup], ledger: Ledger) -> None:
    """Note the numbers that are decisions of the description."""
    numbers: list[tuple[KeyPath, float, str]] = [
        (("clock",), spec.clock, "Hz"),
        (("node",), spec.node, "nm"),
        (("temperature",), spec.temperature, "K"),
        (("pe_array", "rows"), spec.pe_array.rows, ""),
        (("pe_array", "cols"), spec.pe_array.cols, ""),
        (("accumulator", "capacity"), spec.accumulator.capacity, "B"),
        (("vector", "lanes"), spec.vector.lanes, ""),
        (("scratchpad", "granularity"), spec.scratchpad.granularity, "B"),
        (("dma", "outstanding"), spec.dma.outstanding, ""),
        (("dma", "burst"), spec.dma.burst, "B"),
        (("im2col", "line_buffer"), spec.im2col.line_buffer, "B"),
    ]
    for group in banks.values():
        for key, number, unit in (
            ("count", group.count, ""),
            ("subbanks", group.subbanks, ""),
            ("capacity", group.capacity_bytes, "B"),
            ("word", group.word_bytes, "B"),
        ):
            numbers.append((("bank", group.name, key), number, unit))
    for keys, value, unit in numbers:
        ledger.note(keys, value, unit, CHOICE)


def _pe_array(spec: ArchSpec, ledger: Ledger) -> PeArray:
    given, macs = spec.pe_array.mac_energy, {}
    for fmt in FORMATS:
        keys: KeyPath = ("pe_array", "mac_energy", fmt)
        if fmt in given:
            macs[fmt] = given[fmt]
            ledger.written(keys, macs[fmt], "pJ")
        else:
            macs[fmt] = mac_pj(fmt, spec.node, spec.pe_array.accumulate)
            ledger.note(keys, macs[fmt], "pJ", ASSUMED)
    array = spec.pe_array
    register = _priced(
        array.register_energy, register_pj_per_bit(spec.node), "register_energy", "pJ/bit", ledger
    )
    sums = {fmt: 8 * FORMAT_BYTES[array.accumulate or accumulate_format(fmt)] for fmt in FORMATS}
    bits = {fmt: 2 * 8 * FORMAT_BYTES[fmt] + sums[fmt] for fmt in FORMATS}
    given_clock = array.clock_energy
    clock = {f: CLOCK * register * bits[f] if given_clock is None else given_clock for f in FORMATS}
    _priced(given_clock, clock["bf16"], "clock_energy", "pJ", ledger)
    return PeArray(
        rows=array.rows,
        cols=array.cols,
        dataflow=array.dataflow,
        convention=array.convention,
        mac_pj=macs,
        accumulate_bits=sums,
        register_pj_per_bit=register,
        clock_pj=clock,
        zero_gating=array.zero_gating,
    )


def _priced(given: float | None, default: float, key: str, unit: str, ledger: Ledger) -> float:
    """Return a price of the array and note it: as it was given, or as assumed."""
    if given is None:
        ledger.note(("pe_array", key), default, unit, ASSUMED)
        return default
    ledger.written(("pe_array", key), given, unit)
    return given


def _accumulator(spec: ArchSpec, ledger: Ledger) -> Accumulator:
    acc, element = spec.accumulator, FORMAT_BYTES[spec.accumulator.format]
    keys: KeyPath = ("accumulator", "energy")
    energy = accumulate_pj(element, spec.node) if acc.energy is None else acc.energy
    if acc.energy is None:
        ledger.note(keys, energy, "pJ", ASSUMED)
    else:
        ledger.written(keys, energy, "pJ")
    return Accumulator(
        capacity_bytes=acc.capacity, element_bytes=element, rmw_pj=energy, overflow=acc.overflow
    )


def _line_buffer(spec: ArchSpec, ledger: Ledger) -> float:
    """Return the energy of a byte in or out of the line buffer, which is noted if there is one."""
    given, keys = spec.im2col.energy, ("im2col", "energy")
    energy = accumulate_pj(1, spec.node) / 2 if given is None else given
    if not spec.im2col.line_buffer:
        return energy
    if given is None:
        ledger.note(keys, energy, "pJ", ASSUMED)
    else:
        ledger.written(keys, energy, "pJ")
    return energy


def _vector(spec: ArchSpec, ledger: Ledger) -> VectorUnit:
    cycles: dict[str, int] = DEFAULT_RATES | {str(f): n for f, n in spec.vector.rates.items()}
    energies = {f: function_pj(f, spec.node) for f in DEFAULT_RATES}
    energies |= {str(f): pj for f, pj in spec.vector.energies.items()}
    for f, n in cycles.items():
        ledger.written(("vector", "rates", f), n, "cycles")
    for f, pj in energies.items():
        ledger.written(("vector", "energies", f), pj, "pJ")
    return VectorUnit(lanes=spec.vector.lanes, cycles=cycles, pj=energies)


def _noc(spec: ArchSpec, banks: Mapping[str, BankGroup], ledger: Ledger) -> Noc:
    """Return the wires; their mean length is half the side of a square of all banks, unless given."""
    noc, keys = spec.noc, ("noc", "distance")
    distance = noc.distance
    if distance is None:
        distance = math.sqrt(sum(bank.area_mm2 for bank in banks.values())) / 2
        ledger.note(keys, distance, "mm", ASSUMED)
    else:
        ledger.written(keys, distance, "mm")
    latency = noc.latency.ps(spec.clock)
    ledger.written(("noc", "energy"), noc.energy, "pJ/bit/mm")
    ledger.written(("noc", "latency"), latency, "ps")
    return Noc(pj_per_bit=noc.energy * distance, latency_ps=latency)


def _transpose(spec: ArchSpec, ledger: Ledger) -> Transpose | None:
    """Return the unit that turns streams, if there is one and they need it; what is not given is assumed."""
    unit, given_register = spec.transpose, spec.pe_array.register_energy
    if not unit.rate or spec.scratchpad.layout != "modelled":
        return None
    register = register_pj_per_bit(spec.node) if given_register is None else given_register
    ledger.note(("transpose", "rate"), unit.rate, "B", CHOICE)
    ledger.note(("transpose", "block"), unit.block, "", CHOICE)
    latency = unit.latency.ps(spec.clock)
    ledger.written(("transpose", "latency"), latency, "ps")
    defaults = {
        "energy": (unit.energy, 2 * register, "pJ/bit"),
        "area": (unit.area, 2 * unit.block**2 * 32 * register_mm2(spec.node), "mm2"),
    }
    found = {}
    for key, (given, default, unit_name) in defaults.items():
        found[key] = default if given is None else given
        if given is None:
            ledger.note(("transpose", key), default, unit_name, ASSUMED)
        else:
            ledger.written(("transpose", key), given, unit_name)
    return Transpose(
        rate_bytes=unit.rate,
        block=unit.block,
        latency_ps=latency,
        pj_per_bit=found["energy"],
        area_mm2=found["area"],
    )


def _dma(spec: ArchSpec, ledger: Ledger) -> Dma:
    latency = spec.dma.descriptor_latency.ps(spec.clock)
    ledger.written(("dma", "descriptor_latency"), latency, "ps")
    ledger.written(("dma", "energy"), spec.dma.energy, "pJ/bit")
    return Dma(
        descriptor_latency_ps=latency,
        outstanding=spec.dma.outstanding,
        burst_bytes=spec.dma.burst,
        pj_per_bit=spec.dma.energy,
    )


def _dram(spec: ArchSpec, ledger: Ledger) -> Dram:
    dram, latency = spec.dram, spec.dram.latency.ps(spec.clock)
    ledger.written(("dram", "bandwidth"), dram.bandwidth, "B/s")
    ledger.written(("dram", "latency"), latency, "ps")
    ledger.written(("dram", "read_energy"), dram.read_energy, "pJ/bit")
    ledger.written(("dram", "write_energy"), dram.write_energy, "pJ/bit")
    ledger.written(("dram", "background"), dram.background, "mW")
    return Dram(
        bandwidth_bytes_per_s=dram.bandwidth,
        latency_ps=latency,
        read_pj_per_bit=dram.read_energy,
        write_pj_per_bit=dram.write_energy,
        background_mw=dram.background,
    )
