"""Laws of the mapping: DRAM traffic against its bounds, the ladder of capacities, estimate and run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from tests.strategies import KIB, gemms, shipped_graph

ELEMENT = 2  # bytes: bf16
OBJECTIVES = ["time", "dram"]
Shape = tuple[int, int, int]


def _sram(arch: str, objective: str = "time", capacity: int | None = None) -> Machine:
    """Return an all-SRAM machine; with ``capacity`` its bank numbers stay those of the shipped one."""
    on = load_machine(arch, (f"mapping.objective={objective}",))
    if capacity is not None:
        on = replace(on, banks={"sram": replace(on.banks["sram"], capacity_bytes=capacity)})
    return on


def _least_bytes(on: Machine, shape: Shape) -> float:
    """Return L: every operand once, and no fewer than S elements of fast memory allow (red-blue pebbling)."""
    m, n, k = shape
    held = sum(b.capacity_bytes for b in on.banks.values()) + on.accumulator.capacity_bytes
    s = held / ELEMENT
    compulsory = ELEMENT * (m * k + k * n + m * n)
    return max(compulsory, ELEMENT * (2 * m * n * k / math.sqrt(s) - 2 * s))


SIMULATED: list[tuple[str, Shape]] = [
    ("edge-sram", (256, 256, 256)),
    ("edge-sram", (100, 1000, 30)),
    ("edge-sram", (17, 33, 900)),
    ("edge-sram", (512, 512, 512)),
    ("tpu-like-sram", (1024, 1024, 1024)),
    ("tpu-like-sram", (1536, 1536, 1536)),
    ("tpu-like-sram", (2048, 2048, 2048)),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("arch", "shape"), SIMULATED)
def test_no_gemm_moves_less_than_the_bound(arch: str, shape: Shape, objective: str) -> None:
    """DRAM bytes of the run are at least L, for square and odd shapes."""
    on = _sram(arch, objective)
    recorder = run_program(on, map_graph(gemms(shape), on))
    assert sum(recorder.dram_bytes.values()) >= _least_bytes(on, shape)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [1024, 1536, 2048])
def test_large_squares_move_little_more_than_the_bound(size: int, objective: str) -> None:
    """At most 2.5 L in the run, and the estimate says the same bytes."""
    on, shape = _sram("tpu-like-sram", objective), (size, size, size)
    program = map_graph(gemms(shape), on)
    moved = sum(run_program(on, program).dram_bytes.values())
    assert moved == program.estimate_dram_bytes
    assert moved <= 2.5 * _least_bytes(on, shape)


CAPACITIES = [("edge-sram", 128 * KIB << i) for i in range(4)] + [
    ("tpu-like-sram", 1024 * KIB << i) for i in range(5)
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("arch", "capacity"), CAPACITIES)
def test_the_bound_holds_at_every_capacity(arch: str, capacity: int, objective: str) -> None:
    """Estimated bytes of squares of 1024 to 4096 between L and 2.5 L, over a range of capacities."""
    on = _sram(arch, objective, capacity)
    for size in (1024, 1536, 2048, 4096):
        program = map_graph(gemms((size, size, size)), on)
        assert 1 <= program.estimate_dram_bytes / _least_bytes(on, (size, size, size)) <= 2.5


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("accumulator", [64, 256, 2048])
def test_the_bound_holds_with_every_accumulator(accumulator: int, objective: str) -> None:
    """Also where partial sums wait in the scratchpad in the main, and for odd sizes."""
    on = _sram("tpu-like-sram", objective, 4096 * KIB)
    on = replace(on, accumulator=replace(on.accumulator, capacity_bytes=accumulator * KIB))
    for size in (1024, 1500, 3000, 4096):
        program = map_graph(gemms((size, size, size)), on)
        assert 1 <= program.estimate_dram_bytes / _least_bytes(on, (size, size, size)) <= 2.5


LADDER = [round(KIB * 2 ** (k / 2)) for k in range(8, 27)]  # 16 KiB to 8 MiB
STEPS: dict[str, tuple[str, Graph | tuple[str, int]]] = {
    "square": ("edge-sram", gemms((512, 512, 512))),
    "odd": ("edge-sram", gemms((300, 700, 190))),
    "mlp": ("edge-sram", ("mlp", 16)),
    "lenet5": ("edge-sram", ("lenet5", 4)),
    "mlp on the large array": ("tpu-like-sram", ("mlp", 16)),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", STEPS)
def test_the_objective_never_worsens_along_the_ladder(case: str, objective: str) -> None:
    """With explicit bank numbers a larger scratchpad is never estimated worse; nor does it stop fitting."""
    arch, source = STEPS[case]
    graph = source if isinstance(source, Graph) else shipped_graph(*source)
    found: list[int] = []
    for capacity in LADDER:
        try:
            program = map_graph(graph, _sram(arch, objective, capacity))
        except MappingError:
            assert not found, f"{capacity} bytes do not fit what fewer did"
            continue
        found.append(program.estimate_ps if objective == "time" else program.estimate_dram_bytes)
    assert len(found) > 10
    assert found == sorted(found, reverse=True)


# The estimate leaves out what kernels wait for each other and what queues at ports do. Bounds are of
# estimate / run.
AGREEMENT: list[tuple[str, Graph | tuple[str, int], float, float]] = [
    ("edge-sram", gemms((512, 512, 512)), 0.85, 1.15),
    ("edge-sram", gemms((300, 700, 190)), 0.85, 1.15),
    ("tpu-like-sram", gemms((1024, 1024, 1024)), 0.85, 1.15),
    ("tpu-like-sram", gemms((1536, 1536, 1536)), 0.85, 1.15),
    ("tpu-like-sram", gemms((2048, 2048, 2048)), 0.85, 1.15),
    ("edge-sram", ("mlp", 64), 0.9, 1.1),
    ("edge-hybrid", ("mlp", 64), 0.9, 1.1),
    ("edge-mram", ("mlp", 64), 0.9, 1.1),
    ("tpu-like-hybrid", ("mlp", 64), 0.9, 1.1),
    ("edge-sram", ("lenet5", 16), 0.9, 1.1),
    ("edge-hybrid", ("lenet5", 16), 0.9, 1.1),
]


@pytest.mark.parametrize(("arch", "source", "low", "high"), AGREEMENT)
def test_estimates_agree_with_runs(
    arch: str, source: Graph | tuple[str, int], low: float, high: float
) -> None:
    """Time within the stated factors; DRAM bytes within 3 % (short rows pay bursts)."""
    graph = source if isinstance(source, Graph) else shipped_graph(*source)
    on = load_machine(arch, ())
    program = map_graph(graph, on)
    recorder = run_program(on, program)
    assert low <= program.estimate_ps / recorder.end_ps <= high
    moved = sum(recorder.dram_bytes.values())
    assert abs(program.estimate_dram_bytes - moved) <= 0.03 * moved


@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_results_leave_in_rows_of_whole_bursts(size: int) -> None:
    """However narrow the array, a result is written to DRAM once, byte for byte."""
    on = load_machine("edge-sram", (f"pe_array.rows={size}", f"pe_array.cols={size}"))
    program = map_graph(gemms((256, 256, 256)), on)
    written = run_program(on, program).dram_bytes["write"]
    assert written == sum(b.data.nbytes for b in program.kernels[0].writes)
