"""What mapping keeps from one machine to the next changes no plan, and does not grow without end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping import Grounds, map_graph, mapped
from accelsim.mapping.mapper import planner_of
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from tests.strategies import KIB, machines, shipped_graph, step_graph

SPEEDS = {
    "count": st.integers(1, 8),
    "subbanks": st.integers(1, 4),
    "ports": st.sampled_from(["1rw", "1r1w"]),
    "read_latency_ps": st.integers(1, 20_000),
    "read_cycle_ps": st.integers(1, 20_000),
    "write_cycle_ps": st.integers(1, 40_000),
    "capacity_bytes": st.sampled_from([600, 1000, 2 * KIB, 5000, 16 * KIB, 64 * KIB]),
}


@st.composite
def relatives(draw: st.DrawFn) -> list[Machine]:
    """Return machines that differ in their banks' sizes, numbers and speed; some of them twice."""
    first, found = draw(machines()), []
    for _ in range(draw(st.integers(2, 4))):
        banks = {}
        for name, bank in first.banks.items():
            changed: dict[str, Any] = {k: draw(v) for k, v in SPEEDS.items() if draw(st.booleans())}
            banks[name] = replace(bank, **changed)
        found.append(replace(first, banks=banks))
    return [*found, found[0]]


def planned(graph: Graph, on: Machine, grounds: Grounds | None) -> Program | str:
    """Return the program, or the message that there is none."""
    try:
        return map_graph(graph, on, grounds=grounds)
    except MappingError as fault:
        return str(fault)


@given(relatives(), st.sampled_from(["perceptron", "cnn"]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_shared_ground_gives_the_same_plans(family: list[Machine], name: str) -> None:
    """A program is the same, in every field, whatever was mapped before."""
    graph, grounds = step_graph(name), Grounds(2)
    for on in family:
        assert planned(graph, on, grounds) == planned(graph, on, None)


def test_shared_ground_under_priced_objectives() -> None:
    """Where energies decide, machines of other sizes have grounds of their own; others share one."""
    graph, grounds = shipped_graph("mlp", 4), Grounds(4)
    for objective in ("energy", "mram_writes"):
        for more in ("bank.mram.count=4", "bank.mram.capacity=96 KiB", "bank.mram.count=8"):
            on = load_machine("edge-hybrid", (f"mapping.objective={objective}", more))
            assert map_graph(graph, on, grounds=grounds) == mapped(graph, on)[0]


def test_one_ground_for_machines_that_differ_in_speed() -> None:
    """Number and latency of banks share it; a word's width or a clock does not."""
    graph, grounds = shipped_graph("lenet5", 8), Grounds(4)

    def ground(*sets: str) -> Any:
        return planner_of(graph, load_machine("edge-hybrid", sets), cyclic=True, grounds=grounds).ground

    first = ground()
    assert ground("bank.mram.count=4") is first
    assert ground("bank.sram.capacity=128 KiB", "bank.sram.count=4") is first
    assert ground("clock=1.5 GHz") is not first
    assert ground("placement.weight=['sram']") is not first
    assert ground() is first


def test_what_is_kept_does_not_grow() -> None:
    """A ground that knows many capacities is laid anew."""
    graph, grounds, sizes = step_graph("perceptron"), Grounds(2, known=200), []
    on = load_machine("edge-sram", ("mapping.objective=dram",))
    for size in range(8_000, 60_000, 2_600):
        machine = replace(on, banks={"sram": replace(on.banks["sram"], capacity_bytes=size)})
        map_graph(graph, machine, grounds=grounds)
        sizes.append(planner_of(graph, machine, cyclic=True, grounds=grounds).ground.known)
    assert max(sizes) > 3 * sizes[0]
    assert any(after < before for before, after in pairwise(sizes))
