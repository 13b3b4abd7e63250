"""Scrub and refresh: every word of a bank group is read and written back once in an interval.

The group goes through in slices, each a rare event of its own; a slice holds the ports for its beats. What it
costs in energy is standing power (``run.energy``): a step may be shorter than the interval.
"""

from __future__ import annotations

from collections.abc import Callable

from accelsim.geometry import ceil_div
from accelsim.machine.memory import Access, Bank
from accelsim.machine.state import State
from accelsim.resolve.bank_group import BankGroup
from accelsim.trace.recorder import Part

SLICES = 64  # of an interval


def keep_up(state: State) -> None:
    """Start the scrubbing and refreshing of every bank group that asks for it."""
    for bank in state.banks.values():
        for interval_ps in (bank.spec.scrub_ps, bank.spec.refresh_ps):
            if interval_ps:
                state.sim.every(max(1, interval_ps // SLICES), _slices(state, bank))


def beats(group: BankGroup) -> int:
    """Return the beats that take all words of a group."""
    return ceil_div(group.capacity_bytes, group.word_bytes * group.lanes)


def _slices(state: State, bank: Bank) -> Callable[[], None]:
    """Return what goes through one slice after the other."""
    total, done = beats(bank.spec), 0

    def one() -> None:
        nonlocal done
        count = total * (done + 1) // SLICES - total * done // SLICES
        done = (done + 1) % SLICES
        if count:
            _go_through(state, bank, count)

    return one


def _go_through(state: State, bank: Bank, count: int) -> None:
    now, spec = state.sim.now, bank.spec
    reading, writing = count * spec.read_cycle_ps, count * spec.write_cycle_ps
    start, begun, cause = bank.take(reading, writing, "scrub")
    kernels = state.program.kernels
    leader = kernels[min(state.flushed.value, len(kernels) - 1)].leader
    part, words = Part(leader.op, leader.layer, leader.phase), count * spec.lanes
    for action, at, hold in (("read", start, reading), ("write", begun, writing)):
        state.span(
            state.bank_component(spec.name, action),  # type: ignore[arg-type]
            "scrub",
            part,
            "",
            Access(now, at, at + hold, cause),
            at + hold,
            hold,
            words,
            words * spec.word_bytes,
        )
