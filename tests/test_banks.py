"""Banks that serve by address, and write buffers: contract, closed forms, hand-made timelines."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import ConfigError
from accelsim.machine import Touch, run_program
from accelsim.machine.layout import At, BankMap, Layout, bank_map, boxed, contiguous
from accelsim.machine.memory import Access, Bank
from accelsim.machine.places import Key, Places
from accelsim.mapping import map_graph
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.nests import START
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup, WriteBuffer
from accelsim.resolve.machine import Interleave
from accelsim.resolve.shape import array_shape
from accelsim.run.energy import price_pj
from accelsim.sim import Sim, Steps
from accelsim.trace.recorder import Recorder
from tests.bank_contract import LAWS, Make
from tests.strategies import bank as group
from tests.strategies import gemms, machine
from tests.test_steady_state import agree

CYCLE = 1_000


def buffer(
    entries: int = 4, high: int = 3, low: int = 1, coalescing: bool = True, forwarding: bool = True
) -> WriteBuffer:
    """A write buffer that a beat enters in half a nanosecond."""
    return WriteBuffer(
        entries=entries,
        high=high,
        low=low,
        coalescing=coalescing,
        forwarding=forwarding,
        cycle_ps=500,
        access_pj=0.1,
    )


def made(sim: Sim, spec: BankGroup, interleave: Interleave = "word", line: int = 64, skew: int = 0) -> Bank:
    """A bank component of ``spec``."""
    return Bank(sim, spec, 4096, bank_map(interleave, line, skew, spec))


def _spec(
    front: WriteBuffer | None = None, ports: str = "1rw", count: int = 3, subbanks: int = 2
) -> BankGroup:
    return replace(
        group(
            "g",
            capacity=48 * 1024,
            technology="stt-mram",
            count=count,
            subbanks=subbanks,
            word=32,
            ports=ports,
            read=(1_700, 900),
            write=6_000,
        ),
        buffer=front,
    )


COMPONENTS: dict[str, Make] = {
    "word": lambda sim: made(sim, _spec()),
    "line": lambda sim: made(sim, _spec(), "line"),
    "line of 96 B, skewed, 1r1w": lambda sim: made(sim, _spec(ports="1r1w"), "line", 96, 1),
    "tile": lambda sim: made(sim, _spec(), "tile"),
    "word, buffer": lambda sim: made(sim, _spec(buffer(20, 12, 3))),
    "word, one entry, 1r1w": lambda sim: made(sim, _spec(buffer(1, 1, 0), "1r1w")),
    "line, buffer": lambda sim: made(sim, _spec(buffer()), "line"),
    "tile, plain buffer": lambda sim: made(sim, _spec(buffer(8, 8, 7, False, False)), "tile"),
}


@pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_bank_keeps_the_contract(make: Make, law: Callable[[Make], None]) -> None:
    """All laws of all bank-like components."""
    law(make)


# -- closed forms of banks that serve by address ----------------------------------------------------


def banks_of(count: int, service: int, sim: Sim) -> Bank:
    """``count`` banks of one macro each, words of 4 bytes in turn, ``service`` cycles for a word."""
    spec = group("g", capacity=4096 * count, count=count, word=4, read=(service * CYCLE, service * CYCLE))
    return made(sim, spec, "line", 4)


def ends(bank: Bank, addresses: list[int], blocking: bool = False) -> list[Access]:
    """Ask for a word a cycle; ``blocking``: not before the one before is being served."""
    sim, found = bank.sim, []

    def ask() -> Steps:
        for address in addresses:
            found.append(bank.access("read", 4, At(contiguous(((4 * address, 1 << 40),)), 0)))
            begun = found[-1].start_ps if blocking else sim.now
            yield sim.at(begun + CYCLE)

    sim.process("ask", ask())
    sim.run("ask")
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("service", [1, 2, 3, 5])
def test_a_stride_sustains_what_its_banks_can(count: int, service: int) -> None:
    """Stride s on B banks of service c: min(1, (B / gcd(B, s)) / c) words a cycle, to the cycle."""
    for stride in range(1, 10):
        used = count // gcd(count, stride)
        words = used * 12
        last = ends(banks_of(count, service, Sim()), [stride * i for i in range(words)])[-1].done_ps
        rate = min(Fraction(1), Fraction(used, service))
        start_of_last_bank = used - 1
        expected = words - 1 + service if rate == 1 else start_of_last_bank + words / rate
        assert last == expected * CYCLE, (stride, used)


@pytest.mark.parametrize("skew", [0, 1, 2, 3])
def test_skew_spreads_a_column(skew: int) -> None:
    """A column of a tensor whose rows are B words: row r is r x skew banks on, a stride of ``skew``."""
    banks, service, rows = 4, 3, 24
    spec = group("g", capacity=4096 * banks, count=banks, word=4, read=(service * CYCLE, service * CYCLE))
    sim = Sim()
    bank = made(sim, spec, "line", 4, skew)
    column = boxed(((0, 4 * banks * rows),), (rows, banks), ((0, rows), (1, 2)), 4)
    found = [bank.access("read", 4, At(column, 4 * r)) for r in range(rows)]
    used = banks // gcd(banks, skew) if skew else 1
    assert max(a.done_ps for a in found) == rows // used * service * CYCLE
    over = bank.map
    assert over is not None
    assert len(set(column.banks(4 * np.arange(rows), over).tolist())) == used


def chain(
    banks: int, service: int
) -> tuple[dict[tuple[int, ...], dict[tuple[int, ...], Fraction]], tuple[int, ...]]:
    """The Markov chain of random words, one after the other: how long each bank is still busy, when asked."""
    idle = (0,) * banks
    steps: dict[tuple[int, ...], dict[tuple[int, ...], Fraction]] = {}
    todo = [idle]
    while todo:
        state = todo.pop()
        if state in steps:
            continue
        steps[state] = Counter()  # type: ignore[assignment]
        for bank in range(banks):
            left = [max(0, n - state[bank] - 1) for n in state]
            left[bank] = service - 1
            steps[state][tuple(sorted(left))] = steps[state].get(tuple(sorted(left)), Fraction(0)) + Fraction(
                1, banks
            )
            todo.append(tuple(sorted(left)))
    return steps, idle


@pytest.mark.parametrize(
    ("banks", "service", "words"), [(2, 2, 8), (2, 5, 8), (3, 3, 6), (4, 2, 5), (4, 4, 5)]
)
def test_random_words_follow_the_markov_chain(banks: int, service: int, words: int) -> None:
    """Over all addresses, the mean instant at which the n-th word is served is the chain's, exactly."""
    steps, idle = chain(banks, service)
    chances, expected = {idle: Fraction(1)}, Fraction(0)  # cycles until the last word is asked for
    for _ in range(words - 1):
        after: dict[tuple[int, ...], Fraction] = {}
        for state, chance in chances.items():
            expected += chance * (Fraction(sum(state), banks) + 1)  # waits for its bank, then a cycle
            for other, p in steps[state].items():
                after[other] = after.get(other, Fraction(0)) + chance * p
        chances = after
    total = 0
    for addresses in itertools.product(range(banks), repeat=words):
        total += ends(banks_of(banks, service, Sim()), list(addresses), blocking=True)[-1].queued_ps
    assert Fraction(total, banks**words * CYCLE) == expected


