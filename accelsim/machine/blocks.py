"""Repeated blocks of a program: whole periods of alike kernels are accounted at once, and nothing changes.

At the head of a kernel the machine's state is compared with those at the heads of earlier alike kernels.
Where one is equal, and the kernels that were under way since recur, then, the engine being deterministic,
all that happened since happens again, under the names of the kernels to come, as often as they recur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.machine.block_books import Books, Marks
from accelsim.machine.drain import Drain
from accelsim.machine.forms import needs_of
from accelsim.machine.heads import Engine
from accelsim.machine.kernel_run import KernelRun
from accelsim.machine.snapshot import UNSEEN, Camera, Shot
from accelsim.machine.state import State
from accelsim.sim import Tag
from accelsim.sim.engine import PS_PER_S

REMEMBERED = 4  # heads of equal state that later ones are compared with


@dataclass(frozen=True, slots=True)
class BlockHead:
    """The head of a kernel: which kernels are under way, and where the books stood."""

    kernel: int
    lowest: int  # kernel under way
    highest: int  # kernel that any process has come to
    at_ps: int
    fired: int  # timers
    marks: Marks


class BlockCamera(Camera):
    """Takes snapshots between two kernels."""

    def between(self, index: int, engines: Sequence[Engine]) -> Shot | None:
        """Return the state before kernel ``index`` as seen from there.

        None: results are still on their way.
        """
        drain, state = self.drain, self.state
        if drain.queue or drain.item is not None or drain.live or drain.partial_sums:
            return None
        self.now = self.since = state.sim.now
        return (
            self.now * state.machine.clock_hz % PS_PER_S,
            drain.stage,
            tuple(self._ago(ps) for ps in drain.outstanding),
            self._ago(drain.last_done_ps),
            self._ago(drain.vector_free_ps),
            self._memories(),
            state.flushed.value - index,
            tuple((n - index, tag) for n, tag in state.flushed.waits()),
            tuple(self._under_way(run, index) for run in state.runs()),
            tuple(self._engine(engine, index) for engine in engines),
            tuple(
                self._pending(after, tag, index) for after, tag in state.sim.pending() if tag not in UNSEEN
            ),
        )

    def _engine(self, engine: Engine, index: int) -> Shot:
        stage, kernel, _, *rest = engine.standing(self.run)
        if stage == "done":
            return (stage,)
        from_here = kernel + self.run.kernel.index - index if kernel is not None else None
        return stage, from_here, *rest, engine.waited_ps, engine.ages(None)

    def _under_way(self, run: KernelRun, index: int) -> Shot:
        counters = (run.fills, run.consumed, run.tiles, run.results, run.write_backs)
        out = run.kernel.index < index  # only what is written back is still needed of its slots
        return (
            run.kernel.index - index,
            run.start,
            tuple((c.value, tuple(c.waits())) for c in counters),
            tuple(self._fill_time(run, n) for n in range(run.fills.value, len(run.fill_times))),
            len(run.fill_times),
            tuple(run.backs_done[run.write_backs.value :]),
            len(run.backs_done),
            tuple((key, c.standing(self._stamp())) for key, c in run.slots.items() if key[0] == out),
        )

    def _stamp(self) -> int:
        return self.state.sim.stamp(self.now)

    def _pending(self, after: int, tag: Tag, index: int) -> Shot:
        return after, tuple(self._seen(what, index) for what in tag) if tag is not None else None

    def _seen(self, what: Any, index: int) -> Any:
        if isinstance(what, KernelRun):
            return what.kernel.index - index
        return what[1] - self.now if isinstance(what, tuple) and what[0] == "ps" else what


class Blocks:
    """Looks for repeated blocks of kernels in one run."""

    def __init__(self, state: State, drain: Drain, engines: Sequence[Engine]) -> None:
        self.state = state
        self.drain = drain
        self.engines = engines
        self.forms = state.forms
        self.needs = [needs_of(k) for k in state.program.kernels] if self.forms else []
        self._often = Counter(self.forms)
        self._known: dict[Shot, list[BlockHead]] = {}
        self.on = any(n > 2 for n in self._often.values())
        self.books = Books(state) if self.on else None

    def head(self, index: int) -> int:
        """Look at the state before kernel ``index``, skip what recurs, and return where that ends."""
        under_way = self.state.runs()
        if self.books is None or not under_way or self._often[self.forms[index]] < 3:
            return index
        camera = BlockCamera(self.state, self.drain, under_way[0])
        shot = camera.between(index, self.engines)
        if shot is None:
            return index
        head = self._head(index, self.books.mark())
        heads = self._known.setdefault(shot, [])
        for earlier in reversed(heads):
            times = self._times(earlier, head)
            if times:
                self._leap(self.books, earlier, head, times)
                index += times * (head.kernel - earlier.kernel)
                head = self._head(index, self.books.mark())
                break
        heads.append(head)
        del heads[:-REMEMBERED]
        return index

    def _head(self, index: int, marks: Marks) -> BlockHead:
        state = self.state
        fills, backs = self.engines
        reached = backs.index if fills.done else max(fills.index, backs.index)
        return BlockHead(
            kernel=index,
            lowest=min(index, backs.index),
            highest=max(index - 1, reached),
            at_ps=state.sim.stamp(state.sim.now),
            fired=state.sim.fired,
            marks=marks,
        )

    def _times(self, first: BlockHead, last: BlockHead) -> int:
        """Return how often what happened between two heads of equal state recurs."""
        per, ps = last.kernel - first.kernel, last.at_ps - first.at_ps
        whole_cycles = ps * self.state.machine.clock_hz % PS_PER_S == 0
        if ps <= 0 or not whole_cycles or first.fired != last.fired:
            return 0
        end = first.lowest + per
        while end < len(self.forms) and self._alike(end, per):
            end += 1
        times = max(0, (end - 1 - last.highest) // per)
        timer = self.state.sim.next_timer()
        return times if timer is None else min(times, (timer - 1) // ps)

    def _alike(self, kernel: int, per: int) -> bool:
        """Return whether a kernel does what the one ``per`` before it did, or is bound to do."""
        if self.forms[kernel] != self.forms[kernel - per]:
            return False
        before = self.needs[kernel - per]
        for which, need in self.needs[kernel].items():
            here, there = need - kernel, before[which] - (kernel - per)
            if here != there and max(here, there) > self._through(kernel - per, per, which):
                return False
        return True

    def _through(self, kernel: int, per: int, which: int) -> int:
        """Return which kernels were through when a kernel, or one of those before it, first asked."""
        while kernel >= 0:
            found = self.state.through.get((kernel, which))
            if found is not None:
                return found
            kernel -= per
        return -len(self.forms)

    def _leap(self, books: Books, first: BlockHead, last: BlockHead, times: int) -> None:
        """Skip ``times`` periods: the books are brought to where they would be, then time and names."""
        per, ps, state = last.kernel - first.kernel, last.at_ps - first.at_ps, self.state
        books.again(first.marks, last.marks, range(first.kernel, last.kernel), ps, times)
        for n in range(1, times + 1):
            for kernel in range(first.lowest, last.highest + 1):
                for which in self.needs[kernel]:
                    if (kernel, which) in state.through:
                        asked = state.through[(kernel, which)]
                        state.through.setdefault((kernel + n * per, which), asked)
        state.rename(per * times)
        state.flushed.further(per * times)
        for engine in self.engines:
            engine.index += per * times
        for run in state.runs():
            for copy in run.slots.values():
                copy.later(ps * times)
        state.sim.skip(ps * times)
        state.recorder.kernels_skipped += per * times
