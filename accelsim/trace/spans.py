"""Stretches of components' time, in columns: a run has hundreds of thousands, most of them repeated."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.trace.coded import Coded

if TYPE_CHECKING:
    from accelsim.trace.recorder import Part

Int = NDArray[np.int64]

NUMBERS = ("queued_ps", "start_ps", "end_ps", "busy_ps", "count", "nbytes", "repeat", "period_ps")
_WIDTH = 1 + len(NUMBERS)  # the first one is the label's
_TIMES = slice(1, 4)
_END, _REPEAT, _PERIOD = 3, 7, 8
_MOST = np.iinfo(np.int64).max


class Label(NamedTuple):
    """Whose time it is, and what for."""

    component: str
    category: str
    reason: str
    part: Part
    tensor: str


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One stretch of a component's time; see ``trace.schema.SPANS``.

    It recurs ``repeat`` times in all, every ``period_ps``.
    """

    component: str
    category: str
    reason: str
    part: Part
    tensor: str
    queued_ps: int
    start_ps: int
    end_ps: int
    busy_ps: int
    count: int
    nbytes: int
    repeat: int = 1
    period_ps: int = 0


class Spans:
    """Spans in the order in which they were recorded.

    Blocks of them are arrays of shape (spans, 9): the label's number, then ``NUMBERS``.
    """

    def __init__(self) -> None:
        self._labels: list[Label] = []
        self._number: dict[Label, int] = {}
        self._cells = array("q")

    def __len__(self) -> int:
        return len(self._cells) // _WIDTH

    def __iter__(self) -> Iterator[SpanRow]:
        for number, *numbers in self.block(0).tolist():
            yield SpanRow(*self._labels[number], *numbers)

    def add(
        self, label: Label, queued_ps: int, start_ps: int, end_ps: int, busy_ps: int, count: int, nbytes: int
    ) -> None:
        """Record a stretch.

        Raises:
            OverflowError: An instant is beyond 64 bits.
        """
        number = self._of(label)
        self._cells.extend((number, queued_ps, start_ps, end_ps, busy_ps, count, nbytes, 1, 0))

    def _of(self, label: Label) -> int:
        number = self._number.get(label)
        if number is None:
            number = self._number[label] = len(self._labels)
            self._labels.append(label)
        return number

    def block(self, first: int, last: int | None = None) -> Int:
        """Return a copy of the spans from ``first`` up to ``last``, or of all that follow."""
        cells = self._cells[first * _WIDTH : None if last is None else last * _WIDTH]
        return np.frombuffer(cells, dtype=np.int64).reshape(-1, _WIDTH)

    def labels(self, block: Int) -> list[Label]:
        """Return the labels that occur in a block, each once."""
        return [self._labels[n] for n in np.unique(block[:, 0]).tolist()]

    def renamed(self, block: Int, name: Callable[[Label], Label]) -> Int:
        """Return a block whose spans belong to what ``name`` says of their labels."""
        used, place = np.unique(block[:, 0], return_inverse=True)
        named = np.array([self._of(name(self._labels[n])) for n in used.tolist()], dtype=np.int64)
        found = block.copy()
        found[:, 0] = named[place.reshape(-1)]
        return found

    def again(self, block: Int, later_ps: int, times: int = 1, period_ps: int = 0) -> None:
        """Add a block once more, ``later_ps`` later, and then every ``period_ps``, ``times`` in all.

        Its spans become ones that recur; one that recurs already is written out instead, once per recurrence
        of the outer loop. Those that were there stay as they are: other stretches may begin among them.

        Raises:
            OverflowError: An instant is beyond 64 bits.
        """
        if not len(block):
            return
        last_ps = int(block[:, _END].max()) + later_ps + (times - 1) * period_ps
        if last_ps > _MOST:
            raise OverflowError(f"a span ends at {last_ps} ps")
        recurs = (block[:, _REPEAT] == 1) & (times > 1)
        copies = np.where(recurs, 1, times)
        rows = np.repeat(block, copies, axis=0)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
        rows[:, _TIMES] += (later_ps + nth * period_ps)[:, None]
        recurring = np.repeat(recurs, copies)
        rows[recurring, _REPEAT], rows[recurring, _PERIOD] = times, period_ps
        self._cells.frombytes(rows.tobytes())

    def clear(self) -> None:
        """Forget all of them."""
        self._labels, self._number, self._cells = [], {}, array("q")

    def numbers(self) -> dict[str, Int]:
        """Return the columns of ``NUMBERS``."""
        block = self.block(0)
        return {name: block[:, i + 1] for i, name in enumerate(NUMBERS)}

    def words(self) -> dict[str, Coded]:
        """Return the columns of words: the label's and its op's."""
        rows: NDArray[np.intp] = self.block(0)[:, 0].astype(np.intp)
        labels = self._labels
        values = {
            "component": [x.component for x in labels],
            "category": [x.category for x in labels],
            "reason": [x.reason for x in labels],
            "tensor": [x.tensor for x in labels],
            "op": [x.part.op for x in labels],
            "layer": [x.part.layer for x in labels],
            "phase": [str(x.part.phase) for x in labels],
        }
        return {name: Coded.of(words).take(rows) for name, words in values.items()}
