"""The engine: order, whole picoseconds, clocks, counters, streams, and what cannot end says so."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import DeadlockError, RunError
from accelsim.sim import Clock, Counter, Sim, Steps
from accelsim.sim.engine import PS_PER_S

cycles = st.integers(0, 10**12)
frequencies = st.integers(1, 10**12) | st.just(3_800_000_000)


def _note(log: list[Any], what: Any, event: simpy.Event) -> Steps:
    yield event
    log.append(what)


def _wait(event: simpy.Event) -> Steps:
    yield event


@given(st.lists(st.integers(0, 3), max_size=20))
def test_events_of_an_instant_fire_in_the_order_of_asking(delays: list[int]) -> None:
    """Equal times keep the order of the requests; later ones come later."""
    sim = Sim()
    log: list[Any] = []
    names = [f"p{i}" for i in range(len(delays))]
    for i, ps in enumerate(delays):
        sim.process(names[i], _note(log, i, sim.delay(ps)))
    end = sim.run(*names)
    assert log == sorted(range(len(delays)), key=lambda i: delays[i])
    assert end == max(delays, default=0)


def test_an_instant_reached_by_two_ways_keeps_the_order_of_asking() -> None:
    """Asked for at 0 for 10 comes before asked for at 4 for 6 more, and both before asked for at 10."""
    sim = Sim()
    log: list[Any] = []

    def later() -> Steps:
        yield sim.delay(4)
        yield sim.delay(6)
        log.append("at 4")
        yield sim.delay(0)
        log.append("at 10")

    sim.process("later", later())
    sim.process("early", _note(log, "at 0", sim.delay(10)))
    assert sim.run("early", "later") == 10
    assert log == ["at 0", "at 4", "at 10"]


@pytest.mark.parametrize("ps", [1.0, 0.5, np.int64(3), np.float64(1), True, "1", None])
def test_time_is_whole_picoseconds(ps: Any) -> None:
    """Only int is a time; a float, a numpy number, a bool is refused by name."""
    with pytest.raises(TypeError) as error:
        Sim().delay(ps)
    assert str(error.value) == f"time is whole picoseconds, got {ps!r}"


def test_an_instant_that_has_passed_is_now() -> None:
    """``at`` of the past fires at once, of the future then."""
    sim = Sim()
    log: list[Any] = []
    sim.process("wait", _note(log, "wait", sim.delay(100)))
    sim.run("wait")
    sim.process("past", _note(log, "past", sim.at(40)))
    assert sim.run("past") == 100
    sim.process("future", _note(log, "future", sim.at(140)))
    assert sim.run("future") == sim.now == 140


@given(frequencies, cycles)
def test_edges_never_drift(hz: int, cycle: int) -> None:
    """Edge n is within a picosecond of n / f, however large n is."""
    exact = Fraction(cycle * PS_PER_S, hz)
    assert 0 <= exact - Clock(hz).edge(cycle) < 1


@given(st.integers(1, 10**6))
def test_edges_of_3_8_ghz_meet_whole_nanoseconds(thousands: int) -> None:
    """38 cycles of 3.8 GHz are 10 ns, and so are any 38 from a multiple of 38 on."""
    clock = Clock(3_800_000_000)
    assert clock.edge(38 * thousands) == 10_000 * thousands
    assert clock.at_or_after(10_000 * thousands) == 38 * thousands


@given(st.integers(1, PS_PER_S), st.integers(0, 10**15))
def test_the_next_edge_is_the_first_one_not_before(hz: int, ps: int) -> None:
    """The edge found is at or after the time, the one before it is not."""
    clock = Clock(hz)
    cycle = clock.at_or_after(ps)
    assert clock.edge(cycle) >= ps
    assert cycle == 0 or clock.edge(cycle - 1) < ps


@given(st.integers(1, PS_PER_S), cycles)
def test_the_next_edge_of_an_edge_is_itself(hz: int, cycle: int) -> None:
    """Cycles to picoseconds and back is the same cycle, for every clock whose edges differ."""
    clock = Clock(hz)
    assert clock.at_or_after(clock.edge(cycle)) == cycle


def test_a_counter_wakes_who_waits_for_no_more() -> None:
    """Waiters wake in the order of asking; the value never falls."""
    sim = Sim()
    log: list[Any] = []
    counter = Counter(sim)
    for what, n in (("third", 3), ("second", 2), ("other third", 3), ("tenth", 10), ("zeroth", 0)):
        sim.process(what, _note(log, what, counter.reached(n)))

    def count() -> Steps:
        yield sim.delay(1)
        counter.advance(2)
        yield sim.delay(1)
        counter.advance(1)
        assert counter.value == 2
        assert log == ["zeroth", "second"]
        counter.advance(3)
        yield sim.delay(1)
        assert log == ["zeroth", "second", "third", "other third"]
        counter.advance(10)

    sim.process("count", count())
    assert sim.run("tenth") == 3
    assert log == ["zeroth", "second", "third", "other third", "tenth"]


def test_a_counter_that_is_there_lets_through_at_once() -> None:
    """No event is owed for a value already reached, and the instant does not change."""
    sim = Sim()
    counter = Counter(sim)
    counter.advance(5)
    assert counter.reached(5).triggered
    assert not counter.reached(6).triggered


def test_a_deadlock_names_who_waits_for_what() -> None:
    """Two processes wait for each other after 7 ps; a third has ended and is not named."""
    sim = Sim()
    fills, folds = Counter(sim), Counter(sim)

    def dma() -> Steps:
        yield sim.delay(7)
        sim.waiting["dma"] = "fold 1"
        yield folds.reached(1)
        fills.advance(1)

    def array() -> Steps:
        sim.waiting["pe_array"] = "fill 1"
        yield fills.reached(1)
        folds.advance(1)

    sim.process("dma", dma())
    sim.process("pe_array", array())
    sim.process("done", _wait(sim.delay(3)))
    with pytest.raises(DeadlockError) as error:
        sim.run("dma", "pe_array", "done")
    assert str(error.value) == ("nothing can go on at 7 ps:\ndma waits for fold 1\npe_array waits for fill 1")
    assert error.value.exit_code == 1


def test_a_deadlock_of_one_who_does_not_say_why_still_names_it() -> None:
    """Without a note of its own the process waits for an event."""
    sim = Sim()
    sim.process("p", _wait(sim.env.event()))
    with pytest.raises(DeadlockError, match=r"\Anothing can go on at 0 ps:\np waits for an event\Z"):
        sim.run("p")


@pytest.mark.parametrize("error", [ValueError("wrong"), RuntimeError("wrong"), RecursionError("wrong")])
@pytest.mark.parametrize("watched", [True, False])
def test_an_error_in_a_process_is_not_a_deadlock(error: Exception, watched: bool) -> None:
    """It comes through as it is, also from a process that the run does not wait for."""
    sim = Sim()

    def fail() -> Steps:
        yield sim.delay(1)
        raise error

    sim.process("fails", fail())
    sim.process("waits", _wait(sim.delay(5)))
    with pytest.raises(type(error), match=r"\Awrong\Z"):
        sim.run("fails" if watched else "waits")


def test_a_step_that_no_instant_holds_is_told() -> None:
    """Many slow accesses end later than whole picoseconds in 64 bits reach."""
    sim, seen = Sim(), np.zeros(1, dtype=np.int64)

    def goes_on() -> Steps:
        yield sim.delay(2**63)
        seen[0] = sim.now

    sim.process("late", goes_on())
    with pytest.raises(RunError, match="longer than 106 days"):
        sim.run("late")


def test_random_streams_go_by_name() -> None:
    """The same for a seed, whatever else was drawn; another for another name or seed."""
    alone = Sim(seed=1).rng("spad.mram").integers(0, 2**32, 8).tolist()
    sim = Sim(seed=1)
    other = sim.rng("dram").integers(0, 2**32, 8).tolist()
    assert sim.rng("spad.mram").integers(0, 2**32, 8).tolist() == alone
    assert other != alone
    assert Sim(seed=2).rng("spad.mram").integers(0, 2**32, 8).tolist() != alone


def test_a_stream_is_pinned() -> None:
    """The numbers of a seed and a name are promised for this version."""
    assert Sim(seed=3).rng("spad.mram").integers(0, 1000, 4).tolist() == [777, 289, 260, 359]


def test_a_timer_keeps_no_dead_run_alive() -> None:
    """Where all wait for each other, timers end too, and the run says who waits."""
    sim = Sim()

    def waits() -> Steps:
        yield sim.event()

    sim.process("p", waits())
    sim.every(1_000, lambda: None)
    with pytest.raises(DeadlockError, match="p waits for an event"):
        sim.run("p")
