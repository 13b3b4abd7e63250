"""What the books of a run are made of: fills under way, accesses of copies and slots, what observers see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from accelsim.geometry import Box
from accelsim.program.jobs import Transfer
from accelsim.program.program import Binding
from accelsim.trace.copies import Reader
from accelsim.words import StallReason

if TYPE_CHECKING:
    from accelsim.machine.state import KernelRun


@dataclass(slots=True)
class FillTimes:
    """When a fill was issued, its last data arrived from DRAM, and what its last bank write waited for."""

    issued_ps: int
    arrived_ps: int = 0
    done_ps: int = 0
    cause: StallReason | None = None


SlotKey = tuple[bool, int, int]  # written?, binding, ordinal of the transfer
What = tuple[str, int]  # "load", "streams", "riders", "writes" of a fold, or "fills" of a tile; which of them


class Booking(NamedTuple):
    """One access of a copy in a bank by a fold of a tile of the kernel; ``reader`` None: a write."""

    run: KernelRun
    tile: int
    place: int
    what: What
    binding: Binding
    box: Box
    at_ps: int
    reader: Reader | None


class SlotAccess(NamedTuple):
    """One access of a buffer slot by a fold; the box begins at its corner; ``reader`` None: a write."""

    run: KernelRun
    tile: int
    place: int
    what: What
    key: SlotKey
    box: Box
    at_ps: int
    reader: Reader | None


class Touch(NamedTuple):
    """One access of a copy in a bank, as it is booked: what an observer of the run is told.

    ``kind`` and ``which`` name it among what fold ``place`` of a tile moves (``load``, ``streams``,
    ``riders``, ``writes``), or among the tile's ``fills``. Of ``backs`` there is no tile: ``moved`` is what
    is written back from a slot; ``which`` is the copy that is evicted where it is -1 else.
    """

    kernel: int
    tile: int
    place: int
    kind: str
    which: int
    at_ps: int
    moved: Transfer | None = None


class Metered(Protocol):
    """What has busy and stalled times that grow with every period."""

    def meters(self) -> tuple[int, int]:
        """Return the busy and the stalled time up to now."""

    def add_meters(self, busy_ps: int, stalled_ps: int) -> None:
        """Add what skipped periods would have added."""
