"""Split tensors carry their values: every bit at an address of its own field's group, joined when read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from accelsim.config.locate import shipped
from accelsim.frontend.spec import load
from accelsim.mapping import map_graph
from accelsim.program.program import Binding, Program
from accelsim.program.store import dumps, loads
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.words import ROLES, Format
from tests.interpreter.schedule import ORDERS
from tests.interpreter.steps import Captured, ProgramSteps, assert_trains_as_torch, captured
from tests.strategies import with_fields
from tests.test_executable_program import NO_ACCUMULATOR, SMALL_ACCUMULATOR, Edit, array, with_banks

PARTS = {"sign+exponent": ("sram",), "mantissa": ("mram", "sram")}
TOP = {"msb:9": ("mram", "sram"), "mantissa": ("sram",)}
THREE = {"sign": ("sram", "mram"), "exponent": ("mram",), "mantissa": ("sram", "mram")}
WHOLE_BYTES = {"msb:8": ("sram",), "bits:0-7": ("mram",)}
NET = 'model = "mlp.py:MLP"\nbatch = 5\n[args]\nwidths = [30, 21, 17, 5]\n[inputs.x]\nshape = [30]\n'
RULE = '[optimizer]\nname = "momentum"\nlr = 0.1\nnesterov = true\n'


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    """Two steps of a perceptron by torch."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "net.toml").write_text(NET + RULE)
    (folder / "mlp.py").write_text((shipped("workloads") / "models" / "mlp.py").read_text())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield captured(load(folder / "net.toml"), 2)
    torch.set_num_threads(threads)


def split(fields: dict[str, tuple[str, ...]], form: Format, banks: tuple[int, int], *sets: str) -> Machine:
    """Return a small machine on which every role is split."""
    on = with_banks(load_machine("edge-hybrid", sets), banks)
    return with_fields(on, form, dict.fromkeys(ROLES, fields))


@pytest.mark.parametrize(
    ("fields", "form", "banks", "sets"),
    [
        (PARTS, "bf16", (2048, 2048), array("ws", 5, 8, NO_ACCUMULATOR)),
        (TOP, "bf16", (4096, 2048), array("os", 5, 3, SMALL_ACCUMULATOR)),
        (THREE, "fp32", (3072, 3072), array("is", 4, 4, NO_ACCUMULATOR, "mapping.fusion=none")),
        (WHOLE_BYTES, "fp16", (1504, 1504), array("ws", 5, 8, "mapping.objective=dram")),
        (PARTS, "bf16", (1 << 17, 1 << 17), ()),
    ],
    ids=["tiny", "odd fields", "three fields", "whole bytes", "resident"],
)
def test_split_tensors_carry_their_values(
    perceptron: Captured,
    fields: dict[str, tuple[str, ...]],
    form: Format,
    banks: tuple[int, int],
    sets: tuple[str, ...],
) -> None:
    """Two steps are torch's, in every order that the program allows; a stored program is the same."""
    on = split(fields, form, banks, *sets)
    program = map_graph(perceptron.graph, on)
    assert loads(dumps(program)) == program
    for order in ORDERS:
        paths = assert_trains_as_torch(perceptron, on, program, order)
    assert paths["bit field"] > 10 or banks[0] > 1 << 16


def test_a_convolution_net_is_carried_too() -> None:
    """lenet5: im2col, windows, pools; labels and masks are not split."""
    on = split(PARTS, "bf16", (24 << 10, 16 << 10))
    what = captured(load(shipped("workloads") / "lenet5.toml", batch=2), 1)
    program = map_graph(what.graph, on)
    found = {b.data.bit_field for k in program.kernels for b in (*k.reads, *k.writes)}
    assert found == {"all", "sign+exponent", "mantissa"}
    assert assert_trains_as_torch(what, on, program, "write-backs late")["im2col"]


def first_field_only(program: Program) -> Program:
    """Leave the further fields of a GEMM's operands out."""
    return replace(program, kernels=tuple(replace(k, further=()) for k in program.kernels))


def exchanged(program: Program) -> Program:
    """Let the two fields of every read change their places."""

    def other(bindings: tuple[Binding, ...]) -> tuple[Binding, ...]:
        mine = {(b.data.key, b.operand): b for b in bindings}
        pairs = {}
        for (key, operand), b in mine.items():
            name = "bits:0-7" if b.data.bit_field == "msb:8" else "msb:8"
            pairs[key, operand] = mine.get((replace(b.data, bit_field=name).key, operand), b)
        return tuple(
            replace(b, copy=pairs[b.data.key, b.operand].copy, slots=pairs[b.data.key, b.operand].slots)
            for b in bindings
        )

    return replace(program, kernels=tuple(replace(k, reads=other(k.reads)) for k in program.kernels))


def one_address(program: Program) -> Program:
    """Put every copy of the mantissa where the other field is."""
    regions = {c.data.tensor: c.region for c in program.copies if c.data.bit_field == "msb:8"}
    copies = tuple(replace(c, region=regions.get(c.data.tensor, c.region)) for c in program.copies)
    return replace(program, copies=copies)


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (first_field_only, "bits"),
        (exchanged, "is off by|not computed"),
        (one_address, "not computed|are not in"),
    ],
)
def test_a_lost_or_exchanged_field_is_noticed(perceptron: Captured, edit: Edit, fault: str) -> None:
    """Fields of equal size, so that nothing but their bits tells them apart."""
    fields: dict[str, tuple[str, ...]] = {"msb:8": ("sram",), "bits:0-7": ("sram",)}
    on = split(fields, "bf16", (1 << 17, 1 << 17), *array("ws", 8, 8))
    program = map_graph(perceptron.graph, on)
    trained = ProgramSteps(perceptron.graph, edit(program), on, perceptron.values)
    with pytest.raises(AssertionError, match=fault), np.errstate(all="ignore"):
        _compare(trained, perceptron)


def _compare(trained: ProgramSteps, what: Captured) -> None:
    got = trained.step("as written")
    for name, want in what.expected[0].items():
        far = abs(got[name] - want).max() / max(abs(want).max(), 1e-300)
        assert far <= 1e-9, f"{name} is off by {far:.1e}"
