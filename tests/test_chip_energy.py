"""Energy of the PE array by its parts, and what measured data do to it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from accelsim.device.compute import mac_pj, register_pj_per_bit
from accelsim.errors import InputError
from accelsim.report.actions import write_actions
from accelsim.resolve import load_machine
from accelsim.resolve.activity import load_activity, with_activity
from accelsim.resolve.prices import price_pj
from accelsim.run import simulate
from accelsim.trace.runs import open_run
from accelsim.trace.schema import ACTIVITY
from accelsim.trace.tables import read_table, write_table

ROWS, COLS = 32, 32
M, N, K = 70, 50, 90


@pytest.fixture
def gemm(tmp_path: Path) -> Path:
    """One GEMM that no array of 32 x 32 holds at once, with ragged edges."""
    path = tmp_path / "gemm.csv"
    path.write_text(f"Layer, M, N, K,\ng, {M}, {N}, {K},\n")
    return path


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_registers_and_clock_by_closed_form(gemm: Path, tmp_path: Path, dataflow: str) -> None:
    """A register per operand that streams and per sum, half the rows per shifted value, and all clocks."""
    settings = (f"pe_array.dataflow={dataflow}", "pe_array.register_energy=1pJ/bit")
    done = simulate("edge-sram", str(gemm), overrides=settings, out=tmp_path / "run")
    run = open_run(done.run_dir)
    counts = {
        r["action"]: r["count"] for r in run.table("energy").to_pylist() if r["component"] == "pe_array"
    }
    fmt = next(a for a in counts if a.startswith("mac.")).removeprefix("mac.")
    op = run.table("ops").to_pylist()[0]
    macs = M * N * K
    held = {"ws": (K, N), "is": (K, M), "os": (M, N)}[dataflow]
    window = op["end_ps"] - op["start_ps"] - op["idle_ps"]
    machine = load_machine("edge-sram", settings)

    assert counts[f"mac.{fmt}"] == macs
    assert counts[f"psum_register.{fmt}"] == macs
    assert counts[f"operand_register.{fmt}"] == macs * (2 if dataflow == "os" else 1)
    assert counts[f"clock.{fmt}"] == ROWS * COLS * (window * machine.clock_hz // 10**12)
    passes = counts[f"shift.{fmt}"] / (math.prod(held) * (ROWS + 1) / 2)
    assert passes == pytest.approx(1, rel=1e-3)  # each fold rounds down
    assert price_pj(machine, "pe_array", f"psum_register.{fmt}") == 32


def test_defaults_follow_the_compute_table() -> None:
    """A register's bit costs a bit of an adder; the clock half of all register bits of a PE."""
    machine = load_machine("edge-sram")
    register = register_pj_per_bit(machine.node_nm)
    assert machine.pe_array.register_pj_per_bit == register
    assert machine.pe_array.clock_pj["bf16"] == pytest.approx(0.5 * register * (16 + 16 + 32))
    keys = {s.key for s in machine.sources if s.source == "assumed"}
    assert {"pe_array.register_energy", "pe_array.clock_energy"} <= keys


def test_what_products_are_added_in_has_its_price() -> None:
    """A narrower sum costs less to add and to hold."""
    wide, narrow = load_machine("edge-sram"), load_machine("edge-sram", ("pe_array.accumulate=bf16",))
    saved = wide.pe_array.mac_pj["bf16"] - narrow.pe_array.mac_pj["bf16"]
    assert saved == pytest.approx(mac_pj("bf16", 22) - mac_pj("bf16", 22, "bf16"))
    assert saved > 0
    assert (wide.pe_array.accumulate_bits["bf16"], narrow.pe_array.accumulate_bits["bf16"]) == (32, 16)
    assert narrow.pe_array.clock_pj["bf16"] < wide.pe_array.clock_pj["bf16"]


def test_zero_gating_saves_products_and_no_clock(tmp_path: Path) -> None:
    """A product is spared unless both operands are something; all else stays."""
    zeros = ("zero_rate.activation=0.5", "zero_rate.error=0.2", "zero_rate.weight=0.1")
    plain = open_run(simulate("edge-hybrid", "mlp", batch=4, out=tmp_path / "a").run_dir)
    gated = open_run(
        simulate(
            "edge-hybrid",
            "mlp",
            batch=4,
            overrides=(*zeros, "pe_array.zero_gating=true"),
            out=tmp_path / "b",
        ).run_dir
    )
    zero = {"dgrad": (0.2, 0.1), "wgrad": (0.5, 0.2), "forward": (0.5, 0.1)}
    zero_first = {"wgrad": (0.0, 0.2), "forward": (0.0, 0.1)}  # of the step's input nothing is said
    pairs = zip(plain.table("energy").to_pylist(), gated.table("energy").to_pylist(), strict=True)
    seen = set()
    for before, after in pairs:
        assert before["count"] == after["count"]
        if not before["action"].startswith("mac."):
            assert before["energy_pj"] == after["energy_pj"]
            continue
        last = before["op"].rpartition(".")[2]
        kind = last if last in zero else "forward"
        a, b = (zero_first if before["layer"] == "fc.0" else zero)[kind]
        assert after["price_pj"] == pytest.approx(before["price_pj"] * (1 - a) * (1 - b))
        seen.add(kind)
    assert seen == set(zero)


