"""A sweep from its file to a study with all its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelsim.errors import InputError
from accelsim.sweep import study as studies
from accelsim.sweep.controller import Controller
from accelsim.sweep.dispatch import Dispatcher, Engine
from accelsim.sweep.methods import Method, listed
from accelsim.sweep.pareto import ranks
from accelsim.sweep.places import plain, refuse_no_folder, refuse_no_place
from accelsim.sweep.plan import Sweep, load_sweep
from accelsim.sweep.spec import SEARCHES
from accelsim.sweep.store import Store, is_url
from accelsim.sweep.study import Study
from accelsim.sweep.tally import Tally
from accelsim.sweep.works import Works, capture

Progress = Callable[[Tally], None]


@dataclass(frozen=True)
class Asked:
    """What the user asked for, besides the file."""

    jobs: int = 0
    executor: str = "local"
    resume: bool = False
    retry: bool = False
    limit: int | None = None
    points: str | None = None
    study: str | None = None
    timeout_s: float | None = None


def run_sweep(file: str, asked: Asked, progress: Progress | None = None) -> tuple[Study, Tally]:
    """Run the sweep of ``file``, or go on with it.

    Raises:
        InputError: The file, the study, or the executor is at fault.
        KeyboardInterrupt: The user has seen enough; all that is done is kept.
    """
    sweep = load_sweep(file)
    name = plain(sweep.name if asked.study is None else asked.study)
    if asked.points is not None and not is_url(asked.points):
        refuse_no_folder(Path(asked.points), "--points")
    refuse_no_place(studies.STUDIES / name)
    if asked.points is None:
        refuse_no_place(studies.POINTS.parent)
    works = capture(sweep)
    points = asked.points or studies.points_of(name) or str(studies.POINTS)
    digest = sweep.digest(works.of(sweep.machine))
    engine = engine_of(asked.executor, asked.jobs)
    fresh = not studies.there(name)
    try:
        study = studies.started(name, points, digest, sweep.path, asked.resume)
        with studies.undone_if_it_fails(study, fresh):
            store = study.store()
    except BaseException:
        engine.close(now=True)
        raise
    try:
        with studies.alone(study), studies.undone_if_it_fails(study, fresh, store):
            studies.entered(study, store)
            tally = _run(sweep, works, study, store, engine, asked, progress)
            studies.write_ids(study, store)
    finally:
        engine.close(now=True)
        store.close()
    return study, tally


def _run(
    sweep: Sweep,
    works: Works,
    study: Study,
    store: Store,
    engine: Engine,
    asked: Asked,
    progress: Progress | None,
) -> Tally:
    def controller(estimate: bool, only: Callable[[int], bool] | None) -> Controller:
        """Return the controller that estimates points, or simulates those that ``only`` lets through."""
        return Controller(
            sweep,
            works,
            study.name,
            store,
            _method(sweep, study, engine),
            Dispatcher(engine, asked.timeout_s),
            limit=None if estimate else asked.limit,
            retry=asked.retry,
            estimate=estimate,
            only=only,
            progress=progress,
        )

    only = None
    if sweep.spec.fidelity.rank == "estimate":
        first = controller(True, None)
        first.run()
        engine.restart()
        only = _best(first.costs, sweep.spec.fidelity.keep)
    return controller(False, only).run()


def _best(costs: dict[int, list[float]], keep: float) -> Callable[[int], bool]:
    """Return whether a candidate's estimate is among the best ``keep`` of all: by fronts, then by number."""
    order = sorted(zip(ranks(list(costs.values())), costs, strict=True))
    kept = {number for _, number in order[: max(1, round(keep * len(order)))]}
    return lambda number: number in kept


def _method(sweep: Sweep, study: Study, engine: Engine) -> Method:
    if sweep.spec.method not in SEARCHES:
        return listed(sweep.spec, sweep.space)
    from accelsim.sweep.search import search

    where: str | Path = study.about.points if is_url(study.about.points) else study.path
    return search(sweep.spec, sweep.space, study.name, where, len(sweep.objectives), engine.slots)


def engine_of(executor: str, jobs: int) -> Engine:
    """Return the engine that ``--executor`` names.

    Raises:
        InputError: There is none of that name, or its scheduler does not answer.
    """
    if executor == "local":
        from accelsim.sweep.local import LocalEngine

        return LocalEngine(jobs)
    if executor.startswith("dask:"):
        from accelsim.sweep.daskengine import DaskEngine

        return DaskEngine(executor.removeprefix("dask:"), jobs)
    raise InputError(f'--executor {executor}: expected "local" or "dask:tcp://host:port"')
