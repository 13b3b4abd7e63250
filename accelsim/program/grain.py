"""How operands lie to the unit that streams them: which elements of a stored word it takes at once.

A word holds neighbours of the innermost stored dimension. The PE array takes a vector per cycle at each of
its edges, and gives one: of these a word is used whole if the vector runs along the same dimension. A word
across it brings one element of the vector, or as many taps of a window as lie next to each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from accelsim.geometry import Axis, DimMap, Operand, ceil_div
from accelsim.program.program import Side
from accelsim.words import Dataflow

Which = Literal["a", "b", "c"]
VECTORS: Final[dict[Dataflow, dict[Which, Side]]] = {  # the side along which a vector of an operand lies
    "ws": {"a": "k", "b": "n", "c": "n"},
    "is": {"a": "m", "b": "k", "c": "m"},
    "os": {"a": "m", "b": "n", "c": "n"},
}
SPREAD: Final[
    dict[Dataflow, dict[Which, Literal["rows", "cols"]]]
] = {  # which of the array's edges they meet
    "ws": {"a": "rows", "b": "cols", "c": "cols"},
    "is": {"a": "cols", "b": "rows", "c": "cols"},
    "os": {"a": "rows", "b": "cols", "c": "cols"},
}
OWN: Final[dict[Which, Side]] = {"a": "k", "b": "n", "c": "n"}  # innermost, if not stored transposed
TAPS: Final = {"y": "p", "x": "q"}  # image axis -> kernel axis of a convolution
ALL: Final = 0  # elements of a word, however many it has


def run_along(operand: Operand, axes: Sequence[Axis], sizes: Mapping[str, int], lanes: int) -> int:
    """Return how many neighbours in storage a vector along ``axes`` takes together; ``ALL``: whole words.

    Rows that begin inside a word share it with the row before, so what counts is the innermost dimension
    alone. Where its axis is not the innermost one of ``axes``, its neighbours lie as many lanes apart as the
    axes inside have points. ``sizes`` are of all axes of the nest, ``lanes`` how long a vector is. What does
    not change along ``axes`` lies along anything.
    """
    names = {a.name for a in axes if a.size > 1}
    if not names & {n for d in operand.dims for n in (d.axis, TAPS.get(d.axis))}:
        return ALL
    for dim, size in zip(reversed(operand.dims), reversed(operand.shape), strict=True):
        if size == 1:
            continue
        if dim.kind == "full":
            return ALL
        if dim.axis in names:
            return _steps(dim, max(1, lanes // _inside(axes, dim.axis)), _inside(axes, dim.axis) == 1)
        if dim.kind not in ("window", "inverse"):
            return 1
        apart = _inside(axes, TAPS.get(dim.axis, ""))
        return max(1, min(_taps(dim, names, sizes), lanes // apart))
    return ALL


def _inside(axes: Sequence[Axis], name: str) -> int:
    """Return how many points the axes inside of one have."""
    names = [a.name for a in axes]
    return math.prod(a.size for a in axes[names.index(name) + 1 :]) if name in names else 1


def _steps(dim: DimMap, run: int, innermost: bool) -> int:
    """Return the run of a vector along a dimension's own axis: with a stride, elements lie apart."""
    if dim.kind == "window" and dim.stride > 1:
        return 1
    return ALL if innermost else run


def _taps(dim: DimMap, names: set[str], sizes: Mapping[str, int]) -> int:
    """Return the run of a vector along a window's taps, of an image's dimension that follows other points."""
    taps = sizes.get(TAPS.get(dim.axis, ""), 1)
    if TAPS.get(dim.axis) not in names or (dim.extent - 1) // max(1, taps - 1) > 1:
        return 1  # no taps of this vector, or taps that lie apart
    return ceil_div(taps, dim.stride) if dim.kind == "inverse" else taps


def is_transposed(which: Which, operand: Operand, sides: Mapping[Side, Sequence[Axis]]) -> bool:
    """Return whether a GEMM's operand is stored with the other of its two sides innermost."""
    own = {a.name for a in sides[OWN[which]]}
    inner = next(
        (d for d, s in zip(reversed(operand.dims), reversed(operand.shape), strict=True) if s > 1), None
    )
    return inner is not None and bool(inner.axis) and inner.axis not in own


def lane_axis(operands: Sequence[Operand], elements: Sequence[int]) -> str:
    """Return the axis along which the vector unit's lanes lie: that of most elements' innermost dimension.

    Of equally many, that of the first.
    """
    found: dict[str, int] = {}
    for operand, count in zip(operands, elements, strict=True):
        inner = _innermost(operand)
        if inner:
            found[inner] = found.get(inner, 0) + count
    return max(found, key=found.__getitem__, default="")


def run_on_lanes(operand: Operand, lanes: str) -> int:
    """Return how many neighbours in storage the vector unit takes together; ``ALL``: whole words."""
    inner = _innermost(operand)
    named = {d.axis for d in operand.dims if d.axis}
    return 1 if inner and inner != lanes and lanes in named else ALL


def _innermost(operand: Operand) -> str:
    """Return the axis of the innermost dimension of more than one element; empty if it follows none."""
    for dim, size in zip(reversed(operand.dims), reversed(operand.shape), strict=True):
        if size > 1:
            return dim.axis
    return ""
