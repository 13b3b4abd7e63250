"""Ops that plug-ins lower."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, get_args

from torch.fx import Node

from accelsim.config.arch import VectorFunction
from accelsim.frontend.lower.context import Lowering
from accelsim.frontend.lower.elementwise import FUNCTIONS, RULES
from accelsim.frontend.lower.gemm import Handler
from accelsim.frontend.lower.views import Irregular, Piece, View
from accelsim.graph.ir import Pass
from accelsim.plugins import Plugin

VECTOR_FUNCTIONS: tuple[str, ...] = get_args(VectorFunction)


class Plugged:
    """The lowerings that a workload names, loaded at once, so that a broken one is refused in any case."""

    def __init__(self, plugins: Mapping[str, Plugin], built_in: Collection[str]) -> None:
        """Load ``plugins``, by the ops that they lower.

        Raises:
            PluginError: One cannot be loaded, or lowers what is lowered already.
        """
        known = {*built_in, *RULES, *(f"aten.{name}" for name in FUNCTIONS)}
        for op, plugin in plugins.items():
            if op in known:
                raise plugin.fault(f"{op} is lowered by accelsim itself, and cannot be lowered otherwise")
        self._plugins = plugins
        self._handlers = {op: partial(_guarded, p, p.load()) for op, p in plugins.items()}

    def handler(self, op: str) -> Handler | None:
        """Return what lowers ``op``, if a plug-in does."""
        return self._handlers.get(op)

    def notes(self) -> tuple[str, ...]:
        """Return what a graph says of its plug-ins: part of its content, and so of every key and run id."""
        return tuple(f"{op} is lowered by plug-in {plugin}" for op, plugin in self._plugins.items())


def _guarded(plugin: Plugin, handler: Handler, low: Lowering, node: Node) -> Any:
    irregular: Irregular | None = None
    before = len(low.ops)
    with plugin.guarded(f"lowering {node.target}"):
        try:
            made = handler(low, node)
        except Irregular as exc:  # a form that it does not know: counted as unsupported
            irregular = exc
    if irregular is not None:
        raise irregular
    vals = node.meta["val"]
    several = isinstance(vals, tuple | list)
    pairs = zip(made, vals, strict=False) if several and isinstance(made, tuple) else [(made, vals)]
    if several and not (isinstance(made, tuple) and len(made) == len(vals)):
        raise plugin.fault(f"{node.target} has {len(vals)} results; expected a tuple of as many views")
    for view, val in pairs:
        if view is None and several:
            continue  # nothing reads it
        if not isinstance(view, View):
            raise plugin.fault(f"lowering {node.target} returned {type(view).__name__}; expected a View")
        if tuple(view.sizes) != tuple(val.shape):
            shapes = f"{tuple(view.sizes)}, torch's result is {tuple(val.shape)}"
            raise plugin.fault(f"lowering {node.target} returned a view of {shapes}")
        if what := _fault_of(view, low, node):
            raise plugin.fault(f"lowering {node.target} returned a view {what}")
    for op in low.ops[before:]:
        if op.vector is not None and (what := next(filter(None, map(_wrong, op.vector.passes)), "")):
            raise plugin.fault(f"lowering {node.target} adds {op.name} with {what}")
    return made


def _fault_of(view: View, low: Lowering, node: Node) -> str:
    """Return what is wrong with a view whose sizes are right."""
    bases = {node.name, *low.current, *(v.base for v in low.env.values() if isinstance(v, View))}
    if view.base not in bases:
        return f"of {view.base!r}, a storage that nothing has written to"
    dims = view.dims
    if not isinstance(dims, tuple) or len(dims) != len(view.sizes) or not all(map(_is_dimension, dims)):
        return f"whose dims are {dims!r}; expected a tuple of Pieces for each of its sizes {view.sizes}"
    return ""


def _is_dimension(pieces: object) -> bool:
    return isinstance(pieces, tuple) and all(isinstance(p, Piece) for p in pieces)


def _wrong(walk: Pass) -> str:
    """Return what is wrong with the functions of a pass of the vector unit."""
    functions: object = walk.functions
    if not isinstance(functions, tuple | list):
        return f"functions = {functions!r}; expected pairs of a function and its count per element"
    for pair in functions:
        match pair:
            case (str(name), int(count)) if name in VECTOR_FUNCTIONS and count > 0:
                pass
            case _:
                known = ", ".join(VECTOR_FUNCTIONS)
                return f"{pair!r} among its functions; expected one of {known} and a whole number above 0"
    return ""
