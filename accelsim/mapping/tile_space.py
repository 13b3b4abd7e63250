"""What every combination of cuts of one GEMM costs, all at once, as arrays.

The estimate mirrors what the machine does (docs/mapping.md): array time, each bank group's port time,
DRAM time and the riders' vector time overlap; the first tile's fill does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.mapping.footprint import CutSide, Footprint, blocks_per_result, rows_per_result
from accelsim.mapping.ports import port_ps
from accelsim.mapping.problem import SIDES, Array, Bool, Choice, Problem
from accelsim.program.folds import first_load, fold_tail
from accelsim.program.gemm_folds import ArrayShape
from accelsim.program.program import Side
from accelsim.resolve.machine import Machine


@dataclass(frozen=True, slots=True)
class _Fetch:
    """What one operand brings from DRAM per GEMM: elements, and transfers that bring them."""

    of: Footprint
    elements: Array
    transfers: Array


class Space:
    """All combinations of cuts of one problem."""

    def __init__(self, machine: Machine, array: ArrayShape, problem: Problem) -> None:
        self.machine = machine
        self.array = array
        self.p = problem
        self.period = 1e12 / machine.clock_hz
        self.dram_ps = 1e12 / machine.dram.bandwidth_bytes_per_s
        dataflow = array.dataflow
        quantum = {
            "ws": {"m": 1, "n": array.cols, "k": array.rows},
            "is": {"m": array.cols, "n": 1, "k": array.rows},
            "os": {"m": array.rows, "n": array.cols, "k": array.rows},
        }[dataflow]
        self.sides: dict[Side, CutSide] = {s: CutSide(problem, s, quantum[s], array.rows) for s in SIDES}
        self.a = Footprint(problem, problem.a, self.sides)
        self.b = Footprint(problem, problem.b, self.sides)
        self.reads = [Footprint(problem, r, self.sides) for r in problem.reads]
        self.writes = [Footprint(problem, w, self.sides) for w in problem.writes]
        self.shape = tuple(len(self.sides[s].list) for s in SIDES)
        burst = machine.dma.burst_bytes
        self.bursts = {
            id(f): f.burst_factor(problem, self.sides, burst)
            for f in (self.a, self.b, *self.reads, *self.writes)
            if f.part.place != "resident"
        }
        self.tiles = self.sides["m"].count * self.sides["n"].count * self.sides["k"].count
        self.over: dict[str, Side] = {
            "ws": {"rows": "k", "cols": "n", "streamed": "m"},
            "is": {"rows": "k", "cols": "m", "streamed": "n"},
            "os": {"rows": "m", "cols": "n", "streamed": "k"},
        }[dataflow]  # type: ignore[assignment]

        self.result_blocks, self.result_rows = self._result_shape()

    def _result_shape(self) -> tuple[int, int]:
        """Return the column blocks, and the points of the streamed side, whose results leave at once."""
        buffered = [(w.operand, w.element_bytes) for w in self.p.writes if w.place == "buffered"]
        axes, burst = self.p.axes(self.over["cols"]), self.machine.dma.burst_bytes
        blocks = blocks_per_result(buffered, axes, self.array.cols, burst)
        sizes = [size for _, size in buffered]
        return blocks, rows_per_result(self.machine, self.array, sizes, blocks)

    # -- cost of one loop order -----------------------------------------------------------------

    def evaluate(
        self, order: tuple[Side, Side, Side], keep: tuple[bool, bool]
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return time in ps (inf: not allowed), DRAM bytes, and buffer bytes per group."""
        need, fetched = self._operands(order, keep)
        psum_bytes, psum_traffic = self._partial_sums(order)
        _add(need, self.p.psum_group, psum_bytes)
        dram, transfers = self._dram(fetched)
        array = self._array_cycles(order) * self.period
        ports = self._ports(fetched, psum_traffic)
        riders = self._rider_cycles() * self.period
        issue = transfers * self.machine.dma.descriptor_latency_ps
        slots = (array + self._fill_chain(fetched)) / 2
        every = (array, dram * self.dram_ps, issue, ports, riders, slots)
        steady = np.maximum.reduce(np.broadcast_arrays(*every))
        time = steady + self._ends(fetched) + self._spill_rounds()
        time = np.where(np.broadcast_to(self._allowed(order), self.shape), time, np.inf)
        return time, np.broadcast_to(dram, self.shape), need

    def _operands(
        self, order: tuple[Side, ...], keep: tuple[bool, bool]
    ) -> tuple[dict[str, Array], list[_Fetch]]:
        """Return buffer bytes per group and what is fetched from DRAM per operand."""
        need: dict[str, Array] = {}
        fetched: list[_Fetch] = []
        whole = [*keep, *(False for _ in self.reads)]
        for footprint, held in zip([self.a, self.b, *self.reads], whole, strict=True):
            part = footprint.part
            if part.place == "resident":
                continue
            if held or part.place == "kept":
                once = np.full((1, 1, 1), footprint.whole / self.p.batch)
                fetched.append(_Fetch(footprint, once, footprint.tiles))
                if held:
                    _add(need, part.group, np.full((1, 1, 1), footprint.whole * part.element_bytes))
                continue
            times = footprint.again(order, self.sides)
            fetched.append(_Fetch(footprint, footprint.once * times, footprint.tiles * times))
            _add(need, part.group, footprint.tile * part.element_bytes * self._slots(footprint))
        for footprint in self.writes:
            if footprint.part.place == "buffered":
                nbytes = footprint.tile * self._result_share() * footprint.part.element_bytes
                _add(need, footprint.part.group, nbytes * self._result_slots(footprint))
        return need, fetched

    def _result_share(self) -> Array:
        """Return what of a tile's results leaves at once: a column block, in whole rows of storage.

        Where k is cut, results come with its last tile only, and leave in parts of a column block.
        """
        cols, streamed = self.sides[self.over["cols"]], self.sides[self.over["streamed"]]
        share = np.minimum(1.0, (self.result_blocks * self.array.cols + cols.row) / cols.largest)
        if not self.result_rows:
            return share
        part = np.minimum(1.0, (self.result_rows + streamed.row) / streamed.largest)
        return np.asarray(np.where(self.sides["k"].count > 1, share * part, share), dtype=np.float64)

    def _result_slots(self, footprint: Footprint) -> Array:
        cols, streamed = self.sides[self.over["cols"]], self.sides[self.over["streamed"]]
        blocks = cols.largest > self.array.cols
        if self.result_rows:
            blocks = blocks | ((self.sides["k"].count > 1) & (streamed.largest > self.result_rows))
        return np.where((footprint.tiles * self.p.batch > 1) | blocks, 2.0, 1.0)

    def _dram(self, fetched: list[_Fetch]) -> tuple[Array, Array]:
        """Return the bytes that DRAM moves, in whole bursts, and the descriptors of the busier engine."""
        nbytes: Array = np.zeros((1, 1, 1))
        reads: Array = np.zeros((1, 1, 1))
        writes: Array = np.zeros((1, 1, 1))
        for fetch in fetched:
            size = fetch.of.part.element_bytes
            nbytes = nbytes + fetch.elements * size * self.bursts[id(fetch.of)]
            reads = reads + fetch.transfers
        for footprint in self.writes:
            if footprint.part.place == "buffered":
                factor = footprint.part.element_bytes * self.bursts[id(footprint)]
                nbytes, writes = nbytes + footprint.once * factor, writes + footprint.tiles
        return nbytes * self.p.batch, np.maximum(reads, writes) * self.p.batch

    def _fill_chain(self, fetched: list[_Fetch]) -> Array:
        """Return the time that fills through slots take one after the other, latency included.

        With two slots a slot's round is its fill and its tile's work; two rounds overlap.
        """
        chain: Array = np.zeros((1, 1, 1))
        rounds: Array = np.zeros((1, 1, 1))
        for fetch in fetched:
            if fetch.of.part.place != "buffered":
                continue
            size = fetch.of.part.element_bytes
            chain = chain + fetch.elements * size * self.bursts[id(fetch.of)] * self.dram_ps
            chain = chain + fetch.transfers * self.machine.dma.descriptor_latency_ps
            rounds = np.maximum(rounds, fetch.transfers)
        return (chain + rounds * self.machine.dram.latency_ps) * self.p.batch

    def _slots(self, footprint: Footprint) -> Array:
        return np.where(footprint.tiles * self.p.batch > 1, 2.0, 1.0)

    def _psum_elements(self, order: tuple[Side, ...]) -> Array:
        """Return the elements of partial sums that wait between k tiles; 0 where k is not cut."""
        inside = order[order.index("k") + 1 :]
        block: Array = np.ones((1, 1, 1))
        for name in ("m", "n"):
            side = self.sides[name]
            block = block * (float(side.size) if name in inside else side.largest)
        waiting: Array = np.where(self.sides["k"].count > 1, block, 0.0)
        if self.array.dataflow == "os" and order[-1] == "k":  # one fold goes on over all k tiles
            waiting = np.where(self._single_fold(), 0.0, waiting)
        return waiting

    def _single_fold(self) -> Bool:
        array = self.array
        return (self.sides[self.over["rows"]].largest <= array.rows) & (
            self.sides[self.over["cols"]].largest <= array.cols
        )

    def _partial_sums(self, order: tuple[Side, ...]) -> tuple[Array, Array]:
        """Return the bytes of the partial sums' region and the bytes they move each way."""
        array = self.array
        waiting = self._psum_elements(order)
        outside = np.where(waiting > array.accumulator_elements, waiting, 0.0)
        outside = outside * self._outside_share(order)
        total = float(self.sides["m"].size * self.sides["n"].size)
        share = outside / np.maximum(waiting, 1.0)
        moved = share * (self.sides["k"].count - 1) * total
        region = outside
        if array.dataflow != "os":
            column = self.sides[self.over["streamed"]].largest * np.minimum(
                self.sides[self.over["cols"]].largest, array.cols
            )
            excess = np.maximum(0.0, column - array.accumulator_elements)
            rounds = np.maximum(0.0, self.sides["k"].row_blocks - self.sides["k"].count)
            moved = moved + np.where(column > 0, excess / column, 0.0) * rounds * total
            region = np.where((excess > 0) & (rounds > 0), np.maximum(region, excess), region)
        return region * array.psum_bytes, moved * array.psum_bytes * self.p.batch

    def _outside_share(self, order: tuple[Side, ...]) -> Array:
        """Return what of the partial sums waits outside of an accumulator that cannot hold them whole.

        See ``program.gemm_folds.parked_rows``.
        """
        array = self.array
        if array.dataflow == "os":
            return np.ones((1, 1, 1))
        cols, streamed = self.sides[self.over["cols"]], self.sides[self.over["streamed"]]
        inside = order[order.index("k") + 1 :]
        blocks = cols.blocks if self.over["cols"] in inside else np.ceil(cols.largest / array.cols)
        if self.over["streamed"] in inside:
            blocks = blocks * streamed.count
        room = array.accumulator_elements // array.cols
        whole = np.floor((room - streamed.largest) / np.maximum(1.0, blocks - 1))
        whole = np.where(blocks > 1, whole, 0.0)
        parked = np.where(self.sides["k"].largest > array.rows, whole, np.floor(room / blocks))
        return np.asarray(1 - np.clip(parked / streamed.largest, 0.0, 1.0), dtype=np.float64)

    # -- time ------------------------------------------------------------------------------------

    def _array_cycles(self, order: tuple[Side, ...]) -> Array:
        array = self.array
        rows, cols, streamed = (self.sides[self.over[x]] for x in ("rows", "cols", "streamed"))
        load = first_load(array.dataflow, array.rows)
        tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols)
        folds = rows.row_blocks * cols.blocks
        going_on = self._single_fold() if order[-1] == self.over["streamed"] else np.zeros((1, 1, 1), bool)
        if array.convention == "scale-sim":
            split = folds * (streamed.size + streamed.count * (tail + load))
            return np.where(going_on, folds * (streamed.size + tail + load), split) * self.p.batch
        period = np.where(going_on, max(array.rows, streamed.size), streamed.padded)
        return folds * period * self.p.batch + load + tail

    def _ports(self, fetched: list[_Fetch], psum: Array) -> Array:
        """Return the time of the busiest bank group's port."""
        reads: dict[str, Array] = {}
        writes: dict[str, Array] = {}
        for fetch in fetched:
            part = fetch.of.part
            _add(writes, part.group, fetch.elements * part.element_bytes * self.p.batch)
        self._array_reads(reads)
        total = float(self.sides["m"].size * self.sides["n"].size) * self.p.batch
        for footprint in self.reads:
            _add(reads, footprint.part.group, np.full((1, 1, 1), total * footprint.part.element_bytes))
        for footprint in self.writes:
            nbytes = np.full((1, 1, 1), total * footprint.part.element_bytes)
            _add(writes, footprint.part.group, nbytes)
            if footprint.part.place == "buffered":
                _add(reads, footprint.part.group, nbytes)
        _add(reads, self.p.psum_group, psum)
        _add(writes, self.p.psum_group, psum)
        zero = np.zeros((1, 1, 1))
        times = [
            port_ps(self.machine.banks[g], reads.get(g, zero), writes.get(g, zero))
            for g in sorted(set(reads) | set(writes))
        ]
        busiest: Array = np.maximum.reduce(np.broadcast_arrays(zero, *times))
        return busiest

    def _array_reads(self, reads: dict[str, Array]) -> None:
        """Add what the array reads of its two operands."""
        m, n, k = (self.sides[s] for s in SIDES)
        if self.array.dataflow == "ws":
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.count
        elif self.array.dataflow == "is":
            a, b = float(m.size * k.size) * n.count, float(k.size * n.size) * m.blocks
        else:
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.blocks
        up, down = self.p.expansion
        factor = {x: up / down if self.p.expanded == x else 1.0 for x in ("a", "b")}
        _add(reads, self.p.a.group, a * self.p.a.element_bytes * factor["a"] * self.p.batch)
        _add(reads, self.p.b.group, b * self.p.b.element_bytes * factor["b"] * self.p.batch)

    def _spill_rounds(self) -> Array:
        """Return the time of round trips of partial sums that the accumulator cannot hold within a tile.

        The next fold of the same column block begins when they are back in their bank.
        """
        array = self.array
        if array.dataflow == "os":
            return np.zeros((1, 1, 1))
        cols, streamed = self.sides[self.over["cols"]], self.sides[self.over["streamed"]]
        column = streamed.largest * np.minimum(cols.largest, array.cols)
        excess = np.maximum(0.0, column - array.accumulator_elements)
        rounds = (self.sides["k"].row_blocks - self.sides["k"].count) * cols.blocks * streamed.count
        bank = self.machine.banks[self.p.psum_group]
        beats = np.ceil(excess * array.psum_bytes / (bank.lanes * bank.word_bytes))
        tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols) * self.period
        trip = tail + beats * bank.write_cycle_ps + bank.read_latency_ps
        return np.where(excess > 0, rounds * trip, 0.0) * self.p.batch

    def _rider_cycles(self) -> Array:
        total = float(self.sides["m"].size * self.sides["n"].size) * self.p.batch
        return np.full((1, 1, 1), total * self.p.rider_rate / self.machine.vector.lanes)

    def _ends(self, fetched: list[_Fetch]) -> Array:
        """Return the first tile's fill and the last result tile's way out, which nothing hides."""
        first: Array = np.zeros((1, 1, 1))
        for footprint in (self.a, self.b):
            if footprint.part.place != "resident":
                first = first + footprint.tile * footprint.part.element_bytes * self.dram_ps
        if fetched:
            first = first + self.machine.dram.latency_ps
        return first

    def _allowed(self, order: tuple[Side, Side, Side]) -> Bool:
        """Return where the convention allows the cut: scale-sim does not split the streamed side."""
        if self.array.convention != "scale-sim":
            return np.ones((1, 1, 1), dtype=bool)
        streamed = self.over["streamed"]
        whole: Bool = self.sides[streamed].count == 1
        if order[-1] != streamed:
            return whole
        return whole | self._single_fold()

    # -- the answer ------------------------------------------------------------------------------

    def choice(
        self,
        order: tuple[Side, Side, Side],
        keep: tuple[bool, bool],
        at: tuple[int, int, int],
        time: float,
        dram: float,
        held: float,
    ) -> Choice:
        """Return the chosen combination as whole numbers."""

        def here(values: Array) -> int:
            return round(float(np.broadcast_to(values, self.shape)[at]))

        region, _ = self._partial_sums(order)
        result = self.writes[0] if self.writes else self.a
        return Choice(
            cuts=tuple(self.sides[s].list[i].cut for s, i in zip(SIDES, at, strict=True)),  # type: ignore[arg-type]
            order=order,
            keep=keep,
            slots=(here(self._slots(self.a)), here(self._slots(self.b)), here(self._slots(result))),
            tile_elements=(here(self.a.tile), here(self.b.tile), here(result.tile)),
            psum_elements=here(region) // self.array.psum_bytes,
            time_ps=round(time),
            dram_bytes=round(dram),
            buffer_bytes=round(held),
        )


def _add(into: dict[str, Array], group: str, nbytes: Array) -> None:
    into[group] = into[group] + nbytes if group in into else nbytes
