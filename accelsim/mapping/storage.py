"""Storages and their lives: when each piece of data is made and read, kernel by kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from accelsim.geometry import Range, ceil_div, volume
from accelsim.graph.ir import Graph, Op, Tensor
from accelsim.mapping.kernels import Draft
from accelsim.program.program import Data
from accelsim.resolve.machine import Machine
from accelsim.words import FORMAT_BYTES, Format, Role

_FLOATS = ("fp64", "fp32", "bf16", "fp16")


def stored_format(machine: Machine, role: Role, dtype: Format, quantised: bool) -> Format:
    """Return the format in which a tensor is stored: the machine's for numbers, else the workload's.

    Labels and masks keep their own format. ``quantised``: the workload's int8 numbers are numbers too.
    """
    chosen = machine.formats.get(role)
    if chosen is None or (dtype not in _FLOATS and not quantised):
        return dtype
    return chosen


@dataclass(slots=True)
class Life:
    """One tensor's life in a step: made by kernel ``made`` (-1: there from the start), read by ``reads``.

    ``whole`` are the readers that touch every element of it, ``readers`` the layers that read it.
    ``successor`` names the tensor that takes its place in the next step, made by kernel ``renewed``.
    """

    data: Data
    groups: tuple[str, ...]
    made: int = -1
    reads: list[int] = field(default_factory=list)
    whole: set[int] = field(default_factory=set)
    successor: str | None = None
    predecessor: str | None = None
    renewed: int = -1
    readers: list[str] = field(default_factory=list)

    def events(self) -> list[int]:
        """Kernels at which the data must be at hand, in order."""
        return ([self.made] if self.made >= 0 else []) + self.reads


def lives(graph: Graph, machine: Machine, kernels: list[Draft]) -> dict[str, Life]:
    """Return the life of every tensor that is read or written by a kernel."""
    result: dict[str, Life] = {}
    for kernel in kernels:
        everything = _everything(kernel.leader)
        layers = {op.name: op.layer for op in (*kernel.ops, *kernel.sums)}
        for operand, op in kernel.reads:
            life = _life(result, graph, machine, operand.tensor)
            if layers[op] not in life.readers:
                life.readers.append(layers[op])
            if volume(operand.box(everything)) == math.prod(operand.shape):
                life.whole.add(kernel.index)
            if not life.reads or life.reads[-1] != kernel.index:
                life.reads.append(kernel.index)
        for operand, _ in kernel.writes:
            _life(result, graph, machine, operand.tensor).made = kernel.index
    for name, life in result.items():
        before = graph.tensors[name].next_of
        if before is not None and before in result:
            life.predecessor = before
            result[before].successor = name
            result[before].renewed = life.made
    return result


def _everything(op: Op) -> dict[str, Range]:
    """Return the ranges of a nest that is not cut."""
    if op.gemm is not None:
        axes = (*op.gemm.batch, *op.gemm.m, *op.gemm.n, *op.gemm.k)
    else:
        assert op.vector is not None
        axes = op.vector.axes
    return {a.name: (0, a.size) for a in axes}


def _life(result: dict[str, Life], graph: Graph, machine: Machine, name: str) -> Life:
    life = result.get(name)
    if life is None:
        life = result[name] = Life(
            data_of(graph, machine, graph.tensors[name]), _groups(graph, machine, name)
        )
    return life


def _groups(graph: Graph, machine: Machine, name: str) -> tuple[str, ...]:
    return machine.placement.get(graph.tensors[name].role, tuple(machine.banks))


def data_of(graph: Graph, machine: Machine, tensor: Tensor) -> Data:
    """Return a tensor as it is stored on ``machine``."""
    fmt = stored_format(machine, tensor.role, tensor.dtype, graph.independent)
    return Data(
        tensor=tensor.name,
        role=tensor.role,
        layer=tensor.layer,
        phase=tensor.phase,
        shape=tensor.shape,
        element_bytes=FORMAT_BYTES[fmt],
        element_format=fmt,
    )


def rounded(nbytes: int, word_bytes: int) -> int:
    """Return ``nbytes`` rounded up to whole words."""
    return ceil_div(nbytes, word_bytes) * word_bytes
