"""How far a study is, and what is known of its candidates that are under way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.resolve.machine import Machine
from accelsim.sweep.dispatch import Ended, too_long
from accelsim.sweep.evaluate import Job, Outcome
from accelsim.sweep.expression import Expression, ExpressionError
from accelsim.sweep.figures import Figures
from accelsim.sweep.space import Candidate
from accelsim.sweep.store import Row

NO_MACHINE: Final = "no machine"  # the state of a candidate that cannot be resolved


@dataclass
class Tally:
    """How far a study is. ``evaluated`` counts the points run now, ``reused`` those that were done before."""

    total: int = 0
    states: Counter[str] = field(default_factory=Counter)
    evaluated: int = 0
    reused: int = 0
    trained: int = 0  # of those evaluated
    to_train: int = 0  # candidates that are simulated and wait for their training, or are at it
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

    def refuse_if_nothing_is_left(self) -> None:
        """Refuse constraints, or a space, that leave no candidate.

        Raises:
            InputError: What rules out how many.
        """
        no_machine = self.states[NO_MACHINE]
        left_out = self.states["infeasible"] + no_machine
        if not left_out or left_out != self.ended:
            return
        parts = [f'"{text}" rules out {n}' for text, n in self.excluded.items()]
        if no_machine:
            parts.append(f"{no_machine} are no machine, such as: {self.last_error}")
        raise InputError(f"no point is left of {left_out}: " + "; ".join(parts))


def as_now(rows: Iterable[Row], constraints: Sequence[Expression]) -> list[Row]:
    """Return a study's rows; older ones call infeasible also what is no machine."""
    texts = {c.text for c in constraints}
    return [
        replace(row, state=NO_MACHINE) if row.state == "infeasible" and row.why not in texts else row
        for row in rows
    ]


@dataclass
class Open:
    """A candidate under way: its machine, its jobs by point, and what is known of them."""

    number: int
    candidate: Candidate
    machine: Machine
    jobs: dict[str, Job]
    found: dict[str, Outcome] = field(default_factory=dict)
    simulated: Figures | None = None  # once training is all that is missing

    @property
    def missing(self) -> list[Job]:
        """The jobs without an outcome."""
        return [job for one, job in self.jobs.items() if one not in self.found]

    def row(self, state: str, why: str = "") -> Row:
        """Return what the database keeps of it."""
        return Row(self.number, state, self.candidate.params, self.candidate.settings, tuple(self.jobs), why)


def excess_of(constraint: Expression, names: Mapping[str, Any]) -> float:
    """Return how far a constraint is from holding; one on a parameter that was left out holds."""
    try:
        return constraint.excess(names)
    except ExpressionError:
        if all(name in names or name.startswith(("bank.", "mix.")) for name in constraint.names):
            return 0.0
        raise


def outcomes_of(end: Ended, limit_s: float | None) -> list[Outcome]:
    """Return the outcomes of a task; where it has none, its error is that of each of its points.

    A point that took longer than the limit by its worker's clock has failed, wherever it was in the queue.
    """
    if end.error:
        return [Outcome(job.id, None, end.error, end.wall_s) for job in end.task.items]
    found: list[Outcome] = end.result
    if limit_s is None:
        return found
    late = [o.figures is not None and o.wall_s > limit_s for o in found]
    why = too_long(limit_s)
    return [replace(o, figures=None, error=why) if over else o for o, over in zip(found, late, strict=True)]
