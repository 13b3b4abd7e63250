"""Micro-batches: a step's batch in parts, gradients summed, one update equal to torch's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accelsim import simulate
from accelsim.config.locate import shipped
from accelsim.errors import ConfigError, InputError
from accelsim.frontend import load_workload
from accelsim.frontend.build import build
from accelsim.frontend.capture import capture, real_arguments
from accelsim.frontend.lower.walk import lower
from accelsim.frontend.spec import Workload, load
from accelsim.graph import costs
from accelsim.graph.ir import Graph
from accelsim.graph.store import content_hash
from accelsim.mapping import map_graph
from accelsim.mapping.kernels import drafts
from accelsim.resolve.load import load_machine
from tests.interpreter.schedule import ORDERS, Order
from tests.interpreter.steps import assert_trains_as_torch, captured

HERE = Path(__file__).parent
NAMES = ["mlp", "lenet5", "lenet-tinydnn", "resnet18-cifar"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the small models and a workload."""
    shutil.copy(HERE / "interpreter" / "small_nets.py", tmp_path)
    (tmp_path / "net.toml").write_text(
        'model = "small_nets.py:Residual"\nbatch = 6\naccumulate = 3\n[inputs.x]\nshape = [3, 9, 9]\n'
        '[optimizer]\nname = "adam"\nlr = 0.01\n'
    )
    (tmp_path / "perceptron.toml").write_text(
        'extends = "mlp"\nmodel = "mlp.py:MLP"\nargs.widths = [30, 21, 17, 5]\ninputs.x.shape = [30]\n'
    )
    shutil.copy(shipped("workloads") / "models" / "mlp.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def workload(name: str, batch: int, accumulate: int) -> Workload:
    """Return a shipped workload."""
    return load(shipped("workloads") / f"{name}.toml", batch, accumulate)


def graph(name: str, batch: int, accumulate: int) -> Graph:
    """Return the graph of a shipped workload."""
    return lower(capture(workload(name, batch, accumulate)), name, batch)


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_of_the_micro_batches(name: str) -> None:
    """Four micro-batches of two are as much work as four steps of two, with one update."""
    one, four = graph(name, 2, 1), graph(name, 8, 4)
    assert costs.macs_by_phase(four) == {p: 4 * n for p, n in costs.macs_by_phase(one).items()}
    assert updates(four) == updates(one)
    assert (four.batch, four.unsupported) == (8, ())


def updates(net: Graph) -> list[tuple[str, list[str], list[str]]]:
    """Return the ops of the update with what they read and write."""
    found = [op for op in net.ops if op.phase == "update"]
    return [(op.name, [o.tensor for o in op.inputs], [o.tensor for o in op.outputs]) for op in found]


def test_names_tell_micro_batches_and_layers_do_not() -> None:
    """The first one's names are those of a step without any; the others' end in their number."""
    one, two = graph("lenet5", 2, 1), graph("lenet5", 4, 2)
    names = [op.name for op in two.ops]
    assert len(set(names)) == len(names)
    assert {op.name for op in one.ops} < set(names)
    more = {op.name: op for op in two.ops if op.name not in {op.name for op in one.ops}}
    first = {op.name: op for op in two.ops}
    scaled = {"loss:div", "bwd/loss:div"}  # the loss is divided by 2
    for name, op in more.items():
        if name in scaled or op.aten == "aten.add.Tensor":
            continue
        assert name.endswith(".mb1"), name
        assert first[name.removesuffix(".mb1")].layer == op.layer
    sums = [op for op in two.ops if op.outputs[0].tensor.startswith("grad/")]
    assert {op.outputs[0].tensor for op in sums} == {o.outputs[0].tensor for o in sums}
    assert {two.tensors[o.tensor].role for op in sums for o in op.inputs} == {"weight_gradient"}


def test_gradients_are_summed_as_they_arise() -> None:
    """The sum follows the gradient at once, so that it rides on its drain and no gradient waits."""
    net = graph("mlp", 4, 2)
    names = [op.name for op in net.ops]
    for op in net.ops:
        if op.outputs[0].tensor.startswith("grad/"):
            newest = max(names.index(m) for m in (makers(net)[o.tensor] for o in op.inputs))
            assert names.index(op.name) - newest <= 4, op.name
    machine = load_machine("edge-hybrid")
    kernels = {p.op: k.leader.op for k in map_graph(net, machine).kernels for p in k.parts}
    riding = [
        o.name for o in net.ops if o.outputs[0].tensor.endswith(".weight") and "grad/" in o.outputs[0].tensor
    ]
    assert len(riding) == 3
    assert all("wgrad" in kernels[name] for name in riding)


def test_a_micro_batch_of_one_rides_as_a_larger_one() -> None:
    """A dimension of size 1 keeps no op from riding: as many kernels as with two samples."""
    choices = load_machine("edge-sram").mapping
    for name in ("mlp", "lenet5", "resnet18-cifar"):
        kernels = [len(drafts(graph(name, batch, 1), choices)) for batch in (1, 2)]
        assert kernels[0] == kernels[1], name


def makers(net: Graph) -> dict[str, str]:
    """Return the op that makes each tensor."""
    return {o.tensor: op.name for op in net.ops for o in op.outputs}


def test_every_micro_batch_has_its_own_input() -> None:
    """Inputs and targets come as micro-batches."""
    shapes = {n: t.shape for n, t in graph("mlp", 6, 3).tensors.items() if t.role == "input"}
    want = {
        f"batch/{n}{s}": (2, 784) if n == "x" else (2,) for s in ("", ".mb1", ".mb2") for n in ("x", "target")
    }
    assert shapes == want


def test_the_step_is_that_of_the_whole_batch() -> None:
    """Without batch norm: loss and updated weights of 4 x 2 samples equal those of 8, in double precision."""
    whole, parts = workload("lenet5", 8, 1), workload("lenet5", 8, 4)
    results = []
    for one in (whole, parts):
        step = capture(one)
        values = [v.double() if v.is_floating_point() else v for v in real_arguments(one)]
        slots = dict(zip(step.inputs, values, strict=True))
        if one is whole:
            given = slots
        else:
            cut = {
                name: torch.chunk(v, 4)
                for (k, name), v in (((s.kind, s.name), v) for s, v in given.items())
                if k == "input"
            }
            values = [
                cut[s.name.partition(".mb")[0]][int(s.name.partition(".mb")[2] or 0)]
                if s.kind == "input"
                else given[s]
                for s in step.inputs
            ]
        results.append(dict(zip(step.outputs, step.module(*values), strict=True)))
    for slot, want in results[0].items():
        assert torch.allclose(results[1][slot], want, rtol=1e-9, atol=1e-12), slot


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "batch", "parts"), [("perceptron", 3, 3), ("lenet5", 4, 2), ("net", 6, 3)])
def test_programs_train_as_torch_does(folder: Path, name: str, batch: int, parts: int, order: Order) -> None:
    """Two steps by the program equal torch's, which accumulates; statistics are those of micro-batches."""
    own = name != "lenet5"
    what = captured(load(folder / f"{name}.toml", batch, parts) if own else workload(name, batch, parts), 2)
    machine = load_machine("edge-hybrid")
    if own:
        banks = {n: replace(b, capacity_bytes=8192) for n, b in machine.banks.items()}
        machine = replace(machine, banks=banks)
    assert assert_trains_as_torch(what, machine, map_graph(what.graph, machine), order)


