"""One kernel on its way through the machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from accelsim.geometry import Box
from accelsim.machine.layout import At
from accelsim.machine.places import Key, Places
from accelsim.program.codes import Int
from accelsim.program.jobs import Base, TileJob
from accelsim.program.nests import Jobs
from accelsim.program.program import Binding, Data, Kernel
from accelsim.sim import Counter, Sim
from accelsim.trace.copies import CopyKey, Histogram, RowKey, Sums, TrackedCopy
from accelsim.trace.recorder import Part
from accelsim.words import Phase, StallReason


@dataclass(slots=True)
class FillTimes:
    """When a fill was issued, its last data arrived from DRAM, and what its last bank write waited for.

    ``woken_ps`` is when the words were awake for which that write waited ``wake_ps``, the last of its wait.
    """

    issued_ps: int
    arrived_ps: int = 0
    done_ps: int = 0
    cause: StallReason | None = None
    woken_ps: int = 0
    wake_ps: int = 0


class Numbers:
    """Numbers of folds and of what is written back: equal ones are alike, in all kernels that share these."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], int] = {}  # by the tile's signature and the fold's place
        self._seen: dict[tuple[object, ...], int] = {}

    def of(self, signature: int, place: int, about: tuple[object, ...]) -> int:
        """Return the number of what is ``about`` that, and remember where it is."""
        return self.known.setdefault((signature, place), self._seen.setdefault(about, len(self._seen)))


class Alike:
    """What alike kernels share: how their folds are numbered, and the loops that they went through.

    Loops of tiles by the state, those of folds by the tile's signature and the state.
    """

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.tiles: dict[Any, Any] = {}
        self.folds: dict[int, dict[Any, Any]] = {}


SlotKey = tuple[bool, int, int]  # written?, binding, ordinal of the transfer
REMEMBERED = 64  # jobs that a kernel's processes may come back to


