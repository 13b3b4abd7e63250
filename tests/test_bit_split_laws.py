"""Machines with split tensors keep every law of machines without, and some of their own."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.mapper import SHARES, planner_of
from accelsim.mapping.planner import Trial
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.run.columns import residency_columns
from accelsim.run.energy import energy_rows
from accelsim.trace.recorder import Recorder
from accelsim.trace.schema import RESIDENCIES
from accelsim.words import ROLES
from tests.nests import programs
from tests.strategies import (
    bank,
    gemm_graphs,
    gemms,
    machine,
    machines,
    mapped,
    simulated,
    step_graph,
    step_graphs,
    with_fields,
)
from tests.test_machine_laws import LAWS, Run
from tests.test_steady_state import agree, regular

few = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
FORMS: dict[str, list[list[str]]] = {
    "bf16": [["sign+exponent", "mantissa"], ["msb:5", "bits:0-10"], ["sign", "exponent", "mantissa"]],
    "fp32": [["msb:1", "bits:0-30"], ["sign+exponent", "mantissa"]],
    "int8": [["sign", "mantissa"]],
}


@st.composite
def split_machines(draw: st.DrawFn) -> Machine:
    """Return a random machine on which some roles are split, over the same group or several."""
    on = draw(machines(dram=draw(regular)))
    form: Any = draw(st.sampled_from(sorted(FORMS)))
    names = list(on.banks)
    fields = {
        role: {
            name: draw(st.permutations(names))[: draw(st.integers(1, len(names)))]
            for name in draw(st.sampled_from(FORMS[form]))
        }
        for role in draw(st.lists(st.sampled_from(ROLES), min_size=2, unique=True))
    }
    return with_fields(on, form, fields)


def fields_of(program: Program) -> set[str]:
    """Return the bit fields that a program's operands have."""
    return {b.data.bit_field for k in program.kernels for b in (*k.reads, *k.writes)}


@few
@given(st.one_of(gemm_graphs, step_graphs), split_machines())
def test_split_tensors_keep_every_law(graph: Graph, on: Machine) -> None:
    """Bytes through ports, descriptors, places, times: field by field; all fields are in the same place."""
    program, recorder = simulated(graph, on)
    run = Run(graph, on, program, recorder)
    for law in LAWS:
        law(run)
    for kernel in program.kernels:
        places: dict[tuple[str, object], set[str]] = {}
        bits: dict[tuple[str, object], set[int]] = {}
        for binding in kernel.reads:
            if binding.data.bits:
                places.setdefault((binding.data.tensor, binding.operand), set()).add(binding.place)
                of = bits.setdefault((binding.data.tensor, binding.operand), set())
                of |= set(binding.data.bit_places)
        assert all(len(found) == 1 for found in places.values())
        width = 8 * {"bf16": 2, "fp32": 4, "int8": 1}[str(on.formats["weight"])]
        assert all(found == set(range(width)) for found in bits.values())
    conserved(program, recorder)


def conserved(program: Program, recorder: Recorder) -> None:
    """What is read of a tensor by a layer is read of all its fields, element by element."""
    columns = residency_columns(recorder, RESIDENCIES)
    bits = {
        (b.data.tensor, b.data.bit_field): b.data.bits for k in program.kernels for b in (*k.reads, *k.writes)
    }
    read: dict[tuple[str, str, str], dict[str, int]] = {}
    for i, field in enumerate(columns.get("bit_field", ())):
        if field == "all":
            continue
        of = read.setdefault(tuple(columns[c][i] for c in ("tensor", "reader_layer", "phase_read")), {})
        of[field] = of.get(field, 0) + columns["bits"][i]
        assert 0 <= 8 * columns["bytes"][i] - columns["bits"][i] < 8
    for key, of in read.items():
        assert len({n / bits[key[0], field] for field, n in of.items()}) == 1, (key, of)
        assert set(of) == {field for tensor, field in bits if tensor == key[0]}


long = st.integers(8, 40)


@few
@given(st.data(), st.tuples(long, long, long).map(lambda s: gemms(s)), split_machines())
def test_skipped_periods_of_split_tensors_agree(data: st.DataObject, graph: Graph, on: Machine) -> None:
    """Loops over slots and copies of several fields: the same books as simulating every tile."""
    agree(on, data.draw(programs(graph, on)))


def test_a_long_loop_of_split_tensors_is_skipped() -> None:
    """Hundreds of tiles, fields of nine and seven bits in groups of unlike speed."""
    on = machine(bank("a", capacity=2048), bank("b", capacity=4096, write=7_000, technology="stt-mram"))
    fields = {role: {"sign+exponent": ["a"], "mantissa": ["b"]} for role in ROLES}
    on = with_fields(on, "bf16", fields)
    recorder = agree(on, map_graph(gemms((200, 96, 64)), on))
    assert recorder.tiles_skipped + recorder.folds_skipped > recorder.tiles


