"""The contract of every memory component: one suite, run over all of them.

A component answers a request at once with the times of its service; the gates here are checked with
events of the engine at those times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Literal

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from accelsim.geometry import ceil_div
from accelsim.machine.layout import bank_map
from accelsim.machine.memory import Access, Action, Bank, FlatDram, Port
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Dram
from accelsim.sim import Sim, Steps
from accelsim.sim.engine import PS_PER_S
from accelsim.words import Technology

Component = Bank | FlatDram
Make = Callable[[Sim], Component]
GRANULARITY = 4096


def group(
    technology: Technology = "sram",
    ports: Literal["1rw", "1r1w"] = "1rw",
    count: int = 1,
    subbanks: int = 1,
    word_bytes: int = 32,
) -> BankGroup:
    """A bank group whose three times differ; an STT-MRAM writes in 6 ns."""
    return BankGroup(
        name="g",
        technology=technology,
        count=count,
        subbanks=subbanks,
        capacity_bytes=1 << 20,
        word_bytes=word_bytes,
        ports=ports,
        read_latency_ps=1_700,
        read_cycle_ps=900,
        write_cycle_ps=6_000 if technology == "stt-mram" else 800,
        read_pj=1.0,
        write_pj=2.0,
        leakage_mw=0.0,
        area_mm2=0.1,
    )


DRAM = Dram(
    bandwidth_bytes_per_s=3 * 10**9,  # 333.3 ps per byte: nothing is whole
    latency_ps=50_000,
    read_pj_per_bit=4.0,
    write_pj_per_bit=4.0,
    background_mw=0.0,
)

GROUPS = {
    "sram": group(),
    "sram 1r1w": group(ports="1r1w"),
    "sram 4x2": group(count=4, subbanks=2),
    "sram 3x1 of 8 B": group(count=3, word_bytes=8),
    "stt-mram": group("stt-mram"),
    "stt-mram 1r1w": group("stt-mram", ports="1r1w"),
    "stt-mram 2x8 of 64 B": group("stt-mram", count=2, subbanks=8, word_bytes=64),
}


def _bank(spec: BankGroup, sim: Sim) -> Bank:
    return Bank(sim, spec, GRANULARITY)


def _by_address(spec: BankGroup, sim: Sim) -> Bank:
    return Bank(sim, spec, GRANULARITY, bank_map("line", 64, 0, spec))


def _dram(sim: Sim) -> FlatDram:
    return FlatDram(sim, DRAM, GRANULARITY)


COMPONENTS: dict[str, Make] = {name: partial(_bank, spec) for name, spec in GROUPS.items()}
COMPONENTS["sram 1x4, by address"] = partial(_by_address, group(subbanks=4))  # one bank: one server
COMPONENTS["flat dram"] = _dram
every_component = pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS)
every_group = pytest.mark.parametrize("spec", GROUPS.values(), ids=GROUPS)
Request = tuple[int, Action, int]  # at ps, what, bytes
actions = st.sampled_from(["read", "write"])
requests = st.lists(st.tuples(st.integers(0, 40_000), actions, st.integers(1, 700)), min_size=1, max_size=20)


def serve(make: Make, todo: list[Request]) -> tuple[Component, list[Access]]:
    """Make every request at its time, in the order of the list where times are equal."""
    sim = Sim()
    memory = make(sim)
    served: list[Access] = []

    def ask() -> Steps:
        for at_ps, action, nbytes in sorted(todo, key=lambda r: r[0]):
            yield sim.at(at_ps)
            served.append(memory.access(action, nbytes))

    sim.process("ask", ask())
    sim.run("ask")
    return memory, served


def ports(memory: Component) -> list[Port]:
    """Every port of a component."""
    return list(memory.ports().values()) if isinstance(memory, Bank) else [memory.port]


def port_of(memory: Component, action: Action) -> Port:
    """The port that serves ``action``."""
    if isinstance(memory, FlatDram):
        return memory.port
    return memory.read_port if action == "read" else memory.write_port


def by_port(
    make: Make, todo: list[Request]
) -> Iterator[tuple[Component, Port, list[tuple[Request, Access]]]]:
    """Serve ``todo`` and yield each port with its requests, in the order of asking, as they were served."""
    todo = sorted(todo, key=lambda r: r[0])
    memory, served = serve(make, todo)
    for port in ports(memory):
        both = zip(todo, served, strict=True)
        yield memory, port, [(r, s) for r, s in both if port_of(memory, r[1]) is port]


def exact_hold(memory: Component, action: Action, nbytes: int) -> Fraction:
    """Return for how long a port is held, in exact picoseconds."""
    if isinstance(memory, FlatDram):
        return Fraction(nbytes * PS_PER_S, memory.spec.bandwidth_bytes_per_s)
    return Fraction(expected_service(memory, action, nbytes)[0])


def expected_service(memory: Component, action: Action, nbytes: int) -> tuple[int, int]:
    """Return for how long an idle component's port is held, and after how long the request is done."""
    if isinstance(memory, FlatDram):
        hold = -(-nbytes * PS_PER_S // memory.spec.bandwidth_bytes_per_s)
        return hold, hold + (memory.spec.latency_ps if action == "read" else 0)
    spec = memory.spec
    beats = ceil_div(ceil_div(nbytes, spec.word_bytes), spec.count * spec.subbanks)
    if action == "write":
        return beats * spec.write_cycle_ps, beats * spec.write_cycle_ps
    return beats * spec.read_cycle_ps, spec.read_latency_ps + (beats - 1) * spec.read_cycle_ps


def assert_done_exactly_at(sim: Sim, event: simpy.Event, at_ps: int) -> None:
    """Assert that ``event`` is pending just before ``at_ps`` and done at ``at_ps``."""
    sim.env.run(until=at_ps)  # stops before the events of this instant
    assert not event.processed, f"done too early, before {at_ps} ps"
    sim.env.run(until=at_ps + 1)
    assert event.processed, f"still pending after {at_ps} ps"


@every_component
@pytest.mark.parametrize("action", ["read", "write"])
def test_a_request_is_pending_until_its_time_and_done_at_it(make: Make, action: Action) -> None:
    """A second request of the same instant waits for the first: blocked at t - 1, done at t."""
    sim = Sim()
    memory = make(sim)
    hold, service = expected_service(memory, action, 96)
    first, second = memory.access(action, 96), memory.access(action, 96)
    assert first == Access(0, 0, service, None)
    assert (second.start_ps, second.done_ps) == (hold, hold + service)  # 96 bytes last whole picoseconds
    assert_done_exactly_at(sim, sim.at(second.done_ps), hold + service)


@every_component
@pytest.mark.parametrize("action", ["read", "write"])
def test_a_port_is_free_at_the_end_of_its_hold_and_no_sooner(make: Make, action: Action) -> None:
    """A request one picosecond before the port is free waits for that one; at the time, for nothing."""
    hold, _ = expected_service(make(Sim()), action, 96)
    for early in (1, 0):
        _, (_, late) = serve(make, [(0, action, 96), (hold - early, action, 96)])
        assert (late.queued_ps, late.start_ps) == (hold - early, hold)
        assert (late.cause is None) == (early == 0)


@every_group
@pytest.mark.parametrize("words", [1, 2, 3, 7, 8, 9, 15, 16, 17, 100])
def test_words_spread_over_all_macros(spec: BankGroup, words: int) -> None:
    """n words on b x s macros: latency + (ceil(n / bs) - 1) read cycles, ceil(n / bs) write cycles."""
    beats = -(-words // (spec.count * spec.subbanks))
    nbytes = words * spec.word_bytes
    _, (read,) = serve(partial(_bank, spec), [(0, "read", nbytes)])
    _, (write,) = serve(partial(_bank, spec), [(0, "write", nbytes)])
    assert read.done_ps == spec.read_latency_ps + (beats - 1) * spec.read_cycle_ps
    assert write.done_ps == beats * spec.write_cycle_ps


@every_group
@pytest.mark.parametrize("action", ["read", "write"])
def test_a_partial_word_is_a_whole_one(spec: BankGroup, action: Action) -> None:
    """One byte costs a word; one byte more than the words of all macros costs another beat."""
    beat = spec.lanes * spec.word_bytes
    cycle = spec.read_cycle_ps if action == "read" else spec.write_cycle_ps
    done = {n: serve(partial(_bank, spec), [(0, action, n)])[1][0].done_ps for n in (1, beat, beat + 1)}
    assert done[1] == done[beat] == done[beat + 1] - cycle
    bank = _bank(spec, Sim())
    assert [bank.words(n) for n in (1, spec.word_bytes, spec.word_bytes + 1)] == [1, 1, 2]


@every_component
@given(requests)
def test_first_come_first_served(make: Make, todo: list[Request]) -> None:
    """Each port serves in the order of asking, one at a time, and never idles while one waits.

    The reference is a queue in exact fractions of a picosecond, of which the component gives the ceiling.
    """
    for memory, _, served in by_port(make, todo):
        free = Fraction(0)
        for (_, action, nbytes), access in served:
            waits = ceil(free) > access.queued_ps
            start = free if waits else Fraction(access.queued_ps)
            free = start + exact_hold(memory, action, nbytes)
            hold, service = expected_service(memory, action, nbytes)
            assert access.start_ps == ceil(start)
            assert access.done_ps == ceil(free) + service - hold
            assert (access.cause is not None) == waits


@every_component
@given(requests)
def test_a_port_never_does_two_things(make: Make, todo: list[Request]) -> None:
    """What was asked for is what the port was busy with, and no longer than it had time for."""
    for memory, port, served in by_port(make, todo):
        work = sum(exact_hold(memory, action, nbytes) for (_, action, nbytes), _ in served)
        assert work <= port.busy_ps < work + len(served) + 1  # less than a picosecond each
        if served:
            assert port.busy_ps <= port.free_ps - served[0][1].start_ps


@every_component
@given(requests)
def test_work_does_not_depend_on_when_it_is_asked_for(make: Make, todo: list[Request]) -> None:
    """Asked for at once, the requests of a port follow each other without a gap."""
    for memory, port, served in by_port(make, [(0, action, nbytes) for _, action, nbytes in todo]):
        work = sum(exact_hold(memory, action, nbytes) for (_, action, nbytes), _ in served)
        assert port.busy_ps == port.free_ps == ceil(work)


@every_component
@given(requests, st.integers(0, 19), st.integers(1, 700))
def test_more_bytes_never_end_sooner(make: Make, todo: list[Request], which: int, more: int) -> None:
    """Growing one request delays no request's end below what it was."""
    todo = sorted(todo, key=lambda r: r[0])
    which %= len(todo)
    at_ps, action, nbytes = todo[which]
    grown = [*todo[:which], (at_ps, action, nbytes + more), *todo[which + 1 :]]
    before, after = serve(make, todo)[1], serve(make, grown)[1]
    assert all(a.done_ps >= b.done_ps for b, a in zip(before, after, strict=True))


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=50), actions)
def test_many_small_dram_transfers_last_as_long_as_a_large_one(sizes: list[int], action: Action) -> None:
    """Whole picoseconds lose nothing: the remainder of a transfer is carried to the next."""
    dram, _ = serve(_dram, [(0, action, n) for n in sizes])
    whole, _ = serve(_dram, [(0, action, sum(sizes))])
    assert port_of(dram, action).busy_ps == port_of(whole, action).busy_ps
    assert port_of(dram, action).free_ps == ceil(Fraction(sum(sizes) * PS_PER_S, DRAM.bandwidth_bytes_per_s))


