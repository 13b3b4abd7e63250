"""The description of a machine: the keys of ``arch/*.toml``, their units and defaults.

The docstring under a key is its line in ``docs/arch-reference.md``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from accelsim.config.bank import BankSpec
from accelsim.config.block import Block
from accelsim.config.ranges import RangeSpec
from accelsim.config.spec import (
    Bytes,
    BytesPerSecond,
    Flag,
    Hertz,
    Kelvin,
    Millimetres,
    Milliwatts,
    Nanometres,
    Parts,
    PartsOrNone,
    Picojoules,
    PicojoulesPerBit,
    PicojoulesPerBitMm,
    Share,
    SomeBytes,
    Spec,
    SquareMm,
    Text,
    Time,
    later,
    up_to,
    written,
)
from accelsim.units import SIZE
from accelsim.words import ROLES, Accumulate, Convention, Dataflow, Format, Role

VectorFunction = Literal[
    "move",
    "add",
    "mul",
    "max",
    "compare",
    "mask",
    "div",
    "sqrt",
    "rsqrt",
    "exp",
    "log",
    "tanh",
    "sigmoid",
    "gelu",
]


class PeArraySpec(Block):
    """``[pe_array]``: the array of processing elements."""

    rows: Parts
    """Rows of the array."""
    cols: Parts
    """Columns of the array."""
    dataflow: Dataflow = "ws"
    """What stays in the PEs: weights, outputs or inputs."""
    convention: Convention = "physical"
    """How folds are timed: `physical` overlaps the loading of the next fold, `scale-sim` is strictly
    serial."""
    accumulate: Accumulate | None = None
    """Format in which products are added; default: fp32 for floats, int32 for integers."""
    mac_energy: dict[Format, Picojoules] = Field(default_factory=dict)
    """Energy of one multiply-accumulate by operand format; formats left out come from the compute table at
    `node`, with the add of `accumulate`."""
    register_energy: PicojoulesPerBit | None = None
    """One bit taken into a PE's register; default: a bit of an int32 add of the compute table at `node`."""
    clock_energy: Picojoules | None = None
    """One PE's clock in one cycle, whether it computes or not; default: half a register bit's energy for each
    bit of its operand and partial-sum registers."""
    zero_gating: Flag = False
    """Multiply-accumulates with an operand that is zero cost nothing (`zero_rate`); their registers
    and clock do."""


class AccumulatorSpec(Block):
    """``[accumulator]``: the partial-sum memory under the array's columns."""

    capacity: Bytes = written("64 KiB")
    """Of all columns together; 0 B is legal: every partial sum then goes to a bank group."""
    format: Literal["fp32", "int32"] = "fp32"
    """Format of a partial sum."""
    energy: Picojoules | None = None
    """One element's read-modify-write; without it twice an 8 KB SRAM access of the compute table at
    `node`."""
    overflow: Text = ""
    """Bank group that takes partial sums that do not fit; empty: the group of the output."""


class VectorSpec(Block):
    """``[vector]``: the vector unit."""

    lanes: Parts = 64
    """Elements that it works on at the same time."""
    rates: dict[VectorFunction, Parts] = Field(default_factory=dict)
    """Cycles that one lane takes per element, by function (defaults: move to mask 1, div sqrt rsqrt exp
    log 4, tanh sigmoid 8, gelu 12)."""
    energies: dict[VectorFunction, Picojoules] = Field(default_factory=dict)
    """Energy per element by function; left out: from the compute table at `node` and the default rates."""


class ScratchpadSpec(Block):
    """``[scratchpad]``: what all bank groups share."""

    interleave: Literal["word", "line", "tile"] = "word"
    """How addresses go over a group. `word`: consecutive words over all its macros, which serve together.
    `line`: consecutive lines over its banks, each of which serves alone. `tile`: a bank's addresses are
    consecutive, so that what is smaller than a bank lies in one, or in two neighbours."""
    line: SomeBytes = written("256 B")
    """Bytes of a line of `interleave = "line"`."""
    skew: PartsOrNone = 0
    """Row r of a tensor lies r x skew banks further than it would, with `line` and `tile`."""
    granularity: SomeBytes = written("4 KiB")
    """Bytes of one simulated bank transaction."""
    layout: Literal["along", "modelled"] = "along"
    """`along`: every stream counts as lying along its grain; `modelled`: words hold neighbours of the
    innermost stored dimension, and the mapper chooses how a stream across them is served."""


