"""What a run leaves behind: integer counts, spans, stalls, busy times, residencies.

The machine calls the recorder; nothing here changes the run. Counts are integers per (component,
action, op, role, phase, layer) and are priced once, when the tables are written. Sums are kept in
windows, so that what a stretch of the run added can be added again for every time it repeats.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from accelsim.trace.copies import Histogram
from accelsim.trace.spans import Label, Spans
from accelsim.words import Phase, StallReason


@dataclass(frozen=True, slots=True)
class Part:
    """The op that an account belongs to."""

    op: str
    layer: str
    phase: Phase


CountKey = tuple[str, str, Part, str]  # component, action, op, role
TimeKey = tuple[str, str, str]  # "op" or "component", its name, what of it


@dataclass(slots=True)
class OpTimes:
    """Times of the kernel that an op leads; a rider has an empty window at its end."""

    start_ps: int = 0
    end_ps: int = 0
    idle_ps: int = 0
    stall_ps: dict[StallReason, int] = field(default_factory=dict)
    busy_cycles: int = 0
    folds: int = 0
    tiles: int = 0
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0


@dataclass(slots=True)
class ComponentTimes:
    """busy + stalls + idle = the length of the run, for every component."""

    busy_ps: int = 0
    stall_ps: dict[StallReason, int] = field(default_factory=dict)


@dataclass(slots=True)
class Window:
    """The sums of one stretch of the run."""

    counts: defaultdict[CountKey, int] = field(default_factory=lambda: defaultdict(int))
    times: defaultdict[TimeKey, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, other: Window, times: int = 1) -> None:
        """Add another window's sums, ``times`` over."""
        for key, n in other.counts.items():
            self.counts[key] += n * times
        for name, n in other.times.items():
            self.times[name] += n * times


class Recorder:
    """Collects the records of one run."""

    def __init__(self, traced: tuple[str, ...] = ()) -> None:
        self.spans = Spans()
        self.ops: dict[str, OpTimes] = {}
        self.components: dict[str, ComponentTimes] = {}
        self.histogram = Histogram(traced)
        self.tiles = 0
        self.tiles_skipped = 0
        self.kernels_skipped = 0  # as parts of repeated blocks
        self.folds_skipped = 0  # of tiles that were simulated in part
        self.no_period: dict[str, str] = {}  # op -> why none of its tiles were skipped
        self.unsteady: list[str] = []  # banks that keep steady states from being skipped
        self.transactions = 0  # of bank and DRAM ports
        self.end_ps = 0
        self.window = Window()
        self._closed: list[Window] = []

    # -- sums ------------------------------------------------------------------------------------

    def count(self, component: str, action: str, part: Part, role: str, n: int) -> None:
        """Add ``n`` to one count."""
        if n:
            self.window.counts[(component, action, part, role)] += n

    def turn(self) -> int:
        """Begin a new window and return the number of those before."""
        self._closed.append(self.window)
        self.window = Window()
        return len(self._closed)

    def join(self, since: int) -> None:
        """Make one of the windows closed from number ``since`` on."""
        self._closed[since:] = [self.sums(since)]

    def sums(self, since: int, until: int | None = None) -> Window:
        """Return what came together from window ``since`` up to ``until``, or the last one closed."""
        whole = Window()
        for window in self._closed[since:until]:
            whole.add(window)
        return whole

    def settle(self) -> None:
        """Bring all windows together in one."""
        whole = Window()
        for window in (*self._closed, self.window):
            whole.add(window)
        self._closed, self.window = [], whole

    @property
    def counts(self) -> defaultdict[CountKey, int]:
        """The integer counts of the whole run."""
        if self._closed:
            self.settle()
        return self.window.counts

    @property
    def dram_bytes(self) -> dict[str, int]:
        """Bytes that DRAM moved."""
        moved = {"read": 0, "write": 0}
        for times in self.ops.values():
            moved["read"] += times.dram_read_bytes
            moved["write"] += times.dram_write_bytes
        return moved

    def finish(self) -> None:
        """Enter the sums into the times of ops and components."""
        self.settle()
        for (kind, name, what), n in self.window.times.items():
            times = self.op(name) if kind == "op" else self.component(name)
            if what.startswith("stall:"):
                reason: StallReason = what.removeprefix("stall:")  # type: ignore[assignment]
                times.stall_ps[reason] = times.stall_ps.get(reason, 0) + n
            else:
                setattr(times, what, getattr(times, what) + n)
        self.window.times.clear()

    def op(self, name: str) -> OpTimes:
        """Return the times of op ``name``."""
        times = self.ops.get(name)
        if times is None:
            times = self.ops[name] = OpTimes()
        return times

    def component(self, name: str) -> ComponentTimes:
        """Return the times of component ``name``."""
        times = self.components.get(name)
        if times is None:
            times = self.components[name] = ComponentTimes()
        return times

    def busy(self, component: str, ps: int) -> None:
        """Add to a component's busy time."""
        self.window.times[("component", component, "busy_ps")] += ps

    def folds(self, op: str, n: int) -> None:
        """Add to the folds that an op took."""
        self.window.times[("op", op, "folds")] += n

    def dram(self, action: str, part: Part, nbytes: int) -> None:
        """Add bytes that DRAM moved for ``part``."""
        self.window.times[("op", part.op, f"dram_{action}_bytes")] += nbytes

    # -- stretches -------------------------------------------------------------------------------

    def component_stall(
        self, component: str, reason: StallReason, part: Part, start_ps: int, end_ps: int
    ) -> None:
        """Note that a component other than the executing unit waited, on behalf of ``part``."""
        self.window.times[("component", component, f"stall:{reason}")] += end_ps - start_ps
        self.stall_span(component, reason, part, start_ps, end_ps)

    def stall_span(self, component: str, reason: StallReason, part: Part, start_ps: int, end_ps: int) -> None:
        """Record a wait as a span; its time is counted elsewhere."""
        label = Label(component, "stall", reason, part, "")
        self.spans.add(label, start_ps, start_ps, end_ps, end_ps - start_ps, 1, 0)

    def stall(self, component: str, reason: StallReason, part: Part, start_ps: int, end_ps: int) -> None:
        """Note that ``component`` waited for ``reason`` while it executed ``part``."""
        if end_ps <= start_ps:
            return
        self.window.times[("op", part.op, f"stall:{reason}")] += end_ps - start_ps
        self.component_stall(component, reason, part, start_ps, end_ps)
