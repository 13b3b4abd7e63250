"""What one tile of a kernel asks of the machine: fills, folds, write-backs."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from accelsim.geometry import Box, Range, Tile
from accelsim.program.program import Binding


@dataclass(slots=True, frozen=True)
class Transfer:
    """One DMA descriptor: a box of a binding between DRAM and a bank region.

    ``slot`` is the buffer's index, or -1 for the copy itself; ``ordinal`` counts the transfers through the
    binding's slots. ``runs`` rows of ``run_bytes`` each lie
    contiguous in DRAM. ``wait_tile`` is the tile of this kernel that must be done first, or -1.
    """

    binding: int
    box: Box
    slot: int
    nbytes: int
    runs: int
    run_bytes: int
    wait_tile: int = -1
    ordinal: int = -1


@dataclass(slots=True, frozen=True)
class Base:
    """What the tiles before some tile have counted up to: where its job's numbers begin.

    ``filled`` and ``written`` count per read and per write binding.
    """

    tiles: int
    fills: int
    results: int
    backs: int
    filled: tuple[int, ...]
    written: tuple[int, ...]

    def plus(self, other: Base, times: int = 1) -> Base:
        """Return the sum with ``times`` as much as ``other``."""
        return Base(
            self.tiles + other.tiles * times,
            self.fills + other.fills * times,
            self.results + other.results * times,
            self.backs + other.backs * times,
            tuple(a + b * times for a, b in zip(self.filled, other.filled, strict=True)),
            tuple(a + b * times for a, b in zip(self.written, other.written, strict=True)),
        )


@dataclass(slots=True, frozen=True)
class Stream:
    """Bytes of a binding that a fold moves through a bank port; ``box`` is what the records book.

    ``unfolded`` are the bytes that are read from a line buffer instead; 0: there is none between.
    ``carried`` are the bytes of elements among them, where words are not used whole; 0: all.
    """

    binding: int
    nbytes: int
    box: Box | None
    unfolded: int = 0
    carried: int = 0


@dataclass(slots=True, frozen=True)
class Fold:
    """One stretch of work of the executing unit.

    Attributes:
        cycles: Cycles of streaming.
        least: Least cycles of streaming before another fold may begin: its stationary tile's load.
        gap: Cycles between this fold's stream and the next fold's, in any case.
        load: Stationary operand; ``load_cycles`` to shift it in. ``beside``: its further bit fields.
        streams: Operands read along the way.
        continues: The stationary operand is the fold before's: nothing is loaded, the stream goes on.
        emit: Elements that leave; along the stream, or from its end on if ``emit_at_end``.
        writes, riders: Results written and rider operands read as they leave; empty unless final.
        psum_read, psum_write: Bytes of partial sums from and to the block's region.
        block: Key of the block whose partial sums these are.
        macs: Useful and padded multiply-accumulates alike; what the array's cells do.
        accumulations: Read-modify-writes of the accumulator.
        result: The part of the tile whose results are complete with this fold; None: none yet.
    """

    cycles: int
    least: int = 0
    gap: int = 0
    load: Stream | None = None
    beside: tuple[Stream, ...] = ()
    load_cycles: int = 0
    streams: tuple[Stream, ...] = ()
    continues: bool = False
    emit: int = 0
    emit_at_end: bool = False
    writes: tuple[Stream, ...] = ()
    riders: tuple[Stream, ...] = ()
    psum_read: int = 0
    psum_write: int = 0
    block: tuple[int, ...] = ()
    macs: int = 0
    accumulations: int = 0
    vector_pass: int = -1
    result: Tile | None = None

    def shape(self, of_reads: bool = True) -> tuple[object, ...]:
        """Return all of it but where its boxes lie; unless ``of_reads``, nor the lengths of read ones."""
        read = _shape if of_reads else _moved
        return (
            self.cycles,
            self.least,
            self.gap,
            read(self.load) if self.load is not None else None,
            tuple(map(read, self.beside)),
            self.load_cycles,
            tuple(map(read, self.streams)),
            self.continues,
            self.emit,
            self.emit_at_end,
            tuple(map(_shape, self.writes)),
            tuple(map(read, self.riders)),
            self.psum_read,
            self.psum_write,
            self.macs,
            self.accumulations,
            self.vector_pass,
            _lengths(tuple(self.result.values())) if self.result is not None else None,
        )


def _shape(stream: Stream) -> tuple[object, ...]:
    box = stream.box
    lengths = _lengths(box) if box is not None else None
    return stream.binding, stream.nbytes, lengths, stream.unfolded, stream.carried


def _moved(stream: Stream) -> tuple[object, ...]:
    return stream.binding, stream.nbytes, stream.box is not None, stream.unfolded, stream.carried


def stream_of(binding: Binding, index: int, nbytes: int, box: Box | None, unfolded: int = 0) -> Stream:
    """Return the stream of ``nbytes`` of a binding's elements."""
    if binding.fetch is None:
        return Stream(index, nbytes, box, unfolded)
    return Stream(index, binding.stream_bytes(nbytes), box, unfolded, nbytes)


