"""The timeline: exact occupancy at any zoom, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from accelsim.cli.timeline import instant
from accelsim.errors import InputError
from accelsim.timeline import layer_windows, render
from accelsim.timeline.axis import axis
from accelsim.timeline.glyphs import GLYPHS
from accelsim.timeline.occupancy import Spans
from accelsim.trace import tables
from accelsim.trace.runs import open_run
from accelsim.trace.schema import SPANS

MakeRun = Callable[..., Path]
GOLDEN = Path(__file__).parent / "golden" / "cli"
US = 1_000_000


def _spans(rows: list[dict[str, Any]]) -> Spans:
    empty = {"dict": "", "int64": 0}
    columns = {c: [r.get(c, empty[t]) for r in rows] for c, t in SPANS.items()}
    return Spans.of(tables.table(SPANS, columns))


@st.composite
def _span(draw: st.DrawFn) -> dict[str, int]:
    start, length = draw(st.integers(0, 100)), draw(st.integers(0, 30))
    repeat, gap = draw(st.integers(1, 6)), draw(st.integers(0, 9))
    return {
        "start_ps": start,
        "end_ps": start + length,
        "busy_ps": length,
        "repeat": repeat,
        "period_ps": length + gap if repeat > 1 else 0,
    }


@given(st.lists(_span(), max_size=8), st.integers(0, 50), st.integers(51, 300), st.integers(1, 40))
def test_columns_hold_exactly_the_time_in_them(
    rows: list[dict[str, int]], low: int, high: int, width: int
) -> None:
    """Counted picosecond by picosecond, whatever the zoom; recurring spans in closed form."""
    busy = np.zeros(1000)
    for r in rows:
        for k in range(r["repeat"]):
            at = r["start_ps"] + k * r["period_ps"]
            busy[at : at + r["end_ps"] - r["start_ps"]] += 1
    before = np.concatenate([[0], np.cumsum(busy)])
    edges = np.linspace(low, high, width + 1)
    expected = np.diff(np.interp(edges, np.arange(1001), before))

    spans = _spans([dict(r) for r in rows])
    got = spans.time_in(edges, np.arange(len(rows)))

    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_gaps_inside_a_span_are_spread_evenly() -> None:
    """A span that is busy half of its time fills its columns by half."""
    spans = _spans([{"start_ps": 0, "end_ps": 100, "busy_ps": 50, "repeat": 1}])

    assert spans.time_in(np.array([0.0, 10.0, 100.0]), np.array([0])).tolist() == [5.0, 45.0]
    assert spans.time_in(np.array([0.0, 10.0]), np.array([0]), whole=True).tolist() == [10.0]


def test_the_timeline_in_plain_text(make_run: MakeRun, regen: bool) -> None:
    """The whole picture. --regen-golden rewrites it; review the diff."""
    text = render(open_run(make_run()).table("spans"), width=100).plain
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if regen:
        (GOLDEN / "timeline.txt").write_text(text, encoding="utf-8")
    assert text == (GOLDEN / "timeline.txt").read_text(encoding="utf-8")


def test_plain_text_tells_every_kind_apart() -> None:
    """Without colour each kind has its own letter; stalls have small ones."""
    letters = [letter for letter, _ in GLYPHS.values()]

    assert len(set(letters)) == len(letters)
    assert all(GLYPHS[k][0].islower() == k.startswith("stall") for k in GLYPHS)
    assert len({color for _, color in GLYPHS.values()}) == len(GLYPHS)


def _rows(picture: Text) -> dict[str, str]:
    return {line.split()[0]: line for line in picture.plain.splitlines()}


def test_color_shades_by_occupancy(make_run: MakeRun) -> None:
    """Half busy is the third shade; colours are those of the legend."""
    spans = open_run(make_run()).table("spans")
    picture = render(spans, width=100, color=True)

    half = render(spans, hi=50 * US, width=100, color=True)
    assert set(_rows(half)["dram"].split("%")[1].strip()) == {"▓"}
    styles = {str(span.style) for span in picture.spans}
    assert {"green", "red", "dark_orange", "blue"} <= styles


def test_a_window_shows_only_what_is_in_it(make_run: MakeRun) -> None:
    """Percentages, too, are those of the window; each line keeps to the width."""
    spans = open_run(make_run()).table("spans")
    picture = render(spans, lo=40 * US, hi=45 * US, width=80)

    assert "  0 %" in _rows(picture)["pe_array"]
    assert set(_rows(picture)["pe_array"].split("%")[1].strip()) == {"o"}
    assert "wgt" not in picture.plain
    assert max(len(line) for line in picture.plain.splitlines()) <= 80


def test_components_run_from_the_array_to_the_dram(make_run: MakeRun) -> None:
    """Units that execute first, then banks, then what is outside."""
    picture = render(open_run(make_run()).table("spans"), width=80)

    assert list(_rows(picture))[:7] == ["time", "phase", "layer", "pe_array", "vector", "spad.mram", "dram"]


def test_no_span_at_all_is_an_empty_picture() -> None:
    """A run of nothing has a time axis and nothing else."""
    empty = tables.table(SPANS, {c: [] for c in SPANS})

    assert [line.split()[0] for line in render(empty, width=60).plain.splitlines()] == [
        "time",
        "phase",
        "layer",
        ".",
    ]


@given(st.integers(0, 10**13), st.integers(1, 10**13), st.integers(20, 200))
def test_ticks_stand_where_they_say(low: int, length: int, width: int) -> None:
    """Each tick's column holds its instant, and labels do not run into each other."""
    unit, line = axis(low, low + length, width)
    size = {"s": 10**12, "ms": 10**9, "us": 10**6, "ns": 10**3, "ps": 1}[unit]

    assert len(line) == width
    for mark in line.split("|")[1:]:
        at = (float(mark) * size - low) * width / length
        found = line.index(f"|{mark.strip()}")
        assert abs(found - at) <= 1.001


def test_a_layer_has_a_window_per_phase(make_run: MakeRun) -> None:
    """The forward pass of a layer lies far from its backward pass; globs join layers."""
    ops = open_run(make_run()).table("ops")

    assert layer_windows(ops, "conv1") == {"forward": (0, 40 * US)}
    assert layer_windows(ops, "*") == {
        "forward": (0, 60 * US),
        "backward": (60 * US, 90 * US),
        "update": (90 * US, 100 * US),
    }
    with pytest.raises(InputError) as refused:
        layer_windows(ops, "conf1")
    assert str(refused.value) == '--layer: no layer matches "conf1"; did you mean conv1?'


@pytest.mark.parametrize(
    ("text", "ps"), [("12 us", 12 * US), ("1200000", 1_200_000), ("300 cycles", 150_000), ("0", 0)]
)
def test_instants_have_units_or_are_ps(text: str, ps: int) -> None:
    """As times in TOML are written; cycles are those of the run's clock."""
    assert instant(text, "--from", 2_000_000_000) == ps


def test_an_instant_without_sense_is_refused() -> None:
    """The option and the accepted units are named."""
    with pytest.raises(
        InputError, match=r"^--to: expected a time such as .*12 kg.*; a bare number is in ps$"
    ):
        instant("12 kg", "--to", 10**9)
