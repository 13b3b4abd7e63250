"""docs/networks.md, made from the graphs of the shipped networks."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.graph import costs, dag
from accelsim.graph.ir import Graph
from tests.networks import NETWORKS, network

HEAD = """# Networks

`workloads/` has small networks for trying things out (`mlp`, `lenet5`, `lenet-tinydnn`, `resnet18-cifar`)
and the six below, in the published shapes. This page is made from their graphs by `tests/networks_page.py`.

A multiply-accumulate (MAC) is one multiplication with its addition; only those of convolutions and matrix
products count, zeros from padding and masked scores included, as in torch's flop counter (which says two
FLOPs for each).
"""
OWN = """## What a training step takes

Batch and length are the shipped ones (`batch`, `[inputs]`). Saved activations are what forward makes and
backward reads, in the workload's own format (fp32, a pool's indices int64, masks of dropout fp32, a causal
mask bool), without the step's batch and without recomputation.
"""
PUBLISHED = """## Beside published figures

Sources: **read** seen in the source, **recalled** from memory and not verified.
"""
ATTENTION = """## Attention in both forms

`attention = "products"` is two batched products with a softmax between them: scores and probabilities are
tensors of the graph, whole, and the probabilities (with dropout, its mask and its result too) are saved for
backward. `attention = "fused"` is torch's fused call. It is lowered into the same products and a softmax;
the scores and probabilities are still tensors between two kernels, which stay in the scratchpad as far as
the mapping finds room, but nothing of their size is saved: backward computes the scores again, and the
probabilities from them and one number per row (the logarithm of the sum of exponentials) while they leave
the array. So a fifth product comes on top of backward's four. What a fused kernel gains beyond that by
never forming a whole row of scores is not in the model.

`gpt2-small` with `dropout = 0.0`, one text:
"""
NOTES = """## What the networks are

- `resnet18`, `resnet50`: the ImageNet form; ResNet-50 strides in the 3x3 convolutions ("version 1.5"),
  which the paper does in the 1x1 before it. `vgg16`: configuration D, without the adaptive pool that
  torchvision puts before the linear layers, as 224 pixels need none. `mobilenetv2`: width 1.0; ReLU6's
  backward reads its input, so that three maps per layer are saved.
- `bert-base`: the encoder with its pooler (109,482,240 parameters) and a classifier of two classes on the
  first token: fine-tuning on single sentences, every token of segment 0, no padding.
- `gpt2-small`: the head's weight is the embedding's, counted once. A row of logits per place, whose target
  is the next token.
- Set the length in a file of your own: `extends = "gpt2-small"` and `[inputs.tokens]`, `shape = [1024]`.
- An embedding reads as many rows of its table as there are tokens. Its gradient is dense, as torch's is:
  the whole table is written.
