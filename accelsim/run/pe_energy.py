"""What the PE array does besides multiplying: registers and clock.

Of every multiply-accumulate in an executed fold the operand that streams is taken into one register (both
operands, where outputs stay in the PEs) and the sum into another. A stationary operand on its way to its
row, and an output-stationary result on its way out, pass half the rows on average; the machine counts them.
The clock of all PEs runs for as long as an op has the array, waits included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import CLOCK, MAC, OPERANDS, SUMS
from accelsim.trace.recorder import CountKey, OpTimes, Part

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


def follows(component: str, action: str) -> bool:
    """Return whether a count follows from others, and from the times of ops."""
    return component == "pe_array" and action.startswith(DERIVED)
