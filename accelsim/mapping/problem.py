"""The question and the answer of the tile search of one GEMM."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, Operand, ceil_div
from accelsim.mapping.given import Imposed
from accelsim.mapping.im2col import Window
from accelsim.program.program import Cut, Panel, Side
from accelsim.resolve.machine import Content

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]
Budget = tuple[int, ...]  # bytes per bank group, in the machine's order
SIDES: tuple[Side, Side, Side] = ("m", "n", "k")
ORDERS: tuple[tuple[Side, Side, Side], ...] = tuple((a, b, c) for a, b, c in itertools.permutations(SIDES))
PANEL_ORDERS = tuple(order for order in ORDERS if order[-1] == "k")  # of nests with a side cut twice


class Where(NamedTuple):
    """Where an operand's bytes are during a kernel.

    ``place``: ``resident`` (no DRAM), ``kept`` (filled once into its copy), ``buffered``. ``split`` has the
    group and the bits of every field of a tensor that is split by bits; ``group`` is then the first one's.
    """

    place: str
    group: str
    split: tuple[tuple[str, int], ...] = ()

    def shares(self) -> list[tuple[str, float]]:
        """Return the groups and what of the operand's bytes is in each."""
        total = sum(bits for _, bits in self.split)
        return [(group, bits / total) for group, bits in self.split] or [(self.group, 1.0)]

    def divided(self, nbytes: int) -> list[tuple[str, int]]:
        """Return the groups and the whole bytes in each, rounded up, that ``nbytes`` come to."""
        total = sum(bits for _, bits in self.split)
        return [(g, ceil_div(nbytes * bits, total)) for g, bits in self.split] or [(self.group, nbytes)]


class Piece(NamedTuple):
    """One operand: its geometry, without its tensor's name, and element bytes.

    ``fields`` are the bits of the fields of a tensor that is split by bits.
    """

    operand: Operand
    element_bytes: int
    fields: tuple[int, ...] = ()

    def nbytes(self, elements: int) -> int:
        """Return the bytes of so many elements, all fields together."""
        return sum(ceil_div(elements * n, 8) for n in self.fields) or elements * self.element_bytes

    def streams(self) -> tuple[int, ...]:
        """Return the bits of what moves by itself: of every field, or of a whole element."""
        return self.fields or (8 * self.element_bytes,)


class Part(NamedTuple):
    """One operand and where it is: the groups of its fields, or its one group."""

    operand: Operand
    element_bytes: int
    groups: tuple[str, ...]
    place: str
    fields: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    """What decides a kernel's energy beside its traffic and its time.

    Attributes:
        contents: What the data of each operand look like, reads first.
        shift_pj: One element's way through half of the array's rows.
        clock_w: Power of the clock while the kernel has the array.
    """

    contents: tuple[Content, ...]
    shift_pj: float
    clock_w: float


@dataclass(frozen=True, slots=True)
class Problem:
    """A GEMM and what rides on it, wherever its operands are; equal problems have equal answers."""

    groups: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    a: Piece
    b: Piece
    reads: tuple[Piece, ...]  # riders' operands
    writes: tuple[Piece, ...]
    expanded: str
    window: Window | None  # that a line buffer lies behind
    rider_rate: int
    decomposed: bool = False  # into one dense GEMM per phase
    together: int = 1  # channels side by side on the array's diagonal
    rates: Rates | None = None  # where energies decide
    imposed: Imposed | None = None
    runs: tuple[int, ...] = ()  # neighbours that each operand takes together, reads first; none: whole words

    @property
    def batch(self) -> int:
        """How many GEMMs of this shape follow one another."""
        *outer, last = [1, *(a.size for a in self.groups)]
        return math.prod(outer) * ceil_div(last, self.together)

    def axes(self, side: Side) -> tuple[Axis, ...]:
        """Return the axes of one side."""
        return {"m": self.m, "n": self.n, "k": self.k, "batch": self.groups}[side]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the operands of a problem are, and the group of its partial sums."""

    a: Where
    b: Where
    reads: tuple[Where, ...]
    writes: tuple[Where, ...]
    psum_group: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The tile chosen: cuts, order, what is held whole, what it is expected to cost."""

    cuts: tuple[Cut, Cut, Cut]
    order: tuple[Side, Side, Side]
    panel: Panel | None
    panel_slots: int  # of an operand whose tiles go innermost, panel by panel
    keep: tuple[bool, bool]  # a, b held whole for the kernel
    psum_elements: int  # in a bank; 0: in the accumulator, or none
    time_ps: int
    dram_bytes: int
    way: int = 0  # of ``ways.choices``: how streams across their grain are served


def keeps(problem: Problem, places: Places) -> list[tuple[bool, bool]]:
    """Return which of a and b may be held whole for the kernel beside what the plan keeps anyway."""
    a = [False, True] if places.a.place == "buffered" and problem.batch == 1 else [False]
    b = [False, True] if places.b.place == "buffered" and problem.batch == 1 else [False]
    if problem.imposed is not None and problem.imposed.hold is not None:
        a, b = (one if i in problem.imposed.hold else [False] for i, one in enumerate((a, b)))
    return list(itertools.product(a, b))
