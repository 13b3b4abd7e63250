"""A thin layer over SimPy: whole picoseconds, clocks without drift, counters, a watchdog.

Events of the same instant fire in the order in which they were asked for (SimPy's heap key).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from heapq import heappush
from typing import Any, Final

import numpy as np
import simpy
from simpy.events import NORMAL, URGENT

from accelsim.errors import DeadlockError, RunError

PS_PER_S = 10**12
MOST_DAYS: Final = 2**63 // (PS_PER_S * 86_400)  # that whole picoseconds in 64 bits hold
Steps = Generator[simpy.Event, Any, Any]
Tag = tuple[Any, ...] | None
TIMER = ("timer",)


class Clock:
    """Edges of a clock of ``hz`` hertz: edge n is at floor(n * 10^12 / hz) picoseconds."""

    __slots__ = ("hz",)

    def __init__(self, hz: int) -> None:
        self.hz = hz

    def edge(self, cycle: int) -> int:
        """Return the time of edge ``cycle`` in picoseconds.

        >>> [Clock(3_800_000_000).edge(n) for n in (1, 2, 38)]
        [263, 526, 10000]
        """
        return cycle * PS_PER_S // self.hz

    def at_or_after(self, ps: int) -> int:
        """Return the first cycle whose edge is at ``ps`` or later.

        >>> Clock(3_800_000_000).at_or_after(264)
        2
        """
        return -(-ps * self.hz // PS_PER_S)


@dataclass(slots=True, eq=False)
class _Timer:
    """Something that happens at fixed instants, whatever is skipped between them."""

    period_ps: int
    at_ps: int
    then: Callable[[], None]
    armed: simpy.Event | None = None


class _Later(simpy.Event):
    """What SimPy's Timeout is, with a tag, and put into the queue without the calls that lead there."""

    def __init__(self, env: simpy.Environment, delay: int, tag: Tag) -> None:
        self.env = env
        self.callbacks = []
        self._value = None
        self._ok = True
        self.tag = tag
        heappush(env._queue, (env._now + delay, NORMAL, next(env._eid), self))


