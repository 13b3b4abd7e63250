"""The ledger of a run as amounts and prices: energy is linear in its prices, exactly.

A price is one component's action. Its amount is a count, or for standing power a powered time; both times the
price are the rows of ``energy.parquet``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.trace.runs import Run

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The energy of a run by price name, in pJ at the nominal prices."""

    run: str
    energy_pj: dict[str, float]

    @property
    def total_pj(self) -> float:
        """All of it."""
        return math.fsum(self.energy_pj.values())

    def totals(self, names: list[str], factors: Floats) -> Floats:
        """Return the energy for factors of the prices ``names``, shape (samples, names): one product."""
        parts = np.array([self.energy_pj.get(name, 0.0) for name in names])
        totals: Floats = factors @ parts
        return totals


def ledger(run: Run) -> Ledger:
    """Return the ledger of a run."""
    table = run.table("energy").select(["component", "action", "energy_pj"]).to_pylist()
    parts: dict[str, list[float]] = {}
    for row in table:
        parts.setdefault(f"{row['component']} {row['action']}", []).append(row["energy_pj"])
    return Ledger(run.name, {name: math.fsum(values) for name, values in sorted(parts.items())})
