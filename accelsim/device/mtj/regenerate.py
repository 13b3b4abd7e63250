"""Write the table of write pulses anew: ``python -m accelsim.device.mtj.regenerate [FILE]``.

It takes about three minutes. Without FILE it replaces the shipped table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from accelsim.device.mtj.fokker_planck import CELLS, FAR, solve_pulses
from accelsim.device.mtj.ranges import Array
from accelsim.device.mtj.table import COLUMN, table_path

DELTAS: Final = np.geomspace(8, 80, 13)
OVERDRIVES: Final = np.concatenate(
    [
        # for averages over a spread: thermally activated, and the border
        [0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 1, 1.025],
        1 + np.geomspace(0.05, 7, 25),
    ]
)
WERS: Final = np.array(
    [
        0.999,
        0.99,
        0.97,
        0.9,
        0.8,
        0.7,
        0.6,
        0.5,
        0.4,
        0.3,
        0.2,
        0.1,
        0.05,
        0.02,
        0.01,
        1e-3,
        1e-6,
        1e-9,
        1e-12,
        1e-15,
    ]
)
HEADER: Final = f"""\
# Write pulses of a perpendicular MTJ by write error rate, in units of the intrinsic time.
# Made by accelsim.device.mtj.regenerate: own computation, copied from nowhere.
# Source: docs/sources.md#macrospin-fokker-planck.
# Equation: d rho/d tau = d/dx[(1-x^2)((i-x) rho + (1/(2 Delta)) d rho/dx)], x = cos(theta),
# i = current over critical current; start: Boltzmann in x > 0; WER(tau) = integral of rho over x > 0;
# what comes below x = {FAR} counts as written for good.
# Method: exponentially fitted finite volumes, {CELLS} and {2 * CELLS} from pole to pole, extrapolated;
# times by repeated squaring.
# Columns: tau_W is the pulse after which the error rate is W.
# Rows with overdrive below 1.05 serve averages over a spread of overdrives only.
"""


def nodes() -> tuple[Array, Array]:
    """Return deltas and overdrives as they stand in the file."""
    return np.array([float(f"{d:.6g}") for d in DELTAS]), np.array([float(f"{i:.6g}") for i in OVERDRIVES])


def lines() -> Iterator[str]:
    """Yield the lines of the file."""
    yield HEADER
    yield ",".join(["delta", "overdrive", *(f"{COLUMN}{w:g}" for w in WERS)]) + "\n"
    deltas, overdrives = nodes()
    for delta in deltas:
        for overdrive in overdrives:
            yield row(float(delta), float(overdrive))


def row(delta: float, overdrive: float) -> str:
    """Return one line of the file."""
    pulses = solve_pulses(WERS, overdrive, delta)
    return ",".join(f"{value:.6g}" for value in (delta, overdrive, *pulses)) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else table_path()
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines()), encoding="utf-8")
