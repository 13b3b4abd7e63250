"""SECDED: patterns counted by MacWilliams against all small ones enumerated, and random ones decoded."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.reliability.ecc import Secded, secded
from accelsim.resolve.bank_group import Ecc

SIZES = [(4, 4), (11, 5), (26, 6), (32, 7), (64, 8), (128, 9), (256, 10)]


def code_of(data_bits: int, check_bits: int) -> Secded:
    """Return the code of so many bits."""
    return secded(Ecc(data_bits=data_bits, check_bits=check_bits, latency_ps=0))


def decoded(code: Secded, wrong: tuple[int, ...]) -> tuple[str, set[int]]:
    """Return what the decoder says to a word whose bits ``wrong`` are, and the bits then wrong."""
    syndrome = 0
    for bit in wrong:
        syndrome ^= code.columns[bit]
    if syndrome == 0:
        return "undetected" if wrong else "right", set(wrong)
    if syndrome not in code.columns:
        return "detected", set(wrong)
    left = set(wrong) ^ {code.columns.index(syndrome)}
    return "miscorrected" if left else "right", left


def enumerated(code: Secded, weight: int) -> tuple[Counter[str], int, int]:
    """Return outcomes of all patterns of ``weight``, words with a data bit wrong, data bits wrong."""
    outcomes: Counter[str] = Counter()
    words = bits = 0
    for wrong in combinations(range(code.code_bits), weight):
        outcome, left = decoded(code, wrong)
        data = sum(bit < code.data_bits for bit in left)
        outcomes[outcome] += 1
        words += bool(data)
        bits += data
    return outcomes, words, bits


@pytest.mark.parametrize(("data_bits", "check_bits"), SIZES)
def test_the_columns_are_different_and_odd(data_bits: int, check_bits: int) -> None:
    """So that one error is corrected, and two are found."""
    columns = code_of(data_bits, check_bits).columns
    assert len(set(columns)) == len(columns) == data_bits + check_bits
    assert all(c.bit_count() % 2 for c in columns)


@pytest.mark.parametrize(
    ("data_bits", "check_bits", "weights"),
    [(64, 8, (1, 2, 3)), (11, 5, (1, 2, 3, 4, 5)), (4, 4, range(1, 9))],
)
def test_counts_are_those_of_all_patterns(data_bits: int, check_bits: int, weights: tuple[int, ...]) -> None:
    """Outcomes, wrong words and wrong data bits of every pattern of few errors."""
    code = code_of(data_bits, check_bits)
    for weight in weights:
        outcomes, words, bits = enumerated(code, weight)
        for name in ("detected", "miscorrected", "undetected"):
            assert getattr(code, name).counts[weight] == outcomes[name], (name, weight)
        assert code.wrong.counts[weight] == words
        made = code.made_wrong.counts[weight] if weight < code.code_bits else 0.0
        assert code.data_bits * (code.stays.counts[weight - 1] + made) == pytest.approx(bits, rel=1e-12)


def test_two_errors_are_the_residual() -> None:
    """A (72, 64) word: all 2556 pairs are detected, 28 of them hit check bits only; 71 spoil a given bit."""
    code, p = code_of(64, 8), np.array([1e-15, 1e-12, 1e-9])
    assert code.detected.probability(p) / p**2 == pytest.approx(2556, rel=1e-7)
    assert code.wrong.probability(p) / p**2 == pytest.approx(2556 - 28, rel=1e-7)
    assert code.delivered(p, p) / p**2 == pytest.approx(71, rel=1e-7)
    assert code.miscorrected.probability(p) / p**3 == pytest.approx(code.miscorrected.counts[3], rel=1e-6)


@pytest.mark.parametrize("p", [0.003, 0.02, 0.2])
def test_random_words_are_decoded_as_often_so(p: float) -> None:
    """100,000 words with random errors, decoded bit by bit: within 4 sigma."""
    code, words = code_of(64, 8), 100_000
    errors = np.random.default_rng(7).random((words, code.code_bits)) < p
    columns = np.array(code.columns)
    syndrome = np.bitwise_xor.reduce(np.where(errors, columns, 0), axis=1)
    hit = columns == syndrome[:, None]
    left = errors ^ hit
    data = left[:, : code.data_bits]
    one = np.array([p])
    flipped, anything = hit.any(axis=1), left.any(axis=1)
    for got, want in [
        ((flipped & anything).mean(), code.miscorrected.probability(one)[0]),
        ((~flipped & (syndrome != 0)).mean(), code.detected.probability(one)[0]),
        (data.any(axis=1).mean(), code.wrong.probability(one)[0]),
    ]:
        assert abs(got - want) < 4 * np.sqrt(want * (1 - want) / words)
    want = code.delivered(one, one)[0]
    spread = data.mean(axis=1).std() / np.sqrt(words)  # bits of a word err together
    assert abs(data.mean() - want) < 4 * spread


@given(st.sampled_from(SIZES), st.floats(0, 1))
def test_outcomes_make_up_all_words(size: tuple[int, int], p: float) -> None:
    """Right, detected, undetected and miscorrected add up to 1; none is negative."""
    code, one = code_of(*size), np.array([p])
    bits = code.code_bits
    right = (1 - p) ** bits + bits * p * (1 - p) ** (bits - 1)
    parts = [x.probability(one)[0] for x in (code.detected, code.miscorrected, code.undetected)]
    assert all(0 <= part <= 1 for part in parts)
    assert sum(parts) + right == pytest.approx(1, abs=1e-9)
    assert code.left.probability(one)[0] == pytest.approx(1 - right, abs=1e-9)


@given(st.sampled_from(SIZES), st.floats(1e-15, 0.4), st.floats(1, 2))
def test_more_errors_leave_more(size: tuple[int, int], p: float, factor: float) -> None:
    """A word is wrong more often, and a bit, the more often bits are."""
    code, both = code_of(*size), np.array([p, min(0.5, p * factor)])
    for values in (code.wrong.probability(both), code.delivered(both, both)):
        assert values[0] <= values[1] * (1 + 1e-9)


def test_too_few_check_bits_are_refused() -> None:
    """Not every pair of sizes is a code."""
    with pytest.raises(InputError, match="ecc: 7 check bits serve at most 57 data bits, not 64"):
        code_of(64, 7)
