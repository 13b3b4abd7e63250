"""What one action of a component costs, and what draws power all the time."""

from __future__ import annotations

from accelsim.errors import RunError
from accelsim.graph.ir import Graph
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from accelsim.words import FORMAT_BYTES

MAC = "mac."
SHIFT = "shift."
OPERANDS = "operand_register."
SUMS = "psum_register."
CLOCK = "clock."


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
    single = _single_price_pj(machine, component)
    if single is not None:
        return single
    if component == "vector":
        return machine.vector.pj.get(action, machine.vector.pj["add"])
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


def _single_price_pj(machine: Machine, component: str) -> float | None:
    """Return the one price of a component, per action, byte or bit; None: it has several."""
    unit = machine.transpose
    prices = {
        "accumulator": machine.accumulator.rmw_pj,
        "im2col": machine.im2col_pj_per_byte,
        "noc": machine.noc.pj_per_bit,
        "transpose": unit.pj_per_bit if unit is not None else None,
        "dma": machine.dma.pj_per_bit,
    }
    return prices.get(component)


def write_price_pj(bank: BankGroup, toggle: float, rises: float = 0.5) -> float:
    """Return the energy of a word's write of which a share ``toggle`` of the bits change.

    ``rises`` of these go from 0 to 1.
    """
    changed = rises * bank.changed_cost + (1 - rises) * bank.falling_cost
    driven = toggle * changed + (1 - toggle) * bank.unchanged_cost
    return bank.write_pj - bank.write_cell_pj * (1 - driven)


def array_price_pj(machine: Machine, action: str) -> float | None:
    """Return the energy of one register access or clocked PE in pJ; None: the action is none of these."""
    array, (kind, _, fmt) = machine.pe_array, action.partition(".")
    kind += "."
    if kind == CLOCK:
        return array.clock_pj.get(fmt, 0.0)  # type: ignore[call-overload, no-any-return]
    bits = {OPERANDS: 8 * FORMAT_BYTES.get(fmt, 0), SUMS: array.accumulate_bits.get(fmt, 0)}  # type: ignore[call-overload]
    bits[SHIFT] = bits[SUMS] if array.dataflow == "os" else bits[OPERANDS]
    return bits[kind] * array.register_pj_per_bit if kind in bits else None


def gated_shares(machine: Machine, graph: Graph) -> dict[str, float]:
    """Return the share of each op's multiply-accumulates that zero gating saves; ops without are left out.

    Zeros of the two operands are taken as independent.
    """
    if not machine.pe_array.zero_gating:
        return {}
    saved = {}
    for op in graph.ops:
        if op.gemm is None:
            continue
        tensors = [graph.tensors[o.tensor] for o in (op.gemm.a, op.gemm.b)]
        busy = [1 - machine.content_of(t.role, t.layer).zeros for t in tensors]
        saved[op.name] = 1 - busy[0] * busy[1]
    return saved


def standing_w(machine: Machine) -> list[tuple[str, str, float]]:
    """Return (component, action, watts) of everything that draws power all the time."""
    powers = [(f"spad.{n}", "leakage", b.leakage_mw * 1e-3) for n, b in machine.banks.items()]
    powers += [(f"spad.{n}", "scrub", upkeep_w(b)) for n, b in machine.banks.items()]
    powers.append(("dram", "background", machine.dram.background_mw * 1e-3))
    powers.append(("static", "logic", machine.static_mw * 1e-3))
    return [p for p in powers if p[2]]


def upkeep_w(bank: BankGroup) -> float:
    """Return the power of scrub and refresh: all words read and written back, unchanged, per interval."""
    words = bank.capacity_bytes // bank.word_bytes
    per_pass = words * (bank.read_pj + write_price_pj(bank, 0.0))  # pJ; 1 pJ per ps is 1 W
    return sum(per_pass / interval for interval in (bank.scrub_ps, bank.refresh_ps) if interval)
