"""The package's own interpreter trains as torch does, on memories that lose nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accelsim.config.locate import shipped
from accelsim.errors import InputError
from accelsim.frontend.spec import Workload, load
from accelsim.graph.ir import Graph
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.train.bittrue.step import Plan, Steps
from accelsim.train.bittrue.training import batch_of, initial, prepared
from accelsim.train.task import loss_of, new_model, task_of
from tests.interpreter.steps import ProgramSteps

pytestmark = pytest.mark.usefixtures("one_thread")

STORED = ("input", "weight", "activation", "error", "weight_gradient", "optimizer_state")
DEVICE = "bank.mram.device=mram-26us"
TOLERANCE = 1e-9  # of the largest number of a tensor

POOLS = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Sigmoid(), nn.Flatten(), nn.Linear(96, 10),
    )
"""
OWN = """
model = "pools.py:build"
batch = 16
accumulate = 2
dtype = "fp64"
[inputs.x]
shape = [1, 16, 16]
[optimizer]
name = "adam"
lr = 0.01
"""

CASES = {
    "pools, strides, adam, two micro-batches": ("pools", 16, ("bank.mram.capacity=96 KiB",)),
    "mlp": ("mlp", 16, ()),
    "mlp, os": ("mlp", 16, ("pe_array.dataflow=os",)),
    "lenet-tinydnn": ("lenet-tinydnn", 4, ()),
    "lenet-tinydnn, is": ("lenet-tinydnn", 4, ("pe_array.dataflow=is",)),
    "lenet-tinydnn, unfused": ("lenet-tinydnn", 4, ("mapping.fusion=none", "bank.sram.capacity=64 KiB")),
    "lenet5": ("lenet5", 6, ()),
}


def doubled(folder: Path, name: str, batch: int) -> Workload:
    """Return a shipped workload, or that of ``POOLS``, in double precision."""
    if name == "pools":
        (folder / "pools.py").write_text(POOLS)
        (folder / "pools.toml").write_text(OWN)
        return load(folder / "pools.toml", batch=batch)
    text = (shipped("workloads") / f"{name}.toml").read_text().replace('dtype = "fp32"', 'dtype = "fp64"')
    text = text.replace("\n[inputs.x]", '\ndtype = "fp64"\n[inputs.x]') if "fp64" not in text else text
    text = text.replace("[784, 256, 256, 10]", "[90, 70, 40, 10]").replace("[784]", "[90]")
    (folder / f"{name}.toml").write_text(text)
    shutil.copytree(shipped("workloads") / "models", folder / "models", dirs_exist_ok=True)
    return load(folder / f"{name}.toml", batch=batch)


def prepare(workload: Workload, sets: tuple[str, ...], stored: str) -> tuple[Machine, Graph, Program]:
    machine = load_machine("edge-hybrid", (DEVICE, *(f"format.{r}={stored}" for r in STORED), *sets))
    return machine, *prepared(machine, workload, workload.spec.batch)


@pytest.mark.parametrize("case", CASES)
def test_a_perfect_memory_trains_as_torch_does(case: str, tmp_path: Path) -> None:
    """Loss, weights and states of three steps in double precision: bits in every tile, order and place."""
    name, batch, sets = CASES[case]
    workload = doubled(tmp_path, name, batch)
    machine, graph, program = prepare(workload, sets, "fp64")
    plan = Plan(machine, graph, program)
    task = task_of(workload)
    model, optimizer = new_model(workload, 3)
    steps = Steps(plan, 0, errs=False)
    steps.start(initial(model, graph))
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        x = torch.randn((batch, *task.shape), generator=generator, dtype=torch.float64)
        y = torch.randint(task.classes, (batch,), generator=generator)
        optimizer.zero_grad()
        parts, total = workload.spec.accumulate, 0.0
        for some_x, some_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
            loss = loss_of(task, model(some_x), some_y) / parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        optimizer.step()
        assert steps.step(batch_of(workload, task, x, y)) == pytest.approx(total, rel=1e-12)
        for tensor, wanted in model.named_parameters():
            want = wanted.detach().reshape(-1)
            far = (steps.value(tensor) - want).abs().max() / want.abs().max()
            assert far < TOLERANCE, tensor
    assert steps.books.bits()["wrong"] == {}


