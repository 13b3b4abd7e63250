"""Worker processes of this machine, started afresh (forkserver) so that they share no threads with us."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any, Final

PRELOADED: Final = ("accelsim.sweep.worker",)  # imported once, and there in every worker


class LocalEngine:
    """A pool of ``jobs`` processes."""

    def __init__(self, jobs: int = 0) -> None:
        """Start as many processes as there are cores if ``jobs`` is 0."""
        self._jobs = jobs or os.cpu_count() or 1
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        with _interrupts_ignored():
            forkserver.ensure_running()
        self._starter = ThreadPoolExecutor(1)
        self._pool = self._new()

    @property
    def slots(self) -> int:
        """The number of processes."""
        return self._jobs

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._jobs, mp_context=self._context, initializer=_begin)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start a call in a process.

        That may have to start first. A thread sees to it, which Ctrl-C does not reach, as a process of which
        the pool does not know yet would outlive it, and miss what the pool takes with it.
        """
        return self._starter.submit(self._pool.submit, function, *args).result()

    @property
    def pids(self) -> list[int]:
        """The worker processes."""
        return list(self._pool._processes or ())

    def restart(self) -> None:
        """Kill all workers and have new ones."""
        self.close(now=True)
        self._pool = self._new()

    def is_death(self, fault: BaseException) -> bool:
        """Return whether ``fault`` says that a worker died."""
        return isinstance(fault, BrokenExecutor)

    def close(self, *, now: bool = False) -> None:
        """End the workers."""
        self._starter.submit(int).result()  # after all that are starting
        if now:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let what is started here ignore Ctrl-C from its first import on; for us it waits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # as it starts it unblocks what we block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin() -> None:
    """Leave Ctrl-C to the controller, and end when it does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
