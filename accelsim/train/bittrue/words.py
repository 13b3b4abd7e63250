"""Where a box of a tensor lies in a bank group, and what words its numbers are stored as."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.frontend.build import DTYPES
from accelsim.geometry import Box, ceil_div
from accelsim.program.program import Data, Program, Region
from accelsim.words import Format, Role

Words = NDArray[Any]  # unsigned integers, several per element where formats of a group differ in width
Where = slice | NDArray[np.int64]

_SIGNED: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
WORD: Final = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A box of a tensor in a bank group.

    Attributes:
        data: The tensor.
        group: The bank group.
        at: Its words in the group, in the order of its elements.
        elements: Its elements in the tensor, row-major.
        count: How many elements.
    """

    data: Data
    group: str
    at: Where
    elements: Where
    count: int

    @property
    def role(self) -> Role:
        """The tensor's role."""
        return self.data.role


def word_bytes(program: Program, group: str) -> int:
    """Return the bytes of the widest word, up to 8, that divides every region and element of ``group``."""
    sizes = [8]
    for region in _regions(program):
        if region.group == group:
            sizes += [n for extent in region.extents for n in extent]
    for kernel in program.kernels:
        sizes += [b.data.element_bytes for b in (*kernel.reads, *kernel.writes) if b.group == group]
    sizes += [c.data.element_bytes for c in program.copies if c.region.group == group]
    common = math.gcd(*sizes)
    return common & -common  # a power of two


def _regions(program: Program) -> Iterable[Region]:
    yield from (c.region for c in program.copies)
    for kernel in program.kernels:
        for binding in (*kernel.reads, *kernel.writes):
            yield from binding.slots


def _used_bytes(program: Program, group: str) -> int:
    """Return the bytes of ``group`` up to the last one that the program uses, in whole words of 8."""
    ends = [at + n for r in _regions(program) if r.group == group for at, n in r.extents]
    return ceil_div(max(ends, default=0), 8) * 8


def flat(box: Box, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the row-major indices of the elements of ``box`` in a tensor of ``shape``.

    >>> flat(((1, 3), (0, 2)), (3, 4)).tolist()
    [4, 5, 8, 9]
    """
    index = np.zeros(1, dtype=np.int64)
    for (low, high), size in zip(box, shape, strict=True):
        index = (index[:, None] * size + np.arange(low, high)).reshape(-1)
    return index


def compact(index: NDArray[np.int64]) -> Where:
    """Return a slice where ``index`` is one run, which numpy copies faster."""
    if index.size and index[-1] - index[0] == index.size - 1 and bool((np.diff(index) == 1).all()):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


class Places:
    """The words of every region, and so of every box in it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bytes = {group: word_bytes(program, group) for group in program.capacity_bytes}
        self.used = {group: _used_bytes(program, group) for group in program.capacity_bytes}
        self._known: dict[tuple[Region, int], NDArray[np.int64]] = {}

    def spot(self, data: Data, region: Region, box: Box, shape: tuple[int, ...], held: Box | None) -> Spot:
        """Return where ``box`` of a tensor, in the shape ``shape``, lies in ``region``.

        Args:
            held: The box that lies packed in a slot; None: the region is a copy of the whole tensor.
        """
        elements = flat(box, shape)
        place = elements
        if held is not None:
            lengths = tuple(high - low for low, high in held)
            place = flat(
                tuple((a - low, b - low) for (a, b), (low, _) in zip(box, held, strict=True)), lengths
            )
        starts = self._starts(region, data.element_bytes)[place]
        each = data.element_bytes // self.bytes[region.group]
        at = (starts[:, None] + np.arange(each)).reshape(-1)
        return Spot(data, region.group, compact(at), compact(elements), elements.size)

    def whole(self, data: Data, region: Region) -> Spot:
        """Return where a copy of a whole tensor lies."""
        return self.spot(data, region, tuple((0, s) for s in data.shape), data.shape, None)

    def _starts(self, region: Region, element_bytes: int) -> NDArray[np.int64]:
        key = (region, element_bytes)
        if key not in self._known:
            size = self.bytes[region.group]
            runs = [np.arange(at, at + n, element_bytes) for at, n in region.extents]
            self._known[key] = np.concatenate(runs).astype(np.int64) // size
        return self._known[key]


def encoded(values: torch.Tensor, stored: Format, word: int) -> Words:
    """Return flat ``values`` as they are stored, in words of ``word`` bytes."""
    kept = values.to(DTYPES[stored]).contiguous()
    raw = kept.view(_SIGNED[kept.element_size()]).numpy()
    return raw.view(WORD[word])


def decoded(words: Words, stored: Format) -> torch.Tensor:
    """Return the numbers that ``words`` stand for, in the format in which they are stored."""
    dtype = DTYPES[stored]
    width = torch.empty(0, dtype=dtype).element_size()
    raw = np.ascontiguousarray(words).view({1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}[width])
    return torch.from_numpy(raw).view(dtype)


def is_number(stored: Format) -> bool:
    """Return whether a format has errors: indices, labels and masks have none."""
    return stored in ("fp64", "fp32", "bf16", "fp16")


def repacked(words: Words, word: int) -> Words:
    """Return ``words`` as words of another size."""
    return np.ascontiguousarray(words).view(WORD[word])
