"""The search for a plan: what it leaves out could not have been taken."""

from __future__ import annotations

from operator import le

import pytest

from accelsim.errors import MappingError
from accelsim.mapping import mapped
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.mapper import SHARES, planner_of
from accelsim.mapping.planner import Key, Planner, Trial
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from tests.strategies import shipped_graph

CASES = [
    ("edge-hybrid", "lenet5", 8, "time"),
    ("edge-hybrid", "lenet5", 8, "dram"),
    ("edge-sram", "mlp", 16, "time"),
    ("tpu-like-hybrid", "lenet-tinydnn", 16, "dram"),
    ("edge-hybrid", "mlp", 4, "energy"),
    ("edge-mram", "mlp", 4, "edp"),
    ("edge-hybrid", "mlp", 4, "mram_writes"),
]


def searched(arch: str, workload: str, batch: int, objective: str) -> tuple[Machine, Planner, list[Trial]]:
    """Return a machine, a planner with nothing computed yet, and all trials."""
    machine = load_machine(arch, (f"mapping.objective={objective}",))
    planner = planner_of(shipped_graph(workload, batch), machine, cyclic=True)
    capacity = {name: bank.capacity_bytes for name, bank in machine.banks.items()}
    pairs = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    trials: list[Trial] = []
    for pair in pairs:
        trials += planner.trials(*pair, first=len(trials))
    return machine, planner, trials


@pytest.mark.parametrize("case", CASES)
def test_the_plan_taken_is_the_best_of_all(case: tuple[str, str, int, str]) -> None:
    """Costing every trial in full gives the same plan as leaving out what bounds rule out."""
    machine, planner, trials = searched(*case)
    found: list[tuple[Key, int]] = []
    for trial in trials:
        try:
            found.append((planner.cost(trial), trial.number))
        except MappingError:
            continue
    key, number = min(found)
    program, record = mapped(shipped_graph(*case[1:3]), machine)
    time, dram, plan = program.estimate_ps, program.estimate_dram_bytes, record["plan"]
    energy, unrounded = plan["energy_pj"], plan["time_ps"]
    assert (
        key
        == {
            "time": (time, dram),
            "dram": (dram, time),
            "energy": (energy, unrounded, dram),
            "edp": (energy * unrounded, unrounded, dram),
            "mram_writes": (plan["mram_written_bytes"], time, dram),
        }[case[3]]
    )
    assert dict(program.planned_capacity_bytes) == dict(trials[number].capacity)
    assert plan["ranked_by"] == trials[number].ranking


@pytest.mark.parametrize("case", CASES)
def test_no_cost_is_below_its_bound(case: tuple[str, str, int, str]) -> None:
    """Neither a kernel's time nor its DRAM bytes, wherever its operands are and whatever the room."""
    _, _, trials = searched(*case)
    tight = 0
    for trial in trials:
        for place in trial.kernels:
            costs = place[0]
            cost = costs.cost(*place[1:])
            if cost is not None:
                time, dram, *amounts = costs.bound(place[1])
                assert time <= cost.time_ps, costs.draft.leader.name
                assert dram <= cost.dram_bytes, costs.draft.leader.name
                assert all(map(le, amounts, cost.amounts)), costs.draft.leader.name
                tight += dram == cost.dram_bytes
    assert tight
