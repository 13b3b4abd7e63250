"""Where the operands of a kernel are, as one byte each: kernels that look alike are told by their bytes."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.mapping.gaps import Gap, Residency
from accelsim.mapping.kernels import Draft
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import Machine

BUFFERED = 0  # the code of an operand without a place; see ``resident`` and ``kept``

Codes = bytes  # where the operands of a kernel are, one after the other


def resident(group: int) -> int:
    """Return the code of an operand that is in the bank group of this number."""
    return 1 + 2 * group


def kept(group: int) -> int:
    """Return the code of an operand that is filled into its place in a bank group."""
    return 2 + 2 * group


class CodeBook:
    """Writes a residency as codes: where the operands of every kernel are; see ``resident`` and ``kept``."""

    def __init__(
        self, drafts: list[Draft], machine: Machine, lives: Mapping[str, Life], gaps: list[Gap]
    ) -> None:
        self.group = {g: i for i, g in enumerate(machine.banks)}
        reads: dict[tuple[str, int], list[int]] = {}
        writes: dict[tuple[str, int], list[int]] = {}
        self.of_tensor: dict[str, list[int]] = {}
        self.of_successor: dict[str, list[int]] = {}  # of the tensor that takes its place
        self.slices: list[tuple[int, int]] = []
        at = 0
        for draft in drafts:
            self.slices.append((at, at + len(draft.reads) + len(draft.writes)))
            for operands, into in ((draft.reads, reads), (draft.writes, writes)):
                for operand, _ in operands:
                    name = operand.tensor
                    into.setdefault((name, draft.index), []).append(at)
                    self.of_tensor.setdefault(name, []).append(at)
                    self.of_successor.setdefault(lives[name].predecessor or "", []).append(at)
                    at += 1
        self.size = at
        self.begins = {g: reads.get((g.tensor, g.start), ()) for g in gaps}
        self.made = {g: writes.get((g.tensor, g.start), ()) for g in gaps}
        self.ends = {g: reads.get((g.tensor, g.end), ()) for g in gaps}

    def of(self, residency: Residency) -> list[bytes]:
        """Return the codes of every kernel's operands."""
        codes = bytearray(self.size)
        for tensor, gaps in residency.kept.items():
            group = self.group[residency.group[tensor]]
            filled, there = kept(group), resident(group)
            for gap in gaps:
                for i in self.begins[gap]:
                    if not codes[i]:  # not there since a gap before
                        codes[i] = filled
                for i in self.made[gap]:
                    codes[i] = there
                for i in self.ends[gap]:
                    codes[i] = there
        for of in (self.of_successor, self.of_tensor):
            for tensor, name in residency.pinned.items():
                for i in of.get(tensor, ()):
                    codes[i] = resident(self.group[name])
        found = bytes(codes)
        return [found[first:end] for first, end in self.slices]
