"""The canonical JSON form of a graph: the same graph is the same bytes, and comes back equal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from accelsim.errors import GraphError
from accelsim.geometry import Axis, DimMap, Operand
from accelsim.graph.ir import Gemm, Graph, Op, Pass, Tensor, Unsupported, Vector

FORMAT_VERSION = 1


def dumps(graph: Graph) -> str:
    """Return ``graph`` as one line of JSON with sorted keys."""
    return json.dumps(to_plain(graph), sort_keys=True, separators=(",", ":"))


def loads(text: str) -> Graph:
    """Return the graph that ``dumps`` wrote as ``text``.

    Raises:
        GraphError: ``text`` is no graph, or one of another version.
    """
    try:
        return from_plain(json.loads(text))
    except (ValueError, KeyError, TypeError) as exc:
        raise GraphError(f"not a stored graph of version {FORMAT_VERSION}: {exc}") from None


def content_hash(graph: Graph) -> str:
    """Return the SHA-256 of the graph's canonical JSON, in hexadecimal."""
    return hashlib.sha256(dumps(graph).encode()).hexdigest()


def to_plain(graph: Graph) -> dict[str, Any]:
    """Return ``graph`` as dicts, lists, strings and numbers."""
    plain: dict[str, Any] = _fields(graph)
    plain["tensors"] = [_fields(t) for t in graph.tensors.values()]  # their order is the order of making
    plain["version"] = FORMAT_VERSION
    return plain


def _fields(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _fields(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_fields(v) for v in value]
    if isinstance(value, dict):
        return {k: _fields(v) for k, v in value.items()}
    return value


def from_plain(plain: dict[str, Any]) -> Graph:
    """Return the graph of ``to_plain``."""
    plain = dict(plain)
    if plain.pop("version") != FORMAT_VERSION:
        raise ValueError("another version")
    tensors = [Tensor(**{**t, "shape": tuple(t["shape"])}) for t in plain.pop("tensors")]
    return Graph(
        **{
            **plain,
            "tensors": {t.name: t for t in tensors},
            "ops": tuple(_op(op) for op in plain["ops"]),
            "unsupported": tuple(Unsupported(**u) for u in plain["unsupported"]),
            "notes": tuple(plain["notes"]),
        }
    )


def _op(plain: dict[str, Any]) -> Op:
    gemm, vector = plain["gemm"], plain["vector"]
    return Op(
        **{
            **plain,
            "inputs": tuple(map(_operand, plain["inputs"])),
            "outputs": tuple(map(_operand, plain["outputs"])),
            "gemm": _gemm(gemm) if gemm else None,
            "vector": _vector(vector) if vector else None,
            "args": tuple(plain["args"]),
        }
    )


def _operand(plain: dict[str, Any]) -> Operand:
    return Operand(plain["tensor"], tuple(plain["shape"]), tuple(DimMap(**d) for d in plain["dims"]))


def _axes(plain: list[dict[str, Any]]) -> tuple[Axis, ...]:
    return tuple(Axis(**a) for a in plain)


def _gemm(plain: dict[str, Any]) -> Gemm:
    sides = {side: _axes(plain[side]) for side in ("m", "n", "k", "batch")}
    operands = {which: _operand(plain[which]) for which in ("a", "b", "c")}
    window = tuple(plain["window"]) if plain["window"] else None
    return Gemm(**{**plain, **sides, **operands, "window": window})


def _vector(plain: dict[str, Any]) -> Vector:
    passes = tuple(
        Pass(
            functions=tuple((name, count) for name, count in p["functions"]),
            reads=tuple(p["reads"]),
            writes=tuple(p["writes"]),
        )
        for p in plain["passes"]
    )
    return Vector(**{**plain, "axes": _axes(plain["axes"]), "passes": passes})
