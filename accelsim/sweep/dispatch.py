"""Tasks on any ``concurrent.futures`` executor: as many at a time as it has slots, each with a time limit.

A worker that dies may take others' tasks with it, as it breaks a process pool for all. Then the executor is
renewed and what was under way is run again, alone, one after the other; a task in whose solitude a worker
dies again is to blame. A task that overruns its limit is ended with the executor's workers.
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


@dataclass
class Dispatcher:
    """Runs tasks; ``step`` returns those that have ended."""

    engine: Engine
    timeout_s: float | None = None
    grace_s: float = 15.0  # more for the first task of every worker, which may have to begin itself
    queue: deque[Task] = field(default_factory=deque)
    suspects: deque[Task] = field(default_factory=deque)
    running: dict[Future[Any], tuple[Task, float]] = field(default_factory=dict)
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
            task, _ = self.running.pop(future)
            fault = future.exception() if not future.cancelled() else BrokenExecutor()
            if fault is None:
                ended.append(Ended(task, future.result()))
            elif self.engine.is_death(fault):
                lost.append(task)
            else:
                ended.append(Ended(task, error=f"{type(fault).__name__}: {fault}"))
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
        more = self.grace_s if self._fresh <= self.engine.slots else 0.0
        limit = math.inf if self.timeout_s is None else self.timeout_s * len(task.items) + more
        self.running[future] = task, time.monotonic() + limit
        return True

    def _patience(self, wait_s: float) -> float:
        if self.timeout_s is None or not self.running:
            return wait_s
        now = time.monotonic()
        return max(0.0, min(wait_s, *(until - now for _, until in self.running.values())))

    def _after_deaths(self, lost: list[Task]) -> list[Ended]:
        """Blame a task that was alone as its worker died for the second time; others are to show it."""
        blamed = [t for t in lost if t.suspect and len(t.items) == 1]
        self._suspect_all([t for t in lost if t not in blamed])
        return [Ended(t, error="its worker died twice (out of memory, or a crash)") for t in blamed]

    def _overdue(self) -> list[Ended]:
        """End tasks that took too long; one of several items is tried again item by item."""
        if self.timeout_s is None:
            return []
        now = time.monotonic()
        late = [f for f, (_, until) in self.running.items() if now > until]
        if not late:
            return []
        tasks = [self.running.pop(f)[0] for f in late]
        single = [t for t in tasks if len(t.items) == 1]
        for task in [t for t, _ in self.running.values()]:
            self.queue.appendleft(task)
        for task in tasks:
            if len(task.items) > 1:
                self.queue.extendleft(replace(task, items=(item,)) for item in reversed(task.items))
        self._renew()
        return [Ended(t, error=f"took longer than {self.timeout_s:g} s") for t in single]

    def _suspect_all(self, lost: list[Task]) -> None:
        """Run again, alone, all that was under way."""
        for task in [*lost, *(t for t, _ in self.running.values())]:
            self.suspects.extend(task.parts())
        self._renew()

    def _renew(self) -> None:
        self.running.clear()
        self._fresh = 0
        self.restarts += 1
        self.engine.restart()
