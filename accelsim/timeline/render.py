"""One picture of a stretch of a run: phases, layers, and a row per component."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.text import Text

from accelsim.timeline.axis import axis
from accelsim.timeline.glyphs import FAINT, GLYPHS, SHADES, cell, key
from accelsim.timeline.occupancy import Coded, Floats, Rows, Spans
from accelsim.trace import human
from accelsim.words import PHASES

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST: Final = ("pe_array", "vector", "accumulator")  # then the banks, then what is outside
_LAST: Final = ("dma", "dram")
_PHASE_STYLE: Final[dict[str, str]] = dict(zip(PHASES, ("green", "cyan", "blue", "yellow"), strict=True))
_PERCENT: Final = len("100.0 %  ")
_HARDLY: Final = 0.0005  # of the run: less does not show in a figure
_LEAST_NAME: Final = 5  # columns; less says nothing
LEAST_WIDTH: Final = 20  # columns of time


def render(
    table: pa.Table,
    *,
    lo: int = 0,
    hi: int | None = None,
    width: int = 100,
    color: bool = False,
    busy: Mapping[str, float] | None = None,
) -> Text:
    """Return the timeline of ``table`` (spans) from ``lo`` to ``hi`` ps, at most ``width`` characters wide.

    A column of a component's row shows what it mostly did in that time, shaded by how busy it was; in plain
    text a letter, or a dot where it was hardly busy. The percentages are busy time without stalls.

    Args:
        hi: End of the window; the end of the last span if not given.
        busy: Share of the window that each component was busy, where it is known; else that of its spans.
    """
    spans = Spans.of(table)
    hi = max(spans.last_ps if hi is None else hi, lo + 1)
    names = sorted({*spans.component.names, *(busy or {})}, key=_rank)
    label = max(len(n) for n in [*names, "time [ms]"])
    columns = max(width - label - _PERCENT, LEAST_WIDTH)
    edges = np.linspace(lo, hi, columns + 1)
    unit, ticks = axis(lo, hi, columns)
    used: list[str] = []
    lines = [_line(f"time [{unit}]", label, Text(ticks, style=_style("dim", color)))]
    lines += [_line(name, label, text) for name, text in _work(spans, edges, color)]
    for name in names:
        share = _drawn(spans, name, lo, hi) if busy is None else busy.get(name, 0.0)
        row = _component(spans, name, edges, color, used)
        lines.append(_line(name, label, row, f"{human.share(share, 1):>7}"))
    return Text("\n").join([*lines, *_legend(used, color, width)])


def not_drawn(table: pa.Table, busy: Mapping[str, float], end_ps: int) -> dict[str, float]:
    """Return the components that were busy for longer than spans say, and for which share of the run.

    Args:
        busy: Share of the run that each component was busy.
        end_ps: Length of the run.
    """
    spans = Spans.of(table)
    missing = {name: busy[name] - _drawn(spans, name, 0, end_ps) for name in sorted(busy, key=_rank)}
    return {name: share for name, share in missing.items() if share >= _HARDLY}


def _rank(component: str) -> tuple[int, str]:
    """Units that execute first, banks between, DMA and DRAM last."""
    head = component.split(".")[0]
    if head in _FIRST:
        return _FIRST.index(head), component
    return len(_FIRST) + (1 + _LAST.index(head) if head in _LAST else 0), component


def _style(style: str, color: bool) -> str:
    return style if color else ""


def _line(name: str, label: int, row: Text, percent: str = "") -> Text:
    return Text.assemble(f"{name:<{label}}{percent:<{_PERCENT}}", row)


def _drawn(spans: Spans, name: str, lo: int, hi: int) -> float:
    """Return the share of lo to hi ps in which spans say that a component was busy and did not wait."""
    rows = spans.component.rows(name)
    stalls = [i for i, kind in enumerate(spans.kind.names) if kind.startswith("stall")]
    waits = np.isin(spans.kind.codes[rows], stalls)
    edges = np.array([lo, hi], dtype=float)
    return min(1.0, float(spans.time_in(edges, rows[~waits], but=rows[waits])[0]) / (hi - lo))


def _component(spans: Spans, name: str, edges: Floats, color: bool, used: list[str]) -> Text:
    """Return the row of one component; note the kinds in ``used``."""
    kinds, rows = spans.kind.names, spans.component.rows(name)
    row = Text()
    if not len(rows):
        return row
    shares = spans.shares(edges, rows, spans.kind)
    total, most = spans.time_in(edges, rows) / np.diff(edges), shares.argmax(axis=0)
    used += [kinds[i] for i in np.flatnonzero(shares.sum(axis=1) > 0) if kinds[i] not in used]
    cells = (cell(kinds[kind], float(share), color) for share, kind in zip(total, most, strict=True))
    for style, run in groupby(cells, key=itemgetter(1)):
        row.append("".join(character for character, _ in run), style)
    return row


def _work(spans: Spans, edges: Floats, color: bool) -> list[tuple[str, Text]]:
    """Return the rows of phases and of layer boundaries, as the units that execute ops go through them."""
    rows = spans.component.rows("pe_array", "vector")
    rows = rows if len(rows) else np.arange(len(spans.start))
    phases = _mostly(spans, spans.phase, rows, edges)
    layers = _mostly(spans, spans.layer, rows, edges)
    phase_row = Text()
    for name, text in _runs(phases, phases, "-"):
        phase_row.append(text, _style(_PHASE_STYLE.get(name, ""), color))
    steps = [f"{phase} {layer}" for phase, layer in zip(phases, layers, strict=True)]
    return [("phase", phase_row), ("layer", Text("".join(text for _, text in _runs(steps, layers, " "))))]


def _mostly(spans: Spans, column: Coded, rows: Rows, edges: Floats) -> list[str]:
    """Return the name that takes most of each column's time; empty where there is none."""
    if not column.names:
        return [""] * (len(edges) - 1)
    shares = spans.shares(edges, rows, column, whole=True)
    most, total = shares.argmax(axis=0), shares.sum(axis=0)
    return [column.names[i] if t > 0 else "" for i, t in zip(most, total, strict=True)]


def _runs(keys: list[str], names: list[str], fill: str) -> Iterator[tuple[str, str]]:
    """Return name and text of each run of equal ``keys``: a bar, then as much of the name as fits.

    The end of a long name says more than its beginning. A name as long as its run needs no bar where it
    stands apart without one.
    """
    at, before = 0, fill
    for _, run in groupby(keys):
        size = len(list(run))
        name = names[at]
        shown = name if len(name) < size else name[len(name) - size + 1 :] if size > _LEAST_NAME else ""
        text = name if len(name) == size and before == fill else f"|{shown}".ljust(size, fill)
        yield name, text if name else " " * size
        at, before = at + size, text[-1]


def _legend(used: list[str], color: bool, width: int) -> list[Text]:
    """Return the lines that say what the characters of the kinds in ``used`` mean."""
    lines = [Text()]
    entries = [
        (*key(kind, color), f" {kind}")
        for kind in [k for k in GLYPHS if k in used] + [k for k in used if k not in GLYPHS]
    ]
    entries.append((SHADES, "", " share of the column") if color else (FAINT, "", " less than an eighth"))
    for sign, style, meaning in entries:
        if lines[-1] and len(lines[-1]) + len(sign) + len(meaning) > width:
            lines.append(Text())
        lines[-1].append(sign, style).append(f"{meaning}   ")
    return lines
