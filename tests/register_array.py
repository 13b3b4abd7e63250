"""A systolic array register by register in numpy, for the tests of the timing contract.

Every register is an array with the batch last: many problems of different shapes run on one physical
array at the same time, each with its own schedule. One call of ``step`` is one cycle: all registers
are read as the edge before left them, then all are replaced at once.

Per PE, weight- (and input-) stationary: operand and partial sum that pass through, and three that
hold the stationary operand: a link of the load chain, ``hold`` and ``active``. Output-stationary: both
operands that pass through, an accumulator, ``hold`` and a link of the drain chain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Problems:
    """GEMMs as one array sees them, arrays with the batch last and zeros beyond each one's extents.

    ``left`` enters at the rows' left ends; ``top`` at the heads of the columns.

    - stationary weights or inputs: left ``(streamed, over_rows)``, top ``(over_rows, over_cols)``
    - stationary outputs: left ``(streamed, over_rows)``, top ``(streamed, over_cols)``
    """

    left: Array
    top: Array
    over_rows: Array
    over_cols: Array
    streamed: Array


@dataclass(frozen=True)
class Outcome:
    """What came out: results ``(streamed or over_rows, over_cols, batch)`` and cycles until the last one."""

    results: Array
    cycles: Array


def right(registers: Array, enters: Array) -> Array:
    """Return what the registers of each row see from their left."""
    return np.concatenate([enters[:, None], registers[:, :-1]], axis=1)


def down(registers: Array, enters: Array) -> Array:
    """Return what the registers of each column see from above."""
    return np.concatenate([enters[None], registers[:-1]], axis=0)


class _Machine(ABC):
    """What both arrays share: the schedule of folds ``period`` cycles apart, column blocks outermost."""

    def __init__(self, rows: int, cols: int, todo: Problems, period: Array | None, hold: bool) -> None:
        self.rows, self.cols, self.todo, self.with_hold = rows, cols, todo, hold
        self.batch = np.arange(len(todo.streamed))
        self.blocks_down = -(-todo.over_rows // rows)
        self.folds = self.blocks_down * -(-todo.over_cols // cols)
        self.period = np.maximum(rows, todo.streamed) if period is None else period
        self.row, self.col = np.arange(rows)[:, None], np.arange(cols)[:, None]
        self.cycles = np.zeros(len(self.batch), dtype=np.int64)
        self.emerged = np.zeros((cols, len(self.batch)), dtype=np.int64)  # results per column so far

    def registers(self, dtype: Any = np.int16) -> Array:
        """Return one register per PE and problem."""
        return np.zeros((self.rows, self.cols, len(self.batch)), dtype)

    def due(self, since: Array, length: Any) -> tuple[Array, Array, Array]:
        """Return fold and step within it of the cycle ``since`` the first one's start, and whether in it."""
        fold, step = np.divmod(since, self.period)
        valid = (since >= 0) & (step < length) & (fold < self.folds)
        return np.where(valid, fold, 0), np.where(valid, step, 0), valid

    def run(self, per_fold: Any) -> Outcome:
        """Clock the array until every column has given ``per_fold`` results per fold."""
        expected = self.folds * per_fold
        limit = int((self.folds * self.period).max()) + 4 * (self.rows + self.cols + 16)
        for cycle in range(limit):
            values, valid = self.step(cycle)
            self.take(values, valid)
            self.cycles[valid.any(axis=0)] = cycle + 1
            self.emerged += valid
            if (self.emerged == expected).all():
                return Outcome(self.results, self.cycles)
        raise AssertionError("results are missing")

    results: Array

    @abstractmethod
    def step(self, cycle: int) -> tuple[Array, Array]:
        """Do one cycle; return what leaves each column's foot at its end, and whether something does."""

    @abstractmethod
    def take(self, values: Array, valid: Array) -> None:
        """Take in what has left the columns."""


