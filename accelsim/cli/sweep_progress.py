"""Progress of a sweep on stderr: a bar with rate, best so far and failures; a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from accelsim.sweep.tally import Tally

Report = Callable[["Tally"], None]
EVERY_S: Final = 10.0  # between two lines into a file or a pipe


@contextmanager
def sweep_progress(quiet: bool) -> Iterator[Report | None]:
    """Give the function that shows how far a sweep is."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


def _said(tally: Tally) -> str:
    best = ", ".join(f"{name} {value:.4g}" for name, value in tally.best.items())
    failed = f", {tally.states['failed']} failed" if tally.states["failed"] else ""
    trained = (
        f"; trained {tally.trained}, {tally.to_train} to train" if tally.trained + tally.to_train else ""
    )
    return f"{tally.rate:.3g} points/s{failed}{trained}" + (f"; best {best}" if best else "")


def _lines() -> Report:
    said = time.monotonic()

    def report(tally: Tally) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY_S:
            said = time.monotonic()
            print(f"accelsim: {tally.ended} of {tally.total}, {_said(tally)}", file=sys.stderr, flush=True)  # noqa: T201

    return report


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=None)

        def report(tally: Tally) -> None:
            bars.update(task, completed=tally.ended, total=tally.total, description=_said(tally))

        yield report
