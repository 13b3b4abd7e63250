"""Progress on stderr: bars on a terminal, one line per stage elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Report = Callable[[str, int, int], None]
DOING: Final = {
    "capture": "capturing the training step",
    "map": "mapping",
    "simulate": "simulating",
    "write": "writing the run folder",
}


@contextmanager
def progress(quiet: bool) -> Iterator[Report | None]:
    """Give the function ``(stage, done, total)`` that shows the progress of a run."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _lines()


def _lines() -> Report:
    """Say once that a stage begins."""
    begun: list[str] = []

    def report(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        if stage not in begun:
            begun.append(stage)
            print(f"accelsim: {DOING.get(stage, stage)}", file=sys.stderr, flush=True)  # noqa: T201

    return report


@contextmanager
def _bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(DOING.get(stage, stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
