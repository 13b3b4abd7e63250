"""Which share of its leakage each bank group draws during each op, where power is gated.

The schedule is known beforehand: banks are taken to be woken in time, and words to lie together so that what
is empty can be off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accelsim.program.program import Kernel, Program, Region
from accelsim.resolve.machine import BankGroup, Machine
from accelsim.run.energy import STEP_END
from accelsim.trace.recorder import Recorder


def powered_shares(machine: Machine, program: Program, recorder: Recorder) -> dict[tuple[str, str], float]:
    """Return the share by (leading op, bank group); groups that gate nothing are left out.

    ``STEP_END`` stands for what follows the last op: only what is carried over the step is held then.
    """
    shares = {}
    for bank in machine.banks.values():
        if bank.power_gating == "none":
            continue
        touched = {part.op for (component, _, part, _) in recorder.counts if component == f"spad.{bank.name}"}
        for kernel in program.kernels:
            on = _occupied(program, program.kernels[kernel.index : kernel.index + 2], kernel.index, bank)
            if bank.power_gating == "idle" and not _touched(program, kernel, touched):
                on = 0.0
            shares[kernel.leader.op, bank.name] = _drawn(bank, on)
        last = len(program.kernels) - 1
        held = 0.0 if bank.power_gating == "idle" else _occupied(program, (), last, bank)
        shares[STEP_END, bank.name] = _drawn(bank, held)
    return shares


def _drawn(bank: BankGroup, on: float) -> float:
    return on + (1 - on) * bank.gated_leakage


def _occupied(program: Program, kernels: Sequence[Kernel], index: int, bank: BankGroup) -> float:
    """Return the share of a group that holds copies of kernel ``index``, or buffers of ``kernels``."""
    regions = [c.region for c in program.copies if c.first <= index <= c.last]
    for one in kernels:
        regions += [slot for b in (*one.reads, *one.writes) for slot in b.slots]
        regions += [one.psum.region] if one.psum is not None and one.psum.region is not None else []
    return _covered(r for r in regions if r.group == bank.name) / bank.capacity_bytes


def _covered(regions: Iterable[Region]) -> int:
    """Return the bytes that lie in any of the regions."""
    end = total = 0
    for low, size in sorted(extent for region in regions for extent in region.extents):
        total += max(0, low + size - max(low, end))
        end = max(end, low + size)
    return total


def _touched(program: Program, kernel: Kernel, ops: set[str]) -> bool:
    """Return whether a group may be accessed in a kernel's window: by it, or by its neighbours' transfers."""
    near = program.kernels[max(0, kernel.index - 1) : kernel.index + 2]
    return any(part.op in ops for one in near for part in one.parts)
