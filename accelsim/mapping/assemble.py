"""From the chosen plan to the program: copies, regions, bindings, write-backs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from accelsim.geometry import Axis, Operand, Range, ceil_div, volume
from accelsim.graph.ir import Graph, Op, Pass
from accelsim.mapping.allocate import Allocator
from accelsim.mapping.books import Books, CopyDraft, allocate_pinned, finished, make_books
from accelsim.mapping.cuts import follows_side, free_elements, lengths
from accelsim.mapping.footprint import blocks_per_result, rows_per_result
from accelsim.mapping.im2col import expansion, window_of
from accelsim.mapping.kernels import Draft
from accelsim.mapping.lies import Lies
from accelsim.mapping.planner import Plan, Planned, Planner
from accelsim.mapping.problem import Part
from accelsim.mapping.variants import channels_together, is_decomposed, phases_at_once
from accelsim.program.array_shape import OVER_COLS, STREAMED
from accelsim.program.program import (
    Binding,
    Cut,
    Kernel,
    OpPart,
    Place,
    Program,
    Psum,
    Region,
    Side,
    VectorPass,
)
from accelsim.program.ranges import extent, part, tile_count, tiles_of
from accelsim.resolve.machine import Machine


def assemble(
    graph: Graph, machine: Machine, planner: Planner, plan: Plan, capacity: Mapping[str, int], cold: bool
) -> Program:
    """Return the program of ``plan``."""
    books = make_books(planner, plan, cold)
    space = {g: Allocator(g, capacity[g], machine.banks[g].word_bytes) for g in machine.banks}
    allocate_pinned(books, space)
    kernels = [_Assembly(machine, planner, books, space, p).kernel() for p in plan.kernels]
    return Program(
        name=graph.name,
        kernels=tuple(kernels),
        copies=tuple(finished(c) for c in books.copies),
        capacity_bytes=dict(capacity),
        peak_bytes={g: s.peak for g, s in space.items()},
        cold=cold,
        estimate_ps=plan.time_ps,
        estimate_dram_bytes=plan.dram_bytes,
        planned_capacity_bytes=dict(plan.capacity),
    )


class _Assembly:
    """One kernel: its regions are taken when it begins and given back when it ends."""

    def __init__(
        self, machine: Machine, planner: Planner, books: Books, space: dict[str, Allocator], planned: Planned
    ) -> None:
        self.machine = machine
        self.planner = planner
        self.books = books
        self.space = space
        self.planned = planned
        self.draft: Draft = planned.draft
        self.op: Op = planned.draft.leader
        self.index = planned.draft.index
        self.sides = _sides(self.op)
        self.cuts = self._cuts()
        self.im2col = self._im2col()
        self.lies = Lies(planned, machine, self.sides, self.cuts, self.im2col.get("expansion", (1, 1)))
        self._buffers: list[Region] = []

    def kernel(self) -> Kernel:
        """Return the kernel with every operand in its place."""
        for copy in self.books.begin.get(self.index, ()):
            if copy.region is None:
                copy.region, copy.free_after = self.space[copy.group].take(copy.life.data.nbytes)
        reads = Laid([self._read(i) for i in range(len(self.draft.reads))])
        writes = Laid([self._write(i) for i in range(len(self.draft.writes))])
        kernel = self._kernel(reads, writes)
        for region in self._buffers:
            self.space[region.group].give(region, self.index)
        for copy in self.books.end.get(self.index, ()):
            if copy.carried_from is None and copy.takes_over is None:
                assert copy.region is not None
                self.space[copy.group].give(copy.region, self.index)
        return kernel

    def _kernel(self, laid: Laid, written: Laid) -> Kernel:
        reads, writes = laid.bindings, written.bindings
        gemm, tile = self.op.gemm, self.planned.tile
        return Kernel(
            index=self.index,
            unit="pe_array" if gemm else "vector",
            parts=tuple(_op_part(op, _walks(self.draft, op)) for op in self.draft.ops),
            sums=tuple(_op_part(op, _walks(None, op)[:1]) for op in self.draft.sums),
            sides=self.sides,
            cuts=self.cuts,
            order=("batch", *tile.order) if tile else ("m",),
            reads=reads,
            writes=writes,
            rider_reads=laid.all_of(self.draft.rider_reads),
            functions=self._rider_functions(),
            passes=self._passes(laid, written),
            separable=self.op.vector.separable if self.op.vector else 0,
            panel=tile.panel if tile else None,
            result_blocks=self._result_blocks(),
            result_rows=self._result_rows(),
            psum=self._psum(),
            psum_role=writes[0].data.role if writes else "activation",
            expanded=gemm.expanded if gemm else None,
            decomposed=gemm is not None and is_decomposed(gemm, self.machine),
            **self.im2col,
            mac_format=reads[0].data.element_format if gemm else "fp32",
            further=laid.further(2) if gemm else (),
            write_back=tuple(self.books.write_back.get(self.index, ())),
            estimate_ps=self.planned.time_ps,
            estimate_dram_bytes=self.planned.dram_bytes,
        )

    def _im2col(self) -> dict[str, tuple[int, int]]:
        gemm = self.op.gemm
        if gemm is None:
            return {}
        expanded = self.planned.reads["ab".index(gemm.expanded or "a")]
        window = window_of(gemm, expanded.element_bytes, self.machine)
        if window is None:
            return {}
        share = expansion(window, self.sides, self.cuts)
        return {"expansion": share, "unfolding": window.columns_read}

    def _cuts(self) -> dict[Side, Cut]:
        if self.planned.slab is not None:
            return {"m": self.planned.slab.cut}
        assert self.planned.tile is not None
        m, n, k = self.planned.tile.cuts
        assert self.op.gemm is not None
        together = channels_together(self.op.gemm, self.machine)
        batch = Cut(axis=max(0, len(self.sides["batch"]) - 1), step=together)
        return {"batch": batch, "m": m, "n": n, "k": k}

    def _take(self, group: str, nbytes: int) -> tuple[Region, int]:
        region, since = self.space[group].take(nbytes)
        self._buffers.append(region)
        return region, since

    def _psum(self) -> Psum | None:
        tile = self.planned.tile
        if tile is None or (tile.psum_elements == 0 and self._k_tiles() == 1):
            return None
        if tile.psum_elements == 0:
            return Psum(region=None)
        nbytes = tile.psum_elements * self.machine.accumulator.element_bytes
        region, since = self._take(self.planned.psum_group, nbytes)
        return Psum(region=region, free_after=since)

    def _k_tiles(self) -> int:
        return tile_count(self.sides["k"], self.cuts["k"])

    # -- operands --------------------------------------------------------------------------------

    def _bindings(self, index: int) -> list[Binding]:
        """Return operand ``index``, reads first, or its bit fields, as bindings without places."""
        operand, op = (*self.draft.reads, *self.draft.writes)[index]
        part = (*self.planned.reads, *self.planned.writes)[index]
        lives = self.planner.fields.of(operand.tensor)
        bindings = [
            Binding(operand=operand, data=life.data, op=op, place="resident", group=group)
            for life, group in zip(lives, part.groups, strict=True)
        ]
        return [self.lies.served_as(binding, index) for binding in bindings]

    def _read(self, index: int) -> list[Binding]:
        part = self.planned.reads[index]
        found = [self._read_one(b, part, index) for b in self._bindings(index)]
        return [self.planner.dwells.in_time(b, self.index, self.books.last_of(b, self.index)) for b in found]

    def _read_one(self, binding: Binding, part: Part, index: int) -> Binding:
        name = binding.data.key
        copy = self.books.copy_at(name, self.index)
        if part.place != "buffered":
            assert copy is not None
            draft = self.books.copies[copy]
            place: Place = "kept" if draft.origin == "filled" and draft.first == self.index else "resident"
            return replace(
                binding,
                place=place,
                copy=copy,
                free_after=draft.free_after if place == "kept" else -1,
                ready_after=self.books.ready_after.get(name, -1),
            )
        binding = replace(
            binding,
            place="buffered",
            copy_class=f"{name}@{binding.group}/{self.op.name}",
            parent_class=self.books.dram_class.get(name, ""),
            ready_after=self.books.ready_after.get(name, -1),
        )
        if self._held_whole(index):
            return self._hold(binding)
        operand = binding.operand
        size = binding.data.bytes_of(self._tile_elements(operand))
        return self._buffer(binding, self._read_slots(index, operand), size)

    def _held_whole(self, index: int) -> bool:
        if self.planned.tile is not None:
            return index < 2 and self.planned.tile.keep[index]
        assert self.planned.slab is not None
        return index in self.planned.slab.keep

    def _hold(self, binding: Binding) -> Binding:
        """Hold a whole operand for the kernel only."""
        life = self.planner.fields.lives[binding.data.key]
        region, since = self._take(binding.group, life.data.nbytes)
        copy = CopyDraft(
            life, binding.group, binding.copy_class, binding.parent_class, "filled", "dropped", self.index, -1
        )
        copy.region = region
        number = self.books.add(copy)
        return replace(binding, place="kept", copy=number, free_after=since)

    def _read_slots(self, index: int, operand: Operand) -> int:
        if self.planned.slab is not None:
            return self.planned.slab.read_slots[index]
        assert self.planned.tile is not None
        panel = self.planned.tile.panel
        most = 2
        if panel is not None and follows_side(operand, self.sides[panel.side]):
            most = self.planned.tile.panel_slots
        return min(most, self._tiles(operand))

    def _write(self, index: int) -> list[Binding]:
        part = self.planned.writes[index]
        bindings = self._bindings(len(self.draft.reads) + index)
        return [self._write_one(b, part, index) for b in bindings]

    def _write_one(self, binding: Binding, part: Part, index: int) -> Binding:
        operand, name = binding.operand, binding.data.key
        if part.place != "buffered":
            copy = self.books.copy_at(name, self.index)
            assert copy is not None
            return replace(binding, copy=copy, free_after=self.books.copies[copy].free_after)
        binding = replace(binding, place="buffered", copy_class=f"{name}@buffer")
        slab = self.planned.slab
        if slab is not None:
            whole, bits = slab.write_bytes[index], binding.data.bits
            size = ceil_div(whole * bits, 8 * binding.data.element_bytes) if bits else whole
            return self._buffer(binding, slab.write_slots[index], size)
        elements, blocks = self._result_elements(operand)
        slots = 2 if self._tiles(operand) * blocks > 1 else 1
        return self._buffer(binding, slots, binding.data.bytes_of(elements))

    def _result_elements(self, operand: Operand) -> tuple[int, int]:
        """Return the elements of the largest result of a GEMM, and how many a tile has."""
        ends = [tiles_of(self.sides[s], self.cuts[s]) for s in self.sides]
        most = results = 1
        for pick in (0, -1):
            tile = {name: r for tiles in ends for name, r in tiles[pick].items()}
            parts = [p for column in self._columns(tile) for p in self._stretches(column)]
            most = max(most, *(volume(operand.box(p)) for p in parts))
            results = max(results, len(parts))
        return most, results

    def _columns(self, tile: dict[str, Range]) -> list[dict[str, Range]]:
        axes = self.sides[OVER_COLS[self.planner.array.dataflow]]
        return _parts(axes, tile, self.planner.array.cols * self._result_blocks())

    def _stretches(self, column: dict[str, Range]) -> list[dict[str, Range]]:
        rows = self._result_rows()
        axes = self.sides[STREAMED[self.planner.array.dataflow]]
        return _parts(axes, column, rows) if rows else [column]

    def _result_blocks(self) -> int:
        if self.op.gemm is None:
            return 1
        axes = self.sides[OVER_COLS[self.planner.array.dataflow]]
        burst = self.machine.dma.burst_bytes
        blocks = blocks_per_result(self._leaving(), axes, self.planner.array.cols, burst)
        return blocks * phases_at_once(self.op.gemm, self.machine)

    def _result_rows(self) -> int:
        if self.op.gemm is None or self._k_tiles() == 1 or is_decomposed(self.op.gemm, self.machine):
            return 0
        sizes = [w.element_bytes for w in self._leaving()]
        return rows_per_result(self.machine, self.planner.array, sizes, self._result_blocks())

    def _leaving(self) -> list[Part]:
        return [w for w in self.planned.writes if w.place == "buffered"]

    def _buffer(self, binding: Binding, slots: int, size: int) -> Binding:
        taken = [self._take(binding.group, size) for _ in range(slots)]
        return replace(binding, slots=tuple(r for r, _ in taken), free_after=max(since for _, since in taken))

    def _tiles(self, operand: Operand) -> int:
        """Return how many different tiles of ``operand`` there are."""
        batch = math.prod(a.size for a in self.sides["batch"])
        counts = [
            tile_count(axes, self.cuts[side])
            for side, axes in self.sides.items()
            if side != "batch" and follows_side(operand, axes)
        ]
        return batch * math.prod(counts)

    def _tile_elements(self, operand: Operand) -> int:
        total = free_elements(operand, list(self.sides.values()))
        for side, axes in self.sides.items():
            if follows_side(operand, axes):
                total *= lengths(operand, axes, self.cuts[side])[1]
        return total

    # -- work ------------------------------------------------------------------------------------

    def _rider_functions(self) -> tuple[tuple[int, str, int], ...]:
        found = []
        for i, op in enumerate(self.draft.ops):
            if i and op.vector is not None:
                found += [(i, f, c) for p in op.vector.passes for f, c in p.functions]
        for i, op in enumerate(self.draft.sums, start=len(self.draft.ops)):
            assert op.vector is not None
            found += [(i, f, c) for f, c in op.vector.passes[0].functions]
        return tuple(found)

    def _passes(self, laid: Laid, written: Laid) -> tuple[VectorPass, ...]:
        if self.op.vector is None:
            return ()
        return tuple(
            VectorPass(reads=laid.all_of(reads), writes=written.all_of(writes), functions=walk.functions)
            for walk, reads, writes in zip(
                self.draft.walks, self.draft.pass_reads, self.draft.pass_writes, strict=True
            )
        )


class Laid:
    """The bindings of a kernel's operands, in their order; further bit fields come after all of them."""

    def __init__(self, operands: list[list[Binding]]) -> None:
        self._places: list[tuple[int, ...]] = []
        further: list[Binding] = []
        for index, (_, *others) in enumerate(operands):
            first = len(operands) + len(further)
            self._places.append((index, *range(first, first + len(others))))
            further += others
        self.bindings = (*(first for first, *_ in operands), *further)

    def all_of(self, indices: Iterable[int]) -> tuple[int, ...]:
        """Return the indices of operands, each followed by those of its further fields."""
        return tuple(place for index in indices for place in self._places[index])

    def further(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Return the indices of further fields of the first ``count`` operands; (): there are none."""
        found = tuple(places[1:] for places in self._places[:count])
        return found if any(found) else ()


def _parts(axes: tuple[Axis, ...], tile: dict[str, Range], width: int) -> list[dict[str, Range]]:
    """Return ``tile`` in stretches of ``width`` points along one side."""
    found = (part(axes, tile, i, width) for i in range(ceil_div(extent(axes, tile), width)))
    return [p for p in found if p is not None]


def _sides(op: Op) -> dict[Side, tuple[Axis, ...]]:
    if op.gemm is not None:
        return {"batch": op.gemm.batch, "m": op.gemm.m, "n": op.gemm.n, "k": op.gemm.k}
    assert op.vector is not None
    return {"m": op.vector.axes}


def _walks(draft: Draft | None, op: Op) -> tuple[Pass, ...]:
    """Return the passes of an op that its kernel walks; without one, all."""
    if draft is not None and op is draft.leader:
        return draft.walks
    return op.vector.passes if op.vector is not None else ()


def _op_part(op: Op, walks: tuple[Pass, ...]) -> OpPart:
    if op.vector is None:
        return OpPart(
            op=op.name, layer=op.layer, phase=op.phase, kind="gemm", macs=op.macs, elements=0, functions=()
        )
    elements = math.prod(a.size for a in op.vector.axes)
    counts: dict[str, int] = {}
    for walk in walks:
        for function, count in walk.functions:
            counts[function] = counts.get(function, 0) + count
    return OpPart(
        op=op.name,
        layer=op.layer,
        phase=op.phase,
        kind="vector",
        macs=0,
        elements=elements,
        functions=tuple(sorted(counts.items())),
    )
