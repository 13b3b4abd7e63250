"""Kernels on real numbers: what one tile job reads from banks, computes and writes into banks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from accelsim.geometry import Box, Operand, volume
from accelsim.graph.ir import Graph, Op
from accelsim.program.array_shape import ArrayShape
from accelsim.program.jobs import Result, Stream, TileJob, Transfer
from accelsim.program.nests import follows
from accelsim.program.program import Binding, Data, Kernel, Program, Region
from tests.interpreter.feed import Words
from tests.interpreter.gemm import PartialSums, apart, gather, phases_in, result_places, side_by_side
from tests.interpreter.lookup import picks, places_in_tensor
from tests.interpreter.memory import Banks, BoundOperand, Dram, Hazard, Numbers, Places, torchs_places
from tests.interpreter.ops import call
from tests.interpreter.planes import carried_by, joined
from tests.nest_walk import nest

K = TypeVar("K", bound=Hashable)


class Memories:
    """What all kernels of a program share."""

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph = graph
        self.program = program
        self.banks = Banks(program.capacity_bytes)
        bindings = [b for k in program.kernels for b in (*k.reads, *k.writes)]
        self.twins = {b.data.tensor: b.data for b in bindings if b.data.twin_of}
        sizes = {name: t.elements for name, t in graph.tensors.items()}
        sizes |= {name: sizes[data.twin_of] for name, data in self.twins.items()}
        self.dram = Dram(sizes, _split(program))
        self.regions: list[Region] = [c.region for c in program.copies]
        self.ops = {op.name: op for op in graph.ops}
        self.made: dict[str, Numbers] = {}  # every result as it was computed, written or not
        self.seen: dict[tuple[str, str], Numbers] = {}  # (op, tensor): what its sums took as it drained
        self.paths: Counter[str] = Counter()  # which ways of the program were taken, for the tests
        self.words: Words | None = None  # if operands are to come word by word

    def blank(self, tensor: str) -> Numbers:
        """Return a tensor without a single known number."""
        return np.full(self.graph.tensors[tensor].elements, np.nan)

    def known(self, among: dict[K, Numbers], key: K, tensor: str) -> Numbers:
        """Return what is known of a tensor ``among`` others; nothing yet, if it is not among them."""
        if key not in among:
            among[key] = self.blank(tensor)
        return among[key]

    def note(self, tensor: str, places: Places, values: Numbers) -> None:
        """Remember results as they were computed."""
        self.known(self.made, tensor, tensor)[places] = values

    def evict(self, index: int) -> None:
        """Write a whole copy back to DRAM."""
        copy = self.program.copies[index]
        places = np.arange(volume(tuple((0, s) for s in copy.data.shape)))
        what = f"write-back of copy {copy.copy_class}"
        self.to_dram(copy.data, copy.region, places, torchs_places(copy.data), what)
        self.paths["eviction"] += 1

    def to_dram(self, data: Data, region: Region, places: Places, into: Places, what: str) -> None:
        """Move elements at ``places`` of a region into DRAM."""
        if data.bits:
            self.dram.write_field(data, into, self.banks.read_field(region, data, places, what))
            self.paths["bit field"] += 1
        else:
            self.dram.write(data.tensor, into, self.banks.read(region, data.element_bytes, places, what))

    def to_bank(self, data: Data, region: Region, places: Places, of: Places, what: str) -> None:
        """Move elements of a tensor from DRAM to ``places`` of a region."""
        if data.bits:
            self.banks.write_field(region, data, places, self.dram.read_field(data, of, what))
            self.paths["bit field"] += 1
        else:
            values = self.dram.read(data.tensor, of, what)
            self.banks.write(region, data.element_bytes, places, values)

    def put(self, data: Data, region: Region, places: Places, values: Numbers) -> None:
        """Write numbers, or their bit field, to ``places`` of a region."""
        if data.bits:
            self.banks.write_field(region, data, places, carried_by(data, values))
        else:
            self.banks.write(region, data.element_bytes, places, values)

    def get(self, fields: list[tuple[Data, Region]], places: Places, what: str) -> Numbers:
        """Return numbers at ``places``, which lie whole in one region or by bit field in several."""
        (data, region), *_ = fields
        if not data.bits:
            return self.banks.read(region, data.element_bytes, places, what)
        return joined([(d, self.banks.read_field(r, d, places, what)) for d, r in fields])


def _split(program: Program) -> dict[str, Data]:
    """Return the bit fields of all tensors that are split, by their keys."""
    bound = [b.data for k in program.kernels for b in (*k.reads, *k.writes)]
    return {data.key: data for data in (*bound, *(c.data for c in program.copies)) if data.bits}


class KernelRun:
    """One kernel: its transfers and its tile jobs, carried out one by one as a schedule says."""

    def __init__(
        self, memories: Memories, kernel: Kernel, jobs: list[TileJob], ops: Mapping[str, Op]
    ) -> None:
        self.mem = memories
        self.kernel = kernel
        self.jobs = jobs
        self.ops = [ops[p.op] for p in kernel.parts]
        self.summing = [ops[p.op] for p in kernel.sums]
        self._by_name = {op.name: op for op in (*self.ops, *self.summing)}
        self._filled: dict[tuple[int, int], int] = {}
        self.made: dict[int, Numbers] = {}  # write binding -> its tensor, as far as the tile made it
        self._fields: dict[tuple[str, Box], list[BoundOperand]] = {}  # read so far, of split tensors

    def fill(self, job: Transfer) -> None:
        """Move a box from DRAM into its slot or copy."""
        binding = self.kernel.reads[job.binding]
        bound = self._bound(binding, job.box, job.slot)
        what = f"fill for {self.kernel.leader.op}"
        self.mem.to_bank(bound.data, bound.region, self._places(bound), self._flat(bound), what)
        self._count_fill(job, binding)

    def _count_fill(self, job: Transfer, binding: Binding) -> None:
        times = self._filled[job.binding, job.slot] = self._filled.get((job.binding, job.slot), 0) + 1
        self.mem.paths["kept fill" if binding.place == "kept" else "fill"] += 1
        if binding.place == "buffered" and times > 1:
            self.mem.paths["slot filled again"] += 1
        if binding.data.phase is not None and binding.ready_after >= 0:
            self.mem.paths["refill of a result"] += 1

    def write_back(self, job: Transfer) -> None:
        """Move a result's box from its slot to DRAM."""
        binding = self.kernel.writes[job.binding]
        bound = self._bound(binding, job.box, job.slot)
        what = f"write-back of {self.kernel.leader.op}"
        self.mem.to_dram(bound.data, bound.region, bound.places(), bound.flat(), what)
        self.mem.paths["write-back"] += 1

    def compute(self, job: TileJob) -> None:
        """Carry out one tile."""
        raise AssertionError(f"no unit computes {job}")

    def write(self, job: TileJob, result: Result) -> None:
        """Write one of the results that ``compute`` has made: to its slot, or box by box to its copy."""
        for fold in job.folds[result.first : result.last + 1]:
            for stream in fold.writes:
                if self.kernel.writes[stream.binding].place != "buffered" and stream.box is not None:
                    self._write(stream.binding, stream.box, -1)
        for back in result.write_backs:
            self._write(back.binding, back.box, back.slot)

    def _bound(self, binding: Binding, box: Box, slot: int) -> BoundOperand:
        return BoundOperand(binding, box, slot, self.mem.regions)

    def _read(self, index: int, box: Box, job: TileJob, into: dict[str, Numbers]) -> None:
        """Read a box of read ``index`` from its bank into ``into``; bit fields when the last one is read."""
        binding = self.kernel.reads[index]
        bound = self._bound(binding, box, self._slot(index, job))
        values = self._values(bound, self._places(bound))
        if values is not None:
            name = binding.data.original
            self.mem.known(into, name, name)[self._flat(bound)] = values

    def _values(self, bound: BoundOperand, places: Places) -> Numbers | None:
        """Return the numbers of an operand; None: they are a bit field, and others must be read first."""
        what, fields = f"{self.kernel.leader.op} reads {bound.data.tensor}", [bound]
        if bound.data.bits:
            fields = self._fields.setdefault((bound.data.tensor, bound.box), [])
            fields.append(bound)
            if sum(f.data.bits for f in fields) < 8 * bound.data.element_bytes:
                return None
            del self._fields[bound.data.tensor, bound.box]
        return self.mem.get([(f.data, f.region) for f in fields], places, what)

    def _slot(self, index: int, job: TileJob) -> int:
        """Return the slot that holds what ``job`` reads of read ``index``; -1 if that is in a copy."""
        return job.slots.get(index, 0) if self.kernel.reads[index].copy is None else -1

    def _flat(self, bound: BoundOperand) -> Places:
        """Return where in its tensor every element is that ``bound`` touches."""
        op = self._by_name[bound.binding.op]
        return places_in_tensor(self.mem.graph, self.mem.dram, op, bound)

    def _places(self, bound: BoundOperand) -> Places:
        """Return where in its region every element is that ``bound`` touches."""
        picked = not bound.packed and picks(self._by_name[bound.binding.op], bound)
        return self._flat(bound) if picked else bound.places()

    def _write(self, index: int, box: Box, slot: int) -> None:
        """Write a box of a computed tensor to where write ``index`` goes."""
        if not volume(box):
            return
        binding = self.kernel.writes[index]
        values = self.made[index]
        bound = self._bound(binding, box, slot)
        part = values[bound.flat()]
        if np.isnan(part).any():
            raise Hazard(f"{binding.data.tensor}: {int(np.isnan(part).sum())} elements were not computed")
        self.mem.put(bound.data, bound.region, bound.places(), part)
        self.mem.note(binding.data.original, bound.flat(), part)
        if binding.copy is not None and self.mem.program.copies[binding.copy].takes_over is not None:
            self.mem.paths["update in place"] += 1

    def _ride(self, points: dict[str, Numbers]) -> None:
        """Apply the riders to the leader's results, all in ``points`` by name."""
        for op in self.ops[1:]:
            self._apply(op, points)
            self.mem.paths["rider"] += 1

    def _see(self, points: dict[str, Numbers]) -> None:
        """Let the sums of the next kernel take what drains, each element once."""
        for op in self.summing:
            assert op.vector is not None
            for tensor in dict.fromkeys(op.inputs[i].tensor for i in op.vector.passes[0].reads):
                if tensor not in points:
                    continue
                seen = self.mem.known(self.mem.seen, (op.name, tensor), tensor)
                there = ~np.isnan(points[tensor])
                if points[tensor].size == self._sizes(op) and not np.isnan(seen[there]).all():
                    raise Hazard(f"{op.name}: {tensor} drains twice")
                seen[there] = points[tensor][there]
            self.mem.paths["sums on a drain"] += 1

    def _sizes(self, op: Op) -> int:
        return max(self.mem.graph.tensors[o.tensor].elements for o in op.inputs)

    def _apply(self, op: Op, points: dict[str, Numbers]) -> None:
        for operand, values in zip(op.outputs, call(self.mem.graph, op, points), strict=True):
            points[operand.tensor] = values


