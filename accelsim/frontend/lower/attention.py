"""Fused attention, ``scaled_dot_product_attention`` as one call, as the GEMMs and walks that it is.

Forward: scores = Q K^T; a softmax of their rows, which also leaves each row's log of the sum of
exponentials; out = P V. Backward, as the fused kernels do it: the scores again, the probabilities P from
them and the saved logs (an elementwise op, so it rides on the drain), then dV = P^T dO, dP = dO V^T with
the softmax's gradient on its drain, dQ = dS K and dK = dS^T Q.

What is materialised: scores and probabilities are tensors of the graph, whole, between the ops that make
and read them (where they lie is the mapping's choice); none of them is saved for backward, only Q, K, V,
the result and the logs. A causal mask leaves no products out, as in torch's own count.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch.fx import Node

from accelsim.frontend.lower import attention_ops
from accelsim.frontend.lower.context import Functions, Lowering, Read, Source, Walk, Write
from accelsim.frontend.lower.elementwise import aligned
from accelsim.frontend.lower.gemm import Handler, Kind
from accelsim.frontend.lower.nodes import tensor_argument
from accelsim.frontend.lower.views import Irregular, View
from accelsim.words import Role

AXES = ("b", "h", "m", "n")  # batch, heads, queries, keys: the axes of the scores
ORDER = (0, 2, 1, 3)  # results lie by batch, token, head, feature
EINSUM = "aten.einsum.default"


@dataclass(frozen=True, slots=True)
class Attention:
    """One call: its node, its operands and its sizes (``d`` features of a key, ``e`` of a value)."""

    low: Lowering
    node: Node
    query: Node
    key: Node
    value: Node
    mask: Node | None
    scale: float
    causal: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of every axis by its name."""
        b, h, m, d = self.low.sizes(self.query)
        n, e = self.low.sizes(self.value)[2:]
        return {"b": b, "h": h, "m": m, "n": n, "d": d, "e": e}

    def mask_read(self, index: int) -> tuple[list[Read], Any]:
        """Return the mask, if there is one, as a read and as the argument that is read ``index``."""
        if self.mask is None:
            return [], None
        shape = [self.sizes[a] for a in AXES]
        read = (self.mask, aligned(self.low.sizes(self.mask), shape, AXES))
        return [read], tensor_argument(index, self.low.view(self.mask))

    def masked(self, *functions: tuple[str, int]) -> Functions:
        """Return ``functions`` with what masking costs per score."""
        counts = Counter(dict(functions))
        counts.update(mask=int(self.causal), add=int(self.mask is not None))
        return tuple((f, n) for f, n in counts.items() if n)


def _attention(low: Lowering, node: Node, operands: Sequence[object], causal: object) -> Attention:
    query, key, value = operands
    assert isinstance(query, Node)
    assert isinstance(key, Node)
    assert isinstance(value, Node)
    mask, scale = node.kwargs.get("attn_mask"), node.kwargs.get("scale")
    if low.sizes(query)[:2] != low.sizes(key)[:2]:
        raise Irregular  # several query heads per key
    return Attention(
        low,
        node,
        query,
        key,
        value,
        mask if isinstance(mask, Node) else None,
        float(str(scale)) if scale is not None else low.sizes(query)[-1] ** -0.5,
        bool(causal),
    )


def forward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """Scores, softmax, product with the values."""
    causal = node.args[4] if len(node.args) > 4 else False
    a = _attention(low, node, node.args[:3], causal)
    scores = _scores(a)
    name = low.op_name(node, "softmax")
    rows = [a.sizes[x] for x in AXES]
    weights = low.intermediate(node, name, rows, AXES, "activation")
    logs = low.output(node, name, AXES[:3], index=1, suffix=".logsumexp", reads=(a.query,))
    more, mask = a.mask_read(1)
    walks = [
        Walk(a.masked(("max", 1)), None, ()),
        Walk(a.masked(("add", 2), ("mul", 1), ("exp", 1)), None, (1,)),
        Walk(a.masked(("add", 1), ("mul", 2), ("exp", 1)), None, (0,)),
    ]
    low.vector(
        node,
        name,
        dict(zip(AXES, rows, strict=True)),
        [(scores, AXES), *more],
        [weights, logs],
        walks,
        separable=3,
        aten_name=attention_ops.SOFTMAX,
        args=(tensor_argument(0, scores), mask, a.scale, a.causal),
    )
    name = low.op_name(node, "values")
    out = low.output(node, name, ("b", "h", "m", "e"), index=0, order=ORDER, reads=(a.query,))
    _product(a, name, (weights.view, "bhmn"), (a.value, "bhne"), (out, "bhme"), "forward")
    return out.view, logs.view


