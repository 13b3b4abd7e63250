"""Laws of memory components, and of banks in particular."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any, Final

from accelsim.machine.memory import Access, Action, Memory
from accelsim.machine.plugged import MEMBERS, BankModel
from accelsim.resolve.bank_group import BankGroup
from accelsim.sim import Sim, Steps
from accelsim.words import STALL_REASONS

MakeMemory = Callable[[Sim], Memory]
MakeBank = Callable[[Sim], BankModel]
Request = tuple[int, Action, int]  # at ps, what, bytes
SECOND: Final = 10**12  # ps; edges of every clock of whole hertz fall together on it
SIZES = (1, 7, 32, 33, 96, 500, 4096)


def bank_groups() -> list[BankGroup]:
    """Return groups to make banks of: both technologies, both kinds of ports, odd numbers of macros."""
    return [
        _group("sram", "1rw", 1, 1, 32),
        _group("sram", "1r1w", 4, 2, 32),
        _group("sram", "1rw", 3, 1, 8),
        _group("stt-mram", "1rw", 1, 1, 32),
        _group("stt-mram", "1r1w", 2, 8, 64),
    ]


def _group(technology: Any, ports: Any, count: int, subbanks: int, word_bytes: int) -> BankGroup:
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


def serve(make: MakeMemory, requests: list[Request]) -> tuple[Sim, Any, list[Access]]:
    """Make every request at its time, in the order of the list; return engine, memory and answers."""
    sim = Sim()
    memory = make(sim)
    answers: list[Access] = []

    def ask() -> Steps:
        for at_ps, action, nbytes in requests:
            yield sim.at(at_ps)
            answers.append(memory.access(action, nbytes))

    sim.process("ask", ask())
    sim.run("ask")
    return sim, memory, answers


def histories() -> list[list[Request]]:
    """Return sequences of requests, near and far apart, always the same ones."""
    draw = random.Random(0)
    found: list[list[Request]] = [[(0, "read", 32), (0, "write", 32), (0, "read", 32)]]
    for _ in range(20):
        times = sorted(draw.randrange(60_000) for _ in range(draw.randint(1, 15)))
        found.append([(t, draw.choice(("read", "write")), draw.choice(SIZES)) for t in times])
    return found


def _later(requests: list[Request], ps: int) -> list[Request]:
    return [(at + ps, action, nbytes) for at, action, nbytes in requests]


def _relative(answers: list[Access], ps: int = 0) -> list[tuple[int, int, int, Any]]:
    return [(a.queued_ps - ps, a.start_ps - ps, a.done_ps - ps, a.cause) for a in answers]


# -- of every memory -----------------------------------------------------------------------------


def answers_are_times(make: MakeMemory) -> None:
    """Whole picoseconds, asked for now, served not before, done not before that."""
    for requests in histories():
        _, _, answers = serve(make, requests)
        for (at, action, nbytes), access in zip(requests, answers, strict=True):
            times = (access.queued_ps, access.start_ps, access.done_ps)
            assert all(type(t) is int for t in times), f"{action} of {nbytes} bytes: {times}"
            assert at == times[0] <= times[1] <= times[2], f"{action} of {nbytes} bytes at {at}: {times}"


def who_waits_knows_for_what(make: MakeMemory) -> None:
    """A request that is not served at once names one of the closed list of reasons."""
    for requests in histories():
        for access in serve(make, requests)[2]:
            reasons = STALL_REASONS if access.start_ps > access.queued_ps else (None, *STALL_REASONS)
            assert access.cause in reasons, f"{access} waits for {access.cause!r}"


def the_same_requests_have_the_same_answers(make: MakeMemory) -> None:
    """Nothing is drawn, and nothing is shared between two memories."""
    for requests in histories():
        assert serve(make, requests)[2] == serve(make, requests)[2], requests


def only_differences_of_time_count(make: MakeMemory) -> None:
    """A second later the same requests have the same answers, a second later."""
    for requests in histories():
        now, later = serve(make, requests)[2], serve(make, _later(requests, SECOND))[2]
        assert _relative(now) == _relative(later, SECOND), requests


def more_bytes_never_end_sooner(make: MakeMemory) -> None:
    """Of one request to an idle memory."""
    for action in ("read", "write"):
        ends = [serve(make, [(0, action, n)])[2][0].done_ps for n in SIZES]
        assert ends == sorted(ends), f"{action} of {SIZES} bytes ends at {ends}"


def a_chunk_has_bytes(make: MakeMemory) -> None:
    """``chunk_bytes`` is a whole number above 0."""
    chunk = make(Sim()).chunk_bytes
    assert type(chunk) is int, chunk
    assert chunk > 0, chunk


# -- of every bank -------------------------------------------------------------------------------


def a_bank_has_all_members(make: MakeBank) -> None:
    """Those of ``BankModel``."""
    bank = make(Sim())
    assert [name for name in MEMBERS if not hasattr(bank, name)] == []


def a_partial_word_is_a_whole_one(make: MakeBank) -> None:
    """An access takes at least the words that its bytes fill; more bytes take no fewer."""
    bank = make(Sim())
    for action in ("read", "write"):
        words = [bank.cost(action, n)[1] for n in SIZES]
        assert words == sorted(words), f"{action} of {SIZES} bytes takes {words} words"
        for n, taken in zip(SIZES, words, strict=True):
            assert taken * bank.spec.word_bytes >= n, f"{action} of {n} bytes takes {taken} words"


def ports_are_busy_for_what_accesses_cost(make: MakeBank) -> None:
    """Work is conserved: the ports' busy times are the holds of all accesses."""
    for requests in histories():
        _, bank, _ = serve(make, requests)
        holds = sum(bank.cost(action, nbytes)[0] for _, action, nbytes in requests)
        assert sum(p.busy_ps for p in bank.ports().values()) == holds, requests


