"""Residencies: the histogram against its single copies, a case by hand, and the step's boundary."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from accelsim import simulate
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.trace.copies import SingleRead
from accelsim.trace.recorder import Recorder
from accelsim.trace.runs import open_run
from tests.strategies import bank, gemms, graphs, machine, machines, shipped_graph, simulated

EDGES = sorted({round(10 ** (k / 10)) for k in range(161)})
US = 10**6


def _bin(dwell_ps: int) -> int:
    """Return the last edge at or below the dwell; below the first edge the first bin."""
    return max(0, sum(edge <= dwell_ps for edge in EDGES) - 1)


def _gaps(singles: list[SingleRead], step_ps: int) -> list[int]:
    """Return bytes x gap of every single read, element by element.

    An element's gap begins at its last access: the write, or the latest read since; those of a copy
    carried over the boundary include the reads of the step before. Boxes are in the shape in which a
    copy is held, which for a buffer is its reader's.
    """
    size: dict[tuple[str, int], tuple[int, ...]] = {}
    for s in singles:
        kind, ends = (s.key.copy_class, len(s.box)), tuple(high for _, high in s.box)
        size[kind] = tuple(map(max, size.get(kind, ends), ends))
    last: dict[tuple[str, int, int], NDArray[np.int64]] = {}
    found = [0] * len(singles)
    for place in sorted(range(len(singles)), key=lambda i: singles[i].written_ps <= 0):  # carried ones last
        s = singles[place]
        kind = (s.key.copy_class, len(s.box))
        before = last.get((*kind, s.written_ps + step_ps))
        fresh = np.full(size[kind], s.written_ps, dtype=np.int64) if before is None else before - step_ps
        touched = last.setdefault((*kind, s.written_ps), fresh)
        where = tuple(slice(a, b) for a, b in s.box)
        per_element = s.nbytes // touched[where].size
        found[place] = int((s.read_ps - touched[where]).sum()) * per_element
        touched[where] = np.maximum(touched[where], s.read_ps)
    return found


def _check_histogram(recorder: Recorder) -> None:
    singles = recorder.histogram.singles
    gaps = _gaps(singles, recorder.end_ps)
    sums: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for place, s in enumerate(singles):
        dwell = s.read_ps - s.written_ps
        row = sums[s.key, s.reader, s.read_index, _bin(dwell)]
        for i, n in enumerate((1, s.nbytes, s.nbytes * dwell, gaps[place])):
            row[i] += n
    rows = {
        key: [x.count, x.nbytes, x.dwell_byte_ps, x.gap_byte_ps] for key, x in recorder.histogram.rows.items()
    }
    assert rows == dict(sums)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=40)
@given(graphs, machines())
def test_the_histogram_is_the_sum_of_its_singles(graph: Graph, on: Machine) -> None:
    """Counts, bytes, dwells and gaps of every row, recomputed from single reads."""
    _check_histogram(simulated(graph, on)[1])


def _by_hand() -> Machine:
    """A 4x4 array at 1 GHz, ports that take 1 ns a word, DRAM of 1 byte a ns after 50 ns."""
    group = bank("sram", capacity=4096, word=1, ports="1r1w", read=(2_000, 1_000), write=1_000)
    return machine(group, dram=(10**9, 50_000), dma=(0, 8, 1), granularity=4096)


def test_one_product_by_hand() -> None:
    """A 1x1x1 GEMM of bytes on a 4x4 array, in ns.

    A leaves DRAM at 1, arrives at 51 and is written at 52; B follows 1 behind, at 53. Both are asked for
    at once: A's word is there at 55; B's waits 1 for the port, 56. B is stationary: 4 cycles of load, so
    the stream begins at 57; its one cycle and the 6 of the skew end at 64. C is written at 65 and read
    by the DMA until 67.
    """
    program = map_graph(gemms((1, 1, 1)), _by_hand())
    recorder = run_program(_by_hand(), program, ("*",))
    singles = {s.key.tensor.removeprefix("g0:"): s for s in recorder.histogram.singles}
    got = {t: (s.nbytes, s.read_index, s.written_ps, s.read_ps) for t, s in singles.items()}

    assert got == {
        "ifmap": (1, 0, 52_000, 55_000),
        "filter": (1, 0, 53_000, 56_000),
        "ofmap": (1, 0, 65_000, 67_000),
    }
    rows = {key[0].tensor: (key[3], x.dwell_byte_ps) for key, x in recorder.histogram.rows.items()}
    # edges about 3 ns: 10^3.4 = 2512 and 10^3.5 = 3162 ps; about 2 ns: 1995 and 2512 ps. The bins count
    # from the edges 1, 2, 3, ... 10 ps, of which rounding merged some.
    assert rows == {
        "g0:ifmap": (_bin(3_000), 3_000),
        "g0:filter": (_bin(3_000), 3_000),
        "g0:ofmap": (_bin(2_000), 2_000),
    }
    assert (EDGES[_bin(3_000)], EDGES[_bin(2_000)]) == (2_512, 1_995)


@pytest.fixture(scope="module")
def pinned() -> tuple[Machine, Graph]:
    """A machine on which the parameters of mlp stay in the scratchpad from step to step."""
    return load_machine("tpu-like-hybrid", ()), shipped_graph("mlp", 16)


def _carried(recorder: Recorder) -> list[SingleRead]:
    """Return the reads of copies of the step before; the last of its writes may end as this one begins."""
    return [s for s in recorder.histogram.singles if s.written_ps <= 0]


def test_weights_dwell_over_the_steps_boundary(pinned: tuple[Machine, Graph]) -> None:
    """Written by the update of the step before, read by this one's forward; none is of the future."""
    on, graph = pinned
    recorder = run_program(on, map_graph(graph, on), ("*",))
    carried = _carried(recorder)

    assert {s.key.role for s in carried} == {"weight"}
    assert {s.key.phase_written for s in carried} == {"update"}
    assert "forward" in {s.reader.phase for s in carried}
    weights = {t.name: t for t in graph.tensors.values() if t.role == "weight" and t.phase is None}
    first: defaultdict[str, int] = defaultdict(int)
    for s in carried:
        assert 0 < s.read_ps - s.written_ps <= recorder.end_ps
        first[s.key.tensor] += s.nbytes if s.read_index == 0 else 0
    assert first == {name: 2 * t.elements for name, t in weights.items()}  # bf16, each element once


