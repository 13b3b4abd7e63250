"""The resolved machine: every number the mapping and the machine need, in base units, with its source.

Bytes are whole bytes, times whole picoseconds, energies picojoules, powers milliwatts, areas mm2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from accelsim.words import Convention, Dataflow, Format, Role, Technology


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One number of the machine and where it comes from (a key of docs/sources.md or ``assumed``)."""

    key: str
    value: float | int | str
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeArray:
    """The PE array. ``mac_pj`` has one multiply-accumulate's energy per operand format."""

    rows: int
    cols: int
    dataflow: Dataflow
    convention: Convention
    mac_pj: Mapping[Format, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulator:
    """Partial-sum memory under the array's columns; ``rmw_pj`` is one element's read-modify-write.

    ``overflow`` names the bank group that takes partial sums that do not fit; empty: the group in which
    the output is placed.
    """

    capacity_bytes: int
    element_bytes: int
    rmw_pj: float
    overflow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """``cycles[function]`` is the cycles that one lane takes per element; ``pj[function]`` its energy."""

    lanes: int
    cycles: Mapping[str, int]
    pj: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankGroup:
    """``count`` equal banks of ``subbanks`` macros each. Word energies and cycles are one macro's."""

    name: str
    technology: Technology
    count: int
    subbanks: int
    capacity_bytes: int  # of the whole group
    word_bytes: int
    ports: Literal["1rw", "1r1w"]
    read_latency_ps: int
    read_cycle_ps: int
    write_cycle_ps: int
    read_pj: float  # per word
    write_pj: float
    leakage_mw: float  # of the whole group
    area_mm2: float

    @property
    def lanes(self) -> int:
        """Macros that serve words at the same time."""
        return self.count * self.subbanks


@dataclass(frozen=True, slots=True, kw_only=True)
class Dma:
    """``outstanding`` transfers may be in flight per direction; short rows pay whole ``burst_bytes``."""

    descriptor_latency_ps: int
    outstanding: int
    burst_bytes: int
    pj_per_bit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """Flat DRAM: a bandwidth, a latency, an energy per bit each way, a standing power."""

    bandwidth_bytes_per_s: int
    latency_ps: int
    read_pj_per_bit: float
    write_pj_per_bit: float
    background_mw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noc:
    """Wires between banks and array: energy per bit over the machine's mean distance, added latency."""

    pj_per_bit: float
    latency_ps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingChoices:
    """What the mapper is told."""

    objective: Literal["time", "dram"]
    fusion: Literal["none", "epilogue"]
    depthwise: Literal["array"]
    dgrad: Literal["zero-insert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The whole resolved machine."""

    name: str
    clock_hz: int
    node_nm: int
    temperature_k: float
    pe_array: PeArray
    accumulator: Accumulator
    vector: VectorUnit
    banks: Mapping[str, BankGroup]  # in the order of the file
    granularity_bytes: int
    noc: Noc
    dma: Dma
    dram: Dram
    im2col_line_buffer_bytes: int
    mapping: MappingChoices
    static_mw: float
    host_gap_ps: int
    formats: Mapping[Role, Format | None]  # None: the workload's
    placement: Mapping[Role, tuple[str, ...]]  # bank groups in order of preference; () : DRAM only
    sources: tuple[Sourced, ...]

    @property
    def area_mm2(self) -> float:
        """Area of all banks."""
        return sum(b.area_mm2 for b in self.banks.values())
