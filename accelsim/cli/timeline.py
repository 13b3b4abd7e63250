"""``accelsim timeline``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from accelsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accelsim.trace.runs import Run

LEAST_WIDTH: Final = 50

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, or its name in runs/.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help='Start: "12 us", "300 cycles", or whole ps.')
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, written like the start.")]
Layer = Annotated[
    str | None, typer.Option(metavar="GLOB", help='Only these layers, such as "layer1.*", phase by phase.')
]
Width = Annotated[int | None, typer.Option(min=LEAST_WIDTH, help="Characters; else the screen's.")]


def timeline(
    run: RunName, start: From = None, to: To = None, layer: Layer = None, width: Width = None
) -> None:
    """Draw what each component did over time, with phases, layers and stalls."""
    from accelsim.cli.console import has_color, results
    from accelsim.timeline import not_drawn, render
    from accelsim.trace.runs import open_run

    found = open_run(run)
    console = results(tables=False)
    chars = width or max(console.width, LEAST_WIDTH)
    spans, end_ps = found.table("spans"), found.summary["time_ps"]
    busy = {n: c["busy_ps"] / max(1, end_ps) for n, c in found.summary["components"].items()}
    windows = _windows(found, start, to, layer)
    for title, (low, high) in windows.items():
        known = busy if (low, high) == (0, end_ps) else None
        picture = render(spans, lo=low, hi=high, width=chars, color=has_color(console), busy=known)
        console.print(title, style="bold", markup=False)
        console.print(picture, no_wrap=True, overflow="ignore", crop=False)
    parts = [w for w in windows.values() if w != (0, end_ps)]
    note = _note(not_drawn(spans, busy, end_ps), bool(parts))
    if note:
        console.print(note, markup=False, width=chars)


def _note(hidden: Mapping[str, float], parts: bool) -> str:
    """Return a line that names the components with work that is not drawn."""
    from accelsim.trace import human

    if not hidden:
        return ""
    told = "Busy but not drawn" + ", nor counted in a part of the run" * parts
    shares = ", ".join(f"{name} {human.share(share, 1)}" for name, share in hidden.items())
    return f"{told}: {shares} of the run"


def _windows(run: Run, start: str | None, to: str | None, layer: str | None) -> dict[str, tuple[int, int]]:
    """Return title and window (ps) of each picture."""
    from accelsim.timeline import layer_windows
    from accelsim.trace import human

    clock, end_ps = run.summary["clock_hz"], run.summary["time_ps"]
    low = instant(start, "--from", clock) if start is not None else 0
    high = min(instant(to, "--to", clock), end_ps) if to is not None else end_ps
    if low >= end_ps:
        raise InputError(f"--from {start}: the run ends at {human.time(end_ps)}")
    if low >= high:
        raise InputError(f"--from {start or 0} is not before --to {to}")
    named = {"": (low, high)} if layer is None else layer_windows(run.table("ops"), layer)
    windows = {}
    for name, (first, last) in named.items():
        first, last = max(first, low), min(last, high)
        if first < last:
            where = f"{human.time(first)} to {human.time(last)} of {human.time(end_ps)}"
            windows[f"{run.name}{f', {layer} in {name}' if name else ''}: {where}"] = (first, last)
    if not windows:
        raise InputError(f'--layer: "{layer}" does not run between {human.time(low)} and {human.time(high)}')
    return windows


def instant(text: str, option: str, clock_hz: int) -> int:
    """Return a time such as ``12 us``, ``300 cycles`` or ``1200000`` (ps) in ps."""
    from accelsim.units import UnitError, duration

    if text.strip().isdecimal():
        return int(text)
    try:
        return duration(text).ps(clock_hz)
    except UnitError as fault:
        raise InputError(f"{option}: {fault}; a bare number is in ps") from None
