"""Tolerated error rates: the search, what decides, what may have errors, and real trainings."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError, RunError
from accelsim.train.prepare import setup_of
from accelsim.train.sensitivity.decision import Verdict, decide
from accelsim.train.sensitivity.experiment import Wish, sensitivity
from accelsim.train.sensitivity.search import FINEST, Range, search
from accelsim.train.sensitivity.targets import targets_of
from accelsim.train.sensitivity.tolerances import tolerances_toml
from accelsim.train.sensitivity.trainings import Observer, Trainings
from accelsim.train.table import TableProfile
from accelsim.train.trainer import Case, Setup, Trainer
from tests.train_models import write_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

T_2 = 6.205347  # Student's t of two degrees of freedom at 98.75 %


def _setup(folder: Path, optimizer: str = "momentum", **options: Any) -> Setup:
    return setup_of(
        str(write_tiny(folder, optimizer=optimizer)),
        None,
        epochs=1,
        batch=None,
        options=options,
        checkpoint_steps=200,
    )


@given(
    low=st.floats(-12, -6), span=st.floats(0.1, 6), resolution=st.floats(FINEST, 1e3), at=st.floats(-14, 1)
)
def test_the_threshold_is_found_to_the_resolution(
    low: float, span: float, resolution: float, at: float
) -> None:
    """Whatever turns once lies in the bracket, after no more trials than promised, none of them twice."""
    rates = Range(10**low, min(0.5, 10 ** (low + span)), resolution)
    asked: list[float] = []

    def within(rate: float) -> bool:
        asked.append(rate)
        return rate <= 10**at

    found = search(within, rates)

    assert len(asked) <= rates.most_trials
    assert len(set(asked)) == len(asked)
    assert found.tolerated <= 10**at or found.tolerated == 0
    assert found.refused is None or found.refused > 10**at
    assert all(rates.low <= rate <= rates.high for rate in asked)
    if 10**at >= rates.high:
        assert (found.tolerated, found.refused) == (rates.high, None)
    elif 10**at < rates.low:
        assert (found.tolerated, found.refused) == (0.0, rates.low)
    else:
        assert found.tolerated in asked
        assert found.refused in asked
        assert 1 < found.refused / found.tolerated <= resolution


def test_trials_grow_with_the_logarithm() -> None:
    """Seven decades to a factor of two: 23.3 octaves, five halvings, and the ends."""
    assert Range(1e-9, 1e-2, 2).most_trials == 2 + math.ceil(math.log2(7 * math.log2(10)))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([0.0], Verdict(False, "certain", -0.9, None)),  # a divergence
        ([0.9], None),
        ([0.85, 0.85], Verdict(False, "interval", -0.05, 0.0)),
        ([0.8801, 0.9], None),
        (
            [0.9, 0.9, 0.84],
            Verdict(True, "mean", -0.02, T_2 * 0.06 / 3),
        ),  # exactly the tolerance, by rounding
        ([0.9, 0.9, 0.839], Verdict(False, "mean", -0.061 / 3, T_2 * 0.061 / 3)),
    ],
)
def test_decisions(found: Sequence[float], verdict: Verdict | None) -> None:
    """Three seeds, each 90 % without errors, of which 2 % may be lost; the two looks at 97.5 % each."""
    got = decide([0.9] * 3, found, 0.02)

    if verdict is None or got is None:
        assert got is verdict
        return
    assert (got.within, got.by) == (verdict.within, verdict.by)
    assert got.difference == pytest.approx(verdict.difference)
    assert got.half_width == pytest.approx(verdict.half_width, abs=1e-6)


accuracies = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=7)


@given(accuracies, st.floats(0, 0.5))
def test_stopping_early_changes_no_decision_that_is_certain(
    pairs: list[tuple[float, float]], tolerance: float
) -> None:
    """``certain`` and ``mean`` say what the mean of all seeds says, and the last seed always decides."""
    clean, found = zip(*pairs, strict=True)
    mean = float(np.mean(np.subtract(found, clean)))
    assume(abs(mean + tolerance) > 1e-9)
    looks = [decide(clean, found[: n + 1], tolerance) for n in range(len(found))]

    first = next(look for look in looks if look is not None)
    assert first.by == "interval" or first.within == (mean >= -tolerance)


def test_the_interval_is_wrong_in_no_more_than_one_case_in_twenty() -> None:
    """At a loss of exactly the tolerance every decision by the interval is one by chance, over all looks."""
    generator = np.random.default_rng(0)
    clean = [0.5] * 6
    trials, by_chance = 3000, 0
    for _ in range(trials):
        found = list(generator.normal(0.5 - 0.02, 0.03, 6))
        looks = (decide(clean, found[: n + 1], 0.02) for n in range(6))
        by_chance += next(look for look in looks if look is not None).by == "interval"

    assert 0.02 < by_chance / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_targets_are_what_the_training_reads(tmp_path: Path) -> None:
    """State only where the optimizer has some; a master copy only on demand; no layer without such a read."""
    setup = _setup(tmp_path)
    assert [str(t) for t in targets_of(setup)] == [
        *("input", "weight", "activation", "error", "weight_gradient", "optimizer_state")
    ]
    assert "optimizer_state" not in {t.role for t in targets_of(_setup(tmp_path, "sgd"))}
    assert [str(t) for t in targets_of(setup, ["master_weight"])] == ["master_weight"]

    by_layer = targets_of(setup, ["activation", "weight", "input"], by_layer=True)
    assert [(str(t), t.roles) for t in by_layer] == [
        ("activation[1]", "input"),
        ("activation[2]", "activation"),
        ("activation[3]", "activation"),
        ("activation[loss]", "activation"),
        ("weight[1]", "weight"),
        ("weight[3]", "weight"),
        ("input[1]", "input"),
    ]
    (some,) = targets_of(setup, ["activation"], ["[12]"])
    assert some.roles == "activation+input"
    assert some.profile(1e-4).description == "activation[[12]]=0.0001 input[[12]]=0.0001"


@pytest.mark.parametrize(
    ("roles", "layers", "by_layer", "message"),
    [
        (["wieght"], [], False, '--roles: unknown role "wieght", did you mean weight?'),
        (["optimizer_state"], [], False, "--roles optimizer_state: this workload's training reads no such"),
        ([], ["7"], False, '--layers: no layer fits "7"; there are 0, 1, 2, 3, loss'),
        (["weight"], ["2"], False, '--roles weight: no such tensors are read by "2"'),
        ([], ["1"], True, "--layers and --by-layer: give one of them"),
    ],
)
def test_targets_that_there_are_not(
    roles: list[str], layers: list[str], by_layer: bool, message: str, tmp_path: Path
) -> None:
    """The message names the option and what there is."""
    with pytest.raises(InputError) as caught:
        targets_of(_setup(tmp_path, "sgd"), roles, layers, by_layer=by_layer)
    assert message in str(caught.value)


def _wish(folder: Path, **keys: Any) -> Wish:
    defaults = {"roles": ("activation",), "tolerance": 0.05, "seeds": 2, "epochs": 3}
    return Wish(**{"workload": str(write_tiny(folder)), "rates": Range(1e-7, 1e-2, 30), **defaults, **keys})


def test_without_the_exponent_training_tolerates_more(tmp_path: Path) -> None:
    """Real digits: bare fp32 diverges by single bits at rates that mantissas alone do not mind."""
    found = {}
    for name, protect in (("bare", ()), ("safe", ("sign", "exponent"))):
        folder = sensitivity(_wish(tmp_path, options={"protect": protect}), tmp_path / name)
        found[name] = tomllib.loads((folder / "sensitivity.toml").read_text())
    bare, safe = found["bare"]["tolerated"][0], found["safe"]["tolerated"][0]

    assert 0 < bare["rate"] < safe["rate"]
    assert bare["rate"] < bare["refused"] <= 30 * bare["rate"]
    assert (safe["rate"], "refused" in safe) == (1e-2, False)
    assert found["bare"]["clean_accuracy"] > 0.85
    assert (found["safe"]["protect"], found["safe"]["storage_format"]) == (["sign", "exponent"], "fp32")


def test_each_training_is_that_of_the_trainer_and_is_done_once(tmp_path: Path) -> None:
    """A search's row is what a plain training with that rate gives; targets of equal reads share it."""
    setup = _setup(tmp_path, storage_format="int8")
    (tmp_path / "checkpoints").mkdir()
    told: list[tuple[str, bool]] = []
    trainings = Trainings(
        setup, tmp_path, Observer(trained=lambda name, _, known: told.append((name, known)))
    )
    layer, step = targets_of(setup, ["activation", "input"], ["1"])

    row = trainings.of(layer, 1e-2, 4)
    plain = Trainer(setup, Case("x", TableProfile({"input": {"1": 1e-2}})), 4).run()[-1]
    flips = sum(plain["flips"]["input"].values())
    assert (row["accuracy"], row["flips"]) == (plain["accuracy"], flips)
    assert trainings.of(step, 1e-2, 4) == row
    assert told == [("activation[1] at 0.01, seed 4", False), ("input[1] at 0.01, seed 4", True)]

    # what the format alone costs is no loss by errors
    stored = Trainer(setup, Case("x", TableProfile({})), 4).run()[-1]
    computed = Trainer(setup, Case("x", None), 4).run()[-1]
    assert trainings.clean(4)["accuracy"] == stored["accuracy"]
    assert stored["loss"] != computed["loss"]
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_no_search_where_nothing_is_learnt(tmp_path: Path) -> None:
    """If guessing is within tolerance, every rate is: refused, and the clean trainings are kept."""
    with pytest.raises(RunError, match=r"no more than guessing among 10 classes"):
        sensitivity(_wish(tmp_path, epochs=1, seeds=1, tolerance=0.95), tmp_path / "out")
    assert (tmp_path / "out" / "log.jsonl").read_text().count("\n") == 1
    assert not (tmp_path / "out" / "sensitivity.toml").exists()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=50)
@given(text, st.floats(1e-12, 0.5), st.none() | st.floats(1e-12, 0.5), st.lists(text, max_size=2))
def test_the_file_says_what_was_found(
    name: str, rate: float, refused: float | None, protect: list[str]
) -> None:
    """Any names and rates come back from the TOML as they were."""
    row = {"role": "weight", "layer": name, "rate": rate, "refused": refused, "tried": 3, "trials": []}
    head = {"data": name, "epochs": 3, "seeds": 2, "tolerance": 0.02, "nonfinite": "raw", "protect": protect}
    head |= {"storage_format": "fp32", "clean_accuracy": 0.9, "model_version": "2"}
    summary = {"workload_name": name, "workload": {"batch": 16}, **head, "tolerated": [row]}

    read = tomllib.loads(tolerances_toml(summary))

    kept = {k: v for k, v in row.items() if k != "trials" and v is not None}
    assert read == {"workload": name, "batch": 16, **head, "tolerated": [kept]}
