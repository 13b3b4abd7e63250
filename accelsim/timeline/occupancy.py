"""How much of each column of a timeline is spent on what: exact at any zoom.

The busy time before an instant is a piecewise linear function of it; a column is the difference of two values
of that function. No event is drawn by itself, so ten million cost about as much as ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
_CHUNK: Final = 4096  # recurring spans at a time: bounds the memory of (spans x edges)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of strings: ``names[codes[i]]``."""

    codes: Ints
    names: list[str]

    def rows(self, *names: str) -> Rows:
        """Return the places whose value is one of ``names``."""
        return np.flatnonzero(np.isin(self.codes, [i for i, n in enumerate(self.names) if n in names]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The spans of a run as arrays of shape (n,); times in ps."""

    component: Coded
    kind: Coded  # the category, or ``stall: reason``
    phase: Coded
    layer: Coded
    start: Ints
    end: Ints
    busy: Ints
    repeat: Ints
    period: Ints

    @classmethod
    def of(cls, table: pa.Table) -> Spans:
        """Take the columns that a timeline needs from the table ``spans``."""
        table = table.unify_dictionaries()
        return cls(
            component=_coded(table, "component"),
            kind=_kinds(_coded(table, "category"), _coded(table, "reason")),
            phase=_coded(table, "phase"),
            layer=_coded(table, "layer"),
            start=_ints(table, "start_ps"),
            end=_ints(table, "end_ps"),
            busy=_ints(table, "busy_ps"),
            repeat=_ints(table, "repeat"),
            period=_ints(table, "period_ps"),
        )

    @property
    def last_ps(self) -> int:
        """When the last span ends; 0 if there is none."""
        return int((self.end + (self.repeat - 1) * self.period).max(initial=0))

    def time_in(self, edges: Floats, rows: Rows, *, whole: bool = False) -> Floats:
        """Return the busy ps of the spans ``rows`` between neighbouring ``edges``, shape (edges - 1,).

        A span's busy time is spread evenly over it. ``whole`` counts its gaps as busy too.
        """
        rows = rows[self.end[rows] > self.start[rows]]
        rate = np.ones(len(rows)) if whole else self.busy[rows] / (self.end[rows] - self.start[rows])
        once = self.repeat[rows] == 1
        start, end = self.start[rows[once]], self.end[rows[once]]
        before = _ramps(start, rate[once], edges) - _ramps(end, rate[once], edges)
        often, rate = rows[~once], rate[~once]
        for at in range(0, len(often), _CHUNK):
            before += self._before_often(often[at : at + _CHUNK], rate[at : at + _CHUNK], edges)
        return np.diff(before)

    def shares(self, edges: Floats, rows: Rows, column: Coded, *, whole: bool = False) -> Floats:
        """Return ``time_in`` for each name of ``column`` as a share of each gap, (names, edges - 1)."""
        codes = column.codes[rows]
        times = [self.time_in(edges, rows[codes == i], whole=whole) for i in range(len(column.names))]
        shares: Floats = np.array(times).reshape(len(times), len(edges) - 1) / np.diff(edges)
        return shares

    def _before_often(self, rows: Rows, rate: Floats, edges: Floats) -> Floats:
        """Busy time before each edge of spans that recur every ``period``."""
        length = (self.end - self.start)[rows, None]
        since = np.maximum(edges[None, :] - self.start[rows, None], 0)
        period, repeat = self.period[rows, None], self.repeat[rows, None]
        ended = np.clip((since - length) // period + 1, 0, repeat)
        begun = np.minimum(since // period + 1, repeat)  # a span may outlast a period: several are under way
        under_way = (begun - ended) * since - period * (begun + ended - 1) * (begun - ended) / 2
        total: Floats = (rate[:, None] * (ended * length + under_way)).sum(axis=0)
        return total


def _ramps(at: Ints, rate: Floats, edges: Floats) -> Floats:
    """Return the sum of ``rate * max(edge - at, 0)`` for each edge."""
    order = np.argsort(at, kind="stable")
    slope = np.concatenate([[0.0], np.cumsum(rate[order])])
    offset = np.concatenate([[0.0], np.cumsum(rate[order] * at[order])])
    passed = np.searchsorted(at[order], edges, "right")
    ramps: Floats = slope[passed] * edges - offset[passed]
    return ramps


def _ints(table: pa.Table, name: str) -> Ints:
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def _coded(table: pa.Table, name: str) -> Coded:
    chunks: list[Any] = table.column(name).chunks  # of dictionary type, one dictionary for all
    codes = [np.asarray(chunk.indices.to_numpy(), dtype=np.int64) for chunk in chunks]
    names = [str(n) for n in chunks[0].dictionary.to_pylist()] if chunks else []
    return Coded(np.concatenate(codes) if codes else np.empty(0, dtype=np.int64), names)


def _kinds(category: Coded, reason: Coded) -> Coded:
    """Return the category, and of a stall the reason with it."""
    pairs, codes = np.unique(category.codes * len(reason.names) + reason.codes, return_inverse=True)
    parts = [(category.names[p // len(reason.names)], reason.names[p % len(reason.names)]) for p in pairs]
    names = [f"stall: {r}" if c == "stall" else c for c, r in parts]
    return Coded(np.asarray(codes, dtype=np.int64), names)
