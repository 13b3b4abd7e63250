"""Tasks on any ``concurrent.futures`` executor: as many at a time as it has slots, each with a time limit.

A worker that dies may take others' tasks with it, as it breaks a process pool for all. Then the executor is
renewed and what was under way is run again, alone, one after the other; a task in whose solitude a worker
dies again is to blame. A task that overruns its limit is ended with the executor's workers, a
while after it, as a worker may have to start, and results have their way. Who counts a call's own time in its
worker is to judge by that.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol


class Engine(Protocol):
    """An executor that can be renewed."""

    @property
    def slots(self) -> int:
        """How many calls run at a time."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start a call."""

    def restart(self) -> None:
        """End all that runs and be as new."""

    def is_death(self, fault: BaseException) -> bool:
        """Return whether ``fault`` says that a worker died."""

    def close(self, *, now: bool = False) -> None:
        """End the workers; ``now``: also what they do."""


@dataclass(frozen=True)
class Task:
    """A call of ``function`` on ``items``; of several, each counts against the time limit."""

    function: Callable[[Sequence[Any]], Any]
    items: tuple[Any, ...]
    suspect: bool = False

    def parts(self) -> list[Task]:
        """Return a task for each item alone, as one that has been there when a worker died."""
        return [replace(self, items=(item,), suspect=True) for item in self.items]


@dataclass(frozen=True)
class Ended:
    """What became of a task: its result, or why it has none."""

    task: Task
    result: Any = None
    error: str = ""
    wall_s: float = 0.0  # since it was handed to a worker


@dataclass
class Dispatcher:
    """Runs tasks; ``step`` returns those that have ended."""

    engine: Engine
    timeout_s: float | None = None
    grace_s: float = 15.0  # more for the first task of every worker, which may have to begin itself
    slack_s: float = 1.0  # more for all: the way to the worker and back
    queue: deque[Task] = field(default_factory=deque)
    suspects: deque[Task] = field(default_factory=deque)
    running: dict[Future[Any], tuple[Task, float, float]] = field(default_factory=dict)
    restarts: int = 0
    _fresh: int = 0  # tasks that were started since the last restart

    def add(self, task: Task) -> None:
        """Queue a task."""
        self.queue.append(task)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.queue or self.suspects or self.running)

    @property
    def room(self) -> int:
        """How many tasks could be started at once."""
        return max(0, self.engine.slots - len(self.running) - len(self.queue) - len(self.suspects))

    def step(self, wait_s: float) -> list[Ended]:
        """Start what can be started, wait up to ``wait_s`` for an end, and return what has ended."""
        ended = self._start()
        done, _ = wait(
            self.running, timeout=0 if ended else self._patience(wait_s), return_when=FIRST_COMPLETED
        )
        lost = []
        for future in done:
            task, _, began = self.running.pop(future)
            took = time.monotonic() - began
            fault = future.exception() if not future.cancelled() else BrokenExecutor()
            if fault is None:
                ended.append(Ended(task, future.result(), wall_s=took))
            elif self.engine.is_death(fault):
                lost.append((task, took))
            else:
                ended.append(Ended(task, error=f"{type(fault).__name__}: {fault}", wall_s=took))
        ended += self._after_deaths(lost) if lost else self._overdue()
        return ended

    def _start(self) -> list[Ended]:
        """Start suspects one by one and alone, else what the slots take."""
        while self.suspects and not self.running:
            if self._submit(self.suspects[0]):
                self.suspects.popleft()
                return []
        while not self.suspects and self.queue and len(self.running) < self.engine.slots:
            if self._submit(self.queue[0]):
                self.queue.popleft()
        return []

    def _submit(self, task: Task) -> bool:
        try:
            future = self.engine.submit(task.function, task.items)
        except BrokenExecutor:  # a worker died between two tasks
            self._suspect_all([])
            return False
        self._fresh += 1
        more = self.grace_s if self._fresh <= self.engine.slots else self.slack_s
        limit = math.inf if self.timeout_s is None else self.timeout_s * len(task.items) + more
        now = time.monotonic()
        self.running[future] = task, now + limit, now
        return True

    def _patience(self, wait_s: float) -> float:
        if self.timeout_s is None or not self.running:
            return wait_s
        now = time.monotonic()
        return max(0.0, min(wait_s, *(until - now for _, until, _ in self.running.values())))

    def _after_deaths(self, lost: list[tuple[Task, float]]) -> list[Ended]:
        """Blame a task that was alone as its worker died for the second time; others are to show it."""
        blamed = [(t, took) for t, took in lost if t.suspect and len(t.items) == 1]
        self._suspect_all([t for t, took in lost if (t, took) not in blamed])
        error = "its worker died twice (out of memory, or a crash)"
        return [Ended(t, error=error, wall_s=took) for t, took in blamed]

    def _overdue(self) -> list[Ended]:
        """End tasks that took too long; one of several items is tried again item by item."""
        if self.timeout_s is None:
            return []
        now = time.monotonic()
        late = [f for f, (_, until, _) in self.running.items() if now > until]
        if not late:
            return []
        ended = [self.running.pop(f) for f in late]
        tasks = [t for t, _, _ in ended]
        single = [(t, now - began) for t, _, began in ended if len(t.items) == 1]
        for task in [t for t, _, _ in self.running.values()]:
            self.queue.appendleft(task)
        for task in tasks:
            if len(task.items) > 1:
                self.queue.extendleft(replace(task, items=(item,)) for item in reversed(task.items))
        self._renew()
        return [Ended(t, error=too_long(self.timeout_s), wall_s=took) for t, took in single]

    def _suspect_all(self, lost: list[Task]) -> None:
        """Run again, alone, all that was under way."""
        for task in [*lost, *(t for t, _, _ in self.running.values())]:
            self.suspects.extend(task.parts())
        self._renew()

    def _renew(self) -> None:
        self.running.clear()
        self._fresh = 0
        self.restarts += 1
        self.engine.restart()


def too_long(limit_s: float) -> str:
    """Return the error of what overran its limit."""
    return f"took longer than {limit_s:g} s"
