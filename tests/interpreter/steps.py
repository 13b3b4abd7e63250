"""Training steps by a mapped program, and the same steps by torch, both in double precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from accelsim.frontend import optim
from accelsim.frontend.build import build
from accelsim.frontend.capture import Step, capture, real_arguments
from accelsim.frontend.lower.walk import PLACES, lower
from accelsim.frontend.slots import micro_batch
from accelsim.frontend.spec import Workload
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.program.program import Copy, Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.words import Format, Role
from tests.interpreter.feed import Words
from tests.interpreter.kernels import Memories
from tests.interpreter.memory import Numbers, torchs_places
from tests.interpreter.runs import kernel_run
from tests.interpreter.schedule import Order, Schedule

STATES = {"momentum": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq", "sum": "sum"}
Results = dict[str, Numbers]  # by tensor: "loss", "grad/P", and what the next step begins with


@dataclass(frozen=True)
class Captured:
    """A workload as a graph, its first values by tensor, and what torch makes of them, step by step."""

    workload: Workload
    graph: Graph
    values: Results
    expected: tuple[Results, ...]


def captured(workload: Workload, steps: int, formats: Mapping[Role, Format | None] | None = None) -> Captured:
    """Capture ``workload`` and let torch train it for ``steps`` steps on one batch.

    ``formats`` are those of a machine: with master weights, these begin and end as the weights do, as
    every format holds double precision here.
    """
    step = capture(workload)
    graph = with_master_weights(lower(step, workload.name, workload.spec.batch), formats or {})
    values = tuple(v.double() if v.is_floating_point() else v for v in real_arguments(workload))
    named = {PLACES[s.kind].format(s.name): _plain(v) for s, v in zip(step.inputs, values, strict=True)}
    expected = _by_torch(workload, step, values, steps)
    masters = [n for n, t in graph.tensors.items() if t.role == "master_weight" and t.phase is None]
    for results in (named, *expected):
        results |= {name: results[name.removeprefix("master/")] for name in masters}
    return Captured(workload, graph, named, expected)


def _by_torch(
    workload: Workload, step: Step, values: tuple[torch.Tensor, ...], steps: int
) -> tuple[Results, ...]:
    model = build(workload, "cpu").double()
    of = {(s.kind, s.name): v.clone() for s, v in zip(step.inputs, values, strict=True)}
    model.load_state_dict({n: v for (k, n), v in of.items() if k in ("parameter", "buffer")}, strict=False)
    optimizer = optim.torch_optimizer(workload.spec.optimizer, list(model.parameters()))
    loss_of = functional.cross_entropy if workload.spec.loss == "cross_entropy" else functional.mse_loss
    found = []
    for number in range(1, steps + 1):
        optimizer.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for i in range(parts := workload.spec.accumulate):
            x, target = (of["input", micro_batch(name, i)] for name in ("x", "target"))
            part = loss_of(model(x), target) / parts
            part.backward()
            loss += part.detach()
        optimizer.step()
        found.append(_results(workload, model, optimizer, loss))
        if ("state", "step") in of:
            found[-1]["state/step"] = np.array([float(number)])
    return tuple(found)


def _results(
    workload: Workload, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor
) -> Results:
    results = {"loss": _plain(loss)}
    for name, p in model.named_parameters():
        results[f"grad/{name}"] = _plain(p.grad)
        results[name] = _plain(p)
        for state in optim.STATE[workload.spec.optimizer.name]:
            results[f"state/{name}.{state}"] = _plain(optimizer.state[p][STATES[state]])
    return results | {name: _plain(b) for name, b in model.named_buffers()}


def _plain(tensor: torch.Tensor | None) -> Numbers:
    assert tensor is not None
    numbers: Numbers = tensor.detach().double().reshape(-1).numpy().copy()
    return numbers


class ProgramSteps:
    """A program that is run step after step; between steps only what it carries over survives."""

    def __init__(
        self, graph: Graph, program: Program, machine: Machine, values: Results, words: Words | None = None
    ) -> None:
        self.graph = graph
        self.program = program
        self.machine = machine
        self.mem = Memories(graph, program)
        self.mem.words = words
        self.after = {t.next_of: n for n, t in graph.tensors.items() if t.next_of}
        self.now = {n: v for n, v in values.items() if n in graph.tensors}  # what the step begins with
        self.now |= {name: self.now[d.twin_of] for name, d in self.mem.twins.items() if d.twin_of in self.now}
        renewed = {d.twin_of: name for name, d in self.mem.twins.items()}
        self.after |= {
            renewed[old]: renewed[new] for old, new in self.after.items() if old in renewed and new in renewed
        }
        self.carried: dict[str, list[Copy]] = {}
        for copy in program.copies:
            if copy.carried_from is not None:
                name, places = copy.data.tensor, torchs_places(copy.data)
                self.carried.setdefault(name, []).append(copy)
                self.mem.put(copy.data, copy.region, np.arange(places.size), self.now[name][places])

    def step(self, order: Order) -> Results:
        """Run one step; return the loss, the gradients, and what the next step begins with."""
        mem, array = self.mem, array_shape(self.machine)
        mem.dram.forget_all()
        mem.made.clear()
        mem.seen.clear()
        for name, values in self.now.items():
            if name not in self.carried:
                mem.dram.put(name, values)
        runs = [kernel_run(mem, self.machine, array, k) for k in self.program.kernels]
        Schedule(mem, runs, order).run()
        self.now |= {old: self._left_behind(old, new) for old, new in self.after.items()}
        mem.banks.forget_all_but([c.region for copies in self.carried.values() for c in copies])
        loss = [op for op in self.graph.ops if op.layer == "loss" and op.phase == "forward"][-1].outputs[0]
        gradients = {n: v for n, v in mem.made.items() if n.startswith("grad/")}
        for twin, data in mem.twins.items():  # what the next step begins with is the same in both
            if twin in self.now and data.twin_of in self.now:
                assert np.array_equal(self.now[twin], self.now[data.twin_of])
        now = {name: values for name, values in self.now.items() if name not in mem.twins}
        return {"loss": mem.made[loss.tensor]} | gradients | now

    def _left_behind(self, old: str, new: str) -> Numbers:
        """Return what the next step finds in the place of ``old``: in its region, or in DRAM."""
        copies = self.carried.get(old)
        if copies is None:
            return self.mem.dram.whole(new)
        places = torchs_places(copies[0].data)
        values = np.empty(places.size)
        stored = [(c.data, c.region) for c in copies]
        values[places] = self.mem.get(stored, np.arange(places.size), f"the next step, {old}")
        return values


TOLERANCE = 1e-9  # of the largest number of a tensor


def assert_trains_as_torch(what: Captured, machine: Machine, program: Program, order: Order) -> Counter[str]:
    """Run a step for each that torch did and compare; return which ways the program took."""
    trained = ProgramSteps(what.graph, program, machine, what.values)
    for number, expected in enumerate(what.expected):
        got = trained.step(order)
        assert sorted(expected) == sorted(n for n in got if not n.startswith("batch/"))
        for name, want in expected.items():
            far = np.abs(got[name] - want).max() / max(np.abs(want).max(), 1e-300)
            assert far <= TOLERANCE, f"step {number}, {order}: {name} is off by {far:.1e} of its largest"
    return trained.mem.paths
