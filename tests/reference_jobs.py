"""From a kernel to its tile jobs: pure enumeration, the same for the DMA, the array and the tests."""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.geometry import Box, Range, Tile, ceil_div, run_length, volume
from accelsim.program.array_shape import STREAMED, ArrayShape
from accelsim.program.fills import AHEAD
from accelsim.program.gemm_folds import GemmTile, gemm_folds
from accelsim.program.jobs import Fold, Result, Stream, TileJob, Transfer
from accelsim.program.nests import follows
from accelsim.program.parking import parked_rows
from accelsim.program.program import Binding, Kernel
from accelsim.program.ranges import tiles_of, tiles_per_panel
from tests.nest_walk import nest


def transfer(binding: Binding, index: int, box: Box, slot: int, wait_tile: int = -1) -> Transfer:
    """Return the descriptor that moves ``box`` of ``binding``."""
    size = binding.data.element_bytes
    run = max(1, run_length(box, binding.operand.shape))
    elements = volume(box)
    return Transfer(index, box, slot, elements * size, ceil_div(elements, run), run * size, wait_tile)


class _Filler:
    """The fills of one read binding, tile after tile."""

    def __init__(self, index: int, binding: Binding) -> None:
        self.index = index
        self.binding = binding
        self._box: Box | None = None
        self._filled: dict[Box, int] = {}
        self._count = 0
        self._last_use: dict[int, int] = {}  # slot -> tile that read it last

    def fill(self, tile_index: int, tile: Tile) -> Transfer | None:
        """Return what must be filled for the tile, or None when it is there already."""
        if self.binding.place == "resident":
            return None
        if self.binding.place == "kept":
            return self._keep(tile_index, tile)
        box = self.binding.operand.box(tile)
        slot = self._count % len(self.binding.slots)
        if box == self._box or not volume(box):
            self._last_use[(self._count - 1) % len(self.binding.slots)] = tile_index
            return None
        job = transfer(self.binding, self.index, box, slot, self._last_use.get(slot, -1))
        self._box, self._count = box, self._count + 1
        self._last_use[slot] = tile_index
        return job

    def _keep(self, tile_index: int, tile: Tile) -> Transfer | None:
        """Fill each element once: rows that windows share belong to the first tile that needs them."""
        operand = self.binding.operand
        box = list(operand.box(tile))
        shared = [i for i, d in enumerate(operand.dims) if d.kind in ("window", "inverse")]
        for i in shared[1:]:
            box[i] = (0, operand.shape[i])
        if not shared:
            whole = tuple(box)
            if self._filled.setdefault(whole, 0) or not volume(whole):
                return None
            self._filled[whole] = 1
            return transfer(self.binding, self.index, whole, -1, max(-1, tile_index - AHEAD))
        axis = shared[0]
        key = tuple(r for i, r in enumerate(box) if i != axis)
        done = self._filled.get(key, 0)
        size, dim = operand.shape[axis], operand.dims[axis]
        end = size if tile[dim.axis][1] >= self.last[dim.axis] else box[axis][1]
        if end <= done:
            return None
        self._filled[key] = end
        box[axis] = (done, end)
        return transfer(self.binding, self.index, tuple(box), -1, max(-1, tile_index - AHEAD))

    @property
    def slot(self) -> int:
        """The slot that holds the box in use."""
        return (self._count - 1) % max(1, len(self.binding.slots))

    last: dict[str, int]


class _Writer:
    """Slots and write-backs of one written binding."""

    def __init__(self, index: int, binding: Binding) -> None:
        self.index = index
        self.binding = binding
        self.count = 0

    def write_back(self, tile: Tile) -> Transfer | None:
        """Return the write-back of one finished result tile, or None if it stays in its copy."""
        if self.binding.place != "buffered":
            return None
        box = self.binding.operand.box(tile)
        slot = self.count % len(self.binding.slots)
        self.count += 1
        return transfer(self.binding, self.index, box, slot) if volume(box) else None


def tile_jobs(
    kernel: Kernel, array: ArrayShape, vector_cycles: dict[str, int], lanes: int
) -> Iterator[TileJob]:
    """Yield the tile jobs of ``kernel`` in order."""
    if kernel.unit == "pe_array":
        yield from _gemm_jobs(kernel, array)
    else:
        yield from _vector_jobs(kernel, vector_cycles, lanes)


def _fillers(kernel: Kernel) -> list[_Filler]:
    sizes = {a.name: a.size for axes in kernel.sides.values() for a in axes}
    fillers = [_Filler(i, b) for i, b in enumerate(kernel.reads)]
    for filler in fillers:
        filler.last = sizes
    return fillers


class _Results:
    """The results of a kernel as they leave, with their slots."""

    def __init__(self, kernel: Kernel) -> None:
        self.writers = [_Writer(i, b) for i, b in enumerate(kernel.writes)]
        depths = [len(b.slots) for b in kernel.writes if b.place == "buffered"]
        self.depth = min(depths, default=0)
        self.written: list[int] = []  # write-backs issued up to and including each result

    def add(self, job: TileJob, first: int, last: int, parts: dict[int, Tile]) -> None:
        """Add a result of ``job``: the part of the tile per write binding."""
        number, issued = len(self.written), self.written[-1] if self.written else 0
        needed = self.written[number - self.depth] if self.depth and number >= self.depth else 0
        backs = [b for b in (self.writers[w].write_back(t) for w, t in parts.items()) if b]
        job.results.append(Result(number, first, last, backs, needed))
        self.written.append(issued + len(backs))

    def add_columns(self, job: TileJob) -> None:
        """Add the results of a GEMM tile: one per column block that ends."""
        first = 0
        for place, fold in enumerate(job.folds):
            if fold.result is not None:
                self.add(job, first, place, dict.fromkeys(range(len(self.writers)), fold.result))
                first = place + 1


