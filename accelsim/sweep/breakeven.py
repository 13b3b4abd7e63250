"""Where one run's machine needs less energy than another's, as prices and utilization change.

Three axes: a factor of all leakage, a factor of all STT-MRAM write energy, and the share of time in which the
machine computes (the rest it leaks). In each the energy of a step is linear, so break-even is a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.trace.runs import Run

Floats = NDArray[np.float64]
AXES: Final[dict[str, str]] = {
    "leakage": "factor of the leakage of all bank groups",
    "write_energy": "factor of the energy of STT-MRAM writes",
    "utilization": "share of the time in which steps are computed",
}
SPAN: Final = {"leakage": (0.1, 10.0), "write_energy": (0.1, 10.0), "utilization": (0.01, 1.0)}


@dataclass(frozen=True, slots=True)
class Parts:
    """A run's energy in pJ by what the axes scale, and the time of a step in ps."""

    run: str
    leakage: float
    mram_writes: float
    standing: float  # other power that never rests
    rest: float
    time_ps: int

    def energy(self, leakage: float, write_energy: float, utilization: float) -> float:
        """Return the energy of a step and of the idle time that comes with it."""
        always = self.leakage * leakage + self.standing
        return always / utilization + self.mram_writes * write_energy + self.rest


def parts(run: Run) -> Parts:
    """Return the parts of a run's energy."""
    banks = run.manifest["machine"]["banks"]
    mram = {f"spad.{name}" for name, bank in banks.items() if bank["technology"] == "stt-mram"}
    sums: dict[str, list[float]] = {"leakage": [], "mram_writes": [], "standing": [], "rest": []}
    for row in run.table("energy").select(["component", "action", "powered_ps", "energy_pj"]).to_pylist():
        if row["action"] == "leakage":
            kind = "leakage"
        elif row["powered_ps"]:
            kind = "standing"
        elif row["component"] in mram and row["action"] == "write":
            kind = "mram_writes"
        else:
            kind = "rest"
        sums[kind].append(row["energy_pj"])
    span = run.summary["time_ps"] + run.summary["host_gap_ps"]
    return Parts(run.name, **{k: math.fsum(v) for k, v in sums.items()}, time_ps=span)


@dataclass(frozen=True)
class Surface:
    """Energies of two runs over two axes; the third stays at 1."""

    a: Parts
    b: Parts
    axes: tuple[str, str]
    xs: Floats
    ys: Floats
    ratio: Floats  # of a's energy over b's, shape (len(ys), len(xs))

    def winner(self, row: int, column: int) -> str:
        """Return the run that needs less."""
        return self.a.run if self.ratio[row, column] < 1 else self.b.run


def surface(a: Run, b: Run, axes: Sequence[str], size: int = 41) -> Surface:
    """Return the surface of two runs over one or two axes, on logarithmic grids.

    Raises:
        InputError: An unknown axis, too many, or runs of other steps.
    """
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"--over {axis}: unknown; there are {', '.join(AXES)}")
    if not 1 <= len(set(axes)) == len(axes) <= 2:
        raise InputError("--over: expected one or two different axes")
    for key in ("workload", "batch", "phase"):
        if a.summary[key] != b.summary[key]:
            raise InputError(f"{a.name} and {b.name} differ in {key}: {a.summary[key]} and {b.summary[key]}")
    x = axes[0]
    y = axes[1] if len(axes) > 1 else next(n for n in AXES if n != x)
    xs = np.geomspace(*SPAN[x], size)
    ys = np.geomspace(*SPAN[y], size) if len(axes) > 1 else np.ones(1)
    pa, pb = parts(a), parts(b)
    at = dict.fromkeys(AXES, 1.0)
    ratio = np.array(
        [[pa.energy(**(at | {x: vx, y: vy})) / pb.energy(**(at | {x: vx, y: vy})) for vx in xs] for vy in ys]
    )
    return Surface(pa, pb, (x, y), xs, ys, ratio)


def crossing(a: Parts, b: Parts, axis: str, **fixed: float) -> float | None:
    """Return the value of ``axis`` at which both need the same energy, all else at 1 but what is ``fixed``.

    None where there is none above 0 (for utilization: in (0, 1]). Exact: energies are linear in the axis, or,
    for utilization, in its inverse.
    """
    at = dict.fromkeys(AXES, 1.0) | fixed

    def gap(value: float) -> float:
        point = at | {axis: 1 / value if axis == "utilization" else value}
        return a.energy(**point) - b.energy(**point)

    start, slope = gap(1.0), gap(2.0) - gap(1.0)
    if slope == 0:
        return None
    value = 1.0 - start / slope
    if axis == "utilization":
        return 1 / value if value >= 1 else None
    return value if value > 0 else None
