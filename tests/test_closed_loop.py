"""The closed loop: what it decides, what it may change, and that it gets back what errors cost."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from accelsim.cli.app import main
from accelsim.cli.training import _settled
from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.train import experiment
from accelsim.train.apart import outside
from accelsim.train.closed import drift_of
from accelsim.train.data.digits import digits
from accelsim.train.files import Log
from accelsim.train.injector import ErrorInjector
from accelsim.train.loop import MOST_PATIENCE, PATIENCE, Easing, Limits, Offer, State, decide, ranked
from accelsim.train.probe import Probe
from accelsim.train.remedies import Remedies
from accelsim.train.table import TableProfile
from accelsim.train.task import task_of
from accelsim.train.trainer import Case, Check, Setup, Trainer, spent
from accelsim.train.validation import held_out
from tests.train_models import small, write_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

# --- decisions -------------------------------------------------------------------------------------------

NAMES = ("placement.a", "placement.b", "bank.m.pulse")
MOST = {"placement.a": 1, "placement.b": 2, "bank.m.pulse": 3}
LIMITS = Limits(0.02, MOST)
drifts = st.one_of(st.floats(-1, 1), st.sampled_from([0.01, 0.02, 0.04, 0.08, math.inf, math.nan]))
numbers = st.floats(-2, 2)
offers = st.lists(
    st.builds(Offer, st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple), numbers, numbers),
    max_size=6,
)
easings = st.lists(st.builds(Easing, st.sampled_from(NAMES), numbers, numbers), max_size=4)
states = st.builds(
    State,
    st.fixed_dictionaries({}, optional={n: st.integers(1, most) for n, most in MOST.items()}),
    st.integers(0, 5),
    st.sampled_from([2, 4, 8, 16]),
    st.booleans(),
)


@given(states, st.lists(st.tuples(drifts, offers, easings), max_size=8))
def test_levels_stay_within_their_limits(state: State, checks: list[Any]) -> None:
    """Whatever is measured and offered; a decision names exactly what it changes, by one level each."""
    for drift, some, back in checks:
        decision = decide(state, drift, some, back, LIMITS)
        after = decision.state
        assert all(0 < level <= MOST[name] for name, level in after.levels.items())
        changed = {n: after.levels.get(n, 0) - state.levels.get(n, 0) for n in NAMES}
        step = {"hold": 0, "tighten": 1, "ease": -1}[decision.kind]
        assert changed == {n: step * (n in decision.remedies) for n in NAMES}
        assert bool(decision.remedies) == (decision.kind != "hold")
        assert PATIENCE <= after.patience <= MOST_PATIENCE
        state = after


@given(states, drifts, drifts, offers, easings)
def test_more_drift_never_gives_a_laxer_machine(
    state: State, one: float, other: float, some: list[Offer], back: list[Easing]
) -> None:
    """Level by level; a drift that is no number is the largest."""
    low, high = sorted((one, other), key=lambda d: math.inf if math.isnan(d) else d)
    less, more = (decide(state, d, some, back, LIMITS).state.levels for d in (low, high))
    assert all(less.get(n, 0) <= more.get(n, 0) for n in NAMES)


@given(states, drifts, offers, st.randoms())
def test_the_order_of_offers_does_not_matter(
    state: State, drift: float, some: list[Offer], random: Any
) -> None:
    """Their price, and what they remove, decide."""
    shuffled = list(some)
    random.shuffle(shuffled)
    assert decide(state, drift, some, (), LIMITS) == decide(state, drift, shuffled, (), LIMITS)


def test_what_saves_comes_first_then_price_per_harm() -> None:
    """And what removes nothing is no offer."""
    free, cheap, dear = Offer(("c",), -0.1, 1.0), Offer(("b",), 0.1, 2.0), Offer(("a",), 0.1, 1.0)
    assert ranked([Offer(("d",), -9.0, 0.0), dear, cheap, free]) == [free, cheap, dear]


def test_a_step_back_needs_patience_savings_and_a_safe_trial() -> None:
    """One that had to be undone doubles the patience."""
    state, back = State({"bank.m.pulse": 2}), [Easing("bank.m.pulse", -0.1, 0.0)]
    state = decide(state, 0.0, (), back, LIMITS).state
    assert (state.levels, state.slack) == ({"bank.m.pulse": 2}, 1)
    for unsafe in (Easing("bank.m.pulse", 0.0, 0.0), Easing("bank.m.pulse", -0.1, 0.011)):
        assert decide(state, 0.0, (), [unsafe], LIMITS).kind == "hold"
    eased = decide(state, 0.0, (), back, LIMITS)
    assert (eased.kind, eased.state.levels, eased.state.patience) == ("ease", {"bank.m.pulse": 1}, 2)
    undone = decide(eased.state, 0.03, [Offer(("bank.m.pulse",), 0.1, 1.0)], (), LIMITS)
    assert (undone.state.levels, undone.state.patience) == ({"bank.m.pulse": 2}, 4)


# --- machines --------------------------------------------------------------------------------------------


def test_every_remedy_can_be_written_as_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, wherever it lies, is the machine of the overrides; paths and other bases included."""
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    Path("own/cell.toml").write_text('extends = "mram-l4"\n')
    Path("own/like.toml").write_text('extends = "edge-sram"\n')
    Path("own/m.toml").write_text(
        'extends = "edge-hybrid-iso-area"\niso_area_with = "like.toml"\n[bank.mram]\ndevice = "cell.toml"\n'
        'access_width_scale = 8.0\necc = "secded"\nscrub_interval = "1 ms"\n'
    )
    base = ("host.gap=3us", "bank.sram={count=2}")
    remedies = Remedies("own/m.toml", base, tmp_path / "out")
    assert remedies.most["placement.weight"] == 1
    assert (remedies.most["bank.mram.pulse"], remedies.most["bank.mram.scrub_interval"]) == (4, 4)
    before = load_machine("own/m.toml", base)
    for name, most in remedies.most.items():
        levels = {name: most}
        machine = load_machine("own/m.toml", remedies.overrides(levels))
        Path("out").mkdir(exist_ok=True)
        remedies.write(levels, Path("out/machine.toml"), "A test.")
        written = load_machine("out/machine.toml")
        assert replace(written, name="", sources=()) == replace(machine, name="", sources=())
        assert replace(machine, name="", sources=()) != replace(before, name="", sources=())
    pulse = load_machine("own/m.toml", remedies.overrides({"bank.mram.pulse": 2})).banks["mram"].device
    assert pulse is not None
    assert pulse.pulse_s == pytest.approx(20e-9 * 1.25**2)
    slow = load_machine("own/m.toml", remedies.overrides({"bank.mram.scrub_interval": 3})).banks["mram"]
    assert slow.scrub_ps == 10**9 // 8


