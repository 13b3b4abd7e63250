"""Where one run's machine needs less energy than another's, as prices and utilization change.

Three axes: a factor of all leakage, a factor of all STT-MRAM write energy, and the share of the time in which
steps are computed: between them the machines rest, for the same gap, and draw their standing power. In each
the energy of a step is linear, for the share in the gap that it stands for, so break-even is a line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.run.energy import STEP_END
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
    """A run's energy in pJ by what the axes scale: of a step without its gap; and in it the power in W."""

    run: str
    leakage: float
    standing: float  # other power that never rests
    mram_writes: float
    rest: float
    leakage_w: float
    standing_w: float
    step_ps: int
    gap_ps: int  # of the run

    def energy(self, leakage: float = 1.0, write_energy: float = 1.0, gap_ps: float | None = None) -> float:
        """Return the energy of a step and of the gap after it, that of the run if none is given."""
        gap = self.gap_ps if gap_ps is None else gap_ps
        leaks = (self.leakage + self.leakage_w * gap) * leakage
        return leaks + self.standing + self.standing_w * gap + self.mram_writes * write_energy + self.rest

    @property
    def utilization(self) -> float:
        """The share of the time in which steps are computed."""
        return self.step_ps / (self.step_ps + self.gap_ps)


def parts(run: Run) -> Parts:
    """Return the parts of a run's energy."""
    banks = run.manifest["machine"]["banks"]
    mram = {f"spad.{name}" for name, bank in banks.items() if bank["technology"] == "stt-mram"}
    sums: dict[str, list[float]] = {"leakage": [], "mram_writes": [], "standing": [], "rest": []}
    columns = ["component", "action", "op", "powered_ps", "price_w", "energy_pj"]
    rows = run.table("energy").select(columns).to_pylist()
    for row in rows:
        if row["action"] == "leakage":
            kind = "leakage"
        elif row["powered_ps"]:
            kind = "standing"
        elif row["component"] in mram and row["action"] == "write":
            kind = "mram_writes"
        else:
            kind = "rest"
        sums[kind].append(row["energy_pj"])
    energy = {kind: math.fsum(values) for kind, values in sums.items()}
    step, gap = run.summary["time_ps"], run.summary["host_gap_ps"]
    watts = _gap_w(rows)
    for kind, power in watts.items():
        energy[kind] -= power * gap
    return Parts(
        run.name, **energy, leakage_w=watts["leakage"], standing_w=watts["standing"], step_ps=step, gap_ps=gap
    )


