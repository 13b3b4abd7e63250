"""Objectives of the mapper: what each promises beside the others, beside the run, and who shares a plan."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError, MappingError
from accelsim.graph.store import content_hash
from accelsim.machine import run_program
from accelsim.mapping import mapped
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import gated_shares
from accelsim.run import simulate
from accelsim.run.energy import energy_rows, sums
from accelsim.run.gating import powered_shares
from accelsim.run.reprice import reprice
from accelsim.sweep.evaluate import Job, Work, evaluate, packed, timing_key
from accelsim.trace.recorder import Part
from accelsim.trace.runs import open_run
from tests.strategies import KIB, shipped_graph

OBJECTIVES = ("time", "dram", "energy", "edp", "mram_writes")
CASES = [("edge-hybrid", "lenet5", 4), ("edge-hybrid", "mlp", 16), ("edge-mram", "mlp", 8)]
DEAR = ("bank.mram.write_energy=20000pJ",)


def _machine(arch: str, objective: str, *more: str) -> Machine:
    return load_machine(arch, (f"mapping.objective={objective}", *more))


@cache
def _mapped(arch: str, workload: str, batch: int, objective: str) -> tuple[Program, dict[str, Any]]:
    return mapped(shipped_graph(workload, batch), _machine(arch, objective))


def _value(plan: dict[str, Any], objective: str) -> float:
    of = {"energy": plan["energy_pj"], "edp": plan["energy_pj"] * plan["time_ps"]}
    return {**of, "mram_writes": plan["mram_written_bytes"], "dram": plan["dram_bytes"]}[objective]


SLOW = [
    ("edge-hybrid", "lenet5", 16, ("bank.mram.device=mram-10y",)),
    ("edge-hybrid", "mlp", 128, ("bank.mram.device=mram-10y", "pe_array.dataflow=os")),
    ("tpu-like-hybrid", "mlp", 16, ("bank.mram.count=1", "bank.mram.device=mram-10y")),
    ("tpu-like-hybrid", "lenet5", 8, ("bank.mram.count=1", "bank.mram.device=mram-10y", "bank.sram.count=2")),
]


@pytest.mark.parametrize("case", SLOW)
def test_slow_banks_are_left_to_what_can_wait(case: tuple[str, str, int, tuple[str, ...]]) -> None:
    """Beside a few banks that write slowly, the plan for time is the fastest: within what counts as equal."""
    arch, workload, batch, more = case
    graph = shipped_graph(workload, batch)
    plans = {o: mapped(graph, _machine(arch, o, *more))[1]["plan"] for o in OBJECTIVES}
    assert plans["time"]["time_ps"] <= 1.03 * min(plan["time_ps"] for plan in plans.values())
    assert plans["dram"]["dram_bytes"] == min(plan["dram_bytes"] for plan in plans.values())


@settings(max_examples=8)
@given(
    case=st.sampled_from(
        [("edge-hybrid", "lenet5", 8), ("edge-hybrid", "mlp", 32), ("tpu-like-hybrid", "mlp", 16)]
    ),
    banks=st.tuples(*[st.sampled_from([1, 2, 4])] * 2),
    device=st.sampled_from(["mram-10y", "mram-1s", "mram-26us"]),
    flow=st.sampled_from(["ws", "os", "is"]),
)
def test_a_group_more_is_never_estimated_slower(
    case: tuple[str, str, int], banks: tuple[int, int], device: str, flow: str
) -> None:
    """However slow it is: the plan for the other group alone is among those that are tried."""
    arch, graph = case[0], shipped_graph(*case[1:])
    base = (f"bank.sram.count={banks[0]}", f"pe_array.dataflow={flow}", f"bank.mram.device={device}")
    alone, both = (
        mapped(graph, _machine(arch, "time", *base, f"bank.mram.count={n}"))[0].estimate_ps
        for n in (0, banks[1])
    )
    assert both <= 1.01 * alone


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("objective", ["energy", "edp", "mram_writes"])
def test_no_other_objective_does_better(case: tuple[str, str, int], objective: str) -> None:
    """By its own measure, as estimated. (Plans for time and DRAM bytes count times in steps.)"""
    mine = _value(_mapped(*case, objective)[1]["plan"], objective)
    for other in OBJECTIVES:
        assert mine <= _value(_mapped(*case, other)[1]["plan"], objective), other


@cache
def _simulated(arch: str, workload: str, batch: int, objective: str) -> tuple[int, float]:
    """Return time and energy of a run."""
    machine, graph = _machine(arch, objective), shipped_graph(workload, batch)
    program, _ = _mapped(arch, workload, batch, objective)
    recorder = run_program(machine, program)
    parts = [Part(op.name, op.layer, op.phase) for op in graph.ops]
    shares = powered_shares(machine, program, recorder)
    rows = energy_rows(machine, recorder, parts, shares, gated_shares(machine, graph))
    return recorder.end_ps, sums(rows)["total"]


@pytest.mark.parametrize("case", [*CASES, ("edge-hybrid", "mlp", 8), ("tpu-like-hybrid", "mlp", 128)])
def test_no_other_objective_does_better_when_simulated(case: tuple[str, str, int]) -> None:
    """Estimates are near enough to runs for what each promises: within 3 %."""
    runs = {o: _simulated(*case, o) for o in ("time", "dram", "energy", "edp")}
    assert runs["time"][0] <= 1.03 * min(time for time, _ in runs.values())
    assert runs["energy"][1] <= 1.03 * min(energy for _, energy in runs.values())
    edp = {o: time * energy for o, (time, energy) in runs.items()}
    assert edp["edp"] <= 1.03 * min(edp.values())


def test_the_objectives_differ() -> None:
    """Bytes into MRAM against energy against time: each has its price."""
    plans = {o: _mapped(*CASES[0], o)[1]["plan"] for o in OBJECTIVES}
    assert plans["mram_writes"]["mram_written_bytes"] == 0 < plans["energy"]["mram_written_bytes"]
    assert plans["energy"]["energy_pj"] < 0.97 * plans["time"]["energy_pj"]
    assert plans["energy"]["energy_pj"] < 0.9 * plans["mram_writes"]["energy_pj"]


@pytest.mark.parametrize("case", [*CASES, ("edge-sram", "lenet5", 16), ("tpu-like-hybrid", "mlp", 16)])
@pytest.mark.parametrize("objective", ["time", "energy", "mram_writes"])
def test_estimates_agree_with_the_ledger(case: tuple[str, str, int], objective: str) -> None:
    """Energy within 5 %, bytes into STT-MRAM within 1 %: words in part, waits of kernels for each other."""
    machine, graph = _machine(case[0], objective), shipped_graph(*case[1:])
    program, record = _mapped(*case, objective)
    recorder = run_program(machine, program)
    parts = [Part(op.name, op.layer, op.phase) for op in graph.ops]
    shares = powered_shares(machine, program, recorder)
    rows = energy_rows(machine, recorder, parts, shares, gated_shares(machine, graph))
    total = sums(rows)["total"]
    assert record["plan"]["energy_pj"] == pytest.approx(total, rel=0.05)
    written = sum(
        n * machine.banks[component.removeprefix("spad.")].word_bytes
        for (component, action, _, _), n in recorder.counts.items()
        if action == "write" and component == "spad.mram"
    )
    assert record["plan"]["mram_written_bytes"] == pytest.approx(written, rel=0.01)


@pytest.mark.parametrize(
    ("arch", "objective"),
    [
        ("edge-sram", "energy"),
        ("edge-sram", "edp"),
        ("edge-hybrid", "energy"),
        ("edge-hybrid", "mram_writes"),
    ],
)
def test_more_of_a_group_is_never_estimated_worse(arch: str, objective: str) -> None:
    """Along the ladder, the group's prices and leakage being given: those of the array table grow with it."""
    graph, machine = shipped_graph("mlp", 4), _machine(arch, objective)
    found: list[float] = []
    for capacity in [round(KIB * 2 ** (k / 2)) for k in (8, 10, 12, 15, 18)]:
        banks = {**machine.banks, "sram": replace(machine.banks["sram"], capacity_bytes=capacity)}
        try:
            plan = mapped(graph, replace(machine, banks=banks))[1]["plan"]
        except MappingError:
            assert not found
            continue
        found.append(_value(plan, objective))
    assert len(found) > 3
    assert found == sorted(found, reverse=True)