def _lengths(box: Box) -> tuple[int, ...]:
    return tuple(high - low for low, high in box)


@dataclass(slots=True)
class Result:
    """A part of a tile's results that leaves at once: a column block, or a slab.

    Attributes:
        number: Counts the kernel's results from 0.
        first, last: The folds that produce it, by their place in the tile.
        write_backs: What is written back once it is complete.
        write_backs_needed: The kernel's write-backs that must have ended before it may be written, as
            it uses their slots again.
    """

    number: int
    first: int
    last: int
    write_backs: list[Transfer]
    write_backs_needed: int


@dataclass(slots=True)
class TileJob:
    """One tile: what must be filled for it, what it computes, what results leave it.

    ``fills_needed`` counts the kernel's fills up to and including this tile's.
    """

    index: int
    fills: list[Transfer] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    fills_needed: int = 0
    slots: dict[int, int] = field(default_factory=dict)  # read binding -> slot that holds its box
    holds: dict[int, int] = field(default_factory=dict)  # read binding -> ordinal of the fill in that slot
    tile: dict[str, Range] = field(default_factory=dict)
    fold_kinds: list[int] = field(default_factory=list)
    result_ends: list[int] = field(default_factory=list)

    @property
    def kinds(self) -> list[int]:
        """Numbers per fold: folds of equal number are alike in all but the boxes that they read.

        Boxes of one length read alike, and so do those that cut a tile unevenly: bytes and cycles count.
        """
        if len(self.fold_kinds) != len(self.folds):
            seen: dict[tuple[object, ...], int] = {}
            shapes: dict[int, int] = {}  # of folds, which may be one object several times over
            for fold in self.folds:
                if id(fold) not in shapes:
                    shapes[id(fold)] = seen.setdefault(fold.shape(of_reads=False), len(seen))
            numbers: dict[tuple[object, ...], int] = {}
            self.fold_kinds = [
                numbers.setdefault((shapes[id(fold)], *self.within(place)), len(numbers))
                for place, fold in enumerate(self.folds)
            ]
        return self.fold_kinds

    def within(self, place: int) -> tuple[object, ...]:
        """Return whether a fold begins or ends its result, and how large that result is."""
        result = self.result_of(place)
        if result is None:
            return ()
        return place == result.first, result.last == place, *(b.nbytes for b in result.write_backs)

    def result_of(self, place: int) -> Result | None:
        """Return the result that the fold at ``place`` belongs to."""
        if len(self.result_ends) != len(self.results):
            self.result_ends = [r.last for r in self.results]
        at = bisect_left(self.result_ends, place)
        if at == len(self.results) or place < self.results[at].first:
            return None
        return self.results[at]

    @property
    def write_backs(self) -> list[Transfer]:
        """All write-backs of the tile's results, in order."""
        return [w for r in self.results for w in r.write_backs]
