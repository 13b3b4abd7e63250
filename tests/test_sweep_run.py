"""Sweeps as they are run: what is evaluated, what is not run twice, and what survives being killed."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.run import simulate
from accelsim.sweep.dispatch import Dispatcher, Ended, Task
from accelsim.sweep.evaluate import Job, evaluate, point_id, timing_key
from accelsim.sweep.figures import of_summary
from accelsim.sweep.local import LocalEngine
from accelsim.sweep.plan import load_sweep
from accelsim.sweep.search import search
from accelsim.sweep.view import view
from accelsim.sweep.works import capture
from tests.sweeps import accelsim, gone, has_done, points_in, swept, wait_until, work, write_sweep


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_point_has_the_figures_of_a_run(tmp_path: Path) -> None:
    """Also where its simulation was made for another point, with other prices."""
    sweep = load_sweep(str(write_sweep(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    drowsy = ("bank.sram.power_gating=drowsy", "bank.sram.wakeup_latency=1 us")
    idle = ("bank.mram.device=mram-1s", "bank.mram.power_gating=idle")
    overrides = [(), ("temperature=300 K",), idle, drowsy]
    jobs = [Job(str(i), load_machine("edge-hybrid", o), work) for i, o in enumerate(overrides)]
    for job, o in zip(jobs, overrides, strict=True):
        (outcome,) = evaluate([job])
        ran = simulate("edge-hybrid", "tiny.csv", overrides=o, out=tmp_path / job.id)
        wanted = of_summary(ran.summary)
        assert outcome.error == ""
        assert {k: v for k, v in (outcome.figures or {}).items() if k in wanted} == wanted
    assert timing_key(jobs[0].machine, work) == timing_key(jobs[1].machine, work)
    assert len({point_id(job.machine, work) for job in jobs}) == 4


def test_a_worker_does_not_grow(tmp_path: Path) -> None:
    """Hundreds of points, each with a simulation of its own, leave no more behind than a few."""
    sweep = load_sweep(str(write_sweep(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    machines = [load_machine("edge-hybrid", (f"clock={500 + i} MHz",)) for i in range(250)]
    held = []
    for first in (0, 50, 250):
        assert all(not o.error for o in evaluate([Job("x", m, work) for m in machines[first - 50 : first]]))
        gc.collect()
        held.append(len(gc.get_objects()))
        if first == 50:
            evaluate([Job("x", m, work) for m in machines[50:200]])

    assert held[2] - held[1] < 0.02 * held[1]


def test_a_points_id_is_not_its_name_but_all_that_decides_it(tmp_path: Path) -> None:
    """The same machine under another name is the same point; every number counts."""
    sweep = load_sweep(str(write_sweep(tmp_path)))
    (work,) = capture(sweep).of(sweep.machine)
    own = tmp_path / "own.toml"
    own.write_text('extends = "edge-hybrid"\n')

    assert point_id(load_machine(str(own)), work) == point_id(load_machine("edge-hybrid"), work)
    assert point_id(load_machine("edge-hybrid", ("static.power=1 mW",)), work) != point_id(
        sweep.machine, work
    )


def test_done_points_are_never_run_twice(tmp_path: Path) -> None:
    """Not on resuming, not by another sweep; a study that is there is not started again by accident."""
    write_sweep(tmp_path)
    write_sweep(tmp_path, '"bank.mram.count" = [2, 4, 8]\n"clock" = ["400 MHz", "1 GHz"]', name="other")

    first = swept("tiny.toml", jobs=2)
    again = swept("tiny.toml", jobs=2, resume=True)
    other = swept("other.toml", jobs=2)
    with pytest.raises(InputError, match="--resume goes on with it, --study NEW starts another"):
        swept("tiny.toml")

    assert (first["points"], first["evaluated"], first["failed"]) == (12, 12, 0)
    assert (again["points"], again["evaluated"], again["front"]) == (12, 0, first["front"])
    assert (other["points"], other["evaluated"], other["reused"]) == (6, 2, 4)
    ids = (tmp_path / "runs/sweeps/tiny/points.txt").read_text().split()
    assert len(set(ids)) == len(ids) == 12


def test_a_limit_stops_and_the_next_call_goes_on(tmp_path: Path) -> None:
    """--limit counts candidates of this call."""
    write_sweep(tmp_path)

    counts = [swept("tiny.toml", jobs=1, resume=True, limit=5)["points"] for _ in range(3)]

    assert counts == [5, 10, 12]


def test_bounds_rule_out_no_point_of_the_front(tmp_path: Path) -> None:
    """With and without them, the front is the same; they do rule points out."""
    parameters = '"clock" = [{clocks}]\n[fidelity]\nbounds = {bounds}'
    clocks = ", ".join(f'"{mhz} MHz"' for mhz in (1000, *range(20, 2, -1)))
    for bounds in ("true", "false"):
        path = write_sweep(tmp_path, parameters.format(clocks=clocks, bounds=bounds), name=bounds)
        path.write_text(path.read_text().replace('"cycles"', '"time_ps"'))

    told = swept("true.toml", jobs=1, limit=19)
    whole = swept("false.toml", jobs=1)

    assert told["front"] == whole["front"]
    assert (whole["ruled_out"], whole["points"]) == (0, 19)
    assert told["ruled_out"] > 0


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_search_asks_for_as_many_points_as_samples(tmp_path: Path, method: str) -> None:
    """Under constraints; resumed, it does not begin anew, and its journal is in the study's folder."""
    keys = f'method = "{method}"\nsamples = 12\npopulation = 4\nconstraints = ["bank.mram.count <= 4"]'
    write_sweep(tmp_path, '"bank.mram.count" = [2, 4, 8]\n"clock" = { range = ["400 MHz", "1 GHz"] }', keys)

    some = swept("tiny.toml", jobs=2, limit=5)
    told = swept("tiny.toml", jobs=2, resume=True)

    assert some["points"] + some["infeasible"] == 5
    assert told["points"] + told["infeasible"] == 12
    assert all(p["params"]["bank.mram.count"] <= 4 for p in told["front"])
    assert (tmp_path / "runs/sweeps/tiny/optuna.journal").is_file()