def test_the_hosts_gap_adds_to_carried_dwells(pinned: tuple[Machine, Graph]) -> None:
    """Exactly bytes x gap on every copy that waited over it, and nothing else."""
    on, graph = pinned
    program = map_graph(graph, on)
    later = replace(on, host_gap_ps=on.host_gap_ps + 3 * US)
    before, after = run_program(on, program, ("*",)), run_program(later, program, ("*",))

    assert after.end_ps == before.end_ps
    for s, t in zip(before.histogram.singles, after.histogram.singles, strict=True):
        assert t == replace(s, written_ps=s.written_ps - 3 * US * (s.written_ps <= 0))
    total = [sum(x.dwell_byte_ps for x in r.histogram.rows.values()) for r in (before, after)]
    assert total[1] - total[0] == 3 * US * sum(s.nbytes for s in _carried(before))


def test_a_cold_step_has_no_step_before_it(pinned: tuple[Machine, Graph]) -> None:
    """With --cold every copy is written in the run itself."""
    on, graph = pinned
    recorder = run_program(on, map_graph(graph, on, cold=True), ("*",))

    assert recorder.histogram.singles
    assert _carried(recorder) == []


def test_the_tables_of_a_run_agree(tmp_path: Path) -> None:
    """residencies.parquet has the sums of copies.parquet, which holds the tensors asked for only."""
    result = simulate("edge-hybrid", "mlp", batch=8, trace_tensors=["fc.0.*"], out=tmp_path / "run")
    import pyarrow.parquet as pq

    copies = pq.read_table(result.run_dir / "copies.parquet").to_pylist()
    rows = open_run(result.run_dir).table("residencies").to_pylist()
    tensors = {c["tensor"] for c in copies}
    sums: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    keys = ("bank_group", "tensor", "copy_class", "phase_read", "reader_layer", "read_index")
    for c in copies:
        dwell = c["read_ps"] - c["written_ps"]
        row = sums[(*(c[k] for k in keys), _bin(dwell))]
        for i, n in enumerate((1, c["bytes"], c["bytes"] * dwell)):
            row[i] += n
    expected = {
        (*(r[k] for k in keys), r["bin"]): [r["reads"], r["bytes"], int(r["dwell_byte_ps"])]
        for r in rows
        if r["tensor"] in tensors
    }
    assert tensors
    assert all(t.startswith("fc.0.") for t in tensors)
    assert sums == expected
    assert all(r["count"] == r["reads"] for r in rows)
