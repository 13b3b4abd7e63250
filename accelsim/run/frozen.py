"""``--mapping-from``: the tiles, order and placement of another run, on a machine with other technology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from accelsim.config.mappingfile import stored_mapping
from accelsim.errors import InputError
from accelsim.graph.ir import Graph
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.stored import stored_machine
from accelsim.run.plans import Mapped, key_of, mapped_of
from accelsim.trace.runs import Run


def frozen_program(run: Run, graph: Graph, graph_hash: str, machine: Machine, cold: bool) -> Mapped:
    """Return the program that ``run`` executed, to be executed by ``machine``, and its record.

    Raises:
        InputError: Another workload, or a machine that the program does not fit, naming the keys.
    """
    manifest, where = run.manifest, str(run.path)
    if manifest["graph"] != graph_hash or manifest["decides"]["cold"] != cold:
        raise InputError(
            f"--mapping-from {where}: is a run of {run.summary['workload']}, batch {run.summary['batch']}, "
            f"phase {run.summary['phase']}{', cold' * manifest['decides']['cold']}: this is another step"
        )
    if "mapping_from" in manifest["decides"]:
        first = manifest["decides"]["mapping_from"][:8]
        raise InputError(f"--mapping-from {where}: has its own mapping from run {first}; name that one")
    mapped_on = stored_machine(manifest["machine"], where)
    mapped_on = replace(
        mapped_on, banks={n: mapped_on.banks[n] for n in manifest.get("bank_order", mapped_on.banks)}
    )
    by_hand, given_hash = None, ""
    if "mapping_file" in manifest:
        told = manifest["mapping_file"]
        by_hand, given_hash = stored_mapping(told["given"], f"{where}: {told['name']}"), told["sha256"]
    if manifest.get("program") != key_of(graph_hash, mapped_on, cold, given_hash):
        raise InputError(
            f"--mapping-from {where}: mapped by another version of accelsim or numpy; run it again"
        )
    program, record = mapped_of(graph, graph_hash, mapped_on, cold=cold, by_hand=by_hand)
    faults = list(_misfits(program, mapped_on, machine))
    if faults:
        raise InputError(f"--mapping-from {where}: does not fit {machine.name}: {'; '.join(faults)}")
    capacity = {name: bank.capacity_bytes for name, bank in machine.banks.items()}
    return Mapped(replace(program, capacity_bytes=capacity), record)


def _misfits(program: Program, old: Machine, new: Machine) -> Iterator[str]:
    """Yield what keeps a program from running on a machine."""
    same: dict[str, list[object]] = {
        "[pe_array] rows, cols, dataflow, convention": [
            (m.pe_array.rows, m.pe_array.cols, m.pe_array.dataflow, m.pe_array.convention) for m in (old, new)
        ],
        "[mapping] depthwise, dgrad": [(m.mapping.depthwise, m.mapping.dgrad) for m in (old, new)],
        "[im2col] line_buffer": [m.im2col_line_buffer_bytes for m in (old, new)],
        "[accumulator] capacity, format": [
            (m.accumulator.capacity_bytes, m.accumulator.element_bytes) for m in (old, new)
        ],
        "[format] of the roles": [dict(m.formats) for m in (old, new)],
        "[scratchpad] layout, [transpose] block": [
            (m.layout, m.transpose.block if m.transpose is not None else 0) for m in (old, new)
        ],
        "names of the bank groups": [tuple(m.banks) for m in (old, new)],
    }
    yield from (f"{what} differ" for what, of in same.items() if of[0] != of[1])
    for name, needed in _ends(program).items():
        bank, before = new.banks.get(name), old.banks[name]
        if bank is None:
            continue
        if bank.word_bytes != before.word_bytes:
            yield f"bank.{name}.word differs"
        if bank.capacity_bytes < needed:
            yield f"bank.{name} holds {bank.capacity_bytes} bytes where {needed} are used"


def _ends(program: Program) -> dict[str, int]:
    """Return the end of the last extent in use, by bank group."""
    regions = [c.region for c in program.copies]
    for kernel in program.kernels:
        regions += [slot for b in (*kernel.reads, *kernel.writes) for slot in b.slots]
        regions += [kernel.psum.region] if kernel.psum is not None and kernel.psum.region is not None else []
    ends: dict[str, int] = {}
    for region in regions:
        last = max((low + size for low, size in region.extents), default=0)
        ends[region.group] = max(ends.get(region.group, 0), last)
    return ends
