"""The error profile of a run as laws: hand-written tables in the format of ``errors.parquet``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accelsim.errors import InputError
from accelsim.frontend import load_workload
from accelsim.frontend.spec import load
from accelsim.trace.schema import ERRORS
from accelsim.trace.tables import write_table
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Read
from accelsim.train.profile import RunProfile, _owner
from tests.train_models import Laws, Scale, bits, small, start, train

SHAPE = (64, 64)
EMPTY = {"dict": "", "int64": 0, "double": 0.0}


def row(**given: Any) -> dict[str, Any]:
    """Return a row of the table; p_stored comes from the causes unless it is given."""
    made = (
        {column: EMPTY[kind] for column, kind in ERRORS.items()} | {"bit_field": "all", "bits": 1000} | given
    )
    causes = ("p_write", "p_retention", "p_read_disturb", "p_inherited")
    made["p_stored"] = given.get("p_stored", sum(made[c] for c in causes))
    sensed = made["p_stored"] * (1 - 2 * made["p_sense"]) + made["p_sense"]
    made["p_total"] = given.get("p_total", min(1.0, sensed))
    return made


def activation(**given: Any) -> dict[str, Any]:
    """Return a row of what layer ``1`` reads of layer ``0``."""
    site = {"role": "activation", "tensor": "0:t", "layer": "0", "reader_layer": "1", "copy_class": "0:t/0"}
    return row(**{**site, "phase_written": "forward", "phase_read": "forward", **given})


def backward(**given: Any) -> dict[str, Any]:
    """Return a row of what the backward of layer ``1`` reads of it."""
    return activation(phase_read="backward", **given)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``rows`` as ``errors.parquet`` in ``path``."""
    write_table(path / "errors.parquet", ERRORS, {c: [r[c] for r in rows] for c in ERRORS})
    return path


def read(phase: Any, **given: Any) -> Read:
    """Return a read of layer ``1``."""
    return Read(**{"role": "activation", "layer": "0", "reader": "1", "phase": phase, **given})


def test_later_reads_of_a_copy_grow_its_errors(tmp_path: Path) -> None:
    """The first read draws p_stored, a later one p_new and p_back; causes keep their shares."""
    rows = [
        activation(p_write=1e-3, p_retention=3e-3),
        backward(read_index=1, p_new=2e-3, p_back=0.1, p_retention=6e-3, p_write=1e-3, p_sense=1e-4),
    ]
    profile = RunProfile.load(write(tmp_path, rows))
    (first,) = profile.laws(read("forward"))
    (second,) = profile.laws(read("backward"))
    assert first.fresh
    assert first.fields[0].p_new == pytest.approx(4e-3)
    assert dict(first.fields[0].causes) == pytest.approx({"write": 0.25, "retention": 0.75})
    assert not second.fresh
    assert (second.fields[0].p_new, second.fields[0].p_back) == (2e-3, 0.1)
    assert (second.fields[0].p_sense, dict(second.fields[0].causes)) == (1e-4, {"retention": 1.0})


def test_copies_of_one_tensor_are_averaged_by_their_bits(tmp_path: Path) -> None:
    """Three quarters at 4e-3 and one at 0; a class read twice in one place counts its first read."""
    rows = [
        activation(bits=3000, p_retention=4e-3),
        activation(copy_class="0:t/1", bits=1000),
        activation(read_index=1, bits=3000, p_retention=0.4),
    ]
    (law,) = RunProfile.load(write(tmp_path, rows)).laws(read("forward"))
    assert law.fields[0].p_new == pytest.approx(3e-3)


def test_a_refilled_copy_is_fresh(tmp_path: Path) -> None:
    """Backward reads another class, filled from DRAM: the first one's errors are not in it."""
    rows = [activation(p_retention=1e-3), backward(copy_class="0:t/1", origin="filled", p_retention=2e-3)]
    (law,) = RunProfile.load(write(tmp_path, rows)).laws(read("backward"))
    assert law.fresh
    assert law.fields[0].p_new == 2e-3


def test_weights_gradients_and_states_are_found_by_parameter(tmp_path: Path) -> None:
    """Two parameters of one layer have rates of their own."""
    site = {"layer": "fc", "reader_layer": "fc", "phase_read": "update"}
    rows = [
        row(role="weight", tensor="fc.weight", copy_class="a", p_write=1e-4, **site),
        row(role="weight_gradient", tensor="grad/fc.bias", copy_class="b", p_write=2e-4, **site),
        row(role="optimizer_state", tensor="next/state/fc.weight.sum", copy_class="c", p_write=3e-4, **site),
    ]
    profile = RunProfile.load(write(tmp_path, rows))
    for role, tensor, p in (
        ("weight", "fc.weight", 1e-4),
        ("weight_gradient", "fc.bias", 2e-4),
        ("optimizer_state", "fc.weight.sum", 3e-4),
    ):
        (law,) = profile.laws(Read(role, "fc", "fc", "update", tensor))
        assert law.fields[0].p_new == pytest.approx(p)
    assert profile.laws(Read("weight", "fc", "fc", "update", "fc.bias")) == ()


