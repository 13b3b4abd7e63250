"""Embeddings: a tile of tokens reads as many rows of the table, and which ones the tokens say."""

from __future__ import annotations

import math

import numpy as np

from accelsim.graph.ir import Graph, Op
from tests.interpreter.memory import BoundOperand, Dram, Places, flat
from tests.interpreter.ops import argument, call


def places_in_tensor(graph: Graph, dram: Dram, op: Op, bound: BoundOperand) -> Places:
    """Return the row-major indices of what ``bound`` touches, in order: of its box, or of picked rows."""
    if not picks(op, bound):
        return bound.flat()
    shape = bound.binding.operand.shape
    (low, high), *rest = bound.box
    rows = tokens(graph, dram, op)[low:high]
    within = flat(tuple(rest), shape[1:])
    return (rows[:, None] * math.prod(shape[1:]) + within).ravel()


def picks(op: Op, bound: BoundOperand) -> bool:
    """Return whether ``bound`` is an embedding's table that follows the tokens."""
    operand = bound.binding.operand
    table = op.aten.startswith("aten.embedding.") and operand.tensor == op.inputs[0].tensor
    return table and operand.dims[0].kind == "direct"


def tokens(graph: Graph, dram: Dram, op: Op) -> Places:
    """Return the rows that ``op`` picks: the step's inputs, or what an op without operands makes."""
    name = op.inputs[1].tensor
    maker = next((o for o in graph.ops if o.outputs[0].tensor == name), None)
    values = call(graph, maker, {})[0] if maker else dram.whole(name)
    picked: Places = argument(graph, op, op.args[1], {name: values}).reshape(-1).numpy()
    assert not np.isnan(values).any(), f"{op.name}: the tokens are not known before the step"
    return picked
