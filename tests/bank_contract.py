"""What every bank-like component promises, whatever its map, its ports and its write buffer.

A component answers a request at once. Each law takes a way to make the component; a test file applies all
of them to each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.geometry import ceil_div
from accelsim.machine.layout import At, contiguous
from accelsim.machine.memory import Action, Bank, Service
from accelsim.sim import Sim, Steps

Make = Callable[[Sim], Bank]


class Request(NamedTuple):
    """At some picosecond, bytes of a stream that begins at an address."""

    at_ps: int
    action: Action
    address: int
    nbytes: int
    space: str


requests = st.lists(
    st.builds(
        Request,
        st.integers(0, 40_000),
        st.sampled_from(["read", "write"]),
        st.integers(0, 40).map(lambda n: 32 * n),
        st.integers(1, 700),
        st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=20,
)
few = settings(max_examples=25)


def served(make: Make, todo: list[Request], looks: tuple[int, ...] = ()) -> tuple[Bank, list[Service]]:
    """Make every request at its time; at ``looks``, look at the write buffers, which must not matter."""
    sim = Sim()
    bank = make(sim)
    found: list[Service] = []
    steps = sorted([*((r.at_ps, r) for r in todo), *((t, None) for t in looks)], key=lambda s: s[0])

    def ask() -> Steps:
        for at_ps, request in steps:
            yield sim.at(at_ps)
            if request is None:
                for server in bank.servers:
                    server.settle(sim.now)
                continue
            at = At(contiguous(((request.address, 1 << 20),)), 0)
            found.append(bank.serve(request.action, request.nbytes, at, 0, request.space))

    sim.process("ask", ask())
    sim.run("ask")
    return bank, found


def a_request_takes_its_time(make: Make) -> None:
    """Nothing starts before it is asked for, or ends before a beat has passed; who waits says why."""

    @few
    @given(requests)
    def law(todo: list[Request]) -> None:
        bank, found = served(make, todo)
        asked = sorted(todo, key=lambda r: r.at_ps)
        for request, service in zip(asked, found, strict=True):
            access = service.access
            assert access.queued_ps == request.at_ps <= access.start_ps < access.done_ps
            assert access.start_ps == access.queued_ps or access.cause is not None
            moved = service.words if request.action == "read" else max(service.words, service.buffered)
            assert moved + service.forwarded >= ceil_div(request.nbytes, bank.spec.word_bytes)

    law()


def a_port_does_one_thing_at_a_time(make: Make) -> None:
    """Of every port: busy for its beats, and never longer than since its first request."""

    @few
    @given(requests)
    def law(todo: list[Request]) -> None:
        bank, found = served(make, todo)
        bank.flush()
        spec, first = bank.spec, min(r.at_ps for r in todo)
        for port in bank.ports().values():
            assert port.busy_ps <= max(0, port.free_ps - first)
        busy = sum(p.busy_ps for p in bank.ports().values())
        least = sum(s.words for s in found) * min(spec.read_cycle_ps, spec.write_cycle_ps) / spec.lanes
        assert busy >= least

    law()


def looking_changes_nothing(make: Make) -> None:
    """What is worked out late is what would have been worked out early: exact, with and without a skip."""

    @few
    @given(requests, st.lists(st.integers(0, 60_000), max_size=15))
    def law(todo: list[Request], looks: list[int]) -> None:
        bank, found = served(make, todo)
        looked, again = served(make, todo, tuple(looks))
        assert [s.access for s in again] == [s.access for s in found]
        for server in (*bank.servers, *looked.servers):
            server.settle(100_000_000)
        ends = [[(p.free_ps, p.busy_ps) for p in b.ports().values()] for b in (bank, looked)]
        assert ends[0] == ends[1]

    law()


def every_word_comes_to_the_cells(make: Make) -> None:
    """What is written into a buffer leaves it for the cells, once, in order; or it was there already."""

    @few
    @given(requests)
    def law(todo: list[Request]) -> None:
        bank, found = served(make, todo)
        bank.flush()
        entries = [e for s in found for _, e in s.entries]
        assert all(e.done_ps > 0 and not e.left for e in entries)
        writes = [s for s in found if s.buffered]
        assert sum(len(e.offsets) for e in entries) == sum(s.words for s in writes)
        assert all(s.buffered >= s.words for s in writes)
        assert all(not server.buffer.level for server in bank.servers if server.buffer is not None)
        for server in bank.servers:
            own = [e.done_ps for s in found for b, e in s.entries if b is server.buffer]
            assert own == sorted(own)

    law()


def the_cells_say_when(make: Make) -> None:
    """Who waits for cells is told at the picosecond at which they have been written."""

    @few
    @given(requests)
    def law(todo: list[Request]) -> None:
        sim = Sim()
        bank = make(sim)
        told: list[tuple[int, int]] = []

        def ask() -> Steps:
            for r in sorted(todo, key=lambda r: r.at_ps):
                yield sim.at(r.at_ps)
                at = At(contiguous(((r.address, 1 << 20),)), 0)
                for buffer, entry in bank.serve(r.action, r.nbytes, at, 0, r.space).entries:
                    bank.when_written(
                        buffer,
                        entry,
                        None,
                        lambda e=entry: told.append((e.done_ps, sim.now)),  # type: ignore[misc]
                    )
            yield sim.delay(10_000_000)

        sim.process("ask", ask())
        sim.run("ask")
        assert all(done == now for done, now in told)

    law()


LAWS: list[Callable[[Make], None]] = [
    a_request_takes_its_time,
    a_port_does_one_thing_at_a_time,
    looking_changes_nothing,
    every_word_comes_to_the_cells,
    the_cells_say_when,
]
