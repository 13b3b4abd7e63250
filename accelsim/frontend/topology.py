"""SCALE-Sim topology files: a table of convolutions or GEMMs, each on its own, forward, batch 1.

The rules are that tool's: output rows = ceil((rows - filter rows + stride) / stride), no padding; a layer
whose name contains ``DP`` is depthwise and becomes one layer per channel, ``NAMEChannel_0`` and so on.
A sparsity ``N:M`` is read and, as in that tool without sparsity support, simulated dense.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from accelsim.config.document import shown
from accelsim.errors import ConfigError, InputError
from accelsim.geometry import Axis, DimMap, Operand, ceil_div, direct
from accelsim.graph.ir import Gemm, Graph, Op, Tensor
from accelsim.words import Phase, Role

CONV = ("ifmap height", "ifmap width", "filter height", "filter width", "channels", "filters", "stride")
GEMM = ("M", "N", "K")


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: its name, the line it stands in, and its numbers."""

    name: str
    line: int
    numbers: tuple[int, ...]
    sparse: bool


def load(path: Path) -> Graph:
    """Return the graph of the topology file at ``path``; layers are independent.

    Raises:
        InputError: It cannot be read.
        ConfigError: Every fault, as ``file:line:column: what``.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"{shown(path)}: not a text file in UTF-8 (byte {exc.start})") from None
    except OSError as exc:
        raise InputError(f"{shown(path)}: cannot be read: {exc.strerror}") from None
    return parse(text, path.stem, shown(path))


def parse(text: str, name: str, label: str) -> Graph:
    """Return the graph of a topology's text; ``label`` names the file in faults."""
    lines = text.splitlines()
    conv = _is_conv(lines, label)
    faults: list[str] = []
    rows = [r for i, line in enumerate(lines[1:], 2) if (r := _row(line, i, conv, label, faults))]
    if not rows and not faults:
        faults.append(f"{label}:{len(lines)}:1: no layers below the header line")
    names: dict[str, int] = {}
    for row in rows:
        if row.name in names:
            where = f"{label}:{row.line}:1"
            faults.append(f"{where}: layer {row.name} stands in line {names[row.name]} already; rename one")
        names.setdefault(row.name, row.line)
    if faults:
        raise ConfigError(faults)
    tensors: dict[str, Tensor] = {}
    make = _conv if conv else _gemm
    ops = tuple(make(one, tensors) for row in rows for one in (_channels(row) if conv else [row]))
    sparse = [row.name for row in rows if row.sparse]
    return Graph(
        name=name,
        tensors=tensors,
        ops=ops,
        batch=1,
        parameters=sum(t.elements for t in tensors.values() if t.role == "weight"),
        independent=True,
        notes=(f"sparsity is simulated dense: {', '.join(sparse)}",) if sparse else (),
    )


def _channels(row: Row) -> list[Row]:
    """Return a depthwise layer as one layer per channel, another as it is."""
    if "DP" not in row.name:
        return [row]
    *size, channels, filters, stride = row.numbers
    numbers = (*size, 1, filters, stride)
    return [Row(f"{row.name}Channel_{i}", row.line, numbers, row.sparse) for i in range(channels)]


def _cells(line: str) -> list[str]:
    cells = [c.strip() for c in line.split(",")]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_conv(lines: list[str], label: str) -> bool:
    """Tell the two forms apart: by the header's words, or else by the columns of the first layer."""
    header = [c.lower() for c in _cells(lines[0])] if lines else []
    if header[1:4] == ["m", "n", "k"]:
        return False
    if any("filter" in c or "ifmap" in c for c in header):
        return True
    first = next((cells for line in lines[1:] if (cells := _cells(line))), [])
    if len(first) in (8, 9):
        return True
    if len(first) in (4, 5):
        return False
    raise ConfigError(
        [
            f"{label}:1:1: neither a convolution topology (name, {', '.join(CONV)}) nor a GEMM one "
            f"(name, {', '.join(GEMM)})"
        ]
    )


