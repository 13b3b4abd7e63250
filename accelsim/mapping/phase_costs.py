"""What the phases of a strided input gradient cost per combination of cuts, as arrays.

A tile has its points of every phase in the phases' shares; where a cut leaves fewer rows than a stride,
only some of the phases have points in a tile, each more of them.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from accelsim.geometry import Axis
from accelsim.mapping.cuts import Candidate
from accelsim.mapping.footprint import CutSide
from accelsim.mapping.problem import Array, Problem
from accelsim.program.array_shape import ArrayShape
from accelsim.program.phases import TAPS, strides_of
from accelsim.program.program import Side


class Share(NamedTuple):
    """What of m and of k belongs to one phase."""

    points: float
    depth: float


def whole_kernels(axes: tuple[Axis, ...], cuts: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Return the cuts of k that leave the kernel whole."""
    first = min(i for i, a in enumerate(axes) if a.name in TAPS.values())
    return tuple(c for c in cuts if c.cut.axis < first or c.count == 1)


class PhaseCosts:
    """The phases of one problem: what their folds take and read."""

    def __init__(self, problem: Problem, array: ArrayShape, sides: dict[Side, CutSide]) -> None:
        self.array = array
        self.sides = sides
        self.axes = problem.m
        self.strides = strides_of(problem.a.operand, problem.k)
        strides = math.prod(s.stride for s in self.strides)
        self.at_once = strides if array.dataflow == "is" else 1
        self.shares = [s for s in self._shares() if s.points]
        self.present = sides["m"].shape([self._present(c) for c in sides["m"].list])

    def _shares(self) -> list[Share]:
        found = []
        sizes = {a.name: a.size for a in self.axes}
        for residues in itertools.product(*(range(s.stride) for s in self.strides)):
            pairs = list(zip(self.strides, residues, strict=True))
            points = math.prod(s.rows((0, sizes[s.axis]), r) / sizes[s.axis] for s, r in pairs)
            found.append(Share(points, math.prod(s.taps_of(r) / s.kernel for s, r in pairs)))
        return found

    def _present(self, candidate: Candidate) -> float:
        """Return the share of the phases that have points in a tile."""
        cut, share = candidate.cut, 1.0
        for stride in self.strides:
            index = next(i for i, a in enumerate(self.axes) if a.name == stride.axis)
            axis = self.axes[index]
            step = axis.unit if index < cut.axis else cut.step if index == cut.axis else axis.size
            share *= min(1.0, step / stride.stride)
        return share

    def cycles(self, between: int) -> Array:
        """Return the cycles of all folds of one GEMM; under ``scale-sim`` with ``between`` after each."""
        flow, total = self.array.dataflow, np.zeros((1, 1, 1))
        rows, cols = self.array.rows, self.array.cols
        serial = self.array.convention == "scale-sim"
        least = 0 if serial else rows
        for share in self.shares:
            zeros = not share.depth
            if flow == "ws":
                folds = self._deep(share, rows) * self.sides["n"].blocks
                time = self._points(share, 1, 0 if zeros else least) * folds
                tiles = folds * self.sides["m"].count
            elif flow == "is":
                tiles = self._deep(share, rows) * self._points(share, cols)
                time = tiles * (self.sides["n"].size if serial or zeros else self.sides["n"].padded)
            else:
                folds = self._points(share, rows) * self.sides["n"].blocks
                time = folds * self._deep(share, 1, least)
                tiles = folds * self.sides["k"].count
            total = total + time + (tiles * between if serial and not zeros else 0)
        return total

    def reads(self) -> tuple[Array, Array]:
        """Return the elements of both operands that the array reads per GEMM."""
        flow = self.array.dataflow
        m, n, k = (self.sides[s] for s in ("m", "n", "k"))
        dense = sum(s.points * s.depth for s in self.shares) * float(m.size * k.size)
        a = dense * (n.count if flow == "is" else n.blocks)
        if flow == "ws":
            return a, float(k.size * n.size) * m.count
        width = self.array.cols if flow == "is" else self.array.rows
        b = np.zeros((1, 1, 1))
        for share in self.shares:
            b = b + share.depth * self._points(share, width)
        return a, b * float(k.size * n.size)

    def _points(self, share: Share, quantum: int, least: int = 0) -> Array:
        """Return the points of m in units of ``quantum``, summed over tiles, of one phase."""
        side, found = self.sides["m"], []
        for candidate, present in zip(side.list, self.present.reshape(-1), strict=True):
            each = [(math.ceil(p * share.points / present / quantum - 1e-9), n) for p, n in candidate.points]
            found.append(sum(max(least, blocks) * n for blocks, n in each) * present)
        return side.shape(found)

    def _deep(self, share: Share, quantum: int, least: int = 0) -> Array:
        """Return the points of k in units of ``quantum``, summed over tiles, of one phase; once if none."""
        side = self.sides["k"]
        if not share.depth:
            return np.full((1, 1, 1), float(max(1, least)))
        blocks = [[(math.ceil(p * share.depth / quantum - 1e-9), n) for p, n in c.points] for c in side.list]
        return side.shape([sum(max(least, b) * n for b, n in each) for each in blocks])
