"""``accelsim device``: tables, JSON, plot, faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.cli.app import main


def run(*args: str) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as done:
        main(list(args))
    return int(done.value.code or 0)


def test_tables_say_what_the_device_does(capsys: pytest.CaptureFixture[str]) -> None:
    """One column per temperature; retention falls, flips grow."""
    assert run("device", "mram-1s", "--temperature", "300", "--temperature", "77 C") == 0
    told = capsys.readouterr().out
    assert "300 K" in told
    assert "350.15 K" in told
    assert "mean retention" in told
    assert "write error rate 0 -> 1" in told
    assert "100 ns" in told


def test_json_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """At its reference temperature unless another is given."""
    assert run("device", "mram-10ms", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (at,) = told["at"]
    assert told["device"] == "mram-10ms"
    assert at["temperature_k"] == 300
    assert at["retention_s"] == pytest.approx(10e-3, rel=1e-6)
    assert at["write_error_rate"]["0->1"] == pytest.approx(1e-9, rel=0.01)
    flips = {f["time_s"]: f for f in at["flips"]}
    assert flips[1e-6]["nominal"] == pytest.approx(1e-4, rel=0.01)
    assert flips[1e-6]["spread"] > flips[1e-6]["nominal"]
    assert [p["wer"] for p in at["by_pulse"]] == sorted((p["wer"] for p in at["by_pulse"]), reverse=True)


def test_a_plot_is_written(tmp_path: Path) -> None:
    """A picture that is one."""
    path = tmp_path / "d.png"
    assert run("device", "mram-1s", "--plot", str(path)) == 0
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("mram-1sec",), 'unknown device "mram-1sec", did you mean mram-1s'),
        (
            ("mram-1s", "--temperature", "5000"),
            "accelsim: --temperature 5000: device mram-1s: the temperature 5000 K must be 1000 K or less",
        ),
        (("mram-1s", "--temperature", "cold"), "--temperature: expected a temperature"),
        (("mram-1s", "--temperature", "0"), "above absolute zero"),
        (("mram-1s", "--plot", "d.bmp"), "expected a name that ends in .png"),
        (("mram-1s", "--plot", "nowhere/d.png"), "there is no folder"),
        (("nowhere.toml",), "no such file"),
    ],
)
def test_bad_input_is_one_message(
    args: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to do."""
    assert run("device", *args) == 2
    assert told in capsys.readouterr().err
