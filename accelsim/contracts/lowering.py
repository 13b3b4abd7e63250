"""Laws of lowerings, by the graph of a step that has the op."""

from __future__ import annotations

import math
from collections.abc import Callable

from accelsim.graph.ir import Graph
from accelsim.graph.store import content_hash
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine

Load = Callable[[], Graph]  # captures a step anew: without a cache


def nothing_is_unsupported(load: Load) -> None:
    """Every op of the step has a lowering."""
    assert [u.aten for u in load().unsupported] == []


def a_step_is_lowered_the_same_way_again(load: Load) -> None:
    """Two captures are one graph, byte by byte."""
    assert content_hash(load()) == content_hash(load())


def what_is_read_is_there(load: Load) -> None:
    """Given before the step, or made by an op before its reader; nothing is made twice."""
    graph = load()
    made = {o.tensor for op in graph.ops for o in op.outputs}
    there = set(graph.tensors) - made
    for op in graph.ops:
        gone = [o.tensor for o in op.inputs if o.tensor not in there]
        assert not gone, f"{op.name} reads {gone}, which nothing has made"
        again = [o.tensor for o in op.outputs if o.tensor in there]
        assert not again, f"{op.name} makes {again} again"
        there |= {o.tensor for o in op.outputs}


def operands_are_whole_tensors(load: Load) -> None:
    """An operand is its tensor, in whatever shape it is seen: it has as many elements."""
    graph = load()
    for op in graph.ops:
        for operand in (*op.inputs, *op.outputs):
            shape = graph.tensors[operand.tensor].shape
            seen = f"{op.name}: {operand.tensor} is {shape}, seen as {operand.shape}"
            assert math.prod(operand.shape) == math.prod(shape), seen


def operands_stay_inside(load: Load) -> None:
    """What the whole nest touches of an operand lies inside of its tensor."""
    for op in load().ops:
        if op.gemm is not None:
            axes = (*op.gemm.batch, *op.gemm.m, *op.gemm.n, *op.gemm.k)
        else:
            assert op.vector is not None, op.name
            axes = op.vector.axes
        whole = {a.name: (0, a.size) for a in axes}
        for operand in (*op.inputs, *op.outputs):
            for (low, high), size in zip(operand.box(whole), operand.shape, strict=True):
                assert 0 <= low <= high <= size, f"{op.name}: {operand.tensor} is touched at {low}..{high}"


def what_is_lowered_can_be_run(load: Load) -> None:
    """Mapped and simulated on ``edge-sram``, where every op takes part."""
    graph, machine = load(), load_machine("edge-sram")
    program = map_graph(graph, machine)
    recorder = run_program(machine, program)
    parts = {p.op for kernel in program.kernels for p in kernel.parts}
    assert parts == {op.name for op in graph.ops}
    assert recorder.end_ps > 0


LOWERING_LAWS = (
    nothing_is_unsupported,
    a_step_is_lowered_the_same_way_again,
    what_is_read_is_there,
    operands_are_whole_tensors,
    operands_stay_inside,
    what_is_lowered_can_be_run,
)