class TransposeSpec(Block):
    """``[transpose]``: a unit between banks and array that turns blocks of elements."""

    rate: Bytes = written("0 B")
    """Bytes that it turns in one cycle; 0 B: there is no such unit."""
    block: Parts = 16
    """Rows and columns of a block; of longer words only so many elements are used at a time."""
    latency: Time = written("0 ns")
    """Added to the time in which the first block comes together."""
    energy: PicojoulesPerBit | None = None
    """Per bit turned; default: two registers' (`pe_array.register_energy`), one filled and one passed on."""
    area: SquareMm | None = None
    """Of the unit; default: two blocks of 32-bit elements in flip-flops, scaled to `node`."""


class NocSpec(Block):
    """``[noc]``: the wires between banks and array."""

    energy: PicojoulesPerBitMm = written("0.08 pJ/bit/mm")
    """Per bit and millimetre."""
    distance: Millimetres | None = None
    """Mean distance of a transfer; default: half the square root of the area of all banks."""
    latency: Time = written("0 ns")
    """Added to every transfer."""


class DmaSpec(Block):
    """``[dma]``: the engine between DRAM and banks."""

    descriptor_latency: Time = written("20 cycles")
    """From a descriptor's issue to its first request."""
    outstanding: Parts = 8
    """Transfers in flight per direction."""
    burst: Annotated[SomeBytes, up_to("1 MiB", SIZE)] = written("64 B")
    """Short rows pay whole bursts."""
    energy: PicojoulesPerBit = written("0.05 pJ/bit")
    """Per bit moved."""


class DramSpec(Block):
    """``[dram]``: off-chip memory."""

    model: Annotated[Literal["flat"], later("burst", use='"flat"')] = "flat"
    """A bandwidth, a latency and an energy per bit."""
    bandwidth: BytesPerSecond = written("25.6 GB/s")
    """Sustained, reads and writes together."""
    latency: Time = written("100 ns")
    """From the request to the first byte."""
    read_energy: PicojoulesPerBit = written("8 pJ/bit")
    """Per bit read."""
    write_energy: PicojoulesPerBit = written("8 pJ/bit")
    """Per bit written."""
    background: Milliwatts = written("0 mW")
    """Standing power."""


class Im2colSpec(Block):
    """``[im2col]``: the unit that unfolds convolution inputs."""

    line_buffer: Bytes = written("0 B")
    """Bytes of the buffer that holds rows of an image between banks and array, so that overlapping windows
    read them once; 0 B is none."""
    energy: Picojoules | None = None
    """One byte written to the buffer or read from it; default: of an access to an 8 KB SRAM of the compute
    table at `node`."""


class MappingSpec(Block):
    """``[mapping]``: what the mapper is told."""

    objective: Literal["time", "dram", "energy", "edp", "mram_writes"] = "time"
    """What is minimised first: the estimated time, DRAM bytes, energy, energy x time, or bytes written into
    STT-MRAM. Ties go to DRAM bytes (`time`) or to time. With `energy` and `edp` prices decide the mapping."""
    fusion: Literal["none", "epilogue", "epilogue+stats"] = "epilogue"
    """What rides on the drain of the op before: elementwise ops, and with `epilogue+stats` also the sums of a
    normalisation over what that op makes."""
    depthwise: Literal["array", "vector", "diagonal"] = "array"
    """Where depthwise convolutions run: on the array one channel at a time, on the vector unit, or on the
    array with several channels side by side on diagonal blocks."""
    dgrad: Literal["zero-insert", "decomposed"] = "zero-insert"
    """How the input gradient of a strided convolution is computed: with zeros between the errors, or as one
    dense GEMM for each phase of the stride."""


class StaticSpec(Block):
    """``[static]``: logic that is always powered."""

    power: Milliwatts = written("0 mW")
    """Leakage and clock of everything but the banks."""


class HostSpec(Block):
    """``[host]``: what happens between two steps."""

    gap: Time = written("0 ns")
    """Idle time between two steps; counts in leakage and in how long data stay."""


Fields = dict[Text, tuple[Text, ...]]  # bank groups by bit field
Groups = Annotated[
    Annotated[tuple[Text, ...], Tag("[list]")] | Annotated[Fields, Tag("[fields]")],
    Discriminator(lambda value: "[fields]" if isinstance(value, dict) else "[list]"),
]


