"""Ops of whole networks: each has a lowering, and computes by its arguments alone what torch computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from accelsim.errors import ConfigError
from accelsim.frontend.capture import capture, real_arguments
from accelsim.frontend.lower.walk import lower
from accelsim.frontend.spec import Workload, load
from accelsim.graph import costs
from tests.interpreter.memory import Numbers
from tests.interpreter.ops import call
from tests.networks import torch_macs
from tests.test_lowering import COMING, own, place

TINY = "vocabulary = 30\ncontext = 12\nwidth = 8\nlayers = 2\nheads = 2\ndropout = 0.0"
TEXT = "[inputs.tokens]\nshape = [9]\nbelow = 30"
IMAGE = "[inputs.x]\nshape = [3, 32, 32]"
SMALL = {
    "mobilenetv2": f"[args]\nclasses = 7\ndropout = 0.0\n{IMAGE}",
    "bert-base": f"[args]\n{TINY}\n{TEXT}",
    "gpt2-small": f"[args]\n{TINY}\n{TEXT}",
    "gpt2-small fused": f'[args]\nattention = "fused"\n{TINY}\n{TEXT}',
}


@pytest.mark.parametrize(
    ("model", "args"),
    [
        ("Packed", ""),
        ("Packed", "weights = false"),
        ("Encoder", ""),
        ("Encoder", 'activation = "gelu"\nfirst = true'),
        ("Joined", ""),
        ("Fused", ""),
    ],
)
def test_nothing_is_unsupported(tmp_path: Path, model: str, args: str) -> None:
    """Torch's own attention and transformer layers, rectifiers, joins, pools, resampling, the fused call."""
    shape = "[3, 8, 8]" if model == "Joined" else "[8, 16]"
    step, graph = own(tmp_path, model, f"shape = {shape}", args=args)
    assert graph.unsupported == ()
    assert costs.macs_by_phase(graph) == torch_macs(step)


def loaded(folder: Path, case: str) -> Workload:
    """Return a shipped network in a small form, or a model of coming_models.py."""
    path = folder / "small.toml"
    if case in SMALL:
        path.write_text(f'extends = "{case.split()[0]}"\n{SMALL[case]}\n')
    else:
        (folder / "coming.py").write_text(COMING)
        path.write_text(f'model = "coming.py:{case}"\n[inputs.x]\nshape = [8, 16]\n')
    return load(path, batch=2)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Many small ops are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", [*SMALL, "Fused"])
def test_the_ops_compute_the_step(tmp_path: Path, case: str) -> None:
    """One after the other they make of weights, states and buffers what the captured graph makes of them."""
    workload = loaded(tmp_path, case)
    step = capture(workload)
    graph = lower(step, case, 2)
    values = tuple(v.double() if v.is_floating_point() else v for v in real_arguments(workload))
    held = {place(s): plain(v) for s, v in zip(step.inputs, values, strict=True)}
    for op in graph.ops:
        held |= zip((o.tensor for o in op.outputs), call(graph, op, held), strict=True)
    after = {t.next_of: n for n, t in graph.tensors.items() if t.next_of}
    wanted = {place(s): plain(v) for s, v in zip(step.outputs, step.module(*values), strict=True)}
    assert sorted(after) == sorted(set(wanted) - {"loss"})
    for name, new in after.items():
        assert np.allclose(held[new], wanted[name], rtol=1e-6, atol=1e-9), name


def plain(tensor: torch.Tensor) -> Numbers:
    """Return the numbers of a tensor, flat."""
    numbers: Numbers = tensor.detach().double().reshape(-1).numpy().copy()
    return numbers


def test_a_wrong_form_of_attention_is_refused(tmp_path: Path) -> None:
    """By name, and dropout inside the fused one, too."""
    for args, text in (
        ('attention = "flash"', 'attention: expected "products" or "fused", got "flash"'),
        ('attention = "fused"', 'attention = "fused" has no dropout inside; set dropout = 0.0'),
    ):
        (tmp_path / "small.toml").write_text(f'extends = "gpt2-small"\n[args]\n{args}\n')
        with pytest.raises(ConfigError, match=re.escape(text)):
            capture(load(tmp_path / "small.toml"))
