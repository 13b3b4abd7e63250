"""The walk over the captured graph: every node is a view, has a lowering, or is listed as unsupported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import getitem
from typing import Any

from torch.fx import Node

from accelsim.errors import GraphError
from accelsim.frontend.capture import Step
from accelsim.frontend.lower import attention, conv, elementwise, folds, gemm, lookup, moves, norm, reduce
from accelsim.frontend.lower.context import Lowering, Walk
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.gradients import Gradients
from accelsim.frontend.lower.nodes import aten, axis_names, format_of
from accelsim.frontend.lower.plugged import Plugged
from accelsim.frontend.lower.views import Irregular, View
from accelsim.frontend.slots import Slot
from accelsim.graph.ir import Graph, Tensor
from accelsim.plugins import Plugin
from accelsim.words import Role

HANDLERS: dict[str, Handler] = {
    **attention.HANDLERS,
    **conv.HANDLERS,
    **gemm.HANDLERS,
    **lookup.HANDLERS,
    **moves.HANDLERS,
    **norm.HANDLERS,
    **reduce.HANDLERS,
}
BLANK = ("aten.empty", "aten.empty_like", "aten.new_empty", "aten.empty_strided", "aten.new_empty_strided")
SAME = ("aten.detach", "aten.alias", "aten.lift_fresh")
ROLES: dict[str, Role] = {
    "parameter": "weight",
    "buffer": "weight",
    "state": "optimizer_state",
    "input": "input",
}
PLACES = {"parameter": "{}", "buffer": "{}", "state": "state/{}", "input": "batch/{}"}


def lower(step: Step, name: str, batch: int, plugins: Mapping[str, Plugin] | None = None) -> Graph:
    """Return the training graph of a captured step; ``plugins`` lower the ops that they are named after.

    Raises:
        GraphError: Control flow as an op of its own, of which only one branch would run.
        PluginError: A plug-in lowers what is lowered already, raised, or returned no view of the result.
    """
    plugged = Plugged(plugins or {}, (*HANDLERS, *folds.VIEWS, *BLANK, *SAME))
    nodes = list(step.module.graph.nodes)
    slots = dict(zip((n for n in nodes if n.op == "placeholder"), step.inputs, strict=True))
    given = {n: s.name for n, s in slots.items() if s.kind in ("parameter", "buffer")}
    parameters = {n: s.name for n, s in slots.items() if s.kind == "parameter"}
    low = Lowering(Gradients(step.module.graph, parameters, given))
    for node in nodes:
        if node.op == "placeholder":
            low.place(node, _given(node, slots[node]))
        elif node.op == "get_attr" and "val" in node.meta:
            low.place(node, _given(node, Slot("buffer", str(node.target))))
        elif node.op == "call_function":
            low.env[node] = _node(low, node, plugged)
    _close(low, step, slots, nodes[-1])
    return Graph(
        name=name,
        tensors=_used(low),
        ops=tuple(low.ops),
        unsupported=tuple(low.list_unsupported()),
        batch=batch,
        parameters=sum(n.meta["val"].numel() for n in parameters),
        notes=plugged.notes(),
    )


def _given(node: Node, slot: Slot) -> Tensor:
    val = node.meta["val"]
    return Tensor(
        name=PLACES[slot.kind].format(slot.name),
        role=ROLES[slot.kind],
        layer=_owner(slot),
        phase=None,
        shape=tuple(val.shape) or (1,),
        dtype=format_of(val.dtype),
    )


def _owner(slot: Slot) -> str:
    """Return the module path of a parameter, a buffer, or the parameter that a state belongs to."""
    parts = slot.name.split(".")
    return ".".join(parts[: {"input": 0, "state": -2}.get(slot.kind, -1)])


def _node(low: Lowering, node: Node, plugged: Plugged) -> Any:
    """Return what ``node`` is: a view, a tuple of them, or None; ops are added by the way."""
    name = aten(node)
    if node.target is getitem:
        return low.env[_first(node)][node.args[1]]
    if not hasattr(node.target, "_schema"):
        raise GraphError(
            f"control flow {node.target} in layer {low.layer(node) or '(model)'} cannot be lowered: only "
            "one of its branches runs; choose the branch in Python, before the step"
        )
    if name in BLANK:
        return low.blank(node) if node.meta["val"].numel() else None
    if name in SAME or (name == "aten.clone" and _is_buffer(node)):
        return low.env[_first(node)]
    if name in folds.VIEWS:
        return _view(low, node)
    handler = HANDLERS.get(name) or plugged.handler(name)
    if handler is not None:
        try:
            return handler(low, node)
        except Irregular:  # a form of the op that its handler does not know; nothing was added yet
            return _unsupported(low, node)
    made = elementwise.lower(low, node)
    return made if made is not None else _unsupported(low, node)


def _first(node: Node) -> Node:
    first = node.args[0]
    assert isinstance(first, Node), node
    return first


def _is_buffer(node: Node) -> bool:
    """Return whether ``node`` clones a buffer as the step begins: the copy stands for the buffer."""
    return node.meta.get("layer") == "" and _first(node).op == "placeholder"


def _view(low: Lowering, node: Node) -> Any:
    """Fold a view; one that is no product of pieces is a copy, on an accelerator too."""
    source = _first(node)
    if not isinstance(low.env[source], View):
        return None
    try:
        return folds.VIEWS[aten(node)](low.view(source), node)
    except Irregular:
        return _copy(low, node)


def _copy(low: Lowering, node: Node) -> View:
    source = _first(node)
    shape = tuple(node.meta["val"].shape)
    axes = axis_names(len(shape))
    name = low.op_name(node)
    write = low.output(node, name, axes, reads=(source,))
    reads = [(source, [None] * len(low.sizes(source)))]
    low.vector(node, name, dict(zip(axes, shape, strict=True)), reads, [write], [Walk((("move", 1),))])
    return write.view


def _unsupported(low: Lowering, node: Node) -> Any:
    """Count the op, and let it go on as a walk over the elements of its results."""
    low.unsupported[(str(node.target), low.layer(node), low.phase(node))] += 1
    vals = node.meta["val"]
    if isinstance(vals, tuple | list):
        return _unsupported_several(low, node, list(vals))
    if not hasattr(vals, "shape"):
        return None
    return elementwise.elementwise(low, node, (("move", 1),))


def _unsupported_several(low: Lowering, node: Node, vals: list[Any]) -> tuple[View | None, ...]:
    name = low.op_name(node)
    found: list[View | None] = []
    reads = [n for n in node.all_input_nodes if isinstance(low.env.get(n), View) and low.exists(n)]
    for i, val in enumerate(vals):
        if not hasattr(val, "shape"):
            found.append(None)
            continue
        op = name if not found else low.op_name(node)
        axes = axis_names(len(val.shape))
        write = low.output(node, op, axes, index=i)
        sizes = dict(zip(axes, val.shape, strict=True))
        pairs = [(n, [None] * len(low.sizes(n))) for n in reads]
        low.vector(node, op, sizes, pairs, [write], [Walk((("move", 1),))])
        found.append(write.view)
    return tuple(found)


def _close(low: Lowering, step: Step, slots: dict[Node, Slot], output: Node) -> None:
    """Let each updated parameter, buffer and state take the place of the old one in the next step."""
    places = {slot: node for node, slot in slots.items()}
    results = output.args[0]
    assert isinstance(results, list | tuple)
    for slot, node in zip(step.outputs, results, strict=True):
        place = places.get(slot)
        if place is None or not isinstance(node, Node):
            continue
        old, new = PLACES[slot.kind].format(slot.name), low.current[low.view(node).base]
        if old == new:
            continue
        low.replace_next(new, old)
        if slot.kind == "buffer":  # a buffer that changes is state, one that does not is a constant
            for name in low.history[low.view(node).base]:
                low.tensors[name] = replace(low.tensors[name], role="optimizer_state")


def _used(low: Lowering) -> dict[str, Tensor]:
    """Return the tensors that an op reads or writes, in the order in which they were declared."""
    used = {o.tensor: None for op in low.ops for o in (*op.inputs, *op.outputs)}
    return {name: tensor for name, tensor in low.tensors.items() if name in used}