@pytest.mark.usefixtures("one_thread")
def test_a_model_trains_on_the_profile(tmp_path: Path) -> None:
    """Bit fields have their own rates; the chain over forward and backward is that of the rows."""
    rows = [
        activation(bit_field="mantissa", p_retention=0.1),
        activation(bit_field="sign+exponent"),
        backward(bit_field="mantissa", read_index=1, p_new=0.05, p_back=0.2, p_retention=0.13),
        backward(bit_field="sign+exponent", read_index=1),
    ]
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    with ErrorInjector(model, None, write(tmp_path, rows)) as injector:
        out = model(torch.ones(SHAPE))
        out.backward(torch.ones(SHAPE))
    a, b = (bits(t.detach(), torch.ones(SHAPE))[:, :23] for t in (out, model[1].w.grad))
    assert float(a.float().mean()) == pytest.approx(0.1, rel=0.03)
    assert float((a & b).float().mean()) == pytest.approx(0.08, rel=0.03)
    assert float(b.float().mean()) == pytest.approx(0.1 * 0.8 + 0.9 * 0.05, rel=0.03)
    assert set(injector.counts.flips) == {("activation", "retention")}
    assert "mean" in injector.description


def test_a_profile_of_another_model_is_refused(tmp_path: Path) -> None:
    """With the layers that differ, and the nearest one here."""
    profile = write(tmp_path, [activation(layer="conv0", reader_layer="tanh1")])
    model = nn.Sequential()
    model.add_module("conv1", nn.Linear(2, 2))
    with pytest.raises(InputError) as fault:
        ErrorInjector(model, None, profile)
    assert "the profile of another model: it has layers conv0, tanh1, which this model has not" in str(
        fault.value
    )
    assert "did you mean conv1?" in str(fault.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [activation(p_stored=0.7)],
            "row 1: p_stored: expected a bit error probability from 0 to 0.5, got 0.7",
        ),
        ([activation(), activation(p_new=-0.1)], "row 2: p_new: expected 0 to 1, got -0.1"),
    ],
)
def test_impossible_probabilities_are_refused(rows: Any, message: str, tmp_path: Path) -> None:
    """With their row."""
    with pytest.raises(InputError, match=message):
        RunProfile.load(write(tmp_path, rows))


def test_what_is_no_profile_is_named(tmp_path: Path) -> None:
    """A run without devices has none; another table is none."""
    with pytest.raises(InputError, match=r"no errors\.parquet; a run has one if a bank group"):
        RunProfile.load(tmp_path)
    write_table(tmp_path / "other.parquet", {"a": "int64"}, {"a": [1]})
    with pytest.raises(InputError, match="not a table of errors, lacks tensor, role"):
        RunProfile.load(tmp_path / "other.parquet")


TINY_GPT2 = """
extends = "gpt2-small"
batch = 4

[args]
vocabulary = 40
context = 8
width = 16
layers = 1
heads = 2

[inputs.tokens]
shape = [6]
below = 40
"""
SINGLE = ("activation", "error", "weight", "weight_gradient", "optimizer_state")
ONLY_TORCH = {  # its kernels take operands that they do not need, and sum what the graph calls a gradient
    ("activation", "tanh1", "pool2", "backward"),
    ("activation", "tanh5", "pool6", "backward"),
    ("error", "conv4", "conv4", "backward"),
    ("weight", "conv0.weight", "conv0", "backward"),
    ("weight", "conv1.weight", "conv1", "backward"),
    *(("weight", f"{norm}.bias", norm, "backward") for norm in ("norm", "blocks.0.norm1", "blocks.0.norm2")),
    ("error", "drop", "drop", "backward"),
    ("error", "head", "head", "backward"),
    ("error", "tokens", "head", "backward"),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["lenet-tinydnn", "resnet18-cifar", "gpt2"])
def test_a_training_reads_what_the_simulated_step_reads(name: str, tmp_path: Path) -> None:
    """Role, producer or parameter, reader, phase of every read: rows of a profile find their reads."""
    path = tmp_path / "gpt2.toml"
    path.write_text(TINY_GPT2)
    workload = load(path) if name == "gpt2" else small(name, batch=2)
    model, optimizer = start(workload)
    seen = set()

    def note(read: Read) -> tuple[()]:
        seen.add((read.role, read.tensor or read.layer, read.reader, read.phase))
        return ()

    train(workload, model, optimizer, 2, ErrorInjector(model, optimizer, Laws(note)))
    graph = load_workload(str(path) if name == "gpt2" else name).graph
    simulated = set()
    for op in graph.ops:
        for tensor in (graph.tensors[operand.tensor] for operand in op.inputs):
            owner = _owner({"role": tensor.role, "tensor": tensor.name, "layer": tensor.layer})
            simulated.add((tensor.role, owner, op.layer, op.phase))
    ours = {read for read in seen if read[0] in SINGLE}
    assert ours - simulated - ONLY_TORCH == set()
    assert len(ours & simulated) > 0.75 * len({read for read in simulated if read[0] in SINGLE})


def test_what_a_bank_corrects_does_not_reach_training(tmp_path: Path) -> None:
    """Errors are those delivered after correction, and new ones fewer in proportion."""
    rows = [
        activation(p_retention=1e-3, p_total=1e-5),
        backward(read_index=1, p_stored=2e-3, p_new=1e-3, p_total=4e-5),
    ]
    profile = RunProfile.load(write(tmp_path, rows))
    (first,), (second,) = profile.laws(read("forward")), profile.laws(read("backward"))
    assert first.fields[0].p_new == pytest.approx(1e-5)
    assert second.fields[0].p_new == pytest.approx(1e-3 * 4e-5 / 2e-3)


def test_reads_of_write_backs_are_no_layers(tmp_path: Path) -> None:
    """What goes to DRAM is read by the DMA: its errors come back with what is filled."""
    rows = [activation(p_retention=1e-3), activation(reader_layer="dma", read_index=1, p_retention=2e-3)]
    profile = RunProfile.load(write(tmp_path, rows))
    profile.check(["0", "1"])
    assert len(profile.laws(read("forward"))) == 1
