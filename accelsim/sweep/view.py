"""What a study has found: its candidates with their parameters and figures, sorted and chosen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.sweep.expression import Expression, ExpressionError, parse
from accelsim.sweep.figures import Figures, Objective, combined, everything, figure, objective
from accelsim.sweep.pareto import front, knee
from accelsim.sweep.plan import Sweep, load_sweep
from accelsim.sweep.space import Candidate
from accelsim.sweep.store import Row
from accelsim.sweep.study import TOML, Study, open_study
from accelsim.sweep.tally import NO_MACHINE, as_now

LEFT_OUT: Final = ("failed", "infeasible", "ruled out", NO_MACHINE)
MOST_NAMED: Final = 6  # of names that a short one may mean


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate: what it is, and what came of it."""

    row: Row
    figures: Figures
    numbers: dict[str, Any]  # parameters in base units

    @property
    def number(self) -> int:
        """Its number in the study."""
        return self.row.number

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters as they are written."""
        return self.row.params

    def names(self) -> dict[str, Any]:
        """Return all that an expression may name."""
        return {**everything(self.figures), **self.numbers, "number": self.number, "state": self.row.state}


@dataclass(frozen=True)
class View:
    """A study with all its entries."""

    study: Study
    sweep: Sweep
    entries: list[Entry] = field(default_factory=list)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The sweep's objectives."""
        return self.sweep.objectives

    @property
    def done(self) -> list[Entry]:
        """The entries that have figures and meet the constraints."""
        return [e for e in self.entries if e.row.state == "done"]

    @property
    def varied(self) -> list[str]:
        """The parameters of which there are several values."""
        names = dict.fromkeys(name for e in self.entries for name in e.params)
        return [n for n in names if len({repr(e.params.get(n)) for e in self.entries}) > 1]

    def front(self, goals: Sequence[Objective] | None = None) -> list[Entry]:
        """Return the entries that no other dominates, by the first goal; of equal points the first."""
        goals = goals or self.objectives
        unique = list({e.row.ids: e for e in reversed(self.done)}.values())[::-1]
        on = [unique[i] for i in front(self.costs(unique, goals))]
        return sorted(on, key=lambda e: (goals[0].cost(e.figures), e.number))

    def knee(self, goals: Sequence[Objective] | None = None) -> Entry:
        """Return the knee of the front; there is one wherever a point is done."""
        there = self.done
        index = knee(self.costs(there, goals or self.objectives))
        assert index is not None
        return there[index]

    def finite(self, goals: Sequence[Objective]) -> View:
        """Return the view without done entries of which a goal is infinite: no training got there."""
        kept = [
            e
            for e in self.entries
            if e.row.state != "done" or all(map(math.isfinite, self.costs([e], goals)[0]))
        ]
        return replace(self, entries=kept)

    def technology(self, entry: Entry) -> str:
        """Return what the banks of an entry's machine are made of, such as ``sram + stt-mram``."""
        banks = self.sweep.machine_of(entry.row.settings).banks.values()
        return " + ".join(sorted({bank.technology for bank in banks}))

    def costs(self, entries: Sequence[Entry], goals: Sequence[Objective]) -> list[list[float]]:
        """Return what is to be small, by entry."""
        return [[goal.cost(e.figures) for goal in goals] for e in entries]


def view(name_or_path: str) -> View:
    """Return the study of that name or folder.

    Raises:
        InputError: There is none, or its base machine is gone.
    """
    study = open_study(name_or_path)
    sweep = load_sweep(str(_source(study)))
    store = study.opened()
    try:
        rows = as_now(store.candidates(study.name), sweep.constraints)
        outcomes = store.outcomes(one for row in rows for one in row.ids)
    finally:
        store.close()
    entries = []
    for row in rows:
        parts = [outcomes[one].figures for one in row.ids if one in outcomes]
        whole = bool(parts) and len(parts) == len(row.ids) and all(p is not None for p in parts)
        figures = combined([p for p in parts if p is not None]) if whole else {}
        entries.append(Entry(row, figures, _numbers(sweep, row)))
    return View(study, sweep, entries)


def _source(study: Study) -> Path:
    """Return the sweep's file if it is as it was, as its relative names are read from where it lies."""
    copy = study.path / TOML
    for source in study.sources:
        with suppress(OSError):
            if source.read_bytes() == copy.read_bytes():
                return source
    return copy


