"""``accelsim reprice``: another machine's energies from a run's counts, as if it had been simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.resolve.tomlkeys import toml_key
from accelsim.run import simulate
from accelsim.run.reprice import reprice
from accelsim.sweep.keys import key_of
from accelsim.trace.runs import open_run

GATED = ("bank.mram.power_gating=idle", "bank.sram.power_gating=empty")
PRICES = (
    "bank.sram.leakage=5mW",
    "bank.mram.leakage=2mW",
    "bank.mram.write_energy=99pJ",
    "dram.read_energy=4pJ/bit",
    "static.power=7mW",
    "pe_array.mac_energy.fp32=3pJ",
    "noc.energy=0.1pJ/bit/mm",
    "pe_array.register_energy=0.01pJ/bit",
    "pe_array.clock_energy=0.02pJ",
)


def test_repricing_is_simulating(tmp_path: Path) -> None:
    """The energy table is, byte for byte, that of the other machine's own run."""
    base = simulate("edge-hybrid", "mlp", batch=4, out=tmp_path / "a").run_dir
    other = simulate("edge-hybrid", "mlp", batch=4, overrides=PRICES, out=tmp_path / "b")
    path, summary = reprice(open_run(base), "edge-hybrid", PRICES, out=tmp_path / "c")
    assert (path / "energy.parquet").read_bytes() == (other.run_dir / "energy.parquet").read_bytes()
    assert open_run(path).summary["assumed"] == other.summary["assumed"]
    assert {k: v for k, v in summary.items() if k != "notes"} == {
        k: v for k, v in other.summary.items() if k != "notes"
    }


def test_what_is_gated_stays_gated(tmp_path: Path) -> None:
    """Shares of leakage are those of the run."""
    base = simulate("edge-hybrid", "mlp", batch=4, overrides=GATED, out=tmp_path / "a").run_dir
    other = simulate("edge-hybrid", "mlp", batch=4, overrides=(*GATED, *PRICES), out=tmp_path / "b")
    _, summary = reprice(open_run(base), "edge-hybrid", (*GATED, *PRICES), out=tmp_path / "c")
    wanted = other.summary["energy_pj"]["by_action"]
    assert summary["energy_pj"]["by_action"] == pytest.approx(wanted, rel=1e-12)


def test_gated_multiplications_stay_gated(tmp_path: Path) -> None:
    """Shares of zeros are those of the run; other ones are refused."""
    zeros = ("pe_array.zero_gating=true", "zero_rate.activation=0.5", "zero_rate.error=0.25")
    base = simulate("edge-hybrid", "mlp", batch=4, overrides=zeros, out=tmp_path / "a").run_dir
    other = simulate("edge-hybrid", "mlp", batch=4, overrides=(*zeros, *PRICES), out=tmp_path / "b")
    _, summary = reprice(open_run(base), "edge-hybrid", (*zeros, *PRICES), out=tmp_path / "c")
    wanted = other.summary["energy_pj"]["by_action"]
    assert summary["energy_pj"]["by_action"] == pytest.approx(wanted, rel=1e-12)
    with pytest.raises(InputError, match="zero_rate decides which multiply-accumulates cost nothing"):
        reprice(open_run(base), "edge-hybrid", (*zeros[:2], "zero_rate.error=0.5"), out=tmp_path / "d")
    with pytest.raises(InputError, match=r": pe_array\.zero_gating, zero_rate decide which multiply") as told:
        reprice(open_run(base), "edge-hybrid", out=tmp_path / "d")
    assert "times" not in str(told.value)


def test_other_timing_is_refused(tmp_path: Path) -> None:
    """The keys that differ are named; nothing is written."""
    base = simulate("edge-hybrid", "mlp", batch=4, out=tmp_path / "a").run_dir
    with pytest.raises(
        InputError,
        match=r"edge-hybrid: bank\.mram\.write_cycle, dram\.latency decide times or places; "
        r"bank\.sram\.power_gating decides what is off, for how long, .*; simulate it instead",
    ):
        reprice(
            open_run(base),
            "edge-hybrid",
            ("bank.mram.write_cycle=9ns", "dram.latency=80ns", "bank.sram.power_gating=empty"),
            out=tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


def test_a_device_at_another_temperature_is_refused(tmp_path: Path) -> None:
    """Its bit errors would not be those of the run."""
    device = ("bank.mram.device=mram-l4",)
    base = simulate("edge-mram", "mlp", batch=4, overrides=device, out=tmp_path / "a").run_dir
    with pytest.raises(InputError, match="edge-mram: temperature decides the run's bit errors"):
        reprice(open_run(base), "edge-mram", (*device, "temperature=330 K"), out=tmp_path / "c")


def test_every_field_has_the_name_of_a_key() -> None:
    """Whatever may differ between two machines, the key that is named may stand in a machine's file."""
    loaded = [
        load_machine("edge-hybrid", ("bank.mram.device=mram-1s", "bank.mram.ecc=secded", *extra))
        for extra in (
            ("bank.mram.write_buffer.entries=8",),
            ("transpose.rate=32B", "scratchpad.layout=modelled"),
            ("format.weight=bf16", 'placement.weight={sign=["sram"],rest=["mram"]}', "zero_rate.weight=0.5"),
        )
    ]
    fields = {f for machine in loaded for f in _leaves(asdict(machine), "")}
    bases = {"bank": ["sram", "mram"]}
    for field in fields - {"name", "sources", "banks.sram.name", "banks.mram.name"}:
        key = toml_key(field)
        if field.startswith("placement.") and " " in field:
            key = key.rpartition(".")[0]  # a bit field's name is free
        try:
            key_of(key, bases)
        except InputError as fault:
            raise AssertionError(f"{field}: {key}: {fault}") from None


def _leaves(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(below, f"{path}.{name}" if path else name)
    else:
        yield path
