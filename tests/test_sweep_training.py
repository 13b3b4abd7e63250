"""Sweeps that train: accuracy under the point's own errors, and what it takes to get there."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError, InputError
from accelsim.frontend.spec import load
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.sweep import training
from accelsim.sweep.evaluate import Job, evaluate, point_id, timing_key
from accelsim.sweep.plan import load_sweep
from accelsim.sweep.view import view
from accelsim.sweep.works import Works, capture
from accelsim.train.data.named import load_data
from accelsim.train.profile import RunProfile
from accelsim.train.task import task_of
from accelsim.train.threads import one_thread
from accelsim.train.trainer import Case, Setup, Trainer
from tests.sweeps import swept

MODEL = """from torch import nn


def build() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
"""
WORKLOAD = """model = "small.py:build"
batch = 32
[inputs.x]
shape = [1, 8, 8]
[optimizer]
name = "momentum"
lr = 0.05
"""
SWEEP = """base = "edge-hybrid"
workload = "small.toml"
objectives = ["accuracy", "energy_to_accuracy"]
{keys}
[parameters]
"bank.mram.device" = ["mram-26us", "mram-10y"]
"dram.background" = ["0 mW", "10 mW"]
"host.gap" = ["500 us"]
[training]
epochs = 1
nonfinite = "zero"
protect = ["sign", "exponent"]
target_accuracy = 0.7
{training}
"""


def write(folder: Path, name: str = "acc", keys: str = "", more: str = "") -> Path:
    """Write the sweep, its workload and the model; return the sweep's file."""
    (folder / "small.py").write_text(MODEL)
    (folder / "small.toml").write_text(WORKLOAD)
    path = folder / f"{name}.toml"
    path.write_text(SWEEP.format(keys=keys, training=more))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The sweep, run, in the working folder."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    write(folder)
    try:
        yield swept("acc.toml", jobs=1)
    finally:
        os.chdir(before)


def figures(name: str = "acc") -> dict[tuple[str, str], dict[str, float]]:
    """Return figures by device and background power."""
    return {
        (e.params["bank.mram.device"], e.params["dram.background"]): e.figures for e in view(name).entries
    }


def test_a_frail_memory_trains_worse(done: dict[str, Any]) -> None:
    """A machine whose cells forget within the gap between steps does not reach what a lasting one does."""
    found = figures()
    frail, lasting = found["mram-26us", "0 mW"], found["mram-10y", "0 mW"]

    assert frail["accuracy"] < lasting["accuracy"] - 0.2
    assert (frail["reached"], lasting["reached"]) == (0, 1)
    assert (done["points"], done["infeasible"], done["trained"]) == (2, 2, 4)
    assert done["front"][0]["params"]["dram.background"] == "0 mW"


def test_what_reaching_an_accuracy_takes_are_steps_of_the_simulation(done: dict[str, Any]) -> None:
    """Energy and time of a step, gap included, times steps; not there where it is not reached."""
    del done
    found = figures()
    for power in ("0 mW", "10 mW"):
        f = found["mram-10y", power]
        assert f["steps_to_accuracy"] == 44
        assert f["energy_to_accuracy"] == 44 * f["energy_pj.total"]
        assert f["time_to_accuracy"] == 44 * (f["time_ps"] + 500e6)
        assert "energy_to_accuracy" not in found["mram-26us", power]


def test_accuracy_is_that_of_training_with_the_run_folders_profile(done: dict[str, Any]) -> None:
    """To the last bit: a sweep trains as anyone would who runs the point and trains with its errors."""
    del done
    overrides = ("bank.mram.device=mram-26us", "host.gap=500 us")
    simulate("edge-hybrid", "small.toml", overrides=overrides, out="frail")
    workload = load(Path("small.toml"))
    task = task_of(workload)
    formats = {role: form for role, form in load_machine("edge-hybrid").formats.items() if form}
    options = {"nonfinite": "zero", "protect": ("sign", "exponent"), "storage_format": formats}
    setup = Setup(workload, task, load_data("digits", task), 1, options=options)
    with one_thread():
        rows = Trainer(setup, Case("x", RunProfile.load(Path("frail"))), 0).run()

    assert figures()["mram-26us", "0 mW"]["accuracy"] == rows[-1]["accuracy"]


