"""SCALE-Sim topology files: both forms, that tool's shapes, and faults with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError, InputError
from accelsim.frontend import load_workload
from accelsim.frontend.topology import parse
from accelsim.graph.ir import Graph

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
GEMM = "Layer, M, N, K,\n"


def extents(graph: Graph) -> list[tuple[str, int, int, int]]:
    """Return name and M, N, K of every op."""
    gemms = [(op.name, op.gemm) for op in graph.ops]
    return [(name, g.extent("m"), g.extent("n"), g.extent("k")) for name, g in gemms if g is not None]


def test_convolutions_have_the_tools_shapes() -> None:
    """M = oh ow with oh = ceil((i - f + s) / s), K = fh fw c, N = filters."""
    graph = parse(
        CONV + "Conv1, 224, 224, 11, 11, 3, 96, 4,\nFC, 1, 1, 1, 1, 512, 1000, 1,\n", "net", "net.csv"
    )
    assert extents(graph) == [("Conv1", 55 * 55, 96, 363), ("FC", 1, 1000, 512)]
    ragged = parse(CONV + "c, 224, 230, 7, 7, 3, 64, 2\n", "net", "net.csv")
    assert extents(ragged) == [("c", 110 * 113, 64, 147)]
    assert ragged.ops[0].macs == 110 * 113 * 64 * 147


def test_the_last_window_is_clipped() -> None:
    """A window that reaches over the edge reads what is there; one that does not reach it leaves rows out."""
    graph = parse(CONV + "over, 224, 224, 7, 7, 1, 1, 2,\nshort, 9, 9, 3, 3, 1, 1, 4,\n", "net", "net.csv")
    for op, box in zip(graph.ops, [(215, 224), (4, 9)], strict=True):
        assert op.gemm is not None
        tile = {a.name: (0, a.size) for a in (*op.gemm.m, *op.gemm.n, *op.gemm.k)}
        rows = tile["y"][1]
        assert op.gemm.a.box({**tile, "y": (rows - 2, rows)})[2] == (box[0] + 1, box[1]) or op.name == "short"
        assert op.gemm.a.box(tile)[2][0] == 0
        assert op.gemm.a.box(tile)[2][1] <= box[1]


def test_gemms_are_name_m_n_k() -> None:
    """The order of the columns is M, N, K; ifmap MxK, filter KxN, ofmap MxN, each a tensor of its own."""
    graph = parse(GEMM + "g1, 2, 3, 5,\ng2, 7, 1, 4\n", "net", "net.csv")
    assert extents(graph) == [("g1", 2, 3, 5), ("g2", 7, 1, 4)]
    shapes = {t.name: (t.role, t.shape, t.dtype, t.phase) for t in graph.tensors.values()}
    assert shapes == {
        "g1:ifmap": ("input", (2, 5), "int8", None),
        "g1:filter": ("weight", (5, 3), "int8", None),
        "g1:ofmap": ("activation", (2, 3), "int8", "forward"),
        "g2:ifmap": ("input", (7, 4), "int8", None),
        "g2:filter": ("weight", (4, 1), "int8", None),
        "g2:ofmap": ("activation", (7, 1), "int8", "forward"),
    }
    assert graph.independent
    assert (graph.batch, graph.parameters) == (1, 19)
    assert {op.phase for op in graph.ops} == {"forward"}


@pytest.mark.parametrize(
    "text",
    [
        "Layer, M, N, K,\n g , 2,3 ,5,\n",
        "Layer,M,N,K\n\n  \ng,2,3,5\n\n",
        "whatever\ng, 2, 3, 5, 2:4,\n",
        "\ufeffLayer, M, N, K, Sparsity,\r\ng, 2, 3, 5, 1:1,\r\n",
    ],
)
def test_forms_of_gemm_files(text: str) -> None:
    """Trailing commas, blanks, blank lines, any header, sparsity, carriage returns: one graph."""
    assert extents(parse(text.removeprefix("\ufeff"), "net", "net.csv")) == [("g", 2, 3, 5)]


@pytest.mark.parametrize("end", ["", ",", ", 1:1", ", 1:1,"])
def test_forms_of_convolution_files(end: str) -> None:
    """Told apart by the number of columns under a header that says nothing."""
    assert extents(parse(f"x\nc, 5, 6, 3, 3, 2, 4, 1{end}\n", "net", "net.csv")) == [("c", 12, 4, 18)]


def test_depthwise_layers_are_one_layer_per_channel() -> None:
    """DP in the name: every channel with its own filters, named as that tool names them."""
    graph = parse(CONV + "a_DP, 5, 5, 3, 3, 3, 1, 1,\n", "net", "net.csv")
    assert extents(graph) == [(f"a_DPChannel_{i}", 9, 1, 9) for i in range(3)]


def test_sparsity_is_noted() -> None:
    """A ratio other than N:N is simulated dense, and the graph says so."""
    assert parse(GEMM + "g, 1, 1, 1, 2:4,\n", "n", "n.csv").notes == ("sparsity is simulated dense: g",)
    assert parse(GEMM + "g, 1, 1, 1, 2:2,\n", "n", "n.csv").notes == ()


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            GEMM + "a, 1, x, 0,\nb, 1, 2,\n",
            [
                't.csv:2:7: N: expected a whole number above 0, got "x"',
                't.csv:2:10: K: expected a whole number above 0, got "0"',
                "t.csv:3:1: expected 4 cells (name, M, N, K), got 3",
            ],
        ),
        (
            CONV + "c, 4, 8, 7, 3, 1, 1, 1,\n",
            [
                "t.csv:2:10: filter height 7 leaves no output of ifmap height 4; this format has no padding: "
                "enlarge the ifmap"
            ],
        ),
        (GEMM + "a, 1, 1, 1,\n\na, 2, 2, 2,\n", ["t.csv:4:1: layer a stands in line 2 already; rename one"]),
        (GEMM, ["t.csv:1:1: no layers below the header line"]),
        (GEMM + ", 1, 1, 1,\n", ["t.csv:2:1: the layer has no name"]),
        (
            GEMM + "a, 1, 1, 1, half,\n",
            ['t.csv:2:13: sparsity: expected N:M such as 2:4, got "half"'],
        ),
        (
            "a\nb, 1\n",
            [
                "t.csv:1:1: neither a convolution topology (name, ifmap height, ifmap width, filter height, "
                "filter width, channels, filters, stride) nor a GEMM one (name, M, N, K)"
            ],
        ),
    ],
)
def test_faults_are_located(text: str, faults: list[str]) -> None:
    """Every fault of the file at once, with line and column."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "t", "t.csv")
    assert caught.value.faults == faults


def test_a_file_is_a_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that ends in .csv is a topology, whose batch is 1 and whose phase is forward."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text(GEMM + "g, 2, 3, 5,\n")
    captured = load_workload("net.csv", phase="all")
    assert captured.graph.name == "net"
    assert captured.spec == {"topology": "net.csv", "batch": 1, "phase": "forward"}
    assert [Path(path).name for path, _ in captured.files] == ["net.csv"]
    with pytest.raises(
        InputError, match=r"net\.csv: a topology file has batch 1, got 8; leave out the batch"
    ):
        load_workload("net.csv", batch=8)
