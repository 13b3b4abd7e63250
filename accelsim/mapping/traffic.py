"""What a kernel moves between DRAM, banks and units: what its energy is counted from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from accelsim.mapping.problem import Array

Amount = Array | float
Pick = Callable[[Array], Array]  # of an array over all combinations, those that are wanted


@dataclass(slots=True)
class Traffic:
    """Bytes, and registers' work; arrays where several combinations of cuts are counted at once.

    Attributes:
        reads: Per bank group, by units and by the DMA.
        writes: Per bank group and operand (reads first): what is written decides its energy.
        wires: Between banks and units.
        filled, drained: DRAM's reads and writes, in whole bursts.
        accumulated: Read-modify-writes of the accumulator.
        shifted: Elements that pass through half of the array's rows.
        turned: Through the transpose unit.

    Where words are not used whole, a unit's reads and writes take more bytes ``through`` a bank's port.
    """

    reads: dict[str, Amount] = field(default_factory=dict)
    writes: dict[tuple[str, int], Amount] = field(default_factory=dict)
    wires: Amount = 0.0
    filled: Amount = 0.0
    drained: Amount = 0.0
    accumulated: Amount = 0.0
    shifted: Amount = 0.0
    turned: Amount = 0.0

    def put(self, part: Traffic, places: list[int], size: int) -> None:
        """Put the entries of ``part`` at their places among ``size``."""
        for group, nbytes in part.reads.items():
            self.reads[group] = _put(self.reads.get(group, 0.0), nbytes, places, size)
        for key, nbytes in part.writes.items():
            self.writes[key] = _put(self.writes.get(key, 0.0), nbytes, places, size)
        for name in ("wires", "filled", "drained", "accumulated", "shifted", "turned"):
            setattr(self, name, _put(getattr(self, name), getattr(part, name), places, size))

    def read(self, group: str, nbytes: Amount, through: Amount | None = None) -> None:
        """Count what a unit reads."""
        self.reads[group] = self.reads.get(group, 0.0) + (nbytes if through is None else through)
        self.wires = self.wires + nbytes

    def read_first(self, group: str, nbytes: Amount) -> None:
        """Count code words that are read because a write fills them in part."""
        self.reads[group] = self.reads.get(group, 0.0) + nbytes

    def write(self, group: str, operand: int, nbytes: Amount, through: Amount | None = None) -> None:
        """Count what a unit writes of an operand."""
        moved = nbytes if through is None else through
        self.writes[group, operand] = self.writes.get((group, operand), 0.0) + moved
        self.wires = self.wires + nbytes

    def fill(self, group: str, operand: int, nbytes: Amount, bursts: Amount) -> None:
        """Count what the DMA brings of an operand, in bytes and in whole bursts."""
        self.writes[group, operand] = self.writes.get((group, operand), 0.0) + nbytes
        self.filled = self.filled + bursts

    def drain(self, group: str, nbytes: Amount, bursts: Amount) -> None:
        """Count what the DMA takes away."""
        self.reads[group] = self.reads.get(group, 0.0) + nbytes
        self.drained = self.drained + bursts


def _put(values: Amount, part: Amount, places: list[int], size: int) -> Amount:
    found = np.array(np.broadcast_to(values, size))
    found[places] = part
    return found
