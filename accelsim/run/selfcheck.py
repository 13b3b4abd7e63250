"""Closed-form checks on a machine: what a page of arithmetic says, beside what is simulated.

One GEMM that fills the array once is run, as one tile, on the machine as it is described; its cycles, counts,
traffic and energies are compared with products of its shape and the machine's numbers. Ports and DRAM are
asked on their own. Where a number is a bound, not an equality, the check says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from accelsim.config.mappingfile import MappingFileSpec, OpSpec
from accelsim.config.origins import Origins
from accelsim.errors import AccelsimError, ConfigError, MappingError
from accelsim.frontend.topology import parse
from accelsim.geometry import ceil_div
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph, mapped
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine, PeArray
from accelsim.run.columns import op_rows, ops_columns
from accelsim.run.energy import energy_rows, sums
from accelsim.run.memorychecks import Check, memory_checks
from accelsim.trace.recorder import Part, Recorder
from accelsim.words import FORMAT_BYTES, Format, Role


def self_checks(machine: Machine) -> list[Check]:
    """Return all checks of ``machine``, in a fixed order."""
    found = list(memory_checks(machine))
    try:
        found += _one_tile(machine)
    except AccelsimError as fault:
        found.append(Check("one tile", "", 0, 0, note=str(fault)))
    return found


@dataclass(frozen=True, slots=True)
class _Tile:
    """A GEMM that fills the array once: its sides, the extent that streams, and the program of it."""

    mnk: tuple[int, int, int]
    streamed: int
    graph: Graph
    program: Program


def _shape(array: PeArray, streamed: int) -> tuple[int, int, int]:
    if array.dataflow == "ws":
        return streamed, array.cols, array.rows
    if array.dataflow == "is":
        return array.cols, streamed, array.rows
    return array.rows, array.cols, streamed


def _graph(mnk: tuple[int, int, int]) -> Graph:
    m, n, k = mnk
    return parse(f"Layer,M,N,K\nlayer,{m},{n},{k}\n", "tile", "self-check")


def _tile(machine: Machine) -> _Tile:
    """Return the GEMM in one tile, with the longest stream of which both operands fit whole.

    Left to itself the mapper may well cut it, to fill while it computes, and read an operand twice. It is
    left to itself where no such tile fits, or bit fields part the operands: then there are bounds only.
    """
    longest = streamed = 2 * max(machine.pe_array.rows, machine.pe_array.cols)
    while streamed and not machine.split:
        mnk = _shape(machine.pe_array, streamed)
        graph = _graph(mnk)
        whole = OpSpec(tile=dict(zip(("m", "n", "k"), mnk, strict=True)))
        with suppress(ConfigError, MappingError):
            by_hand = MappingFileSpec(op={"*": whole}), Origins("self-check")
            return _Tile(mnk, streamed, graph, mapped(graph, machine, by_hand=by_hand)[0])
        streamed //= 2
    mnk = _shape(machine.pe_array, longest)
    graph = _graph(mnk)
    return _Tile(mnk, longest, graph, map_graph(graph, machine))


def _one_tile(machine: Machine) -> Iterator[Check]:
    tile = _tile(machine)
    (m, n, k), graph, program = tile.mnk, tile.graph, tile.program
    recorder = run_program(machine, program)
    (op,) = graph.ops
    columns = ops_columns(op_rows(graph, program, recorder), machine, ("array_busy_cycles", "tiles"))
    array = machine.pe_array
    rows, cols = array.rows, array.cols
    os_serial = array.dataflow == "os" and array.convention == "scale-sim"
    skew = rows + cols - 2 if os_serial else 2 * rows + cols - 2
    formula = f"T + {'R' if os_serial else '2 R'} + C - 2"
    busy = int(next(iter(columns["array_busy_cycles"])))
    tiles = int(next(iter(columns["tiles"])))
    yield Check(
        f"one tile of {m} x {n} x {k}: cycles of the array",
        formula if tiles == 1 else f"{formula}; cut into {tiles} tiles",
        tile.streamed + skew,
        busy,
        at_least=tiles > 1,
    )
    sizes = {o.tensor: math.prod(o.shape) for o in (op.gemm.a, op.gemm.b, op.gemm.c)}  # type: ignore[union-attr]
    tensors = [graph.tensors[name] for name in sizes]
    nbytes = [_pieces(machine, t.role, t.dtype, sizes[t.name]) for t in tensors]
    yield from _counts(machine, recorder, tile.mnk, nbytes, tiles > 1)
    part = Part(op.name, op.layer, op.phase)
    yield from _energies(machine, recorder, part, tile.mnk, nbytes, tiles > 1)
    at_best = max(
        ceil_div(m * n * k, rows * cols) * 10**12 // machine.clock_hz,
        sum(map(sum, nbytes)) * 10**12 // machine.dram.bandwidth_bytes_per_s,
    )
    yield Check(
        "its time, ps", "at least MACs / peak and bytes / bandwidth", at_best, recorder.end_ps, at_least=True
    )


def _pieces(machine: Machine, role: Role, dtype: Format, elements: int) -> list[int]:
    """Return the bytes of a tensor; where it is split by bits, of each of its fields."""
    fields = machine.fields_of(role)
    if fields:
        return [ceil_div(elements * field.bits, 8) for field in fields]
    return [elements * FORMAT_BYTES[machine.formats.get(role) or dtype]]


def _in_bursts(machine: Machine, nbytes: Sequence[Sequence[int]]) -> list[int]:
    burst = machine.dma.burst_bytes
    return [sum(ceil_div(piece, burst) * burst for piece in pieces) for pieces in nbytes]


def _counts(
    machine: Machine,
    recorder: Recorder,
    mnk: tuple[int, int, int],
    nbytes: Sequence[Sequence[int]],
    cut: bool,
) -> Iterator[Check]:
    macs = sum(v for (c, a, _, _), v in recorder.counts.items() if c == "pe_array" and a.startswith("mac."))
    yield Check("its multiply-accumulates", "m n k", math.prod(mnk), macs)
    a, b, c = _in_bursts(machine, nbytes)
    moved, by = recorder.dram_bytes, ", by bit field" * any(len(pieces) > 1 for pieces in nbytes)
    for name, what, expected, found in (
        ("bytes read from DRAM", "A + B", a + b, moved["read"]),
        ("bytes written to DRAM", "C", c, moved["write"]),
    ):
        yield Check(name, f"{what}, in whole bursts{by}", expected, found, at_least=cut)


def _energies(
    machine: Machine,
    recorder: Recorder,
    part: Part,
    mnk: tuple[int, int, int],
    nbytes: Sequence[Sequence[int]],
    cut: bool,
) -> Iterator[Check]:
    """Compare energies with counts x prices, the counts made here; of what is ``cut`` they are the least."""
    by_action: dict[str, float] = sums(energy_rows(machine, recorder, [part]))["by_action"]  # type: ignore[assignment]
    array = machine.pe_array
    fmt = next(a for _, a, _, _ in recorder.counts if a.startswith("mac.")).removeprefix("mac.")
    for name, action, formula, expected in _array_by_hand(array, fmt, mnk):
        found, again = by_action[f"pe_array {action}.{fmt}"], cut and action == "shift"
        yield Check(f"energy of {name}, pJ", formula, expected, found, at_least=again)
    dram = machine.dram
    a, b, c = _in_bursts(machine, nbytes)
    yield Check(
        "energy of DRAM traffic, pJ",
        "bits x pJ/bit",
        8 * ((a + b) * dram.read_pj_per_bit + c * dram.write_pj_per_bit),
        by_action.get("dram read", 0.0) + by_action.get("dram write", 0.0),
        at_least=cut,
    )
    always = [bank for bank in machine.banks.values() if bank.power_gating == "none"]
    watts = math.fsum(bank.leakage_mw for bank in always) * 1e-3
    leaked = math.fsum(by_action.get(f"spad.{bank.name} leakage", 0.0) for bank in always)
    span = recorder.end_ps + machine.host_gap_ps
    yield Check("leakage of ungated banks, pJ", "power x time", watts * span, leaked)


def _array_by_hand(
    array: PeArray, fmt: str, mnk: tuple[int, int, int]
) -> Iterator[tuple[str, str, str, float]]:
    """Yield what it is, its action, the formula, and the energy in pJ of one fold's work on the array."""
    macs, out = math.prod(mnk), array.dataflow == "os"
    bits, wide = 8 * FORMAT_BYTES[fmt], array.accumulate_bits[fmt]  # type: ignore[index]
    operands, register = 1 + out, array.register_pj_per_bit
    mac = array.mac_pj[fmt]  # type: ignore[index]
    through = mnk[0] * mnk[1] if out else macs // _streamed(mnk, array.dataflow)
    shifted = through * (array.rows + 1) // 2
    yield "multiplying", "mac", f"m n k x {mac:.4g} pJ", macs * mac
    formula = f"{operands} x m n k x {bits} bits"
    yield "operand registers", "operand_register", formula, operands * macs * bits * register
    yield "sum registers", "psum_register", f"m n k x {wide} bits", macs * wide * register
    formula = "elements x (R + 1) / 2 registers"
    yield "shifting in or out", "shift", formula, shifted * (wide if out else bits) * register


def _streamed(mnk: tuple[int, int, int], dataflow: str) -> int:
    return mnk[0] if dataflow == "ws" else mnk[1]
