"""Streams along and across the grain of their words: what each dataflow absorbs, and what the rest costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from accelsim.config.locate import shipped
from accelsim.frontend.spec import load
from accelsim.geometry import Axis, Operand, direct
from accelsim.graph.ir import Graph
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.mapping.orders import PLAIN, orders_to_try
from accelsim.program.grain import ALL, VECTORS, Which, is_transposed, run_along
from accelsim.program.program import Binding, Program, Side
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine, Transpose
from accelsim.resolve.prices import price_pj
from accelsim.trace.recorder import Recorder
from accelsim.words import Dataflow
from tests.interpreter.feed import Words
from tests.interpreter.steps import Captured, ProgramSteps, captured
from tests.strategies import convs, gemms, machines
from tests.test_executable_program import Lab, array, lab, run
from tests.test_steady_state import agree

assert lab  # a fixture

TOLERANCE = 1e-9  # of the largest number of a tensor
MODELLED = ("scratchpad.layout=modelled",)
UNIT = (*MODELLED, "transpose.rate=64 B")
FLOWS: tuple[Dataflow, ...] = ("ws", "is", "os")
PAGE = Path(__file__).parent.parent / "docs" / "layout.md"


def small(flow: str, *more: str) -> tuple[str, ...]:
    """Return the keys of a small array."""
    return ("pe_array.rows=32", "pe_array.cols=16", f"pe_array.dataflow={flow}", *more)


# -- proof: what comes in whole words is what the array needs


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """A perceptron whose every extent is whole words."""
    folder = tmp_path_factory.mktemp("workloads")
    (folder / "mlp.py").write_text((shipped("workloads") / "models" / "mlp.py").read_text())
    (folder / "aligned.toml").write_text(
        'model = "mlp.py:MLP"\nbatch = 32\n[args]\nwidths = [48, 32, 16]\n[inputs.x]\nshape = [48]\n'
        '[optimizer]\nname = "sgd"\nlr = 0.1\n'
    )
    return captured(load(folder / "aligned.toml"), 1)


@pytest.fixture(scope="module")
def lenet() -> Captured:
    """A convolution network whose extents are no whole words."""
    return captured(load(shipped("workloads") / "lenet-tinydnn.toml", batch=1), 1)


def fed(what: Captured, machine: Machine, program: Program) -> Words:
    """Train a step word by word, compare it with torch's, and return the words that were fetched."""
    block = machine.transpose.block if machine.transpose is not None else 0
    words = Words(block, {name: bank.word_bytes for name, bank in machine.banks.items()})
    got = ProgramSteps(what.graph, program, machine, what.values, words).step("as written")
    for name, want in what.expected[0].items():
        assert np.abs(got[name] - want).max() <= TOLERANCE * max(np.abs(want).max(), 1e-300), name
    return words


