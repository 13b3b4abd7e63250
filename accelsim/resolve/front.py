"""What stands between a bank's macros and the rest: the multiplexer of its subbanks, and write buffers."""

from __future__ import annotations

import math
from dataclasses import replace

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec, WriteBufferSpec
from accelsim.config.origins import Fault, Origins
from accelsim.device.compute import FLIP_FLOP_F2, register_pj_per_bit
from accelsim.resolve.bank_group import BankGroup, WriteBuffer
from accelsim.resolve.ledger import ASSUMED, Ledger
from accelsim.units import size_text


def front_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return what is wrong with the map of addresses and with the write buffers."""
    pad, faults = spec.scratchpad, []
    foreign = [f'bank.{name}.model = "{bank.model}"' for name, bank in spec.bank.items() if bank.model]
    if foreign and pad.interleave != "word":
        what = f'a plug-in\'s bank is told no addresses: {", ".join(foreign)}; use interleave = "word"'
        faults.append(origins.fault(("scratchpad", "interleave"), what))
    if pad.interleave == "line":
        faults += [
            origins.fault(
                ("scratchpad", "line"),
                f"{size_text(pad.line)} are not a whole number of the {bank.word} B words of bank {name}",
            )
            for name, bank in spec.bank.items()
            if pad.line % bank.word
        ]
    for name, bank in spec.bank.items():
        buffer = bank.write_buffer
        if buffer is not None and bank.model:
            what = f'has no effect on model = "{bank.model}", which times the bank by itself'
            faults.append(origins.fault(("bank", name, "write_buffer"), what, at_key=True))
        if buffer is not None and buffer.low >= buffer.high:
            what = f"expected less than high, {buffer.high:g}, got {buffer.low:g}"
            faults.append(origins.fault(("bank", name, "write_buffer", "low"), what))
    return faults


def size_faults(name: str, bank: BankSpec, capacity: int, spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return what is larger than a bank of a group of ``capacity`` bytes: no line, no buffer can be."""
    own, faults = capacity // bank.count, []
    buffer, pad = bank.write_buffer, spec.scratchpad
    if pad.interleave == "line" and pad.line > own:
        what = (
            f"{size_text(pad.line)} are more than a bank of {name} has, {size_text(own)}; give a shorter line"
        )
        faults.append(origins.fault(("scratchpad", "line"), what))
    if buffer is not None and buffer.entries > own // bank.word:
        what = f"{buffer.entries} words are more than a bank has, {own // bank.word}; give fewer"
        faults.append(origins.fault(("bank", name, "write_buffer", "entries"), what))
    return faults


def doublings(bank: BankSpec) -> int:
    """Return the levels of 2:1 multiplexers before the subbanks of a bank."""
    return math.ceil(math.log2(bank.subbanks))


def mux_area(bank: BankSpec) -> float:
    """Return the area of a group with its multiplexers over that of its macros."""
    return 1 + bank.mux_area * doublings(bank)


def buffer_mm2(bank: BankSpec, node_nm: int) -> float:
    """Return the area of a group's write buffers."""
    buffer = bank.write_buffer
    if buffer is None:
        return 0.0
    if buffer.area is not None:
        return buffer.area
    bits = bank.count * buffer.entries * bank.word * 8
    return bits * FLIP_FLOP_F2 * (node_nm * 1e-6) ** 2


def with_front(group: BankGroup, bank: BankSpec, spec: ArchSpec) -> BankGroup:
    """Return the group with what stands before its macros; ``area``, if given, is of all but buffers."""
    levels, buffer = doublings(bank), _buffer(bank, spec)
    more = bank.mux_energy * levels
    area = group.area_mm2 if bank.area is not None else group.area_mm2 * mux_area(bank)
    return replace(
        group,
        read_latency_ps=group.read_latency_ps + levels * bank.mux_latency.ps(spec.clock),
        read_pj=group.read_pj * (1 + more),
        write_pj=group.write_pj + (group.write_pj - group.write_cell_pj) * more,
        area_mm2=area + buffer.area_mm2 if buffer is not None else area,
        buffer=buffer,
    )


def _buffer(bank: BankSpec, spec: ArchSpec) -> WriteBuffer | None:
    given = bank.write_buffer
    if given is None or not given.entries:
        return None
    high = max(1, math.ceil(given.entries * given.high))
    return WriteBuffer(
        entries=given.entries,
        high=high,
        low=min(high - 1, int(given.entries * given.low)),
        coalescing=given.coalescing,
        forwarding=given.forwarding,
        cycle_ps=-(-(10**12) // spec.clock),
        access_pj=_access_pj(given, bank, spec),
        area_mm2=buffer_mm2(bank, spec.node),
    )


def _access_pj(given: WriteBufferSpec, bank: BankSpec, spec: ArchSpec) -> float:
    if given.access_energy is not None:
        return given.access_energy
    return register_pj_per_bit(spec.node) * bank.word * 8


def note_front(group: BankGroup, bank: BankSpec, ledger: Ledger) -> None:
    """Note the numbers that are in use."""
    name = group.name
    if bank.mux_area and doublings(bank):
        ledger.written(("bank", name, "mux_area"), bank.mux_area, "1")
    if bank.mux_energy and doublings(bank):
        ledger.written(("bank", name, "mux_energy"), bank.mux_energy, "1")
    if bank.mux_latency.amount and doublings(bank):
        ledger.written(("bank", name, "mux_latency"), float(bank.mux_latency.amount), "ps or cycles")
    given, buffer = bank.write_buffer, group.buffer
    if given is None or buffer is None:
        return
    for key, said, value, unit in (
        ("access_energy", given.access_energy, buffer.access_pj, "pJ"),
        ("area", given.area, buffer.area_mm2, "mm2"),
    ):
        keys = ("bank", name, "write_buffer", key)
        if said is None:
            ledger.note(keys, value, unit, ASSUMED)
        else:
            ledger.written(keys, value, unit)
