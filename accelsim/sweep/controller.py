"""The one controller of a study: asks its method, has points evaluated, tells the method what became of them.

A candidate is: resolved to machines and points; left out if a constraint on the machine fails, or if its
bounds lose to a point that is done; looked up among the points that are done already; else claimed and
evaluated. Candidates that need the same simulation go to a worker together. Where points are trained, a
candidate is simulated first, as a point of its own; it is trained unless its figures rule it out already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.resolve.machine import Machine
from accelsim.sweep.blame import Blame
from accelsim.sweep.bounds import BOUNDED, loses, lower_bounds
from accelsim.sweep.dispatch import Dispatcher, Ended, Task
from accelsim.sweep.evaluate import Job, Outcome, Work, evaluate, point_id, timing_key
from accelsim.sweep.figures import TRAINED, Figures, combined, everything, figure, of_machine
from accelsim.sweep.methods import Method, Numbered, Verdict
from accelsim.sweep.plan import Sweep
from accelsim.sweep.space import Candidate
from accelsim.sweep.store import LEASE_S, Row, Store
from accelsim.sweep.tally import NO_MACHINE, Open, Tally, as_now, excess_of, outcomes_of
from accelsim.sweep.training import at_best
from accelsim.sweep.works import Works

TOGETHER: Final = 16  # points of one simulation in a task, where all workers are at the same simulation
ALL: Final = 64  # and where there are enough others
POLL_S: Final = 0.5  # of points that another controller runs
ENDED: Final = ("done", "failed", "infeasible", "ruled out", NO_MACHINE)


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
        self._rows = {r.number: r for r in self._candidates()} if not estimate else {}
        self._front: list[Figures] = []
        self._blame = Blame(sweep.machine_of)
        self._ours, self._counted = set[str](), set[int]()  # points we have claimed; candidates in the tally
        for number in sorted(set(self._rows) - method.will_ask) if method.will_ask is not None else ():
            if self._rows[number].state in ENDED:
                self._known(self._rows[number])
        self._open: dict[int, Open] = {}
        self._waiting: dict[str, list[Open]] = {}  # by simulation, not yet dispatched
        self._by_point: dict[str, list[Open]] = {}
        self._foreign: dict[str, float] = {}  # point -> when to look again
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
        self._count_others()
        if self._exhausted and self.limit is None:
            self.tally.refuse_if_nothing_is_left()
        return self.tally

    def _candidates(self) -> list[Row]:
        return as_now(self.store.candidates(self.study), self.sweep.constraints)

    def _count_others(self) -> None:
        """Enter what other controllers of a search made of its candidates: together they are the study."""
        searching = self.method.will_ask is not None and not self.estimate
        for row in self._candidates() if searching else ():
            if row.number not in self._counted and row.state in ENDED:
                self._known(row)

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
        batch: list[Open] = []
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
            if isinstance(found, Open):
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

    def _begun(self, asked: Numbered) -> Open | Row | None:
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
            self.tally.last_error = self._blame.why(candidate, exc)
            return self._left_out(number, candidate, NO_MACHINE, self.tally.last_error)
        context = {**of_machine(machine), **self.sweep.space.numbers(candidate)}
        excess = self._excess(context, early=True)
        if any(excess.values()):
            self.tally.excluded.update(text for text, by in excess.items() if by)
            text = next(text for text, by in excess.items() if by)
            return self._left_out(number, candidate, "infeasible", text, excess)
        works = [replace(work, training=None) for work in self.works.of(machine)]
        return Open(number, candidate, machine, self._jobs(machine, works))

    def _jobs(self, machine: Machine, works: Iterable[Work]) -> dict[str, Job]:
        jobs = {}
        for work in works:
            one = point_id(machine, work)
            one = f"e{one[1:]}" if self.estimate else one
            jobs[one] = Job(one, machine, work, self.estimate)
        return jobs

    def _left_out(
        self,
        number: int,
        candidate: Candidate,
        state: str,
        why: str,
        excess: Mapping[str, float] | None = None,
    ) -> Row:
        self.tally.states[state] += 1
        self._counted.add(number)
        self.method.tell(number, Verdict(None, excess or {}))
        return Row(number, state, candidate.params, candidate.settings, (), why)

    def _is_over(self, row: Row) -> bool:
        return row.state in ENDED and not (self.retry and row.state == "failed")

    def _known(self, row: Row) -> None:
        """Take over what an earlier call found out about a candidate."""
        self.tally.states[row.state] += 1
        self._counted.add(row.number)
        self.tally.reused += len(row.ids) if row.state == "done" else 0
        found = self.store.outcomes(row.ids)
        figures = [o.figures for o in found.values() if o.figures is not None]
        if row.state == "done" and len(figures) == len(row.ids):
            self._enter(combined(figures))
        if row.state == "infeasible":
            self.tally.excluded[row.why] += 1
        if row.state == NO_MACHINE:
            self.tally.last_error = row.why

    def _place(self, o: Open, known: Mapping[str, Outcome]) -> None:
        """Enter what is known of a candidate's points, and let the rest wait for workers."""
        for one in o.jobs:
            outcome = known.get(one)
            if outcome is not None and not (self.retry and outcome.figures is None):
                o.found[one] = outcome
                self.tally.reused += 1
            else:
                self._by_point.setdefault(one, []).append(o)
        if not o.missing:
            self._settle(o)
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

    def _claimed(self, group: list[Open]) -> list[Job]:
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
            outcomes = outcomes_of(end, self.dispatcher.timeout_s)
            self.store.finish(outcomes)
            self.tally.evaluated += len(outcomes)
            self.tally.trained += sum(job.work.training is not None for job in end.task.items)
            for outcome in outcomes:
                self._arrived(outcome)

    def _arrived(self, outcome: Outcome) -> None:
        for o in self._by_point.pop(outcome.id, []):
            o.found[outcome.id] = outcome
            if not o.missing:
                self._settle(o)

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

    def _settle(self, o: Open) -> None:
        """Go on with a candidate whose points are all known: train it, or end it."""
        whole = all(out.figures is not None for out in o.found.values())
        if whole and self.works.trains and o.simulated is None and not self.estimate:
            self._train(o)
        else:
            self._finish(o)

    def _train(self, o: Open) -> None:
        """Let a simulated candidate be trained, if it meets what constraints say of its figures so far."""
        figures = combined([o.found[one].figures or {} for one in o.jobs])
        excess = self._excess({**everything(figures), **self.sweep.space.numbers(o.candidate)}, early=True)
        broken = [text for text, by in excess.items() if by]
        if broken:
            self.tally.excluded.update(broken)
            self._end(o, "infeasible", broken[0], Verdict(None, excess))
            return
        o.jobs = self._jobs(o.machine, self.works.of(o.machine))
        o.found, o.simulated = {}, figures
        self.tally.to_train += 1
        self._place(o, self.store.outcomes(o.jobs))

    def _ruled_out(self, o: Open) -> bool:
        """Return whether a candidate cannot win, by its bounds; then it is at its end."""
        if o.found or not self._bounds_apply(o):
            return False
        bounds = o.simulated or combined(
            [lower_bounds(o.machine, self.works.graph(j.work)) for j in o.jobs.values()]
        )
        if (steps := self.works.epoch_steps) is not None:
            bounds = at_best(bounds, steps)
        if not any(loses(bounds, other, self._costs) for other in self._front):
            return False
        for one in o.jobs:
            self._by_point.pop(one, None)
        self._end(o, "ruled out", "its lower bounds lose to a point that is done", Verdict(None, {}))
        return True

    def _bounds_apply(self, o: Open) -> bool:
        """Return whether there are bounds of all objectives; those of simulated points are exact."""
        if self.estimate or not self.sweep.spec.fidelity.bounds:
            return False
        simulated = o.simulated is not None
        return all(
            goal.name in TRAINED or simulated or (goal.name in BOUNDED and not goal.large)
            for goal in self.sweep.objectives
        )

    def _costs(self, figures: Mapping[str, float]) -> list[float]:
        return [goal.cost(figures) for goal in self.sweep.objectives]

    def _finish(self, o: Open) -> None:
        """End a candidate whose points are all known."""
        errors = [out.error for out in o.found.values() if out.figures is None]
        if errors:
            self.tally.last_error = errors[0]
            self._end(o, "failed", errors[0], Verdict(None, {}, failed=True))
            return
        figures = combined([o.found[one].figures or {} for one in o.jobs])
        costs = self._costs(figures)
        names = {**everything(figures), **self.sweep.space.numbers(o.candidate)}
        excess = self._excess(names, early=self.estimate)
        broken = [text for text, by in excess.items() if by]
        self.costs[o.number] = costs
        if broken:
            self.tally.excluded.update(broken)
            self._end(o, "infeasible", broken[0], Verdict(costs, excess))
            return
        self._enter(figures)
        self._end(o, "done", "", Verdict(costs, excess))

    def _end(self, o: Open, state: str, why: str, verdict: Verdict) -> None:
        del self._open[o.number]
        self.tally.to_train -= o.simulated is not None
        self.tally.states[state] += 1
        self._counted.add(o.number)
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
        """Return how far each constraint is from holding; early: those whose names are known."""
        found = {}
        for constraint in self.sweep.constraints:
            if early and any(name not in names for name in constraint.names):
                continue
            found[constraint.text] = excess_of(constraint, names)
        return found


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
