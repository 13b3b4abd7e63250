"""A run's energy at other corners and temperatures: its machine is resolved again, its counts stay.

A corner scales leakage: of a slow one less, of a fast one more. Temperature goes through the machine's own
laws, by which other prices follow too. Times stay those of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Content, Machine
from accelsim.resolve.prices import price_pj, upkeep_w
from accelsim.trace.runs import Run

CORNERS: Final[dict[str, float]] = {"tt": 1.0, "ff": 2.5, "ss": 0.4}  # factors of leakage, assumed


@dataclass(frozen=True, slots=True)
class Corner:
    """One corner at one temperature, and the energy of the run there by part, in pJ."""

    corner: str
    temperature_k: float
    total_pj: float
    leakage_pj: float


def machine_at(run: Run, kelvin: float | None) -> Machine:
    """Return the run's machine, at another temperature if one is given.

    Raises:
        InputError: The run was not made by a machine that is still there.
    """
    base, settings = described(run)
    stored = run.manifest["machine"]
    if json.loads(json.dumps(asdict(measured(load_machine(base, settings), stored)))) != stored:
        raise InputError(f"{run.path}: its machine {base} has changed since; run it again")
    more = [f"temperature={kelvin} K"] if kelvin is not None else []
    return measured(load_machine(base, [*settings, *more]), stored)


def measured(machine: Machine, stored: Mapping[str, Any]) -> Machine:
    """Return the machine with the data of a run that took them as measured."""
    content = {key: Content(**shares) for key, shares in stored.get("content", {}).items()}
    if not any(" " in key for key in content):
        return machine
    return replace(machine, content=content, toggle=stored["toggle"])


def described(run: Run) -> tuple[str, list[str]]:
    """Return the machine and the settings that the user typed.

    Raises:
        InputError: The manifest has no command of ``accelsim run``.
    """
    words = [str(w) for w in run.manifest.get("command", [])]
    if len(words) < 3 or words[1] != "run":
        raise InputError(f"{run.path}: does not say how its machine was described; make it by accelsim run")
    settings, places = [], []
    rest = iter(words[2:])
    for word in rest:
        if word == "--set":
            settings.append(next(rest, ""))
        elif word.startswith("--set="):
            settings.append(word.removeprefix("--set="))
        elif word.startswith("-"):
            if word in _VALUED:
                next(rest, None)
        else:
            places.append(word)
    return places[0], settings


_VALUED: Final = (
    "--batch",
    "--accumulate",
    "--phase",
    "--out",
    "--trace-tensor",
    "--mapping-from",
    "--mapping",
    "--activity",
)


def corners(run: Run, names: Iterable[str], kelvins: Iterable[float]) -> list[Corner]:
    """Return the run's energy at every corner and temperature.

    Raises:
        InputError: An unknown corner, or the machine cannot be resolved there.
    """
    wanted = list(names)
    for name in wanted:
        if name not in CORNERS:
            raise InputError(f"--corners {name}: unknown; there are {', '.join(CORNERS)}")
    rows = run.table("energy").to_pylist()
    then = machine_at(run, None)
    found = []
    for kelvin in kelvins:
        machine = machine_at(run, kelvin)
        for name in wanted:
            parts = [(_energy(row, machine, then, CORNERS[name]), row["action"]) for row in rows]
            leakage = math.fsum(pj for pj, action in parts if action == "leakage")
            found.append(Corner(name, kelvin, math.fsum(pj for pj, _ in parts), leakage))
    return found


def _energy(row: Mapping[str, object], machine: Machine, then: Machine, leaks: float) -> float:
    """Return the energy of one row of the ledger at the prices of ``machine``."""
    component, action = str(row["component"]), str(row["action"])
    count, powered = int(str(row["count"])), int(str(row["powered_ps"]))
    if count:
        about = component, action, str(row["role"]), str(row["layer"])
        was = price_pj(then, *about)
        gated = float(str(row["price_pj"])) / was if was else 1.0  # by zeros
        return count * price_pj(machine, *about) * gated
    watts = float(str(row["price_w"]))
    if component.startswith("spad."):
        name = component.removeprefix("spad.")
        now, before = machine.banks[name], then.banks[name]
        if action == "leakage":
            return (
                powered * watts * (now.leakage_mw / before.leakage_mw if before.leakage_mw else 1.0) * leaks
            )
        if action == "scrub" and upkeep_w(before):
            return powered * watts * upkeep_w(now) / upkeep_w(before)
    return powered * watts
