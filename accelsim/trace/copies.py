"""Residencies: when the bytes of a copy were written, when they were read, and for how long they lay.

A copy is a grid of cells over the tensor's box, cut wherever a tile's box begins or ends. Every read
adds its cells' dwells (since the write) and gaps (since the last access) to a histogram whose sums are
exact integers.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import RunError
from accelsim.geometry import Box
from accelsim.trace.accesses import Accesses
from accelsim.words import Phase, Role

Int = NDArray[np.int64]

EDGES_PS: Int = np.array(sorted({round(10 ** (k / 10)) for k in range(161)}), dtype=np.int64)
_EDGES: list[int] = EDGES_PS.tolist()
FEW = 6  # cells that are read faster one by one
UNWRITTEN = np.iinfo(np.int64).min


def bin_of(dwell_ps: Int) -> Int:
    """Return the bin of each dwell: lower edges are inclusive, the first and last bins are open.

    >>> bin_of(np.array([0, 1, 2, 10**20 // 10**4 * 2])).tolist()
    [0, 0, 1, 157]
    """
    bins = np.searchsorted(EDGES_PS, dwell_ps, side="right") - 1
    return np.asarray(np.maximum(bins, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyKey:
    """What the copies of one class have in common: the first columns of the residency table."""

    bank_group: str
    tensor: str
    role: Role
    copy_class: str
    parent_class: str
    origin: str
    fate: str
    phase_written: Phase | None
    layer: str
    bit_field: str = "all"  # of another one sizes are in bits, as it may have less than a byte of an element


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the phase and the layer of the op."""

    phase: Phase
    layer: str


class Grid:
    """Times of the last write and access of every cell of a box."""

    def __init__(self, box: Box) -> None:
        self.cuts: list[list[int]] = [[low, high] for low, high in box]
        cells = (1,) * len(box)
        self.written = np.full(cells, UNWRITTEN, dtype=np.int64)
        self.touched = np.zeros(cells, dtype=np.int64)
        self.reads = np.zeros(cells, dtype=np.int64)

    def where(self, box: Box) -> tuple[slice, ...]:
        """Return the cells of ``box``, cutting the grid where it begins and ends."""
        slices = []
        for axis, (low, high) in enumerate(box):
            slices.append(slice(self._place(axis, low), self._place(axis, high)))
        return tuple(slices)

    def _place(self, axis: int, position: int) -> int:
        """Return the number of the cut at ``position``, made if there is none."""
        cuts = self.cuts[axis]
        place = bisect_left(cuts, position)
        if place == len(cuts) or cuts[place] != position:
            self._cut(axis, place, position)
        return place

    def cell(self, box: Box) -> tuple[int, ...] | None:
        """Return the cell that ``box`` is; None: it is none, or not yet."""
        found = []
        for cuts, (low, high) in zip(self.cuts, box, strict=True):
            place = bisect_left(cuts, low)
            if place + 1 >= len(cuts) or cuts[place] != low or cuts[place + 1] != high:
                return None
            found.append(place)
        return tuple(found)

    def box(self, cell: tuple[int, ...]) -> Box:
        """Return the box of a cell."""
        return tuple([(cuts[i], cuts[i + 1]) for cuts, i in zip(self.cuts, cell, strict=True)])

    def _cut(self, axis: int, place: int, position: int) -> None:
        cuts = self.cuts[axis]
        if not 0 < place < len(cuts):
            raise RunError(f"an access reaches index {position} outside of its copy's {cuts[0]}..{cuts[-1]}")
        cuts.insert(place, position)
        before = (*(slice(None),) * axis, slice(None, place))
        after = (*(slice(None),) * axis, slice(place - 1, None))  # the cell that is cut counts twice
        self.written = np.concatenate((self.written[before], self.written[after]), axis)
        self.touched = np.concatenate((self.touched[before], self.touched[after]), axis)
        self.reads = np.concatenate((self.reads[before], self.reads[after]), axis)

    def elements(self, where: tuple[slice, ...]) -> Int:
        """Return the elements per cell of a selection."""
        sizes = np.ones((1,) * len(self.cuts), dtype=np.int64)
        for axis, s in enumerate(where):
            edges: Int = np.array(self.cuts[axis][s.start : s.stop + 1], dtype=np.int64)
            widths = edges[1:] - edges[:-1]
            sizes = sizes * widths.reshape([-1 if i == axis else 1 for i in range(len(self.cuts))])
        return np.asarray(sizes, dtype=np.int64)


@dataclass(slots=True)
class Sums:
    """One row of the histogram; of a bit field its bytes are bits."""

    count: int = 0
    nbytes: int = 0
    dwell_byte_ps: int = 0
    gap_byte_ps: int = 0


RowKey = tuple[CopyKey, Reader, int, int]


@dataclass(frozen=True, slots=True)
class SingleRead:
    """One read of one piece of a traced tensor's copy."""

    key: CopyKey
    reader: Reader
    box: Box
    read_index: int
    written_ps: int
    read_ps: int
    nbytes: int


class Histogram:
    """Exact sums of dwells and gaps by copy class, reader, read index and bin.

    ``traced`` are globs of tensors whose single reads are kept beside the sums.
    """

    def __init__(self, traced: tuple[str, ...] = ()) -> None:
        self.rows: dict[RowKey, Sums] = {}
        self.singles: list[SingleRead] = []
        self.traced = traced

    def traces(self, tensor: str) -> bool:
        """Return whether single reads of ``tensor`` are kept."""
        return any(fnmatchcase(tensor, glob) for glob in self.traced)

    def add(self, key: CopyKey, reader: Reader, index: Int, dwell: Int, gap: Int, nbytes: Int) -> None:
        """Add one read of cells: arrays of equal shape, one entry per cell."""
        bins = bin_of(dwell)
        row, at = Sums(), (-1, -1)
        for i, b, d, g, n in zip(
            index.ravel().tolist(),
            bins.ravel().tolist(),
            dwell.ravel().tolist(),
            gap.ravel().tolist(),
            nbytes.ravel().tolist(),
            strict=True,
        ):
            if at != (i, b):
                at, row = (i, b), self._row(key, reader, i, b)
            row.count += 1
            row.nbytes += n
            row.dwell_byte_ps += n * d
            row.gap_byte_ps += n * g

    def add_one(self, key: CopyKey, reader: Reader, index: int, dwell: int, gap: int, nbytes: int) -> None:
        """Add one read of one cell."""
        number = max(0, bisect_right(_EDGES, dwell) - 1)
        row = self._row(key, reader, index, number)
        row.count += 1
        row.nbytes += nbytes
        row.dwell_byte_ps += nbytes * dwell
        row.gap_byte_ps += nbytes * gap

    def _row(self, key: CopyKey, reader: Reader, index: int, number: int) -> Sums:
        row = self.rows.get((key, reader, index, number))
        if row is None:
            row = self.rows[(key, reader, index, number)] = Sums()
        return row

    def take(self) -> dict[RowKey, Sums]:
        """Return the rows and begin anew."""
        rows, self.rows = self.rows, {}
        return rows

    def merge(self, rows: dict[RowKey, Sums], times: int = 1) -> None:
        """Add another histogram's rows, ``times`` over."""
        for key, sums in rows.items():
            row = self.rows.get(key)
            if row is None:
                row = self.rows[key] = Sums()
            row.count += sums.count * times
            row.nbytes += sums.nbytes * times
            row.dwell_byte_ps += sums.dwell_byte_ps * times
            row.gap_byte_ps += sums.gap_byte_ps * times


class TrackedCopy:
    """One copy in a bank group and its accesses.

    A copy carried over from the step before does not know its write times yet: its reads are kept and
    entered by ``settle`` once the step's length and the writes of the update are known. ``origin`` is
    where the box of a buffered tile, seen from its own corner, lies in the tensor. ``element_bytes`` are bits
    of a bit field.
    """

    def __init__(
        self, histogram: Histogram, key: CopyKey, box: Box, element_bytes: int, origin: Box = ()
    ) -> None:
        self.histogram = histogram
        self.origin = origin
        self.key = key
        self.grid = Grid(box)
        self._whole = box
        self.element_bytes = element_bytes
        self.carried = False
        self._traced = bool(histogram.traced) and histogram.traces(key.tensor)
        self._late: Accesses[Reader] | None = None  # made when there is one: most copies live for a tile

    @property
    def box(self) -> Box:
        """All of it."""
        return self._whole

    def write(self, box: Box, at_ps: int) -> None:
        """Note that ``box`` was written anew: a new copy of these bytes begins."""
        grid = self.grid
        where = grid.cell(box) or grid.where(box)
        grid.written[where] = at_ps
        grid.touched[where] = at_ps
        grid.reads[where] = 0

    def write_whole(self, at_ps: int) -> None:
        """Note that all of it was written."""
        self.write(self._whole, at_ps)

    def read_whole(self, at_ps: int, reader: Reader) -> None:
        """Note that all of it was read."""
        self.read(self._whole, at_ps, reader)

    def read(self, box: Box, at_ps: int, reader: Reader) -> None:
        """Note that ``box`` was read.

        Raises:
            RunError: if a part of it was never written.
        """
        if self.carried:
            if self._late is None:
                self._late = Accesses()
            self._late.add(reader, box, at_ps)
            return
        cell = self.grid.cell(box) if not self._traced else None
        if cell is not None:
            self._read_cell(cell, box, at_ps, reader)
            return
        where = self.grid.where(box)
        if not self._traced and math.prod([s.stop - s.start for s in where]) <= FEW:
            for cell in itertools.product(*(range(s.start, s.stop) for s in where)):
                self._read_cell(cell, self.grid.box(cell), at_ps, reader)
            return
        written = self.grid.written[where]
        if written.size and int(written.min()) == UNWRITTEN:
            raise self._unwritten(box, at_ps)
        nbytes = self.grid.elements(where) * self.element_bytes
        dwell, gap = at_ps - written, at_ps - self.grid.touched[where]
        self.histogram.add(self.key, reader, self.grid.reads[where], dwell, gap, nbytes)
        if self._traced:
            self._trace(where, at_ps, reader, nbytes)
        self.grid.reads[where] += 1
        self.grid.touched[where] = np.maximum(self.grid.touched[where], at_ps)

    def _unwritten(self, box: Box, at_ps: int) -> RunError:
        return RunError(f"{self.key.copy_class}: {box} is read at {at_ps} ps before it is written")

    def _read_cell(self, cell: tuple[int, ...], box: Box, at_ps: int, reader: Reader) -> None:
        """Note that a box of one cell was read."""
        grid = self.grid
        written, touched = int(grid.written[cell]), int(grid.touched[cell])
        if written == UNWRITTEN:
            raise self._unwritten(box, at_ps)
        nbytes = math.prod(high - low for low, high in box) * self.element_bytes
        index = int(grid.reads[cell])
        self.histogram.add_one(self.key, reader, index, at_ps - written, at_ps - touched, nbytes)
        grid.reads[cell] = index + 1
        grid.touched[cell] = max(touched, at_ps)

    def _trace(self, where: tuple[slice, ...], at_ps: int, reader: Reader, nbytes: Int) -> None:
        for cell in np.ndindex(nbytes.shape):
            at = tuple(s.start + i for s, i in zip(where, cell, strict=True))
            box = self.grid.box(at)
            if self.origin:
                box = tuple((a + base, b + base) for (a, b), (base, _) in zip(box, self.origin, strict=True))
            written, index = int(self.grid.written[at]), int(self.grid.reads[at])
            self.histogram.singles.append(
                SingleRead(self.key, reader, box, index, written, at_ps, int(nbytes[cell]))
            )

    def standing(self, now_ps: int) -> tuple[object, ...]:
        """Return when its cells were written and last accessed, from ``now_ps`` on, and how often read."""
        grid = self.grid
        written, touched = grid.written.ravel().tolist(), grid.touched.ravel().tolist()
        return (
            tuple(map(tuple, grid.cuts)),
            tuple(w - now_ps if w != UNWRITTEN else w for w in written),
            tuple(t - now_ps if w != UNWRITTEN else w for t, w in zip(touched, written, strict=True)),
            tuple(grid.reads.ravel().tolist()),
        )

    def later(self, ps: int) -> None:
        """Let it stand for a copy of the same kind, written and read ``ps`` later."""
        grid = self.grid
        grid.written = np.where(grid.written == UNWRITTEN, UNWRITTEN, grid.written + ps)
        grid.touched = grid.touched + ps

    def settle(self, before: TrackedCopy, step_ps: int) -> None:
        """Enter the reads of a carried copy, written in ``before`` one step of ``step_ps`` earlier."""
        grid = before.grid
        self.grid.cuts = [list(c) for c in grid.cuts]
        self.grid.written, self.grid.touched = grid.written - step_ps, grid.touched - step_ps
        self.grid.reads = grid.reads.copy()
        late, self._late, self.carried = self._late, None, False
        for reader, box, at_ps in late.between(0) if late is not None else ():
            self.read(box, at_ps, reader)
