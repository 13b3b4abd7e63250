"""``accelsim macros``: array tables from the results of NVSim and CACTI, and what is in a table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from accelsim.errors import InputError, writing

app = typer.Typer(
    no_args_is_help=True,
    help="Array tables: import the results of NVSim, CACTI or a plain CSV, and show what is in a table.",
    epilog="Example: accelsim macros import nvsim.log out.csv --name mine",
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


@app.command("import", epilog="Example: accelsim macros import out.csv --name l2 --flavour LOP --node 22nm")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results, of one macro or of many.")],
    name: Annotated[str, typer.Option(help="What the table is called.")],
    kind: Annotated[str, typer.Option("--format", help="auto, nvsim, cacti or csv.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The table; else NAME.csv.")] = None,
    cell: Annotated[
        str | None, typer.Option(help="Cell: sram..., or a name of your own for STT-MRAM.")
    ] = None,
    node: Annotated[str | None, typer.Option(help='Such as "22 nm".')] = None,
    flavour: Annotated[str | None, typer.Option(help="Transistors: HP, LOP or LSTP.")] = None,
    temperature: Annotated[str | None, typer.Option(help='Of the leakage, such as "350 K".')] = None,
    word: Annotated[str | None, typer.Option(help='Of one access, such as "256 bit".')] = None,
    cell_current: Annotated[
        str | None, typer.Option(help='Write current of an STT-MRAM cell, "40 uA".')
    ] = None,
    cell_pulse: Annotated[str | None, typer.Option(help='Its write pulse, "5 ns".')] = None,
    cell_energy: Annotated[str | None, typer.Option(help='Energy of its write, "0.25 pJ".')] = None,
    cell_access_width: Annotated[
        float | None, typer.Option(help="Width of its access transistor, in feature sizes.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the table.")] = False,
    as_json: Json = False,
) -> None:
    """Make an array table, for macro_table of a machine, of results of NVSim or CACTI or a plain CSV."""
    from accelsim.device.imports.files import FORMATS, comments, import_file
    from accelsim.device.imports.given import Given
    from accelsim.device.macros import table_of_rows
    from accelsim.device.rows import write_rows

    if kind not in FORMATS:
        raise typer.BadParameter(f'expected {", ".join(FORMATS)}, got "{kind}"', param_hint="--format")
    flavour = flavour.upper() if flavour else flavour
    if flavour not in (None, "HP", "LOP", "LSTP"):
        raise typer.BadParameter(f'expected HP, LOP or LSTP, got "{flavour}"', param_hint="--flavour")
    _check_name(name)
    target = out or Path(f"{name}.csv")
    _check_target(target, force)
    said = {
        "cell": cell or "",
        "roadmap": flavour or "",
        "cell_access_width_F": "" if cell_access_width is None else repr(cell_access_width),
        **_numbers((node, temperature, word, cell_current, cell_pulse, cell_energy)),
    }
    given = Given(options={column: text for column, text in said.items() if text})
    read = [import_file(path, kind, given) for path in files]
    rows = [row for file in read for row in file.rows]
    table_of_rows(rows, str(target))  # two of the same macro are refused before anything is written
    with writing(target):
        write_rows(target, rows, comments(name, read, given))
    if as_json:
        told = [
            {"file": str(f.path), "format": f.kind, "macros": len(f.rows), "sha256": f.sha256} for f in read
        ]
        typer.echo(json.dumps({"table": str(target), "macros": len(rows), "files": told}, indent=1))
        return
    from accelsim.cli.console import results
    from accelsim.report.macros import macro_rows

    results().print(macro_rows(name, rows))
    typer.echo(f"array table: {target}")


@app.command("show", epilog="Example: accelsim macros show nvsim-min64")
def show(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A shipped table, or a .csv file.")] = "",
) -> None:
    """Show of what an array table has macros; without TABLE: of every shipped one."""
    from accelsim.cli.console import results
    from accelsim.device.macros import load_table, table_names
    from accelsim.report.macros import macro_series

    for name in [table] if table else table_names():
        results().print(macro_series(load_table(name)))


def _check_name(name: str) -> None:
    """Refuse a name that is no plain one, or that a shipped table has: which is meant would be open."""
    from accelsim.device.macros import table_names

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise InputError(
            f'--name {name}: expected letters, digits, "-" and "_", such as --name mine; '
            "--out FOLDER/FILE.csv says where the table goes"
        )
    if name in table_names():
        raise InputError(f"--name {name}: a shipped table is called so; give another name, such as my-{name}")


def _check_target(path: Path, force: bool) -> None:
    if path.suffix != ".csv":
        raise InputError(f"--out {path}: expected a name that ends in .csv")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out {path}: no folder {path.parent}")
    if path.exists() and not force:
        raise InputError(f"{path}: is there already; give --force to replace it, or another --out")


def _numbers(texts: tuple[str | None, ...]) -> dict[str, str]:
    """Return the options that are quantities by column, in the column's unit; empty ones were not given."""
    from accelsim.device.imports.given import plain
    from accelsim.units import CURRENT, ENERGY, LIFETIME, NODE, SIZE, TEMPERATURE, UnitError, kelvin

    options = (
        ("--node", "node_nm", NODE, 1.0),
        ("--temperature", "temperature_K", TEMPERATURE, 1.0),
        ("--word", "word_bits", SIZE, 8.0),
        ("--cell-current", "cell_current_uA", CURRENT, 1e6),
        ("--cell-pulse", "cell_pulse_ns", LIFETIME, 1e9),
        ("--cell-energy", "cell_energy_pJ", ENERGY, 1.0),
    )
    found = {}
    for (option, column, dimension, factor), text in zip(options, texts, strict=True):
        try:
            if text is not None:
                value = kelvin(text) if dimension is TEMPERATURE else float(dimension.parse(text))
                found[column] = plain(value * factor)
        except UnitError as exc:
            raise InputError(f"{option}: {exc}") from None
    return found
