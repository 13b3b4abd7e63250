"""How a tiled GEMM's streams across the grain of their words are served, per combination of cuts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accelsim.mapping.footprint import Footprint
from accelsim.mapping.problem import Array, Bool, Places
from accelsim.mapping.tile_shape import Shape
from accelsim.mapping.traffic import Amount, Pick
from accelsim.mapping.ways import WORTH, Fetch, Served, choices, streams
from accelsim.resolve.machine import Machine, Transpose

NOTHING = np.zeros((1, 1, 1))


class Serving:
    """The ways of serving the operands of one problem in their places, reads first, and the one taken."""

    def __init__(self, machine: Machine, shape: Shape, places: Places) -> None:
        self.shape = shape
        self.machine = machine
        self.p = shape.p
        self.banks = machine.banks
        self.at = (places.a, places.b, *places.reads, *places.writes)
        self.footprints = (*shape.reads, *shape.writes)
        pieces = (self.p.a, self.p.b, *self.p.reads, *self.p.writes)
        self.streams = streams(self.p.runs, pieces, [at.group for at in self.at])
        self.ways = choices(machine, self.streams)
        self.way: Array = np.zeros((1, 1, 1))  # of them, per combination of cuts
        self._buffered: Bool = np.asarray(shape.expansion) < 1 if self.p.runs else NOTHING > 0
        self._together: dict[int, Array] = {}  # bytes that lie together in a tile, by footprint

    def fastest(
        self, time: Array, ports: Callable[[Served], list[Array]], moved: Callable[[], list[Array]]
    ) -> Array:
        """Return ``time`` or what the ports and the transpose unit take, if that is more; take a way.

        Of the ways that with the fewest words is taken for each combination of cuts, or one that is faster
        by more than ``WORTH``. ``moved`` are the bytes of elements that every stream carries.
        """
        found: Array | None = None
        for number, served in enumerate(self.ways):
            here = time
            for other in (*ports(served), *self._turned_ps(served, moved)):
                here = np.maximum(here, other)
            here = here + self._first_block_ps(served)
            if found is None:
                found = here
                continue
            faster = here < found * (1 - WORTH)
            self.way = np.where(faster, float(number), self.way)
            found = np.where(faster, here, found)
        assert found is not None
        return found

    def factor(self, index: int, fetch: Fetch) -> Array:
        """Return the bytes through the port for each byte of an operand's elements.

        Of a tensor that is held whole a tile may want less of a word than the array takes of it. What comes
        through a line buffer takes whole words.
        """
        at, size = self.at[index], self.streams[index].element_bytes
        if self.p.runs and at.place != "buffered":
            word = self.banks[at.group].word_bytes
            taken = fetch.elements * size or word
            factor = np.asarray(word / np.minimum(taken, self._run(self.footprints[index])), dtype=np.float64)
        else:
            factor = np.full((1, 1, 1), fetch.factor(size))
        return np.where(self._through_buffer(index), 1.0, factor)

    def read_first(self, index: int, fetch: Fetch) -> Array:
        """Return the bytes of code words, filled in part only, that are read for each byte written."""
        size = self.streams[index].element_bytes
        partly = fetch.reads_first(self.banks[self.at[index].group], size)
        return self.factor(index, fetch) if partly else NOTHING

    def taken(self, value: Callable[[Served], Array]) -> Array:
        """Return a value of the way that is taken, per combination of cuts; ``fastest`` comes before."""
        found = value(self.ways[0])
        for number, served in enumerate(self.ways[1:], start=1):
            found = np.where(self.way == number, value(served), found)
        return found

    def through(self, index: int, nbytes: Amount, pick: Pick) -> Amount | None:
        """Return the bytes through the port for ``nbytes`` of an operand's elements; None: as many."""
        if not self.p.runs:
            return None
        return nbytes * pick(self.taken(lambda served: self.factor(index, served[index])))

    def turned(self, served: Served, moved: list[Array]) -> Array:
        """Return the bytes that the transpose unit turns."""
        return sum(
            (
                np.where(self._through_buffer(i), 0.0, nbytes)
                for i, (fetch, nbytes) in enumerate(zip(served, moved, strict=True))
                if fetch.way == "unit"
            ),
            NOTHING,
        )

    def _through_buffer(self, index: int) -> Bool | bool:
        """Return where an operand comes through a line buffer."""
        return self._buffered if "ab".find(self.p.expanded or "-") == index else False

    def _run(self, footprint: Footprint) -> Array:
        key = id(footprint)
        if key not in self._together:
            self._together[key] = footprint.run_bytes(self.p, self.shape.sides)
        return self._together[key]

    def _turned_ps(self, served: Served, moved: Callable[[], list[Array]]) -> list[Array]:
        """Return the time that the transpose unit works."""
        unit = self.machine.transpose
        if unit is None or all(f.way != "unit" for f in served):
            return []
        streamed = moved()
        per_byte = self.shape.period / unit.rate_bytes
        times = [np.asarray(self.turned(served, streamed) * per_byte, dtype=np.float64)]
        if any(f.way == "unit" for f in served[2:]):
            times.append(self._result_ps([f.way == "unit" for f in served], streamed, per_byte))
        still = {"ws": 1, "is": 0}.get(self.shape.array.dataflow)
        if still is not None and served[still].way == "unit":
            times.append(times[0] + self._first_blocks(unit, still))
        return times

    def _result_ps(self, turned: list[bool], streamed: list[Array], per_byte: float) -> Array:
        """Return the time where results, and what rides on them, pass the unit: with last folds only."""
        shape = self.shape
        k, array = shape.sides["k"], shape.array
        if array.dataflow == "os":
            share = np.minimum(1.0, array.rows / np.maximum(1.0, k.size / k.count)) / k.count
        else:
            share = 1 / k.row_blocks
        passing = sum((n for n, t in zip(streamed[2:], turned[2:], strict=True) if t), NOTHING)
        beside = sum((n for n, t in zip(streamed[:2], turned[:2], strict=True) if t), NOTHING)
        window = shape.array_ps * share
        return shape.array_ps - window + np.maximum(window, (passing + beside * share) * per_byte)

    def _first_block_ps(self, served: Served) -> float:
        """Return the time until a kernel's first block has come together, of the widest elements turned."""
        unit = self.machine.transpose
        sizes = [s.element_bytes for s, f in zip(self.streams, served, strict=True) if f.way == "unit"]
        if unit is None or not sizes:
            return 0.0
        return unit.block**2 * max(sizes) / unit.rate_bytes * self.shape.period + unit.latency_ps

    def _first_blocks(self, unit: Transpose, still: int) -> Array:
        """Return the time until the first block of every stationary tile has come together.

        A tile is loaded during the fold before: its way through the unit overlaps with no other's.
        """
        shape = self.shape
        rows, cols, streamed = (shape.sides[shape.over[x]] for x in ("rows", "cols", "streamed"))
        element_bytes = self.streams[still].element_bytes
        first = unit.block**2 * element_bytes / unit.rate_bytes * shape.period + unit.latency_ps
        each = np.where(self._through_buffer(still), 0.0, first)
        return rows.row_blocks * cols.blocks * streamed.count * self.p.batch * each