def test_it_is_the_independent_interpreter_to_rounding(tmp_path: Path) -> None:
    """One step of lenet-tinydnn: every tensor that the next step begins with, states too."""
    workload = doubled(tmp_path, "lenet-tinydnn", 3)
    machine, graph, program = prepare(workload, (), "fp64")
    model, _ = new_model(workload, 0)
    task = task_of(workload)
    values = initial(model, graph)
    batch = batch_of(
        workload, task, torch.randn(3, *task.shape, dtype=torch.float64), torch.tensor([1, 2, 3])
    )
    steps = Steps(Plan(machine, graph, program), 0, errs=False)
    steps.start(values)
    loss = steps.step(batch)
    named = {n: v.double().numpy() for n, v in {**values, **batch}.items() if n in graph.tensors}
    oracle = ProgramSteps(graph, program, machine, named)
    told = oracle.step("as written")
    assert loss == pytest.approx(float(told["loss"][0]), rel=1e-12)
    for name in oracle.after:
        want = told[name]
        assert np.abs(steps.value(name).numpy() - want).max() <= TOLERANCE * max(
            np.abs(want).max(), 1e-300
        ), name


def test_what_is_stored_is_rounded_and_what_is_fused_is_not() -> None:
    """In bf16 the weights after a step are torch's rounded, to the step that one rounding is."""
    workload = load(shipped("workloads") / "mlp.toml", batch=8)
    machine, graph, program = prepare(workload, (), "bf16")
    model, _ = new_model(workload, 0)
    task = task_of(workload)
    steps = Steps(Plan(machine, graph, program), 0, errs=False)
    steps.start(initial(model, graph))
    steps.step(batch_of(workload, task, torch.randn(8, 784), torch.arange(8)))
    for name, parameter in model.named_parameters():
        stored = steps.value(name)
        assert stored.dtype == torch.bfloat16
        assert (stored.float() - parameter.detach().reshape(-1)).abs().max() < 0.02


def test_tight_banks_make_no_difference(tmp_path: Path) -> None:
    """Copies evicted and filled again, results that leave in parts, on a small array."""
    workload = doubled(tmp_path, "lenet-tinydnn", 2)
    small = ("pe_array.rows=16", "pe_array.cols=16", "pe_array.convention=scale-sim", "mapping.fusion=none")
    machine = load_machine("edge-hybrid", (DEVICE, *(f"format.{r}=fp64" for r in STORED), *small))
    sizes = zip(machine.banks.items(), (24 << 10, 20 << 10), strict=True)
    machine = replace(machine, banks={n: replace(b, capacity_bytes=size) for (n, b), size in sizes})
    graph, program = prepared(machine, workload, 2)
    assert any(k.result_rows for k in program.kernels)
    assert any(k.write_back for k in program.kernels)
    model, optimizer = new_model(workload, 3)
    task = task_of(workload)
    steps = Steps(Plan(machine, graph, program), 0, errs=False)
    steps.start(initial(model, graph))
    x, y = torch.randn(2, *task.shape, dtype=torch.float64), torch.tensor([1, 2])
    steps.step(batch_of(workload, task, x, y))
    loss_of(task, model(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    for tensor, wanted in model.named_parameters():
        want = wanted.detach().reshape(-1)
        assert (steps.value(tensor) - want).abs().max() < TOLERANCE * want.abs().max(), tensor


@pytest.mark.parametrize(
    ("workload", "sets", "words"),
    [
        ("resnet18-cifar", (DEVICE,), r"--bit-true cannot carry out .*native_batch_norm.*\(the first in "),
        ("mlp", (), r"no bank group of this machine names a device.*--set bank.NAME.device"),
        ("mlp", (DEVICE, "format.activation=int8"), r"stored as int8; --bit-true stores fp32, bf16 and fp16"),
    ],
)
def test_what_cannot_be_run_is_refused(workload: str, sets: tuple[str, ...], words: str) -> None:
    """By name, with what to do instead."""
    machine = load_machine("edge-hybrid", sets)
    with pytest.raises(InputError, match=words):
        prepared(machine, load(shipped("workloads") / f"{workload}.toml"), None)
