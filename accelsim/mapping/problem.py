"""The question and the answer of the tile search of one GEMM."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, Operand
from accelsim.program.program import Cut, Side

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]
Budget = tuple[tuple[str, int], ...]  # bytes per bank group
SIDES: tuple[Side, Side, Side] = ("m", "n", "k")
ORDERS: tuple[tuple[Side, Side, Side], ...] = tuple((a, b, c) for a, b, c in itertools.permutations(SIDES))


@dataclass(frozen=True, slots=True)
class Part:
    """One operand of the search: its geometry, element bytes, bank group, and whether DRAM is involved.

    ``place``: ``resident`` (no DRAM), ``kept`` (filled once into its copy), ``buffered``.
    """

    operand: Operand
    element_bytes: int
    group: str
    place: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A GEMM and its surroundings; equal problems have equal answers."""

    groups: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    a: Part
    b: Part
    reads: tuple[Part, ...]  # riders' operands
    writes: tuple[Part, ...]
    psum_group: str
    expanded: str
    expansion: tuple[int, int]
    rider_rate: int
    objective: str

    @property
    def batch(self) -> int:
        """How many GEMMs of this shape there are."""
        return math.prod(a.size for a in self.groups)

    def axes(self, side: Side) -> tuple[Axis, ...]:
        """Return the axes of one side."""
        return {"m": self.m, "n": self.n, "k": self.k, "batch": self.groups}[side]


@dataclass(frozen=True, slots=True)
class Choice:
    """The tile chosen: cuts, order, slots, what is held whole, what it is expected to cost."""

    cuts: tuple[Cut, Cut, Cut]
    order: tuple[Side, Side, Side]
    keep: tuple[bool, bool]  # a, b held whole for the kernel
    slots: tuple[int, int, int]  # of a, b, results
    tile_elements: tuple[int, int, int]  # of a, b, results: the largest tile
    psum_elements: int  # in a bank; 0: in the accumulator, or none
    time_ps: int
    dram_bytes: int
    buffer_bytes: int
