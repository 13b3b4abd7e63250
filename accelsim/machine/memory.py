"""Bank groups and flat DRAM: first come, first served, in whole picoseconds.

A request reserves its port at the instant it is made and learns at once when it is served: with
first-come-first-served ports of known service times that is exact, and it costs no event.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from accelsim.geometry import ceil_div
from accelsim.machine.buffer import Buffer, Entry
from accelsim.machine.layout import At, BankMap, Layout, shares
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Dram
from accelsim.sim import Sim, Tag
from accelsim.sim.engine import PS_PER_S
from accelsim.words import StallReason

Action = Literal["read", "write"]
LINEAR: Final = Layout(((0, 1 << 62),), 0, (), 1 << 62, 1 << 62)  # addresses as they are


class Access(NamedTuple):
    """One request: asked for, served from, ended (data there or cells written), and what it waited for.

    ``wake_ps`` is what words that had to wake added to the wait; the rest of it is the ``cause``'s.
    """

    queued_ps: int
    start_ps: int
    done_ps: int
    cause: StallReason | None
    wake_ps: int = 0


class Memory(Protocol):
    """What every memory component offers."""

    chunk_bytes: int

    def access(self, action: Action, nbytes: int) -> Access:
        """Reserve the port for ``nbytes``, now, and return when they are through."""


class Port:
    """A server that takes one request at a time, in the order in which they were made."""

    __slots__ = ("busy_ps", "cause", "free_ps", "served", "wake_ps", "woken_ps")

    def __init__(self) -> None:
        self.free_ps = 0
        self.busy_ps = 0
        self.served = 0
        self.cause: StallReason = "port_busy"  # of who waits behind the last request
        self.woken_ps = 0  # until when it was kept closed for words to wake, for ``wake_ps``
        self.wake_ps = 0

    def reserve(self, now: int, hold_ps: int, cause: StallReason) -> tuple[int, StallReason | None]:
        """Return when the service starts, and what the request waits for until then."""
        free = self.free_ps
        waited, start = (self.cause, free) if free > now else (None, now)
        self.free_ps = start + hold_ps
        self.busy_ps += hold_ps
        self.served += 1
        self.cause = cause
        return start, waited

    def wake(self, now: int, wake_ps: int) -> None:
        """Stay closed for ``wake_ps`` more: who waits for something else anyway waits for that first."""
        if self.free_ps <= now:
            self.cause = "wakeup"
        self.free_ps = self.woken_ps = max(self.free_ps, now) + wake_ps
        self.wake_ps = wake_ps

    def waking_ps(self, now: int, start: int) -> int:
        """Return what waking adds to the wait of a request, made now, that is served from ``start`` on.

        Of all that come until the words are awake: they follow one another from then on.
        """
        return min(self.wake_ps, start - now) if self.woken_ps > now else 0


class Service(NamedTuple):
    """What an access came to: its times, and what the cells and the write buffers did for it.

    ``busy_ps`` is the time of all ports together, ``words`` those of the cells, ``buffered`` the words that a
    write buffer took, ``forwarded`` those that it gave. ``entries`` have yet to come to the cells.
    """

    access: Access
    busy_ps: int
    words: int
    narrow: int = 0
    buffered: int = 0
    forwarded: int = 0
    entries: tuple[tuple[Buffer, Entry], ...] = ()


class Taken(NamedTuple):
    """Ports that were taken: from when for reading, and for writing, and what reading waited for."""

    read_ps: int
    write_ps: int
    cause: StallReason | None


class Server:
    """Macros that serve together: those of a bank, or of a whole group over which words are interleaved."""

    __slots__ = ("buffer", "lanes", "read_port", "write_port")

    def __init__(self, spec: BankGroup, banks: int, cause: StallReason) -> None:
        self.lanes = banks * spec.subbanks
        self.read_port = Port()
        self.write_port = self.read_port if spec.ports == "1rw" else Port()
        self.buffer: Buffer | None = None
        if spec.buffer is not None and spec.buffer.entries:
            self.buffer = Buffer(spec.buffer, banks, self.lanes, spec.write_cycle_ps, self.write_port, cause)

    def settle(self, now: int) -> None:
        """Let the write buffer have what of the port's time was its own."""
        if self.buffer is not None:
            self.buffer.settle(now)


