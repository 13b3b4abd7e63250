"""What it costs that a unit streams from ports before which fills queue.

A port serves in the order of request. Where DRAM brings data faster than a group's cells take them, chunks
queue before its port, as many as may be in flight, and a stream's read waits behind them: as long as that
lasts, the unit does the steps that it has asked for ahead per queue, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from accelsim.mapping.ports import chunk_bytes, write_ps_per_byte
from accelsim.mapping.problem import Array, Where
from accelsim.mapping.traffic import Amount
from accelsim.resolve.machine import Machine

STEPS = 2  # that operands are asked for ahead
RESULTS = 3  # chunks of results that may be before a port at once
Fill = tuple[Where, Amount, Amount]  # into what, how many bytes in all, in how many transfers


def behind_fills(
    machine: Machine,
    unit_ps: Amount,
    places: tuple[Sequence[Where], Sequence[Where]],
    fills: Sequence[Fill],
    streamed: Iterable[Amount],
) -> Array:
    """Return for how long, in ps, fills hold back the streams from the ports that both need.

    Args:
        machine: Where it runs.
        unit_ps: How long the unit works with everything at hand.
        places: Where the operands are that are read, and those that are written.
        fills: What is brought for those that are read.
        streamed: Bytes of every operand's stream.
    """
    read, written = places
    held: Array = np.zeros(())
    step_ps: Amount | None = None
    for group in sorted({group for at in read for group, _ in at.shares()}):
        bank = machine.banks[group]
        write_ps, chunk = write_ps_per_byte(bank), chunk_bytes(machine, bank)
        faster = 1 - 1e12 / machine.dram.bandwidth_bytes_per_s / write_ps if write_ps else 0.0
        if bank.ports != "1rw" or faster <= 0:
            continue
        if step_ps is None:
            step_ps = unit_ps / _steps(streamed, chunk)
        before = RESULTS if any(group == name for at in written for name, _ in at.shares()) else 0
        for at, nbytes, transfers in fills:
            share = dict(at.shares()).get(group, 0.0)
            if share:
                chunks = nbytes * share / np.maximum(transfers, 1.0) / chunk
                waiting = np.minimum(float(machine.dma.outstanding), chunks * faster) + before
                waits = np.clip(1 - STEPS * step_ps / (waiting * chunk * write_ps), 0.0, 1.0)
                held = held + nbytes * share * write_ps * waits
    return held


def _steps(streamed: Iterable[Amount], chunk: int) -> Amount:
    """Return the steps in which the widest stream moves about a chunk each."""
    widest: Amount = float(chunk)
    for nbytes in streamed:
        widest = np.maximum(widest, nbytes)
    return widest / chunk