def _row(line: str, number: int, conv: bool, label: str, faults: list[str]) -> Row | None:
    cells = _cells(line)
    if not cells:
        return None
    columns = CONV if conv else GEMM
    if len(cells) not in (len(columns) + 1, len(columns) + 2):  # the last may be a sparsity N:M
        wanted = f"{len(columns) + 1} cells (name, {', '.join(columns)})"
        faults.append(f"{label}:{number}:1: expected {wanted}, got {len(cells)}")
        return None
    if not cells[0]:
        faults.append(f"{label}:{number}:1: the layer has no name")
    numbers: list[int] = []
    before = len(faults)
    for i, (cell, what) in enumerate(zip(cells[1:], columns, strict=False), 1):
        if not (cell.isascii() and cell.isdigit() and int(cell)):
            faults.append(
                f'{label}:{number}:{_column(line, i)}: {what}: expected a whole number above 0, got "{cell}"'
            )
        else:
            numbers.append(int(cell))
    if conv and len(numbers) == len(CONV):
        _check_filter(cells, line, number, label, faults)
    ratio = cells[len(columns) + 1 :]
    if ratio and not re.fullmatch(r"\d+\s*:\s*\d+", ratio[0]):
        column = _column(line, len(columns) + 1)
        faults.append(f'{label}:{number}:{column}: sparsity: expected N:M such as 2:4, got "{ratio[0]}"')
    if len(faults) > before:
        return None
    return Row(cells[0], number, tuple(numbers), bool(ratio) and len(set(ratio[0].split(":"))) > 1)


def _check_filter(cells: list[str], line: str, number: int, label: str, faults: list[str]) -> None:
    for i, what in ((3, "height"), (4, "width")):
        size, filter_size = int(cells[i - 2]), int(cells[i])
        if size - filter_size + int(cells[7]) <= 0:
            faults.append(
                f"{label}:{number}:{_column(line, i)}: filter {what} {filter_size} leaves no output of ifmap "
                f"{what} {size}; this format has no padding: enlarge the ifmap"
            )


def _column(line: str, cell: int) -> int:
    """Return the column, from 1, of the first character of cell number ``cell``."""
    before = line.split(",")[:cell]
    at = sum(len(c) + 1 for c in before)
    rest = line[at:]
    return at + len(rest) - len(rest.lstrip()) + 1


def _tensor(row: Row, what: str, role: Role, shape: tuple[int, ...], tensors: dict[str, Tensor]) -> str:
    name = f"{row.name}:{what}"
    phase: Phase | None = "forward" if role == "activation" else None
    tensors[name] = Tensor(
        name=name, role=role, layer=row.name, phase=phase, shape=shape, dtype="int8"
    )  # bytes, as that tool's own word size
    return name


def _op(row: Row, aten: str, gemm: Gemm) -> Op:
    return Op(
        name=row.name,
        kind="gemm",
        aten=aten,
        layer=row.name,
        phase="forward",
        inputs=(gemm.a, gemm.b),
        outputs=(gemm.c,),
        gemm=gemm,
        args=({"t": 0}, {"t": 1}),
    )


def _gemm(row: Row, tensors: dict[str, Tensor]) -> Op:
    m, n, k = row.numbers
    a = _tensor(row, "ifmap", "input", (m, k), tensors)
    b = _tensor(row, "filter", "weight", (k, n), tensors)
    c = _tensor(row, "ofmap", "activation", (m, n), tensors)
    gemm = Gemm(
        m=(Axis("m", m),),
        n=(Axis("n", n),),
        k=(Axis("k", k),),
        batch=(),
        a=Operand(a, (m, k), (direct("m"), direct("k"))),
        b=Operand(b, (k, n), (direct("k"), direct("n"))),
        c=Operand(c, (m, n), (direct("m"), direct("n"))),
        kind="forward",
        window=None,
        expanded=None,
        useful_macs=m * n * k,
    )
    return _op(row, "aten.mm.default", gemm)


def _conv(row: Row, tensors: dict[str, Tensor]) -> Op:
    h, w, p, q, c, o, stride = row.numbers
    oh, ow = ceil_div(h - p + stride, stride), ceil_div(w - q + stride, stride)
    x = _tensor(row, "ifmap", "input", (1, c, h, w), tensors)
    f = _tensor(row, "filter", "weight", (o, c, p, q), tensors)
    y = _tensor(row, "ofmap", "activation", (1, o, oh, ow), tensors)
    rows, columns = DimMap("y", "window", stride, 0, p), DimMap("x", "window", stride, 0, q)
    gemm = Gemm(
        m=(Axis("b", 1), Axis("y", oh), Axis("x", ow)),
        n=(Axis("o", o),),
        k=(Axis("c", c), Axis("p", p), Axis("q", q)),
        batch=(),
        a=Operand(x, tensors[x].shape, (direct("b"), direct("c"), rows, columns)),
        b=Operand(f, tensors[f].shape, tuple(map(direct, ("o", "c", "p", "q")))),
        c=Operand(y, tensors[y].shape, tuple(map(direct, ("b", "o", "y", "x")))),
        kind="forward",
        window=(p, q, stride, stride),
        expanded="a",
        useful_macs=oh * ow * o * c * p * q,
    )
    return _op(row, "aten.convolution.default", gemm)
