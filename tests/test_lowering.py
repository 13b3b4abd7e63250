"""Lowering: counts against closed formulas and torch's own, views, and a run of the ops on real data."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from accelsim.config.locate import shipped
from accelsim.errors import GraphError
from accelsim.frontend.capture import Step, capture, real_arguments
from accelsim.frontend.lower.walk import PLACES, lower
from accelsim.frontend.slots import Slot
from accelsim.frontend.spec import load
from accelsim.geometry import Axis, DimMap, Operand, volume
from accelsim.graph import costs, dag
from accelsim.graph.ir import Graph, Op

NAMES = ["mlp", "lenet5", "lenet-tinydnn", "resnet18-cifar"]
PARAMETERS = {
    "mlp": 785 * 256 + 257 * 256 + 257 * 10,
    "lenet5": 156 + 2416 + 401 * 120 + 121 * 84 + 85 * 10,
    "lenet-tinydnn": 156 + 12 + 2416 + 32 + 48120 + 1210,
    "resnet18-cifar": 11_173_962,
}


@functools.cache
def lowered(name: str, batch: int | None = None) -> tuple[Step, Graph]:
    """Return the captured step and the graph of a shipped workload."""
    workload = load(shipped("workloads") / f"{name}.toml", batch=batch)
    step = capture(workload)
    return step, lower(step, name, workload.spec.batch)


def flops_by_phase(step: Step) -> dict[str, int]:
    """Return torch's own count of multiply-accumulates of a captured step."""
    found: dict[str, int] = {}
    for node in step.module.graph.nodes:
        formula = flop_registry.get(getattr(node.target, "overloadpacket", None))
        if node.op == "call_function" and formula:
            args = tree_map(lambda a: a.meta["val"] if isinstance(a, torch.fx.Node) else a, node.args)
            phase = node.meta["phase"]
            found[phase] = found.get(phase, 0) + formula(*args, out_val=node.meta["val"]) // 2
    return found


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_of_torchs_flop_counter(name: str) -> None:
    """Forward and backward MACs equal torch.utils.flop_counter / 2, exactly; nothing is unsupported."""
    step, graph = lowered(name)
    expected = {"forward": 0, "recompute": 0, "backward": 0, "update": 0} | flops_by_phase(step)
    assert costs.macs_by_phase(graph) == expected
    assert graph.unsupported == ()
    assert graph.parameters == PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("mlp", [784 * 256, 256 * 256, 256 * 10]),
        ("lenet5", [784 * 6 * 25, 100 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]),
        ("lenet-tinydnn", [784 * 6 * 25, 100 * 16 * 150, 120 * 400, 120 * 10]),
    ],
)
def test_macs_are_closed_formulas(name: str, layers: list[int]) -> None:
    """Forward: a layer's MACs times the batch. Backward: twice that, but no input gradient of the first."""
    _, graph = lowered(name)
    got = costs.macs_by_phase(graph)
    assert got["forward"] == graph.batch * sum(layers)
    assert got["backward"] == graph.batch * (2 * sum(layers) - layers[0])


