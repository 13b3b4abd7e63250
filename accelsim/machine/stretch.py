"""What a stretch of a kernel's run added to the books, and the same under the names of an alike kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from accelsim.machine.heads import Head
from accelsim.machine.kernel_run import KernelRun, slot_key
from accelsim.machine.state import Booking, SlotAccess, State
from accelsim.program.program import Binding, Copy, Kernel
from accelsim.trace.copies import Reader, RowKey, Sums
from accelsim.trace.recorder import Part, Window
from accelsim.trace.spans import Int, Spans
from accelsim.words import WRITE_BACK

Slots = tuple[bool, int]  # written?, binding
Rows = dict[Slots, dict[RowKey, Sums]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was booked between two heads of one kernel's run.

    Attributes:
        sums: Counts and times.
        spans: A block of the recorder's.
        rows: What the slots of each binding have seen.
        accesses: Of copies and slots; ``bindings`` says through which binding each went.
    """

    kernel: Kernel
    sums: Window
    spans: Int
    rows: Rows
    accesses: tuple[Booking | SlotAccess, ...]
    bindings: tuple[tuple[str, int], ...]


def stretch_of(state: State, run: KernelRun, first: Head, last: Head) -> Stretch:
    """Return what was booked from one head to the other."""
    recorder = state.recorder
    accesses = tuple(state.journal[first.journal : last.journal])
    return Stretch(
        kernel=run.kernel,
        sums=recorder.sums(first.window, last.window),
        spans=recorder.spans.block(first.spans, last.spans),
        rows=run.rows(first.turns, last.turns),
        accesses=accesses,
        bindings=tuple(_through(run, a) for a in accesses),
    )


def _through(run: KernelRun, access: Booking | SlotAccess) -> tuple[str, int]:
    if isinstance(access, SlotAccess):
        return ("writes" if access.key[0] else "reads"), access.key[1]
    return run.where[id(access.binding)]


def is_own(stretch: Stretch, spans: Spans) -> bool:
    """Return whether all of it is the kernel's own, so that an alike kernel would do the same."""
    kernel = stretch.kernel
    ops, tensors = {p.op for p in kernel.accounts}, {"", *tensors_of(kernel)}
    return (
        all(part.op in ops for _, _, part, _ in stretch.sums.counts)
        and all(name in ops for kind, name, _ in stretch.sums.times if kind == "op")
        and all(x.part.op in ops and x.tensor in tensors for x in spans.labels(stretch.spans))
    )


def renamed(stretch: Stretch, run: KernelRun, spans: Spans) -> Stretch:
    """Return what the kernel of ``run``, which is alike, books where ``stretch`` was booked."""
    here, there = stretch.kernel, run.kernel
    if here is there:
        return stretch
    parts = {a.op: run.parts[b.op] for a, b in zip(here.accounts, there.accounts, strict=True)}
    tensors = dict(zip(tensors_of(here), tensors_of(there), strict=True)) | {"": ""}
    return Stretch(
        kernel=there,
        sums=_sums(stretch.sums, parts),
        spans=spans.renamed(
            stretch.spans, lambda x: x._replace(part=parts[x.part.op], tensor=tensors[x.tensor])
        ),
        rows={slots: _rows(there, slots, rows) for slots, rows in stretch.rows.items()},
        accesses=tuple(
            _access(run, a, getattr(there, kind)[index])
            for a, (kind, index) in zip(stretch.accesses, stretch.bindings, strict=True)
        ),
        bindings=stretch.bindings,
    )


def _sums(sums: Window, parts: dict[str, Part]) -> Window:
    found = Window()
    for (component, action, part, role), n in sums.counts.items():
        found.counts[component, action, parts[part.op], role] += n
    for (kind, name, what), n in sums.times.items():
        found.times[kind, parts[name].op if kind == "op" else name, what] += n
    return found


def _rows(kernel: Kernel, slots: Slots, rows: dict[RowKey, Sums]) -> dict[RowKey, Sums]:
    out, index = slots
    binding = (kernel.writes if out else kernel.reads)[index]
    part = next(p for p in kernel.accounts if p.op == binding.op)
    key, reader = slot_key(kernel, binding, out), Reader(part.phase, WRITE_BACK if out else part.layer)
    return {(key, reader, i, b): sums for (_, _, i, b), sums in rows.items()}


def _access(run: KernelRun, access: Booking | SlotAccess, binding: Binding) -> Booking | SlotAccess:
    part = run.parts[binding.op]
    reader = Reader(part.phase, part.layer) if access.reader is not None else None
    if isinstance(access, SlotAccess):
        return access._replace(run=run, reader=reader)
    return access._replace(run=run, binding=binding, reader=reader)


def tensors_of(kernel: Kernel, copies: Sequence[Copy] = ()) -> list[str]:
    """Return the tensors that a kernel's spans name, evicted ones of ``copies`` among them."""
    names = [b.data.tensor for b in chain(kernel.reads, kernel.writes)]
    names += [copies[number].data.tensor for number in kernel.write_back] if copies else []
    return [*names, f"{kernel.leader.op}/partial sums"]
