"""Where the operands of a kernel are, as one byte each: kernels that look alike are told by their bytes."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.mapping.fields import Fields, Homes
from accelsim.mapping.gaps import Gap, Residency
from accelsim.mapping.kernels import Draft

BUFFERED = 0  # the code of an operand without a place; see ``resident`` and ``kept``

Codes = bytes  # where the operands of a kernel are, one after the other


def resident(group: int) -> int:
    """Return the code of an operand that is in the bank group of this number."""
    return 1 + 2 * group


def kept(group: int) -> int:
    """Return the code of an operand that is filled into its place in a bank group."""
    return 2 + 2 * group


class CodeBook:
    """Writes a residency as codes: where the operands of every kernel are; see ``resident`` and ``kept``.

    Gaps of a split tensor are those of its first bit field, as all keep the same.
    """

    def __init__(self, drafts: list[Draft], fields: Fields, homes: Homes, gaps: list[Gap]) -> None:
        self.homes = homes
        self.single = {group[0]: n for n, group in enumerate(homes.groups) if len(group) == 1}
        self.keys = {keys[0]: (tensor, keys) for tensor, keys in fields.keys.items()}
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
                    before = fields.of(name)[0].predecessor
                    self.of_successor.setdefault(before or "", []).append(at)
                    at += 1
        self.size = at
        named = [(g, self.keys[g.tensor][0]) for g in gaps if g.tensor in self.keys]
        self.begins = {g: reads.get((name, g.start), ()) for g, name in named}
        self.made = {g: writes.get((name, g.start), ()) for g, name in named}
        self.ends = {g: reads.get((name, g.end), ()) for g, name in named}

    def of(self, residency: Residency) -> list[bytes]:
        """Return the codes of every kernel's operands."""
        codes = bytearray(self.size)
        for key, gaps in residency.kept.items():
            if key not in self.keys:
                continue  # a further field, where the first one is
            group = self._home(key, residency.group)
            filled, there = kept(group), resident(group)
            for gap in gaps:
                for i in self.begins[gap]:
                    if not codes[i]:  # not there since a gap before
                        codes[i] = filled
                for i in self.made[gap]:
                    codes[i] = there
                for i in self.ends[gap]:
                    codes[i] = there
        pinned = [key for key in residency.pinned if key in self.keys]
        for key in pinned:
            for i in self.of_successor.get(key, ()):
                codes[i] = resident(self._home(key, residency.pinned))
        for key in pinned:
            for i in self.of_tensor.get(self.keys[key][0], ()):
                codes[i] = resident(self._home(key, residency.pinned))
        found = bytes(codes)
        return [found[first:end] for first, end in self.slices]

    def _home(self, key: str, groups: Mapping[str, str]) -> int:
        keys = self.keys[key][1]
        if len(keys) == 1:  # nearly always
            return self.single[groups[key]]
        return self.homes.number(tuple([groups[k] for k in keys]))
