"""Closed-form costs of ops and graphs: counts that no mapping and no machine changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from accelsim.errors import GraphError
from accelsim.graph.dag import tensor_bytes
from accelsim.graph.ir import Graph, Op
from accelsim.words import PHASES, Phase

Shape = tuple[int, ...]


def _mm(a: Shape, b: Shape) -> int:
    return a[0] * a[1] * b[1]


def _bmm(a: Shape, b: Shape) -> int:
    return a[0] * _mm(a[1:], b[1:])


def _convolution(y: Shape, weight: Shape) -> int:
    return math.prod(y) * math.prod(weight[1:])


_MACS: Final[dict[str, Callable[[Shape, Shape], int]]] = {
    "mm": _mm,
    "bmm": _bmm,
    "convolution": _convolution,
}


def macs_of(op: str, a: Shape, b: Shape) -> int:
    """Return the multiply-accumulates of one call: ``mm`` and ``bmm`` of operands, ``convolution`` of output
    and weight (as many again for each of its two gradients).

    >>> macs_of("mm", (2, 3), (3, 5)), macs_of("convolution", (1, 6, 28, 28), (6, 1, 5, 5))
    (30, 117600)
    """
    try:
        formula = _MACS[op]
    except KeyError:
        raise GraphError(f"no cost formula for {op}; known: {', '.join(sorted(_MACS))}") from None
    return formula(a, b)


def macs_by_phase(graph: Graph) -> dict[Phase, int]:
    """Return the multiply-accumulates of each phase."""
    return {phase: sum(op.macs for op in graph.ops if op.phase == phase) for phase in PHASES}


def vector_operations(op: Op) -> dict[str, int]:
    """Return how often the vector unit computes each function for ``op``; empty for a GEMM."""
    if op.vector is None:
        return {}
    points = math.prod(axis.size for axis in op.vector.axes)
    found: dict[str, int] = {}
    for walk in op.vector.passes:
        for name, count in walk.functions:
            found[name] = found.get(name, 0) + points * count
    return found


def touched_bytes(graph: Graph, op: Op) -> tuple[int, int]:
    """Return the bytes of the distinct tensors that ``op`` reads and writes, each once and whole."""
    reads = dict.fromkeys(o.tensor for o in op.inputs)
    writes = dict.fromkeys(o.tensor for o in op.outputs)
    return sum(tensor_bytes(graph, t) for t in reads), sum(tensor_bytes(graph, t) for t in writes)
