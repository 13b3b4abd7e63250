"""The books of a DMA's transfers: what their chunks took, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from accelsim.machine.layout import At
from accelsim.machine.memory import Access, Action
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


class Books:
    """The tallies of one transfer."""

    __slots__ = ("bank", "buffered", "dram", "forwarded", "narrow")

    def __init__(self) -> None:
        self.narrow = 0  # code words of the bank written in part
        self.buffered = 0  # words that a write buffer took
        self.forwarded = 0  # words that it gave
        self.bank = Tally()
        self.dram = Tally()


class FillMark(NamedTuple):
    """A fill under way: its number, its tile and place there, its binding, its books, where it goes."""

    number: int
    tile: int
    place: int
    binding: int
    books: Books
    where: At | None


class BackMark(NamedTuple):
    """A write-back under way: when it was issued, its number, when the chunk left the bank, its books."""

    issued_ps: int
    number: int
    read_ps: int
    job: Transfer
    books: Books