def test_a_ranking_lets_only_the_best_estimates_through(tmp_path: Path) -> None:
    """As many as asked for, and says how many it left out."""
    write_sweep(tmp_path, keys='fidelity = { rank = "estimate", keep = 0.25 }')

    told = swept("tiny.toml", jobs=1)

    assert (told["points"], told["ruled_out"]) == (3, 9)


def test_figures_over_several_workloads_are_geometric_means(tmp_path: Path) -> None:
    """A candidate has one point per workload."""
    path = write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    (tmp_path / "wide.csv").write_text((tmp_path / "tiny.csv").read_text().replace(" 8, 1,", " 16, 1,"))
    path.write_text(path.read_text().replace('"tiny.csv"', '["tiny.csv", "wide.csv"]'))

    (point,) = swept("tiny.toml", jobs=1)["front"]
    with sqlite3.connect(tmp_path / "runs/points.sqlite") as points:
        cycles = [json.loads(f)["cycles"] for (f,) in points.execute("SELECT figures FROM points")]

    assert len(point["ids"]) == 2
    assert point["figures"]["cycles"] == pytest.approx((cycles[0] * cycles[1]) ** 0.5)


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_constraint_that_nothing_meets_says_how_many_it_ruled_out(tmp_path: Path) -> None:
    """Exit code 2, and the constraint by its text."""
    write_sweep(tmp_path, keys='constraints = ["area_mm2 <= 0.01"]')

    done = accelsim("sweep", "tiny.toml", cwd=tmp_path, code=2)

    assert 'no point is left of 12: "area_mm2 <= 0.01" rules out 12' in done.stderr


