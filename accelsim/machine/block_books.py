"""The books of repeated blocks: what a stretch of kernels added, again under the names of alike ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from accelsim.geometry import Box
from accelsim.machine.kernel_run import slot_key
from accelsim.machine.state import SlotRows, State, Through
from accelsim.machine.stretch import tensors_of
from accelsim.trace.accesses import Accesses
from accelsim.trace.copies import Reader, RowKey, Sums
from accelsim.trace.recorder import OpTimes, Part, Window
from accelsim.trace.spans import Label
from accelsim.words import WRITE_BACK


@dataclass(frozen=True, slots=True)
class Marks:
    """How far the books had come at some instant."""

    window: int
    spans: int
    entries: int
    slot_rows: int
    tiles: int
    meters: tuple[int, ...]


class Books:
    """What is booked of the kernels of one run, and how to book it again."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.kernels = state.program.kernels
        self._of_op = {p.op: (k.index, i) for k in self.kernels for i, p in enumerate(k.parts)}
        self._entries: Accesses[Through] = Accesses()
        state.entries = self._entries

    def mark(self) -> Marks:
        """Return how far the books have come."""
        state, recorder = self.state, self.state.recorder
        for run in state.runs():
            state.collect(run)
        return Marks(
            recorder.turn(),
            len(recorder.spans),
            len(self._entries),
            len(state.slot_rows),
            recorder.tiles + recorder.tiles_skipped,
            state.meters(),
        )

    def again(self, since: Marks, until: Marks, kernels: range, ps: int, times: int) -> None:
        """Book what was booked between two marks another ``times`` times.

        ``kernels`` are those that began between them: each time all are as many further on, and all
        instants ``ps`` later.
        """
        recorder, per = self.state.recorder, len(kernels)
        spans = recorder.spans.block(since.spans, until.spans)
        entries = list(self._entries.between(since.entries, until.entries))
        rows = self.state.slot_rows[since.slot_rows : until.slot_rows]
        sums = recorder.sums(since.window)
        for n in range(1, times + 1):
            self._sums(sums, n * per)
            self._times(kernels, n * per, n * ps)
            named = recorder.spans.renamed(spans, partial(self._named, by=n * per))
            recorder.spans.again(named, n * ps)
            for through, box, at_ps in entries:
                self._enter(through, box, at_ps + n * ps, n * per)
            for row in rows:
                self._slots(row, n * per)
        recorder.tiles_skipped += (until.tiles - since.tiles) * times
        pairs = zip(since.meters, until.meters, strict=True)
        self.state.add_meters([(now - then) * times for then, now in pairs])

    def _part(self, part: Part, by: int) -> Part:
        kernel, place = self._of_op[part.op]
        there = self.kernels[kernel + by].parts[place]
        return Part(there.op, there.layer, there.phase)

    def _sums(self, sums: Window, by: int) -> None:
        window = self.state.recorder.window
        for (component, action, part, role), n in sums.counts.items():
            window.counts[(component, action, self._part(part, by), role)] += n
        for (kind, name, what), n in sums.times.items():
            if kind == "op":
                kernel, place = self._of_op[name]
                name = self.kernels[kernel + by].parts[place].op
            window.times[(kind, name, what)] += n

    def _times(self, kernels: range, by: int, ps: int) -> None:
        ops = self.state.recorder.ops
        for kernel in kernels:
            pairs = zip(self.kernels[kernel].parts, self.kernels[kernel + by].parts, strict=True)
            for here, there in pairs:
                ops[there.op] = _later(ops[here.op], ps)

    def _named(self, label: Label, by: int) -> Label:
        """Return the label with the part and the tensor that are in their place in the kernel ``by`` on."""
        there = self._part(label.part, by)
        if not label.tensor:
            return label._replace(part=there)
        index, _ = self._of_op[label.part.op]
        copies = self.state.program.copies
        here, its = tensors_of(self.kernels[index], copies), tensors_of(self.kernels[index + by], copies)
        tensor = next(to for at, to in zip(here, its, strict=True) if at == label.tensor)
        return label._replace(part=there, tensor=tensor)

    def _enter(self, through: Through, box: Box, at_ps: int, by: int) -> None:
        """Enter an access of a copy into that of the kernel ``by`` further on."""
        kernel = self.kernels[through.kernel + by]
        self._entries.add(through._replace(kernel=kernel.index), box, at_ps)
        if through.back:
            reader = Reader(kernel.leader.phase, WRITE_BACK)
            self.state.copies[kernel.write_back[through.which]].read(box, at_ps, reader)
            return
        binding = (kernel.reads if through.kind == "reads" else kernel.writes)[through.which]
        assert binding.copy is not None
        copy = self.state.copies[binding.copy]
        if through.reads:
            part = next(p for p in kernel.accounts if p.op == binding.op)
            copy.read(box, at_ps, Reader(part.phase, part.layer))
        else:
            copy.write(box, at_ps)

    def _slots(self, row: SlotRows, by: int) -> None:
        """Enter what slots have seen into the residencies of the kernel ``by`` further on."""
        kernel = self.kernels[row.kernel + by]
        binding = (kernel.writes if row.out else kernel.reads)[row.which]
        part = next(p for p in kernel.accounts if p.op == binding.op)
        key = slot_key(kernel, binding, row.out)
        reader = Reader(part.phase, WRITE_BACK if row.out else part.layer)
        rows: dict[RowKey, Sums] = {(key, reader, i, b): sums for (_, _, i, b), sums in row.rows.items()}
        self.state.recorder.histogram.merge(rows)
        self.state.slot_rows.append(SlotRows(kernel.index, row.out, row.which, rows))


def _later(times: OpTimes, ps: int) -> OpTimes:
    return replace(
        times, start_ps=times.start_ps + ps, end_ps=times.end_ps + ps, stall_ps=dict(times.stall_ps)
    )
