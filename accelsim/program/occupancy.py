"""Which bytes of a bank group hold data during an op, and which are used: for what may be off or asleep.

An op's window is also that of its neighbours' transfers: write-backs of the one before, fills of the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from accelsim.program.program import Kernel, Program, Region


def occupied(program: Program, kernels: Sequence[Kernel], index: int, group: str) -> list[Region]:
    """Return the regions of a group that hold copies of kernel ``index``, or buffers of ``kernels``."""
    held = [c.region for c in program.copies if c.first <= index <= c.last]
    return [r for r in (*held, *_buffers(kernels)) if r.group == group]


def used(program: Program, index: int, group: str) -> list[Region]:
    """Return the regions of a group that kernel ``index`` or its neighbours read, write, fill or send off."""
    near = program.kernels[max(0, index - 1) : index + 2]
    copies = [program.copies[i].region for i in sorted(_copies(near))]
    return [r for r in (*copies, *_buffers(near)) if r.group == group]


def woken(program: Program, index: int) -> list[str]:
    """Return the groups that hold data which kernel ``index`` or a neighbour uses, and those before did not.

    Before the first kernel nothing is used.
    """
    kernels = program.kernels
    now = _copies(kernels[max(0, index - 1) : index + 2])
    before = _copies(kernels[max(0, index - 2) : index + 1]) if index else set()
    slept = (program.copies[i] for i in sorted(now - before))
    return list(dict.fromkeys(c.region.group for c in slept if c.first < index or c.carried_from is not None))


def covered(regions: Iterable[Region]) -> int:
    """Return the bytes that lie in any of the regions."""
    end = total = 0
    for low, size in sorted(extent for region in regions for extent in region.extents):
        total += max(0, low + size - max(low, end))
        end = max(end, low + size)
    return total


def _copies(kernels: Sequence[Kernel]) -> set[int]:
    bound = {b.copy for k in kernels for b in (*k.reads, *k.writes) if b.copy is not None}
    return bound | {i for k in kernels for i in k.write_back}


def _buffers(kernels: Sequence[Kernel]) -> Iterator[Region]:
    for one in kernels:
        for binding in (*one.reads, *one.writes):
            yield from binding.slots
        if one.psum is not None and one.psum.region is not None:
            yield one.psum.region
