"""The resolved machine: every number the mapping and the machine need, in base units, with its source.

Bytes are whole bytes, times whole picoseconds, energies picojoules, powers milliwatts, areas mm2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from accelsim.config.bitfields import bits_of
from accelsim.resolve.bank_group import BankGroup
from accelsim.words import ROLES, Convention, Dataflow, Format, Role

Interleave = Literal["word", "line", "tile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One number of the machine and where it comes from (a key of docs/sources.md or ``assumed``)."""

    key: str
    value: float | int | str
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeArray:
    """The PE array.

    Attributes:
        mac_pj: Energy of one multiply-accumulate per operand format.
        accumulate_bits: Of a partial sum, per operand format.
        register_pj_per_bit: Energy of one bit taken into a PE's register.
        clock_pj: One PE's clock in one cycle, per operand format.
        zero_gating: Whether multiply-accumulates with a zero operand cost nothing.
    """

    rows: int
    cols: int
    dataflow: Dataflow
    convention: Convention
    mac_pj: Mapping[Format, float]
    accumulate_bits: Mapping[Format, int] = field(default_factory=dict)
    register_pj_per_bit: float = 0.0
    clock_pj: Mapping[Format, float] = field(default_factory=dict)
    zero_gating: bool = False


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
class Transpose:
    """The unit that turns streams: ``rate_bytes`` per cycle, in blocks of ``block`` x ``block`` elements."""

    rate_bytes: int
    block: int
    latency_ps: int
    pj_per_bit: float
    area_mm2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingChoices:
    """What the mapper is told."""

    objective: Literal["time", "dram", "energy", "edp", "mram_writes"]
    fusion: Literal["none", "epilogue", "epilogue+stats"]
    depthwise: Literal["array", "vector", "diagonal"]
    dgrad: Literal["zero-insert", "decomposed"]

    @property
    def priced(self) -> bool:
        """Whether energies decide the mapping: then it is another one at other prices."""
        return self.objective in ("energy", "edp")


Changes = tuple[float, float]  # shares of a written word's bits that go to 0, and to 1


def changes(toggle: float, rises: float = 0.5) -> Changes:
    """Return the shares of bits that go to 0 and to 1: of those that change, ``rises`` go to 1."""
    return toggle * (1 - rises), toggle * rises


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What data look like.

    Attributes:
        zeros: Share of the elements that are zero.
        toggles: Share of a written word's bits that change.
        rises: Share of those that go from 0 to 1.
    """

    zeros: float = 0.0
    toggles: float = 0.5
    rises: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerated:
    """The errors that training tolerates in one class of tensors, and what that means in each bank group.

    Attributes:
        layer: Glob of the layers that read the tensors.
        rate: Tolerated probability that a bit is read wrong.
        measured: Whether the file says so; else the class is not in it, and nothing is tolerated.
        least: By group: the probability with which a bit is read wrong right after its write.
        dwell_ps: By group: how long data may lie until ``rate`` is reached; 0: not at all. Without an entry:
            for as long as may be.
    """

    role: Role
    layer: str
    rate: float
    measured: bool
    least: Mapping[str, float]
    dwell_ps: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Placement by sensitivity: what training tolerates, and what it costs to keep a bit.

    Attributes:
        file, workload: What was measured, and where it stands.
        tolerated: In the order of the file; of the entries of a role the first whose glob fits counts.
        measured_with: How the trainings stored and protected their data, for notes.
        access_pj_per_bit: By role and group, of writing a bit once and reading it once.
        leakage_pj_per_bit_ps: By group, of keeping a bit: its share of the whole group's leakage.
    """

    file: str
    workload: str
    tolerance: float
    clean_accuracy: float
    tolerated: tuple[Tolerated, ...]
    access_pj_per_bit: Mapping[Role, Mapping[str, float]]
    leakage_pj_per_bit_ps: Mapping[str, float]
    measured_with: str = ""

    def of(self, role: Role, reader: str) -> Tolerated:
        """Return the entry of what ``reader`` reads."""
        return next(t for t in self.tolerated if t.role == role and fnmatchcase(reader, t.layer))

    def cost_pj(self, role: Role, group: str, lies_ps: int) -> float:
        """Return the energy of a bit that is written once, lies for ``lies_ps`` and is read once."""
        return self.access_pj_per_bit[role][group] + lies_ps * self.leakage_pj_per_bit_ps[group]


class BitField(NamedTuple):
    """Some bits of every element of a tensor, in groups of their own.

    ``places`` are the bits, 0 the lowest, ascending.
    """

    name: str
    places: tuple[int, ...]
    groups: tuple[str, ...]

    @property
    def bits(self) -> int:
        """How many bits of an element."""
        return len(self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The whole resolved machine.

    Attributes:
        toggle: Share of a written word's bits that change, by role.
        content: What data look like: by role, and where it has been measured by ``role layer``.
        placement: Bank groups by role; where its tensors are split by bits, also by ``role field``.
        layout: Whether streams across the grain of their words cost more than those along it.
        transpose: The unit that turns streams; None: there is none.
    """

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
    placement: Mapping[str, tuple[str, ...]]  # bank groups in order of preference; () : DRAM only
    sources: tuple[Sourced, ...]
    toggle: Mapping[Role, float] = field(default_factory=dict)
    content: Mapping[str, Content] = field(default_factory=dict)
    sensitivity: Sensitivity | None = None  # placement by it; None: by role alone
    policy: str = ""  # plug-in that places tensors
    policy_identity: str = ""  # with the distribution and its version
    im2col_pj_per_byte: float = 0.0  # in or out of the line buffer
    interleave: Interleave = "word"
    line_bytes: int = 0  # of ``interleave = "line"``
    skew: int = 0
    layout: Literal["along", "modelled"] = "along"
    transpose: Transpose | None = None

    @property
    def area_mm2(self) -> float:
        """Area of all banks."""
        return sum(b.area_mm2 for b in self.banks.values())

    @property
    def chunk_bytes(self) -> int:
        """The most that DMA moves at once: the granularity, or a beat of the widest group."""
        return max(self.granularity_bytes, *(b.lanes * b.word_bytes for b in self.banks.values()))

    def fields_of(self, role: Role) -> tuple[BitField, ...]:
        """Return the bit fields that a role's tensors are split into, highest first; (): they are not."""
        form, found = self.formats.get(role), []
        if form is not None:
            for key, groups in self.placement.items():
                of, _, name = key.partition(" ")
                if of == role and name:
                    found.append(BitField(name, bits_of(name, form), groups))
        return tuple(sorted(found, key=lambda field: -max(field.places)))

    @property
    def split(self) -> dict[Role, tuple[BitField, ...]]:
        """The bit fields of the roles whose tensors are split."""
        found = {role: self.fields_of(role) for role in ROLES}
        return {role: fields for role, fields in found.items() if fields}

    @property
    def changes(self) -> dict[Role, Changes]:
        """Share of a written word's bits that change to 0, and to 1, by role."""
        return {role: changes(toggle, self.content_of(role).rises) for role, toggle in self.toggle.items()}

    def content_of(self, role: str, layer: str = "") -> Content:
        """Return what the data of a role look like, in a layer where that has been measured."""
        found = self.content.get(f"{role} {layer}") or self.content.get(role)
        return found or Content(toggles=self.toggle.get(role, 0.5))  # type: ignore[call-overload]
