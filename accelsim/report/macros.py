"""Tables of array tables: what is in one, and what changes where a machine takes another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType

from accelsim.device.leakage import MIN_K, max_kelvin
from accelsim.device.macros import MacroTable
from accelsim.device.rows import Row
from accelsim.report.layout import grid, paragraph
from accelsim.resolve.summary import TINY, GroupSummary, MachineSummary
from accelsim.units import size_text

_QUANTITIES: Final = (  # of a group: what it is called, its field, and the field's divisor
    ("capacity, KiB", "capacity_bytes", 1024),
    ("read latency, ns", "read_latency_ps", 1000),
    ("read cycle, ns", "read_cycle_ps", 1000),
    ("write cycle, ns", "write_cycle_ps", 1000),
    ("read, pJ/bit", "read_pj_per_bit", 1),
    ("write, pJ/bit", "write_pj_per_bit", 1),
    ("leakage, mW", "leakage_mw", 1),
    ("area, mm2", "area_mm2", 1),
)


def against(one: MachineSummary, other: MachineSummary, table: str) -> RenderableType:
    """Return the groups of a machine beside those of the same machine made of ``table``."""
    rows = [row for a, b in zip(one.groups, other.groups, strict=True) for row in _compared(a, b)]
    rows.append(("all banks", "leakage, mW", *_pair(one.leakage_mw, other.leakage_mw)))
    rows.append(("", "area, mm2", *_pair(one.area_mm2, other.area_mm2)))
    parts: list[RenderableType] = [
        grid(f"with array table {table}", ("bank", "", "as it is", "with it", "ratio"), rows, 2)
    ]
    for summary, which in ((one, "as it is"), (other, f"with {table}")):
        parts += [
            paragraph(f"{g.name}, {which}", f"macros from rows flagged tiny ({g.tiny_rows}): {TINY}")
            for g in summary.groups
            if g.tiny_rows
        ]
    return Group(*parts)


def _compared(a: GroupSummary, b: GroupSummary) -> Iterator[tuple[str, ...]]:
    first = True
    for name, field, divisor in _QUANTITIES:
        was, now = getattr(a, field) / divisor, getattr(b, field) / divisor
        if field == "capacity_bytes" and was == now:
            continue
        yield (a.name if first else "", name, *_pair(was, now))
        first = False


def _pair(was: float, now: float) -> tuple[str, str, str]:
    return f"{was:,.4g}", f"{now:,.4g}", f"{now / was:.3f}" if was else "-"


def macro_rows(name: str, rows: Sequence[Row]) -> RenderableType:
    """Return the macros of a table, a line each."""
    numbers = (
        "temperature_K",
        "read_ns",
        "read_cycle_ns",
        "write_ns",
        "read_pJ",
        "write_pJ",
        "leak_mW",
        "area_mm2",
    )
    lines = [
        (
            f"{row.cell}, {row.node_nm} nm {row.flavour}",
            str(row.word_bits),
            size_text(row.capacity_bytes),
            *(f"{row.numbers[column]:.4g}" for column in numbers),
        )
        for row in sorted(rows, key=lambda r: (r.key, r.kelvin, r.capacity_bytes))
    ]
    title = f"{name}: {len(lines)} macro{'s' * (len(lines) > 1)}; times in ns, energies of a word in pJ"
    columns = ("macro", "bits", "capacity", "K", "read", "cycle", "write", "read", "write", "leak mW", "mm2")
    return grid(title, columns, lines, 0, spare=("cycle", "K", "bits"), whole_in_files=True)


def macro_series(table: MacroTable) -> RenderableType:
    """Return the series of a table: of what there are macros, of which words and capacities."""
    lines: dict[tuple[str, str, str, str], list[int]] = {}
    for (cell, node, flavour, word), series in sorted(table.series.items()):
        low, high = (size_text(c) for c in series.capacities)
        kelvin = ", ".join(f"{k:g} K" for k in series.at_kelvin or ())
        there = kelvin if not series.law else f"{MIN_K:g} K to {max_kelvin(flavour):g} K"
        sizes = low if low == high else f"{low} to {high}"
        lines.setdefault((cell, f"{node} nm {flavour}", sizes, there), []).append(word)
    rows = [(*key, ", ".join(map(str, words))) for key, words in lines.items()]
    columns = ("cell", "node", "macros", "leakage at", "word, bit")
    return grid(f"{table.name} (source: {table.source})", columns, rows, 5)
