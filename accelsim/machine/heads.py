"""Heads of tiles and folds that were passed: their states, and where the books stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from accelsim.machine.kernel_run import KernelRun, SlotKey
from accelsim.machine.snapshot import Shot
from accelsim.machine.transfers import Move
from accelsim.program.jobs import Base

SlotCopies = dict[tuple[bool, int], Shot]


class Engine(Protocol):
    """A DMA engine as the steady state sees it."""

    name: str
    run_: KernelRun | None
    index: int
    move: Move | None
    chunk: int
    waits: int

    def meters(self) -> tuple[int, int]:
        """Return the busy and the stalled time up to now."""

    def wait_longer(self, stalled_ps: int) -> None:
        """Note a stall that was skipped in the middle of the present wait."""

    @property
    def waited_ps(self) -> int:
        """How long the wait in hand has been a stall."""

    def ages(self, but: Move | None) -> tuple[tuple[int, ...], ...]:
        """Return how long the transfers under way have been, ``but`` one, and what their ends will book."""

    @property
    def done(self) -> bool:
        """Return whether it has come to the program's end."""

    def standing(self, current: KernelRun) -> tuple[Any, ...]:
        """Return where it stands."""

    def blocked(self, current: KernelRun) -> bool:
        """Return whether it waits for a counter, with nothing in flight."""

    def goes_on_alone(self, current: KernelRun, inside: bool) -> bool:
        """Return whether it goes through other tiles than the loop does."""

    def waits_for(self, current: KernelRun) -> int | None:
        """Return how many tiles must be done before it goes on."""

    def results_to_come(self, current: KernelRun) -> int | None:
        """Return how many results must come before it goes on."""

    @property
    def amid(self) -> bool:
        """Return whether it is in the middle of a transfer."""

    def move_on(self, chunks: int, figures: Sequence[int], ps: int) -> None:
        """Leave out so many chunks of the transfer in hand."""

    def nearer(self, current: KernelRun, tiles: int, results: int) -> None:
        """Leave ``tiles`` and ``results`` before it out of account."""

    def further(self, current: KernelRun, tile: int, results: int, stands: bool) -> None:
        """Go ``results`` further inside a tile, unless it stands."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where an engine stands: seen from the head, and in itself where it is blocked."""

    moving: Shot
    still: Shot | None
    ahead: int  # tiles from the one in hand; 0 if it is in another kernel
    waits: int  # begun so far
    stalled_ps: int
    waited_ps: int  # of them in the wait in hand
    ages: tuple[tuple[int, ...], ...]  # of the transfers under way, but for ``move``
    until: int | None  # tiles that must be done before a blocked one goes on
    results: int | None  # that have yet to come before a blocked one goes on
    move: Move | None = None  # the transfer that it is in the middle of, whatever the chunk
    chunk: int = 0
    figures: tuple[int, ...] = ()

    def since_as(self, other: Stand, wait: bool) -> bool:
        """Return whether what is under way began as long ago, and so did, if it counts, the wait in hand."""
        return self.ages == other.ages and (not wait or self.waited_ps == other.waited_ps)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a fold of a tile, or of the tile (fold 0): its state, and where the books stood."""

    tile: int  # of the kernel, whatever was skipped
    place: int
    at_ps: int
    stands: tuple[Stand, ...]
    slots: SlotCopies
    base: Base
    start: Base  # of what was skipped up to there
    window: int
    spans: int
    journal: int
    turns: int
    meters: tuple[int, ...]
    fired: int  # timers


@dataclass(frozen=True)  # without slots: what is asked for often is kept
class Period:
    """What recurs: what happened between two heads, ``times`` times more, from the head ``at`` on."""

    first: Head
    last: Head
    times: int
    at: Head

    @property
    def tiles(self) -> int:
        """Tiles of one period; 0 if it is one of folds."""
        return self.last.tile - self.first.tile

    @property
    def folds(self) -> int:
        """Folds of one period inside a tile."""
        return self.last.place - self.first.place

    @property
    def ps(self) -> int:
        """Length of one period."""
        return self.last.at_ps - self.first.at_ps

    @property
    def distance(self) -> tuple[int, int, int]:
        """Tiles, places and picoseconds from where it began to where it recurs first."""
        first, at = self.first, self.at
        return at.tile - first.tile, at.place - first.place, at.at_ps - first.at_ps

    def key(self, key: SlotKey) -> SlotKey:
        """Return the slot that takes the place of one that is not renewed."""
        out, index, ordinal = key
        return out, index, ordinal + _begun(self.at, out, index) - _begun(self.first, out, index)

    @cached_property
    def base(self) -> Base:
        """What one period counts."""
        return self.last.base.plus(self.first.base, -1)

    @cached_property
    def renewed(self) -> set[tuple[bool, int]]:
        """The (written?, binding) whose slots hold other tiles after every period."""
        counted = self.base
        read = {(False, i) for i, n in enumerate(counted.filled) if n}
        return read | {(True, i) for i, n in enumerate(counted.written) if n}


def _begun(head: Head, out: bool, index: int) -> int:
    """Return how many transfers through a binding's slots were before, as ordinals counted then."""
    if out:
        return head.base.written[index] - head.start.written[index]
    return head.base.filled[index] - head.start.filled[index]