def test_an_objective_that_points_do_not_have_stops_the_study(tmp_path: Path) -> None:
    """It says what it needs."""
    path = write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    path.write_text(path.read_text().replace('"cycles"', '"expected_flips"'))

    with pytest.raises(InputError, match="needs a bank group with a device"):
        swept("tiny.toml")


def test_a_study_of_another_model_version_is_refused(tmp_path: Path) -> None:
    """It says how to start a new one."""
    write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    swept("tiny.toml", jobs=1)
    about = tmp_path / "runs/sweeps/tiny/study.json"
    about.write_text(about.read_text().replace('"model_version": "', '"model_version": "old'))

    with pytest.raises(InputError, match=r"model version old.* use --study NEW to start another one"):
        swept("tiny.toml", resume=True)


def test_a_changed_file_does_not_go_on_with_the_study(tmp_path: Path) -> None:
    """Its points would be a mixture."""
    write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    swept("tiny.toml", jobs=1)
    write_sweep(tmp_path, '"clock" = ["2 GHz"]')

    with pytest.raises(InputError, match="was made of another sweep"):
        swept("tiny.toml", resume=True)


def test_a_point_that_cannot_be_mapped_is_kept_with_its_error(tmp_path: Path) -> None:
    """It does not stop the study; --retry tries it again."""
    write_sweep(tmp_path, '"pe_array.rows" = [32, 4096]\n"accumulator.capacity" = ["0 B"]')
    told = swept("tiny.toml", jobs=1)

    assert told["points"] + told["failed"] == 2


def test_why_points_have_no_figures_is_told(tmp_path: Path) -> None:
    """A line per reason with its number, by sweep and by sweep show, where others are done."""
    keys = 'constraints = ["clock < 900 MHz"]'
    parameters = (
        '"clock" = { range = ["400 MHz", "1 GHz"], levels = 3 }\n"bank.mram.macro" = ["stt34", "nope"]\n'
        '"bank.mram.count" = [4, 6]'
    )
    write_sweep(tmp_path, parameters, keys)

    ran = accelsim("sweep", "tiny.toml", "--quiet", "--jobs", "1", cwd=tmp_path).stdout
    shown = accelsim("sweep", "show", "tiny", cwd=tmp_path).stdout

    with sqlite3.connect(tmp_path / "runs/points.sqlite") as points:  # as studies were kept before
        points.execute("UPDATE candidates SET state = 'infeasible' WHERE state = 'no machine'")
    before = accelsim("sweep", "show", "tiny", cwd=tmp_path).stdout

    assert re.search(r"^left out by constraints +1 *\nno machine +9 *$", ran, re.M), ran
    for told in (ran, shown, before):
        said = " ".join(told.split())
        assert "no machine: 3 x bank.mram.macro = nope: the array table has no cell" in said
        assert "no machine: 6 x bank.mram.count = 6: bank.mram.capacity: 393216 B are not a whole" in said
        assert "infeasible: 1 x clock < 900 MHz" in said
        assert "edge-hybrid.toml" not in said
    assert re.search(r"^ 0 .* 400 MHz", shown, re.M)  # written as 400000000 Hz


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/tmp/x", ".", "..", ".x", "a\n", "a\\b"])
def test_a_study_has_a_plain_name(tmp_path: Path, name: str) -> None:
    """Nothing is written, least of all elsewhere."""
    write_sweep(tmp_path, '"clock" = ["1 GHz"]')

    with pytest.raises(InputError, match="expected a plain name, such as my-sweep"):
        swept("tiny.toml", study=name)
    assert not (tmp_path / "runs").exists()


