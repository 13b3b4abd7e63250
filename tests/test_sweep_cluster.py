"""Sweeps on more than one machine: Dask's workers, and points in PostgreSQL for several controllers."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from accelsim.errors import InputError
from accelsim.sweep.daskengine import DaskEngine
from accelsim.sweep.dispatch import Dispatcher, Task
from accelsim.sweep.evaluate import Outcome
from accelsim.sweep.runner import engine_of
from accelsim.sweep.store import POINTS, Row, Store
from tests.servers import Cluster, free_port, postgres
from tests.sweeps import swept, work, write_sweep


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A scheduler and two workers; a task is given up at its first worker's death."""
    with Cluster(2, allowed_failures=0) as running:
        yield running


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a server of our own."""
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty database of either kind."""
    where = str(tmp_path / "points.sqlite")
    if request.param == "postgresql":
        where = request.getfixturevalue("database")
    made = Store(where)
    with made.engine.begin() as connection:
        connection.execute(sa.delete(POINTS))
    yield made
    made.close()


# -- the contract of both databases ----------------------------------------------------------------


def test_a_point_is_claimed_once(store: Store) -> None:
    """By whoever comes first; what is done is never claimed again."""
    other = Store(store.where)

    assert store.claim(["a", "b"]) == {"a", "b"}
    assert other.claim(["a", "b", "c"]) == {"c"}
    store.finish([Outcome("a", {"cycles": 1.0}, "", 0.5), Outcome("b", None, "broken", 0.1)])
    assert other.claim(["a", "b"]) == set()
    assert other.claim(["a", "b"], retry=True) == {"b"}
    assert other.outcomes(["a", "c"]) == {"a": Outcome("a", {"cycles": 1.0}, "", 0.5)}
    other.close()


def test_what_is_released_or_out_of_lease_can_be_claimed(store: Store) -> None:
    """A controller that is interrupted, and one that is killed on another machine."""
    other = Store(store.where)
    store.claim(["a", "b"])
    store.release()
    assert other.claim(["a"]) == {"a"}
    with store.engine.begin() as connection:
        connection.execute(sa.update(POINTS).values(owner="elsewhere:1:x"))
    assert store.claim(["a"]) == set()
    with store.engine.begin() as connection:
        connection.execute(sa.update(POINTS).values(lease=time.time() - 1))
    assert store.claim(["a"]) == {"a"}
    other.close()


def test_what_a_dead_process_of_this_machine_claimed_is_free(store: Store) -> None:
    """At once, without waiting for its lease."""
    code = f"from accelsim.sweep.store import Store; Store({store.where!r}).claim(['a'])"
    subprocess.run([sys.executable, "-c", code], check=True)

    assert store.claim(["a"]) == {"a"}


def test_candidates_come_back_as_they_were_put(store: Store) -> None:
    """The last state of each, by number."""
    row = Row(1, "open", {"clock": "1 GHz"}, {"clock": "1 GHz", "bank.x.count": 2}, ("a", "b"), "")
    done = Row(1, "done", row.params, row.settings, row.ids, "")
    store.put("s", [Row(2, "failed", {}, {}, (), "why"), row])
    store.put("s", [done])

    assert store.candidates("s") == [done, Row(2, "failed", {}, {}, (), "why")]


# -- several controllers ---------------------------------------------------------------------------