def test_points_that_differ_in_prices_share_a_mapping_only_where_prices_decide_none() -> None:
    """Under `energy` and `edp` each is mapped by its own prices, and that is what its own run gives."""
    graph = shipped_graph("mlp", 4)
    work = Work(graph.name, content_hash(graph), packed(graph), (("cold", False), ("phase", "all")))
    for objective in OBJECTIVES:
        pair = _machine("edge-hybrid", objective), _machine("edge-hybrid", objective, *DEAR)
        shared = timing_key(pair[0], work) == timing_key(pair[1], work)
        assert shared == (objective not in ("energy", "edp"))
    pair = _machine("edge-hybrid", "energy"), _machine("edge-hybrid", "energy", *DEAR)
    figures = [outcome.figures for outcome in evaluate([Job(str(i), m, work) for i, m in enumerate(pair)])]
    for machine, found in zip(pair, figures, strict=True):
        assert found is not None
        assert found["time_ps"] == run_program(machine, mapped(graph, machine)[0]).end_ps
    assert figures[0]["time_ps"] != figures[1]["time_ps"]  # type: ignore[index]


def test_repricing_refuses_where_prices_decided_the_mapping(tmp_path: Path) -> None:
    """The other machine would be mapped in another way; the frozen mapping may be priced anew."""
    energy = ("mapping.objective=energy",)
    base = simulate("edge-hybrid", "mlp", batch=4, overrides=energy, out=tmp_path / "a").run_dir
    with pytest.raises(InputError, match=r'objective = "energy".* bank\.mram\..*--mapping-from a'):
        reprice(open_run(base), "edge-hybrid", (*energy, *DEAR), out=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    frozen = simulate(
        "edge-hybrid", "mlp", batch=4, overrides=energy, mapping_from=base, out=tmp_path / "c"
    ).run_dir
    own = simulate(
        "edge-hybrid",
        "mlp",
        batch=4,
        overrides=(*energy, *DEAR),
        mapping_from=base,
        out=tmp_path / "d",
    )
    _, summary = reprice(open_run(frozen), "edge-hybrid", (*energy, *DEAR), out=tmp_path / "e")
    assert summary["energy_pj"] == own.summary["energy_pj"]
