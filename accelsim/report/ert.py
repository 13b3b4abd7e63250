"""The tables of ``accelsim reprice --ert``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from accelsim.report.layout import grid
from accelsim.report.si import si
from accelsim.run.ert import ErtPrice, ert_totals


def ert_tables(title: str, prices: Sequence[ErtPrice]) -> RenderableType:
    """Return the energies by component, and by action with what priced each."""
    totals = ert_totals(list(prices))
    rows = [(name, _joules(ert), _joules(own)) for name, (ert, own) in totals.items()]
    both = [math.fsum(column) for column in zip(*totals.values(), strict=True)]
    rows.append(("total", _joules(both[0]), _joules(both[1])))
    lines = [
        (
            f"{p.component} {p.action}",
            f"{p.count:,}" if p.count else "time",
            p.ert or "free",
            f"{p.amount:,.6g}",
            f"{p.price_pj:g}",
            _joules(p.energy_pj),
        )
        for p in prices
    ]
    return Group(
        grid(title, ("component", "by the table", "as the run paid"), rows),
        grid("by action", ("ours", "count", "priced as", "of these", "pJ", "energy"), lines),
    )


def ert_json(run: str, ert: str, prices: Sequence[ErtPrice]) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    totals: Mapping[str, tuple[float, float]] = ert_totals(list(prices))
    return {
        "run": run,
        "ert": ert,
        "total_pj": math.fsum(e for e, _ in totals.values()),
        "run_total_pj": math.fsum(o for _, o in totals.values()),
        "by_component": {name: e for name, (e, _) in totals.items()},
        "run_by_component": {name: o for name, (_, o) in totals.items()},
        "actions": [{name: getattr(p, name) for name in ErtPrice.__dataclass_fields__} for p in prices],
    }


def _joules(pj: float) -> str:
    return si(pj * 1e-12, "J") if pj else "0"
