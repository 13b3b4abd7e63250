"""Mapped programs run on real numbers train as torch does: the proof of graph, mapping and residency.

Every tile job is carried out on banks that hold one number per address and begin as not-a-number, in
every order that the program's dependencies allow. Loss, gradients, updated weights and optimizer states
of two steps in a row equal torch's in double precision.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accelsim.config.locate import shipped
from accelsim.errors import MappingError
from accelsim.frontend.spec import load
from accelsim.geometry import Operand
from accelsim.mapping import map_graph
from accelsim.mapping.problem import Places as Where
from accelsim.mapping.tile_shape import Shape
from accelsim.mapping.tiling import TileSearch
from accelsim.program.jobs import Stream
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.program import Binding, Kernel, Program
from accelsim.program.ranges import extent, tile_count
from accelsim.resolve.load import load_machine
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from tests.interpreter.kernels import KernelRun, Memories
from tests.interpreter.memory import Places, flat
from tests.interpreter.runs import kernel_run
from tests.interpreter.schedule import ORDERS, Order, Schedule
from tests.interpreter.steps import Captured, ProgramSteps, captured
from tests.nest_walk import nest
from tests.strategies import gemms

STEPS = 2
TOLERANCE = 1e-9  # of the largest number of a tensor
SHIPPED = {"mlp": 6, "lenet5": 5, "lenet-tinydnn": 3, "resnet18-cifar": 2}  # with their batches
TOKENS = '[16]\ndtype = "int64"\nbelow = 1200'
GPT = "vocabulary = 1200\ncontext = 20\nwidth = 32\nlayers = 2\nheads = 2\ndropout = 0.0\nattention = "
OWN = {
    "perceptron": ("mlp.py:MLP", "[30]", "widths = [30, 21, 17, 5]"),
    "residual": ("small_nets.py:Residual", "[3, 9, 9]", ""),
    "attention": ("small_nets.py:Attention", "[5, 8]", ""),
    "encoder": ("small_nets.py:Encoder", "[5, 8]", ""),
    "moves": ("small_nets.py:Moves", "[2, 6, 6]", ""),
    "pools": ("small_nets.py:Pools", "[1, 28, 26]", ""),
    "gpt": ("transformer.py:GPT2", TOKENS, GPT + '"products"'),
    "gpt-fused": ("transformer.py:GPT2", TOKENS, GPT + '"fused"'),
}
RULES = {
    "sgd": "lr = 0.1\nweight_decay = 0.01",
    "momentum": "lr = 0.1\nnesterov = true",
    "adam": "lr = 0.01",
    "adagrad": "lr = 0.05\neps = 1e-8",
}


@dataclass(frozen=True)
class Case:
    """A workload (with an optimizer, if it is our own) on a machine, perhaps with tiny banks."""

    workload: str
    rule: str = "momentum"
    machine: str = "edge-hybrid"
    sets: tuple[str, ...] = ()
    banks: tuple[int, ...] = ()  # bytes per group, in the machine's order; none: as described
    cold: bool = False
    orders: tuple[Order, ...] = ORDERS
    steps: int = STEPS

    def __str__(self) -> str:
        words = [self.workload, self.rule if self.workload in OWN else "", self.machine]
        words += [s.split(".")[-1] for s in self.sets] + [f"{b}B" for b in self.banks]
        return " ".join(w for w in words if w) + (" cold" if self.cold else "")


def array(dataflow: str, rows: int, cols: int, *more: str) -> tuple[str, ...]:
    """Return the settings of an array."""
    sizes = (f"pe_array.rows={rows}", f"pe_array.cols={cols}")
    return (f"pe_array.dataflow={dataflow}", *sizes, *more)


NO_ACCUMULATOR, SMALL_ACCUMULATOR = "accumulator.capacity=0 B", "accumulator.capacity=128 B"
UNFUSED = "mapping.fusion=none"

CASES = (
    Case("mlp", machine="tpu-like-hybrid"),
    Case("mlp", machine="edge-hybrid", sets=("pe_array.dataflow=os",)),
    Case("lenet5", machine="tpu-like-hybrid"),
    Case("lenet5", machine="edge-hybrid"),
    Case("lenet5", machine="edge-hybrid", cold=True),
    Case("lenet5", sets=("pe_array.dataflow=is",), banks=(16 << 10, 12 << 10)),
    Case("lenet-tinydnn", machine="edge-hybrid"),
    Case("lenet-tinydnn", machine="edge-mram", sets=(UNFUSED, NO_ACCUMULATOR), banks=(24 << 10,)),
    *(Case("perceptron", rule) for rule in RULES),
    *(Case("perceptron", rule, banks=(1504, 1504), sets=array("ws", 5, 3)) for rule in RULES),
    *(Case("perceptron", "adagrad", cold=True, banks=(size, size)) for size in (2048, 8192)),
    *(
        Case("perceptron", sets=array(flow, 5, 8, accumulator, fusion), banks=(1504, 1504))
        for flow in ("ws", "os", "is")
        for accumulator in (NO_ACCUMULATOR, SMALL_ACCUMULATOR)
        for fusion in (UNFUSED, "mapping.fusion=epilogue")
    ),
    *(
        Case("residual", "sgd", sets=array(flow, 8, 5, accumulator, fusion), banks=banks)
        for flow, accumulator, fusion, banks in (
            ("ws", NO_ACCUMULATOR, UNFUSED, (4096, 4096)),
            ("ws", SMALL_ACCUMULATOR, "mapping.fusion=epilogue", (8192, 4096)),
            ("os", SMALL_ACCUMULATOR, "mapping.fusion=epilogue", (4096, 8192)),
            ("is", NO_ACCUMULATOR, "mapping.fusion=epilogue", (6144, 6144)),
            ("is", "accumulator.capacity=64 KiB", UNFUSED, (16384, 4096)),
        )
    ),
    Case("residual", "adam", "edge-sram"),
    Case("residual", "momentum", "edge-sram", array("ws", 16, 16, "pe_array.convention=scale-sim"), (8192,)),
    Case("attention", "adagrad", "edge-hybrid"),
    *(
        Case("attention", "momentum", "edge-mram", array(f, 3, 5, SMALL_ACCUMULATOR), (2048,))
        for f in ("ws", "os")
    ),
    Case("attention", "sgd", "edge-mram", ("mapping.objective=dram",), (2560,)),
    *(
        Case(net, "momentum", "edge-mram", array(flow, 8, 8, SMALL_ACCUMULATOR), (3072,))
        for net in ("encoder", "moves")
        for flow in ("ws", "os")
    ),
    Case("encoder", "adam", "edge-hybrid"),
    Case("pools", "momentum", "edge-mram", array("ws", 8, 8), (3072,), orders=ORDERS[1:]),
    Case("resnet18-cifar", machine="edge-sram", orders=("fills early",), steps=1),
    Case("gpt", "adam", "edge-hybrid", orders=("fills early",)),
    *(
        Case(net, "adam", "edge-mram", array(flow, 8, 8, SMALL_ACCUMULATOR), (size,), orders=(order,))
        for net, flow, size, order in (
            ("gpt", "ws", 16384, "fills early"),
            ("gpt-fused", "ws", 8192, "write-backs late"),
            ("gpt-fused", "os", 16384, "as written"),
        )
    ),
)

BOOKED = [case for case in CASES if case.workload in OWN and case.banks and case.rule != "adam"]


class Lab:
    """Captures workloads, maps them and runs the programs; each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._captured: dict[tuple[str, str], Captured] = {}
        self._paths: dict[Case, Counter[str]] = {}

    def captured(self, workload: str, rule: str) -> Captured:
        """Return a workload's graph and torch's results."""
        key = (workload, rule if workload in OWN else "")
        if key not in self._captured:
            path = self._own(workload, rule) if workload in OWN else shipped("workloads") / f"{workload}.toml"
            self._captured[key] = captured(load(path, batch=SHIPPED.get(workload)), STEPS)
        return self._captured[key]

    def _own(self, workload: str, rule: str) -> Path:
        model, shape, args = OWN[workload]
        path = self.folder / f"{workload}-{rule}.toml"
        batch = 2 if shape == TOKENS else 7
        path.write_text(
            f'model = "{model}"\nbatch = {batch}\n[args]\n{args}\n[inputs.x]\nshape = {shape}\n'
            f'[optimizer]\nname = "{rule}"\n{RULES[rule]}\n'
        )
        return path

    def mapped(self, case: Case) -> tuple[Captured, Machine, Program]:
        """Return a case's graph, machine and program."""
        what = self.captured(case.workload, case.rule)
        machine = with_banks(load_machine(case.machine, case.sets), case.banks)
        return what, machine, map_graph(what.graph, machine, cold=case.cold)

    def paths(self, case: Case) -> Counter[str]:
        """Run a case in every order and return which ways it took."""
        if case not in self._paths:
            what, machine, program = self.mapped(case)
            steps = 1 if case.cold else case.steps
            taken = [run(what, machine, program, order, steps) for order in case.orders]
            self._paths[case] = sum(taken, Counter())
        return self._paths[case]


