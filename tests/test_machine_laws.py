"""Laws of the machine that hold for any small program on any small machine."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accelsim.geometry import ceil_div
from accelsim.graph.ir import Graph, Op
from accelsim.machine.run import run_program
from accelsim.program.folds import compute_cycles, first_load, fold_tail
from accelsim.program.jobs import Fold, Stream, TileJob
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.program import Kernel, Program, Region
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.trace.recorder import Recorder
from accelsim.trace.spans import SpanRow
from accelsim.words import STALL_REASONS
from tests.strategies import (
    KIB,
    bank,
    conv_graphs,
    convs,
    gemm_graphs,
    gemms,
    machine,
    machines,
    mapped,
    simulated,
    step_graphs,
)

PS_PER_S = 10**12
Extent = tuple[int, int]


@dataclass(frozen=True)
class Run:
    """One run and what it was made from."""

    graph: Graph
    machine: Machine
    program: Program
    recorder: Recorder

    @cached_property
    def jobs(self) -> list[tuple[Kernel, list[TileJob]]]:
        """Every kernel with its tiles."""
        vector = self.machine.vector
        shape = array_shape(self.machine)
        return [(k, list(jobs_of(k, shape, dict(vector.cycles), vector.lanes))) for k in self.program.kernels]

    @cached_property
    def ops(self) -> dict[str, Op]:
        """Ops by name."""
        return {op.name: op for op in self.graph.ops}

    def folds(self) -> Iterator[tuple[Kernel, Fold]]:
        """Every fold of the program."""
        for kernel, jobs in self.jobs:
            for job in jobs:
                yield from ((kernel, fold) for fold in job.folds)

    def spans(self, component: str) -> list[SpanRow]:
        """The spans of one component."""
        return [s for s in self.recorder.spans if s.component == component]

    def counted(self, component: str, action: str) -> int:
        """The sum of one count over all ops and roles."""
        return sum(n for (c, a, _, _), n in self.recorder.counts.items() if (c, a) == (component, action))


def busy_stalls_and_idle_add_up(run: Run) -> None:
    """For every op and component each is at least 0 and together they are the time there was."""
    for name, times in run.recorder.ops.items():
        stalls = sum(times.stall_ps.values())
        busy = times.end_ps - times.start_ps - stalls - times.idle_ps
        assert busy >= 0, name
        assert times.idle_ps >= 0, name
        assert set(times.stall_ps) <= set(STALL_REASONS)
    for name, component in run.recorder.components.items():
        stalls = sum(component.stall_ps.values())
        assert component.busy_ps >= 0, name
        assert component.busy_ps + stalls <= run.recorder.end_ps, name
        assert set(component.stall_ps) <= set(STALL_REASONS)


def the_array_was_busy_with_its_ops(run: Run) -> None:
    """The array's busy time is the sum of its ops'; the vector unit's is at least that (it rides, too)."""
    busy: Counter[str] = Counter()
    for kernel in run.program.kernels:
        times = run.recorder.op(kernel.leader.op)
        waited = sum(times.stall_ps.values()) + times.idle_ps
        busy[kernel.unit] += times.end_ps - times.start_ps - waited
    assert run.recorder.component("pe_array").busy_ps == busy["pe_array"]
    assert run.recorder.component("vector").busy_ps >= busy["vector"]


def stalls_lie_apart_inside_their_op(run: Run) -> None:
    """A unit waits for one thing at a time, and only while it has an op."""
    for unit in ("pe_array", "vector"):
        stalls = sorted((s.start_ps, s.end_ps, s.part.op) for s in run.spans(unit) if s.category == "stall")
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(stalls))
        for start, end, op in stalls:
            times = run.recorder.op(op)
            assert times.start_ps <= start < end <= times.end_ps


def kernels_follow_one_another(run: Run) -> None:
    """One kernel at a time, in the order of the program; a rider has an empty window at its end."""
    now = 0
    for kernel in run.program.kernels:
        times = run.recorder.op(kernel.leader.op)
        assert now <= times.start_ps <= times.end_ps <= run.recorder.end_ps
        now = times.end_ps
        for rider in kernel.parts[1:]:
            other = run.recorder.op(rider.op)
            assert (other.start_ps, other.end_ps) == (now, now)


def spans_are_in_order(run: Run) -> None:
    """queued <= start <= end <= end of run; busy fits in."""
    for s in run.recorder.spans:
        assert 0 <= s.queued_ps <= s.start_ps <= s.end_ps, s
        assert 0 <= s.busy_ps <= s.end_ps - s.start_ps or s.component.startswith("spad."), s