def test_a_start_that_fails_leaves_no_study(tmp_path: Path) -> None:
    """No folder for points, no server, no point left: then the next try is not refused."""
    write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    none = write_sweep(tmp_path, '"clock" = ["1 GHz"]', 'constraints = ["area_mm2 < 0.001"]', name="none")

    with pytest.raises(InputError, match=r"--points no/x.sqlite: there is no folder .*/no"):
        swept("tiny.toml", points="no/x.sqlite")
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "no").exists()
    with pytest.raises(InputError, match="cannot be opened"):
        swept("tiny.toml", points="postgresql://me@127.0.0.1:9/x")
    for _ in range(2):
        with pytest.raises(InputError, match="no point is left of 1"):
            swept(str(none))
    assert list((tmp_path / "runs/sweeps").iterdir()) == []
    assert swept("tiny.toml", jobs=1)["points"] == 1


@pytest.mark.parametrize("file", ["runs", "runs/sweeps", "runs/sweeps/tiny"])
def test_a_place_where_no_study_can_be_made_is_refused(tmp_path: Path, file: str) -> None:
    """Below a file: one message, at once, and nothing is made."""
    write_sweep(tmp_path, '"clock" = ["1 GHz"]')
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    before = sorted(tmp_path.rglob("*"))

    done = accelsim("sweep", "tiny.toml", "--quiet", cwd=tmp_path, code=2)

    assert done.stderr.startswith(
        f"accelsim: runs/sweeps/tiny: cannot be made ({tmp_path / file} is no folder)"
    )
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def run_until_idle(dispatcher: Dispatcher) -> list[Ended]:
    ended: list[Ended] = []
    while not dispatcher.idle:
        ended += dispatcher.step(1.0)
    return ended


def ended_of(items: list[Any], timeout_s: float | None = None, jobs: int = 2) -> dict[Any, str]:
    """Run items through a process pool and return the error of each; all its workers are gone after."""
    dispatcher = Dispatcher(LocalEngine(jobs), timeout_s, grace_s=4.0)
    for item in items:
        dispatcher.add(Task(work, item if isinstance(item[0], tuple) else (item,)))
    ended: list[Ended] = []
    try:
        while not dispatcher.idle:
            ended += dispatcher.step(1.0)
    finally:
        dispatcher.engine.close(now=True)
    assert all(e.error or e.result == [i[1] for i in e.task.items] for e in ended)
    assert all(e.wall_s >= (timeout_s or 0.0) for e in ended if e.error.startswith("took longer"))
    told = [(i, e.error) for e in ended for i in e.task.items]
    assert len(told) == len(dict(told))
    return dict(told)


def test_a_worker_that_dies_is_blamed_on_its_task_alone() -> None:
    """What was under way beside it is run again, and nothing twice."""
    good = [("give", i) for i in range(6)]

    told = ended_of([good[0], ("die", None), *good[1:]])

    assert told.pop(("die", None)) == "its worker died twice (out of memory, or a crash)"
    assert told == dict.fromkeys(good, "")


def test_one_item_that_kills_its_worker_does_not_take_its_group_along() -> None:
    """A task of several is taken apart."""
    told = ended_of([(("give", 1), ("die", None), ("give", 2))])

    assert [bool(told["give", 1]), bool(told["die", None]), bool(told["give", 2])] == [False, True, False]


def test_a_task_that_hangs_is_ended_and_the_others_go_on() -> None:
    """Its worker is killed; an exception is its task's own."""
    told = ended_of([("sleep", 60), ("raise", "x"), *(("give", i) for i in range(4))], timeout_s=2.0)

    assert told["sleep", 60] == "took longer than 2 s"
    assert told["raise", "x"] == "ValueError: x"
    assert all(told["give", i] == "" for i in range(4))


