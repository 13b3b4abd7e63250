"""Which results of backward are gradients of parameters: found backwards from the update."""

from __future__ import annotations

from operator import getitem

from torch.fx import Graph, Node

KEEPS = ("aten.mul", "aten._to_copy", "aten.clone", "aten.div", "aten.neg")  # of a masked or cast weight
VIEWS = (
    "aten.detach",
    "aten.alias",
    "aten.t",
    "aten.transpose",
    "aten.permute",
    "aten.view",
    "aten._unsafe_view",
    "aten.reshape",
    "aten.expand",
    "aten.unsqueeze",
    "aten.squeeze",
    "aten.slice",
    "aten.select",
)


class Gradients:
    """Marks on (node, output index) whose result is, or goes wholly into, a parameter's gradient.

    ``given`` are the placeholders of parameters and buffers.
    """

    def __init__(self, graph: Graph, parameters: dict[Node, str], given: dict[Node, str]) -> None:
        self._given = given
        self._marks: dict[tuple[Node, int | None], str | None] = {}
        for node in graph.nodes:
            if _name(node).startswith("accelsim."):
                parameter, gradient = node.args[0], node.args[1]
                if isinstance(gradient, Node) and isinstance(parameter, Node):
                    self._mark(gradient, f"grad/{parameters[parameter]}")

    def _mark(self, node: Node, name: str | None) -> None:
        if node.meta.get("phase") != "backward":
            return
        op = _name(node)
        source = node.args[0] if node.args else None
        if node.target is getitem and isinstance(source, Node):
            self._marks.setdefault((source, int(str(node.args[1]))), name)
        elif op in VIEWS and isinstance(source, Node):
            self._mark(source, name)
        else:
            self._marks.setdefault((node, None), name)
            accumulates = op == "aten.add" and node.meta.get("layer") is None
            others = [a for a in node.all_input_nodes if not self._constant(a)]
            if accumulates or (op in KEEPS and len(others) == 1):
                for argument in others:
                    self._mark(argument, None)

    def _constant(self, node: Node) -> bool:
        """Return whether ``node`` is a parameter or a buffer, perhaps seen otherwise."""
        while _name(node) in (*VIEWS, "aten.clone") and isinstance(node.args[0], Node):
            node = node.args[0]
        return node in self._given

    def holds(self, node: Node, index: int | None) -> bool:
        """Return whether output ``index`` of ``node`` is a gradient of a parameter, or part of one."""
        return (node, index) in self._marks

    def name(self, node: Node, index: int | None) -> str | None:
        """Return ``grad/PARAMETER`` for the output that is the whole gradient."""
        return self._marks.get((node, index))


def _name(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).replace("::", ".") if schema else ""