def macs_are_counted(run: Run) -> None:
    """Each GEMM's MACs are m n k, or less where phases leave zeros out; no fewer than it needs."""
    on_vector = {k.leader.op for k in run.program.kernels if k.unit == "vector"}
    in_phases = {k.leader.op for k in run.program.kernels if k.decomposed}
    for op in run.graph.ops:
        counted = sum(
            n
            for (c, action, part, _), n in run.recorder.counts.items()
            if c == "pe_array" and action.startswith("mac.") and part.op == op.name
        )
        if op.gemm is None or op.name in on_vector:
            assert counted == 0
            continue
        whole = math.prod(op.gemm.extent(s) for s in ("m", "n", "k", "batch"))  # type: ignore[arg-type]
        assert op.macs <= counted <= whole
        assert counted == whole or op.name in in_phases


def vector_work_is_counted(run: Run) -> None:
    """Each vector function is counted once per point of the nest and pass."""
    for op in run.graph.ops:
        if op.vector is None:
            continue
        points = math.prod(a.size for a in op.vector.axes)
        expected: Counter[str] = Counter()
        for walk in op.vector.passes:
            for function, count in walk.functions:
                expected[function] += points * count
        found: Counter[str] = Counter()
        for (component, action, part, _), n in run.recorder.counts.items():
            if component == "vector" and part.op == op.name:
                found[action] += n
        assert +found == +expected


def _streams(kernel: Kernel, fold: Fold) -> Iterator[tuple[str, str, int]]:
    """Yield (group, action, bytes) of everything that a fold moves."""

    def read(s: Stream) -> tuple[str, str, int]:
        return kernel.reads[s.binding].group, "read", s.nbytes

    for s in (*((fold.load,) if fold.load else ()), *fold.beside, *fold.streams, *fold.riders):
        yield read(s)
    for s in fold.writes:
        yield kernel.writes[s.binding].group, "write", s.nbytes
    if kernel.psum is not None and kernel.psum.region is not None:
        yield kernel.psum.region.group, "read", fold.psum_read
        yield kernel.psum.region.group, "write", fold.psum_write


def words_match_bytes(run: Run) -> None:
    """Every byte of the program passes its port, in words; at a byte a word, exactly."""
    moved: Counter[tuple[str, str]] = Counter()
    for kernel, fold in run.folds():
        for group, action, nbytes in _streams(kernel, fold):
            moved[group, action] += nbytes
    for kernel, jobs in run.jobs:
        for job in jobs:
            for fill in job.fills:
                moved[kernel.reads[fill.binding].group, "write"] += fill.nbytes
            for back in job.write_backs:
                moved[kernel.writes[back.binding].group, "read"] += back.nbytes
        for number in kernel.write_back:
            copy = run.program.copies[number]
            moved[copy.region.group, "read"] += copy.data.nbytes
    for name, group in run.machine.banks.items():
        for action in ("read", "write"):
            words, nbytes = run.counted(f"spad.{name}", action), moved[name, action]
            assert words * group.word_bytes >= nbytes, (name, action)
            assert words <= nbytes, (name, action)
            if group.word_bytes == 1:
                assert words == nbytes, (name, action)


def dram_bytes_are_those_of_the_transfers(run: Run) -> None:
    """Counts, the totals and the ops agree with the descriptors, rows rounded up to whole bursts."""
    burst = run.machine.dma.burst_bytes
    expected: Counter[str] = Counter()
    for kernel, jobs in run.jobs:
        for job in jobs:
            for t in job.fills:
                expected["read"] += t.runs * ceil_div(t.run_bytes, burst) * burst
                split = kernel.reads[t.binding].data.bits > 0  # rows of bits are rounded up each
                assert t.nbytes <= t.runs * t.run_bytes < t.nbytes + (t.runs if split else 1)
            for t in job.write_backs:
                expected["write"] += t.runs * ceil_div(t.run_bytes, burst) * burst
        for number in kernel.write_back:
            expected["write"] += ceil_div(run.program.copies[number].data.nbytes, burst) * burst
    ops = run.recorder.ops.values()
    assert run.recorder.dram_bytes == {"read": expected["read"], "write": expected["write"]}
    assert sum(t.dram_read_bytes for t in ops) == expected["read"]
    assert sum(t.dram_write_bytes for t in ops) == expected["write"]
    for action in ("read", "write"):
        assert run.counted("dram", action) == run.counted("dma", action) == 8 * expected[action]


