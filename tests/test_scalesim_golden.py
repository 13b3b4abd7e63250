"""``convention = "scale-sim"`` is SCALE-Sim 3.0.0, to the cycle, on every case of the golden file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim.geometry import ceil_div
from accelsim.program.folds import compute_cycles, extents
from accelsim.words import Dataflow

GOLDEN = Path(__file__).parent / "golden" / "scalesim_compute_cycles.csv"
Case = dict[str, str]


def _cases() -> list[Case]:
    with GOLDEN.open(newline="") as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _ints(case: Case, *columns: str) -> tuple[int, ...]:
    return tuple(int(case[c]) for c in columns)


def _lowered(conv: str) -> tuple[int, int, int]:
    """Return M, N, K of a convolution by SCALE-Sim's rules: no padding, batch 1."""
    h, w, fh, fw, channels, filters, sh, sw = map(int, conv.split("x"))
    return ceil_div(h - fh + sh, sh) * ceil_div(w - fw + sw, sw), filters, fh * fw * channels


def test_the_file_has_every_kind_of_case() -> None:
    """GEMMs and convolutions on each array under each dataflow."""
    kinds = {(c["kind"], c["dataflow"], c["rows"], c["cols"]) for c in _cases()}
    arrays = (("32", "32"), ("128", "128"), ("16", "64"))
    assert kinds == {(k, d, *a) for k in ("gemm", "conv") for d in ("ws", "is", "os") for a in arrays}
    assert len(_cases()) == 537


def test_compute_cycles_are_those_reported_plus_one() -> None:
    """The report has the 0-based index of the last cycle."""
    wrong = [
        case
        for case in _cases()
        if compute_cycles("scale-sim", case["dataflow"], *_ints(case, "rows", "cols", "m", "n", "k"))  # type: ignore[arg-type]
        != int(case["reported"]) + 1
    ]
    assert wrong == []


def test_convolutions_lower_to_the_same_gemm() -> None:
    """M = oh ow, N = filters, K = fh fw channels, with oh = ceil((h - fh + s) / s)."""
    convs = [c for c in _cases() if c["kind"] == "conv"]
    assert [_ints(c, "m", "n", "k") for c in convs] == [_lowered(c["conv"]) for c in convs]


@pytest.mark.parametrize(
    ("dataflow", "cycles"),
    [("ws", 2 * 4 * (2 * 8 + 4 + 5 - 2)), ("is", 2 * 2 * (2 * 8 + 4 + 13 - 2)), ("os", 4 * (8 + 4 + 9 - 2))],
)
def test_folds_are_strictly_serial(dataflow: Dataflow, cycles: int) -> None:
    """5x13x9 on 8x4: K over 2 and N over 4 blocks; K over 2 and M over 2; M over 1 and N over 4."""
    assert compute_cycles("scale-sim", dataflow, 8, 4, m=5, n=13, k=9) == cycles


@pytest.mark.parametrize("dataflow", ["ws", "is", "os"])
def test_physical_is_the_faster_one_from_two_folds_on(dataflow: Dataflow) -> None:
    """Folds back to back save the skew and the load of all but one, whenever there are two or more."""
    for case in _cases():
        rows, cols, *shape = _ints(case, "rows", "cols", "m", "n", "k")
        physical = compute_cycles("physical", dataflow, rows, cols, *shape)
        serial = compute_cycles("scale-sim", dataflow, rows, cols, *shape)
        folds = extents(dataflow, *shape).folds(rows, cols)
        drain = rows if dataflow == "os" else 0  # SCALE-Sim's os drains before the last operand is in
        assert physical <= serial + drain
        assert (physical == serial + drain) == (folds == 1)