def _activity(path: Path, **shares: float) -> Path:
    rows = [("activation", "fc1", 0.5, 0.1), ("weight", "fc1", 0.0, 0.02), ("activation", "fc2", 0.7, 0.3)]
    columns: dict[str, list[object]] = {
        "role": [r[0] for r in rows],
        "layer": [r[1] for r in rows],
        "tensor": ["", "fc1.weight", ""],
        "format": ["fp32"] * 3,
        "reads": [1] * 3,
        "elements": [100, 50, 300],
        "zeros": [r[2] for r in rows],
        "ones": [0.5] * 3,
        "toggles": [r[3] for r in rows],
        "rises": [0.25, 0.5, 0.75],
        "low": [0.0] * 3,
        "high": [1.0] * 3,
    }
    columns |= {name: [value] * 3 for name, value in shares.items()}
    write_table(path, ACTIVITY, columns)
    return path


def test_measured_data_are_taken_by_layer_and_else_by_role(tmp_path: Path) -> None:
    """The mean of a role weighs its elements; a layer that was not measured has it."""
    machine = load_machine("edge-hybrid", ("toggle_rate.error=0.4",))
    told = with_activity(machine, load_activity(_activity(tmp_path / "activity.parquet")))
    assert told.content_of("activation", "fc1").zeros == 0.5
    assert told.content_of("activation", "fc9").zeros == pytest.approx((0.5 * 100 + 0.7 * 300) / 400)
    mean = (0.1 * 100 + 0.3 * 300) / 400
    assert told.toggle["activation"] == told.content_of("activation").toggles == pytest.approx(mean)
    assert told.content_of("activation").rises == pytest.approx((0.25 * 10 + 0.75 * 90) / 100)
    assert (told.toggle["error"], told.content_of("error").toggles) == (0.4, 0.4)
    falls, rises = told.changes["activation"]
    assert (falls + rises, rises / (falls + rises)) == pytest.approx(
        (mean, told.content_of("activation").rises)
    )


def test_directions_decide_what_early_termination_saves(tmp_path: Path) -> None:
    """A fall switches sooner than a rise; a bit that stays is stopped at once."""
    settings = ("bank.mram.device=mram-26us", "bank.mram.early_termination=true")
    machine = load_machine("edge-hybrid", settings)
    bank = machine.banks["mram"]
    assert bank.unchanged_cost < bank.falling_cost <= bank.changed_cost < 1
    up, down = (
        with_activity(machine, load_activity(_activity(tmp_path / f"{rises}.parquet", rises=rises)))
        for rises in (1.0, 0.0)
    )
    cost = {
        name: price_pj(m, "spad.mram", "write", "activation", "fc2")
        for name, m in (("up", up), ("down", down))
    }
    driven = {"up": bank.changed_cost, "down": bank.falling_cost}
    for name, price in cost.items():
        share = 0.3 * driven[name] + 0.7 * bank.unchanged_cost
        assert price == pytest.approx(bank.write_pj - bank.write_cell_pj * (1 - share))


@pytest.mark.parametrize(
    ("shares", "message"),
    [({"zeros": 1.5}, r"row 1: zeros: expected a share"), ({"toggles": math.nan}, r"toggles: expected")],
)
def test_shares_beyond_one_are_refused(tmp_path: Path, shares: dict[str, float], message: str) -> None:
    """The row and the column are named."""
    with pytest.raises(InputError, match=message):
        load_activity(_activity(tmp_path / "activity.parquet", **shares))


def test_data_of_another_model_are_refused(tmp_path: Path) -> None:
    """What differs is named; nothing is written."""
    path = _activity(tmp_path / "activity.parquet")
    with pytest.raises(InputError, match=r"layers fc1, fc2, which this one has not"):
        simulate("edge-hybrid", "mlp", batch=4, activity=path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_counts_are_written_without_prices(gemm: Path, tmp_path: Path, suffix: str) -> None:
    """Times their prices they are the run's energy; what is no table of such a kind is refused."""
    run = open_run(simulate("edge-sram", str(gemm), out=tmp_path / "run").run_dir)
    path = tmp_path / f"actions.{suffix}"
    number = write_actions(run, path)
    if suffix == "csv":
        with path.open() as file:
            rows = [
                {**r, "count": int(r["count"]), "powered_ps": int(r["powered_ps"])}
                for r in csv.DictReader(file)
            ]
    else:
        rows = read_table(path).to_pylist()
    assert len(rows) == number
    energy = run.table("energy").to_pylist()
    priced = math.fsum(
        r["count"] * e["price_pj"] + r["powered_ps"] * e["price_w"] for r, e in zip(rows, energy, strict=True)
    )
    assert priced == pytest.approx(run.summary["energy_pj"]["total"], rel=1e-12)
    assert "price_pj" not in rows[0]
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        write_actions(run, tmp_path / "actions.txt")
