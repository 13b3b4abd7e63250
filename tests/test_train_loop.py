"""The training loop: exact resume, a log that loses nothing, statistics, and what errors do to LeNet."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from accelsim.errors import InputError
from accelsim.frontend.spec import Workload
from accelsim.train.cases import cases_of, rates_of, table_of
from accelsim.train.data.digits import digits
from accelsim.train.data.sets import Split
from accelsim.train.data.teacher import teacher
from accelsim.train.files import Log, training_folder
from accelsim.train.statistics import clopper_pearson, paired, weight_of
from accelsim.train.summary import summarize
from accelsim.train.table import TableProfile
from accelsim.train.task import task_of
from accelsim.train.trainer import Case, Setup, Trainer, silent
from tests.train_models import small

pytestmark = pytest.mark.usefixtures("one_thread")


class _Killed(BaseException):
    pass


def _setup(workload: Workload, epochs: int, **more: Any) -> Setup:
    task = task_of(workload)
    data = teacher(task.shape, task.classes, train=160, below=task.below, places=task.places)
    data = replace(data, test=Split(data.test.x[:50], data.test.y[:50]))
    return Setup(workload, task, data, epochs, step_ps=1000, step_pj=2.0, **more)


def _weights(trainer: Trainer) -> list[bytes]:
    return [value.numpy().tobytes() for value in trainer.model.state_dict().values()]


@pytest.mark.parametrize("name", ["lenet5", "bert-base"])
@pytest.mark.parametrize("rate", [None, 1e-5])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(name: str, rate: Any, tmp_path: Path) -> None:
    """Stopped twice, anywhere: weights and rows are the same, with momentum or Adam, dropout and errors."""
    tiny = {"width": 16, "layers": 1, "heads": 2, "vocabulary": 40, "context": 8, "shapes": {"tokens": (6,)}}
    workload = small(name, batch=16, **(tiny if name == "bert-base" else {}))
    workload.spec.inputs.update(
        {k: v.model_copy(update={"below": 40}) for k, v in workload.spec.inputs.items()}
    )
    setup = _setup(workload, 2, checkpoint_steps=3, options={"protect": "msb:9"})
    case = Case("c", None if rate is None else TableProfile.uniform(rate))
    whole = Trainer(setup, case, 5)
    rows = whole.run()
    for stop in (7, 14):

        def kill(step: int, _loss: float, at: int = stop) -> None:
            if step == at:
                raise _Killed

        with pytest.raises(_Killed):
            Trainer(setup, case, 5, tmp_path / "c.pt").run(on_step=kill)
    steps: list[int] = []
    resumed = Trainer(setup, case, 5, tmp_path / "c.pt")
    assert resumed.run(on_step=lambda step, _loss: steps.append(step)) == rows
    assert steps[0] == 13  # the checkpoint was at step 12: three steps at most are lost
    assert _weights(resumed) == _weights(whole)
    assert [row["time_ps"] for row in rows] == [10_000, 20_000]
    assert [row["energy_pj"] for row in rows] == [20.0, 40.0]


def test_the_log_keeps_every_row_and_none_twice(tmp_path: Path) -> None:
    """A line cut short by a kill is dropped and written again."""
    row = {"case": "a", "seed": 0, "epoch": 1, "accuracy": 0.5}
    log = Log(tmp_path / "log")
    assert log.add(row)
    assert not log.add(dict(row))
    with (tmp_path / "log").open("a") as file:
        file.write('{"case": "a", "se')
    again = Log(tmp_path / "log")
    assert again.rows == [row]
    assert again.add({**row, "epoch": 2})
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log").read_text().splitlines()] == [1, 2]


def test_a_folder_is_kept_for_its_own_settings(tmp_path: Path) -> None:
    """Another training, a folder of other things, a missing --resume; faults leave nothing behind."""
    with training_folder(tmp_path / "a", {"epochs": 3}, False):
        pass
    with (
        pytest.raises(InputError, match="holds a training; --resume goes on with it"),
        training_folder(tmp_path / "a", {"epochs": 3}, False),
    ):
        pass
    with (
        pytest.raises(InputError, match="the training of other settings \\(epochs: 3 there, 4 now\\)"),
        training_folder(tmp_path / "a", {"epochs": 4}, True),
    ):
        pass
    with (
        pytest.raises(InputError, match="is not the folder of a training"),
        training_folder(tmp_path, {}, True),
    ):
        pass
    with pytest.raises(InputError, match="found late"), training_folder(tmp_path / "b" / "c", {}, False):
        raise InputError("found late")
    assert not (tmp_path / "b").exists()


def test_intervals_are_exact() -> None:
    """Clopper-Pearson's borders have their tail probabilities; all and none have one border."""
    low, high = clopper_pearson(3, 10)
    assert stats.binom.sf(2, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 10, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 5)[0] == 0.0
    assert clopper_pearson(5, 5)[1] == 1.0
    assert paired([0.1]) == (0.1, None)
    assert "anecdotal" in weight_of(3)
    assert "anecdotal" not in weight_of(8)


