"""How a search of tolerated rates shows: its progress on stderr, its outcome in a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from accelsim.trace import human

if TYPE_CHECKING:
    from rich.console import RenderableType

    from accelsim.train.sensitivity.decision import Verdict
    from accelsim.train.sensitivity.targets import Target
    from accelsim.train.sensitivity.trainings import Observer

_BY = {"certain": "whatever the other seeds", "interval": "by the interval", "mean": "by the mean alone"}
FEW_FLIPS = 30  # over all trainings at a rate: fewer say little of what it does


@contextmanager
def watching(quiet: bool) -> Iterator[Observer]:
    """Give who is told of trainings and decisions: nobody if ``quiet``."""
    from accelsim.train.sensitivity.trainings import Observer

    if quiet:
        yield Observer()
    elif sys.stderr.isatty():
        with _bars() as observer:
            yield observer
    else:
        yield Observer(
            trained=lambda name, row, known: _say(_training(name, row, known)),
            decided=lambda *what: _say(_decision(*what)),
        )


@contextmanager
def _bars() -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from accelsim.train.sensitivity.trainings import Observer

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        every = bars.add_task("trainings, at most", total=None)
        one = bars.add_task("", total=None)

        def step(name: str, total: int, done: int, loss: float) -> None:
            bars.update(one, completed=done, total=total, description=f"{name}: loss {loss:.4g}")

        def trained(name: str, row: Mapping[str, Any], known: bool) -> None:
            bars.advance(every)
            console.print(_training(name, row, known), highlight=False, markup=False)

        def decided(target: Target, rate: float, verdict: Verdict) -> None:
            console.print(_decision(target, rate, verdict), highlight=False, markup=False, style="bold")

        yield Observer(lambda total: bars.update(every, total=total), step, trained, decided)


def _say(line: str) -> None:
    print(f"accelsim: {line}", file=sys.stderr, flush=True)  # noqa: T201


def _training(name: str, row: Mapping[str, Any], known: bool) -> str:
    """Return a finished training as a line."""
    step = row["diverged_step"]
    ended = f"accuracy {human.share(row['accuracy'])}" if step is None else f"diverged at step {step:,}"
    return f"{name}: {ended}, flips {row['flips']:,}{', from the log' if known else ''}"


def _decision(target: Target, rate: float, verdict: Verdict) -> str:
    """Return a decision as a line."""
    told = "tolerated" if verdict.within else "refused"
    return (
        f"{target} at {rate:g}: {told} {_BY[verdict.by]} "
        f"(accuracy {_points(verdict.difference, verdict.half_width)} points)"
    )


def _points(difference: float, half: float | None) -> str:
    return f"{100 * difference:+.2f}" + ("" if half is None else f" +- {100 * half:.2f}")


def tables(summary: Mapping[str, Any]) -> RenderableType:
    """Return the outcome of a search."""
    from rich.console import Group

    from accelsim.report.layout import grid, paragraph

    title = (
        f"{summary['workload_name']} on {summary['data']}, {human.counted(summary['epochs'], 'epoch')}, "
        f"up to {human.counted(summary['seeds'], 'seed')}: "
        f"{human.share(summary['clean_accuracy'])} without errors, "
        f"{human.share(summary['tolerance'])} may be lost"
    )
    names = ("role", "layer", "tolerated", "accuracy there", "flips", "refused", "for", "trainings")
    found = summary["tolerated"]
    protected = ", ".join(summary["protect"]) or "no bits"
    stored = f"{summary['storage_format']}, protected {protected}, non-finite values {summary['nonfinite']}"
    tried = f"{summary['low']:g} to {summary['high']:g}, to a factor of {summary['resolution']:g}"
    doubtful = ", ".join(filter(None, map(_doubtful, found)))
    few = ", ".join(filter(None, map(_hardly_any, found)))
    reach = "; the interval of the accuracy there reaches beyond what may be lost"
    return Group(
        grid(title, names, [_row(each) for each in found], 2, keys=2),
        *([paragraph("not established", doubtful + reach)] if doubtful else []),
        *([paragraph("few flips", few + "; the rate rests on hardly any error")] if few else []),
        paragraph("stored", stored),
        paragraph("searched", f"{tried}; {_decided(found)}"),
        paragraph("seeds", summary["believe"]),
        paragraph("each row", "is for errors there alone, in trainings of this length"),
    )


def _hardly_any(found: Mapping[str, Any]) -> str:
    """Return the entry if so few bits flipped at its tolerated rate that nothing follows from it."""
    within = next((trial for trial in found["trials"] if trial["rate"] == found["rate"]), None)
    if within is None or within["flips"] >= FEW_FLIPS:
        return ""
    return f"{found['role']}[{found['layer']}] at {found['rate']:g} ({within['flips']})"


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    trials = {trial["rate"]: trial for trial in found["trials"]}
    within, beyond = trials.get(found["rate"]), trials.get(found["refused"])
    role, layer, tried = found["role"], found["layer"], f"{found['tried']}"
    there, flips = "-", "-"
    if within is not None:
        there = _points(within["difference"], within["difference_half_width"])
        flips = f"{within['flips']:,}"
    tolerated = "none" if within is None else f"{found['rate']:g}"
    refused = "none" if beyond is None else f"{beyond['rate']:g}"
    return (role, layer, tolerated, there, flips, refused, _why(beyond), tried)


def _doubtful(found: Mapping[str, Any]) -> str:
    """Return the name of a row whose tolerated rate rests on the mean alone; else nothing."""
    by = [trial["by"] for trial in found["trials"] if trial["rate"] == found["rate"]]
    return f"{found['role']}[{found['layer']}] at {found['rate']:g}" if by == ["mean"] else ""


def _why(trial: Mapping[str, Any] | None) -> str:
    """Return for what a rate was refused."""
    if trial is None:
        return "-"
    steps = trial["diverged_steps"].values()
    diverged = sum(step is not None for step in steps)
    if diverged:
        return f"divergence ({diverged} of {len(steps)})"
    return _points(trial["difference"], trial["difference_half_width"])


def _decided(found: list[Mapping[str, Any]]) -> str:
    by = [trial["by"] for each in found for trial in each["trials"]]
    counts = [f"{by.count(kind)} {words}" for kind, words in _BY.items() if kind in by]
    return f"{len(by)} decisions, {', '.join(counts)}"
