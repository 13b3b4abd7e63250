"""What a kernel has read from the banks so far, and what its unit makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from accelsim.geometry import Tile
from accelsim.graph.ir import Graph, Op
from accelsim.program.program import Kernel
from accelsim.train.bittrue.gemm import Block, View
from accelsim.train.bittrue.ops import UPDATES, Values, call, unit_dtype
from accelsim.train.bittrue.words import Spot, Where, Words, compact, decoded, flat


class KernelRun:
    """The registers of one kernel: every operand as it was last read, and the results.

    Registers are exact (fp32); results are rounded when they are written. Riders take results as computed.
    """

    def __init__(self, graph: Graph, kernel: Kernel, ops: Sequence[Op]) -> None:
        self.graph = graph
        self.kernel = kernel
        self.ops = ops
        self.registers = [_register(graph, b.data.tensor) for b in kernel.reads]
        self.results: Values = {}
        self._sources = {op.name: self._sources_of(op) for op in ops}

    def _sources_of(self, op: Op) -> dict[str, int]:
        """Return by tensor which read of the kernel brings it to ``op``; what riders get is in none."""
        found: dict[str, int] = {}
        for operand in op.inputs:
            own = [
                (b.op != op.name, i)
                for i, b in enumerate(self.kernel.reads)
                if b.data.tensor == operand.tensor
            ]
            if own:
                found[operand.tensor] = min(own)[1]
        return found

    def begin(self) -> None:
        """Begin a step."""

    def take(self, index: int, spot: Spot, words: Words) -> None:
        """Note what read ``index`` has brought."""
        register = self.registers[index]
        values = decoded(words, spot.data.element_format).to(register.dtype)
        register.numpy()[spot.elements] = values.numpy()

    def result(self, tensor: str, where: Where) -> torch.Tensor:
        """Return elements of a result."""
        values: torch.Tensor = torch.from_numpy(self.results[tensor].numpy()[where])
        return values

    def evaluate(self) -> None:
        """Compute all results from what was read last."""
        self.results = self._apply(self.ops, {})

    def _apply(self, ops: Sequence[Op], points: Values) -> Values:
        for op in ops:
            held = {n: self._register(i) for n, i in self._sources[op.name].items()}
            points |= call(self.graph, op, {**held, **points})
        return points

    def _register(self, index: int) -> torch.Tensor:
        return self.registers[index]


class GemmRun(KernelRun):
    """A GEMM and its riders."""

    def __init__(self, graph: Graph, kernel: Kernel, ops: Sequence[Op]) -> None:
        super().__init__(graph, kernel, ops)
        c = ops[0].outputs[0]
        self.a = View(kernel, kernel.reads[0].operand, ("batch", "m", "k"))
        self.b = View(kernel, kernel.reads[1].operand, ("batch", "k", "n"))
        self.c = View(kernel, c, ("batch", "m", "n"))
        for i in (0, 1):  # and a 0 behind them, for what lies outside of an image
            self.registers[i] = torch.cat([self.registers[i], self.registers[i].new_zeros(1)])
        self._c = _register(graph, c.tensor)
        self._sums = self.c.strided(self._c)
        self._name = c.tensor

    def begin(self) -> None:
        self._c.zero_()

    def multiply(self, block: Block) -> None:
        """Add a block's product to the sums."""
        a = self.a.matrix(self.registers[0], block.tile, block.a)
        b = self.b.matrix(self.registers[1], block.tile, block.b)
        into = self._sums[block.into]
        into += torch.matmul(a, b).view(into.shape)

    def evaluate(self) -> None:
        self.results = self._apply(self.ops[1:], {self._name: self._c})

    def _register(self, index: int) -> torch.Tensor:
        return self.registers[index][:-1] if index < 2 else self.registers[index]


class UpdateRun(KernelRun):
    """An update, element by element, on a slab's own numbers."""

    def __init__(self, graph: Graph, kernel: Kernel, ops: Sequence[Op]) -> None:
        super().__init__(graph, kernel, ops)
        self.results = {o.tensor: _register(graph, o.tensor) for op in ops for o in op.outputs}
        self._slabs: dict[tuple[tuple[int, int], ...], dict[str, Where]] = {}

    def update(self, tile: Tile) -> None:
        """Compute the results of one slab."""
        where = self._where(tile)
        points: Values = {}
        size = 0
        for op in self.ops:
            held = {}
            for name, i in self._sources[op.name].items():
                held[name] = torch.from_numpy(self.registers[i].numpy()[where[name]])
                size = max(size, held[name].numel())
            points |= call(self.graph, op, {**held, **points}, size)
        for name, values in points.items():
            self.results[name].numpy()[where.get(name, slice(None))] = values.numpy()

    def _where(self, tile: Tile) -> dict[str, Where]:
        key = tuple(tile.values())
        if key not in self._slabs:
            bindings = (*self.kernel.reads, *self.kernel.writes)
            self._slabs[key] = {
                b.data.tensor: compact(flat(b.operand.box(tile), b.operand.shape)) for b in bindings
            }
        return self._slabs[key]


def kernel_run(graph: Graph, kernel: Kernel, ops: Mapping[str, Op]) -> KernelRun:
    """Return the run of ``kernel``."""
    own = [ops[p.op] for p in kernel.parts]
    if kernel.unit == "pe_array":
        return GemmRun(graph, kernel, own)
    if own[0].aten in UPDATES and {b.data.tensor for b in kernel.writes} == {
        o.tensor for op in own for o in op.outputs
    }:
        return UpdateRun(graph, kernel, own)
    return KernelRun(graph, kernel, own)


def _register(graph: Graph, name: str) -> torch.Tensor:
    tensor = graph.tensors[name]
    return torch.zeros(tensor.elements, dtype=unit_dtype(tensor.dtype))
