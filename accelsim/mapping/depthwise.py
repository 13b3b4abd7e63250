"""Depthwise convolutions as walks of the vector unit: a multiply and an add per tap and element."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from accelsim.geometry import FULL, Axis, Operand, ceil_div
from accelsim.graph.ir import Gemm, Op, Pass, Vector
from accelsim.program.phases import strides_of
from accelsim.resolve.machine import MappingChoices


def placed(op: Op, choices: MappingChoices) -> Op:
    """Return ``op``, a depthwise convolution as a vector op if that is where it shall run."""
    if op.gemm is None or not op.gemm.depthwise or choices.depthwise != "vector":
        return op
    axes = _axes(op.gemm)
    taps = _taps(op.gemm, math.prod(a.size for a in axes), choices.dgrad == "decomposed")
    known = {a.name: a for a in axes}
    walk = Pass(functions=(("mul", taps), ("add", taps)), reads=(0, 1), writes=(0,))
    return replace(
        op,
        kind="vector",
        gemm=None,
        inputs=tuple(_over(o, known) for o in op.inputs),
        outputs=tuple(_over(o, known) for o in op.outputs),
        vector=Vector(axes=axes, separable=len(axes), passes=(walk,), elementwise=False),
    )


def _axes(gemm: Gemm) -> tuple[Axis, ...]:
    """Return the axes that are walked, in the order of storage: the result's, or for a weight the error's."""
    sides = (gemm.batch, gemm.m, gemm.k) if gemm.kind == "weight_gradient" else (gemm.batch, gemm.m, gemm.n)
    known = {a.name: a for side in sides for a in side}
    along = gemm.a if gemm.kind == "weight_gradient" else gemm.c
    names = [d.axis for d in along.dims if d.axis in known]
    return tuple(known[n] for n in (*names, *(n for n in known if n not in names and known[n].size > 1)))


def _taps(gemm: Gemm, points: int, decomposed: bool) -> int:
    """Return the multiplications per walked point; of a strided input gradient in phases, their mean."""
    if gemm.kind == "weight_gradient":
        return gemm.extent("n")
    if decomposed and gemm.kind == "input_gradient" and strides_of(gemm.a, gemm.k):
        return ceil_div(gemm.useful_macs, points)
    return gemm.extent("k")


def _over(operand: Operand, axes: Mapping[str, Axis]) -> Operand:
    """Return an operand that is read whole along what is not walked."""
    return replace(operand, dims=tuple(d if d.axis in axes else FULL for d in operand.dims))
