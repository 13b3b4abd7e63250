"""``accelsim uncertainty`` and ``accelsim breakeven``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.errors import ConfigError, InputError, writing

if TYPE_CHECKING:
    from rich.console import Group
    from rich.padding import Padding

    from accelsim.sweep.breakeven import Pair, Surface
    from accelsim.sweep.timings import Timed
    from accelsim.sweep.uncertainty import Uncertain
    from accelsim.trace.runs import Run

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, or its name in runs/.")]


def uncertainty(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: folders, or names in runs/.")],
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="What prices may be; else what the runs' machines say, or assumed."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many prices to show.")] = 8,
    corners: Annotated[
        str | None, typer.Option(metavar="LIST", help="Energies at these corners instead, such as tt,ff,ss.")
    ] = None,
    temperatures: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Of --corners, in kelvin, such as 300,325; else 300,350."),
    ] = None,
) -> None:
    """Show how sure the energies of RUNs are: intervals, what matters, who needs less."""
    from dataclasses import replace

    from accelsim.cli.console import results
    from accelsim.config.sources import unknown_sources
    from accelsim.report.layout import paragraph
    from accelsim.sweep.ledger import ledger
    from accelsim.sweep.prices import load_ranges, machine_ranges
    from accelsim.sweep.timings import timed
    from accelsim.sweep.uncertainty import uncertain

    _check_options(prices, corners, temperatures)
    opened = _opened(runs)
    if corners is not None:
        tables = [_corners(name, run, corners, temperatures or "300,350") for name, run in opened.items()]
        for part in (*_mapped(opened), *tables):
            results().print(part)
        return
    ledgers = [replace(ledger(run), run=name) for name, run in opened.items()]
    own = 0
    if prices is not None:
        ranges = load_ranges(prices)
        ranges.check(sorted({price for led in ledgers for price in led.energy_pj}))
    else:
        ranges, own = machine_ranges(list(opened.values()), ledgers)
    again = timed(list(opened.values()), ranges)
    found = uncertain(ledgers, ranges)
    for note in _mapped(opened):
        results().print(note)
    if ranges.patterns:  # else nothing but timings
        results().print(_intervals(found))
        results().print(_tornado(found, top))
    if ranges.patterns and len(opened) > 1:
        results().print(_duels(found))
    if prices is None:
        told = f"of {len(found.names)} prices, {own} by the machines' tables [prices], the others assumed"
        results().print(paragraph("ranges", told))
    if unknown := unknown_sources(ranges.sources):
        results().print(paragraph("sources not in docs/sources.md", ", ".join(unknown)))
    for name, one in zip(opened, again, strict=False):  # none without timings
        results().print(_timings(name, one))


def _check_options(prices: Path | None, corners: str | None, temperatures: str | None) -> None:
    if corners is None and temperatures is not None:
        raise InputError(f"--temperatures {temperatures}: goes with --corners, such as --corners tt,ff,ss")
    if corners is not None and prices is not None:
        raise InputError(
            f"--prices {prices}: ranges have no effect with --corners, which takes the machine's own prices; "
            "give one of both"
        )


def _opened(given: list[str]) -> dict[str, Run]:
    """Return the runs by what they are called: by their folders' paths where names are the same."""
    from accelsim.trace.runs import open_run

    opened = [open_run(name) for name in given]
    paths = [run.path.resolve() for run in opened]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise InputError(f"{given[i]}: the same run as {given[paths.index(path)]}; give each run once")
    names = [run.name for run in opened]
    return {
        name if names.count(name) == 1 else str(run.path): run
        for name, run in zip(names, opened, strict=True)
    }


def _mapped(opened: dict[str, Run]) -> list[Padding]:
    """Return a note on the runs whose mappings were chosen by their energy."""
    from accelsim.report.layout import paragraph

    priced = [
        name
        for name, run in opened.items()
        if run.manifest["machine"]["mapping"]["objective"] in ("energy", "edp")
    ]
    told = f"{', '.join(priced)}: chosen at the nominal prices ([mapping] objective), and kept at others"
    return [paragraph("mapping", told)] if priced else []


def _intervals(found: Uncertain) -> Group:
    from accelsim.report.layout import grid
    from accelsim.trace import human

    rows = [(i.run, *map(human.energy, (i.nominal, i.low, i.median, i.high))) for i in found.intervals()]
    return grid("Energy", ("run", "nominal", "5 %", "median", "95 %"), rows)


