"""Figures of a point: the numbers of a run's summary by dotted name, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.resolve.machine import Machine

Figures = dict[str, float]
_LEFT_OUT: Final = ("components", "phases", "batch", "schema", "accumulate", "cold", "parameters")
_TOO_FINE: Final = ("by_layer",)


def of_summary(summary: Mapping[str, Any]) -> Figures:
    """Return the numbers of a run's summary but those of single layers, by dotted name.

    >>> of_summary({"cycles": 3, "energy_pj": {"total": 2.0, "by_layer": {"a": 1.0}}, "machine": "m"})
    {'cycles': 3, 'energy_pj.total': 2.0}
    """
    found: Figures = {}
    _flatten({k: v for k, v in summary.items() if k not in _LEFT_OUT}, "", found)
    return found


def _flatten(value: Any, name: str, into: Figures) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _TOO_FINE:
                _flatten(inner, f"{name}.{key}" if name else str(key), into)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        into[name] = value


def of_machine(machine: Machine) -> Figures:
    """Return the figures that the machine has before anything runs on it."""
    banks = machine.banks.values()
    found: Figures = {
        "area_mm2": machine.area_mm2,
        "leakage_mw": math.fsum(b.leakage_mw for b in banks),
        "capacity_bytes": sum(b.capacity_bytes for b in banks),
        "capacity": sum(b.capacity_bytes for b in banks),
        "clock_hz": machine.clock_hz,
        "clock": machine.clock_hz,
        "temperature": machine.temperature_k,
    }
    for name, bank in machine.banks.items():
        numbers = {
            "count": bank.count,
            "subbanks": bank.subbanks,
            "capacity": bank.capacity_bytes,
            "area_mm2": bank.area_mm2,
            "leakage_mw": bank.leakage_mw,
        }
        found |= {f"bank.{name}.{key}": value for key, value in numbers.items()}
    return found


def _time_s(f: Mapping[str, float]) -> float:
    return (f["time_ps"] + f.get("host_gap_ps", 0)) * 1e-12


def _worst_ber(f: Mapping[str, float], role: str = "") -> float:
    """Return the largest bit error probability of any read of a role, of all roles if none is named."""
    if role:
        return f[f"errors.worst.{role}"]
    return max(v for k, v in f.items() if k.startswith("errors.worst."))


def _never(f: Mapping[str, float]) -> float:
    """Return infinity where a training did not reach its accuracy; else what it took is there already."""
    if "reached" not in f:
        raise KeyError("reached")
    return math.inf


DERIVED: Final[dict[str, Callable[[Mapping[str, float]], float]]] = {
    "energy_pj": lambda f: f["energy_pj.total"],
    "edp_pj_s": lambda f: f["energy_pj.total"] * _time_s(f),
    "edp": lambda f: f["energy_pj.total"] * _time_s(f),
    "time_s": _time_s,
    "power_w": lambda f: f["energy_pj.total"] * 1e-12 / _time_s(f),
    "dram_bytes": lambda f: f["dram_bytes.read"] + f["dram_bytes.write"],
    "dram_energy_pj": lambda f: f["energy_pj.by_component.dram"],
    "stall_ps": lambda f: math.fsum(v for k, v in f.items() if k.startswith("stall_ps.")),
    "expected_flips": lambda f: f["errors.all.expected_flips"],
    "worst_ber": _worst_ber,
    "steps_to_accuracy": _never,
    "time_to_accuracy": _never,
    "energy_to_accuracy": _never,
}
"""Figures made of others."""

LARGE_IS_GOOD: Final = ("pe_utilization", "lifetime_s", "accuracy", "reached")
TO_ACCURACY: Final = ("reached", "steps_to_accuracy", "time_to_accuracy", "energy_to_accuracy")
TRAINED: Final = ("accuracy", "accuracy.best", "diverged", *TO_ACCURACY)
"""Figures that a training gives; those of ``TO_ACCURACY`` need an accuracy to be reached."""
_TRAINING: Final = "needs training: a table [training] in the sweep's file"
_TARGET: Final = "needs training up to training.target_accuracy in the sweep's file"
_ERRORS: Final = "needs a bank group with a device (bank.NAME.device)"
NEEDS: Final = {
    "accuracy": _TRAINING,
    "diverged": _TRAINING,
    **dict.fromkeys(TO_ACCURACY, _TARGET),
    "errors": _ERRORS,
    "expected_flips": _ERRORS,
    "worst_ber": _ERRORS,
    "lifetime": _ERRORS,
}
"""What figures need that a run does not give."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure to be made small, or large."""

    name: str
    large: bool = False

    def cost(self, figures: Mapping[str, float]) -> float:
        """Return what is to be minimised."""
        value = figure(figures, self.name)
        return -value if self.large else value


def objective(text: str) -> Objective:
    """Return the objective that ``text`` names.

    >>> objective("max pe_utilization"), objective("cycles").large
    (Objective(name='pe_utilization', large=True), False)
    """
    way, _, name = text.strip().rpartition(" ")
    if way.strip() not in ("", "min", "max"):
        raise InputError(f'expected a figure, or "min" or "max" and a figure, got "{text}"')
    return Objective(name, way.strip() == "max" or (not way and name.startswith(LARGE_IS_GOOD)))


def figure(figures: Mapping[str, float], name: str) -> float:
    """Return the figure ``name``, also one that is made of others.

    Raises:
        InputError: There is none; the message says what it needs, or names the nearest.
    """
    if name in figures:
        return figures[name]
    root = name.partition(".")[0]
    with suppress(KeyError, ValueError, ZeroDivisionError):  # what it is made of is not there: told below
        if name in DERIVED:
            return DERIVED[name](figures)
        if root == "expected_flips":
            return figures[f"errors.by_role.{name.removeprefix('expected_flips.')}.expected_flips"]
        if root == "worst_ber":
            return _worst_ber(figures, name.removeprefix("worst_ber."))
    for start, what in NEEDS.items():
        if name.startswith(start):
            raise InputError(f'the figure "{name}" {what}')
    there = sorted(k for k in everything(figures) if "." not in k)
    hint = did_you_mean(name, dict.fromkeys([*figures, *DERIVED])) or f"; there are {', '.join(there)}"
    raise InputError(f'no figure "{name}"{hint}')


def everything(figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures and all that can be made of them, for expressions."""
    found = dict(figures)
    for name, make in DERIVED.items():
        try:
            found.setdefault(name, make(figures))
        except (KeyError, ValueError, ZeroDivisionError):
            continue
    return found


def combined(parts: Sequence[Mapping[str, float]]) -> Figures:
    """Return the figures over several workloads: the geometric mean of those that all have."""
    if len(parts) == 1:
        return dict(parts[0])
    shared = [name for name in parts[0] if all(name in p for p in parts)]
    return {name: _mean([p[name] for p in parts]) for name in shared}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    if all(v == listed[0] for v in listed):
        return listed[0]
    return math.exp(math.fsum(map(math.log, listed)) / len(listed)) if min(listed) > 0 else 0.0
