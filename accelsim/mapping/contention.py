"""What it costs that a unit streams from ports before which fills queue.

A port serves in the order of request. Where DRAM brings data faster than a group's cells take them, chunks
queue before its port, as many as may be in flight, and a stream's read waits behind them: as long as that
lasts, the unit does the steps that it has asked for ahead per queue, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.mapping.ports import write_ps_per_byte
from accelsim.mapping.problem import Array, Where
from accelsim.mapping.traffic import Amount
from accelsim.program.folds import IN_FLIGHT, STEPS_AHEAD
from accelsim.resolve.machine import Machine

RESULTS = IN_FLIGHT + 1  # chunks of results before a port: those that wait, and the one in hand
Moved = tuple[Where, Amount, Amount]  # into what, how many bytes in all, and in how many parts


def behind_writes(
    machine: Machine,
    unit_ps: Amount,
    read: Sequence[Where],
    fills: Sequence[Moved],
    results: Sequence[Moved],
    streamed: Sequence[Amount],
) -> Array:
    """Return for how long, in ps, writes hold back the streams from the ports that both need.

    Args:
        machine: Where it runs.
        unit_ps: How long the unit works with everything at hand.
        read: Where the operands are that it reads.
        fills: What is brought for them, in so many transfers.
        results: What it writes, in the last one of so many parts of its work.
        streamed: Bytes of every operand's stream.
    """
    held: Array = np.zeros(())
    widest: Amount = 0.0
    for nbytes in streamed:
        widest = np.maximum(widest, nbytes)
    for group in sorted({group for at in read for group, _ in at.shares()}):
        bank = machine.banks[group]
        write_ps, chunk = write_ps_per_byte(bank), bank.chunk_of(machine.chunk_bytes)
        if bank.ports != "1rw" or not write_ps:
            continue
        step_ps = unit_ps / np.maximum(widest / chunk, 1.0)  # in which the widest stream moves a chunk
        slack = STEPS_AHEAD * step_ps / (chunk * write_ps)  # in chunks that are written
        faster = max(0.0, 1 - 1e12 / machine.dram.bandwidth_bytes_per_s / write_ps)
        before = 0
        for at, nbytes, parts in results:
            share = dict(at.shares()).get(group, 0.0)
            if share:
                before = RESULTS
                burst = nbytes * share * parts * write_ps > unit_ps
                held = held + nbytes * share * write_ps * _waits(np.where(burst, float(RESULTS), 1.0), slack)
        for at, nbytes, transfers in fills:
            share = dict(at.shares()).get(group, 0.0)
            if share and faster:
                chunks = nbytes * share / np.maximum(transfers, 1.0) / chunk
                queue = np.minimum(float(machine.dma.outstanding), chunks * faster) + before
                held = held + nbytes * share * write_ps * _waits(queue, slack)
    return held


def _waits(queue: Amount, slack: Amount) -> Array:
    """Return the share of the time that writes take in which the unit waits behind so many chunks."""
    return np.clip(1 - slack / queue, 0.0, 1.0)
