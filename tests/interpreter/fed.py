"""A GEMM on the array whose operands come, and whose results leave, word by word."""

from __future__ import annotations

import numpy as np

from accelsim.program.jobs import TileJob
from accelsim.program.program import Binding
from tests.interpreter.feed import NONE, Feed
from tests.interpreter.gemm import located
from tests.interpreter.kernels import GemmRun
from tests.interpreter.memory import Numbers, Places


class FedRun(GemmRun):
    """Fold by fold, the vectors that the array's edges take, in the order in which they take them.

    ws: rows of B go down the load chain, a vector of k of A enters per cycle; is: the same with A and B
    exchanged; os: a column of A and a row of B enter per cycle. What comes through a line buffer is taken as
    it is.
    """

    def _operand(self, index: int, job: TileJob, rows: str, cols: str) -> Numbers:
        binding = self.kernel.reads[index]
        if binding.lie == "im2col":
            return super()._operand(index, job, rows, cols)
        tile = self.nest[job.index][0]
        bound = self._bound(binding, binding.operand.box(tile), self._slot(index, job))
        image = self.kernel.expanded == ("a", "b")[index]
        places, wanted = located(self.kernel, bound, tile, rows, cols, image)  # type: ignore[arg-type]
        at = self.mem.banks.addresses(bound.region, bound.data.element_bytes, np.where(wanted, places, 0))
        return self._fed(index, job, np.where(wanted, at, NONE))

    def _fed(self, index: int, job: TileJob, at: Places) -> Numbers:
        """Return the operand's matrix at addresses ``at`` as it comes in; note words fetched and booked."""
        words, binding = self.mem.words, self.kernel.reads[index]
        assert words is not None
        name, matrix, booked = "ab"[index], np.full(at.shape, np.nan), 0
        fetched = vectors = 0
        for fold, (vertical, horizontal) in zip(self._whole_folds(job), self._cells(name), strict=True):
            booked += sum(n for i, n in fold if i == index)
            if not any(i == index for i, _ in fold):
                continue
            feed = Feed(self.mem.banks, binding, words)
            part = at[vertical, horizontal]
            lanes_down = self._lanes_down(name)
            delivered = feed.vectors(part.T if lanes_down else part)
            matrix[vertical, horizontal] = delivered.T if lanes_down else delivered
            fetched, vectors = fetched + feed.count, vectors + delivered.shape[0]
        size = words.word_bytes[binding.group]
        words.add(self.kernel.leader.op, name, binding.lie, fetched, -(-booked // size), vectors)
        if np.isnan(matrix).any():  # a stationary tile that stays from the tile before
            matrix = np.where(np.isnan(matrix), self._as_it_is(index, job, matrix.shape), matrix)
        return matrix

    def _as_it_is(self, index: int, job: TileJob, shape: tuple[int, ...]) -> Numbers:
        rows, cols = ("m", "k") if index == 0 else ("k", "n")
        return super()._operand(index, job, rows, cols).reshape(shape)

    def _lanes_down(self, name: str) -> bool:
        """Return whether a vector is a column of the operand's matrix."""
        return name in {"ws": "", "is": "ab", "os": "a"}[self.sums.array.dataflow]

    def _whole_folds(self, job: TileJob) -> list[list[tuple[int, int]]]:
        """Return what every fold moves, (read, bytes); the parts of one that leaves in parts are joined."""
        found: list[list[tuple[int, int]]] = []
        for place, fold in enumerate(job.folds):
            moved = [(s.binding, s.nbytes) for s in (*fold.streams, *([fold.load] if fold.load else []))]
            if fold.continues and place:
                found[-1] += moved
            else:
                found.append(moved)
        return found

    def _cells(self, name: str) -> list[tuple[slice, slice]]:
        """Return the part of an operand's matrix that each fold of a tile takes, rows and columns."""
        array, everything = self.sums.array, slice(None)
        tile = {side: self._extent(side) for side in ("m", "n", "k")}
        down, across = {"ws": ("k", "n"), "is": ("k", "m"), "os": ("m", "n")}[array.dataflow]
        found = []
        for col in range(0, tile[across], array.cols):
            for row in range(0, tile[down], array.rows):
                part = {down: slice(row, row + array.rows), across: slice(col, col + array.cols)}
                sides = ("m", "k") if name == "a" else ("k", "n")
                found.append((part.get(sides[0], everything), part.get(sides[1], everything)))
        return found

    def _extent(self, side: str) -> int:
        tile = self.nest[self._at][0]
        total = 1
        for axis in self.kernel.sides[side]:  # type: ignore[index]
            low, high = tile[axis.name]
            total *= high - low
        return total

    def compute(self, job: TileJob) -> None:
        """Multiply a tile; note the words in which its results leave."""
        self._at = job.index
        super().compute(job)
        for index, binding in enumerate(self.kernel.writes):
            if any(s.binding == index for fold in job.folds for s in fold.writes):
                self._drained(index, job, binding)

    def _drained(self, index: int, job: TileJob, binding: Binding) -> None:
        """Count the words of a tile's results, a vector per cycle, as they leave the array."""
        words, array = self.mem.words, self.sums.array
        assert words is not None
        tile = self.nest[job.index][0]
        bound = self._bound(binding, binding.operand.box(tile), -1 if binding.copy is not None else 0)
        if bound.packed or self.kernel.expanded == "b":
            return  # a slot holds one result at a time
        places, _ = located(self.kernel, bound, tile, "m", "n", image=False)
        at = self.mem.banks.addresses(bound.region, bound.data.element_bytes, places)
        fetched = 0
        step = array.cols
        across = at.shape[0] if array.dataflow == "is" else at.shape[1]
        for low in range(0, across, step):
            part = at[low : low + step].T if array.dataflow == "is" else at[:, low : low + step]
            fetched += Feed(self.mem.banks, binding, words).words_of(part)
        booked = sum(s.nbytes for f in job.folds for s in f.writes if s.binding == index)
        size = words.word_bytes[binding.group]
        words.add(self.kernel.leader.op, f"c{index}", binding.lie, fetched, -(-booked // size), at.shape[0])
