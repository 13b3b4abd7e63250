"""``accelsim check`` and ``accelsim schema``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from accelsim.resolve.machine import Machine
    from accelsim.resolve.summary import DeviceSummary, GroupSummary, MachineSummary, MacroSummary
    from accelsim.run.memorychecks import Check

Arch = Annotated[str, typer.Argument(help="A machine: the name of a shipped one, or a .toml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the machine, such as dram.latency=80ns."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


Self = Annotated[
    bool,
    typer.Option(
        "--self", help="Also simulate one tile, ports and DRAM, and hold them against closed forms."
    ),
]


Against = Annotated[
    str | None,
    typer.Option(
        "--macros-against",
        metavar="TABLE",
        help="Also print what changes with another array table: a shipped one, or a .csv file.",
    ),
]


def check(
    arch: Arch,
    overrides: Overrides = None,
    own: Self = False,
    macros_against: Against = None,
    as_json: Json = False,
) -> None:
    """Check the machine ARCH and print what it comes to: rates, banks, area, sources."""
    from dataclasses import asdict

    from accelsim.config.sources import unknown_sources
    from accelsim.resolve import load_machine
    from accelsim.resolve.load import load_against, load_prices, load_unused
    from accelsim.resolve.summary import summarize

    machine = load_machine(arch, overrides or ())
    summary = summarize(machine)
    other = None
    if macros_against is not None:
        other = summarize(load_against(arch, overrides or (), macros_against))
    unused = load_unused(arch, overrides or ())
    priced = [str(given["source"]) for given in load_prices(arch, overrides or ()).values()]
    unknown = unknown_sources([*summary.sources, *priced])
    checks = _self_checks(machine) if own else []
    if as_json:
        told = {
            **asdict(summary),
            "sensitivity": asdict(machine.sensitivity) if machine.sensitivity else None,
            "self_checks": [{**asdict(c), "passed": c.passed} for c in checks],
        }
        if unknown:
            told["sources_not_in_docs"] = unknown
        if unused:
            told["unused_keys"] = unused
        if machine.split:
            told["fields"] = {role: [f._asdict() for f in of] for role, of in machine.split.items()}
        if other is not None:
            told["macros_against"] = {"table": macros_against, "groups": [asdict(g) for g in other.groups]}
        typer.echo(json.dumps(told, indent=1, sort_keys=True))
    else:
        _print(summary, machine, unknown)
        for line in unused:
            typer.echo(f"Note: {line}")
        if other is not None:
            _print_against(summary, other, macros_against or "")
        if own:
            _print_checks(checks)
    failed = [c for c in checks if not c.passed]
    if failed:
        raise RunError(f"{summary.name}: {len(failed)} of {len(checks)} self-checks failed")


def _self_checks(machine: Machine) -> list[Check]:
    from accelsim.run.selfcheck import self_checks

    return self_checks(machine)


def _print_against(summary: MachineSummary, other: MachineSummary, table: str) -> None:
    from accelsim.cli.console import results
    from accelsim.report.macros import against

    results().print(against(summary, other, table))


def _print_checks(checks: list[Check]) -> None:
    from accelsim.cli.console import results
    from accelsim.report.layout import grid

    rows = [
        (
            "pass" if c.passed else "FAIL",
            c.name,
            c.formula or c.note,
            f"{'>= ' * c.at_least}{c.expected:,.10g}",
            f"{c.found:,.10g}",
        )
        for c in checks
    ]
    results().print(grid("self-check", ("", "check", "by hand", "expected", "found"), rows, 3))


def schema() -> None:
    """Print the JSON Schema of a machine's file, for editors."""
    from accelsim.config.schema import arch_schema

    typer.echo(json.dumps(arch_schema(), indent=1))


def _print(summary: MachineSummary, machine: Machine, unknown: list[str]) -> None:
    from accelsim.cli.console import results
    from accelsim.report.layout import paragraph
    from accelsim.report.placement import dwell_table, field_table
    from accelsim.resolve.summary import TINY

    console, sensitivity = results(), machine.sensitivity
    console.print(_overview(summary))
    console.print(_banks(summary))
    console.print(_costs(summary))
    if any(g.macro is not None for g in summary.groups):
        console.print(_devices(summary))
    for g in summary.groups:
        if g.techniques:
            console.print(paragraph(g.name, ", ".join(g.techniques)))
        if g.tiny_rows:
            told = f"macros from rows of the array table flagged tiny ({g.tiny_rows}): {TINY}"
            console.print(paragraph(g.name, told))
    if machine.split:
        console.print(field_table(machine))
    if sensitivity is not None:
        console.print(dwell_table(sensitivity, [g.name for g in summary.groups]))
    known = [source for source in summary.sources if source not in unknown]
    console.print(paragraph("sources", ", ".join(known) or "none"))
    if unknown:
        console.print(paragraph("sources not in docs/sources.md", ", ".join(unknown)))
    console.print(paragraph(f"assumed values: {len(summary.assumed)}", _tables_of(summary.assumed)))


