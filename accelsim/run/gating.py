"""Which share of its leakage each bank group draws during each op, where power is gated.

The schedule is known beforehand: banks are taken to be woken in time, and words to lie together so that what
is empty can be off.
"""

from __future__ import annotations

from collections.abc import Iterable

from accelsim.program.program import Kernel, Program, Region
from accelsim.resolve.machine import BankGroup, Machine
from accelsim.trace.recorder import Recorder


def powered_shares(machine: Machine, program: Program, recorder: Recorder) -> dict[tuple[str, str], float]:
    """Return the share by (leading op, bank group); groups that gate nothing are left out."""
    shares = {}
    for bank in machine.banks.values():
        if bank.power_gating == "none":
            continue
        touched = {part.op for (component, _, part, _) in recorder.counts if component == f"spad.{bank.name}"}
        for kernel in program.kernels:
            on = _occupied(program, kernel, bank)
            if bank.power_gating == "idle" and not _touched(program, kernel, touched):
                on = 0.0
            shares[kernel.leader.op, bank.name] = on + (1 - on) * bank.gated_leakage
    return shares


def _occupied(program: Program, kernel: Kernel, bank: BankGroup) -> float:
    """Return the share of a group that holds something while ``kernel`` runs, or is filled for the next."""
    regions = [c.region for c in program.copies if c.first <= kernel.index <= c.last]
    for one in program.kernels[kernel.index : kernel.index + 2]:
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