def _gemm_jobs(kernel: Kernel, array: ArrayShape) -> Iterator[TileJob]:
    fillers, results = _fillers(kernel), _Results(kernel)
    parked = parked_rows(kernel, array)
    fills = 0
    places = list(nest(kernel))
    for index, (tile, at, counts) in enumerate(places):
        job = TileJob(index)
        job.fills = [f for f in (x.fill(index, tile) for x in fillers) if f]
        if kernel.panel is not None:  # what a panel's tiles share comes first
            own = {a.name for a in kernel.sides[kernel.panel.side]}
            dims = [r.operand.dims for r in kernel.reads]
            job.fills.sort(key=lambda f: any(d.axis in own for d in dims[f.binding]))
        fills += len(job.fills)
        job.fills_needed = fills
        job.slots = {x.index: x.slot for x in fillers}
        neighbours = [places[i][1] if 0 <= i < len(places) else {} for i in (index - 1, index + 1)]
        neighbours = [n if n and _go_on(kernel, array, n, at) else {} for n in neighbours]
        job.folds = gemm_folds(kernel, array, _place_in_nest(array, tile, at, counts, neighbours), parked)
        results.add_columns(job)
        yield job


def _go_on(kernel: Kernel, array: ArrayShape, one: dict[str, int], other: dict[str, int]) -> bool:
    """Return whether a stream may go on between neighbours: inside a panel only, along its side."""
    if kernel.panel is None:
        return True
    along = kernel.panel.side == STREAMED[array.dataflow]
    return along and _panel_of(kernel, one) == _panel_of(kernel, other)


def _panel_of(kernel: Kernel, at: dict[str, int]) -> int:
    """Return which panel a tile lies in."""
    panel = kernel.panel
    assert panel is not None
    sizes = tiles_per_panel(kernel.sides[panel.side], kernel.cuts[panel.side], panel.cut)
    return next(i for i in range(len(sizes)) if at[panel.side] < sum(sizes[: i + 1]))


def _place_in_nest(
    array: ArrayShape,
    tile: dict[str, Range],
    at: dict[str, int],
    counts: dict[str, int],
    neighbours: list[dict[str, int]],
) -> GemmTile:
    streamed = STREAMED[array.dataflow]
    before, after = ({s for s in at if other.get(s) != at[s]} == {streamed} for other in neighbours)
    return GemmTile(
        tile,
        block=(at["batch"], at["m"], at["n"]),
        first=at["k"] == 0,
        final=at["k"] == counts["k"] - 1,
        same=before,
        same_next=after,
    )


def _vector_jobs(kernel: Kernel, cycles: dict[str, int], lanes: int) -> Iterator[TileJob]:
    slabs = tiles_of(kernel.sides["m"], kernel.cuts["m"])
    whole = {a.name: (0, a.size) for a in kernel.sides["m"]}
    fillers, results = _fillers(kernel), _Results(kernel)
    fills = 0
    index = 0
    for number, walk in enumerate(kernel.passes):
        riding = number == len(kernel.passes) - 1
        reads = walk.reads + (kernel.rider_reads if riding else ())
        extra = tuple((f, c) for _, f, c in kernel.functions) if riding else ()
        rate = sum(cycles.get(f, 1) * c for f, c in walk.functions + extra)
        for i, slab in enumerate(slabs):
            job = TileJob(index)
            job.fills = [f for f in (fillers[r].fill(index, slab) for r in reads) if f]
            fills += len(job.fills)
            job.fills_needed = fills
            job.slots = {r: fillers[r].slot for r in reads}
            ends = i == len(slabs) - 1
            out: dict[int, Tile] = {
                w: slab if follows(kernel.writes[w], kernel) else whole for w in walk.writes
            }
            ready = {w: t for w, t in out.items() if t is slab or ends}
            job.folds = [_vector_fold(kernel, slab, reads, ready, number, max(1, rate), lanes)]
            if ready:
                results.add(job, 0, 0, ready)
            yield job
            index += 1


def _vector_fold(
    kernel: Kernel,
    slab: Tile,
    reads: tuple[int, ...],
    ready: dict[int, Tile],
    number: int,
    rate: int,
    lanes: int,
) -> Fold:
    points = volume(tuple(slab.values()))
    cycles = max(1, ceil_div(points, lanes) * rate)
    return Fold(
        cycles=cycles,
        streams=tuple(_stream(kernel.reads[r], r, slab) for r in reads),
        emit=points,
        writes=tuple(_stream(kernel.writes[w], w, t) for w, t in ready.items()),
        vector_pass=number,
    )


def _stream(binding: Binding, index: int, tile: Tile) -> Stream:
    box = binding.operand.box(tile)
    return Stream(index, volume(box) * binding.data.element_bytes, box)
