"""Activation checkpointing: what backward computes again is of phase recompute, in its layer, everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from accelsim import simulate
from accelsim.config.locate import shipped
from accelsim.errors import ConfigError
from accelsim.frontend import load_workload
from accelsim.frontend.spec import load
from accelsim.graph import costs, dag
from accelsim.graph.ir import Graph
from accelsim.mapping import map_graph
from accelsim.resolve.load import load_machine
from accelsim.trace.runs import open_run
from tests.interpreter.schedule import ORDERS, Order
from tests.interpreter.steps import assert_trains_as_torch, captured

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the small models."""
    shutil.copy(HERE / "interpreter" / "small_nets.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(folder: Path, model: str = "Blocks", shape: str = "[10]", more: str = "") -> Path:
    """Write a workload of one of the small models."""
    path = folder / "net.toml"
    path.write_text(
        f'model = "small_nets.py:{model}"\nbatch = 6\n{more}\n[inputs.x]\nshape = {shape}\n'
        '[optimizer]\nname = "momentum"\nlr = 0.1\n'
    )
    return path


def graph(folder: Path, model: str = "Blocks", shape: str = "[10]", more: str = "") -> Graph:
    """Return the graph of one of the small models."""
    return load_workload(str(write(folder, model, shape, more))).graph


def chosen(*globs: str) -> str:
    """Return the key that checkpoints modules."""
    return f"checkpoint.modules = {json.dumps(globs)}"


def recomputed(graph: Graph) -> dict[str, int]:
    """Return the MACs of each layer's recomputation."""
    found: dict[str, int] = {}
    for op in graph.ops:
        if op.phase == "recompute":
            found[op.layer] = found.get(op.layer, 0) + op.macs
    return found


def test_recomputation_is_the_forward_of_the_checkpointed_modules(folder: Path) -> None:
    """Its MACs, layer by layer, are those of forward; the other phases are as without."""
    plain, again = graph(folder), graph(folder, more=chosen("blocks.*"))
    got = recomputed(again)
    want = {op.layer: op.macs for op in plain.ops if op.phase == "forward" and op.macs}
    assert {layer: n for layer, n in got.items() if n} == {k: n for k, n in want.items() if "blocks" in k}
    assert set(got) == {
        "blocks.0",
        "blocks.0.up",
        "blocks.0.down",
        "blocks.1",
        "blocks.1.up",
        "blocks.1.down",
    }
    before, after = costs.macs_by_phase(plain), costs.macs_by_phase(again)
    assert after == {**before, "recompute": 2 * 6 * 2 * 12 * 24}


def test_less_is_saved(folder: Path) -> None:
    """Of a checkpointed block only the input is kept: 12 numbers a sample instead of 12 + 24."""

    def saved(graph: Graph) -> int:
        return sum(dag.tensor_bytes(graph, name) for name in dag.saved_activations(graph))

    plain, again = graph(folder), graph(folder, more=chosen("blocks.*"))
    assert saved(plain) - saved(again) == 6 * 4 * 2 * 24
    assert not any(n.startswith("blocks.0.") for n in dag.saved_activations(again))


def test_the_peak_is_lower(folder: Path) -> None:
    """Where activations outweigh gradients: with a batch of 600."""
    write(folder)
    plain = load_workload("./net.toml", batch=600).graph
    write(folder, more=chosen("blocks.*"))
    again = load_workload("./net.toml", batch=600).graph
    assert dag.peak_live_bytes(again) < 0.9 * dag.peak_live_bytes(plain)


def test_the_models_own_checkpoint_is_the_same(folder: Path) -> None:
    """The model's call of checkpoint and the workload's key give the same graph, but for its notes."""
    key, own = graph(folder, more=chosen("blocks.?")), graph(folder, more="args.again = true")
    assert (key.ops, key.tensors) == (own.ops, own.tensors)
    assert [n for n in key.notes if "recompute" in n]


def test_a_checkpointed_function_keeps_its_layers(folder: Path) -> None:
    """What lies in no module of its own belongs to the one whose forward called checkpoint."""
    plain, again = graph(folder, "Inside"), recomputed(graph(folder, "Inside"))
    assert set(again) == {"", "blocks.0", "blocks.0.up", "blocks.0.down", "blocks.1", "blocks.1.up"} | {
        "blocks.1.down"
    }
    names = [op.name for op in plain.ops if op.phase == "recompute" and op.layer == ""]
    assert names == ["rec/step:tanh", "rec/step:mul", "rec/step:tanh.1"]
    assert sum(again.values()) == 2 * 6 * 2 * 12 * 24


def test_recomputation_reads_the_steps_weights(folder: Path) -> None:
    """The same tensors as forward, and no other that nothing updates."""
    net = graph(folder, more=chosen("blocks.*"))
    there = {n for n, t in net.tensors.items() if t.phase is None and t.role == "weight"}
    assert there == {t.next_of for t in net.tensors.values() if t.next_of and t.role == "weight"}


@pytest.mark.parametrize(
    ("model", "shape", "more"),
    [
        ("Blocks", "[10]", chosen("blocks.*")),
        ("Inside", "[10]", ""),
        ("Blocks", "[10]", chosen("blocks.*", "blocks.*.up")),
        ("Residual", "[3, 9, 9]", chosen("bn1", "down", "wide")),
    ],
    ids=["blocks", "function", "nested", "convolutions"],
)
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("order", ORDERS)
def test_programs_train_as_torch_does(folder: Path, model: str, shape: str, more: str, order: Order) -> None:
    """Two steps on small banks, in double precision; batch norm moves its statistics twice, as in torch."""
    what = captured(load(write(folder, model, shape, more)), 2)
    machine = load_machine("edge-hybrid", ("accumulator.capacity=128 B",))
    banks = {n: replace(b, capacity_bytes=8192) for n, b in machine.banks.items()}
    machine = replace(machine, banks=banks)
    assert assert_trains_as_torch(what, machine, map_graph(what.graph, machine), order)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (chosen("block.*"), 'checkpoint.modules[0]: no module fits "block.*", did you mean blocks.*?'),
        (chosen("stem", "x"), 'checkpoint.modules[1]: no module fits "x"; there are stem, blocks, head'),
        (
            chosen("blocks"),
            'checkpoint.modules[0]: "blocks" is a ModuleList, which is never called; '
            'name what is in it: "blocks.*"',
        ),
        ('checkpoint.module = "a"', "checkpoint.module: unknown key, did you mean modules?"),
    ],
)
def test_faults_name_place_and_fix(folder: Path, more: str, text: str) -> None:
    """A glob that matches nothing, or nothing that is called; a wrong key."""
    with pytest.raises(ConfigError) as caught:
        graph(folder, more=more)
    assert text in str(caught.value)
    assert str(caught.value).startswith("net.toml:3:")


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("Reentrant", "checkpoint(..., use_reentrant=True) cannot be traced; say use_reentrant=False"),
        (
            "Selective",
            "selective checkpointing (context_fn) is not simulated, as torch keeps everything while tracing",
        ),
    ],
)
def test_forms_that_cannot_be_traced_are_refused(folder: Path, model: str, text: str) -> None:
    """Rather than counted as something else."""
    with pytest.raises(ConfigError) as caught:
        graph(folder, model)
    assert str(caught.value) == f"net.toml:1:9: model: {text}"