def test_dram_directions_share_the_bandwidth() -> None:
    """3 kB each way at 3 GB/s: a microsecond each, one after the other; a read pays the latency on top."""
    _, (read, write) = serve(_dram, [(0, "read", 3_000), (0, "write", 3_000)])
    assert read == Access(0, 0, 1_000_000 + 50_000, None)
    assert write == Access(0, 1_000_000, 2_000_000, "dram")


@pytest.mark.parametrize(
    ("spec", "first", "then", "cause"),
    [
        (group(), "read", "read", "port_busy"),
        (group(), "write", "read", "port_busy"),
        (group("stt-mram"), "read", "write", "port_busy"),
        (group("stt-mram"), "write", "read", "write_pulse"),
        (group("stt-mram"), "write", "write", "write_pulse"),
        (group("stt-mram", "1r1w"), "write", "write", "write_pulse"),
        (group("stt-mram", "1r1w"), "write", "read", None),
        (group("stt-mram", "1r1w"), "read", "write", None),
        (group("sram", "1r1w"), "read", "read", "port_busy"),
    ],
)
def test_who_waits_knows_for_what(spec: BankGroup, first: Action, then: Action, cause: str | None) -> None:
    """Behind an STT-MRAM write one waits for the pulse; behind another access, for the port."""
    _, (_, second) = serve(partial(_bank, spec), [(0, first, 32), (0, then, 32)])
    assert second.cause == cause
    assert (second.start_ps > 0) == (cause is not None)