def with_banks(machine: Machine, nbytes: tuple[int, ...]) -> Machine:
    """Return ``machine`` with banks of ``nbytes``, which may be less than any macro holds."""
    sized = zip(
        machine.banks.items(), nbytes or [b.capacity_bytes for b in machine.banks.values()], strict=True
    )
    return replace(machine, banks={name: replace(bank, capacity_bytes=n) for (name, bank), n in sized})


def run(what: Captured, machine: Machine, program: Program, order: Order, steps: int = STEPS) -> Counter[str]:
    """Run steps and compare each with torch's; return which ways the program took."""
    trained = ProgramSteps(what.graph, program, machine, what.values)
    for number, expected in enumerate(what.expected[:steps]):
        got = trained.step(order)
        assert sorted(expected) == sorted(n for n in got if not n.startswith("batch/"))
        for name, want in expected.items():
            far = np.abs(got[name] - want).max() / max(np.abs(want).max(), 1e-300)
            assert far <= TOLERANCE, f"step {number}, {order}: {name} is off by {far:.1e} of its largest"
    return trained.mem.paths


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A place to run cases in, with one thread, as many small ops are slower with more."""
    folder = tmp_path_factory.mktemp("workloads")
    shutil.copy(Path(__file__).parent / "interpreter" / "small_nets.py", folder)
    for name in ("mlp.py", "transformer.py"):
        shutil.copy(shipped("workloads") / "models" / name, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Lab(folder)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_programs_train_as_torch_does(lab: Lab, case: Case) -> None:
    """Loss, gradients, weights, states and buffers of every step, in every order."""
    assert lab.paths(case)


def test_every_way_is_taken(lab: Lab) -> None:
    """The cases above evict, keep, spill partial sums, refill slots and results, and update in place."""
    total: Counter[str] = Counter()
    for case in CASES:
        total += lab.paths(case)
    ways: tuple[str, ...] = (
        "eviction",
        "kept fill",
        "partial sums in a bank",
        "slot filled again",
        "refill of a result",
    )
    ways += ("k cut", "im2col", "rider", "slab", "write-back", "update in place")
    assert [way for way in ways if total[way] < 10] == []


@pytest.mark.parametrize("accumulator", ["0 B", "200 B", "64 KiB"])
@pytest.mark.parametrize("side", ["m", "n"])
@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_products_in_panels(flow: str, side: str, accumulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nest with a side cut twice multiplies right; its partial sums wait in banks, accumulator or both."""

    def only(search: TileSearch, shape: Shape, places: Where) -> list[Shape]:
        return [s for s in search.shapes.with_panels(shape, places) if s.panel == side]

    monkeypatch.setattr(TileSearch, "_nests", only)
    graph, (m, n, k) = gemms((21, 26, 19)), (21, 26, 19)
    sets = array(flow, 4, 4, f"accumulator.capacity={accumulator}", "dma.burst=2 B", "mapping.objective=dram")
    machine = with_banks(load_machine("edge-sram", sets), (1536,))
    program = map_graph(graph, machine)
    (kernel,) = program.kernels
    assert kernel.panel is not None
    assert tile_count(kernel.sides["k"], kernel.cuts["k"]) > 1
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    for order in ORDERS:
        memories = Memories(graph, program)
        for binding, values in zip(kernel.reads, (a, b), strict=True):
            memories.dram.put(binding.data.tensor, values.ravel())
        Schedule(memories, [kernel_run(memories, machine, array_shape(machine), kernel)], order).run()
        made = memories.dram.whole(kernel.writes[0].data.tensor).reshape(m, n)
        assert np.allclose(made, a @ b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_the_smallest_scratchpad_works(lab: Lab, flow: str) -> None:
    """The smallest banks, in steps of an eighth of 512 bytes, that a program is found for are enough."""
    what = lab.captured("perceptron", "momentum")
    machine = load_machine("edge-mram", array(flow, 4, 4, NO_ACCUMULATOR))
    for nbytes in range(512, 8192, 64):
        small = with_banks(machine, (nbytes,))
        try:
            program = map_graph(what.graph, small)
        except MappingError:
            continue
        assert sum(program.peak_bytes.values()) <= nbytes < 2048
        run(what, small, program, "write-backs late")
        return
    pytest.fail("nothing up to 8 KiB is enough")


@pytest.mark.parametrize("case", BOOKED, ids=str)
def test_folds_book_what_their_tile_computes(lab: Lab, case: Case) -> None:
    """MACs, results and booked boxes of a tile's folds add up to the tile, each result once."""
    _, machine, program = lab.mapped(case)
    folds = array_shape(machine)
    kernels = [k for k in program.kernels if k.unit == "pe_array"]
    assert kernels
    for kernel in kernels:
        for (tile, at, counts), job in zip(nest(kernel), jobs_of(kernel, folds, {}, 1), strict=True):
            points = {side: extent(kernel.sides[side], tile) for side in ("m", "n", "k")}
            results = points["m"] * points["n"]
            assert sum(f.macs for f in job.folds) == results * points["k"]
            loads = [f.load for f in job.folds if f.load is not None]
            for streams in ([s for f in job.folds for s in f.streams], loads):
                for index in sorted({s.binding for s in streams}):
                    operand = kernel.reads[index].operand
                    booked = places(kernel.reads[index], streams, index)
                    missing = np.setxor1d(booked, flat(operand.box(tile), operand.shape))
                    assert not missing.size or leaves_gaps(operand)
            if at["k"] < counts["k"] - 1:
                assert not any(f.writes for f in job.folds)
                continue
            assert sum(f.emit for f in job.folds if f.writes) in (results, 0)
            for index, binding in enumerate(kernel.writes):
                booked = np.sort(places(binding, [s for f in job.folds for s in f.writes], index))
                assert np.array_equal(booked, flat(binding.operand.box(tile), binding.operand.shape))


def leaves_gaps(operand: Operand) -> bool:
    """Return whether windows lie apart, so that rows between them are fetched but never read."""
    return any(d.kind == "window" and d.stride > d.extent for d in operand.dims)


def places(binding: Binding, streams: list[Stream], index: int) -> Places:
    """Return the elements of ``binding`` that ``streams`` book, as often as they do."""
    boxes = [s.box for s in streams if s.binding == index and s.box is not None]
    return np.concatenate([flat(b, binding.operand.shape) for b in boxes])


# --- the interpreter itself: it notices what it is there for

Edit = Callable[[Program], Program]


def each_binding(edit: Callable[[Binding], Binding]) -> Edit:
    """Return an edit of every operand of every kernel."""

    def kernel(k: Kernel) -> Kernel:
        return replace(k, reads=tuple(map(edit, k.reads)), writes=tuple(map(edit, k.writes)))

    return lambda program: replace(program, kernels=tuple(map(kernel, program.kernels)))


forget_free = each_binding(lambda b: replace(b, free_after=-1))
forget_ready = each_binding(lambda b: replace(b, ready_after=-1))
one_slot = each_binding(lambda b: replace(b, slots=b.slots[:1] * len(b.slots)))


def forget_evictions(program: Program) -> Program:
    """Write no copy back."""
    return replace(program, kernels=tuple(replace(k, write_back=()) for k in program.kernels))


def overlap(program: Program) -> Program:
    """Move every copy's region a word down."""
    copies = []
    for copy in program.copies:
        extents = tuple((max(0, at - 32), n) for at, n in copy.region.extents)
        copies.append(replace(copy, region=replace(copy.region, extents=extents)))
    return replace(program, copies=tuple(copies))


SPILLING = Case("perceptron", sets=array("ws", 5, 8, NO_ACCUMULATOR, UNFUSED), banks=(1504, 1504))


@pytest.mark.parametrize(
    ("edit", "order"),
    [
        (forget_free, "fills early"),
        (forget_free, "write-backs late"),
        (forget_ready, "fills early"),
        (forget_ready, "write-backs late"),
        (forget_evictions, "as written"),
        (overlap, "as written"),
        (one_slot, "fills early"),
    ],
    ids=["free early", "free late", "ready early", "ready late", "evictions", "overlap", "one slot"],
)
def test_a_broken_program_is_noticed(lab: Lab, edit: Edit, order: Order) -> None:
    """A dependency, an eviction or a place that is wrong ends in a hazard or in wrong numbers."""
    what, machine, program = lab.mapped(SPILLING)
    with pytest.raises(AssertionError, match=r"are not in|is off by|deadlock|two different"):
        run(what, machine, edit(program), order)


@pytest.mark.parametrize(("late", "order"), [("fills", "fills early"), ("write-backs", "write-backs late")])
def test_a_forgotten_wait_is_noticed(
    lab: Lab, late: str, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fills that do not wait for the tile that frees their slot, and results that do not wait for theirs."""
    what, machine, program = lab.mapped(SPILLING)
    begin = KernelRun.__init__

    def forgetful(self: KernelRun, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        for job in self.jobs:
            if late == "fills":
                job.fills = [replace(f, wait_tile=-1) for f in job.fills]
            else:
                for result in job.results:
                    result.write_backs_needed = 0

    monkeypatch.setattr(KernelRun, "__init__", forgetful)
    with pytest.raises(AssertionError, match=r"are not in|is off by|two different"):
        run(what, machine, program, order)
