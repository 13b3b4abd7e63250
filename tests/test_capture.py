"""Capture: the whole step as one graph, labelled, equal to eager torch; its cache; its faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from accelsim.config.locate import shipped
from accelsim.errors import ConfigError, GraphError, InputError
from accelsim.frontend import load_workload, optim
from accelsim.frontend.build import build
from accelsim.frontend.capture import Step, capture, real_arguments
from accelsim.frontend.spec import OptimizerSpec, Workload, load
from accelsim.graph.store import content_hash

NAMES = ["mlp", "lenet5", "lenet-tinydnn", "resnet18-cifar"]
MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.a = nn.Linear(8, width)
        self.b = nn.Linear(width, 4)
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(self.b(torch.relu(self.a(x))))

class Branch(Net):
    def forward(self, x):
        x = self.a(x)
        return self.b(x) if x.sum() > 0 else self.b(-x)

class Pair(Net):
    def forward(self, x):
        return self.a(x), x

def number():
    return 3
"""
TOML = """model = "net.py:Net"
batch = 5
loss = "cross_entropy"
dtype = "fp64"

[args]
width = 6

[inputs.x]
shape = [8]

[optimizer]
name = "momentum"
lr = 0.1
weight_decay = 0.01
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an own model and its workload file."""
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "net.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def own(folder: Path, *edits: tuple[str, str]) -> Workload:
    """Return the workload of ``folder`` after replacing texts in its file."""
    write(folder, *edits)
    return load(Path("net.toml"))


def write(folder: Path, *edits: tuple[str, str]) -> None:
    """Write the workload file of ``folder`` with texts replaced."""
    text = TOML
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (folder / "net.toml").write_text(text)


Results = dict[tuple[str, str], torch.Tensor]


def eager(workload: Workload, step: Step, values: tuple[torch.Tensor, ...]) -> Results:
    """Return what torch itself makes of ``values``, by kind and name of the step's results."""
    model = build(workload, "cpu")
    of = {(s.kind, s.name): v.clone() for s, v in zip(step.inputs, values, strict=True)}
    model.load_state_dict({n: v for (k, n), v in of.items() if k in ("parameter", "buffer")}, strict=False)
    optimizer = optim.torch_optimizer(workload.spec.optimizer, list(model.parameters()))
    loss_of = functional.cross_entropy if workload.spec.loss == "cross_entropy" else functional.mse_loss
    loss = loss_of(model(of["input", "x"]), of["input", "target"])
    loss.backward()
    optimizer.step()
    found = {("loss", "loss"): loss.detach()}
    found |= {("parameter", n): v.detach() for n, v in model.named_parameters()}
    return found | {("buffer", n): v for n, v in model.named_buffers()}


