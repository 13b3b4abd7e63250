"""``accelsim train --bit-true``: a folder like any training's, the same after a stop, or a refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from accelsim.cli.app import main
from accelsim.train import experiment
from accelsim.train.experiment import Watcher, Wish
from tests.train_models import write_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

# at 350 K weights lose a bit in ten thousand from step to step
FRAIL = ("bank.mram.device=mram-1s", "host.gap=1 ms")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small workload in it."""
    write_tiny(tmp_path, batch=64, lr=0.05)
    return tmp_path


def _wish(folder: Path, **more: Any) -> Wish:
    options = {"protect": ("sign", "exponent"), "nonfinite": "zero"}
    common: dict[str, Any] = {
        "arch": "edge-mram",
        "workload": str(folder / "tiny.toml"),
        "epochs": 2,
        "seeds": 1,
        "overrides": FRAIL,
        "bit_true": True,
        "options": options,
    }
    return Wish(**{**common, **more})


class _Stopped(BaseException):
    pass


def test_a_stopped_training_goes_on_to_the_same_bytes(folder: Path) -> None:
    """Stopped in the bit-true case between checkpoints: log and outcome are the uninterrupted one's."""
    wish = _wish(folder, epochs=1, checkpoint_steps=4)
    experiment.train(wish, folder / "whole")

    def stop(what: str, _total: int, done: int, _loss: float) -> None:
        if what.startswith("errors bit-true") and done == 15:
            raise _Stopped

    with pytest.raises(_Stopped):
        experiment.train(wish, folder / "cut", watcher=Watcher(step=stop))
    experiment.train(wish, folder / "cut", resume=True)
    for name in ("log.jsonl", "training.json"):
        assert (folder / "cut" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_rows_are_those_of_any_training_and_tell_the_bits(folder: Path) -> None:
    """Beside the statistical profile: cases, costs, flips by role and cause, and what was read wrong."""
    notes: list[str] = []
    wish = _wish(folder, errors="profile", epochs=1)
    experiment.train(wish, folder / "out", watcher=Watcher(note=notes.append))
    summary = json.loads((folder / "out" / "training.json").read_text())
    assert summary["order"] == ["none", "bit-true", "profile"]
    assert [n.split(":")[0] for n in notes] == ["bit-true"]
    rows = {r["case"]: r for r in map(json.loads, (folder / "out" / "log.jsonl").read_text().splitlines())}
    assert rows["none"].keys() - {"bits"} == rows["bit-true"].keys() - {"bits"} == rows["profile"].keys()
    assert rows["none"]["flips"] == {}
    assert rows["none"]["bits"]["wrong"] == {}
    assert rows["none"]["time_ps"] == rows["bit-true"]["time_ps"] == rows["profile"]["time_ps"] > 0
    bits = rows["bit-true"]["bits"]
    assert bits["wrong"]["weight"]["retention"] >= rows["bit-true"]["flips"]["weight"]["retention"] > 0
    assert all(bits["changed"][role] <= bits["written"][role] for role in bits["written"])
    assert rows["none"]["accuracy"] > 0.3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rates", "1e-5"), "--bit-true: errors are those of the machine's cells"),
        (("--ecc", "secded"), "--ecc: not with --bit-true; the machine's bank groups say what they correct"),
        (("--measure", "5"), "--measure: not with --bit-true"),
        (("--nonfinite", "clamp"), "--nonfinite clamp: not with --bit-true, which knows raw and zero"),
        (("--set", "bank.mram.refresh_interval=1 ms"), "bank.mram: --bit-true does not model refresh"),
    ],
)
def test_what_has_no_meaning_is_refused(
    folder: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one message; nothing is left behind."""
    before = Path.cwd()
    os.chdir(folder)
    sets = [word for pair in FRAIL for word in ("--set", pair)]
    try:
        with pytest.raises(SystemExit) as ended:
            main(["train", "edge-hybrid", "tiny.toml", "--bit-true", *sets, *words, "--out", "none"])
    finally:
        os.chdir(before)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
    assert not (folder / "none").exists()