def a_port_never_does_two_things(make: MakeBank) -> None:
    """It is busy for no longer than there is time from the first request to when it is free."""
    for requests in histories():
        for name, port in serve(make, requests)[1].ports().items():
            if port.served:
                assert port.busy_ps <= port.free_ps - requests[0][0], f"{name}: {requests}"


def ports_have_the_group_s_name(make: MakeBank) -> None:
    """``spad.NAME`` alone, or with ``.read`` and ``.write``; they are ``read_port`` and ``write_port``."""
    bank = make(Sim())
    name, shared = f"spad.{bank.spec.name}", bank.read_port is bank.write_port
    expected = (
        {name: bank.read_port}
        if shared
        else {f"{name}.read": bank.read_port, f"{name}.write": bank.write_port}
    )
    assert bank.ports() == expected


def equal_states_have_equal_futures(make: MakeBank) -> None:
    """Where ``standing`` and the ports are equal, so are all answers: the skip of steady states rests on it.

    A bank without ``standing`` is left out: it is simulated tile by tile.
    """
    seen: dict[Hashable, list[tuple[int, int, int, Any]]] = {}
    after: list[Request] = [(0, "read", 33), (0, "write", 96), (2_000, "read", 32), (90_000, "write", 7)]
    for requests in [[], *histories()]:
        for since in (0, SECOND):
            past = _later(requests, since)
            for rest in (0, 500, 10**6):
                now = (past[-1][0] if past else since) + rest
                state = _state(make, past, now)
                if state is None:
                    return
                answers = serve(make, past + _later(after, now))[2][len(past) :]
                future = seen.setdefault(state, _relative(answers, now))
                assert _relative(answers, now) == future, f"{state} after {past}"


def _state(make: MakeBank, past: list[Request], now: int) -> Hashable | None:
    sim = Sim()
    bank = make(sim)
    standing = getattr(bank, "standing", None)
    found: list[Hashable] = []

    def ask() -> Steps:
        for at_ps, action, nbytes in past:
            yield sim.at(at_ps)
            bank.access(action, nbytes)
        yield sim.at(now)
        ports = [
            (max(0, p.free_ps - now), p.cause if p.free_ps > now else None)
            for p in (bank.read_port, bank.write_port)
        ]
        found.append((tuple(ports), standing(now) if standing is not None else ()))

    if standing is None and type(bank).__module__ != "accelsim.machine.memory":
        return None
    sim.process("ask", ask())
    sim.run("ask")
    return found[0]


MEMORY_LAWS = (
    answers_are_times,
    who_waits_knows_for_what,
    the_same_requests_have_the_same_answers,
    only_differences_of_time_count,
    more_bytes_never_end_sooner,
    a_chunk_has_bytes,
)
BANK_LAWS = (
    *MEMORY_LAWS,
    a_bank_has_all_members,
    a_partial_word_is_a_whole_one,
    ports_are_busy_for_what_accesses_cost,
    a_port_never_does_two_things,
    ports_have_the_group_s_name,
    equal_states_have_equal_futures,
)
