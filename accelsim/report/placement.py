"""What placement by sensitivity kept out of which bank group, in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.report.layout import grid, paragraph
from accelsim.trace import human

if TYPE_CHECKING:
    from accelsim.resolve.machine import Machine, Sensitivity

Told = Mapping[str, Any]


def split(fields: Sequence[Told]) -> RenderableType:
    """Return where the bit fields of split tensors lay, by a summary's ``fields``."""
    rows = [
        (
            f["role"],
            f["field"],
            f["group"],
            str(f["bits"]),
            human.traffic(f["read_bytes"]),
            human.time(f["mean_dwell_ps"]),
        )
        for f in fields
    ]
    columns = ("role", "bit field", "bank group", "bits", "read", "mean time since the write")
    return grid("Placement by bit field", columns, rows, text_columns=3)


def field_table(machine: Machine) -> RenderableType:
    """Return which bits of each role's tensors may lie in which groups."""
    rows = [
        (role, str(machine.formats[role]), f.name, str(f.bits), ", ".join(f.groups))
        for role, of in machine.split.items()
        for f in of
    ]
    return grid("placement by bit field", ("role", "format", "field", "bits", "bank groups"), rows, 5)


def by_sensitivity(placement: Told | None, errors: Told) -> list[RenderableType]:
    """Return what the policy kept out and what it did not, by a summary's ``placement`` and ``errors``."""
    parts: list[RenderableType] = []
    if placement is not None:
        parts.append(_kept_out(placement))
        if placement["largest"]:
            parts.append(_largest(placement["largest"]))
    if "breaches" in errors:
        parts.append(_breaches(errors["breaches"]))
    return parts


def _kept_out(placement: Told) -> RenderableType:
    title = f"Kept out by sensitivity ({placement['file']}: {placement['workload']})"
    rows = [
        (r["role"], r["group"], r["why"], f"{r['tensors']:,}", human.capacity(r["bytes"]))
        for r in placement["kept_out"]
    ]
    if not rows:
        return Text(f"{title}: nothing")
    return grid(title, ("role", "of group", "why", "tensors", "size"), rows, text_columns=3)


def _largest(largest: Sequence[Told]) -> Group:
    rows = [
        (
            r["tensor"],
            r["group"],
            human.capacity(r["bytes"]),
            _reason(r),
            r["lies_in"].replace("dram", "DRAM"),
        )
        for r in largest
    ]
    return grid("The largest of them", ("tensor", "of group", "size", "why", "lies in"), rows, text_columns=2)


def _reason(r: Told) -> str:
    if not r["measured"]:
        return "not in the file"
    if not r["dwell_ps"]:
        return f"{r['least']:.2g} wrong at once, {r['rate']:.2g} tolerated"
    return f"would lie {human.time(r['lies_ps'])}, {r['rate']:.2g} after {human.time(r['dwell_ps'])}"


def _breaches(b: Told) -> RenderableType:
    if not b["rows"]:
        return Text("No read met more errors than tolerated.")
    rows = [
        (r["tensor"], r["reader_layer"], r["bank_group"], f"{r['p_total']:.3g}", f"{r['rate']:.3g}")
        for r in b["worst"]
    ]
    share = human.percent(b["bits"], b["of_bits"])
    title = f"More errors than tolerated: {share} of the bits read ({b['rows']:,} of {b['of_rows']:,} rows)"
    return grid(title, ("tensor", "read by", "in", "wrong", "tolerated"), rows, text_columns=3)


def dwell_table(sensitivity: Sensitivity, groups: Sequence[str]) -> RenderableType:
    """Return how long each class of tensors may lie in each group, or why not, and what that rests on."""
    rows = [
        (
            t.role,
            t.layer,
            f"{t.rate:.2g}" if t.measured else "not measured",
            *(_limit(t.least.get(g), t.dwell_ps.get(g), t.rate) for g in groups),
        )
        for t in sensitivity.tolerated
        if t.measured
        or not any(o.role == t.role and o.layer == "*" and o.measured for o in sensitivity.tolerated)
    ]
    title = f"longest stay by {sensitivity.file} ({sensitivity.workload}, {sensitivity.tolerance:g} lost)"
    table = grid(title, ("role", "read by", "tolerated", *groups), rows, text_columns=2)
    if not sensitivity.measured_with:
        return table
    return Group(table, paragraph("measured with", sensitivity.measured_with))


def _limit(least: float | None, dwell_ps: int | None, rate: float) -> str:
    if least is None:
        return "no errors"
    if dwell_ps is None:
        return "no limit"
    return human.time(dwell_ps) if dwell_ps else f"none: {least:.2g} > {rate:.2g}"
