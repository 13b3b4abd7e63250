"""The closed vocabularies of the simulator: roles, phases, reasons, and the units that execute ops."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal[
    "input", "weight", "master_weight", "activation", "error", "weight_gradient", "optimizer_state"
]
Phase = Literal["forward", "recompute", "backward", "update"]
StallReason = Literal[
    "operand_late",
    "drain_blocked",
    "port_busy",
    "write_pulse",
    "write_buffer_full",
    "dma_queue_full",
    "noc",
    "dram",
    "scrub",
    "wakeup",
    "dependency",
]
Unit = Literal["pe_array", "vector"]
Dataflow = Literal["ws", "os", "is"]
Convention = Literal["physical", "scale-sim"]
Technology = Literal["sram", "stt-mram"]
Accumulate = Literal["fp32", "fp16", "bf16", "int32"]  # what products are added in
Format = Literal["fp64", "fp32", "bf16", "fp16", "int64", "int32", "int16", "int8", "uint8", "bool"]

WRITE_BACK: Final = "dma"  # ``reader_layer`` of reads that take a copy to DRAM: no layer's own

ROLES: Final[tuple[Role, ...]] = get_args(Role)
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
STALL_REASONS: Final[tuple[StallReason, ...]] = get_args(StallReason)
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

FORMAT_BYTES: Final[dict[Format, int]] = {
    "fp64": 8,
    "fp32": 4,
    "bf16": 2,
    "fp16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
