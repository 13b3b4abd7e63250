"""Which share of its leakage each bank group draws during each op, where power is gated or words are drowsy.

The schedule is known beforehand: banks are taken to be woken in time, and words to lie together so that what
is empty can be off. Drowsy words wait for their voltage in the simulation (``machine.memory``).
"""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.program.occupancy import covered, occupied, used
from accelsim.program.program import Kernel, Program
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
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
            near = program.kernels[kernel.index : kernel.index + 2]
            on, drowsy = _held(program, near, kernel.index, bank)
            if bank.power_gating == "idle" and not _touched(program, kernel, touched):
                on = 0.0
            shares[kernel.leader.op, bank.name] = _drawn(bank, on, drowsy)
        on = 0.0 if bank.power_gating == "idle" else _held(program, (), len(program.kernels) - 1, bank)[0]
        shares[STEP_END, bank.name] = _drawn(bank, on, on if bank.power_gating == "drowsy" else 0.0)
    return shares


def _drawn(bank: BankGroup, on: float, drowsy: float) -> float:
    """Return the share drawn of a group of which ``on`` is not off, ``drowsy`` of it at a lower voltage."""
    return on - drowsy + drowsy * bank.drowsy_leakage + (1 - on) * bank.gated_leakage


def _held(program: Program, kernels: Sequence[Kernel], index: int, bank: BankGroup) -> tuple[float, float]:
    """Return the shares of a group that hold data during a kernel, and that are drowsy meanwhile."""
    held = occupied(program, kernels, index, bank.name)
    size = covered(held)
    if bank.power_gating != "drowsy":
        return size / bank.capacity_bytes, 0.0
    awake = used(program, index, bank.name)
    return size / bank.capacity_bytes, (covered([*held, *awake]) - covered(awake)) / bank.capacity_bytes


def _touched(program: Program, kernel: Kernel, ops: set[str]) -> bool:
    """Return whether a group may be accessed in a kernel's window: by it, or by its neighbours' transfers."""
    near = program.kernels[max(0, kernel.index - 1) : kernel.index + 2]
    return any(part.op in ops for one in near for part in one.parts)
