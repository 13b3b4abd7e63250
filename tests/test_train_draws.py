"""Which bits flip: binomial numbers, uniform positions, decoders; the same wherever they are drawn."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accelsim.errors import InputError
from accelsim.train import ecc
from accelsim.train.cells import Layout
from accelsim.train.draws import DENSE, Stream, flips, subset
from accelsim.train.formats import FORMATS, decode, encode, field_bits, rounded
from accelsim.train.weak import WeakCells


def _positions(p: float, draws: int, bits: int) -> list[np.ndarray]:
    stream = Stream(7)
    return [flips(stream.at("site", i), bits, p) for i in range(draws)]


@pytest.mark.parametrize("p", [1e-3, DENSE * 2])
def test_positions_are_uniform(p: float) -> None:
    """Chi-square over 64 equal parts of the memory, and over the bits of a 32-bit word."""
    drawn = np.concatenate(_positions(p, 400, 4096))
    for parts in (drawn // 64, drawn % 32):
        assert stats.chisquare(np.bincount(parts)).pvalue > 1e-3


@pytest.mark.parametrize("p", [1e-3, DENSE * 2])
def test_the_number_of_flips_is_binomial(p: float) -> None:
    """Chi-square of the counts against Binomial(bits, p), cells of at least five expected."""
    counts = np.array([d.size for d in _positions(p, 2000, 4096)])
    edges = np.unique(stats.binom.ppf(np.linspace(0.1, 0.9, 9), 4096, p)).astype(int)
    expected = np.diff(np.concatenate(([0.0], stats.binom.cdf(edges, 4096, p), [1.0]))) * counts.size
    observed = np.bincount(np.searchsorted(edges, counts), minlength=edges.size + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_every_subset_is_equally_probable() -> None:
    """Drawn without replacement: all 20 subsets of 3 of 6 come up equally often."""
    stream = Stream(3)
    seen = [tuple(subset(stream.at(i), 6, 3).tolist()) for i in range(4000)]
    counts = [seen.count(c) for c in combinations(range(6), 3)]
    assert sum(counts) == 4000
    assert stats.chisquare(counts).pvalue > 1e-3


@given(st.integers(0, 200), st.integers(200, 400))
def test_a_subset_is_sorted_and_without_repetition(count: int, bits: int) -> None:
    """However dense it is."""
    drawn = subset(Stream(0).at("x"), bits, count)
    assert drawn.size == count
    assert (np.diff(drawn) > 0).all()


def test_a_draw_depends_on_its_name_alone() -> None:
    """Not on what was drawn before."""
    stream = Stream(1)
    first = flips(stream.at("a", 0), 10**6, 1e-4)
    stream.at("b").random(17)
    assert np.array_equal(first, flips(stream.at("a", 0), 10**6, 1e-4))
    assert not np.array_equal(first, flips(stream.at("a", 1), 10**6, 1e-4))


def test_the_cheap_way_out_leaves_the_number_binomial() -> None:
    """None with the probability of no flip, else at least one: chi-square against Binomial(1000, 1e-3)."""
    stream, cells, counts = Stream(5), Layout(FORMATS["int8"], (), secded=False), []
    expected = cells.expected(125, "all", 1e-3)
    assert expected is not None
    for i in range(4000):
        generator = stream.unless_none(expected, "site", i)
        drawn = 0 if generator is None else cells.draw(generator, 125, "all", 1e-3, some=True).size
        counts.append(min(drawn, 4))
    wanted = [stats.binom.pmf(k, 1000, 1e-3) for k in range(4)]
    observed = np.bincount(counts, minlength=5)
    assert stats.chisquare(observed, np.array([*wanted, 1 - sum(wanted)]) * 4000).pvalue > 1e-3


def test_bits_stand_where_ieee_says() -> None:
    """Bit 31 of fp32 is the sign, bit 30 the exponent's top; bf16 has 8 bits of exponent, fp16 has 5."""
    assert field_bits("sign", FORMATS["fp32"]) == (31,)
    assert field_bits("exponent", FORMATS["fp32"]) == tuple(range(23, 31))
    assert field_bits("msb:9", FORMATS["fp32"]) == field_bits("sign+exponent", FORMATS["fp32"])
    assert field_bits("exponent", FORMATS["fp16"]) == tuple(range(10, 15))
    assert field_bits("mantissa", FORMATS["int8"]) == tuple(range(7))
    with pytest.raises(InputError, match=r'unknown bit field "expnent", did you mean exponent\?'):
        field_bits("expnent", FORMATS["fp32"])