def test_a_device_with_a_target_gets_a_surer_write(tmp_path: Path) -> None:
    """A hundredth of the error rate a level, down to what the laws know."""
    remedies = Remedies("edge-hybrid", ("bank.mram.device=mram-26us",), tmp_path)
    assert remedies.most["bank.mram.pulse"] == 3
    levels: tuple[dict[str, int], ...] = ({}, {"bank.mram.pulse": 3})
    short, long = (load_machine("edge-hybrid", remedies.overrides(n)).banks["mram"].device for n in levels)
    assert short is not None
    assert long is not None
    assert long.pulse_s > 1.2 * short.pulse_s


# --- in a training ---------------------------------------------------------------------------------------

FRAIL = ("bank.mram.device=mram-26us",)
CRAMPED = ("bank.sram.capacity=16KiB", "bank.sram.count=1", "bank.sram.subbanks=1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small workload in it, the working one."""
    write_tiny(tmp_path, lr=0.05)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _wish(**changed: Any) -> experiment.Wish:
    values: dict[str, Any] = {
        "arch": "edge-hybrid",
        "workload": "tiny.toml",
        "epochs": 2,
        "seeds": 1,
        "overrides": (*FRAIL, *CRAMPED),
        "options": {"protect": ("sign", "exponent")},
        "loop": experiment.LoopWish(every=20, tolerance=0.02),
        "checkpoint_steps": 30,
    }
    return experiment.Wish(**{**values, **changed})


class _Killed(BaseException):
    pass


def test_the_loop_gets_back_what_errors_cost(folder: Path) -> None:
    """Its decisions, their prices and their effects are logged; killed and resumed, it is the same loop."""
    experiment.train(_wish(), folder / "out")
    summary = json.loads((folder / "out" / "training.json").read_text())
    final = {name: case["accuracy"]["0"] for name, case in summary["cases"].items()}
    assert final["profile"] < final["none"] - 0.1
    assert final["closed loop"] > final["none"] - 0.05

    log = Log(folder / "out" / "decisions.jsonl", ("case", "seed", "number")).rows
    assert [row["step"] for row in log] == [20, 40, 60, 80]
    first = next(row for row in log if row["decision"] == "tighten")
    after = log[log.index(first) + 1]
    assert first["cause"]["drift"] > 0.02
    helpful = {name for o in first["offers"] if o["removed"] > 0 for name in o["remedies"]}
    assert set(first["remedies"]) <= helpful
    assert after["effect"]["drift_before"] == first["cause"]["drift"]
    assert after["effect"]["drift_after"] == after["cause"]["drift"]
    assert after["cost"]["before"] == first["cost"]["after"] != first["cost"]["before"]

    settled = summary["closed_loop"]["by_seed"]["0"]
    rows = [r for r in Log(folder / "out" / "log.jsonl").rows if r["case"] == "closed loop"]
    parts = settled["parts"]
    assert parts[-1]["to_step"] == 80
    assert (
        rows[-1]["time_ps"]
        == settled["time_ps"]
        == sum((p["to_step"] - p["from_step"]) * p["step_ps"] for p in parts)
    )
    assert rows[-1]["energy_pj"] == pytest.approx(
        sum((p["to_step"] - p["from_step"]) * p["step_pj"] for p in parts)
    )
    run = simulate(str(folder / "out" / settled["machine"]), "tiny.toml", out=folder / "again")
    assert run.summary["time_ps"] + run.summary["host_gap_ps"] == parts[-1]["step_ps"]
    assert run.summary["energy_pj"]["total"] == parts[-1]["step_pj"]

    def kill(what: str, _total: int, step: int, _loss: float) -> None:
        if what.startswith("errors closed") and step == 75:
            raise _Killed

    with pytest.raises(_Killed):
        experiment.train(_wish(), folder / "cut", watcher=experiment.Watcher(step=kill))
    experiment.train(_wish(), folder / "cut", resume=True)
    for name in ("log.jsonl", "decisions.jsonl", "machine.toml"):
        assert (folder / "cut" / name).read_bytes() == (folder / "out" / name).read_bytes()
    assert json.loads((folder / "cut" / "training.json").read_text()) == summary | {
        "cases_by_name": json.loads((folder / "cut" / "training.json").read_text())["cases_by_name"]
    }


def test_what_errors_destroyed_is_done_again_on_a_safer_machine(folder: Path) -> None:
    """A loss that is not finite ends the open loop; the closed one goes back, and pays for what it lost."""
    frail = {"overrides": FRAIL, "options": {}, "epochs": 1, "checkpoint_steps": 7}

    def kill(what: str, _total: int, _step: int, _loss: float) -> None:
        nonlocal after
        after += what.startswith("errors closed")
        if after == 12:
            raise _Killed

    experiment.train(_wish(**frail), folder / "out")
    after = 0
    with pytest.raises(_Killed):
        experiment.train(_wish(**frail), folder / "cut", watcher=experiment.Watcher(step=kill))
    experiment.train(_wish(**frail), folder / "cut", resume=True)
    for name in ("log.jsonl", "decisions.jsonl", "machine.toml"):
        assert (folder / "cut" / name).read_bytes() == (folder / "out" / name).read_bytes()

    summary = json.loads((folder / "out" / "training.json").read_text())
    assert summary["cases"]["profile"]["diverged"] == 1
    final = {name: case["accuracy"]["0"] for name, case in summary["cases"].items()}
    assert final["closed loop"] > final["none"] - 0.05
    settled = summary["closed_loop"]["by_seed"]["0"]
    (lost,) = settled["lost"]
    assert (lost["steps"], lost["step_ps"]) == (1, summary["step_ps"])
    parts = sum((p["to_step"] - p["from_step"]) * p["step_ps"] for p in settled["parts"])
    assert settled["time_ps"] == parts + lost["steps"] * lost["step_ps"]


def test_a_loop_that_never_acts_is_the_open_one(folder: Path) -> None:
    """To the bit: loss, accuracy and flips."""
    loop = experiment.LoopWish(every=15, tolerance=1.0)
    experiment.train(_wish(epochs=1, loop=loop), folder / "out")
    rows = {r["case"]: {**r, "case": ""} for r in Log(folder / "out" / "log.jsonl").rows}
    assert rows["closed loop"] == rows["profile"]
    assert rows["profile"]["flips"]


def test_a_machine_placed_by_sensitivity_is_judged_by_its_file(folder: Path) -> None:
    """Instead of a probe: harm is the error rate over the tolerated one."""
    entries = "".join(
        f'[[tolerated]]\nrole = "{role}"\nrate = {rate}\n'
        for role, rate in (("input", 0.5), ("activation", 0.5), ("weight", 0.5), ("optimizer_state", 0.4))
    )
    Path("s.toml").write_text(f'workload = "tiny"\ntolerance = 0.02\nclean_accuracy = 0.9\n{entries}')
    policy = ("placement.policy=sensitivity", "placement.sensitivity=s.toml")
    loop = experiment.LoopWish(every=15, tolerance=0.0)
    wish = _wish(epochs=3, overrides=(*FRAIL, *CRAMPED, *policy), loop=loop)
    experiment.train(wish, folder / "out")
    log = Log(folder / "out" / "decisions.jsonl", ("case", "seed", "number")).rows
    judged = [row for row in log if "harms" in row]
    assert judged
    assert {row["harms_from"] for row in judged} == {"sensitivity"}
    assert all(0 <= harm < 2 for row in judged for harm in row["harms"].values())


def _setup() -> Setup:
    workload = small("lenet5", batch=16)
    task = task_of(workload)
    data, validation = held_out(digits(task.shape))
    return Setup(
        workload, task, data, 1, validation=replace(validation, x=validation.x[:40], y=validation.y[:40])
    )


def test_a_probe_leaves_no_trace_and_finds_what_harms() -> None:
    """What was checked and probed ends with the same weights; a role that does not err does no harm."""
    profile = TableProfile({"weight": 1e-3, "error": 0.0})
    worse = TableProfile({"weight": 0.05, "error": 0.0})
    found: list[dict[str, float]] = []

    def weights(probed: bool) -> list[bytes]:
        setup = replace(_setup(), options={"protect": "exponent"}, check_steps=3 * probed)
        trainer = Trainer(setup, Case("c", profile), 3)

        def look(step: int, _loss: float) -> None:
            if probed and step in (2, 5):
                assert trainer.injector is not None
                with outside():
                    batches = [trainer._batches.of(0, i) for i in range(4)]
                    state = trainer.model.state_dict(), trainer.optimizer.state_dict()
                    injector = trainer.injector.state_dict()
                    probe = Probe(setup, 3, *state, injector, batches, setup.validation or setup.data.test)
                    found.append(probe.harms(worse, ["weight", "error"]))
            if step == 8:
                raise _Killed

        with pytest.raises(_Killed):
            trainer.run(on_step=look)
        return [value.detach().numpy().tobytes() for value in trainer.model.state_dict().values()]

    assert weights(True) == weights(False)
    assert all(harm["weight"] > 0 == harm["error"] for harm in found)


def test_another_profile_takes_over_between_steps() -> None:
    """Weights that were written before it came draw by its laws too, once; others are refused by name."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 4))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)  # never written again
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    x, y = torch.randn(8, 64), torch.randint(4, (8,))

    def flips(injector: ErrorInjector) -> int:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        return sum(sum(causes.values()) for causes in injector.counts.take()["flips"].values())

    frozen = {"weight": {"0": 0.01}}
    with ErrorInjector(model, optimizer, {"weight": 0.0}, protect="exponent") as injector:
        assert flips(injector) == 0
        injector.use(frozen)
        assert flips(injector) > 500
        assert flips(injector) == 0  # the same copy, drawn already
        injector.use({"weight": 0.0})
        assert flips(injector) == 0
        with pytest.raises(InputError, match="no layer fits"):
            injector.use({"weight": {"nowhere": 0.1}})


def test_spent_adds_each_part_at_its_own_price() -> None:
    """Also where nothing has been done on the last machine yet."""
    prices = [(0, 10, 1.5), (4, 20, 2.5)]
    assert spent(prices, 3) == (30, 4.5)
    assert spent(prices, 4) == (40, 6.0)
    assert spent(prices, 6) == (80, 11.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loop-every", "5"), "--loop-every: has no effect without --closed-loop"),
        (("--loop-tolerance", "0.1"), "--loop-tolerance: has no effect without --closed-loop"),
        (("--closed-loop", "--rates", "1e-5"), "--closed-loop: acts on the errors of the simulated machine"),
        (
            ("--closed-loop", "--loop-every", "40"),
            "a training of 40 steps has no check that could act",
        ),
        (("--closed-loop",), "--loop-every 40: a training of 40 steps"),
        (("--closed-loop", "--loop-every", "9"), "edge-hybrid: no bank group of this machine names a device"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; no folder appears."""
    with pytest.raises(SystemExit, match="2"):
        main(["train", "edge-hybrid", "tiny.toml", *words, "--quiet", "--out", "out", "--epochs", "1"])
    assert sorted(p.name for p in folder.iterdir()) == ["tiny.py", "tiny.toml"]
    assert message in capsys.readouterr().err


def test_drift_is_the_larger_of_what_is_missing_and_what_is_too_much() -> None:
    """Accuracy in points, loss as a share of the reference's first; without a reference there is none."""
    reference = [Check(10, 2.0, 0.5), Check(20, 0.5, 0.9)]
    assert drift_of(Check(20, 0.6, 0.8), reference)[0] == pytest.approx(0.1)
    assert drift_of(Check(20, 0.9, 0.95), reference)[0] == pytest.approx(0.2)
    assert drift_of(Check(20, 0.4, 0.95), reference)[0] == pytest.approx(-0.05)
    assert drift_of(Check(30, 0.4, 0.95), reference)[0] == -math.inf


def test_a_machine_that_does_not_keep_the_tolerance_is_told() -> None:
    """By its last check; one without a finite drift too."""
    loop = {
        "tolerance": 0.02,
        "by_seed": {
            str(seed): {
                "machine": "machine.toml",
                "levels": {},
                "changes": 0,
                "time_ps": 1,
                "energy_pj": 1.0,
                "last_drift": drift,
                "parts": [{"step_ps": 1, "step_pj": 1.0}],
                "lost": [],
            }
            for seed, drift in enumerate((0.01, 0.3, None))
        },
    }
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(_settled(loop))
    told = [line for line in console.export_text().splitlines() if line.startswith("settled on")]
    assert "NOT" not in told[0]
    assert told[1].rstrip().endswith("NOT within tolerance: the last check found a drift of 0.3")
    assert told[2].rstrip().endswith("NOT within tolerance: the last check found a drift of not finite")
