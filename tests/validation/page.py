"""The tables of docs/validation.md: every figure beside other tools' and measured ones.

``python -m tests.validation.page`` writes them.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.validation import bounds, cycles, monotony, timeloop, tpu_v1, zigzag
from tests.validation.counts import Line

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
END = "<!-- end -->\n"
PLACE = re.compile(rf"(<!-- made by tests/validation/page.py: ([\w-]+) -->\n).*?{END}", re.DOTALL)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table whose first ``words`` columns are words, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], f"|{'|'.join(rule)}|\n", *lines[1:]])


def _percent(ratio: float) -> str:
    found = f"{100 * ratio:+.1f} %"
    return "0.0 %" if found in ("+0.0 %", "-0.0 %") else found


def _cycles() -> str:
    tallies = {
        "SCALE-Sim 3.0.0, `ws` `is` `os`, plus 1": cycles.scale_sim(),
        "LLMCompass, `os`, plus 1": cycles.peers("llmcompass"),
        "STONNE, `os`, less 5 a fold": cycles.peers("stonne"),
    }
    rows = [[name, t.arrays, f"{t.points:,}", f"{t.largest_cycles}"] for name, t in tallies.items()]
    return _table(["tool", "arrays", "points", "largest difference, cycles"], rows, 2)


def _onnxim() -> str:
    rows = [[p.array, p.shape, f"{p.theirs:,.0f}", f"{p.ours:,}", _percent(p.apart)] for p in cycles.onnxim()]
    return _table(["array", "M x K x N", "ONNXim", "closed form", "apart"], rows, 2)


def _zigzag() -> str:
    rows = []
    for point in zigzag.POINTS:
        lines = {line.level: line for line in zigzag.lines(point)}
        shape = "x".join(str(point[x]) for x in "mnk")
        counts = [_both(lines[f"L1, {x}"]) for x in ("I, read", "W, read", "O, write", "O, read")]
        theirs, ours = (
            sum(getattr(line, f"{who}_pj") for line in lines.values()) for who in ("their", "our")
        )
        reads = lines["L1, O, read"]
        zeros = -reads.apart * reads.price_pj / sum(lines[f"L1, O, {a}"].their_pj for a in ("read", "write"))
        design = point["design"].removeprefix("gemm_l1:")
        rows.append([design, shape, *counts, f"{theirs:,.0f}", _percent(ours / theirs - 1), _percent(zeros)])
    head = [
        "machine",
        "M x N x K",
        "I read",
        "W read",
        "O write",
        "O read",
        "L1 + MACs, pJ",
        "ours",
        "O without zeros",
    ]
    return _table(head, rows, 2)


def _both(line: Line) -> str:
    """Return one count where both are equal, with what theirs alone counts, or both."""
    ours = f"{line.ours:,} + {line.apart:,}" if line.apart else f"{line.ours:,}"
    return ours if line.theirs == line.ours + line.apart else f"{line.theirs:,}, ours {ours}"


def _lines(design: str) -> str:
    rows = [
        [
            line.level,
            f"{line.theirs:,}",
            f"{line.ours:,}" + (f" {line.apart:+,}" if line.apart else ""),
            f"{line.their_pj / 1e6:.4f}",
            f"{line.our_pj / 1e6:.4f}",
            _percent(line.our_pj / line.their_pj - 1),
        ]
        for line in timeloop.lines(design)
    ]
    return _table(["level", "Timeloop", "ours", "Timeloop, uJ", "ours, uJ", "apart"], rows)


def _tpu() -> str:
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for app, known in tpu_v1.APPS.items():
            found = tpu_v1.share(app, Path(cache))
            measured, ours = known["array_active"], 100 * found.active
            size = f"{found.weights / 1e6:.2f} of {known['weights_M']:.0f}"
            rows.append(
                [
                    app,
                    size,
                    f"{found.uses:,.0f}",
                    f"{measured:.1f} %",
                    f"{ours:.1f} %",
                    f"{ours - measured:+.1f}",
                ]
            )
    head = ["network", "weights, M", "uses of a weight", "measured", "ours", "points apart"]
    return _table(head, rows)


def _eviction() -> str:
    draw = random.Random(7)
    traces = {
        "0 to 4, around": [i % 5 for i in range(60)],
        "0 to 9, there and back": [abs(i % 18 - 9) for i in range(60)],
        "random of 10": [draw.randrange(10) for _ in range(60)],
        "random of 10, low ones more often": [min(draw.randrange(10), draw.randrange(10)) for _ in range(60)],
    }
    rows = [
        [
            name,
            str(room),
            *(str(f(trace, room)) for f in (bounds.lru_fills, bounds.our_fills, bounds.belady_fills)),
        ]
        for name, trace in traces.items()
        for room in (2, 4, 8)
    ]
    return _table(["60 reads of", "room", "LRU", "ours", "minimum"], rows)


def _accelforge() -> str:
    rows = []
    for point in bounds.ACCELFORGE["points"]:
        theirs, ours = point["dram_bits"], bounds.dram_bits(point)
        rows.append([f"{point['M']}^3", f"{theirs:,}", f"{ours:,}", f"{ours / theirs:.2f}"])
    return _table(["GEMM", "AccelForge", "ours", "ratio"], rows)


def _monotony() -> str:
    found = monotony.changes("edge-hybrid", "lenet5", 4)
    rows = [[what, *(f"{100 * x:+.3f} %" for x in changes)] for what, changes in found.items()]
    return _table(["made worse", *(f"x {factor}" for factor in monotony.FACTORS)], rows)


TABLES: dict[str, Callable[[], str]] = {
    "cycles": _cycles,
    "onnxim": _onnxim,
    "zigzag": _zigzag,
    "timeloop-ws": partial(_lines, timeloop.DESIGNS[0]),
    "timeloop-os": partial(_lines, timeloop.DESIGNS[1]),
    "tpu-v1": _tpu,
    "eviction": _eviction,
    "accelforge": _accelforge,
    "monotony": _monotony,
}


def whole(text: str) -> str:
    """Return the page ``text`` with its tables made anew."""
    names = [m.group(2) for m in PLACE.finditer(text)]
    assert names == list(TABLES), f"the page has the tables {names}"
    return PLACE.sub(lambda m: m.group(1) + TABLES[m.group(2)]() + END, text)


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = whole(before)
    PAGE.write_text(after, encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {'written' if after != before else 'up to date'}\n")