class GemmRun(KernelRun):
    """A GEMM and its riders on the PE array."""

    def __init__(
        self,
        memories: Memories,
        kernel: Kernel,
        jobs: list[TileJob],
        ops: Mapping[str, Op],
        array: ArrayShape,
    ) -> None:
        super().__init__(memories, kernel, jobs, ops)
        self.nest = list(nest(kernel))
        self.sums = PartialSums(kernel, array, memories.banks)
        self._result: Numbers | None = None
        self._used: Places = np.zeros(0, dtype=np.int64)  # where the last tile's results are in it

    def compute(self, job: TileJob) -> None:
        """Multiply a tile; with the final k tile, let the riders ride and write the results."""
        tile, at, counts = self.nest[job.index]
        a = self._operand(0, job, "m", "k")
        b = self._operand(1, job, "k", "n")
        a, b = side_by_side(self.kernel, self.sums.array, tile, a, b)
        phases = phases_in(self.kernel, tile, *a.shape)
        total = self.sums.multiply(at, counts["k"], a, b, phases)
        total = apart(self.kernel, self.sums.array, tile, total)
        self._count(counts)
        if at["k"] < counts["k"] - 1:
            return
        c = self.ops[0].outputs[0]
        places = result_places(self.kernel, c.dims, c.shape, tile)
        points = {c.tensor: self._blank(c.tensor)}
        points[c.tensor][places] = total.ravel()
        self._used = places
        for index in self.kernel.rider_reads:
            self._read(index, self.kernel.reads[index].operand.box(tile), job, points)
        self._ride(points)
        self._see(points)
        for index, binding in enumerate(self.kernel.writes):
            self.made[index] = points[binding.data.original]

    def _blank(self, tensor: str) -> Numbers:
        """Return the result's tensor without a known number; without riders the last tile's, wiped."""
        if self._result is None or len(self.ops) > 1:
            self._result = self.mem.blank(tensor)
        else:
            self._result[self._used] = np.nan
        return self._result

    def _operand(self, index: int, job: TileJob, rows: str, cols: str) -> Numbers:
        tile = self.nest[job.index][0]
        fields = (index, *self.kernel.further[index]) if self.kernel.further else (index,)
        box = self.kernel.reads[index].operand.box(tile)
        bounds = [self._bound(self.kernel.reads[i], box, self._slot(i, job)) for i in fields]
        image = self.kernel.expanded == ("a", "b")[index]

        def read(places: Places, what: str) -> Numbers:
            return self.mem.get([(b.data, b.region) for b in bounds], places, what)

        return gather(self.kernel, read, bounds[0], tile, rows, cols, image)  # type: ignore[arg-type]

    def _count(self, counts: dict[str, int]) -> None:
        self.mem.paths["gemm tile"] += 1
        if counts["k"] > 1:
            self.mem.paths["k cut"] += 1
        if self.sums.moved:
            self.mem.paths["partial sums in a bank"] += 1
            self.sums.moved = 0
        if self.kernel.expanded:
            self.mem.paths["im2col"] += 1


