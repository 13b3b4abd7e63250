"""Closed-form checks of memories, each by itself: ports, maps of addresses, write buffers, DRAM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from accelsim.geometry import ceil_div
from accelsim.machine.layout import bank_map
from accelsim.machine.memory import Bank, FlatDram
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from accelsim.sim import Sim

WORDS = 1000  # of a burst that ports are asked for


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what the arithmetic says, and what the machine did.

    Attributes:
        at_least: ``found`` may be larger: ``expected`` is a bound.
        note: Why it could not be made; empty if it was.
    """

    name: str
    formula: str
    expected: float
    found: float
    at_least: bool = False
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether they agree to one in 10^9, or the bound is kept."""
        if self.note:
            return False
        near = math.isclose(self.expected, self.found, rel_tol=1e-9)
        return near or (self.at_least and self.found > self.expected)


def memory_checks(machine: Machine) -> Iterator[Check]:
    """Yield the checks of all bank groups and of DRAM, in a fixed order."""
    for bank in machine.banks.values():
        cells = replace(bank, buffer=None)  # whatever stands before them
        yield from _ports(cells, machine.granularity_bytes)
        if machine.interleave != "word":
            yield from _apart(cells, machine)
        if bank.buffer is not None:
            yield from _buffered(bank, machine.granularity_bytes)
    yield from _dram(machine)


def _ports(bank: BankGroup, granularity: int) -> Iterator[Check]:
    """Compare a burst of words with latency + (beats - 1) cycles, and beats x write cycle."""
    beats = ceil_div(WORDS, bank.lanes)
    hand = {
        "read": (
            bank.read_latency_ps + (beats - 1) * bank.read_cycle_ps,
            f"latency + ({beats} - 1) read cycles",
        ),
        "write": (beats * bank.write_cycle_ps, f"{beats} write cycles"),
    }
    for action, (expected, formula) in hand.items():
        asked = Bank(Sim(), bank, granularity)
        access = asked.access(action, WORDS * bank.word_bytes)  # type: ignore[arg-type]
        name = f"{bank.name}: {action} {WORDS} words, ps"
        yield Check(name, f"{formula}, {bank.lanes} macros", expected, access.done_ps - access.queued_ps)


def _apart(bank: BankGroup, machine: Machine) -> Iterator[Check]:
    """Compare a burst from the group's first word on with what the fullest of its banks takes."""
    over = bank_map(machine.interleave, machine.line_bytes, 0, bank)
    assert over is not None
    words = min(WORDS, bank.capacity_bytes // bank.word_bytes)
    line = over.line_bytes // bank.word_bytes
    rounds, rest = divmod(words, line * bank.count)
    most = rounds * line + min(rest, line)
    beats = ceil_div(most, bank.subbanks)
    hand: dict[Literal["read", "write"], int] = {
        "read": bank.read_latency_ps + (beats - 1) * bank.read_cycle_ps,
        "write": beats * bank.write_cycle_ps,
    }
    for action, expected in hand.items():
        cycles = f"latency + ({beats} - 1) read cycles" if action == "read" else f"{beats} write cycles"
        access = Bank(Sim(), bank, machine.granularity_bytes, over).access(action, words * bank.word_bytes)
        yield Check(
            f"{bank.name}: {action} {words} words by {machine.interleave}, ps",
            f"{cycles}, {most} words in the fullest bank",
            expected,
            access.done_ps - access.queued_ps,
        )


def _buffered(bank: BankGroup, granularity: int) -> Iterator[Check]:
    """Compare how long a buffer takes words for, and the cells what was in it."""
    buffer = bank.buffer
    assert buffer is not None
    words = max(1, buffer.high * bank.count - 1)
    beats, entering = ceil_div(words, bank.lanes), min(buffer.cycle_ps, bank.write_cycle_ps)
    asked = Bank(Sim(), bank, granularity)
    access = asked.access("write", words * bank.word_bytes)
    yield Check(
        f"{bank.name}: {words} words into the write buffer, ps",
        f"{beats} clock periods",
        beats * entering,
        access.done_ps - access.queued_ps,
    )
    yield Check(
        f"{bank.name}: and out of it to the cells, ps",
        f"a clock period + {beats} write cycles",
        entering + beats * bank.write_cycle_ps,
        asked.flush(),
    )


def _dram(machine: Machine) -> Iterator[Check]:
    nbytes = 1 << 20
    asked = FlatDram(Sim(), machine.dram, machine.granularity_bytes).access("read", nbytes)
    expected = machine.dram.latency_ps + ceil_div(nbytes * 10**12, machine.dram.bandwidth_bytes_per_s)
    yield Check("DRAM: read 1 MiB, ps", "latency + bytes / bandwidth", expected, asked.done_ps)