- With attention as products, queries, keys and values are copied apart by head, as torch does it.
"""
TORCHVISION = (
    'pytorch.org/vision, the model\'s page, "GFLOPS" (multiply-accumulates, 10^9) and `num_params`; read'
)
BURDEN = "albanie/convnet-burden: all feature maps of one image, 4 bytes, ReLU in place, MB of 2^20; read"
SIZING = "karpathy/nanoGPT, transformer_sizing.ipynb: 291,648,307,200 FLOPs at 1024 tokens; read"
FORMULA = "Korthikanti et al. 2022: s h (34 + 5 a s / h) bytes a layer at 2 bytes and 1 for a mask; recalled"
MOBILEBERT = "Sun et al. 2020 (MobileBERT), table 4: 22.5 B FLOPs, 109 M parameters at 128 tokens; recalled"
LONG = "[inputs.tokens]\nshape = [1024]"
FORMS = {form: f'[args]\ndropout = 0.0\nattention = "{form}"' for form in ("products", "fused")}


def page() -> str:
    """Return the page, in Markdown."""
    return "\n".join([HEAD, OWN, _own(), PUBLISHED, _published(), ATTENTION, _attention(), NOTES])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])


def _graph(name: str) -> Graph:
    return network(name)


def _forward(graph: Graph) -> float:
    return costs.macs_by_phase(graph)["forward"] / graph.batch


def _saved(graph: Graph) -> float:
    return sum(dag.tensor_bytes(graph, t) for t in dag.saved_activations(graph)) / graph.batch


def _input(graph: Graph) -> str:
    shape = next(t.shape for n, t in graph.tensors.items() if n.startswith("batch/"))
    return "x".join(map(str, shape[1:])) + (" tokens" if len(shape) == 2 else "")


def _own() -> str:
    head = ["network", "input", "batch", "parameters", "GMAC forward, per sample", "GMAC of a step"]
    head += ["saved activations, MB per sample"]
    rows = []
    for name in NETWORKS:
        graph = _graph(name)
        step = sum(costs.macs_by_phase(graph).values())
        rows.append([f"`{name}`", _input(graph), str(graph.batch), f"{graph.parameters:,}"])
        rows[-1] += [f"{_forward(graph) / 1e9:.3f}", f"{step / 1e9:,.1f}", f"{_saved(graph) / 1e6:.2f}"]
    return _table(head, rows)


def _published() -> str:
    rows = []
    for name, count, macs in (
        ("resnet18", "11,689,512", "1.81"),
        ("resnet50", "25,557,032", "4.09"),
        ("vgg16", "138,357,544", "15.47"),
        ("mobilenetv2", "3,504,872", "0.30"),
    ):
        rows.append(_row(name, "parameters", f"{_graph(name).parameters:,}", count, TORCHVISION))
        rows.append(_row(name, "GMAC forward", f"{_forward(_graph(name)) / 1e9:.3f}", macs, TORCHVISION))
    bert = _graph("bert-base")
    encoder = f"{bert.parameters - 769 * 2:,}"
    known = "Hugging Face `bert-base-uncased` (BertModel); read in copies"
    rows.append(_row("bert-base", "parameters without the classifier", encoder, "109,482,240", known))
    rows.append(_row("bert-base", "GMAC forward", f"{_forward(bert) / 1e9:.3f}", "11.25", MOBILEBERT))
    gpt = _graph("gpt2-small")
    known = "Hugging Face `gpt2` (GPT2LMHeadModel); read in copies"
    rows.append(_row("gpt2-small", "parameters", f"{gpt.parameters:,}", "124,439,808", known))
    long = _forward(network("gpt2-small", 1, LONG))
    rows.append(_row("gpt2-small", "GMAC forward, 1024 tokens", f"{long / 1e9:.3f}", "145.824", SIZING))
    for name, features in (("vgg16", "58"), ("resnet50", "103")):
        rows.append(_row(name, "MiB saved, or held", f"{_saved(_graph(name)) / 2**20:.0f}", features, BURDEN))
    layers = [_layer(gpt, 512), _layer(bert, 128)]
    for name, elements, s in zip(("gpt2-small", "bert-base"), layers, (512, 128), strict=True):
        known = f"{(18 * s * 768 + 3 * 12 * s * s) / 1e6:.3f}"
        rows.append(_row(name, "10^6 elements saved in a layer", f"{elements / 1e6:.3f}", known, FORMULA))
    return _table(["network", "what", "here", "published", "source and convention"], rows) + EXPLAINED


EXPLAINED = """
VGG's pools save 8-byte indices here, and dropout its masks and results; convnet-burden counts feature maps
alone. ResNet saves neither batch norm's results nor the sums before a ReLU, which convnet-burden holds too,
and that one is version 1 of the network. The transformers' count per layer leaves out layer norm's
statistics. BERT's published figure is rounded, and of another head.
"""


def _row(name: str, what: str, here: str, published: str, source: str) -> list[str]:
    return [f"`{name}`", what, here, published, source]


def _layer(graph: Graph, tokens: int) -> float:
    """Return the elements per sample that block 5 saves, without statistics and masks of one byte."""
    saved = [graph.tensors[t] for t in dag.saved_activations(graph)]
    own = [t for t in saved if f"{t.layer}.".startswith("blocks.5.") and t.dtype == "fp32"]
    return sum(t.elements for t in own if t.elements > graph.batch * tokens) / graph.batch


def _attention() -> str:
    rows = []
    for form, change in FORMS.items():
        graph = network("gpt2-small", 1, change)
        macs = costs.macs_by_phase(graph)
        rows.append([f"`{form}`", f"{macs['forward'] / 1e9:.3f}", f"{macs['backward'] / 1e9:.3f}"])
        rows[-1].append(f"{_saved(graph) / 1e6:.2f}")
    return _table(["form", "GMAC forward", "GMAC backward", "saved activations, MB"], rows)
