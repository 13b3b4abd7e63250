"""Workers of a Dask cluster, as any Dask user starts them; this process only talks to the scheduler.

A worker that dies has its task started again elsewhere by Dask itself; one that keeps killing its workers
comes back as ``KilledWorker``.
"""

from __future__ import annotations

import contextlib
import time
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any, Final

from accelsim import MODEL_VERSION, __version__
from accelsim.errors import InputError

CONNECT_S: Final = 5  # a dead scheduler is told within ten seconds, start-up and all
PATIENCE_S: Final = 8  # with a scheduler that has no workers yet
NAME: Final = "accelsim-point"


class DaskEngine:
    """The workers behind the scheduler at ``address``."""

    def __init__(self, address: str, jobs: int = 0) -> None:
        """Connect.

        Raises:
            InputError: No scheduler answers, it has no workers, or theirs is another accelsim.
        """
        self._jobs, self._address = jobs, address
        self._client = _connected(address)
        self._futures: dict[str, Any] = {}
        self._counted, self._slots = 0.0, 0
        try:
            self._check()
        except BaseException:
            self._client.close(timeout=1)
            raise

    def _check(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while not self._client.nthreads():
            if time.monotonic() > until:
                raise InputError(
                    f"--executor dask:{self._address}: the scheduler has no workers; "
                    f"start some with: dask worker {self._address} --nthreads 1"
                )
            time.sleep(0.1)
        for worker, theirs in self._client.run(_versions).items():
            if theirs != _versions():
                raise InputError(
                    f"--executor dask:{self._address}: the worker {worker} has accelsim {theirs}, here it is "
                    f"{_versions()}; install the same one there"
                )

    @property
    def slots(self) -> int:
        """How many tasks run at a time: the threads of all workers now, at most ``jobs``."""
        if time.monotonic() - self._counted > 1.0:
            self._counted = time.monotonic()
            threads = sum(self._client.nthreads().values())
            self._slots = min(threads, self._jobs) if self._jobs else threads
        return max(1, self._slots)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start a call on a worker."""
        key = f"{NAME}-{uuid.uuid4().hex}"
        remote = self._client.submit(function, *args, key=key, pure=False, retries=2)
        self._futures[key] = remote
        ours: Future[Any] = Future()
        ours.set_running_or_notify_cancel()
        remote.add_done_callback(lambda done: self._deliver(key, done, ours))
        return ours

    def _deliver(self, key: str, remote: Any, ours: Future[Any]) -> None:
        self._futures.pop(key, None)
        try:
            if remote.status == "finished":
                ours.set_result(remote.result())
            elif remote.status == "cancelled":
                ours.set_exception(BrokenExecutor("cancelled"))
            else:
                ours.set_exception(remote.exception())
        except Exception as fault:  # the connection was lost while the result came
            ours.set_exception(BrokenExecutor(str(fault)))

    def restart(self) -> None:
        """Give up all our tasks, and have workers that are busy with one start afresh where a nanny can."""
        mine = [
            worker
            for worker, keys in self._client.processing().items()
            if any(str(key).startswith(NAME) for key in keys)
        ]
        self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()
        with contextlib.suppress(Exception):  # a worker without a nanny goes on until its task ends
            self._client.restart_workers(mine, timeout=30, raise_for_error=False)

    def is_death(self, fault: BaseException) -> bool:
        """Return whether ``fault`` says that a worker died."""
        return isinstance(fault, BrokenExecutor) or type(fault).__name__ in ("KilledWorker", "CancelledError")

    def close(self, *, now: bool = False) -> None:
        """Leave the cluster as it is."""
        if now and self._futures:
            self._client.cancel(list(self._futures.values()), force=True)
        self._client.close(timeout=2)


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--executor dask: needs Dask; pip install 'accelsim[dask]'") from None
    _check_address(address)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise InputError(
            f"--executor dask:{address}: no scheduler answers there ({reason}); "
            "start one with: dask scheduler"
        ) from None


def _check_address(address: str) -> None:
    """Refuse what is no address; a client that was given one lingers on as it is thrown away."""
    from distributed.comm.addressing import get_address_host_port

    find: Any = get_address_host_port  # without types
    try:
        host, reason = find(address)[0], "no host"
    except (ValueError, NotImplementedError) as exc:
        host, reason = "", str(exc)
    if not host:
        raise InputError(
            f"--executor dask:{address}: expected the address of a scheduler, such as dask:tcp://host:8786 "
            f"({reason})"
        )


def _versions() -> str:
    return f"{__version__} (model version {MODEL_VERSION})"
