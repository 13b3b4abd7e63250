"""Line buffers, input gradients in phases, depthwise convolutions, sums on the drain: counts and values."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from accelsim.frontend.spec import load
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.mapping.variants import array_cycles
from accelsim.program.program import Program
from accelsim.resolve.load import load_machine
from accelsim.resolve.machine import Machine
from accelsim.trace.recorder import Recorder
from tests.interpreter.schedule import Order
from tests.interpreter.steps import Captured, captured
from tests.test_executable_program import array, run, with_banks
from tests.test_steady_state import agree

ALL = ("mapping.dgrad=decomposed", "mapping.depthwise=diagonal", "mapping.fusion=epilogue+stats")
VECTOR = ("mapping.dgrad=decomposed", "mapping.depthwise=vector", "mapping.fusion=epilogue+stats")
SHAPES = {  # kernel, stride, padding, dilation, groups, filters; image
    "3x3": ("[3, 3]", "[1, 1]", 1, 1, 1, 6, (8, 8)),
    "3x3 s2": ("[3, 3]", "[2, 2]", 1, 1, 1, 6, (8, 8)),
    "1x1 s2": ("[1, 1]", "[2, 2]", 0, 1, 1, 6, (7, 8)),
    "2x5 s3": ("[2, 5]", "[3, 2]", 2, 1, 2, 6, (9, 7)),
    "3x2 s2 d2": ("[3, 2]", "[2, 3]", 2, 2, 1, 6, (8, 9)),
    "4x3 s3": ("[4, 3]", "[3, 3]", 0, 1, 1, 6, (10, 10)),
    "3x3 s2 depthwise": ("[3, 3]", "[2, 2]", 1, 1, 4, 4, (9, 8)),
    "3x3 depthwise": ("[3, 3]", "[1, 1]", 1, 1, 4, 4, (8, 8)),
    "2x2 depthwise, two filters": ("[2, 2]", "[2, 1]", 0, 1, 4, 8, (7, 8)),
}


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nets]:
    """The networks of ``SHAPES``, each captured once, on one thread."""
    folder = tmp_path_factory.mktemp("variants")
    shutil.copy(Path(__file__).parent / "interpreter" / "small_nets.py", folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Nets(folder)
    torch.set_num_threads(threads)


class Nets:
    """Captures one convolution of a shape."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.captured = cache(self._captured)

    def _captured(self, name: str, batch: int = 3) -> Captured:
        kernel, stride, pad, dilation, groups, filters, image = SHAPES[name]
        path = self.folder / "net.toml"
        path.write_text(
            f'model = "small_nets.py:Strided"\nbatch = {batch}\n[args]\nkernel = {kernel}\n'
            f"stride = {stride}\npad = {pad}\ndilation = {dilation}\ngroups = {groups}\nfilters = {filters}\n"
            f'[inputs.x]\nshape = {[4, *image]}\n[optimizer]\nname = "sgd"\nlr = 0.1\n'
        )
        return captured(load(path), 1)

    def graph(self, name: str) -> Graph:
        """Return the step of a shape."""
        return self.captured(name).graph


def simulated(graph: Graph, *sets: str) -> tuple[Machine, Program, Recorder]:
    """Return machine, program and records of a step on a machine with everything in one SRAM."""
    on = load_machine("edge-sram", sets)
    program = map_graph(graph, on)
    return on, program, run_program(on, program)


def counted(recorder: Recorder, action: str, op: str) -> int:
    """Return how often an op did something."""
    return sum(n for (_, a, p, _), n in recorder.counts.items() if a.startswith(action) and p.op == op)


# --- values: the mapped program on real numbers


SETUPS = {  # bytes of the bank and of the accumulator; every dataflow with another of them for every shape
    "ws": (3072, 1 << 15, 128),
    "os": (1 << 15, 3072, 0),
    "is": (3072, 3072, 128),
}


@pytest.mark.parametrize("flow", SETUPS)
@pytest.mark.parametrize("name", SHAPES)
def test_variants_train_as_torch_does(nets: Nets, name: str, flow: str) -> None:
    """Phases of any stride, kernel, padding, dilation; diagonals; sums on drains: gradients are torch's."""
    *banks, accumulator = SETUPS[flow]
    even = list(SHAPES).index(name) % 2
    order: Order = "fills early" if even else "write-backs late"
    for sets in (ALL, VECTOR) if "depthwise" in name else (ALL,):
        small = (*array(flow, 10, 4, f"accumulator.capacity={accumulator} B"), *sets)
        machine = with_banks(load_machine("edge-sram", small), (banks[even],))
        what = nets.captured(name)
        program = map_graph(what.graph, machine)
        paths = run(what, machine, program, order, 1)
        assert paths["sums on a drain"]
        dgrad = next(k for k in program.kernels if k.leader.op.endswith("conv:conv.dgrad"))
        strided = SHAPES[name][1] != "[1, 1]"
        assert dgrad.decomposed == (strided and dgrad.unit == "pe_array")
        assert (dgrad.unit == "vector") == (sets is VECTOR)


