"""Which kernels of a program are alike: equal in all that decides times and counts, whatever their names.

A form is the kernel itself with every name taken out, so that a field that is added to it keeps kernels
apart until it is thought of here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from accelsim.geometry import Operand
from accelsim.program.program import Binding, Copy, Data, Kernel, OpPart, Program, Psum, Region

RESULTS = -1  # stands for the results of a kernel where its read bindings are numbered


def fill_need(binding: Binding) -> int:
    """Return how many kernels must have been written back before a binding may be filled."""
    return max(binding.free_after, binding.ready_after) + 1


def results_need(kernel: Kernel) -> int:
    """Return how many kernels must have been written back before a kernel's results may be written."""
    after = [b.free_after for b in kernel.writes]
    return max([*after, kernel.psum.free_after if kernel.psum is not None else -1], default=-1) + 1


def needs_of(kernel: Kernel) -> dict[int, int]:
    """Return what a kernel waits for: per read binding that is filled, and for its results."""
    fills = {i: fill_need(b) for i, b in enumerate(kernel.reads) if b.place != "resident"}
    return fills | {RESULTS: results_need(kernel)}


def forms_of(program: Program, begins: Callable[[int], Any]) -> list[int]:
    """Return a number per kernel; equal numbers mean kernels that differ in names and places only.

    And in what they wait for (``needs_of``): much of that has passed when it is asked for. ``begins`` says
    what else happens when a kernel begins.
    """
    seen: dict[str, int] = {}
    return [seen.setdefault(_form(k, program.copies, begins(k.index)), len(seen)) for k in program.kernels]


def _form(kernel: Kernel, copies: Sequence[Copy], begins: object) -> str:
    names: dict[str, str] = {}  # but ``sums`` keep theirs: what is done for another kernel's op stays apart
    evicted = [copies[number] for number in kernel.write_back]
    alike = replace(
        kernel,
        index=0,
        parts=tuple(_part(p, names) for p in kernel.parts),
        reads=tuple(_binding(b, names) for b in kernel.reads),
        writes=tuple(_binding(b, names) for b in kernel.writes),
        psum=_psum(kernel.psum),
        write_back=(),
        estimate_ps=0,
        estimate_dram_bytes=0,
    )
    return repr((alike, begins, [(_region(c.region), _data(c.data, names)) for c in evicted]))


def _name(name: str, names: dict[str, str]) -> str:
    """Return the number of a name within the kernel: which names are the same counts, not what they are."""
    return names.setdefault(name, str(len(names)))


def _part(part: OpPart, names: dict[str, str]) -> OpPart:
    return replace(part, op=_name(part.op, names), layer="", phase="forward")


def _binding(binding: Binding, names: dict[str, str]) -> Binding:
    seen: Operand = replace(binding.operand, tensor=_name(binding.operand.tensor, names))
    return replace(
        binding,
        operand=seen,
        data=_data(binding.data, names),
        op=_name(binding.op, names),
        copy=None if binding.copy is None else 0,
        slots=tuple(_region(r) for r in binding.slots),
        copy_class="",
        parent_class="",
        free_after=0,
        ready_after=0,
    )


def _data(data: Data, names: dict[str, str]) -> Data:
    twin_of = _name(data.twin_of, names) if data.twin_of else ""
    return replace(data, tensor=_name(data.tensor, names), twin_of=twin_of, layer="", phase=None)


def _region(region: Region) -> Region:
    return replace(region, extents=((0, region.nbytes),))


def _psum(psum: Psum | None) -> Psum | None:
    if psum is None:
        return None
    region = None if psum.region is None else _region(psum.region)
    return replace(psum, region=region, free_after=0)
