"""Bank groups and flat DRAM: first come, first served, in whole picoseconds.

A request reserves its port at the instant it is made and learns at once when it is served: with
first-come-first-served ports of known service times that is exact, and it costs no event.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from accelsim.geometry import ceil_div
from accelsim.resolve.machine import BankGroup, Dram
from accelsim.sim import Sim
from accelsim.sim.engine import PS_PER_S
from accelsim.words import StallReason

Action = Literal["read", "write"]


class Access(NamedTuple):
    """One request: asked for, served from, ended (data there or cells written), and what it waited for."""

    queued_ps: int
    start_ps: int
    done_ps: int
    cause: StallReason | None


class Memory(Protocol):
    """What every memory component offers."""

    chunk_bytes: int

    def access(self, action: Action, nbytes: int) -> Access:
        """Reserve the port for ``nbytes``, now, and return when they are through."""


class Port:
    """A server that takes one request at a time, in the order in which they were made."""

    __slots__ = ("busy_ps", "cause", "free_ps", "served")

    def __init__(self) -> None:
        self.free_ps = 0
        self.busy_ps = 0
        self.served = 0
        self.cause: StallReason = "port_busy"  # of who waits behind the last request

    def reserve(self, now: int, hold_ps: int, cause: StallReason) -> tuple[int, StallReason | None]:
        """Return when the service starts, and what the request waits for until then."""
        waited = self.cause if self.free_ps > now else None
        start = max(now, self.free_ps)
        self.free_ps = start + hold_ps
        self.busy_ps += hold_ps
        self.served += 1
        self.cause = cause
        return start, waited


class Bank:
    """A group of equal banks, words interleaved over all macros.

    n words take ceil(n / macros) beats. A read's data are there one latency and all but one read
    cycles after its start; a write's cells are written after all its write cycles, during which an
    STT-MRAM macro holds its pulse.
    """

    def __init__(self, sim: Sim, spec: BankGroup, granularity_bytes: int) -> None:
        self.sim = sim
        self.spec = spec
        beat = spec.lanes * spec.word_bytes
        self.chunk_bytes = max(1, granularity_bytes // beat) * beat
        self.read_port = Port()
        self.write_port = self.read_port if spec.ports == "1rw" else Port()
        self.code_bytes = spec.ecc.data_bits // 8 if spec.ecc is not None else 1
        self._read_delay = spec.read_latency_ps - spec.read_cycle_ps  # after the port is free again
        self.wakes = False  # drowsy words of it, with the next access
        self._costs: dict[tuple[Action, int], tuple[int, int]] = {}
        self._write_cause: StallReason = "write_pulse" if spec.technology == "stt-mram" else "port_busy"

    def words(self, nbytes: int) -> int:
        """Return the words that ``nbytes`` take; a partial word is a whole one."""
        return ceil_div(nbytes, self.spec.word_bytes)

    def hold_ps(self, action: Action, nbytes: int) -> int:
        """Return for how long an access holds its port."""
        beats, spec = ceil_div(self.words(nbytes), self.spec.lanes), self.spec
        if action == "read":
            return beats * spec.read_cycle_ps
        return beats * spec.write_cycle_ps + self.narrow(nbytes) * spec.read_cycle_ps

    def narrow(self, nbytes: int) -> int:
        """Return how many code words a write of ``nbytes`` fills in part: those are read first."""
        return 1 if nbytes % self.code_bytes else 0

    def cost(self, action: Action, nbytes: int) -> tuple[int, int]:
        """Return for how long an access holds its port, and how many words it takes."""
        known = self._costs.get((action, nbytes))
        if known is None:
            known = self._costs[(action, nbytes)] = self.hold_ps(action, nbytes), self.words(nbytes)
        return known

    def access(self, action: Action, nbytes: int) -> Access:
        """Reserve a port for ``nbytes``, now; words that are to wake do so first."""
        now, hold = self.sim.now, self.cost(action, nbytes)[0]
        if self.wakes:
            self._wake()
        if action == "read":
            start, cause = self.read_port.reserve(now, hold, "port_busy")
            return Access(now, start, start + hold + self._read_delay, cause)
        start, cause = self.write_port.reserve(now, hold, self._write_cause)
        return Access(now, start, start + hold, cause)

    def _wake(self) -> None:
        """Keep the ports closed until the words have their voltage again."""
        self.wakes = False
        ports = (self.read_port,) if self.read_port is self.write_port else (self.read_port, self.write_port)
        for port in ports if self.spec.wakeup_ps else ():
            port.free_ps = max(port.free_ps, self.sim.now) + self.spec.wakeup_ps
            port.cause = "wakeup"

    def ports(self) -> dict[str, Port]:
        """Return the ports by component name."""
        name = f"spad.{self.spec.name}"
        if self.read_port is self.write_port:
            return {name: self.read_port}
        return {f"{name}.read": self.read_port, f"{name}.write": self.write_port}


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