def test_resuming_trains_nothing_again(done: dict[str, Any]) -> None:
    """Nor does another sweep whose training is the same."""
    again = swept("acc.toml", jobs=1, resume=True)
    write(Path(), "other", keys='constraints = ["area_mm2 > 0"]')
    other = swept("other.toml", jobs=1)

    assert (again["evaluated"], again["trained"], again["front"]) == (0, 0, done["front"])
    assert (other["evaluated"], other["points"]) == (0, 2)


def test_constraints_on_what_is_simulated_spare_the_training(done: dict[str, Any]) -> None:
    """Points that break them are simulated, here long ago, and not trained."""
    del done
    write(Path(), "cheap", keys='constraints = ["errors.all.total < 1e-6"]', more="seeds = 2")

    told = swept("cheap.toml", jobs=1)

    assert (told["points"], told["infeasible"], told["trained"]) == (2, 2, 2)
    assert all("accuracy" not in figures("cheap")["mram-26us", p] for p in ("0 mW", "10 mW"))


def test_points_that_training_cannot_tell_apart_are_trained_once(tmp_path: Path) -> None:
    """Prices do not count; of machines without a device, nothing does."""
    sweep = load_sweep(str(write(tmp_path)))
    works = capture(sweep)

    def trainings(*settings: dict[str, Any]) -> int:
        training._done.clear()
        machines = [sweep.machine_of(s) for s in settings]
        jobs = [Job(point_id(m, w), m, w) for m in machines for w in works.of(m)]
        outcomes = evaluate(jobs)
        assert all(o.figures and "accuracy" in o.figures for o in outcomes), outcomes
        assert len({o.id for o in outcomes}) == len(settings)
        return len(training._done)

    gap = {"host.gap": "500 us"}
    frail = {**gap, "bank.mram.device": "mram-10ms"}
    assert trainings({**frail}, {**frail, "dram.background": "1 mW"}) == 1
    assert trainings(gap, {**gap, "clock": "1 GHz"}) == 1
    assert trainings(gap, {**frail}) == 2