def _overview(s: MachineSummary) -> RenderableType:
    from accelsim.report.layout import grid
    from accelsim.trace import human

    macs = f"{s.peak_macs_per_s / 1e12:.4g} TMAC/s"
    rows = [
        ("PE array", f"{s.rows} x {s.cols}, {s.dataflow}, {s.convention} folds, {s.clock_hz / 1e9:.4g} GHz"),
        ("peak", macs),
        ("node, temperature", f"{s.node_nm} nm, {s.temperature_k:g} K"),
        ("vector unit", f"{s.vector_elements_per_s / 1e9:.4g} G elements/s"),
        (
            "scratchpad",
            f"{human.capacity(s.capacity_bytes)}, {s.area_mm2:.4g} mm2, {s.leakage_mw:.4g} mW leakage",
        ),
        ("accumulator", human.capacity(s.accumulator_bytes)),
        ("DRAM", f"{s.dram_bytes_per_s / 1e9:.4g} GB/s, {human.time(s.dram_latency_ps)}"),
        ("ridge", f"{s.ridge_macs_per_byte:.4g} MAC per DRAM byte"),
        ("static power", f"{s.static_mw:.4g} mW"),
    ]
    return grid(s.name, ("", ""), rows, text_columns=2)


def _banks(s: MachineSummary) -> RenderableType:
    from accelsim.report.layout import grid
    from accelsim.trace import human

    def rate(value: float) -> str:
        return f"{value / 1e9:,.4g}"

    rows = [
        (
            g.name,
            g.technology,
            human.capacity(g.capacity_bytes),
            f"{g.macros} x {human.capacity(g.macro_bytes)}",
            rate(g.read_bytes_per_s),
            rate(g.write_bytes_per_s),
        )
        for g in s.groups
    ]
    rows.append(
        ("", "array's demand", "", "", rate(s.demand.read_bytes_per_s), rate(s.demand.write_bytes_per_s))
    )
    return grid("sustained", ("bank", "technology", "capacity", "macros", "read GB/s", "write GB/s"), rows, 2)


def _costs(s: MachineSummary) -> RenderableType:
    from accelsim.report.layout import grid

    columns = (
        "bank",
        "read ns",
        "cycle ns",
        "write ns",
        "read pJ/bit",
        "write pJ/bit",
        "leak mW",
        "mm2",
        "fit",
    )
    return grid("per macro and word; leakage and area of the group", columns, [_cost(g) for g in s.groups])


def _devices(s: MachineSummary) -> RenderableType:
    """Return the STT-MRAM groups' devices, and what every macro's own pulse could write."""
    from accelsim.report.layout import grid
    from accelsim.report.si import lifetime, si

    groups = [g for g in s.groups if g.macro is not None]
    lines: list[tuple[str, Callable[[DeviceSummary], str]]] = [
        ("device", lambda d: d.name),
        ("thermal stability", lambda d: f"{d.delta:.2f}"),
        ("mean retention", lambda d: lifetime(d.retention_s)),
        ("write pulse", lambda d: si(d.pulse_s, "s")),
        ("write current", lambda d: f"{si(d.write_current_a, 'A')} ({d.overdrive:.2f} x critical)"),
        ("write error rate", lambda d: f"{d.write_error_rate:.2e}"),
        ("read disturb per read", lambda d: f"{d.read_disturb:.2e}"),
    ]
    some = any(g.device is not None for g in groups)
    rows = [
        (name, *(text(g.device) if g.device is not None else "-" for g in groups))
        for name, text in lines
        if some or name == "device"
    ]
    macros = [g.macro for g in groups if g.macro is not None]
    rows.append(("cell of the macro, its current", *(f"{m.cell}, {si(m.current_a, 'A')}" for m in macros)))
    rows.append(("its own pulse writes", *(_writes(m) for m in macros)))
    return grid(f"cells at {s.temperature_k:g} K", ("", *(g.name for g in groups)), rows)


def _writes(m: MacroSummary) -> str:
    limit = f"delta <= {m.largest_delta:.1f}" if m.largest_delta else "no delta from 8 up"
    return f"{limit} at {m.target_wer:.0e}"


def _cost(g: GroupSummary) -> tuple[str, ...]:
    times = (g.read_latency_ps, g.read_cycle_ps, g.write_cycle_ps)
    return (
        g.name,
        *(f"{ps / 1000:.3f}" for ps in times),
        f"{g.read_pj_per_bit:.4f}",
        f"{g.write_pj_per_bit:.4f}",
        f"{g.leakage_mw:.4g}",
        f"{g.area_mm2:.4g}",
        f"+-{100 * g.fit_residual:.2g} %" if g.fit_residual else "exact",
    )


def _tables_of(keys: tuple[str, ...]) -> str:
    """Return the keys' tables, each with the number of its values."""
    counts: dict[str, int] = {}
    for key in keys:
        table = key.rsplit(".", 1)[0]
        counts[table] = counts.get(table, 0) + 1
    return ", ".join(f"{table} ({n})" for table, n in counts.items()) or "none"
