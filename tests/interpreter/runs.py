"""Which run carries a kernel out; updates of parameters in short form, as a step has many of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelsim.graph.ir import Op
from accelsim.program.array_shape import ArrayShape
from accelsim.program.jobs import TileJob
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.program import Kernel
from accelsim.resolve.machine import Machine
from tests.interpreter.fed import FedRun
from tests.interpreter.kernels import GemmRun, KernelRun, Memories, VectorRun
from tests.interpreter.memory import Numbers
from tests.interpreter.ops import call


class UpdateRun(VectorRun):
    """An update whose operands all lie alike: computed on the slab's own numbers, wherever they belong."""

    def compute(self, job: TileJob) -> None:
        """Read a slab, and update it."""
        (fold,) = job.folds
        numbers: dict[str, Numbers] = {}
        for stream in fold.streams:
            assert stream.box is not None
            binding = self.kernel.reads[stream.binding]
            bound = self._bound(binding, stream.box, self._slot(stream.binding, job))
            values = self._values(bound, bound.places())
            if values is not None:
                numbers[binding.data.tensor] = values
        results = self._update(numbers)
        for stream in fold.writes:
            assert stream.box is not None
            binding = self.kernel.writes[stream.binding]
            made = self.made.setdefault(stream.binding, self.mem.blank(binding.data.tensor))
            made[self._bound(binding, stream.box, 0).flat()] = results[binding.data.tensor]
        self.mem.paths["slab"] += 1

    def _update(self, numbers: dict[str, Numbers]) -> dict[str, Numbers]:
        graph, op = self.mem.graph, self.ops[0]
        sizes = {o.tensor: numbers[o.tensor].size for o in op.inputs}
        tensors = {name: replace(graph.tensors[name], shape=(size,)) for name, size in sizes.items()}
        made = call(replace(graph, tensors=tensors), op, numbers)
        return {o.tensor: values for o, values in zip(op.outputs, made, strict=True)}


def _lie_alike(op: Op) -> bool:
    seen = [a for a in op.args if isinstance(a, dict)]
    operands = {o.dims for o in (*op.inputs, *op.outputs) if np.prod(o.shape) > 1}
    same = len(operands) == 1 and not any("views" in a for a in seen)
    return op.phase == "update" and same


def kernel_run(memories: Memories, machine: Machine, array: ArrayShape, kernel: Kernel) -> KernelRun:
    """Return the run of ``kernel``."""
    jobs = list(jobs_of(kernel, array, dict(machine.vector.cycles), machine.vector.lanes))
    if kernel.unit == "pe_array":
        kind = FedRun if memories.words is not None else GemmRun
        return kind(memories, kernel, jobs, memories.ops, array)
    orders = {b.data.order for b in (*kernel.reads, *kernel.writes)}
    alike = len(kernel.parts) == 1 and _lie_alike(memories.ops[kernel.leader.op]) and len(orders) == 1
    return (UpdateRun if alike else VectorRun)(memories, kernel, jobs, memories.ops)