@pytest.mark.parametrize("name", NAMES)
def test_the_step_on_real_tensors_is_eager_torch(name: str) -> None:
    """Loss, weights and buffers after one step equal eager torch with torch.optim."""
    workload = load(shipped("workloads") / f"{name}.toml", batch=2 if name.startswith("res") else None)
    step = capture(workload)
    values = real_arguments(workload)
    results = step.module(*values)
    expected = eager(workload, step, values)
    for slot, got in zip(step.outputs, results, strict=True):
        if (slot.kind, slot.name) in expected:
            want = expected[slot.kind, slot.name]
            assert torch.allclose(got, want, rtol=1e-4, atol=1e-6), slot


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec(name="sgd", lr=0.1, weight_decay=0.01),
        OptimizerSpec(name="momentum", lr=0.1, momentum=0.8, weight_decay=0.01),
        OptimizerSpec(name="momentum", lr=0.1, nesterov=True),
        OptimizerSpec(name="adam", lr=0.01, betas=(0.8, 0.99), weight_decay=0.1),
        OptimizerSpec(name="adagrad", lr=0.1, eps=1e-6),
        OptimizerSpec(name="adagrad", lr=0.1, weight_decay=0.01),
    ],
    ids=lambda s: s.name,
)
def test_rules_are_those_of_torch_optim(spec: OptimizerSpec) -> None:
    """Five updates by the rule's node equal five steps of torch.optim, in float64 to 1e-12."""
    torch.manual_seed(1)
    p = torch.randn(7, 3, dtype=torch.float64)
    reference = torch.nn.Parameter(p.clone())
    optimizer = optim.torch_optimizer(spec, [reference])
    state = [torch.zeros_like(p) for _ in optim.STATE[spec.name]]
    for i in range(5):
        reference.grad = torch.randn(7, 3, dtype=torch.float64)
        p, *state = optim.apply(spec, p, reference.grad, state, torch.tensor(i + 1.0))
        optimizer.step()
    assert torch.allclose(p, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_call_has_phase_and_layer(name: str) -> None:
    """Only gradient accumulation and the seed of backward belong to no layer; the rest links to forward."""
    step = capture(load(shipped("workloads") / f"{name}.toml"))
    calls = [n for n in step.module.graph.nodes if n.op == "call_function"]
    assert all(n.meta["phase"] in ("forward", "backward", "update") for n in calls)
    without = {str(n.target) for n in calls if n.meta["layer"] is None}
    assert without <= {"aten.add.Tensor", "aten.ones_like.default"}
    backward = [n for n in calls if n.meta["phase"] == "backward" and n.meta["layer"] is not None]
    assert all(n.meta["fwd_op"] for n in backward)


def test_node_counts_are_pinned() -> None:
    """The capture of a torch version makes exactly these calls; a change shows here first."""
    step = capture(load(shipped("workloads") / "lenet5.toml"))
    calls = [n for n in step.module.graph.nodes if n.op == "call_function"]
    counts = {p: sum(n.meta["phase"] == p for n in calls) for p in ("forward", "backward", "update")}
    assert counts == {"forward": 35, "backward": 47, "update": 30}


def test_checkpointed_layers_are_recompute(folder: Path) -> None:
    """What activation checkpointing computes again in backward has the phase recompute and its layer."""
    (folder / "net.py").write_text(
        MODEL + "from torch.utils.checkpoint import checkpoint\n"
        "class Again(Net):\n    def forward(self, x):\n"
        "        return self.b(torch.tanh(checkpoint(self.a, x, use_reentrant=False)))\n"
    )
    step = capture(own(folder, ("net.py:Net", "net.py:Again")))
    again = [n for n in step.module.graph.nodes if n.meta.get("phase") == "recompute"]
    assert {n.meta["layer"] for n in again} == {"a"}


@pytest.mark.usefixtures("folder")
def test_forward_alone_has_no_backward() -> None:
    """phase="forward" ends with the loss; batch norm still moves its statistics."""
    captured = load_workload("./net.toml", phase="forward")
    assert {op.phase for op in captured.graph.ops} == {"forward"}
    assert captured.graph.ops[-1].layer == "loss"
    replaced = [t.next_of for t in captured.graph.tensors.values() if t.next_of]
    assert replaced == ["bn.num_batches_tracked", "bn.running_mean", "bn.running_var"]


WARM = """
import sys
from accelsim.frontend import load_workload
from accelsim.graph.store import content_hash
captured = load_workload("./net.toml")
print(captured.cached, "torch" in sys.modules, content_hash(captured.graph))
"""


def warm(folder: Path, seed: str) -> list[str]:
    """Load the folder's workload in a fresh process and return what it says."""
    root = str(Path(__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", WARM], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_warm_run_imports_no_torch_and_an_edit_is_noticed(folder: Path) -> None:
    """Cold, warm, and after an edit of a file that the model imports; the same bytes under any hash seed."""
    (folder / "net.py").write_text("from parts import *\nfrom parts import Net\n")
    (folder / "parts.py").write_text(MODEL)
    first, torch_loaded, graph = warm(folder, "1")
    assert (first, torch_loaded) == ("False", "True")
    assert warm(folder, "2") == ["True", "False", graph]
    (folder / "parts.py").write_text(MODEL.replace("torch.relu", "torch.tanh"))
    second, _, other = warm(folder, "2")
    assert (second, other != graph) == ("False", True)
    (folder / "parts.py").write_text(MODEL)
    assert content_hash(load_workload("./net.toml").graph) == graph


def test_the_entry_lists_the_users_files(folder: Path) -> None:
    """The files are the description, the model and what it imports; not torch's, not ours."""
    (folder / "parts.py").write_text("WIDTH = 8\n")
    (folder / "net.py").write_text(MODEL + "import parts\n")
    captured = load_workload("./net.toml")
    assert [Path(path).name for path, _ in captured.files] == ["net.py", "net.toml", "parts.py"]
    again = load_workload("./net.toml", batch=3)
    assert [Path(path).name for path, _ in again.files] == ["net.py", "net.toml", "parts.py"]
    assert not again.cached
    assert load_workload("./net.toml", batch=3).cached


def test_a_workload_extends_another(folder: Path) -> None:
    """The model's file is beside the file that names it; both files are listed."""
    (folder / "sub").mkdir()
    (folder / "sub" / "wide.toml").write_text('extends = "../net.toml"\n[args]\nwidth = 12\n')
    (folder / "big.toml").write_text('extends = "mlp"\nbatch = 3\ndtype = "bf16"\n')
    captured = load_workload("sub/wide.toml")
    assert captured.graph.tensors["a.weight"].shape == (12, 8)
    assert [Path(p).name for p, _ in captured.files] == ["net.py", "net.toml", "wide.toml"]
    big = load_workload("./big.toml").graph
    assert (big.batch, big.parameters, big.name) == (3, 269322, "big")
    assert {t.dtype for t in big.tensors.values()} == {"bf16", "int64"}


def test_a_broken_entry_and_an_unwritable_cache_are_no_errors(folder: Path) -> None:
    """A damaged entry is captured anew; a cache that is no folder is done without."""
    load_workload("./net.toml")
    (entry,) = (folder / "cache").iterdir()
    entry.write_text(json.dumps({"files": []}))
    assert not load_workload("./net.toml").cached
    assert load_workload("./net.toml").cached
    (folder / "file").write_text("")
    assert not load_workload("./net.toml", cache=folder / "file").cached


def message(folder: Path, *edits: tuple[str, str]) -> str:
    """Return the message with which the edited workload is refused."""
    write(folder, *edits)
    with pytest.raises((ConfigError, GraphError)) as caught:
        load_workload("./net.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (("net.py:Net", "nett.py:Net"), "net.toml:1:9: model: no such file nett.py beside the workload file"),
        (
            ("net.py:Net", "net.py:Nett"),
            'net.toml:1:9: model: no callable "Nett" in net.py, did you mean Net?',
        ),
        (
            ("net.py:Net", "net.py:x"),
            'net.toml:1:9: model: no callable "x" in net.py; there are Net, Branch, Pair, number',
        ),
        (
            ("net.py:Net", "nowhere.net:Net"),
            'net.toml:1:9: model: no module "nowhere.net"; install it, or name a file: "nowhere.net.py:..."',
        ),
        (
            ("net.py:Net", "net.py"),
            'net.toml:1:9: model: expected "module:callable" or "file.py:callable", got "net.py"',
        ),
        (
            ('net.py:Net"\n', 'net.py:number"\n'),
            "net.toml:6:1: args: cannot be built with these arguments: "
            "TypeError: number() got an unexpected keyword argument 'width'",
        ),
        (
            ("shape = [8]", "shape = [9]"),
            "net.toml:10:9: inputs.x.shape: the model fails in layer a on inputs x (5, 9): RuntimeError: "
            "a and b must have same reduction dim, but got [5, 9] X [8, 6].; "
            "correct the shape (without the batch) or the model",
        ),
        (
            ("net.py:Net", "net.py:Branch"),
            "net.toml: net.py:Branch cannot be traced: values of a tensor decide what is computed "
            "(aten._local_scalar_dense.default); replace such branches, .item() and nonzero() by operations "
            "on whole tensors (torch.where, masks)",
        ),
        (
            ("net.py:Net", "net.py:Pair"),
            'net.toml:1:9: model: forward must return one tensor, got tuple; or set loss = "output"',
        ),
        (
            ('"momentum"', '"momentun"'),
            'net.toml:13:8: optimizer.name: expected "sgd", "momentum", "adam" or "adagrad", '
            'got "momentun", did you mean momentum?',
        ),
    ],
    ids=lambda v: v[1] if isinstance(v, tuple) else "",
)
def test_faults_name_place_and_fix(folder: Path, edit: tuple[str, str], text: str) -> None:
    """The whole message: file, line, column, key, what is wrong, what to do."""
    assert message(folder, edit) == text


def test_unknown_names_and_phases_are_refused(folder: Path) -> None:
    """A name that is not shipped, a phase that does not exist, a batch of nothing."""
    with pytest.raises(InputError, match=r'unknown workload "lenet", did you mean lenet5\?'):
        load_workload("lenet")
    with pytest.raises(InputError, match='phase: expected "all" or "forward", got "update"'):
        load_workload("./net.toml", phase="update")
    with pytest.raises(InputError, match="batch: expected a whole number above 0, got 0"):
        load_workload("./net.toml", batch=0)
    assert not (folder / "cache").exists()
