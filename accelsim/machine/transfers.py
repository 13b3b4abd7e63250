"""The books of a DMA's transfers: what their chunks took, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from accelsim.geometry import ceil_div
from accelsim.machine.layout import At
from accelsim.machine.memory import Access, Action, Bank
from accelsim.machine.state import State
from accelsim.program.jobs import Transfer
from accelsim.trace.recorder import Part


@dataclass(slots=True)
class Tally:
    """What the chunks of one transfer took of a port."""

    first: Access | None = None
    end_ps: int = 0
    busy_ps: int = 0
    count: int = 0
    nbytes: int = 0

    def add(self, access: Access, end_ps: int, busy_ps: int, count: int, nbytes: int) -> None:
        """Add a chunk."""
        self.first = self.first or access
        self.end_ps = max(self.end_ps, end_ps)
        self.busy_ps += busy_ps
        self.count += count
        self.nbytes += nbytes

    def tell(self, state: State, component: str, action: Action, part: Part, tensor: str) -> None:
        """Record the span of all chunks."""
        if self.first is not None:
            state.span(
                component,
                action,
                part,
                tensor,
                self.first,
                self.end_ps,
                self.busy_ps,
                self.count,
                self.nbytes,
            )

    def figures(self) -> tuple[int, ...]:
        """Return what grows with every chunk."""
        return self.busy_ps, self.count, self.nbytes

    def repeat(self, added: Sequence[int], ps: int) -> None:
        """Add what skipped chunks would have added; what was first lies ``ps`` further back."""
        self.busy_ps += added[0]
        self.count += added[1]
        self.nbytes += added[2]
        if self.first is not None:
            first = self.first
            self.first = first._replace(
                queued_ps=first.queued_ps - ps, start_ps=first.start_ps - ps, done_ps=first.done_ps - ps
            )


class Move:
    """One transfer under way: its chunks as (DRAM bytes, bank bytes), when it was issued, its tallies."""

    __slots__ = (
        "bank",
        "buffered",
        "chunks",
        "dram",
        "forwarded",
        "issued_ps",
        "left",
        "moved",
        "narrow",
        "where",
    )

    def __init__(self, chunks: list[tuple[int, int]], issued_ps: int) -> None:
        self.chunks = chunks
        self.issued_ps = issued_ps
        self.left = len(chunks)  # that are not through
        self.narrow = 0  # code words of the bank written in part
        self.buffered = 0  # words that a write buffer took
        self.forwarded = 0  # words that it gave
        self.where: At | None = None  # where in its bank it begins, if that matters
        self.moved = 0  # bytes of the bank up to the chunk in hand
        self.bank = Tally()
        self.dram = Tally()

    def figures(self) -> tuple[int, ...]:
        """Return what grows with every chunk."""
        return (-self.left, self.narrow, *self.bank.figures(), *self.dram.figures())

    def alike(self, chunk: int, per: int) -> int:
        """Return how many chunks from ``chunk`` on are each like the one ``per`` before.

        The transfer's last is left out.
        """
        end = chunk
        while end < len(self.chunks) - 1 and self.chunks[end] == self.chunks[end - per]:
            end += 1
        return end - chunk

    def repeat(self, added: Sequence[int], ps: int) -> None:
        """Add what skipped chunks would have added, ``ps`` having passed meanwhile."""
        self.issued_ps -= ps
        self.left -= added[0]
        self.narrow += added[1]
        self.bank.repeat(added[2:5], ps)
        self.dram.repeat(added[5:8], ps)


def chunks_of(dram_bytes: int, nbytes: int, bank: Bank, most: int, burst: int) -> list[tuple[int, int]]:
    """Return (DRAM bytes, bank bytes) of every chunk of a transfer of ``nbytes``, each of up to ``most``.

    Chunks are whole beats of the bank's macros, so that none waits for another's rest; they end with code
    words, and take whole bursts.
    """
    each = bank.chunk_of(most)
    count = ceil_div(nbytes, each)
    pairs, dram_done, bank_done = [], 0, 0
    for i in range(1, count + 1):
        dram_to, bank_to = dram_bytes, nbytes
        if i < count:
            bank_to = i * each // bank.code_bytes * bank.code_bytes
            dram_to = min(dram_bytes, ceil_div(ceil_div(dram_bytes * bank_to, nbytes), burst) * burst)
        pairs.append((dram_to - dram_done, bank_to - bank_done))
        dram_done, bank_done = dram_to, bank_to
    return pairs


class FillMark(NamedTuple):
    """A fill under way: its number, its tile and place there, its binding, and how it moves."""

    number: int
    tile: int
    place: int
    binding: int
    move: Move


class BackMark(NamedTuple):
    """A write-back under way: its number, when the chunk left the bank, and how it moves."""

    number: int
    read_ps: int
    job: Transfer
    move: Move
