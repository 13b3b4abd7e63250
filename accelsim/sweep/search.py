"""Searches by Optuna: asked for a trial, told its figures; its own storage remembers them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.sweep.methods import Numbered, Verdict
from accelsim.sweep.space import Candidate, Space
from accelsim.sweep.spec import SweepSpec

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.journal"
CUT = "mix.cut"


class Search:
    """An Optuna study. Trials that a killed controller left behind are taken up again.

    Its samples are one budget: controllers that share the study share it, by the numbers of the trials.
    """

    exhausted = False
    will_ask: frozenset[int] | None

    def __init__(self, study: optuna.Study, storage: Any, spec: SweepSpec, space: Space, ahead: int) -> None:
        self._storage = storage
        self.total = spec.samples
        self.ahead = ahead
        self._study: Any = study
        self._space = space
        self._axes = _distributions(space)
        self._running: list[Any] = []
        self._shared = hasattr(storage, "engine")  # a database server, where others may be at work
        self._take_up()

    def _take_up(self) -> None:
        from optuna.trial import Trial, TrialState

        trials = self._study.get_trials(deepcopy=False)
        self._running = [Trial(self._study, t._trial_id) for t in trials if t.state == TrialState.RUNNING]
        self._by_number: dict[int, Any] = {t.number: t for t in self._running}
        self.will_ask = frozenset(self._by_number)

    def ask(self) -> Numbered | None:
        """Return the next trial's candidate."""
        while self._running:
            trial = self._running.pop(0)
            if not self._shared:  # it may have been killed as it was being asked for
                for name, distribution in self._axes.items():
                    trial._suggest(name, distribution)
            if set(trial.params) == set(self._axes):
                return trial.number, self._candidate(trial.params)
            del self._by_number[trial.number]  # another controller may be asking for it right now
        if len(self._study.get_trials(deepcopy=False)) >= self.total:
            self.exhausted = True
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._axes)
        if trial.number >= self.total:  # others asked meanwhile
            self._study.tell(trial, state=_state("FAIL"))
            self.exhausted = True
            return None
        self._by_number[trial.number] = trial
        return trial.number, self._candidate(trial.params)

    def _candidate(self, params: dict[str, Any]) -> Candidate:
        choice = {
            a.name: (a.values[params[a.name]] if a.values else a.written(params[a.name]))
            for a in self._space.axes
        }
        mix = self._space.mix
        cuts = [params[name] for name in params if name.startswith(CUT)]
        return self._space.candidate(choice, mix.of_cuts(cuts) if mix else ())

    def tell(self, number: int, verdict: Verdict) -> None:
        """Enter a trial's figures; one without any is failed, or pruned if it was left out on purpose."""
        trial = self._by_number.pop(number, None)
        if trial is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, excess in verdict.excess.items():
                trial.set_constraint(name, excess)
            if verdict.costs is None:
                state = _state("FAIL" if verdict.failed else "PRUNED")
                self._study.tell(trial, state=state, skip_if_finished=True)
            else:
                self._study.tell(trial, verdict.costs, skip_if_finished=True)

    def close(self) -> None:
        """Close the connections of a database."""
        if hasattr(self._storage, "engine"):
            self._storage.remove_session()
            self._storage.engine.dispose()


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _distributions(space: Space) -> dict[str, Any]:
    from optuna import distributions as d

    found: dict[str, Any] = {}
    for axis in space.axes:
        if axis.values:
            found[axis.name] = d.CategoricalDistribution(tuple(range(len(axis.values))))
        elif axis.whole:
            found[axis.name] = d.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        else:
            found[axis.name] = d.FloatDistribution(axis.low, axis.high, log=axis.log)
    for i in range(len(space.mix.groups) - 1 if space.mix else 0):
        assert space.mix is not None
        found[f"{CUT}{i}"] = d.IntDistribution(0, space.mix.steps)
    return found


def search(
    spec: SweepSpec, space: Space, name: str, where: str | Path, objectives: int, ahead: int
) -> Search:
    """Return the search of a study: its journal in the folder ``where``, or its tables at that URL."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samplers: dict[str, Any] = {
            "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=spec.population, seed=spec.seed),
            "tpe": lambda: optuna.samplers.TPESampler(seed=spec.seed),
        }
        storage = _storage(where)
        create: Any = optuna.create_study  # decorated without types
        study = create(
            storage=storage,
            study_name=name,
            sampler=samplers[spec.method](),
            directions=["minimize"] * objectives,
            load_if_exists=True,
        )
    return Search(study, storage, spec, space, ahead)


def _storage(where: str | Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if isinstance(where, str):
        return optuna.storages.RDBStorage(where.replace("postgresql://", "postgresql+psycopg://", 1))
    file = where / JOURNAL
    _mend(file)
    backend: Any = JournalFileBackend(str(file))
    return optuna.storages.JournalStorage(backend)


def _mend(file: Path) -> None:
    """Remove what a killed controller left half written: its lock, and a last line without an end."""
    for lock in file.parent.glob(f"{file.name}.lock*"):
        lock.unlink(missing_ok=True)
    if file.is_file():
        data = file.read_bytes()
        if not data.endswith(b"\n"):
            file.write_bytes(data[: data.rfind(b"\n") + 1])
