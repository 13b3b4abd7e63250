"""Streams of bytes between a bank port and a unit, in chunks, a few steps ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any

from accelsim.geometry import ceil_div
from accelsim.machine.buffer import Buffer, Entry
from accelsim.machine.layout import At
from accelsim.machine.memory import Access, Service
from accelsim.machine.state import State
from accelsim.machine.transpose import COMPONENT
from accelsim.sim.engine import PS_PER_S
from accelsim.trace.recorder import Part


class _Moved:
    """The accounts of one stream: words, port time, first and last access."""

    __slots__ = ("buffered", "busy_ps", "entries", "first", "forwarded", "last", "moved", "narrow", "words")

    def __init__(self) -> None:
        self.words = 0
        self.narrow = 0  # code words written in part
        self.buffered = 0  # words that a write buffer took
        self.forwarded = 0  # words that it gave
        self.busy_ps = 0
        self.moved = 0
        self.first: Access | None = None
        self.last: Access | None = None  # of those that have ended, the one that ended last
        self.entries: dict[Buffer, Entry] = {}  # the last ones in the buffers, which are the last to leave

    def add(self, served: Service, size: int) -> None:
        """Add what ``size`` bytes came to."""
        access, busy_ps, words, narrow, buffered, forwarded, entries = served
        self.busy_ps += busy_ps
        self.words += words
        self.moved += size
        if narrow:
            self.narrow += narrow
        if buffered or forwarded:
            self.buffered += buffered
            self.forwarded += forwarded
            self.entries.update(entries)
        if self.last is None:
            self.first = self.last = access
        elif access.done_ps >= self.last.done_ps:
            self.last = access


class StreamRun:
    """``nbytes`` of one tensor through a port of ``group``, spread over ``steps`` equal steps.

    ``carried`` are the bytes of elements among them. With ``turned``, the bytes of an element, they pass the
    transpose unit. ``piece`` is what a write fills of a word, in bytes; 0: all of it.
    """

    __slots__ = (
        "_bank",
        "_chunk",
        "_done_to",
        "_lead",
        "_pending",
        "_unit",
        "action",
        "at",
        "carried",
        "group",
        "latency",
        "moved",
        "nbytes",
        "part",
        "piece",
        "role",
        "space",
        "state",
        "steps",
        "tensor",
        "turned",
    )

    def __init__(
        self,
        state: State,
        action: str,
        group: str,
        nbytes: int,
        steps: int,
        part: Part,
        role: str,
        tensor: str,
        at: At | None = None,
        space: Hashable = None,
        carried: int = 0,
        turned: int = 0,
        piece: int = 0,
    ) -> None:
        self.state = state
        self.action = action
        self.group = group
        self.nbytes = nbytes
        self.steps = steps
        self.part = part
        self.role = role
        self.tensor = tensor
        self.at = at  # where its first byte lies
        self.space = space  # what it writes or reads, for the write buffer
        self.moved = _Moved()
        self.latency = state.machine.noc.latency_ps
        self.carried = carried or nbytes
        self.turned = turned
        self.piece = piece
        self._bank = state.banks[group]
        self._unit = state.transpose if turned else None
        self._chunk = self._bank.chunk_bytes
        self._lead = 0  # steps asked for on top, whose elements are inside the transpose unit
        self._pending: deque[tuple[int, Access]] = deque()
        self._done_to = 0

    def through_unit(self, cycles: int) -> None:
        """Go through the transpose unit, ``cycles`` in all: a step at a time, what is inside it on top."""
        assert self._unit is not None
        spec, clock_hz = self._bank.spec, self.state.machine.clock_hz
        beat = spec.lanes * spec.word_bytes
        self._chunk = min(self._chunk, ceil_div(self.nbytes, self.steps * beat) * beat)
        first = self._unit.first_ps(self.turned)
        self._lead = ceil_div(first * clock_hz * self.steps, cycles * PS_PER_S)

    def request(self, step: int) -> None:
        """Ask for the chunks that the steps up to ``step`` need, now."""
        moved = self.moved.moved
        if moved < self.nbytes:
            upto = min(step + self._lead + 1, self.steps)
            target = -(-self.nbytes * upto // self.steps)
            if moved < target:
                self._move_to(target, whole=True)

    def ready(self, step: int) -> Access | None:
        """Return the access that brings the last byte that ``step`` needs; None: nothing to read."""
        self.request(step)
        target = -(-self.nbytes * (step + 1) // self.steps)
        latest: Access | None = None
        while self._done_to < target:
            self._done_to, access = self._pending.popleft()
            if latest is None or access.done_ps >= latest.done_ps:
                latest = access
        return latest

    def push(self, step: int) -> Access | None:
        """Write what has come together after ``step``: whole chunks, at the end the rest."""
        ended = step >= self.steps - 1
        target = self.nbytes if ended else self.nbytes * (step + 1) // self.steps
        return self._move_to(target, whole=False, rest=ended)

    def _move_to(self, target: int, whole: bool, rest: bool = False) -> Access | None:
        """Move chunks until ``target`` bytes are through: rounded up (whole), or down unless ``rest``."""
        moved, chunk = self.moved, self._chunk
        latest: Access | None = None
        while moved.moved < target:
            if not whole and not rest and target - moved.moved < chunk:
                break
            size = min(chunk, self.nbytes - moved.moved) if whole else min(chunk, target - moved.moved)
            served = self._serve(size)
            moved.add(served, size)
            access = served.access
            if whole:
                self._pending.append((moved.moved, access))
            if latest is None or access.done_ps >= latest.done_ps:
                latest = access
        return latest

    def _serve(self, size: int) -> Service:
        """Take ``size`` bytes through the port, and through the transpose unit if they are to be turned."""
        bank, moved = self._bank, self.moved
        if self.piece % bank.code_bytes:  # words that are filled in part are read first
            bank.access("read", size)
            moved.narrow += bank.cost("read", size)[1]
        served = bank.serve(self.action, size, self.at, moved.moved, self.space)  # type: ignore[arg-type]
        if self.piece:
            served = served._replace(narrow=0)
        if self._unit is not None:
            elements = -(-size * self.carried // self.nbytes)
            served = served._replace(access=self._unit.turned(served.access, elements, self.turned))
        return served

    def _elements(self) -> int:
        """Return the bytes of elements that have been moved."""
        moved = self.moved.moved
        return moved if self.carried == self.nbytes else self.carried * moved // self.nbytes

    def standing(self, now: int) -> tuple[Any, ...]:
        """Return how far the stream has come, times from ``now`` on."""
        last = self.moved.last
        pending = tuple(
            (to, None)
            if a.done_ps + self.latency <= now
            else (to, (a.start_ps - now, a.done_ps - now, a.cause, a.wake_ps))
            for to, a in self._pending
        )
        where = None
        if self.at is not None and self._bank.map is not None:
            where = self.at.layout.phase(self.at.start, self._bank.map, self.at.again)
        m = self.moved
        booked = m.words, m.narrow, m.buffered, m.forwarded, m.busy_ps  # with its end
        return m.moved, self._done_to, last.done_ps - now if last else None, pending, where, booked

    @property
    def forwards(self) -> bool:
        """Whether what it writes can be read from a write buffer."""
        buffer = self._bank.spec.buffer
        return self._bank.buffered and buffer is not None and buffer.forwarding

    def written_ps(self) -> int:
        """Return when the last of its cells was written, once it is closed and they all are."""
        last = self.moved.last
        taken = last.done_ps if last is not None else self.state.sim.now
        return max(taken, *(e.done_ps for e in self.moved.entries.values()), 0)

    def close(self) -> int:
        """Enter the stream into the books and return when its last access ended."""
        moved = self.moved
        if moved.first is None or moved.last is None:
            return self.state.sim.now
        recorder, component = self.state.recorder, f"spad.{self.group}"
        recorder.count(component, self.action, self.part, self.role, moved.words)
        recorder.count(component, "rmw", self.part, self.role, moved.narrow)
        buffer = moved.words, moved.buffered, moved.forwarded
        self.state.count_buffer(self.group, self.part, self.role, *buffer)
        recorder.count("noc", "transfer", self.part, self.role, self._elements() * 8)
        if self._unit is not None:
            recorder.count(COMPONENT, "turn", self.part, self.role, self._elements() * 8)
        self.state.span(
            self.state.bank_component(self.group, self.action),  # type: ignore[arg-type]
            self.action,
            self.part,
            self.tensor,
            moved.first,
            moved.last.done_ps,
            moved.busy_ps,
            moved.words,
            moved.moved,
        )
        return moved.last.done_ps
