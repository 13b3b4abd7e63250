"""The state of one lowering: tensors and ops so far, and which view each fx node is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from torch.fx import Node

from accelsim.frontend.lower.gradients import Gradients
from accelsim.frontend.lower.nest import Follow, Nest, Use, fit
from accelsim.frontend.lower.nodes import (
    PREFIX,
    SHORT,
    aten,
    canonical,
    format_of,
    result_of,
    tensor_argument,
)
from accelsim.frontend.lower.views import View, whole_view
from accelsim.frontend.slots import micro_batch
from accelsim.geometry import Axis
from accelsim.graph.ir import Gemm, Op, Pass, Tensor, Unsupported, Vector
from accelsim.words import Phase, Role

Functions = tuple[tuple[str, int], ...]
Source: TypeAlias = "Node | View"  # a view where it is an intermediate result without a node
Read: TypeAlias = "tuple[Source, Sequence[Follow]]"


@dataclass(frozen=True, slots=True)
class Write:
    """An output in the making: the new tensor's name, the view it is written in, what that follows."""

    tensor: str
    view: View
    follows: tuple[Follow, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """One pass: functions per point, what it reads (None: all) and the outputs it writes (None: all)."""

    functions: Functions
    reads: tuple[Source, ...] | None = None
    writes: tuple[int, ...] | None = None


class Lowering:
    """Collects the graph. Handlers call ``output``, ``vector`` and ``gemm``, and return views."""

    def __init__(self, gradients: Gradients) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.env: dict[Node, Any] = {}  # View, a tuple of them, or None
        self.current: dict[str, str] = {}  # storage -> the tensor in it now; absent before the first write
        self.history: dict[str, list[str]] = {}  # storage -> the tensors in it, one after the other
        self.unsupported: Counter[tuple[str, str, Phase]] = Counter()
        self._gradients = gradients
        self._first_op: dict[str, str] = {}  # fx node -> op
        self._storages = 0
        self._taken: Counter[str] = Counter()

    # --- what a node is

    def view(self, node: Source) -> View:
        """Return the view that ``node`` is."""
        if isinstance(node, View):
            return node
        found = self.env[node]
        assert isinstance(found, View), node
        return found

    def sizes(self, node: Source) -> tuple[int, ...]:
        """Return the shape of ``node``."""
        return self.view(node).sizes

    @staticmethod
    def shape(node: Node) -> tuple[int, ...]:
        """Return the shape that torch gives ``node``, also where its storage was never written."""
        return tuple(node.meta["val"].shape)

    def exists(self, node: Node) -> bool:
        """Return whether ``node``'s storage has been written at all."""
        return self.view(node).base in self.current

    def phase(self, node: Node) -> Phase:
        """Return the phase in which ``node`` runs."""
        phase: Phase = node.meta.get("phase") or "forward"
        return phase

    def layer(self, node: Node) -> str:
        """Return ``node``'s module path; of a gradient accumulation that of the gradient it adds to."""
        layer: str | None = node.meta.get("layer")
        if layer is not None:
            return layer
        for argument in node.all_input_nodes:
            if isinstance(self.env.get(argument), View) and self.exists(argument):
                return self.tensors[self.current[self.view(argument).base]].layer
        return ""

    def op_name(self, node: Node, part: str = "") -> str:
        """Return a new name ``[bwd/]layer:op[.part][.mbN]``, numbered if it is taken."""
        phase = self.phase(node)
        name = aten(node).partition(".")[2]
        name = SHORT.get(name, name.strip("_"))
        owner = node.meta.get("param") or self.layer(node) or "step"
        name = f"{PREFIX[phase]}{owner}:{name}" + (f".{part}" if part else "")
        return self._new(micro_batch(name, node.meta.get("micro_batch", 0)))

    def _new(self, base: str) -> str:
        count = self._taken[base]
        self._taken[base] += 1
        return self._new(f"{base}.{count}") if count else base

    # --- tensors

    def place(self, node: Node, tensor: Tensor) -> None:
        """Let ``node``, a placeholder, be ``tensor``."""
        self.tensors[tensor.name] = tensor
        self.current[node.name] = tensor.name
        self.history[node.name] = [tensor.name]
        self.env[node] = whole_view(node.name, tensor.shape, tuple(node.meta["val"].shape))

    def blank(self, node: Node) -> View:
        """Return the view of a new storage that nothing has been written to."""
        sizes = tuple(node.meta["val"].shape)
        return whole_view(node.name, sizes or (1,), sizes)

    def output(
        self,
        node: Node,
        op: str,
        follows: Sequence[Follow],
        *,
        index: int | None = None,
        suffix: str = "",
        name: str | None = None,
        reads: Sequence[Node] = (),
        role: Role | None = None,
        order: Sequence[int] | None = None,
    ) -> Write:
        """Return a new tensor for output ``index`` of ``node``, written by ``op``.

        ``order`` is that of the dimensions in storage, where it is not their own.
        """
        val = node.meta["val"] if index is None else node.meta["val"][index]
        result = node if index is None else result_of(node, index)
        sizes = tuple(val.shape)
        shape = canonical(result, sizes) if result is not None else sizes or (1,)
        name = name or (self._gradients.name(node, index) if result is not None else None)
        name = self._new(name) if name else op + suffix
        view = whole_view(self._storage(node), shape, sizes)
        if order:
            shape = tuple(sizes[i] for i in order)
            back = sorted(range(len(order)), key=order.__getitem__)
            view = whole_view(view.base, shape, shape).permute(back)
        self._declare(node, name, shape, val.dtype, role or self._role(node, index, reads))
        return Write(name, view, tuple(follows))

    def intermediate(
        self, node: Node, name: str, sizes: Sequence[int], follows: Sequence[Follow], role: Role
    ) -> Write:
        """Return a new tensor between two ops that one ``node`` is lowered to."""
        vals = node.meta["val"]
        dtype = (vals[0] if isinstance(vals, tuple | list) else vals).dtype
        self._declare(node, name, tuple(sizes), dtype, role)
        return Write(name, whole_view(self._storage(node), tuple(sizes), tuple(sizes)), tuple(follows))

    def _storage(self, node: Node) -> str:
        """Return the key of a new storage."""
        self._storages += 1
        return f"{node.name}#{self._storages}"

    def overwrite(self, node: Node, target: Node, op: str, follows: Sequence[Follow]) -> Write:
        """Return a new tensor that takes the place of the one in ``target``'s storage."""
        view = self.view(target)
        old = self.tensors.get(self.current.get(view.base, ""))
        role = old.role if old else self._role(node, None, ())
        self._declare(node, op, view.canonical, target.meta["val"].dtype, role)
        return Write(op, view, tuple(follows))

    def _declare(self, node: Node, name: str, shape: tuple[int, ...], dtype: Any, role: Role) -> None:
        self.tensors[name] = Tensor(
            name=name,
            role=role,
            layer=self.layer(node),
            phase=self.phase(node),
            shape=shape,
            dtype=format_of(dtype),
        )

    def _role(self, node: Node, index: int | None, reads: Sequence[Node]) -> Role:
        phase = self.phase(node)
        if phase == "backward":
            return "weight_gradient" if self._gradients.holds(node, index) else "error"
        if phase == "update":
            return "optimizer_state"
        roles = [self.role_of(n) for n in reads]
        return "weight" if roles and all(r == "weight" for r in roles) else "activation"

    def is_weight_gradient(self, node: Node) -> bool:
        """Return whether the result of ``node`` is, or goes wholly into, a parameter's gradient."""
        return self._gradients.holds(node, None)

    def role_of(self, node: Node) -> Role | None:
        """Return the role of the tensor that ``node`` sees."""
        found = self.env.get(node)
        if not isinstance(found, View) or found.base not in self.current:
            return None
        return self.tensors[self.current[found.base]].role

    # --- ops

    def fit(self, sizes: Mapping[str, int], reads: Sequence[Read], writes: Sequence[Write]) -> Nest:
        """Return axes and operands, first of ``reads``, then of ``writes``."""
        uses = [Use(self.current[self.view(n).base], self.view(n), tuple(f)) for n, f in reads]
        uses += [Use(w.tensor, w.view, w.follows) for w in writes]
        return fit(dict(sizes), uses)

    def vector(
        self,
        node: Node,
        name: str,
        sizes: Mapping[str, int],
        reads: Sequence[Read],
        writes: Sequence[Write],
        walks: Sequence[Walk],
        *,
        separable: int | None = None,
        elementwise: bool = False,
        units: Mapping[str, int] | None = None,
        aten_name: str | None = None,
        args: tuple[Any, ...] | None = None,
    ) -> None:
        """Add a vector op; ``separable`` counts logical axes from the front (None: all)."""
        nest = self.fit(sizes, reads, writes).in_steps(units or {})
        names = list(sizes)
        cut = names if separable is None else names[:separable]
        nodes = [n for n, _ in reads]
        passes = tuple(
            Pass(
                functions=w.functions,
                reads=tuple(nodes.index(n) for n in (nodes if w.reads is None else w.reads)),
                writes=tuple(range(len(writes))) if w.writes is None else w.writes,
            )
            for w in walks
        )
        vector = Vector(
            axes=nest.all(names),
            separable=len(nest.side(*cut)),
            passes=passes,
            elementwise=elementwise,
        )
        self._add(node, name, nest, nodes, writes, aten_name, args, vector=vector)

    def gemm(
        self,
        node: Node,
        name: str,
        sizes: Mapping[str, int],
        sides: Mapping[Literal["m", "n", "k", "batch"], Sequence[str]],
        reads: Sequence[Read],
        write: Write,
        *,
        kind: Literal["forward", "input_gradient", "weight_gradient"],
        macs: int,
        window: tuple[int, int, int, int] | None = None,
        expanded: Literal["a", "b"] | None = None,
        aten_name: str | None = None,
        args: tuple[Any, ...] | None = None,
    ) -> None:
        """Add a GEMM of the two ``reads`` into ``write``."""
        nest = self.fit(sizes, reads, [write])
        a, b, c = nest.operands

        def side(which: Literal["m", "n", "k", "batch"]) -> tuple[Axis, ...]:
            return nest.side(*sides.get(which, ()))

        pinned = nest.all(())[-1:] if any(d.axis == "one" for o in nest.operands for d in o.dims) else ()
        gemm = Gemm(
            m=(*side("m"), *pinned),
            n=side("n"),
            k=side("k"),
            batch=side("batch"),
            a=a,
            b=b,
            c=c,
            kind=kind,
            window=window,
            expanded=expanded,
            useful_macs=macs,
        )
        nodes = [n for n, _ in reads]
        self._add(node, name, nest, nodes, [write], aten_name, args, gemm=gemm)

    def _add(
        self,
        node: Node,
        name: str,
        nest: Nest,
        reads: Sequence[Source],
        writes: Sequence[Write],
        aten_name: str | None,
        args: tuple[Any, ...] | None,
        *,
        gemm: Gemm | None = None,
        vector: Vector | None = None,
    ) -> None:
        forward = node.meta.get("fwd_op")
        self.ops.append(
            Op(
                name=name,
                kind="gemm" if gemm else "vector",
                aten=aten_name or str(node.target),
                layer=self.layer(node),
                phase=self.phase(node),
                inputs=nest.operands[: len(reads)],
                outputs=nest.operands[len(reads) :],
                gemm=gemm,
                vector=vector,
                args=self.arguments(node, reads) if args is None else args,
                forward_op=self._first_op.get(forward) if forward else None,
            )
        )
        self._first_op.setdefault(node.name, name)
        for write in writes:
            self.current[write.view.base] = write.tensor
            self.history.setdefault(write.view.base, []).append(write.tensor)

    def arguments(self, node: Node, reads: Sequence[Source]) -> tuple[Any, ...]:
        """Return the call's arguments as plain data; keyword arguments last, as ``{"kwargs": ...}``."""
        args = tuple(self.plain(a, reads) for a in node.args)
        kwargs = {k: self.plain(v, reads) for k, v in sorted(node.kwargs.items())}
        return (*args, {"kwargs": kwargs}) if kwargs else args

    def plain(self, value: Any, reads: Sequence[Source]) -> Any:
        """Return ``value`` as plain data: a tensor that is read by its index, another by its shape."""
        if isinstance(value, Node):
            if value not in reads:
                val: Any = value.meta.get("val")
                return {"shape": list(val.shape)} if hasattr(val, "shape") else None
            return tensor_argument(list(reads).index(value), self.view(value))
        if isinstance(value, list | tuple):
            return [self.plain(v, reads) for v in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        return str(value).removeprefix("torch.")

    def replace_next(self, tensor: str, place: str) -> None:
        """Let ``tensor`` be what the next step finds in the place of ``place``."""
        self.tensors[tensor] = replace(self.tensors[tensor], next_of=place)

    def list_unsupported(self) -> Iterator[Unsupported]:
        """Yield the ops without a lowering, in the order in which they were met."""
        for (name, layer, phase), count in self.unsupported.items():
            yield Unsupported(aten=name, layer=layer, phase=phase, count=count)
