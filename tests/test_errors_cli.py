"""``accelsim errors``: tables, JSON, other devices, plots, faults; and what a run with a device writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim import simulate
from accelsim.cli.app import main
from accelsim.errors import InputError
from accelsim.reliability import error_columns
from accelsim.report.errors import banks_of
from accelsim.resolve.stored import stored_banks
from accelsim.sweep.figures import figure, of_summary
from accelsim.trace.runs import open_run
from accelsim.trace.schema import ERRORS
from accelsim.trace.tables import table

CAUSES = {"write", "retention", "read_disturb", "sense", "inherited", "total", "expected_flips"}


def run(*args: str) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as done:
        main(list(args))
    return int(done.value.code or 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two steps of mlp on edge-mram: with a device, and as shipped."""
    folder = tmp_path_factory.mktemp("runs")
    overrides = ["bank.mram.device=mram-10ms", "temperature=300 K"]
    simulate("edge-mram", "mlp", batch=4, overrides=overrides, out=folder / "device")
    simulate("edge-mram", "mlp", batch=4, out=folder / "plain")
    return str(folder / "device"), str(folder / "plain")


def told(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """Return what ``accelsim errors --json`` prints."""
    assert run("errors", *args, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_run_with_a_device_writes_its_errors(runs: tuple[str, str]) -> None:
    """errors.parquet is what its residencies give; the summary and the report tell of it."""
    device, plain = open_run(runs[0]), open_run(runs[1])
    again = error_columns(banks_of(device), {}, device.table("residencies"))
    assert device.table("errors").equals(table(ERRORS, again))
    assert device.summary["errors"]["all"]["total"] > 1e-4
    assert device.summary["errors"]["devices"]["mram"]["name"] == "mram-10ms"
    assert "errors" not in plain.summary
    with pytest.raises(InputError, match=r"no table .errors.; there are ops, spans, energy, residencies$"):
        plain.table("errors")


def test_every_tile_simulated_gives_the_same_bytes(tmp_path: Path) -> None:
    """Skipped periods and --exact, with scrub, correction and retries: every result but how spans repeat."""
    overrides = [
        f"bank.mram.{setting}"
        for setting in ("device=mram-10ms", "ecc=secded", "scrub_interval=900 us", "write_retries=1")
    ]
    files = []
    for exact in (False, True):
        out = tmp_path / str(exact)
        simulate("edge-mram", "mlp", batch=4, overrides=overrides, exact=exact, out=out)
        files.append(
            {
                f.name: f.read_bytes()
                for f in out.iterdir()
                if f.name not in ("manifest.json", "spans.parquet")
            }
        )
    assert "errors.parquet" in files[0]
    assert files[0] == files[1]


def test_the_report_has_a_table_of_errors(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Only where something errs."""
    for folder, there in zip(runs, (True, False), strict=True):
        assert run("report", folder) == 0
        assert ("Errors per bit read (mram: mram-10ms at 300 K)" in capsys.readouterr().out) == there


def test_json_has_sums_and_distances(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """By role, phase and layer, each with every cause; bytes by write-to-read distance."""
    found = told(capsys, runs[0])
    for name in ("by_role", "by_phase", "by_layer"):
        assert found[name]
        for values in found[name].values():
            assert set(values) == CAUSES
    summary = open_run(runs[0]).summary["errors"]
    assert found["by_role"] == summary["by_role"]
    rows = open_run(runs[0]).table("errors").select(["role", "p_total"]).to_pylist()
    worst = {role: max(r["p_total"] for r in rows if r["role"] == role) for role in {r["role"] for r in rows}}
    assert summary["worst"] == worst
    assert any(worst[role] > 1.01 * mean["total"] for role, mean in summary["by_role"].items())
    figures = of_summary(open_run(runs[0]).summary)
    assert figure(figures, "worst_ber") == max(worst.values())
    assert figure(figures, "worst_ber.weight") == worst["weight"]
    assert found["devices"]["mram"] == {"name": "mram-10ms", "simulated": True, "temperature_k": 300.0}
    histogram = found["distance_histogram"]
    assert {"edges_ps", "forward", "backward", "update"} == set(histogram)
    nbytes = sum(sum(h["bytes"]) for name, h in histogram.items() if name != "edges_ps")
    assert nbytes == sum(open_run(runs[0]).table("residencies")["bytes"].to_pylist())
    assert found["wear"]["mram"]["lifetime_s"] > 0


def test_units_and_temperatures(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line errs more often than a word, a word than a bit; a hot machine more often than a cold one."""
    bit, word, line = (told(capsys, runs[0], "--per", p) for p in ("bit", "word:64b", "line:64B"))
    assert bit["all"]["total"] < word["all"]["total"] < line["all"]["total"]
    assert bit["all"]["expected_flips"] == line["all"]["expected_flips"]
    hot = told(capsys, runs[0], "--temperature", "77 C")
    assert hot["all"]["retention"] > 3 * bit["all"]["retention"]
    assert hot["devices"]["mram"]["temperature_k"] == 350.15
    assert not hot["devices"]["mram"]["simulated"]


def test_tables_fit_80_columns_and_say_what_is_counted(
    runs: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns without errors are left out first, and told; flips are of bits in any unit."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run("errors", runs[0], "--per", "line:64B") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "A wider screen has more columns: sense, read disturb" in lines or (
        "A wider screen has more columns: sense, inherited" in lines
    )
    assert any(line.endswith("bit flips ") for line in lines)


def test_other_devices_judge_the_same_run(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that was simulated without; the text says whose timing it is."""
    none = told(capsys, runs[1])
    assert none["all"]["total"] == none["all"]["expected_flips"] == 0
    assert none["devices"] == none["wear"] == {}
    one, ten = (told(capsys, runs[1], "--device", f"mram=mram-{n}")["all"] for n in ("1s", "10ms"))
    assert 0 < one["retention"] < ten["retention"]
    assert run("errors", runs[1], "--device", "mram=mram-1s", "--temperature", "300") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "judged as it; the timing is the run's" in out
    assert "mram was simulated with no device and is judged as mram-1s at 300 K" in out
    assert "Time from write to read, backward" in out


def test_a_plot_is_drawn(runs: tuple[str, str], tmp_path: Path) -> None:
    """With errors and without any."""
    for folder in runs:
        assert run("errors", folder, "--plot", str(tmp_path / "e.png")) == 0
        assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--device", "mrma=mram-1s"], "the run has no bank group mrma, did you mean mram?"),
        (["--device", "mram"], "--device mram: expected GROUP=NAME, such as mram=mram-1s"),
        (["--device", "mram=mram-1y"], "mram-1y"),
        (["--device", "mram=mram-1s", "--device", "mram=mram-10y"], "mram has a device already"),
        (["--temperature", "warm"], "--temperature: expected a temperature"),
        (["--temperature", "3000"], "do not reach there: 3000 K must be 1000 K or less"),
        (["--temperature", "0"], "--temperature: expected a temperature above absolute zero"),
        (
            ["--per", "byte"],
            'expected bit, or a unit such as word:64b or line:64B (b: bits, B: bytes), got "byte"',
        ),
        (["--plot", "e.txt"], "--plot e.txt: expected a name that ends in"),
    ],
)
def test_faults_are_exit_2(
    runs: tuple[str, str], args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that names what is near, nothing on stdout."""
    assert run("errors", runs[0], *args) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_bank_groups_come_back_from_a_manifest(runs: tuple[str, str]) -> None:
    """Keys that a run did not know yet have their defaults; unknown and missing ones are refused."""
    stored = open_run(runs[0]).manifest["machine"]
    old = {
        "banks": {"mram": {k: v for k, v in stored["banks"]["mram"].items() if k not in ("device", "ecc")}}
    }
    assert stored_banks(old, "x")["mram"].device is None
    bad = {"banks": {"mram": {**old["banks"]["mram"], "wings": 2}}}
    del bad["banks"]["mram"]["word_bytes"]
    with pytest.raises(
        InputError, match="x: bank mram lacks word_bytes and has unknown wings: another version"
    ):
        stored_banks(bad, "x")
    with pytest.raises(InputError, match="x: its manifest has no bank groups; run it again"):
        stored_banks({}, "x")
