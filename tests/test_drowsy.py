"""Drowsy sram: which words sleep, what waking costs, and that skipping periods changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.machine.memory import Bank
from accelsim.mapping import map_graph
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run import simulate
from accelsim.run.energy import STEP_END
from accelsim.run.gating import powered_shares
from accelsim.run.selfcheck import self_checks
from accelsim.sim import Sim
from accelsim.trace.recorder import Recorder
from tests.strategies import shipped_graph, step_graph
from tests.test_steady_state import agree, steady_machines


def edge(gating: str, *overrides: str) -> Machine:
    """Return ``edge-sram`` with a kind of power gating."""
    return load_machine("edge-sram", (f"bank.sram.power_gating={gating}", *overrides))


def test_the_first_access_wakes_and_pays() -> None:
    """A group with words to wake serves its first request later by the wake-up, and the next ones not."""
    group = edge("drowsy", "bank.sram.wakeup_latency=7 ns").banks["sram"]
    assert group.wakeup_ps == 7_000
    sim = Sim()
    bank, awake = Bank(sim, group, 4096), Bank(sim, group, 4096)
    bank.wakes = True
    first, plain = bank.access("read", 64), awake.access("read", 64)
    assert (first.start_ps, first.done_ps) == (plain.start_ps + 7_000, plain.done_ps + 7_000)
    assert (first.cause, plain.cause) == ("wakeup", None)
    second = bank.access("read", 64)
    assert (second.start_ps, second.cause) == (first.start_ps + group.read_cycle_ps, "port_busy")


@pytest.mark.parametrize("busy", ["read", "write"])
def test_a_wait_is_split_between_what_it_is_for(busy: Literal["read", "write"]) -> None:
    """Words wake after the write pulse, or the read, at work: the wait for that keeps its name and length."""
    group = replace(edge("drowsy", "bank.sram.wakeup_latency=7 ns").banks["sram"], technology="stt-mram")
    bank, awake = Bank(Sim(), group, 4096), Bank(Sim(), group, 4096)
    for one in (bank, awake):
        one.access(busy, 640)
    bank.wakes = True
    for _ in range(3):  # all that come before the words are awake wait for that, and for who came before
        waited, anyway = bank.access("read", 64), awake.access("read", 64)
        assert (waited.start_ps - waited.wake_ps, waited.cause) == (anyway.start_ps, anyway.cause)
        assert (waited.wake_ps, anyway.wake_ps) == (7_000, 0)


@pytest.mark.parametrize("wakeup_ps", [6_000, 100_000])
def test_only_what_waking_adds_is_its_own(wakeup_ps: int) -> None:
    """The other stalls are those of the same run without it, to two clock cycles."""
    on = edge("drowsy", "bank.sram.wakeup_latency=0 ns")
    sleepy = replace(on, banks={"sram": replace(on.banks["sram"], wakeup_ps=wakeup_ps)})
    program = map_graph(step_graph("perceptron"), on)
    without, drowsy = run_program(on, program), agree(sleepy, program)
    stalls, more = stalls_of(without), stalls_of(drowsy)
    waking, added = more.pop("wakeup"), drowsy.end_ps - without.end_ps
    assert more == pytest.approx(stalls, abs=4_000)
    assert added - 4_000 <= waking <= added  # what is no stall of the unit is the end of the last write-back


def stalls_of(recorder: Recorder) -> Counter[str]:
    """Return the stalls of all ops by reason, in ps."""
    found: Counter[str] = Counter()
    for times in recorder.ops.values():
        found.update(times.stall_ps)
    return found


def test_skipping_changes_nothing() -> None:
    """With and without the skip: the same books; waking is a stall where it takes long."""
    on = edge("drowsy", "bank.sram.wakeup_latency=100 ns")
    program = map_graph(shipped_graph("lenet5", 32), on)
    recorder = agree(on, program)
    assert recorder.tiles_skipped + recorder.folds_skipped > 0
    stalled = sum(times.stall_ps.get("wakeup", 0) for times in recorder.ops.values())
    awake = run_program(edge("none"), program)
    assert stalled > 0
    assert recorder.end_ps > awake.end_ps


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a strategy's arguments
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.sampled_from([step_graph("cnn"), step_graph("perceptron")]), steady_machines, st.integers(0, 90_000)
)
def test_random_machines_agree(graph: Graph, on: Machine, wakeup_ps: int) -> None:
    """With any machine and any time to wake the skip is exact."""
    drowsy = {n: replace(b, power_gating="drowsy", wakeup_ps=wakeup_ps) for n, b in on.banks.items()}
    sleepy = replace(on, banks=drowsy)
    agree(sleepy, map_graph(graph, sleepy))


def used_bytes(program: Program, index: int) -> tuple[set[int], set[int]]:
    """Return, byte by byte, what holds data in kernel ``index`` and what it and its neighbours use."""
    held: set[int] = set()
    awake: set[int] = set()
    regions = [c.region for c in program.copies if c.first <= index <= c.last]
    for near in program.kernels[index : index + 2]:
        regions += [r for b in (*near.reads, *near.writes) for r in b.slots]
        regions += [near.psum.region] if near.psum and near.psum.region else []
    for region in regions:
        held |= {byte for low, size in region.extents for byte in range(low, low + size)}
    for near in program.kernels[max(0, index - 1) : index + 2]:
        regions = [r for b in (*near.reads, *near.writes) for r in b.slots]
        bound = [b.copy for b in (*near.reads, *near.writes) if b.copy is not None]
        regions += [program.copies[i].region for i in (*bound, *near.write_back)]
        regions += [near.psum.region] if near.psum and near.psum.region else []
        for region in regions:
            awake |= {byte for low, size in region.extents for byte in range(low, low + size)}
    return held, awake


def test_shares_byte_by_byte() -> None:
    """What is used leaks in full, what only holds data as drowsy words do, what is empty as gated ones."""
    shares_left = ("bank.sram.drowsy_leakage=0.25", "bank.sram.gated_leakage=0.125")
    on = edge("drowsy", *shares_left, "bank.sram.capacity=128 KiB")
    program = map_graph(shipped_graph("lenet5", 4), on)
    recorder = run_program(on, program)
    shares, size = powered_shares(on, program, recorder), on.banks["sram"].capacity_bytes
    some = 0
    for kernel in program.kernels:
        held, awake = used_bytes(program, kernel.index)
        full, asleep = len(held & awake), len(held - awake)
        some += asleep
        expected = (full + 0.25 * asleep + 0.125 * (size - len(held))) / size
        assert shares[kernel.leader.op, "sram"] == pytest.approx(expected)
    assert some
    kept = sum(c.region.nbytes for c in program.copies if c.last >= len(program.kernels) - 1)
    assert shares[STEP_END, "sram"] <= (0.25 * kept + 0.125 * (size - kept)) / size + 1e-12


def test_drowsy_saves_what_empty_leaves() -> None:
    """Under one program a drowsy group draws less than one that gates only what is empty."""
    program = map_graph(shipped_graph("lenet5", 16), edge("none"))
    drawn = {}
    for gating in ("empty", "drowsy"):
        on = edge(gating, "bank.sram.wakeup_latency=0 ns")
        recorder = run_program(on, program)
        drawn[gating] = recorder.end_ps, powered_shares(on, program, recorder)
    (end, empty), (same, drowsy) = drawn["empty"], drawn["drowsy"]
    assert end == same
    assert all(drowsy[op] <= empty[op] for op in empty)
    assert sum(drowsy.values()) < 0.9 * sum(empty.values())


def test_runs_are_the_same_bytes(tmp_path: Path) -> None:
    """``--exact`` writes the same tables, stalls and leakage included."""
    overrides = ("bank.sram.power_gating=drowsy", "bank.sram.wakeup_latency=1 us")
    for exact in (False, True):
        simulate("edge-sram", "mlp", batch=64, overrides=overrides, out=tmp_path / str(exact), exact=exact)
    for name in ("ops", "energy", "residencies"):  # spans differ in how they repeat
        written = [(tmp_path / str(e) / f"{name}.parquet").read_bytes() for e in (False, True)]
        assert written[0] == written[1], name


def test_a_drowsy_machine_checks_itself() -> None:
    """The closed forms of the self-check hold for groups that have to wake."""
    assert all(check.passed for check in self_checks(edge("drowsy", "bank.sram.wakeup_latency=100 ns")))


def test_two_ports_wake_together() -> None:
    """Reads and writes of a group of two ports both wait."""
    group = replace(edge("drowsy").banks["sram"], ports="1r1w", wakeup_ps=5_000)
    bank = Bank(Sim(), group, 4096)
    bank.wakes = True
    assert (bank.access("write", 64).start_ps, bank.access("read", 64).start_ps) == (5_000, 5_000)
