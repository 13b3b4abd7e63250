"""How much of each column of a timeline is spent on what: exact at any zoom.

A DMA engine has several transfers in flight, and the array's streams hold waits: such time counts once, and
not while a wait lasts. A port serves one access at a time while spans of several lie over each other: their
busy time, spread over each, is added. Either is a step function of time; a column is its integral.
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
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
_PORT: Final = ("read", "write", "scrub")  # kinds of work of which a port does one at a time
_MOST: Final = 1 << 20  # spans, each recurrence one, that are looked at together: bounds the memory


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

    def time_in(self, edges: Floats, rows: Rows, *, but: Rows | None = None, whole: bool = False) -> Floats:
        """Return the ps between neighbouring ``edges`` that the spans ``rows`` fill, shape (edges - 1,).

        The busy time of a port's spans is spread over them and added; other spans fill time once.

        Args:
            but: Spans of waits, in which those other spans fill nothing.
            whole: Let every span fill time, once, from its start to its end.
        """
        rows = rows[self.end[rows] > self.start[rows]]
        waits = np.empty(0, dtype=np.intp) if but is None else but
        return self._time_in(edges, rows, waits, whole)

    def shares(self, edges: Floats, rows: Rows, column: Coded, *, whole: bool = False) -> Floats:
        """Return ``time_in`` for each name of ``column`` as a share of each gap, (names, edges - 1)."""
        codes = column.codes[rows]
        times = [self.time_in(edges, rows[codes == i], whole=whole) for i in range(len(column.names))]
        shares: Floats = np.array(times).reshape(len(times), len(edges) - 1) / np.diff(edges)
        return shares

    def _time_in(self, edges: Floats, rows: Rows, waits: Rows, whole: bool) -> Floats:
        """Return ``time_in``, piece by piece where there are very many spans."""
        both = np.concatenate([rows, waits])
        first, times = self._among(both, edges[0], edges[-1])
        if times.sum() > _MOST:
            halves = _halves(edges)
            parts = [self._among(both, half[0], half[-1])[1].sum() for half in halves]
            if sum(parts) < 1.5 * times.sum():  # else they all last too long to be told apart
                left, right = (self._time_in(half, rows, waits, whole) for half in halves)
                return np.concatenate([left, right]) if len(edges) > 2 else left + right
        place = np.repeat(np.arange(len(both)), times)
        nth = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times) + first[place]
        start = self.start[both[place]] + nth * self.period[both[place]]
        end = start + (self.end - self.start)[both[place]]
        port = np.zeros(len(rows), dtype=bool) if whole else self._of_ports(rows)
        rate = np.where(port, self.busy[rows] / (self.end - self.start)[rows], 0.0)
        added, once, wait = (
            np.concatenate([of_rows, np.full(len(waits), of_waits)])[place]
            for of_rows, of_waits in ((rate, 0.0), (~port, False), (np.zeros(len(rows), dtype=bool), True))
        )
        return _integral(start, end, added, once, wait, edges)

    def _of_ports(self, rows: Rows) -> Flags:
        kinds = [i for i, kind in enumerate(self.kind.names) if kind in _PORT]
        return np.isin(self.kind.codes[rows], kinds)

    def _among(self, rows: Rows, low: float, high: float) -> tuple[Ints, Ints]:
        """Return of each span the first recurrence that touches (low, high), and how many do."""
        start, end, period = self.start[rows], self.end[rows], np.maximum(self.period[rows], 1)
        first = np.clip(np.ceil((low - end) / period), 0, self.repeat[rows]).astype(np.int64)
        until = np.clip(np.floor((high - start) / period) + 1, 0, self.repeat[rows]).astype(np.int64)
        return first, np.maximum(until - first, 0)


def _halves(edges: Floats) -> tuple[Floats, Floats]:
    """Return the first and the second half of the columns, or of the only one."""
    if len(edges) > 2:
        middle = len(edges) // 2
        return edges[: middle + 1], edges[middle:]
    at = (edges[0] + edges[1]) / 2
    return np.array([edges[0], at]), np.array([at, edges[1]])


def _integral(start: Ints, end: Ints, added: Floats, once: Flags, wait: Flags, edges: Floats) -> Floats:
    """Return the ps that intervals fill of the gaps between ``edges``, (edges - 1,).

    Of an instant: the sum of ``added`` there, and all of it where ``once`` holds of an interval, ``wait`` of
    none.
    """
    at = np.concatenate([start, end])
    order = np.argsort(at, kind="stable")
    at = at[order]
    sums, spans, waits = (np.cumsum(np.concatenate([n, -n])[order]) for n in (added, 1 * once, 1 * wait))
    level = np.maximum(sums, 0.0) + ((spans > 0) & (waits == 0))
    before = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(at))])
    return np.diff(np.interp(edges, at, before)) if len(at) else np.zeros(len(edges) - 1)


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