def test_what_trains_alike_goes_to_one_worker(tmp_path: Path) -> None:
    """How often bits change decides errors and energies, but no times."""
    sweep = load_sweep(str(write(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    bare = replace(work, training=None)
    device = {"bank.mram.device": "mram-1s"}
    changes = ({}, {"toggle_rate.weight": 0.1}, {"dram.background": "1 mW"})
    a, calm, dear = (sweep.machine_of({**device, **change}) for change in changes)

    assert timing_key(a, bare) == timing_key(calm, bare) == timing_key(dear, bare)
    assert timing_key(a, work) == timing_key(dear, work) != timing_key(calm, work)


def test_ids_differ_by_what_training_is_told(tmp_path: Path) -> None:
    """Options, data, learning rate and the model's code; without training they are others again."""

    def ident(more: str = "", data: str = "digits") -> str:
        sweep = load_sweep(str(write(tmp_path, more=f'data = "{data}"\n{more}')))
        works = capture(sweep)
        return point_id(sweep.machine, works.of(sweep.machine)[0])

    first = ident()
    found = [
        first,
        ident("seeds = 2"),
        ident('storage_format = "bf16"'),
        ident(data=TEACHER),
    ]
    assert ident() == first
    sweep = load_sweep(str(write(tmp_path)))
    for file, old, new in (("small.toml", "0.05", "0.06"), ("small.py", "nn.ReLU()", "nn.ReLU(True)")):
        path = tmp_path / file
        path.write_text(path.read_text().replace(old, new))
        found.append(point_id(sweep.machine, capture(sweep).of(sweep.machine)[0]))
    (work,) = capture(sweep).of(sweep.machine)
    assert work.training is not None
    found.append(point_id(sweep.machine, replace(work, training=replace(work.training, torch="1.0"))))
    found.append(point_id(sweep.machine, replace(work, training=None)))

    assert len(set(found)) == len(found)


def test_a_worker_with_another_torch_refuses(tmp_path: Path) -> None:
    """Its figures might be others, under the controller's id."""
    sweep = load_sweep(str(write(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    assert work.training is not None
    other = replace(work, training=replace(work.training, torch="1.0"))
    (found,) = evaluate([Job(point_id(sweep.machine, other), sweep.machine, other)])
    assert "the controller has torch 1.0, this worker" in found.error


def test_points_without_training_need_no_torch(tmp_path: Path) -> None:
    """A worker loads it only when it trains."""
    sweep = load_sweep(str(write(tmp_path)))
    jobs = [
        Job("x", sweep.machine, replace(work, training=None)) for work in capture(sweep).of(sweep.machine)
    ]
    code = (
        "import pickle, sys; from accelsim.sweep.worker import evaluate\n"
        "(out,) = evaluate(pickle.load(sys.stdin.buffer))\n"
        "assert out.figures and 'torch' not in sys.modules, out.error"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(jobs), check=True)


def test_a_worker_with_other_data_refuses(tmp_path: Path) -> None:
    """Its figures would be of another training."""
    sweep = load_sweep(str(write(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    assert work.training is not None
    other = replace(work, training=replace(work.training, read="other"))
    (outcome,) = evaluate([Job("x", sweep.machine, other)])

    assert "the model or the data here are not the controller's" in outcome.error


TEACHER = "teacher:train=64,test=5000"
FAULTS = {
    ("target_accuracy = 0.7", ""): (
        'objectives[1]: the figure "energy_to_accuracy" needs an accuracy to be reached: training'
    ),
    ("target_accuracy = 0.7", "target_accuracy = 50"): "training.target_accuracy: expected at most 1",
    ('"accuracy", ', '"acuracy", '): 'objectives[0]: no figure or key "acuracy", did you mean accuracy?',
    (
        '"accuracy", ',
        '"accuracy.bets", ',
    ): 'objectives[0]: no figure "accuracy.bets", did you mean',
    (
        "epochs = 1",
        'epochs = 1\ndata = "digist"',
    ): 'training.data: no data set "digist", did you mean',
    ("epochs = 1", 'epochs = 1\ndata = "mnist:there"'): "training.data: mnist: no such folder",
    ('"exponent"]', '"exponnet"]'): "training.protect: ",
    ('nonfinite = "zero"', 'nonfinite = "zro"'): 'training.nonfinite: expected "raw", "zero" or "clamp"',
    ('"small.toml"', '"tiny.csv"'): "workload: a topology file has no model to train; give a workload .toml",
    ("[parameters]", 'phase = "forward"\n[parameters]'): "phase: training takes whole steps",
    ("[parameters]", 'fidelity = { rank = "estimate" }\n[parameters]'): "fidelity.rank: an estimate knows",
}


@pytest.mark.parametrize(("change", "fault"), FAULTS.items())
def test_faults_are_placed_in_the_file(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    """Before anything is simulated."""
    path = write(tmp_path)
    path.write_text(path.read_text().replace(*change))

    def prepare() -> Works:
        return capture(load_sweep(str(path)))

    with pytest.raises(ConfigError, match=rf"acc\.toml:\d+:\d+: {re.escape(fault)}"):
        prepare()


def test_a_target_that_nothing_reaches_says_so(done: dict[str, Any]) -> None:
    """Rather than a front of infinities."""
    del done
    path = write(Path(), "vain")
    text = path.read_text().replace("target_accuracy = 0.7", "target_accuracy = 1.0")
    path.write_text(text.replace('"mram-26us", ', "").replace(', "10 mW"', ""))

    with pytest.raises(InputError, match=r'no point is left of 1: "reached >= 1" rules out 1'):
        swept("vain.toml", jobs=1)
