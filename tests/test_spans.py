"""Records in columns hold what was put into them; repeated blocks are what plain repetition gives."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.trace.accesses import Accesses
from accelsim.trace.recorder import Part
from accelsim.trace.spans import Label, SpanRow, Spans

PARTS = [Part("fc1", "fc1", "forward"), Part("bwd/fc1", "fc1", "backward")]
LABELS = [
    Label(c, "read", "", part, tensor)
    for c in ("spad.sram", "dram")
    for part in PARTS
    for tensor in ("x", "")
]
Stretch = tuple[int, int, int, int]  # label, start, length, bytes
STRETCHES = st.lists(
    st.tuples(
        st.integers(0, len(LABELS) - 1), st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 99)
    ),
    min_size=1,
    max_size=6,
)


def filled(stretches: list[Stretch]) -> Spans:
    """Return spans of these stretches, each asked for 3 ps before its start."""
    spans = Spans()
    for label, start, length, nbytes in stretches:
        spans.add(LABELS[label], start - 3, start, start + length, length, 1, nbytes)
    return spans


def occurrences(spans: Spans) -> Counter[tuple[str, str, str, int, int, int, int]]:
    """Return every single stretch, recurring ones written out, and how often it is there."""
    found = Counter[tuple[str, str, str, int, int, int, int]]()
    for s in spans:
        for later in (n * s.period_ps for n in range(s.repeat)):
            when = s.queued_ps + later, s.end_ps + later
            found[s.component, s.part.op, s.tensor, *when, s.busy_ps, s.nbytes] += 1
    return found


def test_a_span_comes_back_as_it_was_put_in() -> None:
    spans = Spans()
    spans.add(LABELS[0], 1, 2, 9, 5, 4, 64)
    assert list(spans) == [SpanRow("spad.sram", "read", "", PARTS[0], "x", 1, 2, 9, 5, 4, 64)]
    assert len(spans) == 1
    spans.clear()
    assert list(spans) == []


@given(STRETCHES, st.integers(1, 4), st.integers(1, 4), st.integers(1, 10**5), st.integers(1, 10**7))
def test_loops_in_loops_hold_every_occurrence(
    stretches: list[Stretch], inner: int, outer: int, period: int, longer: int
) -> None:
    spans, single = filled(stretches), occurrences(filled(stretches))
    spans.again(spans.block(0), period, inner, period)
    once = len(spans)
    spans.again(spans.block(0), longer, outer, longer)
    expected = Counter[tuple[str, str, str, int, int, int, int]]()
    for later in (n * period + m * longer for n in range(inner + 1) for m in range(outer + 1)):
        for (component, op, tensor, queued, end, busy, nbytes), times in single.items():
            expected[component, op, tensor, queued + later, end + later, busy, nbytes] += times
    assert occurrences(spans) == expected
    assert once == 2 * len(stretches)  # what recurs is one row, however often


@given(STRETCHES)
def test_renamed_spans_differ_in_their_labels_only(stretches: list[Stretch]) -> None:
    spans = filled(stretches)
    block = spans.renamed(spans.block(0), lambda label: label._replace(part=PARTS[1]))
    assert {x.part for x in spans.labels(block)} == {PARTS[1]}
    before = list(spans)
    spans.again(block, 0)
    for here, there in zip(before, list(spans)[len(before) :], strict=True):
        assert (here.component, here.tensor, here.end_ps) == (there.component, there.tensor, there.end_ps)


def test_instants_beyond_64_bits_are_no_wrapped_ones() -> None:
    spans = filled([(0, 10, 5, 1)])
    with pytest.raises(OverflowError, match="a span ends at"):
        spans.again(spans.block(0), 10, 10**10, 10**10)
    assert len(spans) == 1


BOXES = st.lists(st.tuples(st.integers(0, 99), st.integers(100, 2**40)), max_size=4).map(tuple)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), BOXES, st.integers(-(10**15), 10**15)), max_size=9),
    st.data(),
)
def test_accesses_come_back_as_they_were_put_in(
    added: list[tuple[str, tuple[tuple[int, int], ...], int]], data: st.DataObject
) -> None:
    accesses = Accesses[str]()
    for about, box, at_ps in added:
        accesses.add(about, box, at_ps)
    first = data.draw(st.integers(0, len(added)))
    last = data.draw(st.integers(first, len(added)))
    assert len(accesses) == len(added)
    assert list(accesses.between(0)) == added
    assert list(accesses.between(first, last)) == added[first:last]