class Sim:
    """Simulated time, processes, and named random streams."""

    def __init__(self, seed: int = 0) -> None:
        self.env = simpy.Environment()
        self.seed = seed
        self.skipped_ps = 0
        self.fired = 0  # timers
        self._timers: list[_Timer] = []
        self._processes: dict[str, simpy.Process] = {}
        self.waiting: dict[str, str] = {}

    @property
    def now(self) -> int:
        """Time in picoseconds, without what was skipped: what processes reckon with."""
        return self.env._now  # type: ignore[return-value]  # the property costs a call

    def advance(self, to_ps: int) -> bool:
        """Go on to ``to_ps`` at once if nothing is bound to happen until then, and say whether.

        A process that is alone in time need not hand its next instant to the queue and take it back.
        """
        queue = self.env._queue
        if queue and queue[0][0] <= to_ps:
            return False
        self.env._now = to_ps
        return True

    def stamp(self, ps: int) -> int:
        """Return the simulated instant of ``ps``: what is recorded."""
        return ps + self.skipped_ps

    def skip(self, ps: int) -> None:
        """Let ``ps`` pass at once: everything pending lies as far ahead as before, but for timers.

        Raises:
            ValueError: if a timer would have fired meanwhile.
        """
        ahead = self.next_timer()
        if ahead is not None and ps >= ahead:
            raise ValueError(f"{ps} ps cannot be skipped: a timer fires in {ahead} ps")
        self.skipped_ps += ps
        for timer in self._timers:
            self._arm(timer)

    def every(self, period_ps: int, then: Callable[[], None]) -> None:
        """Call ``then`` every ``period_ps``, first one period from now, before all else of the instant."""
        timer = _Timer(period_ps, self.stamp(self.now) + period_ps, then)
        self._timers.append(timer)
        self._arm(timer)

    def next_timer(self) -> int | None:
        """Return the picoseconds until a timer fires next; None: there is none."""
        now = self.stamp(self.now)
        return min((t.at_ps - now for t in self._timers), default=None)

    def _arm(self, timer: _Timer) -> None:
        """Let ``timer`` fire at its instant; what was armed before no longer does."""
        event = self.env.event()
        event.tag = TIMER  # type: ignore[attr-defined]
        timer.armed = event
        event._ok, event._value = True, None  # triggered, but later: what SimPy's Timeout does
        assert event.callbacks is not None
        event.callbacks.append(lambda _: self._fire(timer, event))
        self.env.schedule(event, priority=URGENT, delay=timer.at_ps - self.stamp(self.now))

    def _fire(self, timer: _Timer, event: simpy.Event) -> None:
        if timer.armed is not event:
            return
        self.fired += 1
        timer.then()
        timer.at_ps += timer.period_ps
        if any(getattr(e, "tag", None) != TIMER for *_, e in self.env._queue):  # else nothing can go on
            self._arm(timer)

    def delay(self, ps: int, tag: Tag = None) -> simpy.Event:
        """Return an event that fires ``ps`` picoseconds from now; ``tag`` says what then happens."""
        if type(ps) is not int:
            raise TypeError(f"time is whole picoseconds, got {ps!r}")
        if ps < 0:
            raise ValueError(f"{ps} ps from now has passed")
        return _Later(self.env, ps, tag)

    def at(self, ps: int, tag: Tag = None) -> simpy.Event:
        """Return an event that fires at the instant ``ps``, now if that has passed."""
        if type(ps) is not int:
            raise TypeError(f"time is whole picoseconds, got {ps!r}")
        wait = ps - self.env._now
        return _Later(self.env, wait if wait > 0 else 0, tag)  # type: ignore[arg-type]  # whole, as all times

    def event(self, tag: Tag = None) -> simpy.Event:
        """Return an event that someone will let succeed."""
        event = self.env.event()
        event.tag = tag  # type: ignore[attr-defined]
        return event

    def pending(self) -> list[tuple[int, Tag]]:
        """Return what is bound to happen, in order: picoseconds from now, and the event's tag."""
        now = self.now
        queue = sorted(self.env._queue, key=lambda e: e[:3])  # time, priority, order of request
        return [(int(at) - now, getattr(event, "tag", None)) for at, _, _, event in queue]

    def rng(self, name: str) -> np.random.Generator:
        """Return the random stream ``name``: the same for a seed, whatever else was built."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def process(self, name: str, steps: Steps) -> simpy.Process:
        """Start the process ``name``."""
        self._processes[name] = self.env.process(steps)
        return self._processes[name]

    def run(self, *names: str) -> int:
        """Run until the processes ``names`` have ended and return the time.

        Raises:
            DeadlockError: naming each process that still waits, and for what.
            RunError: later than the 64 bits of an instant hold.
        """
        goal = self.env.all_of([self._processes[n] for n in names])
        try:
            self.env.run(until=goal)
        except RuntimeError as error:
            if not isinstance(error.__context__, simpy.core.EmptySchedule):
                raise  # a process's own error, not SimPy's word for having run dry
            stuck = [f"{n} waits for {self.waiting.get(n, 'an event')}" for n in names if self._alive(n)]
            raise DeadlockError(f"nothing can go on at {self.now} ps:\n" + "\n".join(stuck)) from error
        except OverflowError as error:
            raise RunError(
                f"the step takes longer than {MOST_DAYS} days, the most that whole picoseconds hold; "
                "look for a slip in the clock, a latency, a cycle time or a bandwidth"
            ) from error
        return self.now

    def _alive(self, name: str) -> bool:
        return bool(self._processes[name].is_alive)


class Counter:
    """A number that only grows; processes wait until it has reached a value."""

    __slots__ = ("_sim", "_waiting", "value")

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self.value = 0
        self._waiting: list[tuple[int, simpy.Event]] = []

    def advance(self, to: int) -> None:
        """Raise the value to ``to`` and wake who waits for no more than that, in order of asking."""
        self.value = max(self.value, to)
        ready = [e for n, e in self._waiting if n <= self.value]
        if ready:
            self._waiting = [(n, e) for n, e in self._waiting if n > self.value]
            for event in ready:
                event.succeed()

    def reached(self, n: int, tag: Tag = None) -> simpy.Event:
        """Return an event that fires once the value is at least ``n``."""
        event = self._sim.event(tag)
        if n <= self.value:
            event.succeed()
        else:
            self._waiting.append((n, event))
        return event

    def waits(self) -> list[tuple[int, Tag]]:
        """Return the values that are waited for, in order of asking, and by whom."""
        return [(n, getattr(e, "tag", None)) for n, e in self._waiting] if self._waiting else []

    def further(self, by: int) -> None:
        """Raise the value, and all that is waited for with it."""
        self.value += by
        self._waiting = [(n + by, e) for n, e in self._waiting]

    def nearer(self, by: int, tag: Tag) -> None:
        """Lower the values that the one who gave ``tag`` waits for."""
        self._waiting = [(n - by if getattr(e, "tag", None) == tag else n, e) for n, e in self._waiting]
