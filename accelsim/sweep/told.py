"""What ``--json`` prints of sweeps: stable keys, units in names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from accelsim.sweep import importance as importances
from accelsim.sweep.figures import figure
from accelsim.sweep.study import Study
from accelsim.sweep.tally import NO_MACHINE, Tally
from accelsim.sweep.view import Entry, View, view


def told(study: Study, tally: Tally) -> dict[str, Any]:
    """Return what a sweep came to: counts of candidates, of points, and the front."""
    found = view(str(study.path))
    names = [goal.name for goal in found.objectives]
    return {
        "study": study.name,
        "folder": str(study.path),
        "points": tally.states["done"],
        "failed": tally.states["failed"],
        "infeasible": tally.states["infeasible"],
        "no_machine": tally.states[NO_MACHINE],
        "ruled_out": tally.states["ruled out"],
        "evaluated": tally.evaluated,
        "reused": tally.reused,
        "trained": tally.trained,
        "points_per_s": round(tally.rate, 3),
        "front": [point(e, names) for e in found.front()],
    }


def point(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    """Return a candidate: number, points, parameters, and the figures ``names``, None for infinite ones."""
    values = {name: figure(entry.figures, name) for name in names}
    figures = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {"number": entry.number, "ids": list(entry.row.ids), "params": entry.params, "figures": figures}


def importance(found: View, name: str) -> dict[str, Any]:
    """Return the shares of a figure's variance by parameter: None for what chance explains; no shares if
    so many points are missing.
    """
    one = importances.importance(found, name)
    rest = None if one.missing else one.rest
    return {"shares": one.shares, "rest": rest, "exact": one.exact, "missing_points": one.missing}