def backward(low: Lowering, node: Node) -> tuple[View | None, ...]:
    """Probabilities again, and from them and the error the three gradients."""
    error, *operands, out, logs, _, causal = node.args[:8]
    assert isinstance(error, Node)
    assert isinstance(out, Node)
    assert isinstance(logs, Node)
    a = _attention(low, node, operands, causal)
    delta = _delta(a, error, out)
    weights = _probabilities(a, logs)
    dv = _gradient(a, "dv", 2, (weights, "bhmn"), (error, "bhme"), "bhne")
    dp = _intermediate_product(a, "dp", (error, "bhme"), (a.value, "bhne"), "error", "input_gradient")
    ds = _elementwise(
        a,
        "ds",
        [(weights, AXES), (dp, AXES), (delta, AXES[:3])],
        (("add", 1), ("mul", 2)),
        attention_ops.ERROR,
        (*(tensor_argument(i, v) for i, v in enumerate((weights, dp, delta))), a.scale),
        "error",
    )
    dq = _gradient(a, "dq", 0, (ds, "bhmn"), (a.key, "bhnd"), "bhmd")
    dk = _gradient(a, "dk", 1, (ds, "bhmn"), (a.query, "bhmd"), "bhnd")
    return dq, dk, dv


def _delta(a: Attention, error: Node, out: Node) -> View:
    """Return each row's sum of error times result, which is that of dP times P."""
    low, name = a.low, a.low.op_name(a.node, "delta")
    sizes = {x: a.sizes[x] for x in ("b", "h", "m", "e")}
    write = low.intermediate(a.node, name, [a.sizes[x] for x in AXES[:3]], AXES[:3], "error")
    args = ("bhme,bhme->bhm", [tensor_argument(i, low.view(n)) for i, n in enumerate((error, out))])
    reads: list[Read] = [(n, tuple(sizes)) for n in (error, out)]
    walk = Walk((("add", 1), ("mul", 1)))
    low.vector(a.node, name, sizes, reads, [write], [walk], separable=3, aten_name=EINSUM, args=args)
    return write.view


def _probabilities(a: Attention, logs: Node) -> View:
    scores = _scores(a)
    more, mask = a.mask_read(2)
    return _elementwise(
        a,
        "probabilities",
        [(scores, AXES), (logs, AXES[:3]), *more],
        a.masked(("add", 1), ("mul", 1), ("exp", 1)),
        attention_ops.PROBABILITIES,
        (tensor_argument(0, scores), tensor_argument(1, a.low.view(logs)), mask, a.scale, a.causal),
        "activation",
    )


def _elementwise(
    a: Attention,
    part: str,
    reads: Sequence[Read],
    functions: Functions,
    aten_name: str,
    args: tuple[Any, ...],
    role: Role,
) -> View:
    """Add an elementwise op over the scores, which may ride on the drain of their product."""
    name = a.low.op_name(a.node, part)
    sizes = {x: a.sizes[x] for x in AXES}
    write = a.low.intermediate(a.node, name, list(sizes.values()), AXES, role)
    a.low.vector(
        a.node,
        name,
        sizes,
        reads,
        [write],
        [Walk(functions)],
        elementwise=True,
        aten_name=aten_name,
        args=args,
    )
    return write.view


def _scores(a: Attention) -> View:
    return _intermediate_product(a, "scores", (a.query, "bhmd"), (a.key, "bhnd"), "activation", "forward")


def _intermediate_product(
    a: Attention, part: str, left: tuple[Source, str], right: tuple[Source, str], role: Role, kind: Kind
) -> View:
    """Return a product of the scores' shape."""
    name = a.low.op_name(a.node, part)
    write = a.low.intermediate(a.node, name, [a.sizes[x] for x in AXES], AXES, role)
    return _product(a, name, left, right, (write, "bhmn"), kind)


def _gradient(
    a: Attention, part: str, index: int, left: tuple[Source, str], right: tuple[Source, str], axes: str
) -> View:
    name = a.low.op_name(a.node, part)
    write = a.low.output(a.node, name, tuple(axes), index=index, order=ORDER)
    return _product(a, name, left, right, (write, axes), "input_gradient")


def _product(
    a: Attention,
    name: str,
    left: tuple[Source, str],
    right: tuple[Source, str],
    out: tuple[Write, str],
    kind: Kind,
) -> View:
    """Add the product of ``left`` and ``right``, each with its axes, summed over what ``out`` lacks."""
    (x, of_x), (y, of_y), (write, of_out) = left, right, out
    (m,), (n,) = (set(of) & set(of_out) - set("bh") for of in (of_x, of_y))
    (k,) = set(of_x) - set(of_out)
    sizes = {axis: a.sizes[axis] for axis in ("b", "h", m, n, k)}
    stored = "".join(of_out[i] for i in ORDER) if write.view.chain else of_out
    operands = [tensor_argument(i, a.low.view(v)) for i, v in enumerate((x, y))]
    sides: Mapping[Literal["m", "n", "k", "batch"], Sequence[str]] = {
        "batch": ("b", "h"),
        "m": (m,),
        "n": (n,),
        "k": (k,),
    }
    a.low.gemm(
        a.node,
        name,
        sizes,
        sides,
        [(x, tuple(of_x)), (y, tuple(of_y))],
        write,
        kind=kind,
        macs=math.prod(sizes.values()),
        aten_name=EINSUM,
        args=(f"{of_x},{of_y}->{stored}", operands),
    )
    return write.view


HANDLERS: dict[str, Handler] = {
    "aten._scaled_dot_product_flash_attention_for_cpu": forward,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": backward,
}