class KernelRun:
    """One kernel on its way: its tile jobs and how far its fills, tiles and write-backs have come.

    Tiles, fills, results and write-backs are counted as the processes have seen them: without those that
    were skipped, which ``start`` sums up.
    """

    def __init__(
        self,
        sim: Sim,
        kernel: Kernel,
        jobs: Jobs,
        places: Places | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        self.kernel = kernel
        self.jobs = jobs
        self.places = places  # None: no bank serves by address
        self.start = Base(0, 0, 0, 0, (0,) * len(kernel.reads), (0,) * len(kernel.writes))
        self.fills = Counter(sim)  # finished, as a prefix in order of issue
        self.consumed = Counter(sim)  # tiles whose leader's operands have been read
        self.tiles = Counter(sim)  # tiles whose results, too, are through
        self.results = Counter(sim)  # complete in their banks
        self.write_backs = Counter(sim)
        self.fill_times: list[FillTimes] = []
        self.parts = parts_of(kernel)
        self.where = _places(kernel)  # by the binding's identity
        self.slots: dict[SlotKey, TrackedCopy] = {}
        self.histograms: dict[tuple[bool, int], Histogram] = {}
        self.closed: list[dict[tuple[bool, int], dict[RowKey, Sums]]] = []  # histograms up to each turn
        self.backs_done: list[bool] = []
        self._built: dict[int, TileJob] = {}
        self._numbers = numbers if numbers is not None else Numbers()
        self._placed: dict[int, tuple[list[dict[Key, At]], list[int]]] = {}  # of jobs: where, and kinds

    @property
    def part(self) -> Part:
        """The leader's account."""
        return self.parts[self.kernel.leader.op]

    @property
    def count(self) -> int:
        """Tiles, without those that were skipped."""
        return len(self.jobs) - self.start.tiles

    def job(self, index: int) -> TileJob:
        """Return job ``index``, put together when first asked for."""
        job = self._built.get(index)
        if job is None:
            if len(self._built) >= REMEMBERED:
                del self._built[next(iter(self._built))]
            job = self._built[index] = self.jobs.job(index + self.start.tiles, self.start)
        return job

    @cached_property
    def signatures(self) -> Int:
        """Numbers per tile, of all: equal ones mean jobs that differ only in what decides nothing."""
        found = self.jobs.signatures
        return found if self.places is None else self.places.alike_tiles(found)

    def kinds(self, index: int) -> list[int]:
        """Return numbers per fold of job ``index``; folds of equal ones differ in nothing that counts."""
        return self.job(index).kinds if self.places is None else self._place(index)[1]

    def fold_form(self, index: int, place: int) -> int:
        """Return a number that folds of any jobs share which differ only in where their boxes lie."""
        signature = int(self.signatures[index + self.start.tiles])
        if self.places is not None:
            return signature
        form = self._numbers.known.get((signature, place))
        if form is None:
            job = self.job(index)
            form = self._numbers.of(signature, place, (job.folds[place].shape(), job.within(place)))
        return form

    def backs_form(self, index: int) -> int:
        """Return a number that tiles share whose results are written back alike."""
        signature = int(self.signatures[index + self.start.tiles])
        form = self._numbers.known.get((signature, -1))
        if form is None:
            about = tuple((b.binding, b.nbytes, b.runs, b.run_bytes) for b in self.job(index).write_backs)
            form = self._numbers.of(signature, -1, about)
        return form

    def at(self, index: int, place: int, key: Key) -> At | None:
        """Return where what fold ``place`` of job ``index`` moves as ``key`` begins, if that matters."""
        return self._place(index)[0][place].get(key) if self.places is not None else None

    def _place(self, index: int) -> tuple[list[dict[Key, At]], list[int]]:
        assert self.places is not None
        found = self._placed.get(index)
        if found is None:
            if len(self._placed) >= REMEMBERED:
                del self._placed[next(iter(self._placed))]
            job = self.job(index)
            at = self.places.of_folds(job, self.start)
            found = self._placed[index] = at, self.places.alike_folds(job.kinds, at)
        return found

    def next_fill(self, index: int) -> int:
        """Return the first tile from ``index`` on that begins with a fill; ``count`` if none does."""
        return self.jobs.next_fill(index + self.start.tiles) - self.start.tiles

    def next_back(self, index: int) -> int:
        """Return the first tile from ``index`` on whose results are written back; ``count`` if none has."""
        return self.jobs.next_back(index + self.start.tiles) - self.start.tiles

    def turn(self) -> int:
        """Begin anew with the sums over slots and return the number of turns before."""
        self.closed.append({key: h.take() for key, h in self.histograms.items() if h.rows})
        return len(self.closed)

    def histogram(self, slots: tuple[bool, int], traced: tuple[str, ...] = ()) -> Histogram:
        """Return what the slots of a binding have seen since the last turn."""
        found = self.histograms.get(slots)
        if found is None:
            found = self.histograms[slots] = Histogram(traced)
        return found

    def rows(self, since: int, until: int) -> dict[tuple[bool, int], dict[RowKey, Sums]]:
        """Return what the slots of each binding have seen between two turns."""
        found: dict[tuple[bool, int], Histogram] = {}
        for window in self.closed[since:until]:
            for key, rows in window.items():
                found.setdefault(key, Histogram()).merge(rows)
        return {key: histogram.rows for key, histogram in found.items()}

    def rename(self, kernel: Kernel) -> None:
        """Stand for an alike kernel that begins later: names change, and nothing else."""
        self.kernel = kernel
        self.parts, self.where = parts_of(kernel), _places(kernel)
        for (out, which, _), copy in self.slots.items():
            binding = (kernel.writes if out else kernel.reads)[which]
            copy.key = slot_key(kernel, binding, out)

    def skip(self, base: Base) -> None:
        """Count from ``base`` further on: the jobs that follow are put together anew."""
        self.start = self.start.plus(base)
        self._built.clear()
        self._placed.clear()


def at_origin(box: Box, whole: Box) -> Box:
    """Return ``box`` as seen from the first corner of ``whole``."""
    return tuple((low - base, high - base) for (low, high), (base, _) in zip(box, whole, strict=True))


def parts_of(kernel: Kernel) -> dict[str, Part]:
    """Return the accounts of a kernel's ops."""
    return {p.op: Part(p.op, p.layer, p.phase) for p in kernel.accounts}


def _places(kernel: Kernel) -> dict[int, tuple[str, int]]:
    reads = {id(b): ("reads", i) for i, b in enumerate(kernel.reads)}
    return reads | {id(b): ("writes", i) for i, b in enumerate(kernel.writes)}


def slot_key(kernel: Kernel, binding: Binding, out: bool) -> CopyKey:
    """Return what the copies in a binding's slots have in common."""
    origin, fate = ("produced", "written_back") if out else ("filled", "dropped")
    phase = next(p.phase for p in kernel.accounts if p.op == binding.op)
    return copy_key(
        binding.data, binding.group, binding.copy_class, binding.parent_class, origin, fate, phase
    )


def copy_key(
    data: Data, group: str, copy_class: str, parent: str, origin: str, fate: str, phase: Phase | None
) -> CopyKey:
    """Return what copies of one class have in common."""
    return CopyKey(
        bank_group=group,
        tensor=data.tensor,
        role=data.role,
        copy_class=copy_class,
        parent_class=parent,
        origin=origin,
        fate=fate,
        phase_written=phase,
        layer=data.layer,
        bit_field=data.bit_field,
    )