def _row(case: str, seed: int, epoch: int, accuracy: float, diverged: int | None = None) -> dict[str, Any]:
    made = {"case": case, "seed": seed, "epoch": epoch, "accuracy": accuracy, "diverged_step": diverged}
    return made | {
        "flips": {"weight": {"rate": 2}},
        "non_finite": 1,
        "first_non_finite_step": 3,
        "time_ps": 100 * epoch,
        "energy_pj": 10.0 * epoch,
    }


def test_accuracy_is_paired_by_seed() -> None:
    """Differences per seed, divergence as a proportion, time and energy to the target."""
    rows = [_row("none", s, e, 0.5 + 0.2 * e + 0.1 * s) for s in (0, 1) for e in (1, 2)]
    rows += [_row("x", 0, 1, 0.7), _row("x", 0, 2, 0.8), _row("x", 1, 1, 0.0, diverged=7)]
    summary = summarize(rows, target=0.75)
    case = summary["cases"]["x"]
    assert case["difference"] == pytest.approx((-0.1 - 1.0) / 2)
    assert (case["diverged"], case["trainings"]) == (1, 2)
    assert case["to_accuracy"] == {"0": {"epoch": 2, "time_ps": 200, "energy_pj": 20.0}, "1": None}
    assert case["flips"] == {"weight": {"rate": 6}}
    assert summary["cases"]["none"]["difference"] == 0.0
    assert summary["by_epoch"][1]["accuracy"] == pytest.approx({"none": 0.95, "x": 0.4})
    assert summarize(rows)["target_accuracy"] == pytest.approx(0.95 - 0.01)


def test_options_become_cases() -> None:
    """Rates of a role with a glob mean the step's input too, where activations are meant."""
    names = [c.name for c in cases_of(None, rates_of("1e-7,1e-5"), "activation", "conv*", None)]
    assert names == ["none", "1e-07", "1e-05"]
    case = cases_of(None, [1e-5], "activation", "conv0", None)[1]
    assert case.profile is not None
    assert case.profile.description == "activation[conv0]=1e-05 input[conv0]=1e-05"
    assert table_of("activation=1e-5,weight=0") == {"activation": 1e-5, "weight": 0.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: table_of("profil"), '--errors: expected "profile", "none" or role=rate,..., got "profil"'),
        (
            lambda: table_of("weight=much"),
            '--errors weight: expected a bit error probability such as 1e-6, got "much"',
        ),
        (lambda: rates_of("1e-6,0.7"), "--rates: expected a bit error probability from 0 to 0.5, got 0.7"),
        (lambda: cases_of(None, [0.1], "activations", None, None), "--target: unknown role"),
        (lambda: cases_of("wieght=0.1", [], "", None, None), 'unknown role "wieght", did you mean weight?'),
    ],
)
def test_bad_options_are_named(call: Any, message: str) -> None:
    """With what was given."""
    with pytest.raises(InputError) as fault:
        call()
    assert message in str(fault.value)


def _lenet(epochs: int, **options: Any) -> Setup:
    workload = small("lenet-tinydnn", batch=16)
    task = task_of(workload)
    return Setup(workload, task, digits(task.shape), epochs, options=options)


def _inputs_of_layer_0(rate: float) -> Case:
    return cases_of(None, [rate], "activation", "conv0", None)[1]


def test_wrong_bits_in_the_first_layers_input_end_training() -> None:
    """fp32 at 1e-5 per bit, raw: a flip of the exponent's top bit makes the background infinite."""
    trainer = Trainer(_lenet(3), _inputs_of_layer_0(1e-5), 0)
    rows = trainer.run(silent, silent)
    assert rows[-1]["diverged_step"] is not None
    assert rows[-1]["diverged_step"] <= 267
    assert rows[-1]["first_non_finite_step"] is not None


def test_protected_exponents_let_it_train() -> None:
    """With sign and exponent safe, the same rate costs nothing that shows: the loss falls as without."""
    protected = Trainer(_lenet(1, protect=("sign", "exponent")), _inputs_of_layer_0(1e-5), 0).run()
    clean = Trainer(_lenet(1), Case("none", None), 0).run()
    assert all(row["diverged_step"] is None and row["non_finite"] == 0 for row in protected)
    assert protected[-1]["flips"]["input"]["rate"] > 50
    assert protected[-1]["loss"] == pytest.approx(clean[-1]["loss"], rel=0.25)
    assert math.isfinite(protected[-1]["loss"])
