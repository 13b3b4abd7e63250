"""Master weights: parameters that are kept in one format and computed with in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelsim.geometry import Operand
from accelsim.graph.ir import Graph, Op, Pass, Tensor, Vector
from accelsim.words import Format, Role

CAST = "aten._to_copy.default"


def with_master_weights(graph: Graph, formats: Mapping[Role, Format | None]) -> Graph:
    """Return ``graph`` with a master copy beside every parameter that an update replaces.

    The update reads and writes the master, and a cast on its drain writes the weight that the next step
    computes with. The same graph comes back where ``formats`` names no master weight, or stores weights
    in that format anyway.

    Args:
        graph: A captured step.
        formats: What a machine stores each role in; None: what torch computes in.
    """
    chosen = formats.get("master_weight")
    if chosen is None:
        return graph
    masters: dict[str, Tensor] = {}  # by the weight that each stands beside
    ops: list[Op] = []
    stored: dict[Format, None] = {}
    for op in graph.ops:
        old = _updated_weight(graph, op)
        kept = (formats.get("weight") or old.dtype) if old else chosen
        if old is None or kept == chosen:
            ops.append(op)
            continue
        stored[kept] = None
        new = graph.tensors[op.outputs[0].tensor]
        masters |= _masters(old, new)
        ops += _with_master(op, old.name, masters[old.name].name, masters[new.name].name)
    if not masters:
        return graph
    pairs = [(t, masters[name]) if name in masters else (t,) for name, t in graph.tensors.items()]
    note = f"the update reads and writes master weights in {chosen}, beside weights in {', '.join(stored)}"
    return replace(
        graph,
        tensors={t.name: t for pair in pairs for t in pair},
        ops=tuple(ops),
        notes=(*graph.notes, note),
    )


def _updated_weight(graph: Graph, op: Op) -> Tensor | None:
    """Return the parameter that ``op`` updates, the first of its outputs; None if ``op`` is no update."""
    if op.phase != "update" or not op.outputs:
        return None
    old = graph.tensors.get(graph.tensors[op.outputs[0].tensor].next_of or "")
    return old if old is not None and old.role == "weight" else None


def _masters(old: Tensor, new: Tensor) -> dict[str, Tensor]:
    before = replace(old, name=f"master/{old.name}", role="master_weight")
    after = replace(new, name=f"next/master/{old.name}", role="master_weight", next_of=before.name)
    return {old.name: before, new.name: after}


def _with_master(op: Op, weight: str, before: str, after: str) -> tuple[Op, Op]:
    """Return the update of the master ``before`` to ``after``, and the cast of that to the new weight."""
    new = op.outputs[0].tensor

    def renamed(operand: Operand) -> Operand:
        name = {weight: before, new: after}.get(operand.tensor, operand.tensor)
        return replace(operand, tensor=name)

    inputs, outputs = tuple(map(renamed, op.inputs)), tuple(map(renamed, op.outputs))
    return replace(op, inputs=inputs, outputs=outputs), _cast(op, outputs[0], new)


def _cast(update: Op, master: Operand, weight: str) -> Op:
    assert update.vector is not None
    axes = update.vector.axes
    walk = Pass(functions=(("move", 1),), reads=(0,), writes=(0,))
    return Op(
        name=f"{update.name.rpartition(':')[0]}:cast",
        kind="vector",
        aten=CAST,
        layer=update.layer,
        phase="update",
        inputs=(master,),
        outputs=(replace(master, tensor=weight),),
        vector=Vector(axes=axes, separable=len(axes), passes=(walk,), elementwise=True),
        args=({"t": 0},),
    )