def test_every_table_has_the_phase(folder: Path) -> None:
    """Time, energy, ops, spans and residencies of a run; recompute stands between forward and backward."""
    write(folder, more=chosen("blocks.*"))
    result = simulate("edge-hybrid", "./net.toml", out=folder / "run")
    assert list(result.summary["phases"]) == ["forward", "recompute", "backward", "update"]
    assert result.summary["phases"]["recompute"]["busy_ps"] > 0
    assert result.json()["energy_pj"]["by_phase"]["recompute"] > 0
    run = open_run(folder / "run")
    for table in ("ops", "spans", "energy"):
        assert "recompute" in run.table(table).column("phase").to_pylist(), table
    assert "recompute" in run.table("residencies").column("phase_read").to_pylist()
    assert "recompute" in run.table("residencies").column("phase_written").to_pylist()


def test_a_shipped_network_is_checkpointed_by_key(folder: Path) -> None:
    """Every residual block of ResNet-18: the forward of all but the stem and the head once more."""
    (folder / "net.toml").write_text(f'extends = "resnet18-cifar"\nbatch = 2\n{chosen("layer*.*")}\n')
    plain = load_workload(str(shipped("workloads") / "resnet18-cifar.toml"), batch=2).graph
    macs, before = costs.macs_by_phase(load_workload("./net.toml").graph), costs.macs_by_phase(plain)
    outside = 2 * (1024 * 64 * 27 + 512 * 10)
    assert macs == {**before, "recompute": before["forward"] - outside}