class PlacementSpec(Spec):
    """``[placement]``: the bank groups for each role, in order of preference; default: all, in the order of
    the file; an empty list is DRAM only. Or a table of bit fields with a list each, such as
    `{ "sign+exponent" = ["sram"], mantissa = ["mram"] }`: docs/mapping.md."""

    policy: Text = "roles"
    """`roles`: the lists below as they are; `sensitivity`: the cheapest group whose errors training
    tolerates for as long as the data lie there; the lists say which groups may be taken. Or the name of an
    installed plug-in ([plug-ins](plugins.md)); the lists are for the tensors that it leaves out."""
    sensitivity: Text = ""
    """What training tolerates: a file of `accelsim sensitivity`, relative to the file that names it."""
    input: Groups | None = None
    """Of the step's batch."""
    weight: Groups | None = None
    """Of weights."""
    master_weight: Groups | None = None
    """Of master copies of weights."""
    activation: Groups | None = None
    """Of what a layer reads from another."""
    error: Groups | None = None
    """Of gradients of activations."""
    weight_gradient: Groups | None = None
    """Of gradients of weights."""
    optimizer_state: Groups | None = None
    """Of what the optimizer keeps."""

    @property
    def lists(self) -> dict[Role, tuple[str, ...]]:
        """The lists that are given, by role; of fields all groups that any of them names."""
        given = {role: getattr(self, role) for role in ROLES} | {
            r: _together(f) for r, f in self.fields.items()
        }
        return {role: groups for role, groups in given.items() if groups is not None}

    @property
    def fields(self) -> dict[Role, Fields]:
        """The tables of bit fields that are given, by role."""
        given = {role: getattr(self, role) for role in ROLES}
        return {role: groups for role, groups in given.items() if isinstance(groups, dict)}


def _together(fields: Fields) -> tuple[str, ...]:
    return tuple(dict.fromkeys(group for groups in fields.values() for group in groups))


class ArchSpec(Spec):
    """A machine: the keys above the first table, and the tables."""

    WHOLE: ClassVar[frozenset[str]] = frozenset({"placement"})
    """Tables in which a table replaces another one: its entries belong together."""

    clock: Hertz = written("1 GHz")
    """Of array, banks and vector unit."""
    node: Nanometres = written("22 nm")
    """Technology node; the array table has 22 nm and 45 nm."""
    temperature: Kelvin = written("350 K")
    """Of the whole machine; the array table's leakage law holds from 300 K to 400 K (flavour HP: to 350
    K)."""
    macro_table: Text = "nvsim-min64"
    """Array table of the bank groups: `nvsim-min64`, `nvsim-read-edp`, or a `.csv` file, relative to the file
    that names it (`accelsim macros import`)."""
    iso_area_with: Text = ""
    """Name or path of a machine: the capacity of the iso_area groups is solved so that all banks together
    take at most its bank area."""
    pe_array: PeArraySpec
    accumulator: AccumulatorSpec = AccumulatorSpec()
    vector: VectorSpec = VectorSpec()
    bank: dict[str, BankSpec]
    scratchpad: ScratchpadSpec = ScratchpadSpec()
    transpose: TransposeSpec = TransposeSpec()
    noc: NocSpec = NocSpec()
    dma: DmaSpec = DmaSpec()
    dram: DramSpec = DramSpec()
    im2col: Im2colSpec = Im2colSpec()
    mapping: MappingSpec = MappingSpec()
    static: StaticSpec = StaticSpec()
    host: HostSpec = HostSpec()
    toggle_rate: dict[Role, Share] = Field(default_factory=dict)
    """Share of a written word's bits that change, by role; default 0.5. `accelsim run
    --activity` takes it as measured in training."""
    zero_rate: dict[Role, Share] = Field(default_factory=dict)
    """Share of a role's elements that are zero, for `pe_array.zero_gating`; default 0. Measured likewise."""
    format: dict[Role, Format] = Field(default_factory=dict)
    """What each role is stored in, and what its MACs cost; default: the workload's own. `master_weight`, if
    given and not what weights are stored in: each parameter has a master copy in this format, which the
    update reads and writes, and from which it writes the weight."""
    prices: dict[Text, RangeSpec] = Field(default_factory=dict)
    """What prices may be, for `accelsim uncertainty`; it changes no result."""
    placement: PlacementSpec = PlacementSpec()
