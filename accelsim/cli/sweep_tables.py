"""The tables of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType

from accelsim.errors import InputError
from accelsim.report.layout import grid, paragraph
from accelsim.sweep.figures import Objective, figure
from accelsim.sweep.tally import NO_MACHINE
from accelsim.sweep.values import value_text
from accelsim.sweep.view import Entry, View, reasons

if TYPE_CHECKING:
    from accelsim.sweep.tally import Tally


MOST: Final = 20  # rows of a front
MOST_REASONS: Final = 10  # for which points have no figures


def outcome(found: View, tally: Tally) -> RenderableType:
    """Return what a sweep came to: how many points, and the front."""
    s = tally.states
    rows = [
        ("points done", str(s["done"])),
        ("failed", str(s["failed"])),
        ("left out by constraints", str(s["infeasible"])),
        *([("no machine", str(s[NO_MACHINE]))] if s[NO_MACHINE] else []),
        ("ruled out by bounds or ranking", str(s["ruled out"])),
        ("run now", f"{tally.evaluated} ({tally.rate:.3g} points/s)"),
        *([("of these trained", str(tally.trained))] if tally.trained else []),
        ("done before", str(tally.reused)),
    ]
    parts: list[RenderableType] = [grid(f"Sweep {found.study.name}", ("", ""), rows, text_columns=2)]
    if found.done:
        parts.append(front_table(found))
    return Group(*parts, *_reasons(found.entries))


def _reasons(entries: Sequence[Entry]) -> list[RenderableType]:
    """Return a line for every reason for which points have no figures, the most common first."""
    told = reasons(entries)
    lines: list[RenderableType] = [
        paragraph(state, f"{n} x {why.splitlines()[0]}") for state, why, n in told[:MOST_REASONS]
    ]
    if left := told[MOST_REASONS:]:
        lines.append(paragraph("others", f"{sum(n for *_, n in left)} for {len(left)} further reasons"))
    return lines


def front_table(found: View, goals: Sequence[Objective] | None = None, top: int = MOST) -> Group:
    """Return points of the front, by the first goal; goals are the sweep's objectives if not given.

    At most ``top``, spread over it, with both ends and the knee; 0: all.
    """
    on = found.front(goals)
    extra = [goal.name for goal in goals or ()]
    knee = found.knee(goals).row.ids if on else ()  # of unreached accuracies alone there is no front
    at = next((i for i, e in enumerate(on) if e.row.ids == knee), 0)
    shown = [on[i] for i in spread(len(on), top, at)]
    more = f", {len(shown)} shown" if len(shown) < len(on) else ""
    title = f"Front: {len(on)} of {len(found.done)} points{more}"
    return _table(title, found, shown, extra)


def spread(count: int, top: int, knee: int) -> list[int]:
    """Return ``top`` of ``count`` places, evenly spread, with both ends and the ``knee``; 0: all.

    >>> spread(9, 4, 3), spread(9, 1, 3), spread(3, 4, 0)
    ([0, 3, 5, 8], [3], [0, 1, 2])
    """
    if not 0 < top < count:
        return list(range(count))
    if top == 1:
        return [knee]
    places = [round(i * (count - 1) / (top - 1)) for i in range(top)]
    inner = places[1:-1]
    if inner and knee not in places:
        inner[min(range(len(inner)), key=lambda i: abs(inner[i] - knee))] = knee
    return sorted([places[0], *inner, places[-1]])


def _table(title: str, found: View, entries: Sequence[Entry], extra: Sequence[str]) -> Group:
    """Return points: number, figures, then the parameters that vary, of which a narrow screen lacks the last.

    One point shows them all by its number.
    """
    names = list(dict.fromkeys([*(g.name for g in found.objectives), *extra]))
    names = [n for n in names if n not in found.varied and f"{n}.total" not in names]
    rows = [
        [
            str(e.number),
            *(_figure(e, n) for n in names),
            *(value_text(e.params.get(n)) for n in found.varied),
        ]
        for e in entries
    ]
    parameters = [short(name) for name in found.varied]
    spare = [*parameters[:0:-1], *names[:0:-1]]
    return grid(title, ["point", *names, *parameters], rows, spare=spare, whole_in_files=True)


def short(name: str) -> str:
    """Return a key path without the word bank: ``mram.count``."""
    return name.removeprefix("bank.")


def _figure(entry: Entry, name: str) -> str:
    if not entry.figures:
        return f"({entry.row.state})"
    try:
        return value_text(figure(entry.figures, name))
    except InputError:
        return "-"


def points(found: View, entries: Sequence[Entry], top: int, column: str | None) -> Group:
    """Return the first ``top`` entries, 0: all, with a further figure as ``column``."""
    extra = [column] if column else []
    shown = entries[: top or None]
    table = _table(f"{len(shown)} of {len(entries)} points", found, shown, extra)
    return Group(table, *_reasons(entries))


def one_point(found: View, entry: Entry) -> RenderableType:
    """Return a point whole: its parameters, and its main figures."""
    names = list(
        dict.fromkeys([*(g.name for g in found.objectives), "cycles", "energy_pj", "area_mm2", "edp_pj_s"])
    )
    rows = [(name, value_text(value)) for name, value in entry.params.items()]
    told = [(name, _figure(entry, name)) for name in names]
    title = f"Point {entry.number} of {found.study.name}"
    parts = [grid(title, ("", ""), rows, text_columns=2), grid("Figures", ("", ""), told)]
    return Group(*parts, *_reasons([entry]))


EXACT: Final = "of the variance that a parameter explains by itself. The rest is interaction."
FITTED: Final = (
    "of the variance that a parameter explains by itself, in a fit by a sum of their effects, less what "
    "chance explains; -: no more than that. The rest is interaction, what the fit misses, and chance."
)


def importances(found: View) -> RenderableType:
    """Return the share of each objective's variation that each parameter explains by itself."""
    from accelsim.sweep.importance import importance

    told = {g.name: importance(found, g.name) for g in found.objectives}
    if few := max(one.missing for one in told.values()):
        done = len(found.done)
        return paragraph("Importance", f"too few points: {done} done, at least {few} more needed")
    names = list(dict.fromkeys(name for one in told.values() for name in one.shares))
    rows = [(_shorts(name), *(_share(one.shares.get(name)) for one in told.values())) for name in names]
    rows.append(("rest", *(_share(one.rest) for one in told.values())))
    note = EXACT if all(one.exact for one in told.values()) else FITTED
    return Group(grid("Importance", ("parameter", *told), rows), paragraph("Share", note))


def _shorts(name: str) -> str:
    return " = ".join(map(short, name.split(" = ")))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
