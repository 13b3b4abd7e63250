"""Random machines and workloads for the law tests: small, odd, and legal."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from accelsim.errors import MappingError
from accelsim.frontend import load_workload
from accelsim.frontend.topology import parse
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup, WriteBuffer
from accelsim.resolve.machine import Accumulator, Dma, Dram, Machine, MappingChoices, Noc, VectorUnit
from accelsim.trace.recorder import Recorder
from accelsim.words import ROLES, Format

KIB = 1024
ARCHS = ["edge-sram", "edge-mram", "edge-hybrid", "tpu-like-sram", "tpu-like-mram", "tpu-like-hybrid"]
MODELS = '''
import torch
from torch import nn


class Cnn(nn.Module):
    """Convolution, norm, pool, a strided convolution with a shortcut, a linear head."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.pool = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.b, self.short, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 1, 2), nn.Linear(16, 3)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.a(x))))
        return self.head(torch.relu(self.b(x) + self.short(x)).flatten(1))


class Tower(nn.Module):
    """Blocks of the same layers, one on the other."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)) for _ in range(7)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(11, 9), nn.Linear(9, 5)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))
'''
STEPS: dict[str, str] = {
    "cnn": 'model = "models.py:Cnn"\nbatch = 2\n[inputs.x]\nshape = [2, 8, 8]\n'
    '[optimizer]\nname = "momentum"\n',
    "tower": 'model = "models.py:Tower"\nbatch = 6\n[inputs.x]\nshape = [8]\n[optimizer]\nname = "adam"\n',
    "perceptron": 'model = "models.py:Mlp"\nbatch = 3\n[inputs.x]\nshape = [11]\n'
    '[optimizer]\nname = "adam"\n',
}


class Named(Graph):
    """A graph whose repr is its name: hypothesis prints the examples that fail."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _named(graph: Graph, name: str) -> Graph:
    return Named(**{f.name: getattr(graph, f.name) for f in fields(graph)} | {"name": name})


