"""Programs that tests start on this machine alone: a PostgreSQL server, a Dask cluster, a browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def program(*names: str, where: str = "/usr/lib/postgresql/*/bin", package: str) -> str:
    """Return the path of the first program that is found; without one the test is not run, and counted."""
    for name in names:
        found = shutil.which(name) or next(
            (str(p) for p in sorted(Path("/").glob(f"{where[1:]}/{name}"))), None
        )
        if found:
            return str(Path(found).resolve())
    pytest.skip(f"needs {names[0]} (Debian's package {package})")


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a server on loopback, as an unprivileged user, and give its URL."""
    server = program("postgres", package="postgresql")
    initdb = str(Path(server).with_name("initdb"))
    user = UNPRIVILEGED if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="accelsim-postgres-", dir="/tmp"))
    port = free_port()
    try:
        if user:
            shutil.chown(folder, user)
        make = [
            initdb,
            "-D",
            str(folder / "data"),
            "-A",
            "trust",
            "-U",
            "accelsim",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        call = [
            server,
            "-D",
            str(folder / "data"),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(folder),
            "-F",
        ]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(call, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            _wait_for(port, running)
            yield f"postgresql://accelsim@127.0.0.1:{port}/postgres"
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    import psycopg

    for _ in range(200):
        assert running.poll() is None, "the server has ended"
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(
                f"host=127.0.0.1 port={port} user=accelsim dbname=postgres", connect_timeout=2
            ).close()
            return
        time.sleep(0.1)
    raise AssertionError("the server does not answer")


class Cluster:
    """A Dask scheduler and workers, each a process group of its own."""

    def __init__(self, workers: int, allowed_failures: int = 3) -> None:
        self._env = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
        self.address = f"tcp://127.0.0.1:{free_port()}"
        port = self.address.rsplit(":", 1)[1]
        self._processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", port)]
        self.workers = [
            self._start("worker", self.address, "--nthreads", "1", "--host", "127.0.0.1")
            for _ in range(workers)
        ]
        self._processes += self.workers

    def _start(self, what: str, *args: str) -> subprocess.Popen[bytes]:
        call = [str(Path(sys.executable).with_name("dask")), what, *args, "--no-dashboard"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(call, stdout=quiet, stderr=quiet, start_new_session=True, env=self._env)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            self.kill(process)