def _numbers(sweep: Sweep, row: Row) -> dict[str, Any]:
    try:
        return sweep.space.numbers(Candidate(row.params, row.settings))
    except InputError:
        return dict(row.params)


def full_name(name: str, entries: Iterable[Entry]) -> str:
    """Return the parameter or figure that ``name`` means: it, or the only one that ends in it after a dot.

    Raises:
        InputError: There are several.
    """
    known = list(dict.fromkeys(key for e in entries for key in e.names()))
    if name in known:
        return name
    ends = [key for key in known if key.endswith(f".{name}")]
    if len(ends) > 1:
        more = ", ..." if len(ends) > MOST_NAMED else ""
        raise InputError(f'"{name}" is ambiguous: {", ".join(ends[:MOST_NAMED])}{more}')
    return ends[0] if ends else name


def chosen(entries: Sequence[Entry], where: str | None) -> list[Entry]:
    """Return the entries for which the expression ``where`` holds; one without its figures is left out.

    Raises:
        InputError: It is no expression, or names what no entry has.
    """
    if where is None:
        return list(entries)
    expression = parse(where)
    meant = {name: full_name(name, entries) for name in expression.names}
    named = [(e, _as_named(e.names(), meant)) for e in entries]
    if named and not any(all(n in names for n in meant) for _, names in named):
        expression.value(max((names for _, names in named), key=len))  # says what there is
    return [e for e, names in named if _holds(expression, names)]


def _as_named(names: dict[str, Any], meant: Mapping[str, str]) -> dict[str, Any]:
    return names | {short: names[name] for short, name in meant.items() if name in names}


def _holds(expression: Expression, names: Mapping[str, Any]) -> bool:
    try:
        return bool(expression.value(names))
    except ExpressionError:
        return False


def in_order(entries: Sequence[Entry], key: str) -> list[Entry]:
    """Return the entries sorted by a figure or parameter; ``-key`` is the largest first.

    Raises:
        InputError: No entry has it.
    """
    name, sign = full_name(key.lstrip("-"), entries), -1 if key.startswith("-") else 1

    def rank(entry: Entry) -> tuple[bool, float, str]:
        value = entry.names().get(name)
        if isinstance(value, int | float):
            return False, sign * value, ""
        return value is None, math.inf, str(value)

    if entries and all(name not in e.names() for e in entries):
        figure(max((e.names() for e in entries), key=len), name)  # says what there is
    return sorted(entries, key=lambda e: (*rank(e), e.number))


def value_of(entry: Entry, name: str) -> Any:
    """Return a parameter, as it is written or as tables call it, or a figure.

    Raises:
        InputError: It has neither.
    """
    name = full_name(name, [entry])
    if name in entry.params:
        return entry.params[name]
    return figure({**entry.numbers, **entry.figures}, name)


def table_of(view: View) -> dict[str, list[Any]]:
    """Return the study as columns: number, state, why, parameters, figures."""
    figures = sorted({name for e in view.entries for name in e.figures})
    params = list(dict.fromkeys(name for e in view.entries for name in e.params))
    columns: dict[str, list[Any]] = {
        "number": [e.number for e in view.entries],
        "state": [e.row.state for e in view.entries],
        "why": [e.row.why for e in view.entries],
        "ids": [" ".join(e.row.ids) for e in view.entries],
    }
    columns |= {name: _typed([e.params.get(name) for e in view.entries]) for name in params}
    columns |= {
        name: [None if (v := e.figures.get(name)) is None else float(v) for e in view.entries]
        for name in figures
        if name not in columns
    }
    return columns


def _typed(values: list[Any]) -> list[Any]:
    """Return values of one type, so that they make a column: texts where they are not all numbers."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int} or kinds <= {int, float}:
        return [None if v is None else float(v) if float in kinds else v for v in values]
    return [None if v is None else str(v) for v in values]


def reasons(entries: Iterable[Entry]) -> list[tuple[str, str, int]]:
    """Return (state, why, how many) of candidates that failed or are left out, the most common first."""
    counts = Counter((e.row.state, e.row.why) for e in entries if e.row.state in LEFT_OUT)
    return [
        (state, why, n) for (state, why), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def best_entry(view: View, by: str | None) -> Entry:
    """Return the knee of the front, or the best by the objective ``by``.

    Raises:
        InputError: No point is done.
    """
    goals = (objective(by),) if by else view.objectives
    there = view.finite(goals)
    if not there.done:
        raise InputError(f"study {view.study.name}: no point is done")
    return there.knee(goals)
