"""What every combination of cuts of one GEMM costs, its operands being where they are, as arrays.

The estimate mirrors what the machine does (docs/mapping.md): array time, each bank group's port time,
DRAM time and the riders' vector time overlap; the first tile's fill does not.
"""

from __future__ import annotations

import numpy as np

from accelsim.mapping.contention import Moved, behind_writes
from accelsim.mapping.footprint import Footprint, blocks_per_result, rows_per_result
from accelsim.mapping.leaving import Leaving
from accelsim.mapping.ports import fill_ps_per_byte, port_ps, read_ps_per_byte
from accelsim.mapping.problem import Array, Bool, Budget, Piece, Places, Where, keeps
from accelsim.mapping.serving import Serving
from accelsim.mapping.tile_shape import Flow, Shape, beside
from accelsim.mapping.traffic import Pick, Traffic
from accelsim.mapping.ways import Served
from accelsim.program.folds import fold_tail
from accelsim.resolve.machine import Machine

MOST_SLOTS = 6  # of an operand whose tiles go innermost


class Space:
    """All combinations of cuts of one problem with its operands in their places."""

    def __init__(self, machine: Machine, shape: Shape, places: Places) -> None:
        self.shape = shape
        self.p = shape.p
        self.machine = machine
        self.array = shape.array
        self.sides = shape.sides
        self.places = places
        self.read_at = (places.a, places.b, *places.reads)
        self.fill_ps = [fill_ps_per_byte(machine, at) for at in self.read_at]
        self.keeps = [(False, False)] if shape.panel else keeps(self.p, places)
        self.holds = tuple(any(k[i] for k in self.keeps) for i in (0, 1)) + (False,) * len(places.reads)
        self.size = (len(shape.orders), 1 + self.holds[0], 1 + self.holds[1], *shape.cuts)
        self.writes = [(i, shape.writes[i]) for i, at in enumerate(places.writes) if at.place == "buffered"]
        self.serving = Serving(machine, shape, places)
        self.result_blocks, self.result_rows = self._result_shape()
        self.leaving = self._leaving()
        self.panel_slots = self._panel_slots()

    def _result_shape(self) -> tuple[int, int]:
        """Return the column blocks, and the points of the streamed side, whose results leave at once."""
        buffered = [w.piece for _, w in self.writes]
        axes, burst = self.p.axes(self.shape.over["cols"]), self.machine.dma.burst_bytes
        blocks = blocks_per_result(buffered, axes, self.array.cols, burst)
        if self.shape.phases is not None:
            return blocks * self.shape.phases.at_once, 0
        sizes = [w.element_bytes for w in buffered]
        return blocks, rows_per_result(self.machine, self.array, sizes, blocks)

    def costs(self) -> tuple[Array, Array, dict[str, Array]]:
        """Return time in ps (inf: not allowed), DRAM bytes, and buffer bytes per group."""
        shape, machine = self.shape, self.machine
        fetched = [
            (i, shape.either_flow(i, at.place == "kept", self.holds[i]))
            for i, at in enumerate(self.read_at)
            if at.place != "resident"
        ]
        dram, read, transfers = self._dram(fetched)
        slots = (shape.array_ps + self._fill_chain(fetched)) / 2
        time = np.maximum(slots, shape.array_ps)
        others = [
            self.leaving.rounds_ps,
            dram * shape.dram_ps,
            read * read_ps_per_byte(machine),
            transfers * machine.dma.descriptor_latency_ps,
            np.full((1, 1, 1), shape.riders_ps),
            shape.array_ps + self._behind_writes(fetched) + self._first_passes(fetched),
            *self._panel_rounds(fetched),
        ]
        for other in others:
            time = np.maximum(time, other)
        time = self.serving.fastest(time, lambda served: self._ports(fetched, served), self._streamed)
        time = time + self._ends(bool(fetched)) + self._spill_rounds()
        allowed = shape.allowed()
        if allowed is not None:
            time = np.where(allowed, time, np.inf)
        held = self._held_as_given()
        if held is not None:
            time = np.where(held, time, np.inf)
        return time, dram, self._needs()

    def least_need(self, budget: Budget) -> dict[str, float] | None:
        """Return buffer bytes per group of the allowed combination that exceeds ``budget`` least."""
        time, _, need = self.costs()
        room = dict(zip(self.machine.banks, budget, strict=True))
        over: Array = np.where(np.isfinite(np.broadcast_to(time, self.size)), 0.0, np.inf)
        for group, nbytes in need.items():
            over = over + np.maximum(0.0, nbytes - room[group])
        best = np.unravel_index(int(over.argmin()), self.size)
        if not np.isfinite(over[best]):
            return None
        return {g: float(np.broadcast_to(n, self.size)[best]) for g, n in need.items()}

    def _held_as_given(self) -> Bool | None:
        """Return where operands are held whole and panels are as a mapping file wants it, if it wants any."""
        imposed = self.p.imposed
        if imposed is None or not (imposed.hold or imposed.panel):
            return None
        if imposed.panel is not None and self.shape.panel is None:
            return np.zeros((1,) * 6, dtype=bool)  # an operand is kept: no slots, no panels
        held = np.ones((1, 1 + self.holds[0], 1 + self.holds[1], 1, 1, 1), dtype=bool)
        if not imposed.hold:
            return held
        held[:, : -1 if self.holds[0] else None] = not self.holds[0]
        held[:, :, : -1 if self.holds[1] else None] &= not self.holds[1]
        return held

    # -- bytes -----------------------------------------------------------------------------------

    def _needs(self) -> dict[str, Array]:
        """Return buffer bytes per group."""
        need: dict[str, Array] = {}
        for i, at in enumerate(self.read_at):
            if at.place != "buffered":
                continue
            footprint = self.shape.reads[i]
            size = footprint.tile * footprint.element_bytes * self._slots(footprint)
            if self.holds[i]:
                whole = np.full((1, 1, 1), footprint.whole * footprint.element_bytes)
                size = beside(i, size, whole)
            _spread(need, at, size)
        for i, footprint in self.writes:
            nbytes = footprint.tile * self._result_share() * footprint.element_bytes
            _spread(need, self.places.writes[i], nbytes * self._result_slots(footprint))
        _add(need, self.places.psum_group, self.shape.partial_sums()[0])
        return need

    def _slots(self, footprint: Footprint) -> Array:
        most = self.panel_slots if self.shape.panel in footprint.relevant else 2
        return np.minimum(footprint.tiles * self.p.batch, most)

    def _panel_slots(self) -> Array:
        """Return the slots of an operand whose tiles go innermost.

        Fills come in order: while what a panel's tiles share is filled, those in the slots are worked on.
        """
        shape = self.shape
        if shape.panel is None:
            return np.full((1, 1, 1), 2.0)
        own, shared = sorted(shape.reads[:2], key=lambda f: shape.panel not in f.relevant)
        tile_ps, own_ps, shared_ps = (
            shape.array_ps.min(axis=0)[0, 0] / (shape.tiles * self.p.batch),
            *(
                f.tile * f.element_bytes * shape.dram_ps + self.machine.dma.descriptor_latency_ps
                for f in (own, shared)
            ),
        )
        hidden = np.maximum(tile_ps - own_ps, 1.0)
        slots = np.ceil((shared_ps + self.machine.dram.latency_ps) / hidden)
        return np.where(tile_ps > own_ps, np.clip(slots, 2, MOST_SLOTS), 2.0)

    def _result_share(self) -> Array:
        """Return what of a tile's results leaves at once: a column block, in whole rows of storage.

        Where k is cut, results come with its last tile only, and leave in parts of a column block.
        """
        over = self.shape.over
        cols, streamed = self.sides[over["cols"]], self.sides[over["streamed"]]
        share = np.minimum(1.0, (self.result_blocks * self.array.cols + cols.row) / cols.largest)
        if not self.result_rows:
            return share
        part = np.minimum(1.0, (self.result_rows + streamed.row) / streamed.largest)
        return np.asarray(np.where(self.sides["k"].count > 1, share * part, share), dtype=np.float64)

    def _result_slots(self, footprint: Footprint) -> Array:
        over = self.shape.over
        cols, streamed = self.sides[over["cols"]], self.sides[over["streamed"]]
        blocks = cols.largest > self.array.cols
        if self.result_rows:
            blocks = blocks | ((self.sides["k"].count > 1) & (streamed.largest > self.result_rows))
        return np.where((footprint.tiles * self.p.batch > 1) | blocks, 2.0, 1.0)

    def _leaving(self) -> Leaving:
        slots: Array = np.ones((1, 1, 1))
        for _, footprint in self.writes:
            slots = np.maximum(slots, self._result_slots(footprint))
        return Leaving(self.shape, self.writes, self.result_blocks, self.result_rows, slots)

    def _dram(self, fetched: list[tuple[int, Flow]]) -> tuple[Array, Array, Array]:
        """Return DRAM's bytes in whole bursts, those of them read, and the busier engine's descriptors."""
        nbytes: Array = np.zeros((1, 1, 1))
        reads: Array = np.zeros((1, 1, 1))
        writes: Array = np.zeros((1, 1, 1))
        for _, flow in fetched:
            nbytes = nbytes + flow.moved
            reads = reads + flow.transfers
        read = nbytes * self.p.batch
        for i, footprint in self.writes:
            nbytes = nbytes + self.shape.moved_by_write(i)
            writes = writes + self.leaving.number * footprint.fields
        return nbytes * self.p.batch, read, np.maximum(reads, writes) * self.p.batch

    def _fill_chain(self, fetched: list[tuple[int, Flow]]) -> Array:
        """Return the time that fills through slots take one after the other, latency included.

        With two slots a slot's round is its fill and its tile's work; two rounds overlap.
        """
        chain: Array = np.zeros((1, 1, 1))
        rounds: Array = np.zeros((1, 1, 1))
        for i, flow in fetched:
            chain = chain + flow.moved * self.fill_ps[i]
            chain = chain + flow.transfers * self.machine.dma.descriptor_latency_ps
            rounds = np.maximum(rounds, flow.transfers / self.shape.reads[i].fields)
        return (chain + rounds * self.machine.dram.latency_ps) * self.p.batch

    # -- time ------------------------------------------------------------------------------------

    def _first_passes(self, fetched: list[tuple[int, Flow]]) -> Array:
        """Return how late operands that are held whole come: while they are gone through first.

        They come two tiles ahead at most, and in the passes after the first nothing comes.
        """
        shape, dma = self.shape, self.machine.dma
        late: Array = np.zeros((1, 1, 1))
        for i, flow in fetched:
            if not (self.holds[i] or self.read_at[i].place == "kept"):
                continue
            every = shape.flow(i, False).transfers
            share = np.minimum(1.0, flow.transfers / np.maximum(every, 1.0))
            chain = flow.moved * self.fill_ps[i] + flow.transfers * dma.descriptor_latency_ps
            chain = np.maximum(chain, (chain + flow.transfers * self.machine.dram.latency_ps) / 2)
            over = np.maximum(chain * self.p.batch - share * shape.array_ps, 0.0)
            late = late + np.where(share < 1, over, 0.0)
        return late

    def _behind_writes(self, fetched: list[tuple[int, Flow]]) -> Array:
        """Return the time by which writes hold the array back at the ports of its operands."""
        at, batch, streamed = self.read_at, self.p.batch, self._streamed()
        fills: list[Moved] = [(at[i], flow.filled, flow.transfers * batch) for i, flow in fetched]
        blocks = self.sides["k"].row_blocks  # results come with the last one
        written = zip(self.places.writes, streamed[len(at) :], strict=True)
        results: list[Moved] = [(to, nbytes, blocks) for to, nbytes in written]
        results.append((Where("resident", self.places.psum_group), self.shape.partial_sums()[1], 1.0))
        return behind_writes(self.machine, self.shape.array_ps, at, fills, results, streamed)

    def _panel_rounds(self, fetched: list[tuple[int, Flow]]) -> list[Array]:
        """Return the time of a nest with panels, whose fills come in order.

        While what a panel's tiles share is filled, the tiles ahead in their slots are worked on, and no more.
        """
        shape, machine = self.shape, self.machine
        if shape.panel is None:
            return []
        inside = self.sides[shape.panel].inside
        ahead = np.minimum(self.panel_slots, inside) / inside
        rounds = self.sides["m"].rounds * self.sides["n"].rounds * self.sides["k"].rounds * self.p.batch
        time = shape.array_ps * (1 - ahead) + rounds * machine.dram.latency_ps
        for i, flow in fetched:
            share = ahead if shape.panel in shape.reads[i].relevant else 1.0
            moved, transfers = flow.moved * shape.dram_ps, flow.transfers * machine.dma.descriptor_latency_ps
            time = time + share * (moved + transfers) * self.p.batch
        return [time]

    def _ports(self, fetched: list[tuple[int, Flow]], served: Served) -> list[Array]:
        """Return the times of the bank groups' ports."""
        reads: dict[str, Array] = {}
        writes: dict[str, Array] = {}
        for i, flow in fetched:
            _spread(writes, self.read_at[i], flow.filled)
        moved = self._streamed()
        through = moved
        if self.p.runs:
            through = [
                n * self.serving.factor(i, f) for i, (n, f) in enumerate(zip(moved, served, strict=True))
            ]
        for at, nbytes in zip(self.read_at, through, strict=False):
            _spread(reads, at, nbytes)
        for i, at in enumerate(self.places.writes, start=len(self.read_at)):
            _spread(writes, at, through[i])
            if at.place == "buffered":
                _spread(reads, at, moved[i])
            if self.p.runs:
                _spread(reads, at, moved[i] * self.serving.read_first(i, served[i]))
        psum = self.shape.partial_sums()[1]
        _add(reads, self.places.psum_group, psum)
        _add(writes, self.places.psum_group, psum)
        zero = np.zeros((1, 1, 1))
        groups = sorted(set(reads) | set(writes))
        return [port_ps(self.machine.banks[g], reads.get(g, zero), writes.get(g, zero)) for g in groups]

    def traffic(self, pick: Pick) -> Traffic:
        """Return what moves where, of the combinations that ``pick`` takes from an array over all of them.

        ``costs`` comes before: it says how streams are served.
        """
        shape, batch, serving = self.shape, self.p.batch, self.serving
        found = Traffic()
        for i, at in enumerate(self.read_at):
            if at.place != "resident":
                flow = shape.either_flow(i, at.place == "kept", self.holds[i])
                for group, share in at.shares():
                    found.fill(group, i, pick(flow.filled) * share, pick(flow.moved) * batch * share)
        self._array_reads(found, pick)
        total = shape.points * batch
        for i, (at, piece) in enumerate(zip(self.places.reads, self.p.reads, strict=True), start=2):
            for group, share in at.shares():
                size = total * piece.element_bytes * share
                found.read(group, size, serving.through(i, size, pick))
        for i, (at, piece) in enumerate(
            zip(self.places.writes, self.p.writes, strict=True), start=len(self.read_at)
        ):
            for group, share in at.shares():
                size = total * piece.element_bytes * share
                found.write(group, i, size, serving.through(i, size, pick))
                if at.place == "buffered":
                    bursts = shape.moved_by_write(i - len(self.read_at))
                    found.drain(group, size, pick(bursts) * batch * share)
                if self.p.runs:
                    first = serving.taken(lambda served, i=i: serving.read_first(i, served[i]))  # type: ignore[misc]
                    found.read_first(group, size * pick(first))
        moved = pick(shape.partial_sums()[1])
        found.read(self.places.psum_group, moved)
        found.write(self.places.psum_group, len(self.read_at), moved)
        found.accumulated = pick(shape.accumulated())
        found.shifted = pick(shape.shifted()) + (moved / self.array.psum_bytes if shape.emits else 0.0)
        if self.p.runs:
            streamed = self._streamed()
            found.turned = pick(serving.taken(lambda served: serving.turned(served, streamed)))
        return found

    def _array_reads(self, found: Traffic, pick: Pick) -> None:
        """Count what the array reads of its two operands."""
        array: dict[str, Array] = {}
        through: dict[str, Array] = {}
        for i, (at, nbytes) in enumerate(zip(self.read_at[:2], self.shape.array_bytes, strict=True)):
            _spread(array, at, nbytes)
            if self.p.runs:
                factor = self.serving.taken(lambda served, i=i: self.serving.factor(i, served[i]))  # type: ignore[misc]
                _spread(through, at, nbytes * factor)
        for group, nbytes in array.items():
            found.read(group, pick(nbytes), pick(through[group]) if through else None)

    def _streamed(self) -> list[Array]:
        """Return the bytes of elements that every operand's stream carries, reads first."""
        return [*self.shape.array_bytes, *(self._point_bytes(p) for p in (*self.p.reads, *self.p.writes))]

    def _point_bytes(self, piece: Piece) -> Array:
        """Return the bytes of an operand that has an element for every result."""
        return np.full((1, 1, 1), self.shape.points * self.p.batch * piece.element_bytes)

    def _spill_rounds(self) -> Array:
        """Return the time of round trips of partial sums that the accumulator cannot hold within a tile.

        The next fold of the same column block begins when they are back in their bank.
        """
        array, shape = self.array, self.shape
        if array.dataflow == "os":
            return np.zeros((1, 1, 1))
        cols, streamed = self.sides[shape.over["cols"]], self.sides[shape.over["streamed"]]
        column = streamed.largest * np.minimum(cols.largest, array.cols)
        excess = np.maximum(0.0, column - array.accumulator_elements)
        rounds = (self.sides["k"].row_blocks - self.sides["k"].count) * cols.blocks * streamed.count
        bank = self.machine.banks[self.places.psum_group]
        beats = np.ceil(excess * array.psum_bytes / (bank.lanes * bank.word_bytes))
        tail = fold_tail(array.convention, array.dataflow, array.rows, array.cols) * shape.period
        trip = tail + beats * bank.write_cycle_ps + bank.read_latency_ps
        return np.where(excess > 0, rounds * trip, 0.0) * self.p.batch

    def _ends(self, fetched: bool) -> Array:
        """Return the first tile's fill and the last result tile's way out, which nothing hides."""
        first: Array = np.zeros((1, 1, 1))
        for footprint, at in zip(self.shape.reads, (self.places.a, self.places.b), strict=False):
            if at.place != "resident":
                first = first + footprint.tile * footprint.element_bytes * fill_ps_per_byte(self.machine, at)
        if fetched:
            first = first + self.machine.dram.latency_ps
        return first


def _spread(into: dict[str, Array], at: Where, nbytes: Array) -> None:
    """Add an operand's bytes to its group, or to those of its bit fields."""
    for group, share in at.shares():
        _add(into, group, nbytes * share)


def _add(into: dict[str, Array], group: str, nbytes: Array) -> None:
    into[group] = into[group] + nbytes if group in into else nbytes
