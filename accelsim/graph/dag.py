"""The graph's structure: who makes and reads each tensor, from when to when it lives, what is saved."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import networkx as nx

from accelsim.graph.ir import Graph
from accelsim.words import FORMAT_BYTES


def build(graph: Graph) -> nx.DiGraph[tuple[str, str]]:
    """Return ops and tensors as nodes ``("op", name)`` and ``("tensor", name)``, edges along the data."""
    dag: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    for name, tensor in graph.tensors.items():
        dag.add_node(("tensor", name), tensor=tensor)
    for op in graph.ops:
        dag.add_node(("op", op.name), op=op)
        dag.add_edges_from((("tensor", o.tensor), ("op", op.name)) for o in op.inputs)
        dag.add_edges_from((("op", op.name), ("tensor", o.tensor)) for o in op.outputs)
    return dag


@dataclass(frozen=True, slots=True)
class Life:
    """A tensor's life in op indices. ``made`` is -1 if it exists as the step begins.

    ``last`` is the last op that touches it: its producer if nobody reads it. ``reads`` are the ops
    that read it, in order. ``survives``: it is, or takes the place of, what the next step starts with.
    """

    made: int
    reads: tuple[int, ...]
    survives: bool

    @property
    def last(self) -> int:
        """Index of the last op that touches the tensor."""
        return self.reads[-1] if self.reads else self.made


def lives(graph: Graph) -> dict[str, Life]:
    """Return the life of every tensor, by name, in the graph's order.

    A parameter or state that the update replaces ends with its last read; one that nothing replaces
    survives, as does every replacement.
    """
    made: dict[str, int] = {}
    reads: dict[str, list[int]] = defaultdict(list)
    for i, op in enumerate(graph.ops):
        for operand in op.inputs:
            if not reads[operand.tensor] or reads[operand.tensor][-1] != i:
                reads[operand.tensor].append(i)
        for operand in op.outputs:
            made[operand.tensor] = i
    replaced = {t.next_of: None for t in graph.tensors.values() if t.next_of}
    found: dict[str, Life] = {}
    for name, tensor in graph.tensors.items():
        kept = tensor.role != "input" and tensor.phase is None and name not in replaced
        survives = tensor.next_of is not None or kept
        found[name] = Life(made.get(name, -1), tuple(reads[name]), survives)
    return found


def saved_activations(graph: Graph) -> tuple[str, ...]:
    """Return the tensors that forward makes and backward or recomputation reads, in the order of making.

    With micro-batches those of every one of them: they are not there at the same time.
    """
    life = lives(graph)
    return tuple(
        name
        for name, tensor in graph.tensors.items()
        if tensor.phase == "forward"
        and any(graph.ops[i].phase in ("backward", "recompute") for i in life[name].reads)
    )


def tensor_bytes(graph: Graph, name: str) -> int:
    """Return the bytes of a tensor in the workload's own format."""
    tensor = graph.tensors[name]
    return tensor.elements * FORMAT_BYTES[tensor.dtype]


def peak_live_bytes(graph: Graph) -> int:
    """Return the largest sum of live tensors that ops make, in program order, formats as in torch."""
    change = [0] * (len(graph.ops) + 1)
    for name, life in lives(graph).items():
        if life.made >= 0:
            change[life.made] += tensor_bytes(graph, name)
            if not life.survives:
                change[life.last + 1] -= tensor_bytes(graph, name)
    live = peak = 0
    for step in change:
        live += step
        peak = max(peak, live)
    return peak
