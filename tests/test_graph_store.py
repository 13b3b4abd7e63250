"""The graph's JSON form and its structure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.frontend.topology import parse
from accelsim.geometry import Axis, DimMap, Operand, direct
from accelsim.graph import costs, dag
from accelsim.graph.ir import Gemm, Graph, Op, Pass, Tensor, Unsupported, Vector
from accelsim.graph.store import content_hash, dumps, loads

SIZES = st.integers(1, 64)


def tensor(name: str, role: str, phase: str | None, shape: tuple[int, ...], of: str | None = None) -> Tensor:
    """Return a float32 tensor of the layer fc."""
    return Tensor(name=name, role=role, layer="fc", phase=phase, shape=shape, dtype="fp32", next_of=of)


def step(m: int, n: int, k: int) -> Graph:
    """Return a little step by hand: y = x w, s = sum(y), g = x^T y, w' = w - g."""
    x, w = Operand("x", (m, k), (direct("m"), direct("k"))), Operand("w", (k, n), (direct("k"), direct("n")))
    y = Operand("y", (m, n), (direct("m"), direct("n")))
    axes = (Axis("m", m), Axis("n", n), Axis("k", k))
    rest = {"batch": (), "window": None, "expanded": None, "useful_macs": m * n * k}
    forward = Gemm(m=axes[:1], n=axes[1:2], k=axes[2:], a=x, b=w, c=y, kind="forward", **rest)
    g = Operand("g", (k, n), (direct("k"), direct("n")))
    backward = Gemm(m=axes[2:], n=axes[1:2], k=axes[:1], a=x, b=y, c=g, kind="weight_gradient", **rest)
    total = Operand("s", (1,), (DimMap(),))
    new = Operand("w2", (k, n), (direct("k"), direct("n")))
    one = Pass(functions=(("add", 1), ("mul", 2)), reads=(0,), writes=(0,))
    two = Pass(functions=(("add", 1), ("mul", 1)), reads=(0, 1), writes=(0,))
    common = {"layer": "fc", "args": ({"t": 0}, None, [1, 2.5, "x"], {"kwargs": {"alpha": 1e-8}})}
    reduce = Vector(axes=axes[:2], separable=1, passes=(one,), elementwise=False)
    update = Vector(axes=(axes[2], axes[1]), separable=2, passes=(two,), elementwise=True)
    ops = (
        Op(
            name="mm",
            kind="gemm",
            aten="aten.mm",
            phase="forward",
            inputs=(x, w),
            outputs=(y,),
            gemm=forward,
            **common,
        ),
        Op(
            name="sum",
            kind="vector",
            aten="aten.sum",
            phase="forward",
            inputs=(y,),
            outputs=(total,),
            vector=reduce,
            **common,
        ),
        Op(
            name="wgrad",
            kind="gemm",
            aten="aten.mm",
            phase="backward",
            inputs=(x, y),
            outputs=(g,),
            gemm=backward,
            forward_op="mm",
            **common,
        ),
        Op(
            name="sgd",
            kind="vector",
            aten="sgd",
            phase="update",
            inputs=(w, g),
            outputs=(new,),
            vector=update,
            **common,
        ),
    )
    tensors = [
        tensor("x", "input", None, (m, k)),
        tensor("w", "weight", None, (k, n)),
        tensor("y", "activation", "forward", (m, n)),
        tensor("s", "activation", "forward", (1,)),
        tensor("g", "weight_gradient", "backward", (k, n)),
        tensor("w2", "weight", "update", (k, n), "w"),
    ]
    lacking = Unsupported(aten="aten.fft", layer="fc", phase="forward", count=2)
    return Graph(
        name="hand",
        tensors={t.name: t for t in tensors},
        ops=ops,
        unsupported=(lacking,),
        batch=m,
        parameters=k * n,
        notes=("a note",),
    )


@given(SIZES, SIZES, SIZES)
def test_a_graph_comes_back_equal(m: int, n: int, k: int) -> None:
    """loads(dumps(g)) == g, the order of the tensors too, and the same bytes again."""
    graph = step(m, n, k)
    back = loads(dumps(graph))
    assert back == graph
    assert list(back.tensors) == list(graph.tensors)
    assert dumps(back) == dumps(graph)


def test_a_topology_comes_back_equal() -> None:
    """Windows and clipped sizes survive."""
    graph = parse("x\nc, 9, 9, 3, 3, 2, 4, 2\n", "net", "net.csv")
    assert loads(dumps(graph)) == graph


def test_the_hash_is_of_the_content() -> None:
    """Equal graphs have equal hashes, and one number more another."""
    assert content_hash(step(2, 3, 4)) == content_hash(step(2, 3, 4))
    assert content_hash(step(2, 3, 4)) != content_hash(step(2, 3, 5))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 0}'])
def test_what_is_no_graph_is_refused(text: str) -> None:
    """Anything else is a GraphError, not a traceback."""
    with pytest.raises(GraphError, match="not a stored graph of version 1"):
        loads(text)


def test_structure_of_a_step() -> None:
    """Lives in op indices, what survives the step, saved activations, peak of live bytes."""
    graph = step(2, 3, 4)
    lives = dag.lives(graph)
    assert {n: (v.made, v.reads, v.last, v.survives) for n, v in lives.items()} == {
        "x": (-1, (0, 2), 2, False),
        "w": (-1, (0, 3), 3, False),
        "y": (0, (1, 2), 2, False),
        "s": (1, (), 1, False),
        "g": (2, (3,), 3, False),
        "w2": (3, (), 3, True),
    }
    assert dag.saved_activations(graph) == ("y",)
    assert dag.peak_live_bytes(graph) == 4 * (12 + 12)  # the gradient and the new weight
    built = dag.build(graph)
    assert list(built.predecessors(("op", "wgrad"))) == [("tensor", "x"), ("tensor", "y")]
    assert list(built.successors(("tensor", "y"))) == [("op", "sum"), ("op", "wgrad")]


def test_costs_are_closed_formulas() -> None:
    """MACs by phase, vector functions times points, bytes of distinct tensors."""
    graph = step(2, 3, 4)
    assert costs.macs_by_phase(graph) == {"forward": 24, "recompute": 0, "backward": 24, "update": 0}
    assert costs.vector_operations(graph.ops[1]) == {"add": 6, "mul": 12}
    assert costs.vector_operations(graph.ops[0]) == {}
    assert costs.touched_bytes(graph, graph.ops[3]) == (96, 48)
    assert costs.macs_of("bmm", (2, 3, 4), (2, 4, 5)) == 120
    with pytest.raises(GraphError, match="no cost formula for fft; known: bmm, convolution, mm"):
        costs.macs_of("fft", (1,), (1,))
