"""The times that bank groups' ports and DRAM's reads need."""

from __future__ import annotations

import numpy as np

from accelsim.mapping.problem import Array, Where
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine


def port_ps(bank: BankGroup, reads: Array, writes: Array) -> Array:
    """Return the time in ps that a group's ports need for bytes read and written."""
    beat = bank.lanes * bank.word_bytes
    read = reads / beat * bank.read_cycle_ps
    write = writes / beat * bank.write_cycle_ps
    return read + write if bank.ports == "1rw" else np.maximum(read, write)


def port_ps_of(bank: BankGroup, reads: float, writes: float) -> float:
    """Return the time in ps that a group's ports need for bytes read and written."""
    beat = bank.lanes * bank.word_bytes
    read = reads / beat * bank.read_cycle_ps
    write = writes / beat * bank.write_cycle_ps
    return read + write if bank.ports == "1rw" else max(read, write)


def write_ps_per_byte(bank: BankGroup) -> float:
    """Return the time in ps that a group's port is held by a byte written, of whole beats."""
    return bank.write_cycle_ps / (bank.lanes * bank.word_bytes)


def fill_ps_per_byte(machine: Machine, at: Where) -> float:
    """Return the time in ps of a byte that is filled: the slower of DRAM and the groups it goes to."""
    ports = (share * write_ps_per_byte(machine.banks[group]) for group, share in at.shares())
    return max(1e12 / machine.dram.bandwidth_bytes_per_s, *ports)


def read_ps_per_byte(machine: Machine) -> float:
    """Return the least time in ps of a byte read from DRAM, as few chunks may be on their way at once."""
    return machine.dram.latency_ps / (machine.dma.outstanding * machine.chunk_bytes)