def test_resnet_is_the_published_one() -> None:
    """0.5554 GMAC per image in convolutions and the linear layer, by the closed formula of its stages."""
    _, graph = lowered("resnet18-cifar")
    stem = 1024 * 64 * 27
    first = 1024 * 4 * 64 * 576
    later = [(256, 128), (64, 256), (16, 512)]
    stages = sum(p * c * (9 * c // 2 + 3 * 9 * c + c // 2) for p, c in later)
    forward = stem + first + stages + 512 * 10
    assert costs.macs_by_phase(graph)["forward"] == 32 * forward
    assert round(forward / 1e9, 4) == 0.5554


def test_tensor_bytes_are_closed_formulas() -> None:
    """LeNet-5's saved activations and its weights, states and gradients, in bytes."""
    _, graph = lowered("lenet5")
    held: dict[str, int] = {}
    for name, tensor in graph.tensors.items():
        held[tensor.role] = held.get(tensor.role, 0) + dag.tensor_bytes(graph, name)
    weights = 4 * PARAMETERS["lenet5"]
    assert held["weight"] == held["optimizer_state"] == 2 * weights  # the old and the new
    assert held["weight_gradient"] == weights
    assert held["input"] == 64 * (784 * 4 + 8)
    saved = sum(dag.tensor_bytes(graph, t) for t in dag.saved_activations(graph))
    tanh = 6 * 784 + 16 * 100 + 120 + 84
    pools = 6 * 196 + 400
    assert saved == 64 * 4 * (tanh + pools + 10) + 4  # and log-probabilities, and the sum of weights


@pytest.mark.parametrize("name", NAMES)
def test_laws_of_every_graph(name: str) -> None:
    """Unique names, one maker per tensor, nothing read before it is made, all places refilled."""
    assert_in_order(lowered(name)[1])


def assert_in_order(graph: Graph) -> None:
    """Assert the law above; LeNet's connection table is a buffer that nothing replaces."""
    names = [op.name for op in graph.ops]
    assert len(set(names)) == len(names)
    made = {n for n, t in graph.tensors.items() if t.phase is None}
    for op in graph.ops:
        assert all(o.tensor in made for o in op.inputs), op.name
        assert not any(o.tensor in made for o in op.outputs), op.name
        made |= {o.tensor for o in op.outputs}
        assert op.forward_op is None or op.forward_op in names[: names.index(op.name)]
        for operand in (*op.inputs, *op.outputs):
            assert math.prod(operand.shape) == graph.tensors[operand.tensor].elements
    assert made == set(graph.tensors)
    trained = {s for s, t in graph.tensors.items() if t.phase is None and s.split("/")[0] != "batch"}
    assert {t.next_of for t in graph.tensors.values() if t.next_of} == trained - {"conv4.mask"}


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_tile_touches_everything(name: str) -> None:
    """Over all axes every operand's box is the whole operand; cut in two along an axis, both halves are."""
    assert_whole(lowered(name)[1])


def assert_whole(graph: Graph) -> None:
    """Assert the law above; of an embedding's table, and of what is split, only a part is read."""
    for op in graph.ops:
        axes = axes_of(op)
        whole = {a.name: (0, a.size) for a in axes}
        for operand in (*op.inputs, *op.outputs):
            if not skips(operand) and not is_part(operand, axes):
                assert volume(operand.box(whole)) == math.prod(operand.shape), (op.name, operand)
        for axis in axes:
            half = -(-axis.size // (2 * axis.unit)) * axis.unit
            cuts = [(0, half), (half, axis.size)] if half < axis.size else [(0, axis.size)]
            for written in op.outputs:
                parts = [volume(written.box({**whole, axis.name: cut})) for cut in cuts]
                follows = any(d.axis == axis.name for d in written.dims)
                assert sum(parts) == math.prod(written.shape) * (1 if follows else len(cuts))


def axes_of(op: Op) -> tuple[Axis, ...]:
    """Return all axes of an op."""
    if op.gemm:
        return (*op.gemm.batch, *op.gemm.m, *op.gemm.n, *op.gemm.k)
    assert op.vector is not None
    return op.vector.axes


def skips(operand: Operand) -> bool:
    """Return whether a stride leaves the last rows of an image unread (a 1x1 or even-sized window)."""
    return any(d.kind in ("window", "inverse") and d.stride > 1 for d in operand.dims)


def is_part(operand: Operand, axes: tuple[Axis, ...]) -> bool:
    """Return whether a dimension is longer than the axis that it follows."""
    sizes = {a.name: a.size for a in axes}
    dims = zip(operand.dims, operand.shape, strict=True)
    return any(d.extent == 1 and d.kind in ("direct", "window") and sizes[d.axis] < size for d, size in dims)


# --- running the ops


class Machine:
    """Runs a graph's ops by their ``args`` alone, on real tensors: the law of what args must hold."""

    def __init__(self, graph: Graph, places: dict[str, torch.Tensor]) -> None:
        self.graph = graph
        self.held = dict(places)

    def run(self) -> None:
        """Execute every op in order."""
        for op in self.graph.ops:
            results = self.call(op)
            for operand, value in zip(op.outputs, results, strict=True):
                shape = self.graph.tensors[operand.tensor].shape
                self.held[operand.tensor] = value.reshape(shape)

    def call(self, op: Op) -> list[torch.Tensor]:
        """Return one result per output of ``op``."""
        seen: list[torch.Tensor] = []
        args = [self.value(op, a, seen) for a in op.args]
        kwargs = args.pop()["kwargs"] if args and isinstance(args[-1], dict) else {}
        space, name, overload = (*op.aten.split("."), "default")[:3]
        function = getattr(getattr(getattr(torch.ops, space), name), overload)
        kwargs = {
            k: v for k, v in kwargs.items() if k not in ("memory_format", "pin_memory", "device", "layout")
        }
        made = function(*args, **kwargs)
        results = [r for r in (made if isinstance(made, tuple | list) else [made]) if r is not None]
        if name == "native_batch_norm":
            return [*results, seen[3], seen[4]]  # the running statistics, moved in place
        if name == "convolution_backward" or len(op.outputs) < len(results):
            results = [r for r in results if r is not None and r.numel()]
        return results[: len(op.outputs)]

    def value(self, op: Op, arg: Any, seen: list[torch.Tensor]) -> Any:
        """Return an argument with tensors for their references."""
        if isinstance(arg, list):
            return [self.value(op, a, seen) for a in arg]
        if isinstance(arg, dict) and "t" in arg:
            tensor = self.held[op.inputs[arg["t"]].tensor].clone()
            for name, args in arg.get("views", []):
                tensor = (
                    torch.ops.aten.slice(tensor, *args) if name == "slice" else getattr(tensor, name)(*args)
                )
            seen.append(tensor)
            return tensor
        if isinstance(arg, dict) and "shape" in arg:
            return torch.zeros(arg["shape"])
        return DTYPES.get(arg, arg) if isinstance(arg, str) else arg


DTYPES = {name: getattr(torch, name) for name in ("float32", "int64", "bool")}


@pytest.mark.parametrize(
    ("name", "batch"), [("mlp", 4), ("lenet5", 4), ("lenet-tinydnn", 4), ("resnet18-cifar", 2)]
)
def test_the_ops_compute_the_step(name: str, batch: int) -> None:
    """Each op run by its args alone: loss, weights, states and buffers equal the captured graph's."""
    workload = load(shipped("workloads") / f"{name}.toml", batch=batch)
    step, graph = lowered(name, batch)
    values = real_arguments(workload)
    places = {place(s): v.reshape(tuple(v.shape) or (1,)) for s, v in zip(step.inputs, values, strict=True)}
    machine = Machine(graph, places)
    machine.run()
    after = {t.next_of: n for n, t in graph.tensors.items() if t.next_of}
    results = step.module(*values)
    for slot, want in zip(step.outputs, results, strict=True):
        if place(slot) in after:
            got = machine.held[after[place(slot)]]
            off = ~torch.isclose(got.reshape(want.shape), want, rtol=1e-5, atol=1e-6)
            # Adagrad's first step divides a gradient by its own size: of those near zero, rounding shows
            few = 1e-3 if name == "lenet-tinydnn" else 0.0
            assert off.double().mean() <= few, slot
            assert torch.allclose(got.reshape(want.shape), want, rtol=1e-5, atol=1e-3 if few else 1e-6), slot


def place(slot: Slot) -> str:
    """Return the tensor's name of an argument of the step."""
    return PLACES.get(slot.kind, "{}").format(slot.name)


# --- operands


def test_merged_channels_are_cut_between_rows() -> None:
    """The 400 inputs of LeNet's linear layer are 16 channels of 5x5: an axis of unit 25, in both orders."""
    _, graph = lowered("lenet5")
    ops = {op.name: op for op in graph.ops}
    forward, backward = ops["fc1:linear"].gemm, ops["bwd/fc1:linear.dgrad"].gemm
    assert forward is not None
    assert backward is not None
    assert forward.k == (Axis("k", 400, 25),)
    assert forward.a.shape == (64, 400)
    assert graph.tensors[forward.a.tensor].shape == (64, 16, 5, 5)
    assert backward.n == (Axis("n", 400, 25),)
    assert graph.tensors[backward.c.tensor].shape == (64, 16, 5, 5)


def test_transposed_reads_keep_the_storage_order() -> None:
    """x w^T reads w as (n, k): the storage's order, whose first dimension follows n."""
    _, graph = lowered("mlp")
    gemm = next(op.gemm for op in graph.ops if op.name == "fc.0:linear")
    assert gemm is not None
    assert [d.axis for d in gemm.b.dims] == ["n", "k"]
    assert gemm.b.shape == (256, 784)


# --- coming networks, and what is refused

COMING = (Path(__file__).parent / "coming_models.py").read_text()


def own(folder: Path, model: str, inputs: str, phase: str = "all", args: str = "") -> tuple[Step, Graph]:
    """Return step and graph of a class of COMING."""
    (folder / "coming.py").write_text(COMING)
    text = f'model = "coming.py:{model}"\nbatch = 2\n[args]\n{args}\n[inputs.x]\n{inputs}\n'
    text += '[optimizer]\nname = "adam"\n'
    (folder / "coming.toml").write_text(text)
    step = capture(load(folder / "coming.toml"), phase)
    return step, lower(step, model, 2)


@pytest.mark.parametrize("form", ["sdpa", "products"])
def test_attention_is_lowered_whole(tmp_path: Path, form: str) -> None:
    """Attention in both forms, embeddings, layer norm, dropout, tied weights, adam: nothing unsupported."""
    step, graph = own(
        tmp_path, "Attention", 'shape = [8]\ndtype = "int64"\nbelow = 50', args=f'form = "{form}"'
    )
    assert graph.unsupported == ()
    expected = {"forward": 0, "recompute": 0, "backward": 0, "update": 0} | flops_by_phase(step)
    assert costs.macs_by_phase(graph) == expected
    (tied,) = [op for op in graph.ops if op.name == "upd/tokens.weight:adam"]
    assert [graph.tensors[o.tensor].role for o in tied.inputs][:2] == ["weight", "weight_gradient"]
    scores = next(op.gemm for op in graph.ops if op.gemm and op.gemm.batch)
    assert math.prod(a.size for a in scores.batch) == 8
    wide = next(op.gemm for op in graph.ops if op.name == "qkv:linear")
    assert wide is not None
    assert wide.m == (Axis("m0", 2), Axis("m1", 8))


def test_depthwise_convolutions_have_a_group_axis(tmp_path: Path) -> None:
    """Eight groups of one channel; each gradient needs as many MACs as forward.

    torch's counter multiplies a grouped weight gradient by the groups: it takes every channel of the
    error with every channel of the input.
    """
    step, graph = own(tmp_path, "Mobile", "shape = [3, 16, 16]")
    assert graph.unsupported == ()
    expected, depthwise = flops_by_phase(step), 2 * 8 * 64 * 9
    got = costs.macs_by_phase(graph)
    assert got["forward"] == expected["forward"]
    assert got["backward"] == expected["backward"] - 7 * depthwise
    depth = [op.gemm for op in graph.ops if op.gemm and op.layer == "depth"]
    assert [(g.kind, g.batch) for g in depth if g] == [
        ("forward", (Axis("g", 8),)),
        ("input_gradient", (Axis("g", 8),)),
        ("weight_gradient", (Axis("g", 8),)),
    ]


def test_a_strided_convolution_maps_its_windows() -> None:
    """ResNet's 3x3 stride-2: rows of the input by window, rows of the error by its inverse."""
    _, graph = lowered("resnet18-cifar")
    ops = {op.name: op.gemm for op in graph.ops}
    forward, dgrad = ops["layer2.0.conv1:conv"], ops["bwd/layer2.0.conv1:conv.dgrad"]
    wgrad = ops["bwd/layer2.0.conv1:conv.wgrad"]
    assert forward is not None
    assert dgrad is not None
    assert wgrad is not None
    assert forward.a.dims[2] == DimMap("y", "window", 2, 1, 3)
    assert dgrad.a.dims[2] == DimMap("y", "inverse", 2, 1, 3)
    assert [a.size for a in dgrad.m] == [32, 32, 32]
    assert wgrad.b.dims[2] == DimMap("y", "window", 2, 1, 3)
    assert forward.useful_macs == dgrad.useful_macs == wgrad.useful_macs == 32 * 256 * 128 * 576
    assert (forward.window, forward.expanded, wgrad.expanded) == ((3, 3, 2, 2), "a", "b")


def test_updates_cost_what_their_rule_computes() -> None:
    """Momentum is two multiply-adds per weight, and one more under weight decay."""
    for name, count in (("lenet5", 2), ("resnet18-cifar", 3)):
        _, graph = lowered(name)
        updates = [op for op in graph.ops if op.phase == "update"]
        got = [costs.vector_operations(op) for op in updates]
        assert sum(g["mul"] for g in got) == sum(g["add"] for g in got) == count * PARAMETERS[name]


def test_unsupported_ops_are_counted_and_go_on(tmp_path: Path) -> None:
    """An op without a lowering is listed with layer, phase and count, and still costs its elements."""
    _, graph = own(tmp_path, "Strange", "shape = [6]")
    listed = [(u.aten, u.phase, u.count) for u in graph.unsupported]
    assert ("aten.logcumsumexp.default", "forward", 2) in listed
    assert sum(op.aten == "aten.logcumsumexp.default" and op.phase == "forward" for op in graph.ops) == 2


@pytest.mark.filterwarnings("default")  # torch.compile warns of itself
def test_control_flow_is_refused(tmp_path: Path) -> None:
    """A torch.cond is neither costed nor dropped."""
    with pytest.raises(GraphError, match=r"control flow cond in layer \(model\) cannot be lowered"):
        own(tmp_path, "Cond", "shape = [6]", "forward")
