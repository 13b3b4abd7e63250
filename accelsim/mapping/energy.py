"""Energies as the ledger will book them, from the traffic that the mapper counts (docs/energy.md).

Left out: words that are written in part, read-modify-writes under ECC, power gating.
"""

from __future__ import annotations

import math

from accelsim.graph.ir import Op
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Rates
from accelsim.mapping.traffic import Amount, Traffic
from accelsim.resolve.machine import Content, Machine
from accelsim.resolve.prices import CLOCK, MAC, OPERANDS, SHIFT, SUMS, price_pj, standing_w, write_price_pj
from accelsim.words import Format


class Prices:
    """A machine's prices, per byte and per second."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mram = frozenset(n for n, b in machine.banks.items() if b.technology == "stt-mram")
        self.read = {n: b.read_pj / b.word_bytes for n, b in machine.banks.items()}
        self.wire = 8 * machine.noc.pj_per_bit
        self.turn = 8 * machine.transpose.pj_per_bit if machine.transpose is not None else 0.0
        self.fill = 8 * (machine.dram.read_pj_per_bit + machine.dma.pj_per_bit)
        self.drain = 8 * (machine.dram.write_pj_per_bit + machine.dma.pj_per_bit)
        self.standing = math.fsum(watts for _, _, watts in standing_w(machine))
        self._writes: dict[tuple[str, Content], float] = {}

    def write(self, group: str, data: Content) -> float:
        """Return the energy of a byte's write."""
        price = self._writes.get((group, data))
        if price is None:
            bank = self.machine.banks[group]
            price = write_price_pj(bank, data.toggles, data.rises) / bank.word_bytes
            self._writes[group, data] = price
        return price

    def rates(self, draft: Draft, contents: tuple[Content, ...], fmt: Format) -> Rates:
        """Return what decides a kernel's energy beside its traffic; ``fmt`` is what its MACs take."""
        if draft.leader.gemm is None:
            return Rates(contents, 0.0, 0.0)
        array = self.machine.pe_array
        shift = price_pj(self.machine, "pe_array", SHIFT + fmt) * ((array.rows + 1) / 2)
        clock = price_pj(self.machine, "pe_array", CLOCK + fmt)
        return Rates(contents, shift, array.rows * array.cols * clock * self.machine.clock_hz / 1e12)

    def fixed_pj(self, draft: Draft, contents: tuple[Content, ...], fmt: Format) -> float:
        """Return the energy of what a kernel computes, however it is cut."""
        return math.fsum(self._work_pj(op, contents, fmt) for op in draft.ops)

    def _work_pj(self, op: Op, contents: tuple[Content, ...], fmt: Format) -> float:
        machine = self.machine
        if op.gemm is not None:
            busy = (1 - contents[0].zeros) * (1 - contents[1].zeros) if machine.pe_array.zero_gating else 1.0
            operands = 2 if machine.pe_array.dataflow == "os" else 1
            one = busy * price_pj(machine, "pe_array", MAC + fmt) + price_pj(machine, "pe_array", SUMS + fmt)
            one += operands * price_pj(machine, "pe_array", OPERANDS + fmt)
            return one * math.prod(op.gemm.extent(s) for s in ("m", "n", "k", "batch"))
        assert op.vector is not None
        elements = math.prod(a.size for a in op.vector.axes)
        return math.fsum(
            elements * count * price_pj(machine, "vector", function)
            for walk in op.vector.passes
            for function, count in walk.functions
        )

    def power_w(self, rates: Rates) -> float:
        """Return the power that is drawn during a kernel; 1 W for 1 ps is 1 pJ."""
        return self.standing + rates.clock_w

    def moving_pj(self, traffic: Traffic, rates: Rates) -> Amount:
        """Return the energy of a kernel's traffic."""
        total: Amount = 0.0
        for group, nbytes in traffic.reads.items():
            total = total + nbytes * self.read[group]
        for (group, operand), nbytes in traffic.writes.items():
            total = total + nbytes * self.write(group, rates.contents[operand])
        total = total + traffic.wires * self.wire + traffic.filled * self.fill + traffic.drained * self.drain
        total = total + traffic.turned * self.turn
        return (
            total + traffic.accumulated * self.machine.accumulator.rmw_pj + traffic.shifted * rates.shift_pj
        )

    def mram_bytes(self, traffic: Traffic) -> Amount:
        """Return the bytes written into STT-MRAM."""
        total: Amount = 0.0
        for (group, _), nbytes in traffic.writes.items():
            if group in self.mram:
                total = total + nbytes
        return total