# --- input gradients in phases


@pytest.mark.parametrize("name", ["3x3 s2", "1x1 s2", "2x5 s3", "3x2 s2 d2", "4x3 s3"])
def test_phases_multiply_no_zeros(nets: Nets, name: str) -> None:
    """The array multiplies each pair of an input row and a kernel row that meet, and no other."""
    kernel, stride, pad, dilation, groups, filters, image = SHAPES[name]
    meeting = [
        sum((h + pad - dilation * p) % s == 0 for h in range(size) for p in range(taps))
        for size, taps, s in zip(image, json.loads(kernel), json.loads(stride), strict=True)
    ]
    for flow in ("ws", "os", "is"):
        _, _, recorder = simulated(nets.graph(name), "mapping.dgrad=decomposed", f"pe_array.dataflow={flow}")
        macs = counted(recorder, "mac.", "bwd/conv:conv.dgrad")
        assert macs == 3 * math.prod(meeting) * 4 * filters // groups


def test_phases_of_a_stride_of_two_by_hand(nets: Nets) -> None:
    """3x3, stride 2, 8x8: phases of 1, 2, 2 and 4 taps, 48 points each; all of the useful MACs, a quarter."""
    graph = nets.graph("3x3 s2")
    (gemm,) = (op.gemm for op in graph.ops if op.name.endswith("conv:conv.dgrad"))
    assert gemm is not None
    assert gemm.useful_macs == 3 * 4 * 4 * 9 * 4 * 6
    sets = ("pe_array.rows=8", "pe_array.cols=8", "mapping.dgrad=decomposed")
    on, _, recorder = simulated(graph, *sets)
    assert counted(recorder, "mac.", "bwd/conv:conv.dgrad") == gemm.useful_macs
    folds = sum(math.ceil(6 * taps / 8) for taps in (1, 2, 2, 4))
    assert array_cycles(gemm, on) == (folds, folds * 48 + 2 * 8 + 8 - 2)
    zeros = load_machine("edge-sram", sets[:2])
    assert array_cycles(gemm, zeros) == (7, 7 * 192 + 2 * 8 + 8 - 2)
    times = recorder.op("bwd/conv:conv.dgrad")
    assert times.busy_cycles == folds * 48 + 2 * 8 + 8 - 2


# --- depthwise convolutions


def test_channels_on_the_diagonal_by_hand(nets: Nets) -> None:
    """4 channels of 9 taps on 20 rows: 2 at a time, a fold each, of 9 x 2 x 192 products."""
    graph = nets.graph("3x3 depthwise")
    (gemm,) = (op.gemm for op in graph.ops if op.name == "conv:conv")
    sets = ("pe_array.rows=20", "pe_array.cols=8")
    assert gemm is not None
    for how, folds in (("array", 4), ("diagonal", 2)):
        on, program, recorder = simulated(graph, *sets, f"mapping.depthwise={how}")
        assert array_cycles(gemm, on) == (folds, folds * 192 + 2 * 20 + 8 - 2)
        times = recorder.op("conv:conv")
        assert (times.folds, times.busy_cycles) == (folds, folds * 192 + 2 * 20 + 8 - 2)
        assert counted(recorder, "mac.", "conv:conv") == 4 * 9 * 192
        (kernel,) = (k for k in program.kernels if k.leader.op == "conv:conv")
        assert kernel.cuts["batch"].step == 4 // folds


def test_depthwise_on_the_vector_unit(nets: Nets) -> None:
    """A multiply and an add per tap and element of the forward, input and weight gradient; no MAC."""
    _, program, recorder = simulated(nets.graph("3x3 depthwise"), "mapping.depthwise=vector")
    for op in ("conv:conv", "bwd/conv:conv.dgrad", "bwd/conv:conv.wgrad"):
        done = {
            a: n for (c, a, p, _), n in recorder.counts.items() if p.op == op and c in ("vector", "pe_array")
        }
        assert done == {"mul": 4 * 9 * 192, "add": 4 * 9 * 192}
        assert next(k for k in program.kernels if k.leader.op == op).unit == "vector"


