"""Jobs by index: the same as walking the nest tile by tile, and what counts as alike is alike."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.geometry import Box
from accelsim.graph.ir import Graph
from accelsim.mapping import map_graph
from accelsim.program.jobs import Stream, TileJob, Transfer
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.nests import Jobs
from accelsim.program.program import Kernel
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from tests.nests import programs
from tests.reference_jobs import tile_jobs
from tests.strategies import conv_graphs, gemm_graphs, machines, mapped, shipped_graph, step_graphs

RELAXED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def _jobs(on: Machine, kernel: Kernel) -> tuple[Jobs, list[TileJob]]:
    cycles, shape = dict(on.vector.cycles), array_shape(on)
    found = jobs_of(kernel, shape, cycles, on.vector.lanes)
    return found, list(tile_jobs(kernel, shape, cycles, on.vector.lanes))


def _plain(job: TileJob) -> TileJob:
    """Return a job without what the walk does not say."""

    def bare(t: Transfer) -> Transfer:
        return replace(t, ordinal=-1)

    results = [replace(r, write_backs=[bare(b) for b in r.write_backs]) for r in job.results]
    slots = {r: s for r, s in job.slots.items() if r in job.holds}
    return replace(job, fills=[bare(f) for f in job.fills], results=results, holds={}, tile={}, slots=slots)


def _sizes(box: Box | None) -> Any:
    return None if box is None else tuple(high - low for low, high in box)


def _back(job: TileJob, wait: int) -> int | None:
    return wait - job.index if wait >= 0 else None


def _shape(job: TileJob, base: Any, depth: int) -> Any:
    """Return what decides a job's time: everything but where its boxes lie, counted from its own base."""

    def bare(value: Any) -> Any:
        if isinstance(value, Stream):
            return (value.binding, value.nbytes, _sizes(value.box))
        if isinstance(value, dict):
            return {k: _sizes((v,)) for k, v in value.items()}
        if isinstance(value, tuple | list):
            if value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
                return _sizes(tuple(value))  # a box
            return [bare(v) for v in value]
        return value

    fills = [
        (
            f.binding,
            _sizes(f.box),
            f.nbytes,
            f.runs,
            f.run_bytes,
            f.wait_tile - job.index if f.wait_tile >= 0 else None,
        )
        for f in job.fills
    ]
    folds = [bare([getattr(f, n) for n in f.__slots__ if n != "block"]) for f in job.folds]
    results = [
        (
            r.number - base.results,
            r.first,
            r.last,
            [(b.binding, _sizes(b.box), b.runs) for b in r.write_backs],
            r.write_backs_needed - base.backs if r.number >= depth else None,
        )
        for r in job.results
    ]
    return str((fills, folds, results, job.fills_needed - base.fills))


def _check(graph: Graph, on: Machine, cold: bool = False) -> None:
    for kernel in mapped(graph, on, cold).kernels:
        found = _walks_agree(kernel, on)
        _later_starts_agree(found)
        _alike_jobs_agree(found)
        _next_tiles_agree(found)


def _walks_agree(kernel: Kernel, on: Machine) -> Jobs:
    """Compare the jobs by index with those of the walk, and return them."""
    found, walked = _jobs(on, kernel)
    assert len(found) == len(walked)
    for job, reference in zip(found, walked, strict=True):
        plain = _plain(job)
        assert plain == replace(reference, slots=plain.slots)
        assert plain.slots.items() <= reference.slots.items()
    return found


def _later_starts_agree(jobs: Jobs) -> None:
    """A job counted from a later tile's base is the job with that base taken off."""
    for i in range(0, len(jobs), 3):
        start = jobs.base(i)
        late, early = jobs.job(i, start), jobs.job(i)
        assert late.index == 0
        assert early.fills_needed - late.fills_needed == start.fills
        for a, b in zip(early.results, late.results, strict=True):
            assert a.number - b.number == start.results
            assert a.write_backs_needed - b.write_backs_needed in (start.backs, 0)
        for f, g in zip(early.fills, late.fills, strict=True):
            assert astuple(f)[1] == astuple(g)[1]


def _alike_jobs_agree(jobs: Jobs) -> None:
    shapes: dict[int, str] = {}
    for i, number in enumerate(jobs.signatures.tolist()):
        shape = _shape(jobs.job(i), jobs.base(i), jobs.depth)
        assert shapes.setdefault(number, shape) == shape


def _next_tiles_agree(jobs: Jobs) -> None:
    fills = [bool(j.fills) for j in jobs] + [True]
    backs = [any(r.write_backs for r in j.results) for j in jobs] + [True]
    for i in range(len(jobs) + 1):
        assert jobs.next_fill(i) == min(len(jobs), i + fills[i:].index(True))
        assert jobs.next_back(i) == min(len(jobs), i + backs[i:].index(True))


@RELAXED
@given(gemm_graphs, machines())
def test_gemm_jobs_by_index(graph: Graph, on: Machine) -> None:
    """Fills, folds, results and slots of every tile."""
    _check(graph, on)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a strategy's arguments
@RELAXED
@given(st.data(), gemm_graphs, machines())
def test_drawn_nests_by_index(data: st.DataObject, graph: Graph, on: Machine) -> None:
    """Any cuts and order, a side cut twice or none, any number of slots."""
    for kernel in data.draw(programs(graph, on)).kernels:
        _walks_agree(kernel, on)


@RELAXED
@given(conv_graphs(), machines())
def test_convolution_jobs_by_index(graph: Graph, on: Machine) -> None:
    """With windows, whose kept rows are filled once."""
    _check(graph, on)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@RELAXED
@given(step_graphs, machines(), st.booleans())
def test_step_jobs_by_index(graph: Graph, on: Machine, cold: bool) -> None:
    """With vector kernels, passes and riders."""
    _check(graph, on, cold)


@pytest.mark.parametrize("arch", ["edge-sram", "tpu-like-hybrid"])
def test_shipped_jobs_by_index(arch: str) -> None:
    """LeNet-5 whole."""
    on = load_machine(arch, ())
    graph = shipped_graph("lenet5", 16)
    _check(graph, on)
    assert map_graph(graph, on).kernels