def _tornado(found: Uncertain, top: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    from accelsim.report.layout import grid
    from accelsim.trace import human

    parts: list[Group | Text] = []
    for led in found.ledgers:
        swings = found.tornado(led.run, top)
        widest = max((s.size for s in swings), default=0.0) or 1.0
        rows = [
            (s.price, human.energy(s.low), human.energy(s.high), "█" * round(24 * s.size / widest))
            for s in swings
        ]
        parts.append(
            grid(f"What matters to {led.run}, one at a time", ("price", "at 5 %", "at 95 %", ""), rows)
        )
    return Group(*parts)


def _timings(name: str, run: Timed) -> Group:
    from rich.console import Group

    from accelsim.report.layout import grid, paragraph
    from accelsim.sweep.timings import time_swings
    from accelsim.trace import human

    rows = [(s.key, *map(human.time, s.time_ps), *map(human.energy, s.energy_pj)) for s in time_swings(run)]
    columns = ("key", "time, low", "high", "energy, low", "high")
    parts: list[Group | Padding] = []
    if rows:
        parts.append(grid(f"{name}, simulated again at both ends", columns, rows))
    if run.absent:
        told = f"{', '.join(run.absent)}: no such bank group in its machine, passed over"
        parts.append(paragraph(name, told))
    return Group(*parts)


def _duels(found: Uncertain) -> Group:
    from accelsim.report.layout import grid

    names = [led.run for led in found.ledgers]
    rows = [
        (f"{a} < {b}", f"{100 * found.less(a, b):.1f} %") for i, a in enumerate(names) for b in names[i + 1 :]
    ]
    return grid("Probability of needing less energy", ("", "P"), rows)


def _corners(name: str, run: Run, corners: str, temperatures: str) -> Group:
    from accelsim.report.layout import grid
    from accelsim.sweep.corners import corners as at
    from accelsim.sweep.corners import machine_at
    from accelsim.trace import human

    try:
        kelvins = [float(t) for t in temperatures.split(",")]
    except ValueError:
        raise InputError(f"--temperatures {temperatures}: expected kelvin, such as 300,350") from None
    machine_at(run, None)  # what is wrong with it at any temperature
    rows = []
    for kelvin in kelvins:
        try:
            found = at(run, corners.split(","), [kelvin])
        except ConfigError as exc:  # of a setting that was not typed
            what = exc.faults[0].partition(": ")[2]
            raise InputError(f"--temperatures {kelvin:g}: {what}") from None
        rows += [
            (c.corner, f"{kelvin:g} K", human.energy(c.total_pj), human.energy(c.leakage_pj)) for c in found
        ]
    return grid(
        f"{name} by corner (factors of leakage are assumed)", ("corner", "at", "energy", "leakage"), rows
    )


def breakeven(
    a: RunName,
    b: RunName,
    over: Annotated[
        str, typer.Option(metavar="AXES", help="Some of leakage, write_energy, utilization.")
    ] = "leakage,write_energy,utilization",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show where run A needs less energy than run B, as leakage, write energy and utilization change."""
    from accelsim.cli.console import results
    from accelsim.sweep.breakeven import pair_of, surface
    from accelsim.sweep.places import writable
    from accelsim.sweep.plots import SUFFIXES
    from accelsim.trace.runs import open_run

    axes = [axis.strip() for axis in over.split(",")]
    if plot is not None:
        writable(plot, SUFFIXES)
    pair = pair_of(open_run(a), open_run(b), axes)
    results().print(_crossings(pair, axes))
    if len(axes) > 1:
        results().print(_surface(surface(pair, axes)))
    if plot is not None:
        from accelsim.sweep.breakeven_plot import breakeven_plot

        with writing(plot, "--plot"):
            breakeven_plot(pair, axes, plot)
        typer.echo(f"plot: {plot}")


def _crossings(pair: Pair, axes: list[str]) -> Group:
    from accelsim.report.layout import grid
    from accelsim.sweep.breakeven import AXES

    rows = [(axis, AXES[axis], f"{pair.now(axis):.4g}", _crossing(pair, axis), pair.less()) for axis in axes]
    return grid("Break-even, all else as it is", ("axis", "", "now", "at", "now less"), rows, text_columns=2)


def _crossing(pair: Pair, axis: str) -> str:
    from accelsim.sweep.breakeven import always_equal, crossing
    from accelsim.trace import human

    at = crossing(pair, axis)
    if at is None:
        return "everywhere" if always_equal(pair) else "never"
    gap = f" (gap {human.time(pair.gap_ps(at))})" if axis == "utilization" else ""
    return f"{at:.4g}{gap}"


def _surface(found: Surface) -> Group:
    from accelsim.report.layout import grid

    x, y = found.axes
    columns = range(0, len(found.xs), 5)
    lines = range(len(found.ys) - 1, -1, -5)
    rows = [(f"{found.ys[i]:.3g}", *(f"{found.ratio[i, j]:.3f}" for j in columns)) for i in lines]
    title = f"Energy of {found.pair.a.run} over {found.pair.b.run}; rows {y}, columns {x}"
    heads = [f"{found.xs[j]:.3g}" for j in columns]
    return grid(title, (y, *heads), rows, spare=[*heads[1::2], *heads[-1:0:-2]], whole_in_files=True)
