"""Accesses of other tools' machines at their own mappings, imposed: every level that both have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.validation import timeloop, zigzag
from tests.validation.counts import Line

OUTPUTS = 112 * 112 * 32


def _agrees(lines: list[Line]) -> None:
    assert [(line.level, line.theirs) for line in lines] == [
        (line.level, line.ours + line.apart) for line in lines
    ]
    for line in lines:
        assert line.our_pj == pytest.approx(line.their_pj, rel=0.01), line.level


@pytest.mark.parametrize("point", zigzag.POINTS, ids=lambda p: f"{p['design']}-{p['m']}x{p['n']}x{p['k']}")
def test_zigzag_gemm_l1_counts_the_same_accesses(point: dict[str, Any]) -> None:
    """L1 words by operand exactly, once the zeros that ZigZag reads are added; energies within 1 %."""
    lines = zigzag.lines(point)
    _agrees(lines)
    apart = {line.level: line.apart for line in lines if line.apart}
    word = 32 if point["design"].endswith("256b") else 256
    assert apart == {"L1, O, read": point["m"] * point["n"] * 4 // word}


@pytest.mark.parametrize("design", timeloop.DESIGNS)
def test_timeloop_designs_count_the_same_accesses(design: str) -> None:
    """DRAM, global buffer, sums, input register and MACs: exactly; energies within 1 %."""
    lines = timeloop.lines(design)
    _agrees(lines)
    apart = {line.level: line.apart for line in lines if line.apart}
    ours_alone = {"PE's scratchpad, sums, read": -OUTPUTS}  # the first addition of a sum
    assert apart == (ours_alone if design == timeloop.DESIGNS[1] else {})
    assert len(lines) == 11