def independent_ops_begin_and_end_in_dram(run: Run) -> None:
    """Of a topology every operand's footprint is read, and every result written once."""
    if not run.graph.independent:
        return
    for kernel, jobs in run.jobs:
        back = [t for job in jobs for t in job.write_backs]
        for i, binding in enumerate(kernel.writes):
            sizes = [t.nbytes for t in back if t.binding == i]
            assert (
                sum(sizes) - (len(sizes) - 1) * (binding.data.bits > 0) <= binding.data.nbytes <= sum(sizes)
            )
            assert binding.data.bits or sum(sizes) == binding.data.nbytes
        whole = {a.name: (0, a.size) for axes in kernel.sides.values() for a in axes}
        for i, binding in enumerate(kernel.reads):
            fetched = sum(t.nbytes for job in jobs for t in job.fills if t.binding == i)
            box = binding.operand.box(whole)
            least = binding.data.bytes_of(math.prod(b - a for a, b in box))
            if not any(d.stride > d.extent for d in binding.operand.dims):
                assert fetched >= least


def _closed_form(machine: Machine, folds: list[Fold]) -> int:
    """Return the cycles of the folds by the timing contract: runs of one stationary operand are one fold."""
    pe = machine.pe_array
    streams: list[int] = []
    for fold in folds:
        if fold.continues:
            streams[-1] += fold.cycles
        else:
            streams.append(fold.cycles)
    load = first_load(pe.dataflow, pe.rows)
    tail = fold_tail(pe.convention, pe.dataflow, pe.rows, pe.cols)
    if pe.convention == "scale-sim":
        return sum(load + t + tail for t in streams)
    return sum(max(pe.rows, t) for t in streams[:-1]) + streams[-1] + load + tail


def the_array_takes_the_closed_form(run: Run) -> None:
    """Busy cycles are the closed form over the executed folds, and no fewer than the untiled op's.

    Where phases leave zeros out, no fewer than its MACs take.
    """
    pe = run.machine.pe_array
    for kernel, jobs in run.jobs:
        if kernel.unit != "pe_array":
            continue
        busy = run.recorder.op(kernel.leader.op).busy_cycles
        if kernel.decomposed:  # by hand in test_conv_variants
            assert busy * pe.rows * pe.cols >= kernel.leader.macs
            continue
        assert busy == _closed_form(run.machine, [f for job in jobs for f in job.folds])
        m, n, k = (kernel.size(s) for s in ("m", "n", "k"))  # type: ignore[arg-type]
        assert busy >= compute_cycles(pe.convention, pe.dataflow, pe.rows, pe.cols, m, n, k)


def never_faster_than_the_roofline(run: Run) -> None:
    """The run lasts at least as long as its MACs, its DRAM bytes, and each port's words take."""
    end, recorder = run.recorder.end_ps, run.recorder
    pe = run.machine.pe_array
    on_vector = {k.leader.op for k in run.program.kernels if k.unit == "vector"}
    macs = sum(op.macs for op in run.graph.ops if op.name not in on_vector)
    assert end * run.machine.clock_hz >= ceil_div(macs, pe.rows * pe.cols) * PS_PER_S - PS_PER_S
    moved = sum(recorder.dram_bytes.values())
    transfers = sum(1 for s in recorder.spans if s.category in ("fill", "writeback"))
    chunks = ceil_div(moved, run.machine.granularity_bytes) + transfers  # each loses less than 1 ps
    assert (end + chunks) * run.machine.dram.bandwidth_bytes_per_s >= moved * PS_PER_S
    for name, group in run.machine.banks.items():
        reads, writes = (run.counted(f"spad.{name}", a) for a in ("read", "write"))
        times = [ceil_div(reads, group.lanes) * group.read_cycle_ps]
        times.append(ceil_div(writes, group.lanes) * group.write_cycle_ps)
        port = sum(times) if group.ports == "1rw" else max(times)
        assert end >= port - max(group.read_cycle_ps, group.write_cycle_ps)


def ports_are_busy_with_their_words(run: Run) -> None:
    """A port's busy time lies between its words over all macros at once and one after the other."""
    for name, group in run.machine.banks.items():
        cycle = {"read": group.read_cycle_ps, "write": group.write_cycle_ps}
        words = {a: run.counted(f"spad.{name}", a) for a in cycle}
        parts = [("read", "write")] if group.ports == "1rw" else [("read",), ("write",)]
        for actions in parts:
            key = f"spad.{name}" + (f".{actions[0]}" if len(actions) == 1 else "")
            busy = run.recorder.component(key).busy_ps
            most = sum(words[a] * cycle[a] for a in actions)
            least = sum(ceil_div(words[a], group.lanes) * cycle[a] for a in actions)
            assert least - max(cycle[a] for a in actions) <= busy <= most


def _overlap(a: Region, b: Region) -> bool:
    if a.group != b.group:
        return False
    return any(x < y + m and y < x + n for x, n in a.extents for y, m in b.extents)


