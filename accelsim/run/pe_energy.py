"""What the PE array does besides multiplying: registers, clock; and what zero gating saves.

Of every multiply-accumulate in an executed fold the operand that streams is taken into one register (both
operands, where outputs stay in the PEs) and the sum into another. A stationary operand on its way to its
row, and an output-stationary result on its way out, pass half the rows on average; the machine counts them.
The clock of all PEs runs for as long as an op has the array, waits included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelsim.graph.ir import Graph
from accelsim.resolve.machine import Machine
from accelsim.trace.recorder import CountKey, OpTimes, Part
from accelsim.words import FORMAT_BYTES

MAC = "mac."
SHIFT = "shift."
OPERANDS = "operand_register."
SUMS = "psum_register."
CLOCK = "clock."
DERIVED = (OPERANDS, SUMS, CLOCK)  # from the counts of MACs and the times of ops


def array_counts(
    machine: Machine, counts: Mapping[CountKey, int], ops: Mapping[str, OpTimes]
) -> Iterator[tuple[str, Part, int]]:
    """Yield (action, part, count) of registers and clock of every op that had the array."""
    array = machine.pe_array
    streamed = 2 if array.dataflow == "os" else 1
    cells = array.rows * array.cols
    for (component, action, part, _), n in counts.items():
        if component != "pe_array" or not action.startswith(MAC):
            continue
        fmt = action.removeprefix(MAC)
        yield OPERANDS + fmt, part, streamed * n
        yield SUMS + fmt, part, n
        times = ops.get(part.op)
        if times is not None:
            clocked_ps = times.end_ps - times.start_ps - times.idle_ps
            yield CLOCK + fmt, part, cells * (clocked_ps * machine.clock_hz // 10**12)


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


def follows(component: str, action: str) -> bool:
    """Return whether a count follows from others, and from the times of ops."""
    return component == "pe_array" and action.startswith(DERIVED)
