"""What a run leaves behind: integer counts, spans, stalls, busy times, residencies.

The machine calls the recorder; nothing here changes the run. Counts are integers per (component,
action, op, role, phase, layer) and are priced once, when the tables are written.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from accelsim.trace.copies import Histogram
from accelsim.words import Phase, StallReason


@dataclass(frozen=True, slots=True)
class Part:
    """The op that an account belongs to."""

    op: str
    layer: str
    phase: Phase


CountKey = tuple[str, str, Part, str]  # component, action, op, role


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


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One stretch of a component's time; see ``trace.schema.SPANS``."""

    component: str
    category: str
    reason: str
    part: Part
    tensor: str
    queued_ps: int
    start_ps: int
    end_ps: int
    busy_ps: int
    count: int
    nbytes: int


@dataclass(slots=True)
class ComponentTimes:
    """busy + stalls + idle = the length of the run, for every component."""

    busy_ps: int = 0
    stall_ps: dict[StallReason, int] = field(default_factory=dict)


class Recorder:
    """Collects the records of one run."""

    def __init__(self, traced: tuple[str, ...] = ()) -> None:
        self.counts: defaultdict[CountKey, int] = defaultdict(int)
        self.spans: list[SpanRow] = []
        self.ops: dict[str, OpTimes] = {}
        self.components: dict[str, ComponentTimes] = {}
        self.histogram = Histogram(traced)
        self.dram_bytes = {"read": 0, "write": 0}
        self.tiles = 0
        self.transactions = 0  # of bank and DRAM ports
        self.end_ps = 0

    def count(self, component: str, action: str, part: Part, role: str, n: int) -> None:
        """Add ``n`` to one count."""
        if n:
            self.counts[(component, action, part, role)] += n

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

    def component_stall(
        self, component: str, reason: StallReason, part: Part, start_ps: int, end_ps: int
    ) -> None:
        """Note that a component other than the executing unit waited, on behalf of ``part``."""
        stalls = self.component(component).stall_ps
        stalls[reason] = stalls.get(reason, 0) + end_ps - start_ps
        self.spans.append(
            SpanRow(component, "stall", reason, part, "", start_ps, start_ps, end_ps, end_ps - start_ps, 1, 0)
        )

    def stall(self, component: str, reason: StallReason, part: Part, start_ps: int, end_ps: int) -> None:
        """Note that ``component`` waited for ``reason`` while it executed ``part``."""
        if end_ps <= start_ps:
            return
        of_op = self.op(part.op).stall_ps
        of_op[reason] = of_op.get(reason, 0) + end_ps - start_ps
        self.component_stall(component, reason, part, start_ps, end_ps)

    def dram(self, action: str, part: Part, nbytes: int) -> None:
        """Add bytes that DRAM moved for ``part``."""
        self.dram_bytes[action] += nbytes
        times = self.op(part.op)
        if action == "read":
            times.dram_read_bytes += nbytes
        else:
            times.dram_write_bytes += nbytes
