"""For a fixed program: a longer latency or a smaller bandwidth makes the run shorter never, or hardly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from tests.strategies import ARCHS, bank, gemms, machine, mapped, shipped_graph
from tests.validation.monotony import SLOWER


@st.composite
def separate(draw: st.DrawFn) -> Machine:
    """Return a machine in which every stream has ports of its own: a 1r1w group per operand."""

    def group(name: str) -> BankGroup:
        return bank(
            name,
            capacity=draw(st.sampled_from([2048, 16_384])),
            count=draw(st.integers(1, 2)),
            ports="1r1w",
            word=draw(st.sampled_from([1, 4, 8])),
            read=(draw(st.integers(0, 5_000)), draw(st.integers(200, 3_000))),
            write=draw(st.integers(200, 6_000)),
        )

    on = machine(
        *(group(n) for n in ("inputs", "weights", "results", "sums")),
        rows=draw(st.integers(2, 6)),
        cols=draw(st.integers(2, 6)),
        dataflow=draw(st.sampled_from(["ws", "is", "os"])),
        convention=draw(st.sampled_from(["physical", "scale-sim"])),
        accumulator=draw(st.sampled_from([0, 60, 65_536])),
        granularity=draw(st.sampled_from([32, 256, 4096])),
        clock_hz=draw(st.sampled_from([10**9, 700_000_000])),
        dma=(draw(st.integers(0, 20_000)), draw(st.integers(1, 4)), 1),
        dram=(draw(st.integers(10**9, 3 * 10**10)), draw(st.integers(0, 100_000))),
        placement={"input": ("inputs",), "weight": ("weights",), "activation": ("results",)},
    )
    return replace(on, accumulator=replace(on.accumulator, overflow="sums"))


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 80))
quick = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)


@pytest.mark.parametrize("what", SLOWER)
@settings(quick, max_examples=12)
@given(shapes, separate(), st.floats(1.0, 4.0))
def test_time_is_monotone_where_no_two_streams_share_a_port(
    what: str, shape: tuple[int, int, int], on: Machine, factor: float
) -> None:
    """A GEMM with every operand in a group of its own: no number made worse makes the run shorter.

    Only programs whose result leaves in one piece: else fills and write-backs meet at the DRAM.
    """
    program = mapped(gemms(shape), on)
    assume(all(len(b.slots) <= 1 for b in program.kernels[0].writes))
    before = run_program(on, program).end_ps
    assert run_program(SLOWER[what](on, factor), program).end_ps >= before


@pytest.mark.parametrize(
    ("arch", "workload"), [(a, w) for a in ARCHS for w in ("mlp", "lenet5", "lenet-tinydnn")]
)
def test_time_is_nearly_monotone_on_shipped_pairs(arch: str, workload: str) -> None:
    """Where streams contend for ports a delay may reorder them for the better, but by no more than 0.5 %."""
    on = load_machine(arch, ())
    program = map_graph(shipped_graph(workload, 4), on)
    before = run_program(on, program).end_ps
    for factor in (1.1, 2.0):
        after = {what: run_program(slower(on, factor), program).end_ps for what, slower in SLOWER.items()}
        assert {what: ps for what, ps in after.items() if ps < 0.995 * before} == {}