@every_group
def test_ports_are_named_after_the_group(spec: BankGroup) -> None:
    """One port ``spad.g``, or one per direction."""
    names = ["spad.g"] if spec.ports == "1rw" else ["spad.g.read", "spad.g.write"]
    assert list(_bank(spec, Sim()).ports()) == names


@every_group
@pytest.mark.parametrize("granularity", [1, 100, 4096, 10_000])
def test_a_transaction_is_whole_beats_within_the_granularity(spec: BankGroup, granularity: int) -> None:
    """``chunk_bytes`` fills all macros evenly; it exceeds the granularity only where one beat does."""
    chunk, beat = Bank(Sim(), spec, granularity).chunk_bytes, spec.lanes * spec.word_bytes
    assert chunk % beat == 0
    assert chunk == beat or chunk <= granularity < chunk + beat


@every_group
@pytest.mark.parametrize("factor", [2, 3])
def test_slower_cells_never_serve_sooner(spec: BankGroup, factor: int) -> None:
    """Time is monotone in every time of the macro."""
    todo: list[Request] = [(0, "write", 300), (100, "read", 500), (200, "write", 40), (7_000, "read", 64)]
    before = serve(partial(_bank, spec), todo)[1]
    for name in ("read_latency_ps", "read_cycle_ps", "write_cycle_ps"):
        slower = replace(spec, **{name: getattr(spec, name) * factor})
        after = serve(partial(_bank, slower), todo)[1]
        assert all(a.done_ps >= b.done_ps for b, a in zip(before, after, strict=True))
