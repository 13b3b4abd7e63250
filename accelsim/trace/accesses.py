"""Accesses of copies, in columns: a run keeps hundreds of thousands until they are entered."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from accelsim.geometry import Box

About = TypeVar("About", bound=Hashable)


class Accesses(Generic[About]):
    """Boxes that were accessed, when, and what about, in the order of adding."""

    def __init__(self) -> None:
        self._about: list[About] = []
        self._number: dict[About, int] = {}
        self._fixed = array("q")  # per access: number of what it is about, instant
        self._ends = array("q")  # of each access's box
        self._boxes = array("q")  # low, high of every dimension

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, about: About, box: Box, at_ps: int) -> None:
        """Add an access."""
        number = self._number.get(about)
        if number is None:
            number = self._number[about] = len(self._about)
            self._about.append(about)
        self._fixed.extend((number, at_ps))
        for bounds in box:
            self._boxes.extend(bounds)
        self._ends.append(len(self._boxes))

    def between(self, first: int, last: int | None = None) -> Iterator[tuple[About, Box, int]]:
        """Yield what the accesses from ``first`` up to ``last`` are about, their boxes and instants."""
        begin = self._ends[first - 1] if first else 0
        for n in range(first, len(self) if last is None else last):
            end = self._ends[n]
            cells = iter(self._boxes[begin:end].tolist())
            begin = end
            number, at_ps = self._fixed[2 * n : 2 * n + 2]
            yield self._about[number], tuple(zip(cells, cells, strict=True)), at_ps
