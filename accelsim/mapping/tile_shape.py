"""What every combination of cuts of one GEMM costs wherever its operands are, all at once, as arrays.

Arrays run over (loop order, a held whole, b held whole, cuts of m, n, k); those of one order and no
held operand over the cuts alone. Dimensions along which nothing changes have size 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accelsim.geometry import DimMap, ceil_div
from accelsim.mapping.cuts import candidate_of, candidates, cut_twice, cuts_to, twice_of
from accelsim.mapping.footprint import Cuts, CutSide, Footprint, widths
from accelsim.mapping.phase_costs import PhaseCosts, whole_kernels
from accelsim.mapping.problem import ORDERS, PANEL_ORDERS, SIDES, Array, Bool, Problem
from accelsim.program.array_shape import ArrayShape
from accelsim.program.folds import first_load, fold_tail
from accelsim.program.program import Panel, Side
from accelsim.resolve.machine import Machine

DEPTHS = (1, 2, 3, 4, 8, 16)  # of tiles along k beside panels, in quarters of the array's rows
Order = tuple[Side, Side, Side]


@dataclass(frozen=True, slots=True)
class Flow:
    """What an operand brings from DRAM: bytes in whole bursts and transfers per GEMM, bytes of all GEMMs."""

    moved: Array
    transfers: Array
    filled: Array


class Shape:
    """All combinations of cuts and loop orders of one problem, ``panel`` being cut twice if it is a side."""

    def __init__(
        self, machine: Machine, array: ArrayShape, problem: Problem, panel: Side | None = None
    ) -> None:
        self.panel = panel
        self.orders = PANEL_ORDERS if panel else ORDERS
        if problem.imposed is not None and problem.imposed.order:
            self.orders = tuple(order for order in self.orders if order == problem.imposed.order)
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
        self.over: dict[str, Side] = {
            "ws": {"rows": "k", "cols": "n", "streamed": "m"},
            "is": {"rows": "k", "cols": "m", "streamed": "n"},
            "os": {"rows": "m", "cols": "n", "streamed": "k"},
        }[dataflow]  # type: ignore[assignment]
        self.sides: dict[Side, CutSide] = {
            s: CutSide(problem, s, quantum[s], array.rows, self._cuts(s, quantum[s])) for s in SIDES
        }
        self.cuts = tuple(len(self.sides[s].list) for s in SIDES)
        self.reads = [Footprint(problem, r, self.sides) for r in (problem.a, problem.b, *problem.reads)]
        self.writes = [Footprint(problem, w, self.sides) for w in problem.writes]
        self.tiles = self.sides["m"].count * self.sides["n"].count * self.sides["k"].count
        self.points = float(self.sides["m"].size * self.sides["n"].size * problem.together)
        self.phases = PhaseCosts(problem, array, self.sides) if problem.decomposed else None
        self.array_ps = self._per_order(lambda order: self._array_cycles(order) * self.period)
        self.least_array_ps = float(self.array_ps.min())
        self.riders_ps = self.points * problem.batch * problem.rider_rate / machine.vector.lanes * self.period
        self._bursts: dict[tuple[str, int], Array] = {}
        self._flows: dict[tuple[int, bool], Flow] = {}
        self._least: dict[tuple[str, int], float] = {}
        self._sums: tuple[Array, Array] | None = None

    def _cuts(self, side: Side, quantum: int) -> Cuts:
        """Return the candidates of one side.

        Beside panels only what may keep the array's rate is of use: tiles of a whole array, thin along k.
        """
        axes, array = self.p.axes(side), self.array
        imposed = self.p.imposed
        given = imposed.cut(side) if imposed is not None else None
        if given is not None:
            if imposed is not None and imposed.panel is not None and side == self.panel:
                return Cuts.twice((twice_of(axes, imposed.panel.cut, given),))
            return Cuts.once((candidate_of(axes, given),) if axes else candidates(axes, 1))
        if self.panel is None:
            found = candidates(axes, quantum)
            return Cuts.once(whole_kernels(axes, found) if self.p.decomposed and side == "k" else found)
        if side == "k":
            return Cuts.once(cuts_to(axes, [max(1, array.rows * d // 4) for d in DEPTHS]))
        burst = self._points_per_burst(side)
        if side != self.panel:
            return Cuts.once(candidates(axes, max(burst, quantum // 4), self._width(side)))
        grain = math.lcm(burst, quantum)
        return Cuts.twice(cut_twice(axes, ceil_div(self._width(side), grain) * grain, grain))

    def _width(self, side: Side) -> int:
        return self.array.cols if side == self.over["cols"] else self.array.rows

    def _points_per_burst(self, side: Side) -> int:
        """Return the points of a side that make a whole burst of every operand, where rows run along it."""
        names = {a.name for a in self.p.axes(side)}
        pieces = (self.p.a, self.p.b, *self.p.writes)
        inner = [p for p in pieces if p.operand.dims and p.operand.dims[-1].axis in names]
        burst = 8 * self.machine.dma.burst_bytes
        return max((ceil_div(burst, bits) for p in inner for bits in p.streams()), default=1)

    def _per_order(self, values: Callable[[Order], Array]) -> Array:
        """Return ``values`` of every loop order, stacked."""
        return _stacked([values(order) for order in self.orders])

    def may_be_cut_twice(self, side: Side) -> bool:
        """Return whether a side has more than one tile's worth of points, and k is long enough to be cut."""
        return self.sides[side].size > self._width(side) and self.sides["k"].size > self.array.rows

    def panel_at(self, cuts: tuple[int, ...]) -> Panel | None:
        """Return the panels of one combination of cuts."""
        if self.panel is None:
            return None
        return Panel(side=self.panel, cut=self.sides[self.panel].panels[cuts[SIDES.index(self.panel)]])

    # -- operands --------------------------------------------------------------------------------

    def bursts(self, kind: str, index: int) -> Array:
        """Return what short rows of a read or written operand cost; see ``Footprint.burst_factor``."""
        key = (kind, index)
        if key not in self._bursts:
            footprint = (self.reads if kind == "read" else self.writes)[index]
            self._bursts[key] = footprint.burst_factor(self.p, self.sides, self.machine.dma.burst_bytes)
        return self._bursts[key]

    def flow(self, index: int, once: bool) -> Flow:
        """Return what a read operand brings, tile by tile or ``once`` as a whole."""
        key = (index, once)
        if key not in self._flows:
            footprint = self.reads[index]
            if once:
                elements = np.full((1, 1, 1), footprint.whole / self.p.batch)
                transfers = footprint.tiles
            else:
                times = self._per_order(lambda order: footprint.again(order, self.sides))
                elements, transfers = footprint.once * times, footprint.tiles * times
            nbytes = elements * footprint.element_bytes
            transfers = transfers * footprint.fields
            self._flows[key] = Flow(nbytes * self.bursts("read", index), transfers, nbytes * self.p.batch)
        return self._flows[key]

    def either_flow(self, index: int, once: bool, or_held: bool) -> Flow:
        """Return ``flow``, and beside it, for a and b that may be held, that of holding it whole."""
        flow = self.flow(index, once)
        if not or_held:
            return flow
        held = self.flow(index, True)
        return Flow(
            beside(index, flow.moved, held.moved),
            beside(index, flow.transfers, held.transfers),
            beside(index, flow.filled, held.filled),
        )

    def moved_by_write(self, index: int) -> Array:
        """Return the bytes, in whole bursts, that a written operand moves per GEMM."""
        footprint = self.writes[index]
        return footprint.once * (footprint.element_bytes * self.bursts("write", index))

    def least_moved(self, kind: str, index: int) -> float:
        """Return the least bytes that an operand moves to or from DRAM, all GEMMs together."""
        key = (kind, index)
        if key not in self._least:
            if kind == "read":
                least = min(float(self.flow(index, once).moved.min()) for once in (False, True))
            else:
                least = float(self.moved_by_write(index).min())
            self._least[key] = least * self.p.batch
        return self._least[key]

    @cached_property
    def expansion(self) -> Array | float:
        """What the array reads of the expanded operand, as a share of what it takes."""
        if self.p.window is None:
            return 1.0
        reads, of = self.p.window.reads(self._width_in_tile)
        return reads / of

    @cached_property
    def array_bytes(self) -> tuple[Array, Array]:
        """The bytes that the array reads of its two operands."""
        m, n, k = (self.sides[s] for s in SIDES)
        if self.array.dataflow == "ws":
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.count
        elif self.array.dataflow == "is":
            a, b = float(m.size * k.size) * n.count, float(k.size * n.size) * m.blocks
        else:
            a, b = float(m.size * k.size) * n.blocks, float(k.size * n.size) * m.blocks
        if self.phases is not None:
            a, b = self.phases.reads()
        a, b = a * self.p.together, b * self.p.together
        factor = {x: self.expansion if self.p.expanded == x else 1.0 for x in ("a", "b")}
        return (
            a * self.p.a.element_bytes * factor["a"] * self.p.batch,
            b * self.p.b.element_bytes * factor["b"] * self.p.batch,
        )

    def _width_in_tile(self, dim: DimMap, size: int) -> Array:
        beside = self.p.together if self.p.groups and dim.axis == self.p.groups[-1].name else 1
        return widths(self.p, self.sides, dim, size) * beside

    def single_fold(self) -> Bool:
        """Return where a tile is one fold."""
        array = self.array
        if self.p.decomposed:
            return np.zeros((1, 1, 1), bool)
        return (self.sides[self.over["rows"]].largest <= array.rows) & (
            self.sides[self.over["cols"]].largest <= array.cols
        )

    def _array_cycles(self, order: Order) -> Array:
        array = self.array
        rows, cols, streamed = (self.sides[self.over[x]] for x in ("rows", "cols", "streamed"))
        load = first_load(array.dataflow, array.rows)
        tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols)
        if self.phases is not None:
            return self.phases.cycles(load + tail) * self.p.batch + load + tail
        folds = rows.row_blocks * cols.blocks
        along = order[-1] == self.over["streamed"] and not self.panel
        going_on = self.single_fold() if along else np.zeros((1, 1, 1), bool)
        if array.convention == "scale-sim":
            split = folds * (streamed.size + streamed.count * (tail + load))
            return np.where(going_on, folds * (streamed.size + tail + load), split) * self.p.batch
        period = np.where(going_on, max(array.rows, streamed.size), streamed.padded)
        return folds * period * self.p.batch + load + tail

    @property
    def emits(self) -> bool:
        """Whether results, not operands, pass through the array's registers."""
        return self.array.dataflow == "os"

    def accumulated(self) -> Array:
        """Return the read-modify-writes of the accumulator, those of spilled partial sums included."""
        k = self.sides["k"]
        points = self.points * self.p.batch
        if not self.emits:
            return points * k.row_blocks
        return self._per_order(lambda order: np.where(self._psum_elements(order) > 0, points * k.count, 0.0))

    def shifted(self) -> Array:
        """Return the elements that pass through the array's registers: stationary ones, or results."""
        if self.emits:
            return np.full((1, 1, 1), self.points * self.p.batch)
        rows, cols, streamed = (self.sides[self.over[x]] for x in ("rows", "cols", "streamed"))
        every = float(rows.size * cols.size) * self.p.batch
        again = every * streamed.count

        def of(order: Order) -> Array:
            along = order[-1] == self.over["streamed"] and not self.panel
            return np.where(self.single_fold(), every, again) if along else again

        return self._per_order(of)

    def allowed(self) -> Bool | None:
        """Return where the convention allows the cut: scale-sim does not split the streamed side."""
        if self.array.convention != "scale-sim":
            return None
        streamed = self.over["streamed"]
        whole: Bool = self.sides[streamed].count == 1
        if self.panel or self.phases is not None:
            return whole
        orders = [whole | self.single_fold() if o[-1] == streamed else whole for o in self.orders]
        return _stacked(orders).astype(bool)

    # -- partial sums ----------------------------------------------------------------------------

    def partial_sums(self) -> tuple[Array, Array]:
        """Return the bytes of the partial sums' region and the bytes they move each way, per order."""
        if self._sums is None:
            pairs = [self.partial_sums_of(order) for order in self.orders]
            self._sums = _stacked([p[0] for p in pairs]), _stacked([p[1] for p in pairs])
        return self._sums

    def partial_sums_of(self, order: Order) -> tuple[Array, Array]:
        """Return ``partial_sums`` of one loop order, over the cuts alone."""
        array = self.array
        waiting = self._psum_elements(order)
        outside = np.where(waiting > array.accumulator_elements, waiting, 0.0)
        outside = outside * self._outside_share(order)
        share = outside / np.maximum(waiting, 1.0)
        moved = share * (self.sides["k"].count - 1) * self.points
        region = outside
        if array.dataflow != "os":
            column = self.sides[self.over["streamed"]].largest * np.minimum(
                self.sides[self.over["cols"]].largest * self.p.together, array.cols
            )
            excess = np.maximum(0.0, column - array.accumulator_elements)
            rounds = np.maximum(0.0, self.sides["k"].row_blocks - self.sides["k"].count)
            moved = moved + np.where(column > 0, excess / column, 0.0) * rounds * self.points
            region = np.where((excess > 0) & (rounds > 0), np.maximum(region, excess), region)
        return region * array.psum_bytes, moved * array.psum_bytes * self.p.batch

    def _psum_elements(self, order: Order) -> Array:
        """Return the elements of partial sums that wait between k tiles; 0 where k is not cut."""
        inside = order[order.index("k") + 1 :]
        block: Array = np.ones((1, 1, 1))
        for name in ("m", "n"):
            side = self.sides[name]
            block = block * (float(side.size) if name in inside else side.waiting)
        block = block * self.p.together
        waiting: Array = np.where(self.sides["k"].count > 1, block, 0.0)
        if self.array.dataflow == "os" and order[-1] == "k" and not self.panel:
            waiting = np.where(self.single_fold(), 0.0, waiting)  # one fold goes on over all k tiles
        return waiting

    def _outside_share(self, order: Order) -> Array:
        """Return what of the partial sums waits outside of an accumulator that cannot hold them whole.

        See ``program.gemm_folds.parked_rows``.
        """
        array = self.array
        if array.dataflow == "os":
            return self._outside_share_of_rows(order)
        cols, streamed = self.sides[self.over["cols"]], self.sides[self.over["streamed"]]
        inside = order[order.index("k") + 1 :]
        blocks = np.ceil(cols.largest / array.cols) * cols.inside
        if self.over["cols"] in inside:
            blocks = cols.blocks
        blocks = blocks * (streamed.count if self.over["streamed"] in inside else streamed.inside)
        room = array.accumulator_elements // array.cols
        whole = np.floor((room - streamed.largest) / np.maximum(1.0, blocks - 1))
        whole = np.where(blocks > 1, whole, 0.0)
        parked = np.where(self.sides["k"].largest > array.rows, whole, np.floor(room / blocks))
        return np.asarray(1 - np.clip(parked / streamed.largest, 0.0, 1.0), dtype=np.float64)

    def _outside_share_of_rows(self, order: Order) -> Array:
        """Return ``_outside_share`` where outputs are stationary: rows of m are parked, in all columns."""
        m, n = self.sides["m"], self.sides["n"]
        inside = order[order.index("k") + 1 :]
        cols = np.full((1, 1, 1), float(n.size)) if "n" in inside else n.waiting
        cols = cols * self.p.together
        parked = np.floor(self.array.accumulator_elements / (cols * (m.count if "m" in inside else m.inside)))
        return np.asarray(1 - np.clip(parked / m.largest, 0.0, 1.0), dtype=np.float64)


def _stacked(arrays: list[Array] | list[Bool]) -> Array:
    """Return arrays over the cuts, one per order, as one array over all dimensions."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    stacked = np.empty((len(arrays), 1, 1, *shape))
    for i, one in enumerate(arrays):
        stacked[i, 0, 0] = one
    return stacked


def beside(index: int, free: Array, held: Array) -> Array:
    """Return values of operand ``index`` (0: a, 1: b) when fetched tile by tile, and when held whole."""
    free, held = (x if x.ndim == 6 else x[None, None, None] for x in (free, held))
    pair = np.broadcast_arrays(free, held)
    return np.concatenate(pair, axis=1 + index)
