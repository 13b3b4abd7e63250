"""Where writes fall: the lines of a bank group that a step writes most often.

Buffers are written for every tile, copies once or twice a step: the mean over a group hides what wears out
first. Every region that a kernel writes takes its share of the op's writes, spread evenly over its bytes;
shares add up where regions of different kernels lie at the same addresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from accelsim.program.program import Binding, Kernel, Program, Region
from accelsim.trace.recorder import CountKey

Load = tuple[int, int, float]  # from, to, writes of every word in between


def hottest_writes(program: Program, counts: Mapping[CountKey, int], group: str, word_bytes: int) -> float:
    """Return how often the most written words of ``group`` are written in one step.

    Bindings of one op and role share that op's writes by the size of their tensors; words that lie in
    several regions get the sum.
    """
    written: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (component, action, part, role), n in counts.items():
        if component == f"spad.{group}" and action == "write":
            written[part.op, role] += n
    changes: defaultdict[int, float] = defaultdict(float)
    for kernel in program.kernels:
        for low, high, times in _loads(program, kernel, written, group, word_bytes):
            changes[low] += times
            changes[high] -= times
    most = at = 0.0
    for _, change in sorted(changes.items()):
        at += change
        most = max(most, at)
    return most


def _loads(
    program: Program, kernel: Kernel, written: Mapping[tuple[str, str], int], group: str, word_bytes: int
) -> Iterator[Load]:
    """Yield what a kernel writes into each extent of ``group``."""
    found: defaultdict[tuple[str, str], list[tuple[Region, int]]] = defaultdict(list)
    for binding, into in _written(kernel):
        region = _region(program, binding)
        if into and binding.group == group and region is not None:
            found[binding.op, binding.data.role].append((region, binding.data.nbytes))
    psum = kernel.psum.region if kernel.psum is not None else None
    if psum is not None and psum.group == group:
        found[kernel.leader.op, kernel.psum_role].append((psum, psum.nbytes))
    for key, regions in found.items():
        total = sum(nbytes for _, nbytes in regions)
        for region, nbytes in regions:
            words = written.get(key, 0) * nbytes / total if total else 0.0
            for low, size in region.extents:
                yield low, low + size, words * word_bytes / region.nbytes


def _written(kernel: Kernel) -> Iterator[tuple[Binding, bool]]:
    """Yield every operand, and whether the kernel writes it into the bank: results, and what is filled."""
    yield from ((b, b.place != "resident") for b in kernel.reads)
    yield from ((b, True) for b in kernel.writes)


def _region(program: Program, binding: Binding) -> Region | None:
    """Return the bytes of a binding: its copy's, or of all its slots together."""
    if binding.copy is not None:
        return program.copies[binding.copy].region
    extents = tuple(e for slot in binding.slots for e in slot.extents)
    return Region(group=binding.group, extents=extents) if extents else None
