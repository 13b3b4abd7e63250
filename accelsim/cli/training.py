"""How a training shows: its progress on stderr, its outcome in tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from accelsim.cli.progress import DOING, progress
from accelsim.trace import human

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from accelsim.train.experiment import Watcher

EPOCHS_SHOWN: Final = 12
SEEDS_IN_LINE: Final = 10


@contextmanager
def resumable() -> Iterator[None]:
    """Say, where a training is interrupted inside, how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        print("accelsim: stopped; the same command with --resume goes on", file=sys.stderr)  # noqa: T201
        raise


def shown(
    summary: Path, as_json: bool, tables: Callable[[Mapping[str, Any]], RenderableType], last: str
) -> None:
    """Print a summary as it stands in its file, or its tables and a last line."""
    text = summary.read_text(encoding="utf-8")
    if as_json:
        print(text, end="")  # noqa: T201
        return
    from accelsim.cli.console import results

    results().print(tables(json.loads(text)))
    print(last)  # noqa: T201


@contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Give who is told of stages, steps and rows: nobody if ``quiet``."""
    from accelsim.train.experiment import Watcher

    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        with _bars() as watcher:
            yield watcher
    else:
        with progress(quiet) as stage:
            yield Watcher(
                stage,
                row=lambda row: _say(_line(row)),
                decision=lambda row: _say(_decided(row)),
                note=_say,
            )


@contextmanager
def _bars() -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from accelsim.train.experiment import Watcher

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, text: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, description=text)

        def stage(name: str, done: int, total: int) -> None:
            show(name, done, total, DOING.get(name, name))

        def step(what: str, total: int, done: int, loss: float) -> None:
            show(what, done, total, f"{what}: loss {loss:.4g}")

        def say(text: str) -> None:
            console.print(text, highlight=False, markup=False)

        yield Watcher(stage, step, lambda row: say(_line(row)), lambda row: say(_decided(row)), say)


def _say(text: str) -> None:
    print(f"accelsim: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _decided(row: Mapping[str, Any]) -> str:
    """Return a decision of a closed loop as a line."""
    drift = row["cause"]["drift"]
    what = f"{row['decision']} {', '.join(row['remedies'])}".strip()
    what += f", steps taken back: {row['lost_steps']}" if row["lost_steps"] else ""
    after = row["cost"]["after"]
    return (
        f"closed loop, seed {row['seed']}, step {row['step']}: drift "
        f"{'not finite' if drift is None else format(drift, '.3g')}: {what} ({row['reason']}); "
        f"{human.time(after['time_ps'])} and {human.energy(after['energy_pj'])} a step"
    )


def _line(row: Mapping[str, Any]) -> str:
    """Return an epoch as a line."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.4g}"
    flips = ", ".join(f"{role} {sum(c.values())}" for role, c in row["flips"].items()) or "none"
    ended = f"; diverged at step {row['diverged_step']}" if row["diverged_step"] is not None else ""
    return (
        f"errors {row['case']}, seed {row['seed']}, epoch {row['epoch']}: loss {loss}, "
        f"accuracy {human.share(row['accuracy'])}, flips {flips}, non-finite values {row['non_finite']}, "
        f"{human.time(row['time_ps'])}, {human.energy(row['energy_pj'])}{ended}"
    )


def tables(summary: Mapping[str, Any]) -> RenderableType:
    """Return the outcome of a training."""
    from rich.console import Group

    from accelsim.report.layout import grid, paragraph

    cases = {name: summary["cases"][name] for name in summary["order"]}
    names = (
        "errors",
        "accuracy",
        "by seed",
        "best",
        "difference",
        "diverged",
        "diverged, 95 %",
        "non-finite",
    )
    head = grid(_title(summary), names, [_row(name, case) for name, case in cases.items()], keys=1)
    costs = grid(
        f"to an accuracy of {human.share(summary['target_accuracy'])}",
        ("errors", "seed", "epoch", "time", "energy", "first non-finite", "diverged at"),
        [row for name, case in cases.items() for row in _costs(name, case)],
        7,
        keys=2,
    )
    flips = [(name, _flips(case["flips"])) for name, case in cases.items()]
    costs = Group(costs, grid("flips of all seeds", ("errors", "by role and cause"), flips, 2))
    policy = "; ".join(f"{name}: {summary['cases_by_name'][name]}" for name in cases)
    if summary.get("closed_loop"):
        costs = Group(costs, _settled(summary["closed_loop"]))
    notes = [paragraph("seeds", summary["believe"]), paragraph("cases", policy)]
    return Group(head, _epochs(summary, list(cases)), costs, *notes)


