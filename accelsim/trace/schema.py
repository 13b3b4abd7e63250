"""Columns of the run folder's tables: one place that writers and readers share.

A type is a pyarrow type name; ``dict`` is a dictionary-encoded string, ``decimal`` is decimal128(38, 0).
"""

from __future__ import annotations

from typing import Final

from accelsim.words import STALL_REASONS

SCHEMA_VERSION: Final = 1

OPS: Final[dict[str, str]] = {
    "op": "string",
    "layer": "dict",
    "phase": "dict",
    "kind": "dict",  # gemm | vector
    "m": "int64",
    "n": "int64",
    "k": "int64",
    "groups": "int64",
    "macs": "int64",
    "folds": "int64",
    "compute_cycles": "int64",
    "array_busy_cycles": "int64",
    "start_ps": "int64",
    "end_ps": "int64",
    "busy_ps": "int64",
    "idle_ps": "int64",
    "dram_read_bytes": "int64",
    "dram_write_bytes": "int64",
    **{f"stall_{r}_ps": "int64" for r in STALL_REASONS},
    "unit": "dict",  # pe_array | vector
    "fused_into": "dict",  # op whose drain it rides on; empty if none
    "layout": "dict",
    "tiles": "int64",
    "tile": "string",  # chosen tile sizes and loop order, outermost first
}

SPANS: Final[dict[str, str]] = {
    "component": "dict",  # pe_array, vector, dma.read, dma.write, dram, spad.GROUP[.read|.write]
    "category": "dict",  # compute load read write fill writeback vector | stall
    "reason": "dict",  # of a stall; empty otherwise
    "op": "dict",
    "layer": "dict",
    "phase": "dict",
    "tensor": "dict",
    "queued_ps": "int64",
    "start_ps": "int64",
    "end_ps": "int64",
    "busy_ps": "int64",  # <= end - start: transactions of a span may have gaps
    "count": "int64",  # words, cycles or transactions in the span
    "bytes": "int64",
    "repeat": "int64",  # how often the span recurs, every period_ps; 1: once
    "period_ps": "int64",
}

ENERGY: Final[dict[str, str]] = {
    "component": "dict",  # pe_array accumulator vector spad.GROUP[.buffer] noc dma dram static
    "action": "dict",  # mac rmw read write leakage background logic ...
    "op": "dict",
    "role": "dict",  # empty for leakage and other standing power
    "phase": "dict",
    "layer": "dict",
    "count": "int64",
    "price_pj": "double",
    "powered_ps": "int64",  # rows of standing power: count is 0, energy = price_w * powered_ps
    "price_w": "double",
    "energy_pj": "double",
}

RESIDENCIES: Final[dict[str, str]] = {
    "bank_group": "dict",
    "tensor": "dict",
    "role": "dict",
    "copy_class": "dict",
    "parent_class": "dict",
    "origin": "dict",  # produced | filled | moved
    "fate": "dict",  # dropped | written_back
    "phase_written": "dict",
    "phase_read": "dict",
    "layer": "dict",
    "reader_layer": "dict",
    "read_index": "int64",
    "bin": "int64",
    "count": "int64",
    "bytes": "int64",
    "dwell_byte_ps": "decimal",
    "gap_byte_ps": "decimal",
    "reads": "int64",
}

SPLIT: Final[dict[str, str]] = {  # further columns of residencies where tensors are split by bits
    "bit_field": "dict",
    "bits": "int64",  # exactly
}

COPIES: Final[dict[str, str]] = {
    "bank_group": "dict",
    "tensor": "dict",
    "copy_class": "dict",
    "box": "string",  # low:high per dimension; of a buffered copy in the shape in which its reader sees it
    "read_index": "int64",
    "reader_layer": "dict",
    "phase_read": "dict",
    "written_ps": "int64",  # up to 0: in the step before
    "read_ps": "int64",
    "bytes": "int64",
}

ERRORS: Final[dict[str, str]] = {  # of runs on machines where a bank group has a device
    "bank_group": "dict",
    "tensor": "dict",
    "role": "dict",
    "copy_class": "dict",
    "parent_class": "dict",
    "origin": "dict",
    "layer": "dict",
    "reader_layer": "dict",
    "phase_written": "dict",
    "phase_read": "dict",
    "read_index": "int64",
    "bit_field": "dict",  # all, unless a tensor is split by bits
    "reads": "int64",
    "bits": "int64",  # read, all reads together
    "dwell_ps": "double",  # mean time since the write
    "gap_ps": "double",  # mean time since the copy's access before
    "p_write": "double",
    "p_retention": "double",
    "p_read_disturb": "double",
    "p_sense": "double",
    "p_inherited": "double",
    "p_stored": "double",
    "p_new": "double",
    "p_back": "double",
    "p_total": "double",
    "expected_flips": "double",
}

ACTIVITY: Final[dict[str, str]] = {  # measured in training
    "role": "dict",
    "layer": "dict",
    "tensor": "dict",  # the parameter, of a weight, gradient or state; else empty
    "format": "dict",
    "reads": "int64",  # copies that were looked at
    "elements": "int64",  # looked at, all copies together
    "zeros": "double",  # share of elements that are 0
    "ones": "double",  # share of stored bits that are 1
    "toggles": "double",  # share of bits that differ from what the same place held a step before
    "rises": "double",  # share of these that are 1 now
    "low": "double",
    "high": "double",
}

TABLES: Final[dict[str, dict[str, str]]] = {
    "ops": OPS,
    "spans": SPANS,
    "energy": ENERGY,
    "residencies": RESIDENCIES,
}

EXTRA_TABLES: Final[dict[str, dict[str, str]]] = {  # that only some runs have
    "copies": COPIES,
    "errors": ERRORS,
}
