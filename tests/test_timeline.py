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

import accelsim
from accelsim.cli.timeline import instant
from accelsim.errors import InputError
from accelsim.timeline import layer_windows, not_drawn, render
from accelsim.timeline.axis import axis
from accelsim.timeline.glyphs import GLYPHS
from accelsim.timeline.occupancy import Floats, Spans
from accelsim.trace import human, tables
from accelsim.trace.runs import Run, open_run
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


@given(
    st.lists(_span(), max_size=8),
    st.lists(_span(), max_size=3),
    st.booleans(),
    st.integers(0, 50),
    st.integers(51, 300),
    st.integers(1, 40),
)
def test_columns_hold_exactly_the_time_in_them(
    rows: list[dict[str, Any]], waits: list[dict[str, Any]], port: bool, low: int, high: int, width: int
) -> None:
    """Counted picosecond by picosecond, whatever the zoom: a port's accesses add up, other work counts once.

    While something waits it does not work.
    """
    busy = _counted(rows) if port else ((_counted(rows) > 0) & (_counted(waits) == 0)).astype(float)
    before = np.concatenate([[0], np.cumsum(busy)])
    edges = np.linspace(low, high, width + 1)
    expected = np.diff(np.interp(edges, np.arange(1001), before))

    spans = _spans([{**r, "category": "read" if port else "fill"} for r in rows] + waits)
    first = len(rows)
    got = spans.time_in(edges, np.arange(first), but=np.arange(first, first + len(waits)))

    np.testing.assert_allclose(got, expected, atol=1e-6)


def _counted(rows: list[dict[str, Any]]) -> Floats:
    """Return how many spans last in each of the first 1000 ps."""
    count = np.zeros(1000)
    for r in rows:
        for k in range(r["repeat"]):
            at = r["start_ps"] + k * r["period_ps"]
            count[at : at + r["end_ps"] - r["start_ps"]] += 1
    return count


def test_gaps_inside_a_span_are_spread_evenly() -> None:
    """A span that is busy half of its time fills its columns by half."""
    spans = _spans([{"category": "read", "start_ps": 0, "end_ps": 100, "busy_ps": 50, "repeat": 1}])

    assert spans.time_in(np.array([0.0, 10.0, 100.0]), np.array([0])).tolist() == [5.0, 45.0]
    assert spans.time_in(np.array([0.0, 10.0]), np.array([0]), whole=True).tolist() == [10.0]


def test_millions_of_spans_are_counted_piece_by_piece() -> None:
    """In one column or in many, beside one that lasts long."""
    often = {"start_ps": 3, "end_ps": 6, "busy_ps": 3, "repeat": 2_500_000, "period_ps": 10}
    once = {"start_ps": 10, "end_ps": 1000, "busy_ps": 990, "repeat": 1}
    spans, both = _spans([{"category": "fill", **often}, {"category": "fill", **once}]), np.array([0, 1])
    end = 25_000_000.0

    assert spans.time_in(np.array([0, end]), both).tolist() == [3 * 2_500_000 + 990 - 99 * 3]
    assert spans.time_in(np.array([0, 10, 5e6, end]), both).sum() == 3 * 2_500_000 + 990 - 99 * 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with transfers in flight together, and with vector work that rides on drains."""
    out = tmp_path_factory.mktemp("small") / "run"
    accelsim.simulate("edge-hybrid", "lenet5", batch=2, out=out)
    return open_run(out)


def test_a_figure_is_that_of_the_report_at_every_width(small: Run) -> None:
    """So it is for the run as a whole; a part's is the same at every width, and parts add up to no more."""
    spans, end = small.table("spans"), small.summary["time_ps"]
    shown = {n: human.percent(c["busy_ps"], end) for n, c in small.summary["components"].items()}
    busy = {n: c["busy_ps"] / end for n, c in small.summary["components"].items()}

    for width in (60, 110, 1000):
        picture = _rows(render(spans, hi=end, width=width, busy=busy))
        assert {name: picture[name].split("%")[0].split()[1] + " %" for name in shown} == shown
    parts = [_rows(render(spans, lo=end // 3, hi=end // 2, width=w)) for w in (60, 110, 1000)]
    assert len({tuple(p[name].split("%")[0] for name in shown) for p in parts}) == 1


def test_work_without_spans_is_told(small: Run) -> None:
    """What rides on a drain has none, nor has the array while it loads; all of the others' work is drawn."""
    end = small.summary["time_ps"]
    busy = {n: c["busy_ps"] / end for n, c in small.summary["components"].items()}
    hidden = not_drawn(small.table("spans"), busy, end)

    assert list(hidden) == ["pe_array", "vector"]
    assert 0 < hidden["vector"] < busy["vector"]


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

    assert " 0.0 %" in _rows(picture)["pe_array"]
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


def test_a_name_that_fits_is_whole() -> None:
    """One letter is not given for the bar; two names do not run together for it."""
    rows = [("forward", "a", 0, 40), ("update", "bcdefg", 40, 46), ("update", "hijklm", 46, 52)]
    spans = [
        {"component": "pe_array", "category": "compute", "phase": phase, "layer": layer, "repeat": 1}
        | {"start_ps": start, "end_ps": end, "busy_ps": end - start}
        for phase, layer, start, end in rows
    ]
    columns = {c: [r.get(c, {"dict": "", "int64": 0}[t]) for r in spans] for c, t in SPANS.items()}
    lines = _rows(render(tables.table(SPANS, columns), hi=52, width=len("time [ps]") + 9 + 52))

    assert lines["layer"].endswith(" bcdefg|ijklm")
    assert lines["phase"].endswith("-|update-----")


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
