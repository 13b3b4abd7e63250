"""The ``physical`` convention is what an array of PE registers does, to the cycle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from accelsim.program.folds import compute_cycles, extents
from accelsim.words import Dataflow
from tests.register_array import Array, Outcome, Problems, StationaryOutputs, StationaryWeights

SIZES = (1, 2, 3, 5, 8)
SHAPES = tuple(itertools.product(range(1, 13), range(1, 13), range(1, 13)))
Shape = tuple[int, int, int]
PADDED = 12 + 8  # the largest extent, and the ragged end of its last fold


def _gemms(shapes: tuple[Shape, ...]) -> tuple[Array, Array]:
    """Random integers without zeros, A ``(m, k, batch)`` and B ``(k, n, batch)``, zero beyond the extents."""
    rng = np.random.default_rng(7)
    a, b = (rng.choice([-3, -2, -1, 1, 2, 3], (PADDED, PADDED, len(shapes))).astype(np.int16) for _ in "ab")
    m, n, k = np.array(shapes).T
    i, j = np.arange(PADDED)[:, None, None], np.arange(PADDED)[None, :, None]
    return a * ((i < m) & (j < k)), b * ((i < k) & (j < n))


def _problems(dataflow: Dataflow, shapes: tuple[Shape, ...], a: Array, b: Array) -> Problems:
    """The operands as the array sees them: B stationary, or A, or neither."""
    sides = [extents(dataflow, *shape) for shape in shapes]
    left, top = {"ws": (a, b), "is": (b.swapaxes(0, 1), a.swapaxes(0, 1)), "os": (a.swapaxes(0, 1), b)}[
        dataflow
    ]
    return Problems(
        left,
        top,
        *(np.array([getattr(s, name) for s in sides]) for name in ("over_rows", "over_cols", "streamed")),
    )


def _run(
    dataflow: Dataflow,
    rows: int,
    cols: int,
    shapes: tuple[Shape, ...],
    period: int | None = None,
    hold: bool = True,
) -> tuple[Outcome, Array]:
    """Return what came out, and for each problem whether it equals A @ B."""
    a, b = _gemms(shapes)
    machine = StationaryOutputs if dataflow == "os" else StationaryWeights
    periods = None if period is None else np.full(len(shapes), period)
    outcome = machine(rows, cols, _problems(dataflow, shapes, a, b), periods, hold).outcome()
    got = outcome.results.swapaxes(0, 1) if dataflow == "is" else outcome.results
    m, n = got.shape[:2]
    want = np.einsum("mkz,knz->mnz", a, b)
    full = np.zeros_like(want)
    full[:m, :n] = got
    return outcome, (full == want).all(axis=(0, 1))


@pytest.mark.parametrize("dataflow", ["ws", "is", "os"])
def test_values_and_last_cycle_are_those_of_the_formula(dataflow: Dataflow) -> None:
    """Every M, N, K up to 12 on every array: results are A @ B, the last one at the formula's cycle."""
    for rows, cols in itertools.product(SIZES, SIZES):
        outcome, right = _run(dataflow, rows, cols, SHAPES)
        want = [compute_cycles("physical", dataflow, rows, cols, *shape) for shape in SHAPES]
        assert right.all(), (rows, cols, SHAPES[int(right.argmin())])
        np.testing.assert_array_equal(outcome.cycles, want, f"{dataflow} on {rows}x{cols}")


def _least_period(dataflow: Dataflow, rows: int, streamed: int, hold: bool) -> int:
    """The shortest period at which five folds give the right results."""
    m, n, k = {"ws": (streamed, 5, rows), "is": (5, streamed, rows), "os": (rows, 5, streamed)}[dataflow]
    for period in range(max(rows, streamed), 4 * (rows + streamed)):
        _, right = _run(dataflow, rows, 1, ((m, n, k),), period, hold)
        if right.all():
            return period
    raise AssertionError("no period works")


@pytest.mark.parametrize("rows", [2, 3, 5, 8])
@pytest.mark.parametrize("dataflow", ["ws", "is"])
def test_without_hold_a_short_stream_waits_for_the_chain(dataflow: Dataflow, rows: int) -> None:
    """A chain that swaps in itself stands still for R - 1 cycles of every load: period 2R - 1, not R."""
    for streamed in (1, rows - 1, rows, 2 * rows):
        assert _least_period(dataflow, rows, streamed, hold=True) == max(rows, streamed)
        assert _least_period(dataflow, rows, streamed, hold=False) == max(2 * rows - 1, streamed)


@pytest.mark.parametrize("rows", [2, 3, 5, 8])
def test_without_hold_accumulators_wait_for_their_column(rows: int) -> None:
    """The top accumulator keeps its result until the bottom one has its own: R + T - 1, not max(R, T)."""
    for streamed in (1, 2, rows, 12):
        assert _least_period("os", rows, streamed, hold=True) == max(rows, streamed)
        assert _least_period("os", rows, streamed, hold=False) == rows + streamed - 1


def test_a_single_fold_is_the_classic_figure() -> None:
    """One fold of T elements on R x C takes 2R + C + T - 2 cycles, whatever the dataflow."""
    cases: dict[Dataflow, Shape] = {"ws": (4, 3, 5), "is": (3, 4, 5), "os": (5, 3, 4)}
    for dataflow, shape in cases.items():
        outcome, right = _run(dataflow, 5, 3, (shape,))
        assert right.all()
        assert outcome.cycles.tolist() == [2 * 5 + 3 + 4 - 2]
