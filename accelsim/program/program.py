"""What mapping makes and the machine runs: kernels over tiles, copies in banks, transfers.

A program holds no graph: names, boxes, bytes and places only. Kernels run in order; a kernel's tiles run
in the order of its loop nest and are enumerated on demand by ``accelsim.program.nests``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from accelsim.geometry import Axis, Operand, ceil_div
from accelsim.words import Format, Phase, Role, Unit

Side = Literal["batch", "m", "n", "k"]
Place = Literal["resident", "kept", "buffered"]
Way = Literal["along", "unit", "word"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Bytes of one bank group, as (offset, bytes) extents in order; data may be scattered over them."""

    group: str
    extents: tuple[tuple[int, int], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all extents."""
        return sum(n for _, n in self.extents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One tensor as stored, or a bit field of it: its names, shape and element size.

    Where a tensor is split by bits, each field is stored by itself, its bits packed: ``bits`` of every
    element, those at ``bit_places`` of the stored number, the lowest first. 0 bits: whole elements.

    ``order`` names the dimensions of more than one element that torch's tensor has, as they are stored,
    outermost first; empty: as torch has them. ``twin_of`` is the tensor that this is a second copy of.
    """

    tensor: str
    role: Role
    layer: str
    phase: Phase | None  # that produces it
    shape: tuple[int, ...]
    element_bytes: int
    element_format: Format
    bit_field: str = "all"
    bit_places: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    twin_of: str = ""

    @property
    def original(self) -> str:
        """The graph's tensor that this holds, be it a second copy."""
        return self.twin_of or self.tensor

    @property
    def key(self) -> str:
        """The tensor's name, or that of its field."""
        return f"{self.tensor}[{self.bit_field}]" if self.bits else self.tensor

    @property
    def bits(self) -> int:
        """Bits of an element of a tensor that is split; 0: it is not."""
        return len(self.bit_places)

    @property
    def unit(self) -> int:
        """Bytes of an element; of a bit field its bits, as residencies count them."""
        return self.bits or self.element_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor, or of its field."""
        return self.bytes_of(math.prod(self.shape))

    def bytes_of(self, elements: int) -> int:
        """Return the bytes that so many elements take; those of a bit field lie bit by bit."""
        return ceil_div(elements * self.bits, 8) if self.bits else elements * self.element_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A tensor held whole in a bank group from kernel ``first`` to kernel ``last``.

    Attributes:
        copy_class: Name of this population of copies in the residency table.
        parent_class: What it was made from: the class whose bytes a fill brings back; empty for the
            original in DRAM or a product.
        origin: How it came here.
        fate: What becomes of it.
        carried_from: Index of the copy that held it at the end of the step before (itself, or the
            copy of the updated tensor), or None.
        takes_over: Index of the copy whose place it takes element by element (an update in place).
    """

    data: Data
    region: Region
    copy_class: str
    parent_class: str
    origin: Literal["produced", "filled"]
    fate: Literal["dropped", "written_back"]
    first: int
    last: int
    carried_from: int | None = None
    takes_over: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One operand of a kernel and where its bytes are.

    ``resident``: in the copy. ``kept``: filled from DRAM into the copy, each box once. ``buffered``:
    through ``slots``, filled from DRAM before the tile or written back after it.
    ``free_after`` is the kernel that must be through before the region is written: the last that used its
    bytes before (-1: none), or a later one where fills are held back so as not to lie too long.
    ``ready_after`` is the kernel whose write-backs put the data into DRAM (-1: there from the start).

    ``way`` says how the stream between bank and unit is served: ``along`` the grain, turned by the transpose
    ``unit``, or a ``word`` for every few elements. ``fetch`` then is how many elements come with a word, and
    that word's bytes; None: words are used whole. ``lie`` is how the operand lies to the unit, for reports.
    """

    operand: Operand
    data: Data
    op: str
    place: Place
    group: str
    copy: int | None = None
    slots: tuple[Region, ...] = ()
    copy_class: str = ""
    parent_class: str = ""
    free_after: int = -1
    ready_after: int = -1
    way: Way = "along"
    fetch: tuple[int, int] | None = None
    lie: str = ""

    def stream_bytes(self, nbytes: int) -> int:
        """Return the bytes that pass the bank's port for ``nbytes`` of elements."""
        if self.fetch is None:
            return nbytes
        elements, word = self.fetch
        return -(-nbytes // (self.data.element_bytes * elements)) * word


@dataclass(frozen=True, slots=True, kw_only=True)
class OpPart:
    """One op inside a kernel, for the accounts.

    ``functions`` are (function, count per element) on the vector unit; ``elements`` per kernel.
    """

    op: str
    layer: str
    phase: Phase
    kind: Literal["gemm", "vector"]
    macs: int
    elements: int
    functions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a side's axes are cut: axes before ``axis`` one by one, ``axis`` in steps, the rest whole."""

    axis: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A side of a nest that is cut twice: into panels, and these into tiles.

    The panels go at the side's place in the order of the nest; the tiles of a panel go innermost of all.
    ``cut`` makes the panels; every tile lies in one of them.
    """

    side: Side
    cut: Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Psum:
    """Where partial sums of one output block wait between k tiles: a region, or the accumulator."""

    region: Region | None
    free_after: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPass:
    """One walk: which reads it streams, which outputs it writes, cycles per element, by function."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    functions: tuple[tuple[str, int], ...]
    op: int = 0  # the part that the functions belong to


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Ops that run as one: a leader (GEMM or vector nest) and those that ride on its drain.

    Attributes:
        sides: Axes of the nest; a vector nest has only ``m``.
        cuts: One per side.
        order: Sides outermost first.
        panel: The side whose tiles go innermost, panel by panel; None: no side is cut twice.
        reads: Operands of the leader first (``a``, ``b`` of a GEMM), then those of the riders.
        rider_reads: Indices into ``reads`` that are read as results drain.
        further: Indices into ``reads`` of the further bit fields of a GEMM's ``a`` and ``b``; those of other
            operands that are split are among the ``rider_reads``, ``writes`` and ``passes``.
        writes: Results that are written; none of a tensor that only riders consume.
        decomposed: A strided input gradient runs as one dense GEMM per phase, without inserted zeros.
        passes: Walks of a vector nest.
        functions: Vector work per drained element, (index into ``parts`` and then ``sums``, function, count).
        sums: Of normalisations whose first pass rides here; the rest of them is the next kernel.
        write_back: Copies written to DRAM when the kernel is done.
    """

    index: int
    unit: Unit
    parts: tuple[OpPart, ...]
    sides: Mapping[Side, tuple[Axis, ...]]
    cuts: Mapping[Side, Cut]
    order: tuple[Side, ...]
    reads: tuple[Binding, ...]
    writes: tuple[Binding, ...]
    rider_reads: tuple[int, ...] = ()
    functions: tuple[tuple[int, str, int], ...] = ()
    passes: tuple[VectorPass, ...] = ()
    separable: int = 0
    panel: Panel | None = None
    psum: Psum | None = None
    psum_role: Role = "activation"
    result_blocks: int = 1  # column blocks that leave together
    result_rows: int = 0  # points of the streamed side whose results leave at once; 0: a whole column block
    expanded: Literal["a", "b"] | None = None
    expansion: tuple[int, int] = (1, 1)  # array-side bytes = expanded bytes * first / second
    unfolding: tuple[int, int] = (1, 1)  # bytes read from a line buffer likewise
    decomposed: bool = False
    sums: tuple[OpPart, ...] = ()
    mac_format: Format = "fp32"
    write_back: tuple[int, ...] = ()
    further: tuple[tuple[int, ...], ...] = ()
    estimate_ps: int = 0
    estimate_dram_bytes: int = 0

    @property
    def accounts(self) -> tuple[OpPart, ...]:
        """All ops that something in this kernel is done for."""
        return (*self.parts, *self.sums)

    @property
    def leader(self) -> OpPart:
        """The op that the others ride on."""
        return self.parts[0]

    def size(self, side: Side) -> int:
        """Return the extent of a side."""
        total = 1
        for axis in self.sides[side]:
            total *= axis.size
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A step as the machine runs it."""

    name: str
    kernels: tuple[Kernel, ...]
    copies: tuple[Copy, ...]
    capacity_bytes: Mapping[str, int]
    peak_bytes: Mapping[str, int]
    cold: bool
    estimate_ps: int
    estimate_dram_bytes: int
    planned_capacity_bytes: Mapping[str, int]
    notes: tuple[str, ...] = ()