def _gap_w(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Return the leakage and the other standing power in W after the last op.

    A run of which nothing comes after it has no such row: then the most that is drawn during any op.
    """
    powered = [row for row in rows if row["powered_ps"]]
    after = [row for row in powered if row["op"] == STEP_END] or powered
    most: dict[tuple[str, str], float] = {}
    for row in after:
        key = str(row["component"]), str(row["action"])
        most[key] = max(most.get(key, 0.0), float(str(row["price_w"])))
    return {
        "leakage": math.fsum(w for (_, action), w in most.items() if action == "leakage"),
        "standing": math.fsum(w for (_, action), w in most.items() if action != "leakage"),
    }


@dataclass(frozen=True)
class Pair:
    """Two runs of the same step. Utilization is the first one's; both rest for the gap that it stands for."""

    a: Parts
    b: Parts

    def gap_ps(self, utilization: float) -> float:
        """Return the gap at which the first computes for that share of the time."""
        return self.a.step_ps * (1 / utilization - 1)

    def now(self, axis: str) -> float:
        """Return where the runs are on an axis."""
        return self.a.utilization if axis == "utilization" else 1.0

    def energies(self, **at: float) -> tuple[float, float]:
        """Return the energies in pJ at values of axes; what is not named is as in the runs."""
        fixed: dict[str, float] = {axis: value for axis, value in at.items() if axis != "utilization"}
        if "utilization" in at:
            fixed["gap_ps"] = self.gap_ps(at["utilization"])
        return self.a.energy(**fixed), self.b.energy(**fixed)

    def grid(self, x: str, xs: Floats, y: str, ys: Floats) -> Floats:
        """Return a's energy over b's, shape (len(ys), len(xs))."""
        at = [[self.energies(**{x: vx, y: vy}) for vx in xs.tolist()] for vy in ys.tolist()]
        return np.array([[a / b for a, b in row] for row in at])

    def less(self, **at: float) -> str:
        """Return the run that needs less, or ``equal``."""
        a, b = self.energies(**at)
        return "equal" if a == b else self.a.run if a < b else self.b.run


@dataclass(frozen=True)
class Surface:
    """Energies of two runs over two axes; the third stays as it is."""

    pair: Pair
    axes: tuple[str, str]
    xs: Floats
    ys: Floats
    ratio: Floats  # of a's energy over b's, shape (len(ys), len(xs))

    def winner(self, row: int, column: int) -> str:
        """Return the run that needs less."""
        x, y = self.axes
        return self.pair.less(**{x: float(self.xs[column]), y: float(self.ys[row])})


def pair_of(a: Run, b: Run, axes: Sequence[str]) -> Pair:
    """Return two runs to be compared over ``axes``.

    Raises:
        InputError: An unknown axis, or one twice, or runs of other steps, or of other gaps over utilization.
    """
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"--over {axis}: unknown; there are {', '.join(AXES)}")
    if not axes or len(set(axes)) < len(axes):
        raise InputError("--over: expected different axes")
    for key in ("workload", "batch", "phase"):
        if a.summary[key] != b.summary[key]:
            raise InputError(f"{a.name} and {b.name} differ in {key}: {a.summary[key]} and {b.summary[key]}")
    pair = Pair(parts(a), parts(b))
    if a.name == b.name and a.path.resolve() != b.path.resolve():
        pair = Pair(replace(pair.a, run=str(a.path)), replace(pair.b, run=str(b.path)))
    if "utilization" in axes and pair.a.gap_ps != pair.b.gap_ps:
        raise InputError(
            f"{a.name} and {b.name} differ in host.gap: {pair.a.gap_ps} and {pair.b.gap_ps} ps, and "
            "utilization moves the gap of both; run them with the same one, or leave it out: "
            "--over leakage,write_energy"
        )
    return pair


def surface(pair: Pair, axes: Sequence[str], size: int = 41) -> Surface:
    """Return the surface of two runs over the first one or two axes, on logarithmic grids."""
    x = axes[0]
    y = axes[1] if len(axes) > 1 else next(n for n in AXES if n != x)
    xs = np.geomspace(*SPAN[x], size)
    ys = np.geomspace(*SPAN[y], size) if len(axes) > 1 else np.array([pair.now(y)])
    return Surface(pair, (x, y), xs, ys, pair.grid(x, xs, y, ys))


def crossing(pair: Pair, axis: str, **fixed: float) -> float | None:
    """Return the value of ``axis`` at which both need the same energy, all else as it is, or ``fixed``.

    None where there is none above 0 (for utilization: in (0, 1]), or where they are equal everywhere. Exact:
    energies are linear in the axis, or, for utilization, in its inverse.
    """

    def gap(value: float) -> float:
        a, b = pair.energies(**fixed, **{axis: 1 / value if axis == "utilization" else value})
        return a - b

    start, slope = gap(1.0), gap(2.0) - gap(1.0)
    if slope == 0:
        return None
    value = 1.0 - start / slope
    if axis == "utilization":
        return 1 / value if value >= 1 else None
    return value if value > 0 else None


def always_equal(pair: Pair) -> bool:
    """Return whether both need the same whatever the axes, as a run and itself do."""
    names = ("leakage", "standing", "mram_writes", "rest", "leakage_w", "standing_w")
    return all(getattr(pair.a, name) == getattr(pair.b, name) for name in names)
