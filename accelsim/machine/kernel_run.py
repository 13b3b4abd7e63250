"""One kernel on its way through the machine."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.geometry import Box
from accelsim.program.jobs import Base, TileJob
from accelsim.program.nests import Jobs
from accelsim.program.program import Binding, Data, Kernel
from accelsim.sim import Counter, Sim
from accelsim.trace.copies import CopyKey, Histogram, RowKey, Sums, TrackedCopy
from accelsim.trace.recorder import Part
from accelsim.words import Phase, StallReason


@dataclass(slots=True)
class FillTimes:
    """When a fill was issued, its last data arrived from DRAM, and what its last bank write waited for."""

    issued_ps: int
    arrived_ps: int = 0
    done_ps: int = 0
    cause: StallReason | None = None


SlotKey = tuple[bool, int, int]  # written?, binding, ordinal of the transfer
REMEMBERED = 64  # jobs that a kernel's processes may come back to


class KernelRun:
    """One kernel on its way: its tile jobs and how far its fills, tiles and write-backs have come.

    Tiles, fills, results and write-backs are counted as the processes have seen them: without those that
    were skipped, which ``start`` sums up.
    """

    def __init__(self, sim: Sim, kernel: Kernel, jobs: Jobs) -> None:
        self.kernel = kernel
        self.jobs = jobs
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

    def repeat_histograms(self, since: int, times: int, keys: set[tuple[bool, int]]) -> None:
        """Add what the slots of ``keys`` have seen since a turn another ``times`` times."""
        for window in self.closed[since:]:
            for key in keys & window.keys():
                self.histograms[key].merge(window[key], times)

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
    )