def words(recorder: Recorder, action: str, *groups: str) -> int:
    """Return the words that ports of ``groups`` moved."""
    return sum(n for (c, a, _, _), n in recorder.counts.items() if a == action and c[5:] in groups)


def moved(recorder: Recorder, component: str) -> int:
    """Return the bits that a component moved."""
    return sum(n for (c, _, _, _), n in recorder.counts.items() if c == component)


def energy_pj(on: Machine, recorder: Recorder) -> float:
    """Return the energy of all words, without standing power."""
    rows = [row for row in energy_rows(on, recorder, []) if row.component.startswith("spad.")]
    return sum(row.energy_pj for row in rows if row.count)


def test_a_split_over_like_groups_costs_what_its_bits_do() -> None:
    """By hand: a GEMM of 4 x 4 x 4 on 4 x 4 PEs in one fold, words of 4 bytes, 9 and 7 bits of bf16.

    16 elements are 8 words in one piece and 5 + 4 in two. Each is filled or written, and read, once, but for
    the write-back, which is a second read of the result. DRAM and wires move the same bits.
    """
    one = bank("one", capacity=64 * 1024)
    graph, both = gemms((4, 4, 4)), (one, replace(one, name="two"))
    whole = with_fields(machine(*both, placement=dict.fromkeys(ROLES, ("one",))), "bf16", {})
    split = with_fields(whole, "bf16", {r: {"msb:9": ["one"], "mantissa": ["two"]} for r in ROLES})
    plain, parted = (run_program(on, mapped(graph, on)) for on in (whole, split))
    assert plain.tiles == parted.tiles == 1
    assert plain.dram_bytes == parted.dram_bytes == {"read": 2 * 32, "write": 32}
    assert moved(plain, "dram") == moved(parted, "dram") == 8 * 96
    assert moved(plain, "noc") == moved(parted, "noc") == 3 * 16 * 16
    for action in ("read", "write"):
        assert words(plain, action, "one") == 3 * 8
        assert words(parted, action, "one") == 3 * 5
        assert words(parted, action, "two") == 3 * 4
    before, after = (energy_pj(on, run) for on, run in ((whole, plain), (split, parted)))
    assert after - before == pytest.approx(3 * (9 - 8) * (one.read_pj + one.write_pj))


def test_lock_step_reads_wait_for_the_slower_field() -> None:
    """Half of the bits in a slow group take as long as one-byte elements there, all in a fast one less."""
    fast = bank("fast", capacity=64 * 1024, read=(10, 10), write=10)
    slow = bank("slow", capacity=64 * 1024, read=(9_000, 9_000), write=10)
    on = machine(fast, slow, dram=(10**12, 10))
    graph = gemms((64, 16, 16))

    def time(form: Any, fields: dict[str, list[str]], groups: tuple[str, ...]) -> int:
        placed = replace(on, placement=dict.fromkeys(ROLES, groups))
        placed = with_fields(placed, form, dict.fromkeys(ROLES, fields) if fields else {})
        return run_program(placed, map_graph(graph, placed)).end_ps

    parted = time("bf16", {"msb:8": ["fast"], "bits:0-7": ["slow"]}, ())
    narrow, wide = time("int8", {}, ("slow",)), time("bf16", {}, ("slow",))
    assert time("bf16", {}, ("fast",)) * 3 < parted
    assert narrow <= parted <= narrow * 1.02 < wide


def test_plans_of_split_tensors_are_the_best_of_all() -> None:
    """What bounds leave out could not have been taken, and no kernel costs less than its bound."""
    groups = bank("a", capacity=6 * 1024), bank("b", capacity=10 * 1024, write=5_000, technology="stt-mram")
    on = machine(*groups, objective="dram", dma=(1_000, 4, 16))
    on = with_fields(on, "bf16", {r: {"msb:9": ["a", "b"], "mantissa": ["b", "a"]} for r in ROLES})
    graph = step_graph("perceptron")
    planner = planner_of(graph, on, cyclic=True)
    pairs = itertools.product(scenarios({name: b.capacity_bytes for name, b in on.banks.items()}), SHARES)
    trials: list[Trial] = []
    for pair in pairs:
        trials += planner.trials(*pair, first=len(trials))
    keys = []
    for trial in trials:
        for costs, codes, *room in trial.kernels:
            cost = costs.cost(codes, *room)
            if cost is not None:
                assert costs.bound(codes)[0] <= cost.time_ps
                assert costs.bound(codes)[1] <= cost.dram_bytes
        with suppress(MappingError):
            keys.append((planner.cost(trial), trial.number))
    key, _ = min(keys)
    program = map_graph(graph, on)
    assert key == (program.estimate_dram_bytes, program.estimate_ps)
