"""Skipping periods of a steady state changes nothing: the same books as simulating every tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from accelsim.config.locate import names
from accelsim.graph.ir import Graph
from accelsim.machine import run_program, steady
from accelsim.machine.loops import MOST, States
from accelsim.machine.run import Steal
from accelsim.mapping import map_graph
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run import simulate
from accelsim.trace.recorder import Recorder
from tests.nests import programs
from tests.networks import network
from tests.strategies import convs, fronted, gemms, machines, mapped, shipped_graph, step_graph


def books(recorder: Recorder) -> dict[str, Any]:
    """Return all that must not depend on what was skipped."""
    return {
        "end": recorder.end_ps,
        "ops": {name: asdict(times) for name, times in recorder.ops.items()},
        "components": {name: asdict(times) for name, times in sorted(recorder.components.items())},
        "counts": {key: n for key, n in recorder.counts.items() if n},
        "residencies": {key: asdict(sums) for key, sums in recorder.histogram.rows.items()},
        "transactions": recorder.transactions,
        "dram": recorder.dram_bytes,
        "tiles": recorder.tiles + recorder.tiles_skipped,
    }


def busy_by_op(recorder: Recorder) -> dict[tuple[str, str, str, str], int]:
    """Return what the spans say that every component did for every op and tensor."""
    sums: dict[tuple[str, str, str, str], int] = {}
    for s in recorder.spans:
        key = s.component, s.category, s.part.op, s.tensor
        sums[key] = sums.get(key, 0) + s.busy_ps * s.repeat
    return sums


def agree(on: Machine, program: Program, steals: Sequence[Steal] = ()) -> Recorder:
    """Run with and without skipping, compare, and return the records of the run that skipped."""
    exact = run_program(on, program, exact=True, steals=steals)
    skipped = run_program(on, program, steals=steals)
    assert exact.tiles_skipped == exact.folds_skipped == 0
    first, second = books(exact), books(skipped)
    for key, value in first.items():
        assert second[key] == value, key
    assert busy_by_op(skipped) == busy_by_op(exact)
    return skipped


def test_a_long_loop_is_skipped() -> None:
    """A GEMM of hundreds of alike tiles takes the time of a few."""
    on = load_machine("edge-sram", ("bank.sram.capacity=64 KiB", "bank.sram.count=1", "bank.sram.subbanks=1"))
    recorder = agree(on, map_graph(gemms((2048, 512, 512)), on))
    assert recorder.tiles_skipped > 10 * recorder.tiles


@pytest.mark.parametrize("shape", [(2048, 768, 576), (700, 640, 640), (330, 1000, 72)])
def test_rows_that_end_narrower_agree(shape: tuple[int, int, int]) -> None:
    """Every row of the nest ends with a smaller tile, so that no period lasts: rows recur, not tiles."""
    on = load_machine("edge-hybrid", ("bank.sram.count=1", "bank.mram.count=1"))
    recorder = agree(on, map_graph(gemms(shape), on))
    assert recorder.tiles_skipped > recorder.tiles


def test_alike_kernels_share_what_recurs() -> None:
    """The second of two equal GEMMs goes through the loops of the first, under its own names."""
    on, shape = load_machine("edge-sram"), (512, 512, 512)
    one = run_program(on, map_graph(gemms(shape), on))
    program = map_graph(gemms(shape, shape), on)
    assert agree(on, program).tiles < 2 * one.tiles - 20


@pytest.mark.parametrize(("period_ps", "rare"), [(999_999_937, True), (99_999_937, True), (30_011, False)])
def test_rare_events_bound_the_skip(period_ps: int, rare: bool) -> None:
    """A bank that is taken at intervals is simulated whenever it is, and the loop is skipped between."""
    on = load_machine("edge-sram", ("bank.sram.capacity=64 KiB", "bank.sram.count=1", "bank.sram.subbanks=1"))
    program = map_graph(gemms((1024, 256, 256)), on)
    recorder = agree(on, program, [Steal("sram", period_ps, 7_001)])
    plain = run_program(on, program)
    assert recorder.end_ps >= plain.end_ps
    assert (recorder.tiles_skipped > 0) == rare


@pytest.mark.parametrize("arch", ["edge-sram", "edge-hybrid", "tpu-like-mram"])
@pytest.mark.parametrize(("workload", "batch"), [("mlp", 256), ("lenet5", 64), ("lenet-tinydnn", 32)])
def test_shipped_steps_agree(arch: str, workload: str, batch: int) -> None:
    """Whole steps, whose tensors one loop writes and another reads."""
    on = load_machine(arch, ())
    agree(on, map_graph(shipped_graph(workload, batch), on))


# -- random machines and nests -----------------------------------------------------------------------


regular = st.sampled_from([(10**9, 0), (2 * 10**9, 7_000), (10**10, 50_000), (3 * 10**9, 1)])
deep = st.tuples(st.integers(0, 30_000), st.integers(1, 9), st.sampled_from([1, 16]))
steady_machines = st.builds(
    lambda on, dram, dma: replace(
        on,
        dram=replace(on.dram, bandwidth_bytes_per_s=dram[0], latency_ps=dram[1]),
        dma=replace(on.dma, descriptor_latency_ps=dma[0], outstanding=dma[1], burst_bytes=dma[2]),
    ),
    machines(),
    regular,
    deep,
)
many = settings(
    max_examples=45,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
long = st.integers(8, 40)
graphs = st.one_of(
    st.tuples(long, long, long).map(lambda s: gemms(s)),
    st.tuples(long, long, st.just(8)).map(lambda s: gemms(s, s)),
    st.tuples(st.integers(60, 200), st.integers(1, 8), st.integers(1, 20)).map(lambda s: gemms(s)),
    st.sampled_from([convs((12, 9, 3, 3, 3, 6, 1)), convs((13, 16, 2, 3, 4, 8, 2))]),
    st.sampled_from(["cnn", "perceptron"]).map(step_graph),
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a strategy's arguments
@many
@given(st.data(), graphs, steady_machines)
def test_random_nests_agree(data: st.DataObject, graph: Graph, on: Machine) -> None:
    """Ports, subbanks, latencies that share no factor, clocks of odd periods, SRAM and MRAM, DMA depths.

    A third of the machines may have write buffers and banks that serve by address, a quarter a bank that
    is taken at intervals.
    """
    if data.draw(st.integers(0, 2)) == 0:
        on = data.draw(fronted(on))
    steals = []
    if data.draw(st.integers(0, 3)) == 0:
        group = data.draw(st.sampled_from(sorted(on.banks)))
        steals = [Steal(group, data.draw(st.integers(30_000, 3_000_000)), data.draw(st.integers(1, 9_001)))]
    program = data.draw(programs(graph, on))
    recorder = agree(on, program, steals)
    event("tiles skipped" if recorder.tiles_skipped else "no tiles skipped")
    event("folds skipped" if recorder.folds_skipped else "no folds skipped")
    event(f"interleave {on.interleave}, {sum(b.buffer is not None for b in on.banks.values())} buffers")


small = st.integers(2, 24)
towers = st.one_of(
    st.tuples(small, small, small).map(lambda s: gemms(*[s] * 9)),
    st.tuples(small, small, small, small).map(lambda s: gemms(*[s[:3], s[1:]] * 6)),
    st.just("tower").map(step_graph),
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a strategy's arguments
@settings(many, max_examples=8)
@given(towers, steady_machines)
def test_random_blocks_agree(graph: Graph, on: Machine) -> None:
    """Alike kernels one after the other, or in blocks, on any machine."""
    recorder = agree(on, mapped(graph, on))
    event("kernels skipped" if recorder.kernels_skipped else "no kernels skipped")


def test_repeated_blocks_are_skipped() -> None:
    """Layers that follow each other are simulated a few times, forward, backward and in the update."""
    on = load_machine("edge-hybrid", ())
    program = map_graph(step_graph("tower"), on)
    recorder = agree(on, program)
    assert recorder.kernels_skipped > len(program.kernels) // 4


@pytest.mark.parametrize(("period_ps", "some"), [(499_999_937, True), (1_000_003, False)])
def test_rare_events_bound_repeated_blocks(period_ps: int, some: bool) -> None:
    """What takes a bank at intervals is simulated whenever it does; blocks are skipped between."""
    on = load_machine("edge-sram", ("bank.sram.capacity=64 KiB", "bank.sram.count=1", "bank.sram.subbanks=1"))
    program = map_graph(gemms(*[(96, 64, 64)] * 40), on)
    recorder = agree(on, program, [Steal("sram", period_ps, 7_001)])
    assert (recorder.kernels_skipped > 0) == some


SAME = ("ops.parquet", "energy.parquet", "residencies.parquet", "summary.json")


@pytest.mark.parametrize(
    ("arch", "workload", "batch"),
    [
        ("edge-hybrid", "lenet5", 64),
        ("edge-mram-iso-area", "mlp", 512),
        ("tpu-like-hybrid", "resnet18-cifar", 8),
    ],
)
def test_run_folders_hold_the_same_bytes(arch: str, workload: str, batch: int, tmp_path: Path) -> None:
    """With and without --exact: the tables and the summary; the manifest says what was skipped."""
    skips = []
    for name, exact in (("exact", True), ("skipped", False)):
        result = simulate(arch, workload, batch=batch, exact=exact, out=tmp_path / name)
        skips.append(result.skip)
    for name in SAME:
        assert (tmp_path / "exact" / name).read_bytes() == (tmp_path / "skipped" / name).read_bytes(), name
    assert skips[0]["tiles_skipped"] == 0 < skips[1]["tiles_skipped"]
    assert skips[0]["tiles_simulated"] == skips[1]["tiles_simulated"] + skips[1]["tiles_skipped"]


@pytest.mark.parametrize("arch", names("arch"))
@pytest.mark.parametrize(("workload", "batch"), [("mlp", 32), ("lenet5", 16), ("lenet-tinydnn", 8)])
def test_every_machine_agrees(arch: str, workload: str, batch: int) -> None:
    """All shipped machines, whole steps of the small workloads."""
    on = load_machine(arch, ())
    agree(on, map_graph(shipped_graph(workload, batch), on))


@pytest.mark.parametrize("workload", ["resnet18", "mobilenetv2"])
def test_a_forward_pass_of_a_large_network_agrees(workload: str) -> None:
    """One sample, forward: every kind of layer that these have."""
    on = load_machine("tpu-like-hybrid", ())
    recorder = agree(on, map_graph(shipped_graph(workload, 1, "forward"), on))
    assert recorder.tiles_skipped > 0


def test_a_transformer_of_several_layers_agrees() -> None:
    """A whole step of a narrow GPT-2, whose layers recur."""
    args = "layers = 4\nwidth = 96\nheads = 4\nvocabulary = 500"
    change = f"[args]\n{args}\n[inputs.tokens]\nshape = [16]\nbelow = 500"
    on = load_machine("edge-sram", ())
    recorder = agree(on, map_graph(network("gpt2-small", 1, change), on))
    assert recorder.kernels_skipped > 0


def test_states_not_seen_for_longest_are_forgotten() -> None:
    """What a kernel remembers has a bound, in what is queued; a state that comes again stays."""
    states, large = States(), MOST // 4
    first = states.of(("first",), large)
    assert states.of(("second",), large) is not first
    assert states.of(("third",), large) is not first
    assert states.of(("first",), large) is first

    states.of(("fourth",), large)

    assert states.of(("first",), large) is first
    assert len(states) == 3


def test_long_queues_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads at which more results wait are passed over; what comes of it is the same."""
    machine, graph = load_machine("tpu-like-hybrid"), shipped_graph("lenet5", 64)
    program = map_graph(graph, machine)
    usual = run_program(machine, program)
    monkeypatch.setattr(steady, "LONGEST", 0)
    fewer = run_program(machine, program)

    assert usual.tiles_skipped + usual.folds_skipped > fewer.tiles_skipped + fewer.folds_skipped > 0
    assert usual.counts == fewer.counts
    assert usual.end_ps == fewer.end_ps