def test_a_time_limit_is_the_same_for_first_and_last(tmp_path: Path) -> None:
    """What a point took in its worker decides, not its place in the queue; the time is kept."""
    write_sweep(tmp_path, '"clock" = ["500 MHz", "600 MHz", "700 MHz", "800 MHz"]')

    told = swept("tiny.toml", jobs=1, timeout_s=0.0002)
    with sqlite3.connect(tmp_path / "runs/points.sqlite") as points:
        rows = list(points.execute("SELECT state, error, wall_s FROM points"))

    assert (told["points"], told["failed"]) == (0, 4)
    assert {(state, error) for state, error, _ in rows} == {("failed", "took longer than 0.0002 s")}
    assert all(wall_s > 0.0002 for _, _, wall_s in rows)
    assert swept("tiny.toml", jobs=1, timeout_s=60, retry=True, resume=True)["points"] == 4


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    """Trials that were under way are taken up again: as many as asked for in the end, each point run once."""
    keys = 'method = "nsga2"\nsamples = 40\npopulation = 8'
    write_sweep(tmp_path, '"clock" = { range = ["400 MHz", "1 GHz"] }', keys)
    call = [sys.executable, "-m", "accelsim", "sweep", "tiny.toml", "--resume", "--jobs", "2", "--quiet"]
    killed = subprocess.Popen(call, cwd=tmp_path, start_new_session=True)
    wait_until(partial(has_done, tmp_path, 9))
    killed.kill()
    killed.wait()
    wait_until(partial(gone, killed.pid))

    told = swept("tiny.toml", jobs=2, resume=True)
    found = view("tiny")

    assert told["points"] == 40
    assert [e.number for e in found.done] == list(range(40))
    assert {state for _, state, _ in points_in(tmp_path)} == {"done"}
    assert told["evaluated"] <= 31


def test_a_search_killed_as_it_asked_loses_no_sample(tmp_path: Path) -> None:
    """The trial without parameters gets them."""
    write_sweep(tmp_path, '"clock" = { range = ["400 MHz", "1 GHz"] }', 'method = "nsga2"\nsamples = 5')
    sweep = load_sweep("tiny.toml")
    make = partial(search, sweep.spec, sweep.space, "s", tmp_path, 2, 1)
    first = make()
    assert first.ask() is not None
    first._study.ask()  # and killed before any parameter

    again = make()
    asked = list(iter(again.ask, None))

    assert [number for number, _ in asked] == list(range(5))
    assert all("clock" in candidate.params for _, candidate in asked)
    assert again.exhausted


def test_ctrl_c_ends_it_with_all_that_is_done(tmp_path: Path) -> None:
    """Exit code 130; nothing stays claimed."""
    write_sweep(tmp_path, '"clock" = { range = ["400 MHz", "1 GHz"], levels = 400 }')
    call = [sys.executable, "-m", "accelsim", "sweep", "tiny.toml", "--jobs", "2"]
    running = subprocess.Popen(call, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(partial(has_done, tmp_path, 4))
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=30)[1]

    assert running.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said
    assert {state for _, state, _ in points_in(tmp_path)} == {"done"}
    wait_until(partial(gone, running.pid))


@pytest.mark.parametrize(("whole_group", "after_s"), [(True, 0.05), (False, 0.4)])
def test_ctrl_c_while_workers_start_is_quiet(tmp_path: Path, whole_group: bool, after_s: float) -> None:
    """Whoever gets it: nothing but the two lines, from the fork server's first imports on."""
    write_sweep(tmp_path)
    call = [sys.executable, "-m", "accelsim", "sweep", "tiny.toml", "--jobs", "2", "--quiet"]
    running = subprocess.Popen(call, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: any("forkserver" in name for name in children(running.pid)))
    time.sleep(after_s)
    (os.killpg if whole_group else os.kill)(running.pid, signal.SIGINT)
    said = running.communicate(timeout=30)[1]

    assert (running.returncode, len(said.splitlines())) == (130, 2), said
    wait_until(partial(gone, running.pid))


def children(pid: int) -> list[str]:
    """Return the command lines of a process's children."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            found.append(Path(f"/proc/{child}/cmdline").read_text())
    return found
