"""One fold on its way through a unit: its streams, cut into steps of about one bank transaction."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.geometry import ceil_div
from accelsim.machine.drain import DrainFold
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.layout import At
from accelsim.machine.memory import Access
from accelsim.machine.state import State, What
from accelsim.machine.stream import StreamRun
from accelsim.program.folds import STEPS_AHEAD
from accelsim.program.jobs import Fold, Stream, TileJob
from accelsim.program.program import Binding


class FoldRun:
    """The reads of one fold. Created when the tile's fills are there; asks for the first steps at once."""

    def __init__(self, state: State, run: KernelRun, tile: int, place: int) -> None:
        fold = run.job(tile).folds[place]
        self.state = state
        self.run = run
        self.tile = tile
        self.place = place
        self.steps = _steps(state, run, fold)
        self.loads = [self._read(s, self.steps, "load") for s in _loads(fold)]
        self.streams = [self._read(s, self.steps, "streams") for s in fold.streams]
        self.psum: StreamRun | None = None
        self.asked_ps = state.sim.now  # the load chain takes its cycles from here on

    @property
    def job(self) -> TileJob:
        """The tile's job."""
        return self.run.job(self.tile)

    @property
    def fold(self) -> Fold:
        """The fold."""
        return self.job.folds[self.place]

    def _read(self, stream: Stream, steps: int, kind: str) -> StreamRun:
        binding = self.run.kernel.reads[stream.binding]
        at = self.run.at(self.tile, self.place, (kind, stream.binding))
        found = _stream_run(self.state, self.run, "read", binding, stream, steps, at)
        if binding.way == "unit":
            found.through_unit(self.fold.cycles)
        return found

    def request(self, step: int) -> None:
        """Ask for what the steps up to ``step`` need."""
        for stream in self.streams:
            stream.request(step)
        if self.psum is not None:
            self.psum.request(step)

    def request_load(self, share: int, of: int) -> None:
        """Ask for the stationary operand's first ``share`` of ``of`` parts."""
        for load in self.loads:
            load.request(ceil_div(self.steps * share, of) - 1)

    def loaded(self) -> Access | None:
        """Return the access that brings the stationary operand's last byte."""
        return _latest(self.loads, self.steps - 1)

    def ready(self, step: int) -> Access | None:
        """Return the latest access that brings an operand of ``step``."""
        return _latest(self.streams if self.psum is None else [*self.streams, self.psum], step)

    def read_partial_sums(self, written: DrainFold | None) -> None:
        """Begin to read the block's partial sums back, which ``written`` wrote if they may be in a buffer."""
        space, at = ("sums", written), self.run.at(self.tile, self.place, ("psum_read", 0))
        self.psum = partial_stream(self.state, self.run, "read", self.fold.psum_read, self.steps, at)
        self.psum.space = space if written is not None else None
        self.psum.request(STEPS_AHEAD)

    def close(self) -> None:
        """Book what was read."""
        fold = self.fold
        for i, (stream, moved) in enumerate(zip(self.streams, fold.streams, strict=True)):
            self._book(stream, moved, ("streams", i))
        for i, (load, moved) in enumerate(zip(self.loads, _loads(fold), strict=True)):
            self._book(load, moved, ("beside", i - 1) if i else ("load", 0))
        if self.psum is not None:
            self.psum.close()

    def _book(self, stream: StreamRun, moved: Stream, what: What) -> None:
        done = stream.close()
        if moved.box is not None:
            at = self.tile, self.place
            self.state.read_booked(self.run, at, moved.binding, what, moved.box, done)

    def drained(self, rate: int) -> DrainFold:
        """Return the way out of this fold's results."""
        fold, run, state = self.fold, self.run, self.state
        steps = self.steps
        if fold.psum_write:
            at = run.at(self.tile, self.place, ("psum_write", 0))
            writes = [partial_stream(state, run, "write", fold.psum_write, steps, at)]
            drained = DrainFold(run, self.tile, self.place, writes, [], steps, 0, partial=True)
            writes[0].space = "sums", drained
            return drained
        writes = [
            _stream_run(state, run, "write", run.kernel.writes[w.binding], w, steps, self._to(w))
            for w in fold.writes
        ]
        riders = [self._read(r, steps, "riders") for r in fold.riders]
        result = self.job.result_of(self.place)
        completes = result is not None and result.last == self.place
        drained = DrainFold(run, self.tile, self.place, writes, riders, steps, rate, completes=completes)
        for index, stream in enumerate(writes):
            stream.space = f"result {index}", drained
        return drained

    def _to(self, stream: Stream) -> At | None:
        return self.run.at(self.tile, self.place, ("writes", stream.binding))


def _loads(fold: Fold) -> tuple[Stream, ...]:
    """Return the streams of the stationary operand: of all its bit fields."""
    return (fold.load, *fold.beside) if fold.load is not None else ()


def _latest(streams: Sequence[StreamRun], step: int) -> Access | None:
    """Return the latest access that brings something of ``step``: bit fields are read in lock-step."""
    latest: Access | None = None
    for stream in streams:
        access = stream.ready(step)
        if access is not None and (latest is None or access.done_ps > latest.done_ps):
            latest = access
    return latest


def _stream_run(
    state: State, run: KernelRun, action: str, binding: Binding, stream: Stream, steps: int, at: At | None
) -> StreamRun:
    part, data = run.parts[binding.op], binding.data
    turned = data.element_bytes if binding.way == "unit" else 0
    return StreamRun(
        state,
        action,
        binding.group,
        stream.nbytes,
        steps,
        part,
        data.role,
        data.tensor,
        at,
        carried=stream.carried,
        turned=turned,
        piece=binding.fetch[0] * data.element_bytes if action == "write" and binding.fetch is not None else 0,
    )


def partial_stream(
    state: State, run: KernelRun, action: str, nbytes: int, steps: int, at: At | None = None
) -> StreamRun:
    """Return the stream of a block's partial sums to or from their region."""
    psum = run.kernel.psum
    assert psum is not None
    assert psum.region is not None
    role = run.kernel.psum_role
    tensor = f"{run.kernel.leader.op}/partial sums"
    return StreamRun(state, action, psum.region.group, nbytes, steps, run.part, role, tensor, at)


def _steps(state: State, run: KernelRun, fold: Fold) -> int:
    """Return the steps in which a fold's widest stream moves about one transaction each."""
    most = 1
    moved = [(run.kernel.reads[s.binding].group, s.nbytes) for s in (*fold.streams, *fold.riders)]
    moved += [(run.kernel.writes[s.binding].group, s.nbytes) for s in fold.writes]
    if run.kernel.psum is not None and run.kernel.psum.region is not None:
        moved.append((run.kernel.psum.region.group, max(fold.psum_read, fold.psum_write)))
    for group, nbytes in moved:
        most = max(most, ceil_div(nbytes, state.banks[group].chunk_bytes))
    return min(most, fold.cycles)