@functools.cache
def step_graph(name: str) -> Graph:
    """Return the whole training step of one of ``STEPS``."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models.py").write_text(MODELS)
        path = Path(folder) / f"{name}.toml"
        path.write_text(STEPS[name])
        return _named(load_workload(str(path), cache=Path(folder) / "cache").graph, f"step {name}")


@functools.cache
def shipped_graph(name: str, batch: int | None = None, phase: str = "all") -> Graph:
    """Return the graph of a shipped workload."""
    return load_workload(name, batch=batch, phase=phase).graph


def gemms(*shapes: tuple[int, int, int]) -> Graph:
    """Return independent GEMMs of (m, n, k), named g0, g1, ..."""
    rows = [f"g{i},{m},{n},{k}" for i, (m, n, k) in enumerate(shapes)]
    return _named(parse("\n".join(["Layer,M,N,K", *rows]) + "\n", "gemms", "gemms.csv"), f"gemms{shapes}")


def convs(*shapes: Sequence[int]) -> Graph:
    """Return independent convolutions of (h, w, filter h, filter w, channels, filters, stride)."""
    header = "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides"
    rows = [",".join([f"c{i}", *map(str, s)]) for i, s in enumerate(shapes)]
    return _named(parse("\n".join([header, *rows]) + "\n", "convs", "convs.csv"), f"convs{shapes}")


def bank(
    name: str,
    *,
    capacity: int,
    technology: str = "sram",
    count: int = 1,
    subbanks: int = 1,
    word: int = 4,
    ports: str = "1rw",
    read: tuple[int, int] = (1_000, 1_000),
    write: int = 1_000,
) -> BankGroup:
    """Return a bank group: ``read`` is its latency and cycle, ``write`` its cycle, in ps."""
    return BankGroup(
        name=name,
        technology=technology,  # type: ignore[arg-type]
        count=count,
        subbanks=subbanks,
        capacity_bytes=capacity,
        word_bytes=word,
        ports=ports,  # type: ignore[arg-type]
        read_latency_ps=read[0],
        read_cycle_ps=read[1],
        write_cycle_ps=write,
        read_pj=1.0,
        write_pj=2.0,
        leakage_mw=1.0,
        area_mm2=0.1,
    )


@functools.cache
def _base() -> Machine:
    return load_machine("edge-sram", ())


def machine(
    *groups: BankGroup,
    rows: int = 4,
    cols: int = 4,
    dataflow: str = "ws",
    convention: str = "physical",
    clock_hz: int = 10**9,
    accumulator: int = 4 * KIB,
    granularity: int = 4 * KIB,
    noc_ps: int = 0,
    dma: tuple[int, int, int] = (0, 4, 1),
    dram: tuple[int, int] = (10**10, 50_000),
    lanes: int = 4,
    line_buffer: int = 0,
    objective: str = "time",
    fusion: str = "epilogue",
    depthwise: str = "array",
    dgrad: str = "zero-insert",
    host_gap: int = 0,
    placement: dict[str, tuple[str, ...]] | None = None,
) -> Machine:
    """Return a small machine.

    ``dma`` is descriptor latency in ps, outstanding, burst bytes; ``dram`` bytes per second and latency
    in ps. Data are stored as the workload has them; every role may lie in every group.
    """
    base = _base()
    banks = {g.name: g for g in groups or (bank("sram", capacity=64 * KIB),)}
    return replace(
        base,
        name="small",
        clock_hz=clock_hz,
        pe_array=replace(base.pe_array, rows=rows, cols=cols, dataflow=dataflow, convention=convention),
        accumulator=Accumulator(capacity_bytes=accumulator, element_bytes=4, rmw_pj=0.1, overflow=""),
        vector=VectorUnit(lanes=lanes, cycles=base.vector.cycles, pj=base.vector.pj),
        banks=banks,
        granularity_bytes=granularity,
        noc=Noc(pj_per_bit=0.1, latency_ps=noc_ps),
        dma=Dma(descriptor_latency_ps=dma[0], outstanding=dma[1], burst_bytes=dma[2], pj_per_bit=0.1),
        dram=Dram(
            bandwidth_bytes_per_s=dram[0],
            latency_ps=dram[1],
            read_pj_per_bit=8.0,
            write_pj_per_bit=8.0,
            background_mw=1.0,
        ),
        im2col_line_buffer_bytes=line_buffer,
        mapping=MappingChoices(
            objective=objective,  # type: ignore[arg-type]
            fusion=fusion,  # type: ignore[arg-type]
            depthwise=depthwise,  # type: ignore[arg-type]
            dgrad=dgrad,  # type: ignore[arg-type]
        ),
        host_gap_ps=host_gap,
        formats=dict.fromkeys(ROLES),
        placement={r: (placement or {}).get(r, tuple(banks)) for r in ROLES},
        sources=(),
    )


def with_fields(on: Machine, form: Format, fields: Mapping[str, Mapping[str, Sequence[str]]]) -> Machine:
    """Return ``on`` with all roles stored in ``form``, and bank groups by bit field for some of them."""
    placement = dict(on.placement)
    for role, groups in fields.items():
        placement[role] = tuple(dict.fromkeys(g for names in groups.values() for g in names))
        placement |= {f"{role} {name}": tuple(names) for name, names in groups.items()}
    return replace(on, formats=dict.fromkeys(ROLES, form), placement=placement)


@st.composite
def bank_groups(draw: st.DrawFn, name: str, technology: str) -> BankGroup:
    """Return a group of 2 KiB to about 64 KiB whose numbers divide nothing."""
    count, subbanks = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    word = draw(st.sampled_from([1, 2, 4, 7, 8, 32]))
    words = draw(st.integers(2 * KIB // word, 8 * KIB // word))
    write = draw(st.integers(4_000, 12_000) if technology == "stt-mram" else st.integers(150, 3_000))
    return bank(
        name,
        technology=technology,
        count=count,
        subbanks=subbanks,
        capacity=words * word * count * subbanks,
        word=word,
        ports=draw(st.sampled_from(["1rw", "1r1w"])),
        read=(draw(st.integers(0, 9_000)), draw(st.integers(150, 3_000))),
        write=write,
    )


@st.composite
def machines(draw: st.DrawFn, **fixed: Any) -> Machine:
    """Return a random small machine; keywords of ``machine`` may be fixed."""
    groups = [draw(bank_groups("sram", "sram"))]
    if draw(st.booleans()):
        groups.append(draw(bank_groups("mram", "stt-mram")))
    names = [g.name for g in groups]
    drawn: dict[str, Any] = {
        "rows": draw(st.integers(2, 9)),
        "cols": draw(st.integers(2, 9)),
        "dataflow": draw(st.sampled_from(["ws", "is", "os"])),
        "convention": draw(st.sampled_from(["physical", "scale-sim"])),
        "clock_hz": draw(st.sampled_from([10**9, 700_000_000, 3_800_000_000])),
        "accumulator": draw(st.sampled_from([0, 4, 60, 400, 4 * KIB, 1024 * KIB])),
        "granularity": draw(st.sampled_from([1, 33, 256, 4 * KIB])),
        "noc_ps": draw(st.sampled_from([0, 333, 5_000])),
        "dma": (
            draw(st.integers(0, 30_000)),
            draw(st.integers(1, 5)),
            draw(st.sampled_from([1, 16, 64])),
        ),
        "dram": (draw(st.integers(10**9, 10**11)), draw(st.integers(0, 200_000))),
        "lanes": draw(st.integers(1, 8)),
        "line_buffer": draw(st.sampled_from([0, 12, 4 * KIB])),
        "objective": draw(st.sampled_from(["time", "dram"])),
        "fusion": draw(st.sampled_from(["none", "epilogue", "epilogue+stats"])),
        "depthwise": draw(st.sampled_from(["array", "vector", "diagonal"])),
        "dgrad": draw(st.sampled_from(["zero-insert", "decomposed"])),
        "placement": {r: tuple(draw(st.permutations(names))) for r in ROLES} if len(names) > 1 else None,
    }
    return machine(*groups, **{**drawn, **fixed})


@st.composite
def write_buffers(draw: st.DrawFn) -> WriteBuffer:
    """Return a write buffer of 1 to 40 words."""
    entries = draw(st.integers(1, 40))
    high = draw(st.integers(1, entries))
    return WriteBuffer(
        entries=entries,
        high=high,
        low=draw(st.integers(0, high - 1)),
        coalescing=draw(st.booleans()),
        forwarding=draw(st.booleans()),
        cycle_ps=draw(st.sampled_from([264, 1_000, 1_429])),
        access_pj=0.1,
    )


@st.composite
def fronted(draw: st.DrawFn, on: Machine) -> Machine:
    """Return ``on`` with write buffers, or banks that serve by address, or both, or neither."""
    interleave = draw(st.sampled_from(["word", "line", "tile"]))
    banks = {n: replace(b, buffer=draw(st.none() | write_buffers())) for n, b in on.banks.items()}
    return replace(
        on,
        banks=banks,
        interleave=interleave,  # type: ignore[arg-type]
        line_bytes=draw(st.sampled_from([8, 56, 64, 256])) if interleave == "line" else 0,
        skew=draw(st.integers(0, 2)) if interleave != "word" else 0,
    )


sizes = st.integers(1, 25)
gemm_graphs = st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=2).map(lambda s: gemms(*s))


@st.composite
def conv_graphs(draw: st.DrawFn) -> Graph:
    """Return one convolution."""
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    p, q = draw(st.integers(1, min(h, 4))), draw(st.integers(1, min(w, 4)))
    return convs((h, w, p, q, draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 3))))


step_graphs = st.sampled_from(["cnn", "perceptron"]).map(step_graph)
graphs = st.one_of(gemm_graphs, conv_graphs(), step_graphs)


def mapped(graph: Graph, on: Machine, cold: bool = False) -> Program:
    """Map ``graph``; a machine too small for it is no example."""
    try:
        return map_graph(graph, on, cold=cold)
    except MappingError:
        reject()


def simulated(graph: Graph, on: Machine, cold: bool = False) -> tuple[Program, Recorder]:
    """Map and run, with every tensor traced."""
    program = mapped(graph, on, cold)
    return program, run_program(on, program, ("*",))
