"""TPU v1's measured share of active cycles (Jouppi et al., ISCA 2017, table 3; transcribed, see the file)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.validation.tpu_v1 import APPS, share

PARTS = ("array_active", "weight_stall", "weight_shift", "non_matrix")
POINTS = 10


def test_the_transcribed_columns_add_up() -> None:
    """What was written down from memory is at least consistent."""
    assert {app: round(sum(known[p] for p in PARTS), 1) for app, known in APPS.items()} == {
        "MLP0": 100.0,
        "CNN0": 100.0,
    }


@pytest.mark.parametrize("app", APPS)
def test_the_array_is_active_as_often_as_measured(app: str, tmp_path: Path) -> None:
    """Within ten points, for networks of the published totals: weights, layers, uses of a weight byte.

    Weights that came without delay would leave MLP0 at 43 %.
    """
    known, found = APPS[app], share(app, tmp_path)
    assert found.weights == pytest.approx(known["weights_M"] * 1e6, rel=0.02)
    assert found.uses == known["ops_per_weight_byte"]
    assert abs(100 * found.active - known["array_active"]) < POINTS
