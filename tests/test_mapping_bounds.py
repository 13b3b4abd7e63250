"""Bounds of what stays in the scratchpad: LRU >= ours = Belady's minimum; AccelForge's optimum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validation.bounds import ACCELFORGE, belady_fills, dram_bits, lru_fills, our_fills

TRACES = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@given(TRACES, st.integers(1, 8))
def test_ours_is_the_minimum_and_no_worse_than_lru(trace: list[int], capacity: int) -> None:
    """DRAM fills of clean data of one size, read one after the other."""
    assert lru_fills(trace, capacity) >= our_fills(trace, capacity) == belady_fills(trace, capacity)


def test_the_bounds_are_apart() -> None:
    """A loop over one item more than fits is the worst for LRU: the law above can fail on both sides."""
    trace = [0, 1, 2, 3] * 4
    assert lru_fills(trace, 3) == 16
    assert belady_fills(trace, 3) == our_fills(trace, 3) == 4 + 3


@pytest.mark.parametrize("point", ACCELFORGE["points"], ids=lambda p: str(p["M"]))
def test_a_gemm_moves_little_more_than_accelforge_s_optimum(point: dict[str, int]) -> None:
    """Not less than the optimum for their buffer, whose sums are a quarter as wide, and at most 1.5 times."""
    assert 1 <= dram_bits(point) / point["dram_bits"] <= 1.5