class Bank:
    """A group of equal banks.

    Without a map words are interleaved over all macros, which serve together: n words take
    ceil(n / macros) beats. With one, every bank is a server of its own, takes the words that lie in it in
    beats of its subbanks, and an access is done when the last of its banks is. A read's data are there one
    latency and all but one read cycles after its start; a write's cells are written after all its write
    cycles, during which an STT-MRAM macro holds its pulse. With a write buffer a write is done when it has
    been taken into that.
    """

    def __init__(
        self, sim: Sim, spec: BankGroup, granularity_bytes: int, over: BankMap | None = None
    ) -> None:
        self.sim = sim
        self.spec = spec
        self.map = over
        self.chunk_bytes = self.chunk_of(granularity_bytes)
        self._write_cause: StallReason = "write_pulse" if spec.technology == "stt-mram" else "port_busy"
        many = over is not None
        apart, together = (spec.count, 1) if many else (1, spec.count)
        self.servers = [Server(spec, together, self._write_cause) for _ in range(apart)]
        self.read_port = self.servers[0].read_port
        self.write_port = self.servers[0].write_port
        self.buffered = self.servers[0].buffer is not None
        self.plain = not many and not self.buffered
        self.code_bytes = spec.ecc.data_bits // 8 if spec.ecc is not None else 1
        self._read_delay = spec.read_latency_ps - spec.read_cycle_ps  # after the port is free again
        self.wakes = False  # drowsy words of it, with the next access
        self._costs: dict[tuple[Action, int], tuple[int, int]] = {}
        self._plain_costs: dict[tuple[Action, int], tuple[int, int, int]] = {}

    def chunk_of(self, most: int) -> int:
        """Return how many bytes, up to ``most``, fill whole beats of all macros; a beat at least."""
        return self.spec.chunk_of(most)

    def words(self, nbytes: int) -> int:
        """Return the words that ``nbytes`` take; a partial word is a whole one."""
        return ceil_div(nbytes, self.spec.word_bytes)

    def hold_ps(self, action: Action, nbytes: int) -> int:
        """Return for how long an access holds the port of words that go over all macros."""
        beats, spec = ceil_div(self.words(nbytes), self.spec.lanes), self.spec
        if action == "read":
            return beats * spec.read_cycle_ps
        return beats * spec.write_cycle_ps + self.narrow(nbytes) * spec.read_cycle_ps

    def narrow(self, nbytes: int) -> int:
        """Return how many code words a write of ``nbytes`` fills in part: those are read first."""
        return 1 if nbytes % self.code_bytes else 0

    def cost(self, action: Action, nbytes: int) -> tuple[int, int]:
        """Return for how long an access of all macros holds its port, and how many words it takes."""
        known = self._costs.get((action, nbytes))
        if known is None:
            known = self._costs[(action, nbytes)] = self.hold_ps(action, nbytes), self.words(nbytes)
        return known

    def access(self, action: Action, nbytes: int, at: At | None = None) -> Access:
        """Reserve a port for ``nbytes``, now; ``at`` is where they lie."""
        return self.serve(action, nbytes, at).access

    def serve(
        self, action: Action, nbytes: int, at: At | None = None, moved: int = 0, space: Hashable = None
    ) -> Service:
        """Reserve ports for ``nbytes``, now, and say what it comes to; words that are to wake do so first.

        Args:
            at: Where the stream begins that they are of; None: at the group's first word.
            moved: Bytes of the stream that went before.
            space: Name of what is written, or read, for the write buffer: words of one space are counted
                from where it begins. None: what nobody else writes or reads while it is there.
        """
        if self.wakes:
            self._wake()
        if not self.plain:
            return self._serve_parts(action, nbytes, at, moved, space)
        known = self._plain_costs.get((action, nbytes))
        if known is None:
            narrow = self.narrow(nbytes) if action == "write" else 0
            known = self._plain_costs[(action, nbytes)] = *self.cost(action, nbytes), narrow
        hold, words, narrow = known
        read = action == "read"
        access = self._read(self.read_port, hold) if read else self._write(self.write_port, hold)
        return Service(access, hold, words, narrow)

    def _read(self, port: Port, hold: int) -> Access:
        now = self.sim.now
        start, cause = port.reserve(now, hold, "port_busy")
        wake = port.waking_ps(now, start) if port.wake_ps else 0
        return Access(now, start, start + hold + self._read_delay, cause, wake)

    def _write(self, port: Port, hold: int) -> Access:
        now = self.sim.now
        start, cause = port.reserve(now, hold, self._write_cause)
        wake = port.waking_ps(now, start) if port.wake_ps else 0
        return Access(now, start, start + hold, cause, wake)

    def _serve_parts(
        self, action: Action, nbytes: int, at: At | None, moved: int, space: Hashable
    ) -> Service:
        """Serve what lies in each bank there, and be done when the last one is."""
        word = self.spec.word_bytes
        first, count = moved // word, self.words(nbytes)
        if self.buffered and action == "write":
            count = ceil_div(moved + nbytes, word) - first  # words are shared with the write before
        parts: Sequence[Sequence[int]] = (range(count),)
        if self.map is not None:
            layout, start, _ = at or At(LINEAR, 0)
            begin = (start + first * word) % layout.nbytes
            parts = shares(layout, begin, count, word, self.map)
        narrow = self.narrow(nbytes) if action == "write" else 0
        found = []
        for server, part in zip(self.servers, parts, strict=True):
            if not len(part):
                continue
            offsets = _from(part, first)
            if action == "read":
                found.append(self._read_part(server, offsets, space))
            else:
                found.append(self._write_part(server, offsets, narrow * (part[-1] == count - 1), space))
        return Service(
            max((s.access for s in found), key=lambda a: a.done_ps),
            sum(s.busy_ps for s in found),
            sum(s.words for s in found),
            narrow,
            sum(s.buffered for s in found),
            sum(s.forwarded for s in found),
            tuple(e for s in found for e in s.entries),
        )

    def _read_part(self, server: Server, offsets: Sequence[int], space: Hashable) -> Service:
        now, spec, count, given = self.sim.now, self.spec, len(offsets), 0
        if server.buffer is not None:
            server.buffer.settle(now)
            given = server.buffer.held(space, offsets)
            count -= given
            if not count:
                took = ceil_div(given, server.lanes) * server.buffer.enter_ps
                return Service(Access(now, now, now + took, None), 0, 0, forwarded=given)
        hold = ceil_div(count, server.lanes) * spec.read_cycle_ps
        return Service(self._read(server.read_port, hold), hold, count, forwarded=given)

    def _write_part(self, server: Server, offsets: Sequence[int], narrow: int, space: Hashable) -> Service:
        now, spec = self.sim.now, self.spec
        extra = narrow * spec.read_cycle_ps
        if server.buffer is not None:
            start, done, cause, new, entry = server.buffer.enter(now, space, offsets, extra)
            entries = ((server.buffer, entry),) if entry is not None else ()
            access = Access(now, start, done, cause)
            return Service(access, done - start, new, 0, len(offsets), 0, entries)
        hold = ceil_div(len(offsets), server.lanes) * spec.write_cycle_ps + extra
        return Service(self._write(server.write_port, hold), hold, len(offsets))

    def when_written(self, buffer: Buffer, entry: Entry, tag: Tag, then: Callable[[], None]) -> None:
        """Call ``then`` at the instant at which the cells of ``entry`` have been written."""
        sim = self.sim

        def look(_: object) -> None:
            buffer.settle(sim.now)
            if 0 <= entry.done_ps <= sim.now:
                then()
            else:
                arm()

        def arm() -> None:
            event = sim.at(buffer.soonest_ps(entry, sim.now), ("cells", buffer, entry, tag))
            assert event.callbacks is not None
            event.callbacks.append(look)

        arm()

    def flush(self) -> int:
        """Write what is in the write buffers to the cells, now, and return when that has ended."""
        now = self.sim.now
        return max((s.buffer.flush(now) for s in self.servers if s.buffer is not None), default=now)

    def take(self, reading_ps: int, writing_ps: int, cause: StallReason) -> Taken:
        """Take the ports of all macros for something that is no access, each direction for so long."""
        now, taken = self.sim.now, []
        for server in self.servers:
            server.settle(now)
            start, waited = now, None
            if reading_ps:
                start, waited = server.read_port.reserve(now, reading_ps, cause)
            taken.append(Taken(start, server.write_port.reserve(now, writing_ps, cause)[0], waited))
        return max(taken, key=lambda t: t[:2])

    def _wake(self) -> None:
        """Keep the ports closed until the words have their voltage again."""
        self.wakes = False
        if not self.spec.wakeup_ps:
            return
        for server in self.servers:
            server.settle(self.sim.now)
        for port in self.ports().values():
            port.wake(self.sim.now, self.spec.wakeup_ps)

    def ports(self) -> dict[str, Port]:
        """Return the ports by component name."""
        named: dict[str, Port] = {}
        for i, server in enumerate(self.servers):
            name = f"spad.{self.spec.name}" + (f".{i}" if self.map is not None else "")
            if server.read_port is server.write_port:
                named[name] = server.read_port
            else:
                named |= {f"{name}.read": server.read_port, f"{name}.write": server.write_port}
        return named