class VectorRun(KernelRun):
    """A vector nest and its riders, slab by slab and pass by pass.

    What follows the slabs is computed from the reads of its own slab; a reduction, and what a pass makes
    of an earlier pass's reductions, from all that has been read so far, each time through the banks.
    """

    def __init__(
        self, memories: Memories, kernel: Kernel, jobs: list[TileJob], ops: Mapping[str, Op]
    ) -> None:
        super().__init__(memories, kernel, jobs, ops)
        self.so_far: dict[str, Numbers] = {}
        leader = self.ops[0].vector
        self.summed = leader is not None and len(leader.passes) > len(kernel.passes)

    def compute(self, job: TileJob) -> None:
        """Read a slab, and write what is ready."""
        (fold,) = job.folds
        slab: dict[str, Numbers] = {}
        for stream in fold.streams:
            assert stream.box is not None
            self._read(stream.binding, stream.box, job, slab)
        self._remember(slab)
        self.mem.paths["slab"] += 1
        whole: dict[str, Numbers] | None = None
        own = self._evaluated(slab) if fold.writes else {}
        for stream in fold.writes:
            points = own
            if not self._is_complete(stream, own):
                whole = whole or self._evaluated(self.so_far)
                points = whole
            self.made[stream.binding] = points[self.kernel.writes[stream.binding].data.original]
        if self.summing and fold.vector_pass == len(self.kernel.passes) - 1:
            self._see(self._drained(fold.writes, slab))
        if job.index == len(self.jobs) - 1:
            self._note_unwritten()

    def _drained(self, writes: tuple[Stream, ...], slab: dict[str, Numbers]) -> dict[str, Numbers]:
        """Return what is at hand as a slab's results drain: these, and what was read."""
        points = dict(slab)
        for stream in writes:
            assert stream.box is not None
            binding = self.kernel.writes[stream.binding]
            name, there = binding.data.original, self._bound(binding, stream.box, 0).flat()
            points[name] = self.mem.blank(name)
            points[name][there] = self.made[stream.binding][there]
        return points

    def _remember(self, slab: dict[str, Numbers]) -> None:
        for tensor, values in slab.items():
            known = self.mem.known(self.so_far, tensor, tensor)
            both = ~np.isnan(values) & ~np.isnan(known)
            if not np.array_equal(values[both], known[both]):
                raise Hazard(f"{self.kernel.leader.op} reads two different {tensor}")
            np.copyto(known, values, where=~np.isnan(values))

    def _evaluated(self, held: dict[str, Numbers]) -> dict[str, Numbers]:
        points = {name: values.copy() for name, values in held.items()}
        for (op, tensor), seen in self.mem.seen.items() if self.summed else ():
            if op == self.ops[0].name:
                known = points.setdefault(tensor, seen.copy())
                both = ~np.isnan(known)
                if not np.array_equal(known[both], seen[both]):
                    raise Hazard(f"{op} sums up another {tensor} than it reads")
                points[tensor] = seen.copy()
        self._apply(self.ops[0], points)
        self._ride(points)
        return points

    def _is_complete(self, stream: Stream, own: dict[str, Numbers]) -> bool:
        """Return whether the slab's own reads make the whole box that is written."""
        binding = self.kernel.writes[stream.binding]
        if not follows(binding, self.kernel) or self.summed:
            return False
        if len(self.kernel.passes) == 1:
            return True  # if it is not, writing it raises
        assert stream.box is not None
        bound = self._bound(binding, stream.box, 0)
        return not np.isnan(own[binding.data.original][bound.flat()]).any()

    def _note_unwritten(self) -> None:
        """Remember results that nobody keeps, such as the loss."""
        written = {b.data.original for b in self.kernel.writes}
        dropped: list[Operand] = [o for o in self.ops[0].outputs if o.tensor not in written]
        if dropped:
            points = self._evaluated(self.so_far)
            for operand in dropped:
                self.mem.note(operand.tensor, np.arange(points[operand.tensor].size), points[operand.tensor])
