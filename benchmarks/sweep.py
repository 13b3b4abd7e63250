"""Points per second of sweeps, and how they scale with workers.

    python benchmarks/sweep.py [NAME ...] [--jobs N ...] [--json]

Each sweep is run in a folder of its own, once per number of workers; what the command took from start to end
is divided by its points. ``mix`` sweeps change times, so that every point is mapped and simulated; ``prices``
sweeps have many points per simulation. ``lenet5-1000`` has a thousand points: for the controller's memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Cost, Others, circumstances, measured, table, told

HEAD = 'base = "tpu-like-hybrid"\nworkload = "{workload}"\nobjectives = ["cycles", "energy_pj.total"]\n'
HEAD += "fidelity = {{ bounds = false }}\n[parameters]\n"
MIX = '"bank.mram.count" = [4, 8, 16, 32]\n"bank.mram.macro" = ["stt34", "stt54"]\n'
PRICES = '"bank.mram.count" = [8, 16]\n'


@dataclass(frozen=True, slots=True)
class Case:
    """A sweep to be measured: its parameters, and how many points and simulations they make."""

    workload: str
    parameters: str
    points: int
    simulations: int


CASES = {
    "lenet5-mix": Case("lenet5", MIX + '"bank.sram.count" = [2, 4, 8, 16, 32, 64]\n', 48, 48),
    "lenet5-prices": Case(
        "lenet5", PRICES + '"temperature" = { range = ["300 K", "400 K"], levels = 60 }\n', 120, 2
    ),
    "lenet5-1000": Case(
        "lenet5", PRICES + '"static.power" = { range = ["0 mW", "1 W"], levels = 500 }\n', 1000, 2
    ),
    "resnet18-cifar-mix": Case("resnet18-cifar", MIX, 8, 8),
    "resnet18-cifar-prices": Case(
        "resnet18-cifar", PRICES + '"temperature" = { range = ["300 K", "400 K"], levels = 60 }\n', 120, 2
    ),
}


def run(name: str, jobs: int) -> tuple[Cost, dict[str, Any]]:
    """Run a case and return what it took and what it told."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.toml"
        file.write_text(HEAD.format(workload=case.workload) + case.parameters)
        code = f"import os; os.chdir({folder!r}); from accelsim.cli.app import main; "
        code += f"main(['sweep', 'sweep.toml', '--jobs', '{jobs}', '--json', '--quiet'])"
        cost = measured([sys.executable, "-c", code])
    if cost.exit_code:
        raise SystemExit(f"{name}: {cost.fault}")
    return cost, json.loads(cost.stdout)


def rows(names: list[str], jobs: list[int]) -> list[list[str]]:
    """Return a row per case and number of workers."""
    found = []
    for name in names:
        case, first = CASES[name], 0.0
        for n in jobs:
            cost, said = run(name, n)
            assert said["points"] == said["evaluated"] == case.points
            rate = case.points / cost.wall_s
            first = first or rate / n
            numbers = (
                f"{rate:.2f}",
                f"{case.simulations / cost.wall_s:.2f}",
                f"{said['points_per_s']:.2f}",
                f"{rate / n / first:.2f}",
                f"{cost.peak_mib:.0f}",
            )
            found.append(
                [name, str(case.points), str(case.simulations), str(n), f"{cost.wall_s:.1f}", *numbers]
            )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[n for n in CASES if n != "lenet5-1000"], metavar="NAME")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    unknown = [n for n in asked.names if n not in CASES]
    if unknown:
        parser.error(f"{unknown[0]}: unknown; there are {', '.join(CASES)}")
    with Others() as others:
        found = rows(asked.names, asked.jobs)
    head = ["sweep", "points", "simulations", "workers", "wall s", "points/s", "simulations/s"]
    head += ["points/s without start", "per worker, over the first", "peak MiB of one process"]
    if asked.json:
        told_rows = [dict(zip(head, row, strict=True)) for row in found]
        print(json.dumps({**circumstances(others.cores), "rows": told_rows}, indent=1))
    else:
        print(f"{told(circumstances(others.cores))}\n\n{table(head, found)}")


if __name__ == "__main__":
    main()
