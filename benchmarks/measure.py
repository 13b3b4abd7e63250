"""What the benchmarks share: the time and memory of a command, the machine's name, tables.

Import nothing large here or in the scripts that measure: a child's peak memory is counted from its parent's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

LOADED = 0.2  # cores that others keep busy, from which on a figure is called measured under load
SET_CHILD_SUBREAPER = 36  # of prctl(2)
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took and said; ``cpu_s`` is user and system time, of its children too."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    exit_code: int
    stdout: str
    stderr: str

    @property
    def fault(self) -> str:
        """Why it failed: the last line that it wrote to stderr; empty if it did not fail."""
        if not self.exit_code:
            return ""
        if self.exit_code < 0:
            return f"ended by signal {-self.exit_code}"
        lines = self.stderr.strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self.exit_code}"


def measured(command: Sequence[str], env: Mapping[str, str] | None = None, limit_s: float = 3600) -> Cost:
    """Run ``command``, ``env`` added to the environment, and return its cost; it is killed at the limit."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(env or {})})
        limit = threading.Timer(limit_s, process.kill)
        limit.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            limit.cancel()
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Cost(
            wall_s=round(wall, 4),
            cpu_s=round(usage.ru_utime + usage.ru_stime, 4),
            peak_mib=round(usage.ru_maxrss * RSS_UNIT / 2**20, 1),
            exit_code=process.returncode,
            stdout=out.read().decode(),
            stderr=err.read().decode(errors="replace"),
        )


class Others:
    """Context: how many cores were busy meanwhile with what is neither this process nor a descendant of it.

    Processes whose parents end before them (a pool's fork server, and so its workers) are adopted: their
    times would count as others' else.
    """

    cores: float | None = None

    def __enter__(self) -> Others:
        _adopt_orphans()
        self._began = self._now()
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        _await_orphans()
        (busy, own, at), (busy_before, own_before, began) = self._now(), self._began
        if busy is not None and busy_before is not None and at > began:
            self.cores = round(max(0.0, busy - busy_before - own + own_before) / (at - began), 2)

    @staticmethod
    def _now() -> tuple[float | None, float, float]:
        """Return the seconds that all cores were busy, that we and our children were, and the time."""
        return _busy_s(), sum(os.times()[:4]), time.perf_counter()


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _await_orphans(limit_s: float = 5) -> None:
    """Wait until adopted processes have ended: their times count as ours. No child may be under way."""
    until = time.perf_counter() + limit_s
    while time.perf_counter() < until:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not found:
            time.sleep(0.01)


def _busy_s() -> float | None:
    """Return the seconds that all cores were busy since boot; None where the system does not tell."""
    try:
        ticks = [int(t) for t in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Return the machine's CPU, cores and memory, the system and Python's version."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{_cpu()}, {cores} core{'s' * (cores != 1)}, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def circumstances(others: float | None) -> dict[str, object]:
    """Return the machine, the day, and whether others kept it busy."""
    return {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "others_cores": others,
        "under_load": others is not None and others >= LOADED,
    }


def told(where: Mapping[str, object]) -> str:
    """Return ``circumstances`` as a sentence."""
    others = "unknown" if where["others_cores"] is None else f"{where['others_cores']} cores"
    load = f"**under load**: other processes kept {others} busy" if where["under_load"] else "otherwise idle"
    if where["others_cores"] is None:
        load = "load unknown"
    return f"{where['machine']}; {where['date']}; {load}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table that reads well as plain text; all columns but the first are flush right."""
    widths = [max(len(cells[i]) for cells in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return " | ".join([f"| {first[0]:<{first[1]}}", *(f"{c:>{w}}" for c, w in rest)]) + " |"

    rule = "|".join(["|" + "-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)
