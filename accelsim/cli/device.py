"""``accelsim device``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.report.device import DeviceFigures

Name = Annotated[
    str, typer.Argument(metavar="DEVICE", help="A device: the name of a shipped one, or a .toml file.")
]
Temperatures = Annotated[
    list[str] | None,
    typer.Option("--temperature", metavar="T", help='Such as "350 K" or "85 C"; a bare number is kelvin.'),
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures: .png, .svg or .pdf.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
PLOTS = (".png", ".svg", ".pdf")


def device(name: Name, temperature: Temperatures = None, plot: Plot = None, as_json: Json = False) -> None:
    """Print what the tunnel junction DEVICE does: retention, write errors, energy, read disturb, flips."""
    from accelsim.report.device import figures
    from accelsim.resolve.device import load_device

    check_plot(plot)
    found = [_figures_at(name, text) for text in temperature or ()] or [figures(load_device(name))]
    if plot is not None:
        from accelsim.report.device_tables import plot as draw

        draw(found, plot)
    if as_json:
        typer.echo(json.dumps({"device": found[0].name, "at": [f.json() for f in found]}, indent=1))
        return
    from accelsim.cli.console import results
    from accelsim.report.device_tables import device_tables

    results().print(device_tables(found))
    if plot is not None:
        typer.echo(f"plot: {plot}")


def _figures_at(name: str, temperature: str) -> DeviceFigures:
    """Return the figures of a device at a temperature of the command line, which is to blame if they fail."""
    from accelsim.report.device import figures
    from accelsim.resolve.device import load_device

    kelvin = kelvin_of(temperature)
    load_device(name)  # what is wrong with it anywhere
    try:
        return figures(load_device(name, kelvin))
    except InputError as exc:
        raise InputError(f"--temperature {temperature}: {exc}") from None


def check_plot(path: Path | None) -> None:
    """Refuse a plot that could not be written.

    Raises:
        InputError: an ending that is no picture's, or a folder that is not there.
    """
    if path is None:
        return
    if path.suffix not in PLOTS:
        raise InputError(f"--plot {path}: expected a name that ends in {', '.join(PLOTS)}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--plot {path}: there is no folder {path.absolute().parent}")


def kelvin_of(text: str) -> float:
    """Return a temperature of the command line in kelvin.

    Raises:
        InputError: not a temperature above absolute zero.

    >>> kelvin_of("350"), kelvin_of("77 C")
    (350.0, 350.15)
    """
    from accelsim.units import UnitError, kelvin

    try:
        float(text)
    except ValueError:
        bare = False
    else:
        bare = True
    try:
        return kelvin(f"{text} K" if bare else text)
    except UnitError as exc:
        raise InputError(f"--temperature: {exc}") from None