def programs(what: Captured, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Map the step once for each of the orders that are tried."""
    for only in orders_to_try(what.graph, machine):
        monkeypatch.setattr("accelsim.mapping.mapper.orders_to_try", lambda *_, only=only: [only])
        yield map_graph(what.graph, machine)


@pytest.mark.parametrize("sets", [MODELLED, UNIT], ids=["by word", "turned"])
@pytest.mark.parametrize("flow", FLOWS)
def test_words_bring_what_the_array_needs(
    aligned: Captured, flow: str, sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fed word by word in the stored order, a perceptron trains as torch does, with the words booked."""
    machine = load_machine("edge-sram", small(flow, *sets))
    lies: set[str] = set()
    for program in programs(aligned, machine, monkeypatch):
        words = fed(aligned, machine, program)
        assert words.fetched == words.booked
        lies |= set(words.lies.values())
    assert ("along" if flow == "ws" else "absorbed") in lies
    assert {"unit"} <= lies if sets == UNIT else {"word", "twice"} <= lies


@pytest.mark.parametrize(("flow", "sets"), [("is", UNIT), ("os", MODELLED)])
def test_convolutions_come_word_by_word(
    lenet: Captured, flow: str, sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that begins inside a word costs one word more, and no more than that."""
    machine = load_machine("edge-sram", small(flow, *sets))
    *_, program = programs(lenet, machine, monkeypatch)
    words = fed(lenet, machine, program)
    for key, fetched in words.fetched.items():
        more = 0 if words.lies[key] == "word" else words.booked[key] + words.vectors[key]
        assert fetched <= words.booked[key] + more, key


@pytest.mark.parametrize(("net", "flow"), [("residual", "is"), ("encoder", "os")])
def test_every_order_trains_as_torch_does(
    lab: Lab, net: str, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of nets with images and attention, in tensors stored in other orders, and twice."""
    what, stored = lab.captured(net, "momentum"), set()
    machine = load_machine("edge-hybrid", array(flow, 8, 8, *MODELLED, "mapping.fusion=epilogue+stats"))
    for program in programs(what, machine, monkeypatch):
        run(what, machine, program, "fills early")
        bindings = [b.data for k in program.kernels for b in (*k.reads, *k.writes)]
        stored |= {(bool(d.order), bool(d.twin_of)) for d in bindings}
    assert {(False, False), (True, False), (True, True)} <= stored


@pytest.mark.parametrize("flow", FLOWS)
def test_a_wrong_lie_is_noticed(aligned: Captured, flow: str) -> None:
    """Operands that lie across their grain and are booked as if along it fetch more words than booked."""
    machine = load_machine("edge-sram", small(flow, *MODELLED))

    def straight(binding: Binding) -> Binding:
        return replace(binding, way="along", fetch=None)

    words = fed(aligned, machine, _edited(map_graph(aligned.graph, machine), straight))
    wrong = {key for key, lie in words.lies.items() if lie == "word"}
    assert wrong
    assert all(words.fetched[key] > 8 * words.booked[key] for key in wrong)
    assert all(words.fetched[key] == words.booked[key] for key in words.lies.keys() - wrong)


def _edited(program: Program, edit: Callable[[Binding], Binding]) -> Program:
    kernels = [
        replace(k, reads=tuple(map(edit, k.reads)), writes=tuple(map(edit, k.writes)))
        for k in program.kernels
    ]
    return replace(program, kernels=tuple(kernels))


# -- the table

OPS: dict[str, tuple[str, str, str]] = {  # stored dimensions of a, b, c, innermost last
    "Y = X W'": ("mk", "nk", "mn"),
    "dX = dY W": ("mk", "kn", "mn"),
    "dW = dY' X": ("km", "kn", "mn"),
}
NAMES = {"Y = X W'": ("X", "W", "Y"), "dX = dY W": ("dY", "W", "dX"), "dW = dY' X": ("dY", "X", "dW")}


def _lie(flow: Dataflow, which: Which, stored: str) -> str:
    axes: dict[Side, tuple[Axis, ...]] = {s: (Axis(s, 64),) for s in ("m", "n", "k")}  # type: ignore[misc]
    operand = Operand("", (64, 64), tuple(direct(s) for s in stored))
    along = run_along(operand, axes[VECTORS[flow][which]], dict.fromkeys("mnk", 64), 64) == ALL
    return "across" if not along else "absorbed" if is_transposed(which, operand, axes) else "along"


def test_the_table_says_what_is_absorbed() -> None:
    """The page's table is that of the code: for every product of a layer, operand and dataflow."""
    rows = []
    for product, stored in OPS.items():
        for which, dims, name in zip(("a", "b", "c"), stored, NAMES[product], strict=True):
            cells = [_lie(flow, which, dims) for flow in FLOWS]  # type: ignore[arg-type]
            rows.append(f"| `{product}` | {name} | {' | '.join(cells)} |")
    assert "\n".join(rows) in PAGE.read_text()


# -- counts, energy, time


def words_read(recorder: Recorder, role: str) -> int:
    """Return the words that the array read of a role."""
    return sum(
        n for (c, action, _, r), n in recorder.counts.items() if (action, r) == ("read", role) and "spad" in c
    )


@pytest.fixture
def torchs_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store tensors as torch does, whatever it costs."""
    monkeypatch.setattr("accelsim.mapping.mapper.orders_to_try", lambda *_: [PLAIN])


@pytest.mark.usefixtures("torchs_orders")
def test_a_stream_across_its_grain_costs_what_its_way_costs() -> None:
    """X (128 x 64), which os wants by columns: a word per element, or whole words and a turn of each bit."""
    graph = gemms((128, 32, 64))
    plain, by_word, turned = (
        load_machine("edge-sram", ("pe_array.dataflow=os", *sets)) for sets in ((), MODELLED, UNIT)
    )
    runs = [run_program(on, map_graph(graph, on)) for on in (plain, by_word, turned)]
    elements = 128 * 64
    assert [words_read(r, "input") for r in runs] == [elements // 16, elements, elements // 16]
    assert [words_read(r, "weight") for r in runs] == [words_read(runs[0], "weight")] * 3
    counts = {key: n for key, n in runs[2].counts.items() if key[0] == "transpose"}
    assert [(a, r, n) for (_, a, _, r), n in counts.items()] == [("turn", "input", elements * 16)]
    assert runs[2].components["transpose"].busy_ps >= elements * 2 // 64 * 1000
    assert turned.transpose is not None
    assert price_pj(turned, "transpose", "turn") == turned.transpose.pj_per_bit
    wires = [sum(n for key, n in r.counts.items() if key[0] == "noc") for r in runs]
    assert wires[0] == wires[1] == wires[2]


def test_what_nobody_else_reads_is_stored_as_the_array_takes_it() -> None:
    """A GEMM alone has its operands in the order that the dataflow wants: as fast as if all lay along."""
    graph = gemms((128, 32, 64))
    for flow in FLOWS:
        plain, on = (load_machine("edge-sram", (f"pe_array.dataflow={flow}", *s)) for s in ((), MODELLED))
        program = map_graph(graph, on)
        assert {b.way for k in program.kernels for b in (*k.reads, *k.writes)} == {"along"}
        assert words_read(run_program(on, program), "input") == words_read(
            run_program(plain, map_graph(graph, plain)), "input"
        )


@pytest.mark.usefixtures("torchs_orders")
def test_elements_written_into_code_words_read_them_first() -> None:
    """Results across their grain under SECDED: a read-modify-write for every element."""
    on = load_machine("edge-sram", ("pe_array.dataflow=is", *MODELLED, "bank.sram.ecc=secded"))
    recorder = run_program(on, map_graph(gemms((128, 32, 64)), on))
    found = {a: n for (c, a, _, r), n in recorder.counts.items() if (c, r) == ("spad.sram", "activation")}
    assert found["rmw"] == found["write"] == 128 * 32


def test_short_words_lie_along_anything() -> None:
    """A word of one element costs nothing across its grain."""
    on = load_machine(
        "edge-sram",
        (
            "pe_array.dataflow=os",
            *MODELLED,
            "bank.sram.word=16 bit",
            "bank.sram.read_energy=1 pJ",
            "bank.sram.write_energy=1 pJ",
            "bank.sram.read_latency=1 ns",
            "bank.sram.write_cycle=1 ns",
            "bank.sram.leakage=1 mW",
            "bank.sram.area=1 mm2",
        ),
    )
    program = map_graph(gemms((64, 32, 64)), on)
    assert {b.way for k in program.kernels for b in (*k.reads, *k.writes)} == {"along"}


# -- the steady state

units = st.one_of(
    st.none(),
    st.builds(
        lambda rate, block, latency: Transpose(
            rate_bytes=rate, block=block, latency_ps=latency, pj_per_bit=0.01, area_mm2=0.1
        ),
        st.sampled_from([2, 8, 24]),
        st.sampled_from([1, 2, 4]),
        st.sampled_from([0, 700, 12_345]),
    ),
)
lying = st.builds(lambda on, unit: replace(on, layout="modelled", transpose=unit), machines(), units)
long = st.integers(8, 40)
graphs = st.one_of(
    st.tuples(long, long, long).map(lambda s: gemms(s)),
    st.tuples(st.integers(60, 200), st.integers(1, 8), st.integers(1, 20)).map(lambda s: gemms(s)),
    st.just(convs((12, 9, 3, 3, 3, 6, 1))),
)


def test_repeated_blocks_are_skipped_exactly_with_second_copies(tmp_path: Path) -> None:
    """Alike layers whose tensors are stored twice, or fetched by word: the same books as tile by tile."""
    (tmp_path / "mlp.py").write_text((shipped("workloads") / "models" / "mlp.py").read_text())
    widths = ", ".join(["48"] * 10)
    (tmp_path / "deep.toml").write_text(
        f'model = "mlp.py:MLP"\nbatch = 32\n[args]\nwidths = [{widths}, 16]\n[inputs.x]\nshape = [48]\n'
        '[optimizer]\nname = "sgd"\nlr = 0.1\n'
    )
    graph = captured(load(tmp_path / "deep.toml"), 1).graph
    on = load_machine("edge-sram", small("os", *MODELLED))
    program = map_graph(graph, on)
    assert {"twice", "word"} <= {b.lie for k in program.kernels for b in (*k.reads, *k.writes)}
    assert agree(on, program).kernels_skipped > 8


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a strategy's arguments
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(graphs, lying)
def test_skipping_is_exact_with_layouts(graph: Graph, on: Machine) -> None:
    """Random machines with and without a unit: the same books as simulating every tile."""
    program = map_graph(graph, on)
    recorder = agree(on, program)
    ways = {b.way for k in program.kernels for b in (*k.reads, *k.writes)}
    for way in sorted(ways):
        event(way)
    event("skipped" if recorder.tiles_skipped + recorder.folds_skipped else "nothing skipped")
