"""Epochs of bit-true steps: the rows, checkpoints and folder of any training of ours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.errors import InputError
from accelsim.frontend import load_workload
from accelsim.frontend.slots import micro_batch
from accelsim.frontend.spec import Workload
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.run.plans import program_of
from accelsim.train.bittrue.check import check_graph, check_machine, check_program
from accelsim.train.bittrue.step import Plan, Progress, Steps
from accelsim.train.task import TARGET, Task, new_model
from accelsim.train.threads import one_thread
from accelsim.train.trainer import Case, Row, Setup, Training

NAME: Final = "bit-true"
_POLICIES: Final = ("raw", "zero")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of the statistical injector that have no meaning here.

    Raises:
        InputError: naming the option and what to do instead.
    """
    instead = {
        "storage_format": "the machine's [format] says what is stored: --set format.activation=bf16",
        "ecc": "the machine's bank groups say what they correct",
        "clip_gradients": "the mapped program has no such op",
        "measure": "log.jsonl has what was written and changed",
    }
    for name, reason in instead.items():
        if options.get(name):
            raise InputError(f"--{name.replace('_', '-')}: not with --bit-true; {reason}")
    if options.get("nonfinite", "raw") not in _POLICIES:
        raise InputError(
            f"--nonfinite {options['nonfinite']}: not with --bit-true, which knows {' and '.join(_POLICIES)}"
        )


def prepared(
    machine: Machine, workload: Workload, batch: int | None, protect: Sequence[str] = ()
) -> tuple[Graph, Program]:
    """Return the step of ``workload`` and how it is mapped on ``machine``, whose ``protect`` bits are safe.

    Raises:
        InputError: The network, the machine or the mapping has something that is not carried out.
    """
    check_machine(machine, protect)
    graph = with_master_weights(load_workload(str(workload.path), batch=batch).graph, machine.formats)
    check_graph(graph)
    program = program_of(graph, content_hash(graph), machine, cold=False)
    check_program(machine, program)
    return graph, program


def planned(machine: Machine, graph: Graph, program: Program, progress: Progress | None) -> Plan:
    """Return the plan of a mapped step: it is simulated tile by tile."""
    return Plan(machine, graph, program, progress)


class BitTrueTraining(Training):
    """A training whose every step is the mapped program's, on what its banks hold."""

    def __init__(
        self, setup: Setup, case: Case, seed: int, plan: Plan, path: Path | None = None, *, errs: bool
    ) -> None:
        super().__init__(setup, case, seed, path)
        self.model, _ = new_model(setup.workload, seed)
        options = setup.options
        self.steps_taken = Steps(
            plan,
            seed,
            errs=errs,
            protect=tuple(options.get("protect", ())),
            zero=options.get("nonfinite") == "zero",
        )
        self.steps_taken.start(initial(self.model, plan.graph))

    def _entered(self) -> AbstractContextManager[Any]:
        return one_thread()

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        return self.steps_taken.step(batch_of(self._setup.workload, self._setup.task, x, y))

    def _counted(self) -> Row:
        books = self.steps_taken.books
        return {**books.counts.take(), "bits": books.bits()}

    def _row(self) -> Row:
        self._show()
        return super()._row()

    def _show(self) -> None:
        """Give the model the weights as they are stored."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.steps_taken.value(name).view(parameter.shape))

    def _held(self) -> dict[str, Any]:
        return {"steps": self.steps_taken.state()}

    def _hold(self, state: Mapping[str, Any]) -> None:
        self.steps_taken.restore(state["steps"])


def initial(model: torch.nn.Module, graph: Graph) -> dict[str, torch.Tensor]:
    """Return what a training begins with, by tensor of the graph: weights, buffers, state of zeros."""
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    values = {n: v.detach().reshape(-1).clone() for n, v in named.items()}
    for name, tensor in graph.tensors.items():
        if tensor.phase is not None:
            continue
        if name.startswith("state/"):
            values[name] = torch.zeros(tensor.elements)
        elif name.startswith("master/"):
            values[name] = values[name.removeprefix("master/")]
    return values


def batch_of(workload: Workload, task: Task, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a step's inputs by tensor of the graph, flat."""
    spec = workload.spec
    (name,) = spec.inputs
    found = {}
    for i, (some_x, some_y) in enumerate(
        zip(x.chunk(spec.accumulate), y.chunk(spec.accumulate), strict=True)
    ):
        target = some_y.reshape(-1)
        if task.loss == "mse":
            target = TARGET * (2 * functional.one_hot(target, task.classes).to(x.dtype) - 1)
        found[f"batch/{micro_batch(name, i)}"] = some_x.reshape(-1)
        found[f"batch/{micro_batch('target', i)}"] = target.reshape(-1)
    return found


def seconds_per_step(setup: Setup, plan: Plan) -> float:
    """Return how long a step with errors takes here: one is taken, for nothing else."""
    training = BitTrueTraining(setup, Case(NAME, None), 0, plan, errs=True)
    x, y = training._batches.of(0, 0)
    with one_thread():
        begun = time.perf_counter()
        training._step(x, y)
        return time.perf_counter() - begun