class StationaryWeights(_Machine):
    """Weight-stationary, and input-stationary with the operands exchanged.

    The chain of column c is filled from above, bottom row first, during the R cycles before the first
    streamed element reaches that column; ``hold`` takes what the chain takes, at the edge at which the
    column is complete. A mark on a fold's first element swaps ``hold`` into ``active`` as it passes.
    Without ``hold``, the element swaps the chain's link itself in.
    """

    def __init__(
        self, rows: int, cols: int, todo: Problems, period: Array | None = None, hold: bool = True
    ) -> None:
        super().__init__(rows, cols, todo, period, hold)
        self.operand, self.psum = self.registers(), self.registers()
        self.chain, self.hold, self.active = self.registers(), self.registers(), self.registers()
        self.valid, self.first = self.registers(bool), self.registers(bool)
        longest, widest = int(todo.streamed.max()), todo.top.shape[1]
        self.sums = np.zeros((cols, longest, len(self.batch)), dtype=np.int16)  # under the columns
        self.results = np.zeros((longest, widest, len(self.batch)), dtype=np.int16)

    def step(self, cycle: int) -> tuple[Array, Array]:
        fold, step, valid = self.due(cycle - self.rows - self.row, self.todo.streamed)
        element = self.todo.left[step, fold % self.blocks_down * self.rows + self.row, self.batch]
        self.operand = right(self.operand, element)
        self.valid = right(self.valid, valid)
        self.first = right(self.first, valid & (step == 0))
        self.active = np.where(self.first, self.hold if self.with_hold else self.chain, self.active)
        self.psum = down(self.psum, np.zeros_like(self.psum[0])) + self.operand * self.active
        self._load(cycle)
        return self.psum[-1], self.valid[-1]

    def _load(self, cycle: int) -> None:
        fold, step, shifting = self.due(cycle - self.col, self.rows)
        row = fold % self.blocks_down * self.rows + self.rows - 1 - step
        weight = self.todo.top[row, fold // self.blocks_down * self.cols + self.col, self.batch]
        self.chain = np.where(shifting, down(self.chain, weight), self.chain)
        self.hold = np.where(shifting & (step == self.rows - 1), self.chain, self.hold)

    def take(self, values: Array, valid: Array) -> None:
        """Add to the accumulators; the last fold of a column block sends them on."""
        col, problem = np.nonzero(valid)
        fold, step = np.divmod(self.emerged[col, problem], self.todo.streamed[problem])
        block, depth = np.divmod(fold, self.blocks_down[problem])
        before = np.where(depth == 0, 0, self.sums[col, step, problem])
        self.sums[col, step, problem] = before + values[col, problem]
        leaves = depth == self.blocks_down[problem] - 1
        col, problem, step, block = col[leaves], problem[leaves], step[leaves], block[leaves]
        self.results[step, block * self.cols + col, problem] = self.sums[col, step, problem]

    def outcome(self) -> Outcome:
        """Run to the end."""
        return self.run(self.todo.streamed)


class StationaryOutputs(_Machine):
    """Output-stationary with a drain path of its own.

    A mark on a fold's last pair moves the accumulator into ``hold`` as it passes. When the bottom
    row's has, the column is complete: the drain chain takes all of ``hold`` at that edge and shifts
    down, one result per cycle. Without ``hold``, the chain takes the accumulators themselves.
    """

    def __init__(
        self, rows: int, cols: int, todo: Problems, period: Array | None = None, hold: bool = True
    ) -> None:
        super().__init__(rows, cols, todo, period, hold)
        self.left, self.top, self.sum = self.registers(), self.registers(), self.registers()
        self.hold, self.chain, self.full = self.registers(), self.registers(), self.registers(bool)
        self.first, self.last = self.registers(bool), self.registers(bool)
        shape = (todo.left.shape[1], todo.top.shape[1], len(self.batch))
        self.results = np.zeros(shape, dtype=np.int16)

    def step(self, cycle: int) -> tuple[Array, Array]:
        t = self.todo
        fold, step, valid = self.due(cycle - self.row, t.streamed)
        element = t.left[step, fold % self.blocks_down * self.rows + self.row, self.batch]
        self.left = right(self.left, np.where(valid, element, 0))
        self.first = right(self.first, valid & (step == 0))
        self.last = right(self.last, valid & (step == t.streamed - 1))
        fold, step, valid = self.due(cycle - self.col, t.streamed)
        element = t.top[step, fold // self.blocks_down * self.cols + self.col, self.batch]
        self.top = down(self.top, np.where(valid, element, 0))
        self.sum = np.where(self.first, 0, self.sum) + self.left * self.top
        self.hold = np.where(self.last, self.sum, self.hold)
        return self._drain()

    def _drain(self) -> tuple[Array, Array]:
        leaving, valid = self.chain[-1], self.full[-1]
        complete = self.last[-1]
        source = self.hold if self.with_hold else self.sum
        self.chain = np.where(complete, source, down(self.chain, np.zeros_like(leaving)))
        still = down(self.full, np.zeros_like(valid))
        assert not (complete & still).any(), "a result in the drain chain is overwritten"
        self.full = complete | still
        return leaving, valid

    def take(self, values: Array, valid: Array) -> None:
        """Store what leaves; the bottom row comes first."""
        col, problem = np.nonzero(valid)
        fold, step = np.divmod(self.emerged[col, problem], self.rows)
        block, depth = np.divmod(fold, self.blocks_down[problem])
        row = depth * self.rows + self.rows - 1 - step
        self.results[row, block * self.cols + col, problem] = values[col, problem]

    def outcome(self) -> Outcome:
        """Run to the end."""
        return self.run(self.rows)