def _from(part: Sequence[int], first: int) -> Sequence[int]:
    """Return the words of a part, counted as the stream counts."""
    if isinstance(part, range):
        return range(first + part.start, first + part.stop)
    return [first + i for i in part] if first else part


class FlatDram:
    """DRAM with a bandwidth and a latency; reads and writes share the bandwidth.

    Transfers last whole picoseconds, rounded up; what one has paid too much is credited to the next of
    the same busy stretch, so that many small transfers take as long as a large one, and none is faster
    than the bandwidth.
    """

    def __init__(self, sim: Sim, spec: Dram, granularity_bytes: int) -> None:
        self.sim = sim
        self.spec = spec
        self.chunk_bytes = granularity_bytes
        self.port = Port()
        self._credit = 0

    def access(self, action: Action, nbytes: int) -> Access:
        """Reserve the channel for ``nbytes``, now. A write has ended when the channel has taken it."""
        now = self.sim.now
        if self.port.free_ps < now:
            self._credit = 0
        units = nbytes * PS_PER_S - self._credit
        hold = ceil_div(units, self.spec.bandwidth_bytes_per_s)
        self._credit = hold * self.spec.bandwidth_bytes_per_s - units
        start, cause = self.port.reserve(now, hold, "dram")
        latency = self.spec.latency_ps if action == "read" else 0
        return Access(now, start, start + hold + latency, cause)

    def standing(self, now: int) -> int:
        """Return what the next transfer would be credited."""
        return self._credit if self.port.free_ps >= now else 0
