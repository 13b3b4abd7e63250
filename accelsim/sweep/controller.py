"""The one controller of a study: asks its method, has points evaluated, tells the method what became of them.

A candidate is: resolved to machines and points; left out if a constraint on the machine fails, or if its
bounds lose to a point that is done; looked up among the points that are done already; else claimed and
evaluated. Candidates that need the same simulation go to a worker together.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.resolve.machine import Machine
from accelsim.sweep.bounds import BOUNDED, loses, lower_bounds
from accelsim.sweep.dispatch import Dispatcher, Ended, Task
from accelsim.sweep.evaluate import Job, Outcome, evaluate, point_id, timing_key
from accelsim.sweep.expression import Expression, ExpressionError
from accelsim.sweep.figures import Figures, combined, everything, figure, of_machine
from accelsim.sweep.methods import Method, Numbered, Verdict
from accelsim.sweep.plan import Sweep
from accelsim.sweep.space import Candidate
from accelsim.sweep.store import LEASE_S, Row, Store
from accelsim.sweep.works import Works

TOGETHER: Final = 16  # points of one simulation in a task, where all workers are at the same simulation
ALL: Final = 64  # and where there are enough others
POLL_S: Final = 0.5  # of points that another controller runs
ENDED: Final = ("done", "failed", "infeasible", "ruled out")


@dataclass
class Tally:
    """How far a study is. ``evaluated`` counts the points run now, ``reused`` those that were done before."""

    total: int = 0
    states: Counter[str] = field(default_factory=Counter)
    evaluated: int = 0
    reused: int = 0
    began: float = field(default_factory=time.monotonic)
    best: dict[str, float] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)  # by constraint
    last_error: str = ""

    @property
    def ended(self) -> int:
        """Candidates of which it is known what became of them."""
        return sum(self.states.values())

    @property
    def rate(self) -> float:
        """Points evaluated per second."""
        return self.evaluated / max(1e-9, time.monotonic() - self.began)


@dataclass
class _Open:
    """A candidate under way: its machine, its jobs by point, and what is known of them."""

    number: int
    candidate: Candidate
    machine: Machine
    jobs: dict[str, Job]
    found: dict[str, Outcome] = field(default_factory=dict)

    @property
    def missing(self) -> list[Job]:
        return [job for one, job in self.jobs.items() if one not in self.found]

    def row(self, state: str, why: str = "") -> Row:
        return Row(self.number, state, self.candidate.params, self.candidate.settings, tuple(self.jobs), why)


class Controller:
    """Runs a study to its end, its limit, or an interruption."""

    def __init__(
        self,
        sweep: Sweep,
        works: Works,
        study: str,
        store: Store,
        method: Method,
        dispatcher: Dispatcher,
        *,
        limit: int | None = None,
        retry: bool = False,
        estimate: bool = False,
        only: Callable[[int], bool] | None = None,
        progress: Callable[[Tally], None] | None = None,
    ) -> None:
        self.sweep, self.works, self.study, self.store = sweep, works, study, store
        self.method, self.dispatcher = method, dispatcher
        self.limit, self.retry, self.estimate, self.only = limit, retry, estimate, only
        self.progress = progress or (lambda _: None)
        self.tally = Tally(total=method.total)
        self.costs: dict[int, list[float]] = {}
        self._rows = {r.number: r for r in store.candidates(study)} if not estimate else {}
        self._front: list[Figures] = []
        for number in sorted(set(self._rows) - method.will_ask) if method.will_ask is not None else ():
            if self._rows[number].state in ENDED:
                self._known(self._rows[number])
        self._open: dict[int, _Open] = {}
        self._waiting: dict[str, list[_Open]] = {}  # by simulation, not yet dispatched
        self._by_point: dict[str, list[_Open]] = {}
        self._foreign: dict[str, float] = {}  # point -> when to look again
        self._ours: set[str] = set()  # points that we have claimed
        self._renewed = time.monotonic()
        self._exhausted = False

    def run(self) -> Tally:
        """Run, and return how far it came.

        Raises:
            InputError: A figure is asked for that points do not have, or constraints leave no candidate.
        """
        ok = False
        try:
            while self._go_on():
                pass
            ok = True
        finally:
            self.dispatcher.engine.close(now=not ok)
            self.store.release()
            self.method.close()
        self._refuse_if_nothing_is_left()
        return self.tally

    def _go_on(self) -> bool:
        self._ask()
        self._dispatch()
        if self.dispatcher.idle and not self._foreign:
            return bool(self._open) or not self._exhausted
        self._take(self.dispatcher.step(0.2 if self._foreign else 1.0))
        self._look_at_foreign()
        self._renew()
        self.progress(self.tally)
        return True

    # -- candidates ------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Take as many candidates as the method looks ahead."""
        batch: list[_Open] = []
        rows: list[Row] = []
        while len(self._open) + len(batch) < self.method.ahead and not self._exhausted:
            if self.limit is not None and self.tally.ended + len(self._open) + len(batch) >= self._last:
                self._exhausted = True
                break
            asked = self.method.ask()
            if asked is None:
                self._exhausted = self.method.exhausted
                break
            found = self._begun(asked)
            if isinstance(found, _Open):
                batch.append(found)
            elif found is not None:
                rows.append(found)
        if not self.estimate:
            self.store.put(self.study, [*rows, *(o.row("open") for o in batch)])
        self._open |= {o.number: o for o in batch}
        known = self.store.outcomes(one for o in batch for one in o.jobs)
        for o in batch:
            self._place(o, known)

    @property
    def _last(self) -> int:
        """How many candidates may have an end when the limit is reached."""
        before = sum(1 for r in self._rows.values() if r.state in ENDED)
        return before + (self.limit or 0)

    def _begun(self, asked: Numbered) -> _Open | Row | None:
        """Return the open candidate; its row if it is left out; None if its end is known already."""
        number, candidate = asked
        before = self._rows.get(number)
        if self.only is not None and not self.only(number):
            return self._left_out(number, candidate, "ruled out", "its estimate ranks too low")
        if self.method.will_ask is None and before is not None and self._is_over(before):
            self._known(before)
            return None
        try:
            machine = self.sweep.machine_of(candidate.settings)
        except InputError as exc:
            self.tally.last_error = str(exc)
            self.tally.excluded["no such machine"] += 1
            return self._left_out(number, candidate, "infeasible", str(exc))
        context = {**of_machine(machine), **self.sweep.space.numbers(candidate)}
        excess = self._excess(context, early=True)
        if any(excess.values()):
            self.tally.excluded.update(text for text, by in excess.items() if by)
            text = next(text for text, by in excess.items() if by)
            return self._left_out(number, candidate, "infeasible", text, excess)
        jobs = {}
        for work in self.works.of(machine):
            one = point_id(machine, work)
            one = f"e{one[1:]}" if self.estimate else one
            jobs[one] = Job(one, machine, work, self.estimate)
        return _Open(number, candidate, machine, jobs)

    def _left_out(
        self,
        number: int,
        candidate: Candidate,
        state: str,
        why: str,
        excess: Mapping[str, float] | None = None,
    ) -> Row:
        self.tally.states[state] += 1
        self.method.tell(number, Verdict(None, excess or {}))
        return Row(number, state, candidate.params, candidate.settings, (), why)

    def _is_over(self, row: Row) -> bool:
        return row.state in ENDED and not (self.retry and row.state == "failed")

    def _known(self, row: Row) -> None:
        """Take over what an earlier call found out about a candidate."""
        self.tally.states[row.state] += 1
        self.tally.reused += len(row.ids) if row.state == "done" else 0
        found = self.store.outcomes(row.ids)
        figures = [o.figures for o in found.values() if o.figures is not None]
        if row.state == "done" and len(figures) == len(row.ids):
            self._enter(combined(figures))
        if row.state == "infeasible":
            known = {c.text for c in self.sweep.constraints}
            self.tally.excluded[row.why if row.why in known else "no such machine"] += 1
            self.tally.last_error = "" if row.why in known else row.why

    def _place(self, o: _Open, known: Mapping[str, Outcome]) -> None:
        """Enter what is known of a candidate's points, and let the rest wait for workers."""
        for one in o.jobs:
            outcome = known.get(one)
            if outcome is not None and not (self.retry and outcome.figures is None):
                o.found[one] = outcome
                self.tally.reused += 1
            else:
                self._by_point.setdefault(one, []).append(o)
        if not o.missing:
            self._finish(o)
            return
        key = timing_key(o.machine, o.missing[0].work)
        self._waiting.setdefault(key, []).append(o)

    # -- points ----------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give the free workers something to do."""
        room = self.dispatcher.room
        while room > 0 and self._waiting:
            key = next(iter(self._waiting))
            many = TOGETHER if len(self._waiting) < self.dispatcher.engine.slots else ALL
            group = self._waiting[key][:many]
            del self._waiting[key][:many]
            if not self._waiting[key]:
                del self._waiting[key]
            jobs = self._claimed([o for o in group if not self._ruled_out(o)])
            if jobs:
                self.dispatcher.add(Task(evaluate, tuple(jobs)))
                room -= 1

    def _claimed(self, group: list[_Open]) -> list[Job]:
        """Return the jobs of a group that are ours to run; of others the outcome is awaited."""
        wanted = {job.id: job for o in group for job in o.missing}
        wanted = {
            one: job for one, job in wanted.items() if one not in self._foreign and one not in self._ours
        }
        if not wanted:
            return []
        ours = self.store.claim(list(wanted), self.retry)
        self._ours |= ours
        for one in wanted:
            if one not in ours:
                self._foreign[one] = time.monotonic()
        return [job for one, job in wanted.items() if one in ours]

    def _take(self, ended: list[Ended]) -> None:
        """Enter the outcomes of tasks."""
        for end in ended:
            outcomes = (
                end.result if end.result is not None else [_failed(job, end.error) for job in end.task.items]
            )
            self.store.finish(outcomes)
            self.tally.evaluated += len(outcomes)
            for outcome in outcomes:
                self._arrived(outcome)

    def _arrived(self, outcome: Outcome) -> None:
        for o in self._by_point.pop(outcome.id, []):
            o.found[outcome.id] = outcome
            if not o.missing:
                self._finish(o)

    def _look_at_foreign(self) -> None:
        """Ask for points that others run; one that its controller gave up becomes ours."""
        now = time.monotonic()
        due = [one for one, at in self._foreign.items() if at <= now]
        if not due:
            return
        for outcome in self.store.outcomes(due).values():
            del self._foreign[outcome.id]
            self.tally.reused += 1
            self._arrived(outcome)
        for one in due:
            if one in self._foreign:
                self._foreign[one] = now + POLL_S
                if self.store.claim([one]):
                    del self._foreign[one]
                    job = self._by_point[one][0].jobs[one]
                    self.dispatcher.add(Task(evaluate, (job,)))

    def _renew(self) -> None:
        if time.monotonic() - self._renewed > LEASE_S / 3:
            self._renewed = time.monotonic()
            self.store.renew()

    # -- ends ------------------------------------------------------------------------------------

    def _ruled_out(self, o: _Open) -> bool:
        """Return whether a candidate cannot win, by its bounds; then it is at its end."""
        if o.found or not self._bounds_apply:
            return False
        bounds = combined([lower_bounds(o.machine, self.works.graph(j.work)) for j in o.jobs.values()])
        if not any(loses(bounds, other, self._costs) for other in self._front):
            return False
        for one in o.jobs:
            self._by_point.pop(one, None)
        self._end(o, "ruled out", "its lower bounds lose to a point that is done", Verdict(None, {}))
        return True

    @property
    def _bounds_apply(self) -> bool:
        named = all(goal.name in BOUNDED and not goal.large for goal in self.sweep.objectives)
        return self.sweep.spec.fidelity.bounds and named and not self.estimate

    def _costs(self, figures: Mapping[str, float]) -> list[float]:
        return [goal.cost(figures) for goal in self.sweep.objectives]

    def _finish(self, o: _Open) -> None:
        """End a candidate whose points are all known."""
        errors = [out.error for out in o.found.values() if out.figures is None]
        if errors:
            self.tally.last_error = errors[0]
            self._end(o, "failed", errors[0], Verdict(None, {}, failed=True))
            return
        figures = combined([o.found[one].figures or {} for one in o.jobs])
        costs = self._costs(figures)
        excess = self._excess({**everything(figures), **self.sweep.space.numbers(o.candidate)}, early=False)
        broken = [text for text, by in excess.items() if by]
        self.costs[o.number] = costs
        if broken:
            self.tally.excluded.update(broken)
            self._end(o, "infeasible", broken[0], Verdict(costs, excess))
            return
        self._enter(figures)
        self._end(o, "done", "", Verdict(costs, excess))

    def _end(self, o: _Open, state: str, why: str, verdict: Verdict) -> None:
        del self._open[o.number]
        self.tally.states[state] += 1
        if not self.estimate:
            self.store.put(self.study, [o.row(state, why)])
        self.method.tell(o.number, verdict)

    def _enter(self, figures: Figures) -> None:
        """Let a feasible point count for the best so far, and for what others must beat."""
        for goal in self.sweep.objectives:
            value = figure(figures, goal.name)
            best = self.tally.best.get(goal.name, value)
            self.tally.best[goal.name] = max(best, value) if goal.large else min(best, value)
        costs = self._costs(figures)
        if not any(_dominates(self._costs(other), costs) for other in self._front):
            self._front = [f for f in self._front if not _dominates(costs, self._costs(f))] + [figures]

    def _excess(self, names: Mapping[str, Any], early: bool) -> dict[str, float]:
        """Return how far each constraint is from holding; early: those that the machine alone decides."""
        found = {}
        for constraint in self.sweep.constraints:
            if early and any(name not in names for name in constraint.names):
                continue
            found[constraint.text] = _excess(constraint, names)
        return found

    def _refuse_if_nothing_is_left(self) -> None:
        left_out = self.tally.states["infeasible"]
        if left_out and left_out == self.tally.ended and self._exhausted and self.limit is None:
            parts = [
                f'"{text}" rules out {n}'
                for text, n in self.tally.excluded.items()
                if text != "no such machine"
            ]
            if self.tally.excluded["no such machine"]:
                n = self.tally.excluded["no such machine"]
                parts.append(f"{n} are no machine, such as: {self.tally.last_error}")
            raise InputError(f"no point is left of {left_out}: " + "; ".join(parts))


def _excess(constraint: Expression, names: Mapping[str, Any]) -> float:
    """Return how far a constraint is from holding; one on a parameter that was left out holds."""
    try:
        return constraint.excess(names)
    except ExpressionError:
        if all(name in names or name.startswith(("bank.", "mix.")) for name in constraint.names):
            return 0.0
        raise


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _failed(job: Job, error: str) -> Outcome:
    return Outcome(job.id, None, error, 0.0)