# --- sums on the drain


def test_sums_on_the_drain_save_one_read(nets: Nets) -> None:
    """The bank gives what is normalised once instead of twice, forward and backward; the work stays."""
    graph, found = nets.graph("3x3 s2"), {}
    for how in ("epilogue", "epilogue+stats"):
        _, _, recorder = simulated(graph, f"mapping.fusion={how}")
        words = sum(n for (c, a, _, _), n in recorder.counts.items() if c == "spad.sram" and a == "read")
        work = {(a, p.op): n for (c, a, p, _), n in recorder.counts.items() if c == "vector"}
        found[how] = words, work
    (before, work), (after, same) = found.values()
    on = load_machine("edge-sram", ())
    nbytes, word = 3 * 6 * 4 * 4 * 2, on.banks["sram"].word_bytes
    assert (before - after) * word == 2 * nbytes  # the activation forward, the error backward
    assert work == same


# --- the line buffer


ROOMY = 1 << 20
LINES = {  # bytes of the buffer, operand: reads out of how many; rows of 8, 2 bytes an element
    "none": (0, "3x3", "conv:conv", (9, 9)),
    "less than a window": (71, "3x3", "conv:conv", (9, 9)),
    "a window: one column is new": (72, "3x3", "conv:conv", (3, 9)),
    "two rows of 4 channels: one is kept": (128, "3x3", "conv:conv", (2, 9)),
    "less than three": (191, "3x3", "conv:conv", (2, 9)),
    "three": (192, "3x3", "conv:conv", (1, 9)),
    "stride 2: two rows come in": (191, "3x3 s2", "conv:conv", (6, 9)),
    "stride 2: three": (192, "3x3 s2", "conv:conv", (4, 9)),
    "weight gradient": (192, "3x3", "bwd/conv:conv.wgrad", (1, 9)),
    "errors of 6 channels, two rows": (287, "3x3", "bwd/conv:conv.dgrad", (2, 9)),
    "errors of 6 channels, three rows": (288, "3x3", "bwd/conv:conv.dgrad", (1, 9)),
    "errors with zeros between": (ROOMY, "3x3 s2", "bwd/conv:conv.dgrad", (1, 36)),
}


@pytest.mark.parametrize("name", LINES)
def test_line_buffers_by_hand(nets: Nets, name: str) -> None:
    """Windows of 3x3: the share of what the array takes that still comes from the banks."""
    nbytes, net, op, (reads, of) = LINES[name]
    sets = (f"im2col.line_buffer={nbytes} B", "pe_array.rows=24", "pe_array.cols=9")
    graph = nets.graph(net)
    _, program, recorder = simulated(graph, *sets)
    (gemm,) = (o.gemm for o in graph.ops if o.name == op)
    (kernel,) = (k for k in program.kernels if k.leader.op == op)
    assert gemm is not None
    sides = ("m", "k") if gemm.expanded == "a" else ("k", "n")
    taken = 2 * gemm.extent(sides[0]) * gemm.extent(sides[1])  # type: ignore[arg-type]
    binding = kernel.reads["ab".index(gemm.expanded or "")]
    counts = {
        (c, a): n
        for (c, a, p, role), n in recorder.counts.items()
        if p.op == op and role == binding.data.role
    }
    results = sum(w.data.nbytes for w in kernel.writes if w.data.role == binding.data.role)
    assert (counts["noc", "transfer"] - 8 * results) * of == taken * 8 * reads
    once = (1, 3) if net == "3x3" else (2, 3) if op == "conv:conv" else (1, 12)  # new columns, no zeros
    buffered = {("im2col", "read"): taken * once[0] // once[1], ("im2col", "write"): taken * reads // of}
    assert {key: n for key, n in counts.items() if key[0] == "im2col"} == (buffered if reads < of else {})


# --- skipping periods


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_skips_are_exact(nets: Nets, flow: str) -> None:
    """Phases, diagonals, vector nests, sums and line buffers: as simulating every tile, with small banks."""
    skipped = 0
    for name, sets in (
        ("3x3 s2", ALL),
        ("1x1 s2", ALL),
        ("3x3 s2 depthwise", ALL),
        ("3x3 depthwise", VECTOR),
    ):
        small = (*array(flow, 4, 3), *sets, "im2col.line_buffer=128 B", "scratchpad.granularity=64 B")
        on = with_banks(load_machine("edge-mram", small), (2048,))
        skipped += agree(on, map_graph(nets.graph(name), on)).folds_skipped
    assert skipped > 0