@pytest.mark.parametrize(("banks", "service"), [(2, 3), (4, 2), (4, 5)])
def test_random_words_sustain_the_chains_rate(banks: int, service: int) -> None:
    """In the long run: one over the mean time between two words, by the stationary distribution."""
    steps, _ = chain(banks, service)
    states = list(steps)
    matrix = np.array([[float(steps[a].get(b, 0)) for b in states] for a in states])
    system = np.vstack([matrix.T - np.eye(len(states)), np.ones(len(states))])
    stationary = np.linalg.lstsq(system, np.r_[np.zeros(len(states)), 1.0], rcond=None)[0]
    between = sum(p * (sum(s) / banks + 1) for p, s in zip(stationary, states, strict=True))
    words = 12_000
    addresses = np.random.default_rng(7).integers(0, banks, words).tolist()
    last = ends(banks_of(banks, service, Sim()), addresses, blocking=True)[-1].queued_ps
    assert last / CYCLE / (words - 1) == pytest.approx(between, rel=0.015)


@given(st.data())
@settings(max_examples=60)
def test_a_walk_passes_its_bytes(data: st.DataObject) -> None:
    """Layout against an array of addresses; equal phases mean equal banks all along."""
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    box = tuple(sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape)
    box = tuple((low, high + 1) for low, high in box)
    size = data.draw(st.sampled_from([1, 2, 4]))
    total = size * int(np.prod(shape))
    cut = data.draw(st.integers(1, total))
    extents = ((640, cut), (128, total - cut)) if cut < total else ((640, total),)
    stored = np.concatenate([np.arange(low, low + n) for low, n in extents]).reshape(*shape, size)
    rows = np.broadcast_to(np.arange(total).reshape(*shape, size) // (size * shape[-1]), stored.shape)
    part = tuple(slice(*r) for r in box)
    walk = boxed(extents, shape, box, size)
    at = np.arange(walk.nbytes, dtype=np.int64)
    assert walk.addresses(walk.inside(at)).tolist() == stored[part].ravel().tolist()
    over = BankMap(
        data.draw(st.integers(1, 4)), data.draw(st.sampled_from([4, 6, 64])), data.draw(st.integers(0, 2))
    )
    banks = walk.banks(at, over)
    expected = (stored[part].ravel() // over.line_bytes + rows[part].ravel() * over.skew) % over.banks
    assert banks.tolist() == expected.tolist()
    other = replace_corner(walk, data.draw(st.sampled_from([size, over.period_bytes, 2 * over.period_bytes])))
    if other.key(over) == walk.key(over):
        assert other.banks(at, over).tolist() == banks.tolist()
    begin, then = data.draw(st.integers(0, walk.nbytes - 1)), data.draw(st.integers(0, walk.nbytes - 1))
    if walk.phase(begin, over, False) == walk.phase(then, over, False):
        left = walk.nbytes - max(begin, then)
        assert banks[begin : begin + left].tolist() == banks[then : then + left].tolist()


def test_an_empty_box_is_one_byte_at_its_corner() -> None:
    """A walk along padding alone moves nothing, and divides by nothing."""
    walk, over = boxed(((8, 64),), (4, 16), ((2, 4), (5, 5)), 1), BankMap(2, 16, 0)
    assert walk.nbytes == 1
    assert walk.banks(np.arange(3, dtype=np.int64), over).tolist() == [(8 + 2 * 16 + 5) // 16 % 2] * 3
    assert walk.phase(0, over, False) == walk.phase(0, over, False)


def replace_corner(walk: Layout, further: int) -> Layout:
    """The same walk from further on, in a region that is as much longer."""
    low, size = walk.extents[0]
    return replace(walk, corner=walk.corner + further, extents=((low, size + further), *walk.extents[1:]))


def test_a_tile_in_one_bank_leaves_the_others_alone() -> None:
    """Two streams in two banks run side by side; in one bank, one after the other."""
    for other, wait in ((24 * 1024, 0), (2048, 10 * 900)):
        sim = Sim()
        bank = made(sim, _spec(count=2), "tile")
        first = bank.access("read", 20 * 32, At(contiguous(((0, 1024),)), 0))
        second = bank.access("read", 20 * 32, At(contiguous(((other, 1024),)), 0))
        assert first.start_ps == 0
        assert second.start_ps == wait  # ten beats of two subbanks


# -- write buffers ------------------------------------------------------------------------------------


def timeline(
    front: WriteBuffer, todo: list[tuple[int, Literal["read", "write"], int, int]]
) -> tuple[Bank, list[Access]]:
    """(at, what, first word, words) on one macro: words of 32 B, reads 900 ps (1700), writes 6 ns."""
    sim = Sim()
    bank, found = made(sim, _spec(front, count=1, subbanks=1)), []

    def ask() -> Steps:
        for at_ps, action, first, words in todo:
            yield sim.at(at_ps)
            found.append(bank.serve(action, 32 * words, None, 32 * first, "s").access)

    sim.process("ask", ask())
    sim.run("ask")
    return bank, found


def test_a_read_goes_before_what_is_buffered() -> None:
    """Two words enter by 1 ns. The first is on its way to the cells from 0.5 ns; the read comes next."""
    bank, (write, read) = timeline(buffer(), [(0, "write", 0, 2), (1_000, "read", 9, 1)])
    assert write == Access(0, 0, 1_000, None)
    assert read == Access(1_000, 6_500, 8_200, "write_pulse")
    assert bank.flush() == 7_400 + 6_000


def test_from_the_high_watermark_on_writes_go_first() -> None:
    """Three words are the high mark: the cells take two, down to the low one, before a later read."""
    _, (write, read) = timeline(buffer(), [(0, "write", 0, 3), (600, "read", 9, 1)])
    assert write == Access(0, 0, 1_500, None)
    assert read.start_ps == 500 + 2 * 6_000


def test_a_full_buffer_takes_a_write_when_there_is_room() -> None:
    """Ten words into four entries: the sixth to leave makes room for the last, 0.5 + 6 x 6 ns."""
    _, (write, then) = timeline(buffer(), [(0, "write", 0, 10), (1_000, "write", 20, 1)])
    assert write == Access(0, 0, 36_500, "write_buffer_full")
    assert then == Access(1_000, 36_500, 37_000, "write_buffer_full")


def test_words_in_the_buffer_are_read_from_there() -> None:
    """Word 1 waits for word 0's pulse: its reader need not."""
    _, (_, read) = timeline(buffer(), [(0, "write", 0, 2), (1_000, "read", 1, 1)])
    assert read == Access(1_000, 1_000, 1_500, None)
    _, (_, read) = timeline(buffer(forwarding=False), [(0, "write", 0, 2), (1_000, "read", 1, 1)])
    assert read.start_ps == 6_500


@pytest.mark.parametrize(("coalescing", "writes"), [(True, 2), (False, 3)])
def test_a_word_that_is_there_is_written_once(coalescing: bool, writes: int) -> None:
    """Words 0, 1, then 1 again while 0 is being written: two pulses, or three."""
    bank, _ = timeline(buffer(coalescing=coalescing), [(0, "write", 0, 2), (1_000, "write", 1, 1)])
    bank.flush()
    assert bank.write_port.busy_ps == writes * 6_000


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 30)), min_size=1, max_size=12),
    st.integers(2, 20),
)
@settings(max_examples=60)
def test_without_reads_the_cells_are_no_later_than_a_beats_way_in(
    writes: list[tuple[int, int]], entries: int
) -> None:
    """Cells are written at most one entering beat after the bare bank's, if a beat has room in the buffer."""
    writes.sort()
    front = buffer(entries, max(1, entries // 2), 0, coalescing=False)
    found: list[list[int]] = []
    for spec in (_spec(count=1), _spec(front, count=1)):
        sim = Sim()
        bank = made(sim, spec)
        served = []

        def ask(sim: Sim = sim, bank: Bank = bank, served: list = served) -> Steps:  # type: ignore[type-arg]
            for at_ps, words in writes:
                yield sim.at(at_ps)
                served.append(bank.serve("write", 32 * words))

        sim.process("ask", ask())
        sim.run("ask")
        bank.flush()
        found.append([s.entries[0][1].done_ps if s.entries else s.access.done_ps for s in served])
    assert all(behind <= bare + 500 for bare, behind in zip(*found, strict=True))


# -- in the machine -----------------------------------------------------------------------------------


def counted(recorder: Recorder, component: str, action: str) -> int:
    """Words of one action of a component."""
    return sum(n for (c, a, _, _), n in recorder.counts.items() if (c, a) == (component, action))


def test_no_entries_are_no_buffer() -> None:
    """The machine with a buffer of no entries is the machine without, and so is the component."""
    plain = load_machine("edge-hybrid")
    assert (
        replace(load_machine("edge-hybrid", ("bank.mram.write_buffer.entries=0",)), name=plain.name) == plain
    )
    assert made(Sim(), _spec(buffer(0, 0, 0))).plain


def test_a_residency_begins_when_the_cells_are_written() -> None:
    """One result in one word: half a nanosecond into the buffer, then the pulse; then it is there."""
    spec = replace(group("mram", capacity=4096, technology="stt-mram", word=4, write=9_000), buffer=buffer())
    on = machine(spec)
    told: list[Touch] = []
    recorder = run_program(on, map_graph(gemms((1, 1, 1)), on), exact=True, observe=told.append)
    (written,) = [t.at_ps for t in told if t.kind == "writes"]
    taken = max(s.start_ps for s in recorder.spans if s.component == "spad.mram" and s.category == "write")
    assert written == taken + 500 + 9_000


@pytest.mark.parametrize("interleave", ["word", "line"])
def test_partial_sums_pass_through_the_buffer(interleave: Interleave) -> None:
    """Without room in the accumulator they go to the bank and back: some are read before they get there.

    Of one macro, the port was busy for every word that the cells took or gave, all before the end: what is
    written into the buffer comes to the cells or has been written there again meanwhile.
    """
    spec = group("mram", capacity=64 * 1024, technology="stt-mram", word=4, read=(1_000, 1_000), write=9_000)
    times = {}
    for forwarding in (True, False):
        on = machine(replace(spec, buffer=buffer(64, 48, 8, True, forwarding)), accumulator=0)
        on = replace(on, interleave=interleave, line_bytes=64)
        recorder = agree(on, map_graph(gemms((8, 8, 32)), on))
        reads, writes = (counted(recorder, "spad.mram", a) for a in ("read", "write"))
        taken, forwarded = (counted(recorder, "spad.mram.buffer", a) for a in ("write", "forward"))
        port = recorder.component("spad.mram.0" if interleave == "line" else "spad.mram")
        assert port.busy_ps == reads * 1_000 + writes * 9_000
        assert counted(recorder, "spad.mram.buffer", "drain") == writes <= taken
        times[forwarding] = forwarded, recorder.end_ps
    assert times[True][0] > 0 == times[False][0]
    assert times[True][1] < times[False][1]


def test_a_full_buffer_is_a_reason_to_wait() -> None:
    """Results that the cells take too slowly hold the array back, and the reason says so."""
    spec = group("mram", capacity=64 * 1024, technology="stt-mram", word=4, write=40_000)
    reasons = []
    for front in (None, buffer(2, 2, 0)):
        on = machine(replace(spec, buffer=front))
        recorder = agree(on, map_graph(gemms((64, 16, 4)), on))
        reasons.append({r for t in recorder.ops.values() for r, ps in t.stall_ps.items() if ps})
    assert "write_buffer_full" in reasons[1] - reasons[0]


@pytest.mark.parametrize("interleave", ["line", "tile"])
@pytest.mark.parametrize("front", [None, buffer(16, 12, 4)], ids=["bare", "buffer"])
def test_loops_over_banks_are_skipped_exactly(interleave: Interleave, front: WriteBuffer | None) -> None:
    """A long loop whose tiles come back to the same banks; equal books with and without the skip."""
    spec = group("sram", capacity=16 * 1024, count=4, word=8, read=(2_000, 1_000))
    on = machine(replace(spec, buffer=front), rows=8, cols=8, dram=(8 * 10**9, 50_000), accumulator=4096)
    on = replace(on, interleave=interleave, line_bytes=64)
    recorder = agree(on, map_graph(gemms((512, 64, 64)), on))
    assert recorder.tiles_skipped + recorder.folds_skipped > 0


def _passed(at: At, over: BankMap) -> list[int]:
    """The banks of a stream's first bytes; 64 are a stationary operand's, the fewest that a fold moves."""
    return at.layout.banks(at.start + np.arange(64), over).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("interleave", "skew"), [("line", 0), ("line", 1), ("tile", 0)])
def test_tiles_that_are_alike_pass_the_same_banks(interleave: Interleave, skew: int) -> None:
    """What a period relies on: equal numbers of tiles, or of folds in a tile, mean equal banks, word by word.

    With lines they tell apart what the nest alone takes for alike.
    """
    on = machine(group("sram", capacity=3 * 1024, count=3, word=4), rows=4, cols=4, accumulator=256)
    on = replace(on, interleave=interleave, line_bytes=24, skew=skew)
    program = map_graph(gemms((64, 40, 24)), on)
    sim = Sim()
    banks = {"sram": made(sim, on.banks["sram"], interleave, 24, skew)}
    over = banks["sram"].map
    assert over is not None
    (kernel,) = program.kernels
    jobs = jobs_of(kernel, array_shape(on), on.vector.cycles, on.vector.lanes)
    places = Places(kernel, jobs, program.copies, banks)
    numbers = places.alike_tiles(jobs.signatures).tolist()
    told_apart = len(set(numbers)) - len(set(jobs.signatures.tolist()))
    assert told_apart > 0 if interleave == "line" else told_apart == 0  # slots lie in one bank each, or recur
    passed: dict[int, list[list[tuple[Key, list[int]]]]] = {}
    for i, number in enumerate(numbers):
        job = jobs.job(i)
        at = places.of_folds(job, START)
        ours = [
            [(k, a.layout.banks(a.start + np.arange(64), over).tolist()) for k, a in f.items()] for f in at
        ]
        assert passed.setdefault(number, ours) == ours
        kinds = places.alike_folds(job.kinds, at)
        begins: dict[int, list[tuple[Key, list[int]]]] = {}
        for kind, fold in zip(kinds, ours, strict=True):
            begun = [
                (k, banks[: 4 * 4 * 4]) for k, banks in fold
            ]  # a load's bytes, the least that a fold moves
            assert begins.setdefault(kind, begun) == begun
    assert len(passed) < len(numbers)


def test_density_is_lost_to_subbanks() -> None:
    """Macros of their own size are less dense; multiplexers cost on top, level by level."""
    base = ("bank.mram.capacity=1 MiB", "bank.mram.count=1")
    sizes = [load_machine("edge-mram", (*base, f"bank.mram.subbanks={n}")).banks["mram"] for n in (2, 4, 8)]
    assert [s.area_mm2 for s in sizes] == sorted({s.area_mm2 for s in sizes})
    mux = ("bank.mram.mux_area=0.02", "bank.mram.mux_energy=0.01", "bank.mram.mux_latency=50ps")
    dear, plain = load_machine("edge-mram", (*base, "bank.mram.subbanks=8", *mux)).banks["mram"], sizes[2]
    assert dear.area_mm2 == pytest.approx(plain.area_mm2 * 1.06)
    assert dear.read_pj == pytest.approx(plain.read_pj * 1.03)
    assert dear.read_latency_ps == plain.read_latency_ps + 150
    assert (dear.read_cycle_ps, dear.write_cycle_ps) == (plain.read_cycle_ps, plain.write_cycle_ps)


def test_the_page_tells_what_subbanks_cost() -> None:
    """The table in docs/timing.md is what the array table and two per cent a level make of 1 MiB."""
    text = (Path(__file__).parent.parent / "docs" / "timing.md").read_text(encoding="utf-8")
    told = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 1 MiB / ")]
    assert len(told) == 6
    for name, *figures in told:
        base = (f"bank.mram.subbanks={name.split()[-1]}", "bank.mram.capacity=1 MiB", "bank.mram.count=1")
        plain = load_machine("edge-mram", base).banks["mram"]
        mux = load_machine("edge-mram", (*base, "bank.mram.mux_area=0.02")).banks["mram"]
        beat = plain.lanes * plain.word_bytes * 1_000
        rates = beat / plain.read_cycle_ps, beat / plain.write_cycle_ps
        assert figures == [f"{x:.3g}" for x in (*rates, 1 / plain.area_mm2, 1 / mux.area_mm2)]


FRONT = (
    "scratchpad.interleave=line",
    "bank.mram.write_buffer.entries=8",
    "bank.mram.write_buffer.area=0.01 mm2",
)


def test_a_buffer_is_priced_and_has_an_area() -> None:
    """Its words at its price, in energy and in prices; its area in the bank's."""
    bare, on = load_machine("edge-hybrid"), load_machine("edge-hybrid", FRONT)
    front = on.banks["mram"].buffer
    assert front is not None
    assert (front.high, front.low, front.cycle_ps) == (6, 2, 2_000)
    assert on.banks["mram"].area_mm2 == pytest.approx(bare.banks["mram"].area_mm2 + 0.01)
    bits = 256 * on.pe_array.register_pj_per_bit
    assert price_pj(on, "spad.mram.buffer", "drain") == front.access_pj == pytest.approx(bits)
    derived = load_machine("edge-hybrid", FRONT[:2]).banks["mram"].buffer
    assert derived is not None
    assert derived.area_mm2 == pytest.approx(4 * 8 * 256 * 4.522e-6 * (22 / 45) ** 2, rel=1e-3)


def test_equal_areas_count_what_stands_before_the_cells() -> None:
    """A group whose capacity is solved has less room where buffers and multiplexers take some."""
    solved = [
        load_machine("edge-mram-iso-area", keys)
        for keys in ((), ("bank.mram.mux_area=0.02",), ("bank.mram.write_buffer.entries=32",))
    ]
    area = load_machine("edge-sram").area_mm2
    assert all(on.area_mm2 <= area for on in solved)
    capacities = [on.banks["mram"].capacity_bytes for on in solved]
    assert capacities[0] > max(capacities[1:])


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            ("scratchpad.interleave=line", "scratchpad.line=40 B"),
            "40 B are not a whole number of the 32 B",
        ),
        (
            ("bank.sram.write_buffer.entries=4", "bank.sram.write_buffer.low=0.9"),
            "low: expected less than high, 0.75, got 0.9",
        ),
        (("bank.sram.write_buffer.entires=4",), "unknown key, did you mean entries?"),
    ],
)
def test_what_does_not_fit_is_refused(keys: tuple[str, ...], fault: str) -> None:
    """One line that names the key and what is wrong with it."""
    with pytest.raises(ConfigError) as raised:
        load_machine("edge-hybrid", keys)
    assert fault in str(raised.value)