def _epochs(summary: Mapping[str, Any], cases: list[str]) -> RenderableType:
    """Return accuracy against epoch, time and energy; of a long training every so-and-so-many-th epoch."""
    from accelsim.report.layout import grid

    table = summary["by_epoch"]
    every = -(-len(table) // EPOCHS_SHOWN)
    rows = [
        (
            str(row["epoch"]),
            human.time(row["time_ps"]),
            human.energy(row["energy_pj"]),
            *(human.share(row["accuracy"][case]) for case in cases),
        )
        for number, row in enumerate(table, 1)
        if number % every == 0 or number == len(table)
    ]
    return grid("accuracy, mean over seeds", ("epoch", "time", "energy", *cases), rows, keys=1)


def _settled(loop: Mapping[str, Any]) -> RenderableType:
    """Return what closed loops took, and the machines that they settled on."""
    from rich.console import Group

    from accelsim.report.layout import grid, paragraph

    rows, levels = [], []
    for seed, found in loop["by_seed"].items():
        last, lost = found["parts"][-1], sum(w["steps"] for w in found["lost"])
        costs = (human.time(found["time_ps"]), human.energy(found["energy_pj"]))
        a_step = (human.time(last["step_ps"]), human.energy(last["step_pj"]))
        rows.append((seed, str(found["changes"]), str(lost), *costs, *a_step, found["machine"]))
        settled = ", ".join(f"{name} {level}" for name, level in found["levels"].items())
        levels.append(
            paragraph(f"settled on, seed {seed}", (settled or "the base machine") + _end(found, loop))
        )
    names = ("seed", "changes", "steps lost", "time", "energy", "a step at last", "", "machine")
    return Group(grid(f"closed loop, tolerance {loop['tolerance']:g}", names, rows, keys=1), *levels)


def _title(summary: Mapping[str, Any]) -> str:
    step = f"{human.time(summary['step_ps'])} and {human.energy(summary['step_pj'])} a step"
    epochs = human.counted(summary["epochs"], "epoch")
    return f"{summary['workload_name']} on {summary['data']}, {epochs}, {step}"


def _row(name: str, case: Mapping[str, Any]) -> tuple[str, ...]:
    half = case["difference_half_width"]
    spread = "" if half is None else f" +- {100 * half:.2f}"
    return (
        name,
        human.share(case["accuracy_mean"]),
        _by_seed(case["accuracy"].values()),
        human.share(case["accuracy_best"]),
        f"{100 * case['difference']:+.2f}{spread}",
        f"{case['diverged']} of {case['trainings']}",
        f"{case['diverged_low']:.2f} to {case['diverged_high']:.2f}",
        f"{case['non_finite']:,}",
    )


def _by_seed(accuracies: Iterable[float]) -> str:
    """Return accuracies in per cent, in lines of a number that fits a terminal."""
    told = [f"{100 * accuracy:.1f}" for accuracy in accuracies]
    return "\n".join(" ".join(told[i : i + SEEDS_IN_LINE]) for i in range(0, len(told), SEEDS_IN_LINE))


def _costs(name: str, case: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for number, (seed, reached) in enumerate(case["to_accuracy"].items()):
        found = ("-", "-", "-")
        if reached is not None:
            found = (
                str(reached["epoch"]),
                human.time(reached["time_ps"]),
                human.energy(reached["energy_pj"]),
            )
        steps = (_at(case["first_non_finite_steps"][seed]), _at(case["diverged_steps"][seed]))
        yield (name if number == 0 else "", seed, *found, *steps)


def _at(step: int | None) -> str:
    return "-" if step is None else f"step {step:,}"


def _flips(flips: Mapping[str, Mapping[str, int]]) -> str:
    parts = [f"{role}: " + ", ".join(f"{n:,} {cause}" for cause, n in c.items()) for role, c in flips.items()]
    return "; ".join(parts) or "none"


def _end(found: Mapping[str, Any], loop: Mapping[str, Any]) -> str:
    """Return a warning if the machine that was settled on does not keep the tolerance."""
    drift = found["last_drift"]
    if drift is not None and drift <= loop["tolerance"]:
        return ""
    told = "not finite" if drift is None else f"{drift:.3g}"
    return f"; NOT within tolerance: the last check found a drift of {told}"