def test_two_controllers_share_a_study_in_postgresql(database: str, tmp_path: Path) -> None:
    """Each point is run by one of them; both end with all of them."""
    write_sweep(tmp_path, '"clock" = { range = ["500 MHz", "1 GHz"], levels = 24 }')
    call = [sys.executable, "-m", "accelsim", "sweep", str(tmp_path / "tiny.toml"), "--points", database]
    call += ["--study", "shared", "--jobs", "1", "--json"]
    folders = [tmp_path / "one", tmp_path / "two"]
    running = []
    for folder in folders:
        folder.mkdir()
        running.append(
            subprocess.Popen(call, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    told = [_told(process) for process in running]

    assert [t["points"] for t in told] == [24, 24]
    assert sum(t["evaluated"] for t in told) == 24
    assert told[0]["front"] == told[1]["front"]


def test_a_search_keeps_its_trials_in_postgresql(database: str, tmp_path: Path) -> None:
    """Optuna's own tables beside ours."""
    keys = 'method = "nsga2"\nsamples = 6\npopulation = 3'
    write_sweep(tmp_path, '"clock" = { range = ["500 MHz", "1 GHz"] }', keys)

    told = swept("tiny.toml", points=database, study="searched", jobs=1)
    again = swept("tiny.toml", points=database, study="searched", jobs=1, resume=True)

    assert (told["points"], again["points"], again["evaluated"]) == (6, 6, 0)
    assert not (tmp_path / "runs/sweeps/searched/optuna.journal").exists()


def test_two_controllers_share_the_samples_of_a_search(database: str, tmp_path: Path) -> None:
    """One budget: together they do as many as were asked for, and the last tells all that is done."""
    keys = 'method = "nsga2"\nsamples = 24\npopulation = 6'
    write_sweep(tmp_path, '"clock" = { range = ["500 MHz", "1 GHz"] }', keys)
    call = [sys.executable, "-m", "accelsim", "sweep", str(tmp_path / "tiny.toml"), "--points", database]
    call += ["--study", "budget", "--jobs", "1", "--json", "--quiet"]
    running = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        running.append(
            subprocess.Popen(call, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    told = [_told(process) for process in running]
    store = Store(database)
    numbers = [row.number for row in store.candidates("budget")]
    store.close()

    assert numbers == list(range(24))
    assert max(t["points"] for t in told) == 24
    assert sum(t["evaluated"] for t in told) <= 24


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    import json

    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    told: dict[str, Any] = json.loads(out)
    return told


def test_a_server_that_is_not_there_is_named() -> None:
    """Without the password."""
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/x"

    with pytest.raises(
        InputError, match=r"--points postgresql\+?\w*://me:\*\*\*@127.0.0.1:\d+/x: cannot be opened"
    ):
        Store(url)


# -- Dask ------------------------------------------------------------------------------------------


def test_a_sweep_runs_on_dask_workers(cluster: Cluster, tmp_path: Path) -> None:
    """The same front as with processes of this machine, and nothing twice."""
    write_sweep(tmp_path)

    told = swept("tiny.toml", executor=f"dask:{cluster.address}")
    here = swept("tiny.toml", study="here", points="here.sqlite")

    assert (told["points"], told["evaluated"], told["front"]) == (12, 12, here["front"])


def test_exceptions_and_dying_workers_are_their_tasks_own(cluster: Cluster) -> None:
    """Nannies start workers again; the good tasks come through."""
    dispatcher = Dispatcher(DaskEngine(cluster.address))
    for item in [("give", 1), ("raise", "x"), ("die", None), ("give", 2)]:
        dispatcher.add(Task(work, (item,)))
    ended = []
    while not dispatcher.idle:
        ended += dispatcher.step(1.0)
    dispatcher.engine.close()
    told = {e.task.items[0]: e.error for e in ended}

    assert len(ended) == 4
    assert (told["give", 1], told["give", 2], told["raise", "x"]) == ("", "", "ValueError: x")
    assert told["die", None].startswith("its worker died twice")


def test_a_killed_dask_worker_loses_nothing(tmp_path: Path) -> None:
    """Killed with its nanny in the middle of a sweep; the other one does the rest."""
    write_sweep(tmp_path, '"clock" = { range = ["400 MHz", "1 GHz"], levels = 60 }')
    with Cluster(2) as own:
        engine_of(f"dask:{own.address}", 0).close()
        killer = threading.Timer(1.5, own.kill, [own.workers[0]])
        killer.start()
        told = swept("tiny.toml", executor=f"dask:{own.address}")
        killer.join()
        with Store(told_points(tmp_path)).engine.connect() as connection:
            states = [row[0] for row in connection.execute(sa.select(POINTS.c.state))]

    assert told["points"] == 60
    assert states == ["done"] * 60


def told_points(folder: Path) -> str:
    """Return where the points of a sweep in ``folder`` are."""
    return str(folder / "runs" / "points.sqlite")


@pytest.mark.parametrize("address", ["", "host", "tcp://", "tcp://:8786", "nonsense://host:1"])
def test_what_is_no_address_is_refused_at_once(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """No client is made, which would linger and end in a traceback."""
    began = time.monotonic()

    with pytest.raises(
        InputError, match=r"expected the address of a scheduler, such as dask:tcp://host:8786"
    ):
        engine_of(f"dask:{address}", 0)
    assert time.monotonic() - began < 5
    gc.collect()
    assert "Traceback" not in capfd.readouterr().err


def test_a_dead_scheduler_is_told_within_ten_seconds(tmp_path: Path) -> None:
    """And nothing is begun."""
    write_sweep(tmp_path)
    began = time.monotonic()

    with pytest.raises(InputError, match="no scheduler answers there"):
        swept("tiny.toml", executor=f"dask:tcp://127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 10
    assert not (tmp_path / "runs").exists()
