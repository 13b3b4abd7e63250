"""What each column of the run folder means; ``docs/run-folder.md`` is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.trace.schema import EXTRA_TABLES, TABLES
from accelsim.words import STALL_REASONS

_NAMES: Final = {
    "layer": "module path of the op's layer; empty where the step itself is the owner",
    "phase": "forward, recompute, backward or update",
    "op": "name of the op, unique in the run",
    "tensor": "name of the tensor",
    "role": "role of the tensor (input, weight, master_weight, activation, error, weight_gradient, "
    "optimizer_state); empty for standing power",
}

MEANING: Final[dict[str, dict[str, str]]] = {
    "ops": {
        "op": _NAMES["op"],
        "layer": _NAMES["layer"],
        "phase": _NAMES["phase"],
        "kind": "gemm or vector",
        "m": "rows of the GEMM's result (product of the axes); 0 for a vector op",
        "n": "columns of the result",
        "k": "length of the sums",
        "groups": "how many such GEMMs: batch axes and groups",
        "macs": "multiply-accumulates the op needs",
        "folds": "array-sized tiles of the stationary operand, all tiles together",
        "compute_cycles": "cycles of the closed form for the whole op, untiled",
        "array_busy_cycles": "cycles that the executed tiles took on the array",
        "start_ps": "start; an op that rides on another's drain has an empty window at that op's end",
        "end_ps": "end; busy + stalls + idle = end - start",
        "busy_ps": "the executing unit computed",
        "idle_ps": "the executing unit had nothing to do",
        "dram_read_bytes": "bytes read from DRAM for this op",
        "dram_write_bytes": "bytes written to DRAM for this op",
        **{f"stall_{r}_ps": f"the executing unit waited for `{r}`" for r in STALL_REASONS},
        "unit": "pe_array or vector: the unit that executes the op",
        "fused_into": "op on whose drain this one rides; empty if none",
        "layout": "how streams lie to their unit: along, absorbed, im2col, unit, twice or word (layout.md)",
        "tiles": "tiles executed",
        "tile": "chosen tile sizes and loop order, outermost first",
    },
    "spans": {
        "component": "pe_array, vector, dma.read, dma.write, dram, or spad.GROUP (1r1w: .read and .write)",
        "category": "compute, vector, load, read, write, fill, writeback, or stall",
        "reason": "of a stall; empty otherwise",
        "op": _NAMES["op"],
        "layer": _NAMES["layer"],
        "phase": _NAMES["phase"],
        "tensor": "tensor that is moved; empty if none",
        "queued_ps": "when it was asked for; queued <= start <= end",
        "start_ps": "start",
        "end_ps": "end",
        "busy_ps": "busy time inside the span, at most end - start: its transactions may have gaps",
        "count": "words, cycles or transactions",
        "bytes": "bytes moved",
        "repeat": "how often the span occurs; 1: once",
        "period_ps": "time from one occurrence to the next",
    },
    "energy": {
        "component": "pe_array, accumulator, im2col, vector, spad.GROUP(.buffer), noc, transpose, "
        "dma, dram or static",
        "action": "what was done: mac.FORMAT, rmw, read, write, leakage, ...: energy.md",
        "op": _NAMES["op"],
        "role": _NAMES["role"],
        "phase": _NAMES["phase"],
        "layer": _NAMES["layer"],
        "count": "how often, exactly; 0 for standing power",
        "price_pj": "energy of one; energy = count x price",
        "powered_ps": "for standing power: for how long",
        "price_w": "for standing power: watts; energy = price x time",
        "energy_pj": "energy of the row; all rows add up to the total",
    },
    "residencies": {
        "bank_group": "name of the bank group that holds the copy",
        "tensor": _NAMES["tensor"],
        "role": _NAMES["role"],
        "copy_class": "population of copies that share their history",
        "parent_class": "population that it was copied from; empty for an original or a product",
        "origin": "produced, filled (from DRAM) or moved",
        "fate": "dropped or written_back",
        "phase_written": "phase of the write",
        "phase_read": "phase of the read",
        "layer": "producer's module path",
        "reader_layer": "reader's module path",
        "read_index": "0 for the first read of the copy, 1 for the second, ...",
        "bin": "of the time since the write: edges are the distinct round(10^(k/10)) ps, k = 0..160; lower "
        "edge inclusive, first and last bins open",
        "count": "pieces of copies that were read so",
        "bytes": "their bytes",
        "dwell_byte_ps": "sum of bytes x time since the write, exact",
        "gap_byte_ps": "sum of bytes x time since the previous read or write, exact",
        "reads": "reads",
    },
    "copies": {
        "bank_group": "name of the bank group that holds the copy",
        "tensor": _NAMES["tensor"],
        "copy_class": "population of copies that share their history",
        "box": "which part of the tensor, low:high per dimension; of a buffered copy in the shape in which "
        "its reader sees it",
        "read_index": "0 for the first read of the copy, 1 for the second, ...",
        "reader_layer": "reader's module path",
        "phase_read": "phase of the read",
        "written_ps": "when the copy was written; up to 0: in the step before",
        "read_ps": "when it was read",
        "bytes": "bytes read",
    },
    "errors": {
        "bank_group": "name of the bank group that holds the copy",
        "tensor": _NAMES["tensor"],
        "role": _NAMES["role"],
        "copy_class": "population of copies that share their history",
        "parent_class": "population that it was copied from; empty for an original or a product",
        "origin": "produced, filled (from DRAM) or moved",
        "layer": "producer's module path",
        "reader_layer": "reader's module path; dma: the read of a write-back",
        "phase_written": "phase of the write",
        "phase_read": "phase of the read",
        "read_index": "0 for the first read of the copy, 1 for the second, ...",
        "bit_field": "which bits of an element: all, or the field of a tensor that is split by bits",
        "reads": "reads",
        "bits": "bits read, all reads together; the means below weight by them",
        "dwell_ps": "mean time since the write",
        "gap_ps": "mean time since the copy's access before, a read or the write",
        "p_write": "probability that the write left the bit wrong; each p is per bit, this and the next four "
        "as if there were no other cause, before correction, and where the bank is scrubbed since the last "
        "scrub: words that were lost before are in p_stored and p_total alone",
        "p_retention": "that thermal flips since the write leave it wrong",
        "p_read_disturb": "that the disturbs of the copy's reads before this one leave it wrong; a read "
        "senses before it disturbs",
        "p_sense": "that it is stored right and sensed wrong, this once",
        "p_inherited": "that it was wrong as it was written: what the copy's parent was read as when it was "
        "written back, after correction",
        "p_stored": "that it is stored wrong at this read, of all causes but sensing",
        "p_new": "that it is stored wrong if it was stored right at the copy's access before; p_stored at "
        "read 0, before which nothing was read",
        "p_back": "that it is stored right if it was stored wrong at the copy's access before; 0 at read 0",
        "p_total": "that it is delivered wrong: sensed, and after correction where the bank corrects",
        "expected_flips": "bits x p_total",
    },
}

WHEN: Final[dict[str, str]] = {
    "residencies": "Where tensors are split by bits there are two more columns: `bit_field` (which bits of "
    "an element: all, or the name of the field) and `bits` (the exact number behind `bytes`, rounded up).",
    "copies": "Only where tensors were traced (`--trace-tensor`). One row per read of a piece of a copy.",
    "errors": "Only where a bank group of the machine has a device. The rows of `residencies.parquet` with "
    "the bins of the dwell, and the fates of the copies, together; groups without a device have rows too, "
    "with what their copies inherited. A training draws the bits that are stored wrong by `p_stored` at a "
    "copy's first read, lets right ones go wrong with `p_new` and wrong ones come right with `p_back` at "
    "each later one, and adds `p_sense` anew each time; where the bank corrects, `p_total` is what is left.",
}


def markdown(table: str, meaning: Mapping[str, Mapping[str, str]] = MEANING) -> str:
    """Return the reference of ``table`` as a Markdown table."""
    schema = {**TABLES, **EXTRA_TABLES}[table]
    rows = [f"| `{column}` | {kind} | {meaning[table][column]} |" for column, kind in schema.items()]
    lines = ["| column | type | meaning |", "|---|---|---|", *rows]
    return "\n".join([WHEN[table], "", *lines] if table in WHEN else lines) + "\n"