@pytest.mark.usefixtures("folder")
def test_the_key_the_option_and_the_cache() -> None:
    """--accumulate replaces the file's; another number is another graph, which the cache tells apart."""
    own = load_workload("./net.toml")
    assert own.spec["accumulate"] == 3
    assert own.graph.notes == (
        "the batch goes through in 3 micro-batches of 2, whose gradients are summed before one update",
    )
    other = load_workload("./net.toml", accumulate=2)
    assert not other.cached
    assert content_hash(other.graph) != content_hash(own.graph)
    assert load_workload("./net.toml", accumulate=2).cached
    assert {op.phase for op in load_workload("./net.toml", phase="forward").graph.ops} == {"forward"}


def test_buffers_of_all_micro_batches_are_state(folder: Path) -> None:
    """Running statistics between micro-batches have the role of those before and after."""
    net = load_workload(str(folder / "net.toml")).graph
    running = [t.role for n, t in net.tensors.items() if "running_" in n]
    assert len(running) == 2 * 2 * 4
    assert set(running) == {"optimizer_state"}


@pytest.mark.parametrize(
    ("batch", "accumulate", "text"),
    [
        (7, 2, "--accumulate: the step's batch of 7 cannot be split into 2 equal micro-batches; "),
        (7, None, "net.toml:3:14: accumulate: the step's batch of 7 cannot be split into 3 equal micro-"),
    ],
)
def test_what_cannot_be_split_is_refused(folder: Path, batch: int, accumulate: int | None, text: str) -> None:
    """With both numbers, at the key that says how often."""
    del folder
    with pytest.raises(ConfigError) as caught:
        load_workload("./net.toml", batch=batch, accumulate=accumulate)
    assert str(caught.value).startswith(text)


def test_a_topology_has_nothing_to_accumulate(folder: Path) -> None:
    """Its layers are forward only."""
    (folder / "gemms.csv").write_text("Layer,M,N,K\na,4,4,4\n")
    load_workload("./gemms.csv", accumulate=1)
    with pytest.raises(InputError) as caught:
        load_workload("./gemms.csv", accumulate=4)
    assert str(caught.value) == (
        "gemms.csv: a topology file has no gradients to accumulate, got 4 micro-batches; leave out accumulate"
    )


def test_a_run_tells_its_micro_batches(folder: Path) -> None:
    """In summary, manifest and id; its MACs are the batch's."""
    runs = [simulate("edge-hybrid", "mlp", batch=8, accumulate=n, out=folder / f"r{n}") for n in (1, 4)]
    assert [r.summary["accumulate"] for r in runs] == [1, 4]
    assert runs[0].summary["macs"] == runs[1].summary["macs"]
    manifests = [json.loads((r.run_dir / "manifest.json").read_text()) for r in runs]
    assert [m["workload"]["accumulate"] for m in manifests] == [1, 4]
    assert manifests[0]["graph"] != manifests[1]["graph"]
    ids = [json.loads((r.run_dir / "manifest.json").read_text())["id"] for r in runs]
    assert ids[0] != ids[1]


def test_the_reference_is_torch_that_accumulates() -> None:
    """The reference itself: gradients of summed parts are those of the mean over the batch."""
    one = workload("mlp", 4, 1)
    model = build(one, "cpu").double()
    x, target = torch.randn(4, 784, dtype=torch.float64), torch.randint(10, (4,))
    loss_of = torch.nn.functional.cross_entropy
    whole = torch.autograd.grad(loss_of(model(x), target), list(model.parameters()))
    for part in (slice(0, 2), slice(2, 4)):
        (loss_of(model(x[part]), target[part]) / 2).backward()
    for p, want in zip(model.parameters(), whole, strict=True):
        assert p.grad is not None
        assert torch.allclose(p.grad, want)
