"""ResNet-18 and ResNet-50 as SCALE-Sim topologies, with the layers that its own files have.

Layers, sizes and names are those of ``conv_nets/Resnet18.csv`` and ``mlperf/Resnet50.csv`` in the topologies
of scalesim-project/SCALE-Sim; its package on PyPI lacks them. Batch 1, no padding, strides in the first
convolution of a block, the fully connected layer as a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Iterator

HEAD = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
STAGES = ((2, 56, 64), (3, 28, 128), (4, 14, 256), (5, 7, 512))  # number, output size, channels
Row = tuple[str, int, int, int, int, int]  # name, input size, filter size, channels, filters, stride
STEM: Row = ("Conv1", 224, 7, 3, 64, 2)


def _resnet18() -> Iterator[Row]:
    yield STEM
    before = 64
    for stage, size, width in STAGES:
        stride = 2 if stage > 2 else 1
        yield f"Conv{stage}_1a", size * stride, 3, before, width, stride
        yield f"Conv{stage}_1b", size, 3, width, width, 1
        if stage > 2:
            yield f"Conv{stage}_s", size * stride, 1, before, width, stride
        yield from ((f"Conv{stage}_2{part}", size, 3, width, width, 1) for part in "ab")
        before = width
    yield "FC", 1, 1, 512, 1000, 1


def _resnet50() -> Iterator[Row]:
    yield STEM
    before = 64
    for (stage, size, width), blocks in zip(STAGES, (3, 4, 6, 3), strict=True):
        for block in "abcdef"[:blocks]:
            stride = 2 if stage > 2 and block == "a" else 1
            name = f"{'CB' if block == 'a' else 'IB'}{stage}{block}"
            yield f"{name}_1", size * stride, 1, before, width, stride
            yield f"{name}_2", size, 3, width, width, 1
            yield f"{name}_3", size, 1, width, 4 * width, 1
            if block == "a":
                yield f"CB{stage}s", size * stride, 1, before, 4 * width, stride
            before = 4 * width
    yield "FC6", 1, 1, 2048, 1000, 1


TOPOLOGIES = {"resnet18": _resnet18, "resnet50": _resnet50}


def text_of(name: str) -> str:
    """Return the topology file of ``name``."""
    rows = (
        f"{layer}, {size}, {size}, {p}, {p}, {c}, {o}, {stride},"
        for layer, size, p, c, o, stride in TOPOLOGIES[name]()
    )
    return "\n".join([HEAD, *rows]) + "\n"
