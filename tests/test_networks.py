"""The shipped networks are the published ones: parameters, multiply-accumulates, saved activations."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.graph import costs, dag
from accelsim.graph.ir import Graph
from tests.networks import CONVS, NETWORKS, captured, formula_macs, network, torch_macs, transformer_macs
from tests.networks_page import page
from tests.test_lowering import assert_in_order, assert_whole

PAGE = Path(__file__).parent.parent / "docs" / "networks.md"
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "vgg16": 138_357_544,
    "mobilenetv2": 3_504_872,
    "bert-base": 109_482_240 + 769 * 2,  # the encoder with its pooler, and two classes
    "gpt2-small": 124_439_808,
}
LONG = "[inputs.tokens]\nshape = [1024]"
FUSED = '[args]\ndropout = 0.0\nattention = "fused"'


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_the_published_ones(name: str) -> None:
    """To the last one; and no op of the whole step is without a lowering."""
    graph = network(name)
    assert graph.parameters == PARAMETERS[name]
    assert graph.unsupported == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_the_formulas_and_torchs(name: str) -> None:
    """Forward and backward, by the closed formula of the layers and by torch's flop counter, exactly."""
    step, graph = captured(name)
    forward, backward = (graph.batch * n for n in formula_macs(name))
    expected = {"forward": forward, "recompute": 0, "backward": backward, "update": 0}
    assert costs.macs_by_phase(graph) == expected
    assert torch_macs(step) == expected


@pytest.mark.parametrize(("name", "change"), [*((name, "") for name in NETWORKS), ("gpt2-small", FUSED)])
def test_laws_of_every_network(name: str, change: str) -> None:
    """Nothing is read before it is made, all places are refilled, a whole nest touches whole operands."""
    graph = network(name, 1 if change else None, change)
    assert_in_order(graph)
    assert_whole(graph)


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet18", 1.81), ("resnet50", 4.09), ("vgg16", 15.47), ("mobilenetv2", 0.30)],
)
def test_image_networks_cost_what_torchvision_says(name: str, published: float) -> None:
    """Its tables count multiply-accumulates, in units of 10^9 with two decimals."""
    assert round(formula_macs(name)[0] / 1e9, 2) == published


def test_gpt2_at_1024_tokens_costs_what_nanogpt_says() -> None:
    """291,648,307,200 operations, two per multiply-accumulate; the length is set in the file."""
    graph = network("gpt2-small", 1, LONG)
    assert costs.macs_by_phase(graph)["forward"] == 291_648_307_200 // 2
    assert graph.tensors["batch/tokens"].shape == (1, 1024)


def test_fused_attention_computes_the_scores_twice() -> None:
    """Five products backward instead of four, by formula and by torch's count; no probabilities are kept."""
    step, graph = captured("gpt2-small", 1, FUSED)
    head = 512 * 768 * 50257
    forward, backward = transformer_macs(512, fused=True)
    expected = {"forward": forward + head, "recompute": 0, "backward": backward + 2 * head, "update": 0}
    assert costs.macs_by_phase(graph) == expected
    assert torch_macs(step) == expected
    assert graph.unsupported == ()
    saved = [graph.tensors[t].shape for t in dag.saved_activations(graph)]
    assert not [s for s in saved if s[-2:] == (512, 512)]


def saved_bytes(graph: Graph) -> int:
    """Return the bytes of what forward makes and backward reads."""
    return sum(dag.tensor_bytes(graph, t) for t in dag.saved_activations(graph))


def test_saved_activations_of_vgg() -> None:
    """Every ReLU's and pool's result, the pools' indices (8 bytes), dropout's masks and results, scores."""
    graph = network("vgg16", 2)
    relus = sum(c.points for c in CONVS["vgg16"]) + 2 * 4096
    pools = sum((size // 2) ** 2 * c for size, c in ((224, 64), (112, 128), (56, 256), (28, 512), (14, 512)))
    assert saved_bytes(graph) == 2 * (4 * (relus + pools + 4 * 4096 + 1000) + 8 * pools) + 4


@pytest.mark.parametrize(("name", "features"), [("resnet18", 512), ("resnet50", 2048)])
def test_saved_activations_of_resnets(name: str, features: int) -> None:
    """Every convolution's result (for batch norm) with two statistics per channel, and every ReLU's."""
    graph = network(name, 2)
    convs = CONVS[name]
    shortcuts = [c for c in convs if c.kernel == 1 and c.inputs * 2 == c.outputs and c.size < 56]
    if name == "resnet50":
        shortcuts.append(next(c for c in convs if (c.inputs, c.outputs) == (64, 256)))
    made = sum(c.points for c in convs)
    pool = 64 * 56 * 56
    relus = made - sum(c.points for c in shortcuts)
    per_image = 4 * (made + relus + pool + features + 1000) + 8 * pool
    assert saved_bytes(graph) == 2 * per_image + 4 * (2 * sum(c.outputs for c in convs) + 1)


def test_saved_activations_of_gpt2_are_the_formula_of_the_literature() -> None:
    """Korthikanti et al. 2022: s b h (34 + 5 a s / h) bytes a layer at 2 bytes, and 1 for a mask.

    So many elements (18 s h and 3 a s^2 per layer), each of 4 bytes here; beside them layer norm's
    statistics, the causal mask (1 byte), and what lies around the layers.
    """
    graph = network("gpt2-small")
    s, h, a, layers, vocabulary = 512, 768, 12, 12, 50257
    per_layer = 18 * s * h + 3 * a * s * s + 2 * 2 * s
    around = 3 * s * h + 2 * s + s * vocabulary  # dropout's mask, the last norm and its input, scores
    once = s * s + 8 * s + 4  # the causal mask, places, the loss's sum of weights
    assert saved_bytes(graph) == graph.batch * 4 * (layers * per_layer + around) + once


def test_the_page_is_up_to_date(regen: bool) -> None:
    """docs/networks.md is what the graphs give; --regen-golden writes it."""
    if regen:
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
