"""A simulated step as a list of events in order of time: fills, reads, work, writes, write-backs.

The machine tells when every access of a copy is booked, by kernel, tile and fold; the program's jobs say
what it moves, and the regions where that lies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from accelsim.geometry import Box
from accelsim.machine import Touch
from accelsim.program.array_shape import ArrayShape
from accelsim.program.jobs import Stream, TileJob
from accelsim.program.nests import Jobs
from accelsim.program.program import Binding, Kernel, Program, Region
from accelsim.train.bittrue.gemm import Block, block_of, reads_of
from accelsim.train.bittrue.kernels import GemmRun, KernelRun, UpdateRun
from accelsim.train.bittrue.words import Places, Spot

Kind = Literal["fill", "read", "work", "write", "back"]
Order = tuple[int, int, int]  # at ps; number of the booking; what comes first of one booking


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a step.

    Attributes:
        at_ps: Since the step began.
        kernel: Whose it is.
        index: Of the kernel's reads, for a read.
        spot: What is moved; None: work.
        work: What the unit does.
    """

    kind: Kind
    at_ps: int
    kernel: int
    index: int = -1
    spot: Spot | None = None
    work: Callable[[], None] | None = None


class Script:
    """Puts the events of a step together."""

    def __init__(
        self,
        program: Program,
        array: ArrayShape,
        jobs: Mapping[int, Jobs],
        runs: Sequence[KernelRun],
        places: Places,
    ) -> None:
        self._program = program
        self._array = array
        self._jobs = jobs
        self._runs = runs
        self._places = places
        self._built: dict[tuple[int, int], TileJob] = {}
        self._events: list[tuple[Order, Event]] = []

    def events(self, touches: Sequence[Touch], finishes: Mapping[int, Callable[[], None]]) -> list[Event]:
        """Return the events of a step.

        Args:
            touches: All accesses of the step, in the order in which they were booked.
            finishes: Work at the end of a kernel.
        """
        tiles: defaultdict[tuple[int, int], list[tuple[int, Touch]]] = defaultdict(list)
        last: dict[int, Order] = {}
        for number, touch in enumerate(touches):
            order = (touch.at_ps, number, 0)
            if touch.kind == "backs":
                self._add(order, self._back(touch))
            elif touch.kind == "fills":
                self._add(order, self._fill(touch))
            else:
                tiles[touch.kernel, touch.tile].append((number, touch))
                last[touch.kernel] = max(last.get(touch.kernel, order), order)
        for (kernel, tile), own in tiles.items():
            job = self._job(kernel, tile)
            if isinstance(self._runs[kernel], GemmRun):
                self._gemm(kernel, job, own)
            else:
                self._vector(kernel, job, own)
        for kernel, work in finishes.items():
            at = last[kernel]
            self._add((at[0], at[1], 1), Event("work", at[0], kernel, work=work))
        self._events.sort(key=lambda e: e[0])
        return [event for _, event in self._events]

    def _add(self, order: Order, event: Event) -> None:
        self._events.append((order, event))

    def _job(self, kernel: int, tile: int) -> TileJob:
        key = (kernel, tile)
        if key not in self._built:
            self._built[key] = self._jobs[kernel].job(tile)
        return self._built[key]

    # -- transfers -------------------------------------------------------------------------------

    def _fill(self, touch: Touch) -> Event:
        job = self._job(touch.kernel, touch.tile)
        fill = job.fills[touch.which]
        binding = self._kernel(touch).reads[fill.binding]
        spot = self._spot(binding, fill.box, fill.slot, fill.box)
        return Event("fill", touch.at_ps, touch.kernel, spot=spot)

    def _back(self, touch: Touch) -> Event:
        if touch.which >= 0:
            copy = self._program.copies[touch.which]
            return Event("back", touch.at_ps, touch.kernel, spot=self._places.whole(copy.data, copy.region))
        moved = touch.moved
        assert moved is not None
        binding = self._kernel(touch).writes[moved.binding]
        spot = self._spot(binding, moved.box, moved.slot, moved.box)
        return Event("back", touch.at_ps, touch.kernel, spot=spot)

    # -- tiles -----------------------------------------------------------------------------------

    def _gemm(self, number: int, job: TileJob, touches: list[tuple[int, Touch]]) -> None:
        """Add a GEMM tile: every block is multiplied once its operands are read, before results leave."""
        run = self._runs[number]
        assert isinstance(run, GemmRun)
        by_place: defaultdict[int, list[tuple[int, Touch]]] = defaultdict(list)
        for n, touch in touches:
            by_place[touch.place].append((n, touch))
        for places in reads_of(job.folds).values():
            own = [t for p in places for t in by_place[p]]
            narrow = block_of(run.kernel, self._array, job.tile, job.folds[places[-1]])
            multiply = None
            if narrow is not None:
                block = Block(narrow, run.a, run.b, run.c)
                multiply = _multiplies(run, block)
            self._tile(number, job, own, multiply, ("load", "streams"))

    def _vector(self, number: int, job: TileJob, touches: list[tuple[int, Touch]]) -> None:
        self._tile(number, job, touches, None, ())

    def _tile(
        self,
        number: int,
        job: TileJob,
        touches: list[tuple[int, Touch]],
        multiply: Callable[[], None] | None,
        operands: tuple[str, ...],
    ) -> None:
        """Add a tile's accesses; what was booked late of its operands is read before results are written.

        Of a column block whose results leave in parts the operands are booked with the last part.
        """
        writes = [(t.at_ps, n, 0) for n, t in touches if t.kind == "writes"]
        first = min(writes, default=None)
        latest: Order | None = None
        for n, touch in touches:
            if touch.kind == "writes":
                continue
            order = (touch.at_ps, n, 0)
            if first is not None and order >= first:
                order = (first[0], first[1], -3)
            if touch.kind in operands:
                latest = max(latest or order, order)
            self._add(order, self._read(number, job, touch))
        if multiply is not None and latest is not None:
            at = (latest[0], latest[1], latest[2] + 1)
            self._add(at, Event("work", at[0], number, work=multiply))
        evaluated: set[int] = set()
        leaving = sorted(((t.at_ps, n, 0), t) for n, t in touches if t.kind == "writes")
        for order, touch in leaving:
            if touch.place not in evaluated:
                evaluated.add(touch.place)
                work = self._evaluates(number, job)
                self._add((*order[:2], -1), Event("work", touch.at_ps, number, work=work))
            self._add(order, self._write(number, job, touch))

    def _evaluates(self, number: int, job: TileJob) -> Callable[[], None]:
        run = self._runs[number]
        if isinstance(run, UpdateRun):
            tile = dict(job.tile)
            return lambda: run.update(tile)
        return run.evaluate

    def _read(self, number: int, job: TileJob, touch: Touch) -> Event:
        stream = _stream(job, touch)
        binding = self._program.kernels[number].reads[stream.binding]
        assert stream.box is not None
        slot = job.slots.get(stream.binding, -1)
        spot = self._spot(binding, stream.box, slot, binding.operand.box(job.tile))
        return Event("read", touch.at_ps, number, stream.binding, spot)

    def _write(self, number: int, job: TileJob, touch: Touch) -> Event:
        stream = _stream(job, touch)
        binding = self._program.kernels[number].writes[stream.binding]
        assert stream.box is not None
        slot, held = -1, stream.box
        if binding.copy is None:
            result = job.result_of(touch.place)
            assert result is not None
            back = next(b for b in result.write_backs if b.binding == stream.binding)
            slot, held = back.slot, back.box
        return Event(
            "write", touch.at_ps, number, stream.binding, self._spot(binding, stream.box, slot, held)
        )

    def _spot(self, binding: Binding, box: Box, slot: int, held: Box) -> Spot:
        if binding.copy is not None:
            region: Region = self._program.copies[binding.copy].region
            return self._places.spot(binding.data, region, box, binding.operand.shape, None)
        return self._places.spot(binding.data, binding.slots[slot], box, binding.operand.shape, held)

    def _kernel(self, touch: Touch) -> Kernel:
        return self._program.kernels[touch.kernel]


def _multiplies(run: GemmRun, block: Block) -> Callable[[], None]:
    return lambda: run.multiply(block)


def _stream(job: TileJob, touch: Touch) -> Stream:
    fold = job.folds[touch.place]
    if touch.kind == "load":
        assert fold.load is not None
        return fold.load
    streams: tuple[Stream, ...] = getattr(fold, touch.kind)
    return streams[touch.which]