def places_do_not_overlap(run: Run) -> None:
    """Whatever is alive at the same time lies apart, within its bank group."""
    program = run.program
    assert all(program.peak_bytes[g] <= program.capacity_bytes[g] for g in program.capacity_bytes)
    for kernel in program.kernels:
        alive = [
            c.region
            for c in program.copies
            if c.takes_over is None and c.first <= kernel.index <= max(c.first, c.last)
        ]
        alive += [r for b in (*kernel.reads, *kernel.writes) for r in b.slots]
        if kernel.psum is not None and kernel.psum.region is not None:
            alive.append(kernel.psum.region)
        for region in alive:
            assert all(o >= 0 and o + n <= program.capacity_bytes[region.group] for o, n in region.extents)
        assert not any(_overlap(a, b) for a, b in itertools.combinations(alive, 2))


def tiles_fit_their_slots(run: Run) -> None:
    """Every transfer fits the buffer or copy it goes to."""
    for kernel, jobs in run.jobs:
        for job in jobs:
            moves = [(kernel.reads[t.binding], t) for t in job.fills]
            moves += [(kernel.writes[t.binding], t) for t in job.write_backs]
            for binding, t in moves:
                if binding.slots:
                    assert t.nbytes <= binding.slots[t.slot].nbytes
                else:
                    assert binding.copy is not None
                    assert t.nbytes <= run.program.copies[binding.copy].region.nbytes


def dwells_are_not_negative(run: Run) -> None:
    """What is read was written before, in this step or in the one before it."""
    gap = run.machine.host_gap_ps
    for s in run.recorder.histogram.singles:
        assert -(run.recorder.end_ps + gap) <= s.written_ps <= s.read_ps
        assert s.nbytes > 0
    for sums in run.recorder.histogram.rows.values():
        assert 0 <= sums.gap_byte_ps <= sums.dwell_byte_ps


LAWS: list[Callable[[Run], None]] = [
    busy_stalls_and_idle_add_up,
    the_array_was_busy_with_its_ops,
    stalls_lie_apart_inside_their_op,
    kernels_follow_one_another,
    spans_are_in_order,
    macs_are_counted,
    vector_work_is_counted,
    words_match_bytes,
    dram_bytes_are_those_of_the_transfers,
    independent_ops_begin_and_end_in_dram,
    the_array_takes_the_closed_form,
    never_faster_than_the_roofline,
    ports_are_busy_with_their_words,
    places_do_not_overlap,
    tiles_fit_their_slots,
    dwells_are_not_negative,
]
few = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)


def _check(graph: Graph, on: Machine, cold: bool = False) -> None:
    program, recorder = simulated(graph, on, cold)
    run = Run(graph, on, program, recorder)
    for law in LAWS:
        law(run)


@few
@given(gemm_graphs, machines())
def test_gemms_keep_every_law(graph: Graph, on: Machine) -> None:
    """One or two GEMMs from and to DRAM."""
    _check(graph, on)


@few
@example(convs((2, 1, 2, 1, 3, 1, 1)), machine())  # one output: the window, not the axis, has extent
@given(conv_graphs(), machines())
def test_convolutions_keep_every_law(graph: Graph, on: Machine) -> None:
    """A convolution through im2col."""
    _check(graph, on)


@settings(few, max_examples=30)
@given(step_graphs, machines(), st.booleans())
def test_training_steps_keep_every_law(graph: Graph, on: Machine, cold: bool) -> None:
    """A whole step with norm, pool, shortcut, riders, in-place updates; steady or from DRAM."""
    _check(graph, on, cold)


@pytest.mark.parametrize("granularity", [1, 100, 1000, 4096])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_fills_take_the_beats_that_their_bytes_fill(granularity: int, count: int) -> None:
    """Whatever a beat and a transaction have in common: each fill rounds up once."""
    near = bank("near", capacity=64 * KIB, count=count, ports="1r1w", write=5_000)
    places = {"input": ("near",), "weight": ("near",), "activation": ("far",)}
    on = machine(near, bank("far", capacity=64 * KIB), granularity=granularity, placement=places)
    program = mapped(gemms((90, 70, 110)), on)
    kernel = program.kernels[0]
    jobs = jobs_of(kernel, array_shape(on), on.vector.cycles, on.vector.lanes)
    fills = [t.nbytes for job in jobs for t in job.fills]

    assert {b.group for b in kernel.reads} == {"near"}
    assert {b.group for b in kernel.writes} == {"far"}
    port = run_program(on, program).component("spad.near.write")
    assert port.busy_ps == sum(ceil_div(n, 4 * count) for n in fills) * 5_000
