"""Output-stationary cycles of other simulators, whose figures lie in ``golden/peers_os_cycles.csv``.

``llmcompass``: the look-up tables for systolic arrays in PrincetonUniversity/LLMCompass (2e015fd), made by it
with SCALE-Sim. ``stonne``: stonne-simulator/stonne (22634b8), TPU_OS_DENSE on 16 x 16 with tiles of 16 x 16,
dn_bw 32, rn_bw 256, run for this project.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim import simulate
from accelsim.geometry import ceil_div
from accelsim.program.folds import compute_cycles
from accelsim.trace.runs import open_run

GOLDEN = Path(__file__).parent / "golden" / "peers_os_cycles.csv"
LAST_INDEX = 1  # SCALE-Sim reports the index of the last cycle
PER_FOLD = 5  # cycles that STONNE takes beside R + C + T - 2


def _rows(source: str) -> list[dict[str, int]]:
    with GOLDEN.open() as file:
        return [
            {k: int(v) for k, v in row.items() if k != "source"}
            for row in csv.DictReader(file)
            if row["source"] == source
        ]


def _ours(row: dict[str, int]) -> int:
    return compute_cycles("scale-sim", "os", row["rows"], row["cols"], row["m"], row["n"], row["k"])


def test_llmcompass_tables_are_our_cycles_less_one() -> None:
    """All 1,581 points, from 8 x 8 to 128 x 128."""
    rows = _rows("llmcompass")
    assert len(rows) == 1581
    assert [r for r in rows if _ours(r) != r["cycles"] + LAST_INDEX] == []


def test_stonne_takes_a_constant_more_per_fold() -> None:
    """Exactly, once its five cycles per fold are added."""
    rows = _rows("stonne")
    assert len(rows) == 5
    for row in rows:
        folds = ceil_div(row["m"], row["rows"]) * ceil_div(row["n"], row["cols"])
        assert _ours(row) + PER_FOLD * folds == row["cycles"], row


@pytest.mark.parametrize("size", [16, 64, 128])
def test_a_whole_run_reports_the_same_cycles(size: int, tmp_path: Path) -> None:
    """From a topology file to ``ops.parquet``."""
    layer = tmp_path / "layer.csv"
    layer.write_text(f"Layer,M,N,K\nlayer,{size},{size},{size}\n")
    settings = [
        *("pe_array.rows=16", "pe_array.cols=16", "pe_array.dataflow=os"),
        "pe_array.convention=scale-sim",
    ]
    run = open_run(simulate("edge-sram", str(layer), overrides=settings, out=tmp_path / "run").run_dir)
    (row,) = (r for r in _rows("stonne") if r["m"] == size)
    assert run.table("ops").to_pylist()[0]["compute_cycles"] + PER_FOLD * (size // 16) ** 2 == row["cycles"]
