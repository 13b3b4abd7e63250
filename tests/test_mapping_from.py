"""``--mapping-from``: technologies compared under one mapping."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from accelsim.errors import InputError
from accelsim.run import simulate

SLOW = ("bank.mram.device=mram-10y", "bank.mram.leakage=9mW")


def _counts(run: Path) -> list[tuple[object, ...]]:
    rows = pq.read_table(run / "energy.parquet").to_pylist()
    keys = ("component", "action", "op", "role", "count")
    clocked = ("clock.",)  # a matter of time
    rows = [r for r in rows if r["count"] and not r["action"].startswith(clocked)]
    return sorted(tuple(r[k] for k in keys) for r in rows)


def test_the_same_work_on_another_technology(tmp_path: Path) -> None:
    """Every count is the other run's; only times and prices are this machine's."""
    base = simulate("edge-hybrid", "lenet5", batch=8, out=tmp_path / "a")
    frozen = simulate(
        "edge-hybrid", "lenet5", batch=8, overrides=SLOW, mapping_from=base.run_dir, out=tmp_path / "b"
    )
    assert _counts(frozen.run_dir) == _counts(base.run_dir)
    assert frozen.summary["dram_bytes"] == base.summary["dram_bytes"]
    assert frozen.summary["time_ps"] > base.summary["time_ps"]
    assert any("those of run" in note for note in frozen.summary["notes"])


def test_on_the_same_machine_nothing_changes(tmp_path: Path) -> None:
    """The mapping of a run, on its own machine, is that run."""
    base = simulate("edge-sram", "mlp", batch=4, out=tmp_path / "a")
    again = simulate("edge-sram", "mlp", batch=4, mapping_from=base.run_dir, out=tmp_path / "b")
    for table in ("ops", "spans", "energy", "residencies"):
        assert (again.run_dir / f"{table}.parquet").read_bytes() == (
            base.run_dir / f"{table}.parquet"
        ).read_bytes()


@pytest.mark.parametrize(
    ("arch", "workload", "batch", "overrides", "told"),
    [
        ("edge-hybrid", "mlp", 8, (), "is a run of mlp, batch 4"),
        ("edge-sram", "mlp", 4, (), "names of the bank groups differ"),
        ("edge-hybrid", "mlp", 4, ("pe_array.rows=16",), r"\[pe_array\] rows"),
        ("edge-hybrid", "mlp", 4, ("format.weight=int8",), r"\[format\] of the roles differ"),
    ],
)
def test_what_does_not_fit_is_refused(
    arch: str, workload: str, batch: int, overrides: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    """By name, with nothing written."""
    base = simulate("edge-hybrid", "mlp", batch=4, out=tmp_path / "a")
    with pytest.raises(InputError, match=told):
        simulate(
            arch, workload, batch=batch, overrides=overrides, mapping_from=base.run_dir, out=tmp_path / "b"
        )
    assert not (tmp_path / "b").exists()


def test_a_group_that_is_too_small_is_refused(tmp_path: Path) -> None:
    """With the bytes that it has and that it would need."""
    base = simulate("edge-hybrid", "lenet5", batch=8, out=tmp_path / "a").run_dir
    smaller = ("bank.sram.capacity=64KiB",)
    with pytest.raises(InputError, match=r"bank\.sram holds 65536 bytes where \d+ are used"):
        simulate("edge-hybrid", "lenet5", batch=8, overrides=smaller, mapping_from=base, out=tmp_path / "b")
