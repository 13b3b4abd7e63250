"""``accelsim errors``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli.device import check_plot, kelvin_of
from accelsim.cli.reports import RunName, Top
from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.resolve.bank_group import BankGroup, Device

Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="GROUP=NAME",
        help="Judge a bank group as made of this device: a shipped name, or a .toml file.",
    ),
]
Temperature = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help='Such as "350 K" or "85 C". The run\'s own devices keep their pulse.',
    ),
]
Per = Annotated[str, typer.Option(metavar="UNIT", help="bit, or a larger unit: word:64b, line:64B.")]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw distances and errors: .png, .svg or .pdf.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def errors(
    run: RunName,
    device: Devices = None,
    temperature: Temperature = None,
    per: Per = "bit",
    plot: Plot = None,
    as_json: Json = False,
    top: Top = 10,
) -> None:
    """Show which bits of RUN are read wrong, and why: by role, phase and layer.

    Other devices judge the same run without simulating it again; its timing stays.
    """
    from accelsim.device.mtj import OutOfRange
    from accelsim.reliability.sums import unit_of
    from accelsim.report.errors import banks_of, error_tables, errors_of, plot_errors
    from accelsim.trace.runs import open_run

    unit = unit_of(per)
    check_plot(plot)
    found = open_run(run)
    kelvin = None if temperature is None else kelvin_of(temperature)
    machine_k = float(found.manifest["machine"].get("temperature_k", 300.0))
    others = _devices(device or (), banks_of(found), machine_k if kelvin is None else kelvin)
    try:
        told = errors_of(found, unit, others, kelvin)
    except OutOfRange as exc:
        at = f"--temperature {temperature}: " if temperature is not None else ""
        raise InputError(f"{at}the laws of a device do not reach there: {exc.told}") from None
    if plot is not None:
        plot_errors(told, plot)
    if as_json:
        typer.echo(json.dumps(told.json(), indent=1, sort_keys=True))
        return
    from accelsim.cli.console import results

    results().print(error_tables(told, top))
    if plot is not None:
        typer.echo(f"plot: {plot}")


def _devices(given: Sequence[str], banks: dict[str, BankGroup], temperature_k: float) -> dict[str, Device]:
    from accelsim.config.faults import did_you_mean
    from accelsim.resolve.device import load_device

    found: dict[str, Device] = {}
    for text in given:
        group, equals, name = text.partition("=")
        if not (group and equals and name):
            raise InputError(f"--device {text}: expected GROUP=NAME, such as {next(iter(banks))}=mram-1s")
        if group not in banks:
            hint = did_you_mean(group, banks) or f"; there are {', '.join(banks)}"
            raise InputError(f"--device {text}: the run has no bank group {group}{hint}")
        if group in found:
            raise InputError(f"--device {text}: {group} has a device already; give each group once")
        try:
            found[group] = load_device(name, temperature_k)
        except InputError as exc:
            raise InputError(f"--device {text} at {temperature_k:g} K: {exc}") from None
    return found