@pytest.mark.parametrize("name", ["bf16", "fp16", "int8"])
def test_stored_words_are_what_torch_makes_of_the_numbers(name: str) -> None:
    """Rounding, then encoding, then decoding gives the rounded values; flips act on the stored bits."""
    torch.manual_seed(0)
    form, fp32 = FORMATS[name], FORMATS["fp32"]
    values, scale = rounded(torch.randn(1000), form)
    raw = values.numpy().view(np.uint32)
    words = encode(raw, fp32, form, scale)
    assert words.dtype == form.unsigned
    assert np.array_equal(decode(words, fp32, form, scale), raw)
    top = decode(words ^ form.unsigned.type(1 << (form.width - 1)), fp32, form, scale).view(np.float32)
    expected = np.where(values < 0, values + 128 * scale, values - 128 * scale) if name == "int8" else -values
    assert np.allclose(top, expected, rtol=1e-6)


def test_a_flip_of_the_exponents_top_bit_makes_one_infinite() -> None:
    """And -1, the background of the digits, minus infinity."""
    words = np.array([1.0, -1.0], np.float32).view(np.uint32) ^ np.uint32(1 << 30)
    assert words.view(np.float32).tolist() == [float("inf"), float("-inf")]
    assert FORMATS["fp32"].non_finite(words).all()


def _parity_check() -> np.ndarray:
    return np.unpackbits(ecc.COLUMNS[:, None], axis=1).T.astype(int)


def test_single_errors_vanish_and_double_errors_stay() -> None:
    """All of them: 72 singles, 2556 doubles, which the decoder never turns into something else."""
    assert all(ecc.decode(np.array([b])).size == 0 for b in range(ecc.CODE))
    for a, b in combinations(range(ecc.CODE), 2):
        assert ecc.decode(np.array([a, b])).tolist() == [x for x in (a, b) if x < ecc.DATA]


def test_triple_errors_are_decoded_as_the_parity_check_says() -> None:
    """Against a decoder over matrices, word by word; some are miscorrected."""
    check, rng, worse = _parity_check(), np.random.default_rng(0), 0
    for word in range(300):
        wrong = np.sort(rng.choice(ecc.CODE, 3, replace=False))
        syndrome = check[:, wrong].sum(axis=1) % 2
        hit = np.flatnonzero((check == syndrome[:, None]).all(axis=0))
        expected = set(wrong.tolist()) ^ set(hit.tolist())
        got = ecc.decode(wrong + word * ecc.CODE) - word * ecc.DATA
        assert got.tolist() == sorted(b for b in expected if b < ecc.DATA)
        worse += ecc.miscorrected(wrong + word * ecc.CODE)
    assert 50 < worse < 300


@pytest.mark.parametrize("name", ["fp32", "bf16", "int8"])
def test_secded_words_leave_out_what_is_protected(name: str) -> None:
    """Positions of every stored bit are distinct, below 64 in their words, and lead back to the bit."""
    form = FORMATS[name]
    cells = Layout(form, ("sign",), secded=True)
    element, bit = np.divmod(np.arange(20 * form.width), form.width)
    at = cells.place(element, bit)
    assert np.unique(at).size == at.size == 20 * (form.width - 1)
    assert (at % ecc.CODE < ecc.DATA).all()
    double = np.sort(at[[0, 1]])
    elements, masks = cells.masks(double, 20)
    assert elements.tolist() == [0]
    assert masks.tolist() == [0b11]


def test_weak_cells_keep_their_addresses() -> None:
    """Two objects with one seed agree; a tensor that wraps around meets the same cells again."""
    cells = WeakCells(1e-4, seed=0, memory_bytes=1 << 18)
    at, stuck = cells.of("conv1", 1 << 22)
    again = WeakCells(1e-4, seed=0, memory_bytes=1 << 18).of("conv1", 1 << 22)
    assert np.array_equal(at, again[0])
    assert np.array_equal(stuck, again[1])
    half = at[at < 1 << 21]
    assert np.array_equal(half + (1 << 21), at[at >= 1 << 21])
    assert at.size == pytest.approx(419, abs=65)
