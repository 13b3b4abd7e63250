"""Mixed precision: the update reads and writes a master copy, and writes the weight that is computed with."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import simulate
from accelsim.config.locate import shipped
from accelsim.errors import ConfigError
from accelsim.frontend import load_workload
from accelsim.frontend.spec import load
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import dumps, loads
from accelsim.mapping import map_graph
from accelsim.mapping.storage import data_of
from accelsim.resolve import load_machine
from accelsim.trace.runs import open_run
from accelsim.words import Format, Role
from tests.interpreter.schedule import ORDERS, Order
from tests.interpreter.steps import assert_trains_as_torch, captured

MIXED: dict[Role, Format | None] = {"weight": "bf16", "master_weight": "fp32"}
SETS = ("format.weight=bf16", "format.master_weight=fp32")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))


def mixed(name: str, formats: dict[Role, Format | None] = MIXED) -> tuple[Graph, Graph]:
    """Return a small network's graph without and with master weights."""
    plain = load_workload(name, batch=2).graph
    return plain, with_master_weights(plain, formats)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "lenet-tinydnn", "resnet18-cifar"])
def test_every_update_is_of_the_master_and_casts(name: str) -> None:
    """Update and cast per parameter; master and weight survive; forward and backward are untouched."""
    plain, graph = mixed(name)
    assert [op for op in graph.ops if op.phase != "update"] == [
        op for op in plain.ops if op.phase != "update"
    ]
    updated = [t.next_of for t in plain.tensors.values() if t.next_of and t.role == "weight"]
    masters = [t.next_of for t in graph.tensors.values() if t.next_of and t.role == "master_weight"]
    assert masters == [f"master/{weight}" for weight in updated]
    kept = [t.next_of for t in graph.tensors.values() if t.next_of and t.role == "weight"]
    assert kept == updated
    ops = {op.outputs[0].tensor: op for op in graph.ops}
    for weight in updated:
        update, cast = ops[f"next/master/{weight}"], ops[f"next/{weight}"]
        assert [o.tensor for o in update.inputs[:2]] == [f"master/{weight}", f"grad/{weight}"]
        assert [o.tensor for o in cast.inputs] == [f"next/master/{weight}"]
        assert (cast.name, cast.layer) == (f"upd/{weight}:cast", update.layer)
    assert loads(dumps(graph)) == graph
    assert len({op.name for op in graph.ops}) == len(graph.ops)


@pytest.mark.parametrize(
    "formats",
    [{}, {"weight": "bf16"}, {"master_weight": "fp32"}, {"weight": "bf16", "master_weight": "bf16"}],
)
def test_without_the_key_or_a_difference_nothing_changes(formats: dict[Role, Format | None]) -> None:
    """The network is in fp32: a master in what weights are stored in is the weight."""
    plain, graph = mixed("mlp", formats)
    assert graph is plain


def test_what_is_stored() -> None:
    """Weights in two bytes, masters in four."""
    machine = load_machine("edge-hybrid", SETS)
    _, graph = mixed("mlp")
    sizes = {n: data_of(graph, machine, t).element_bytes for n, t in graph.tensors.items()}
    assert {sizes[n] for n, t in graph.tensors.items() if t.role == "weight"} == {2}
    assert {sizes[n] for n, t in graph.tensors.items() if t.role == "master_weight"} == {4}


def test_the_cast_rides_on_the_update() -> None:
    """One kernel per parameter; without fusion two."""
    _, graph = mixed("lenet5")
    for fusion, kernels in (("epilogue", 10), ("none", 20)):
        machine = load_machine("edge-hybrid", (*SETS, f"mapping.fusion={fusion}"))
        program = map_graph(graph, machine)
        assert sum(k.leader.phase == "update" for k in program.kernels) == kernels


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "machine", "sets"),
    [
        ("mlp", "tpu-like-hybrid", ()),
        ("lenet5", "edge-hybrid", ("mapping.fusion=none",)),
        ("lenet5", "edge-mram", ("placement.master_weight=[]", "pe_array.dataflow=os")),
        ("lenet-tinydnn", "edge-hybrid", ('placement.master_weight=["mram"]',)),
    ],
)
def test_programs_train_as_torch_does(name: str, machine: str, sets: tuple[str, ...], order: Order) -> None:
    """In double precision the master is the weight: two steps equal torch's, masters included."""
    hardware = load_machine(machine, (*SETS, *sets))
    what = captured(load(shipped("workloads") / f"{name}.toml", batch=3), 2, hardware.formats)
    assert any(n.startswith("master/") for n in what.values)
    assert assert_trains_as_torch(what, hardware, map_graph(what.graph, hardware), order)


def test_a_run_shows_the_role(tmp_path: Path) -> None:
    """In energy and residencies, and in a note; weights move half the bytes, masters all."""
    sets = (*SETS, 'placement.master_weight=["sram"]')
    result = simulate("edge-hybrid", "lenet5", batch=2, overrides=sets, out=tmp_path / "run")
    assert result.summary["energy_pj"]["by_role"]["master_weight"] > 0
    run = open_run(tmp_path / "run")
    assert "master_weight" in run.table("residencies").column("role").to_pylist()
    assert "upd/conv1.weight:cast" in run.table("ops").column("op").to_pylist()
    note = "the update reads and writes master weights in fp32, beside weights in bf16"
    assert note in result.summary["notes"]


def test_a_placement_without_the_format_is_refused() -> None:
    """It would have no effect."""
    with pytest.raises(ConfigError) as caught:
        load_machine("edge-hybrid", ('placement.master_weight=["sram"]',))
    assert str(caught.value) == (
        "--set placement.master_weight: has no effect without [format] master_weight: "
        "weights are then updated in place"
    )
