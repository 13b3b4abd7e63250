"""Axes for people: the unit of a figure, and the step of it that keeps the numbers of an axis short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STEPS: Final[dict[str, tuple[tuple[float, str], ...]]] = {
    "pJ": ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ")),
    "ps": ((1e12, "s"), (1e9, "ms"), (1e6, "us"), (1e3, "ns"), (1.0, "ps")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "Hz": ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz")),
    "mW": ((1e3, "W"), (1.0, "mW"), (1e-3, "uW")),
    "": ((1e12, "10^12"), (1e9, "10^9"), (1e6, "10^6"), (1.0, "")),
}
_ENDS: Final = {
    "_pj_s": "pJ s",
    "_pj": "pJ",
    "_ps": "ps",
    "_mm2": "mm2",
    "_mw": "mW",
    "_w": "W",
    "_bytes": "B",
    "_hz": "Hz",
    "_s": "s",
}
_NAMED: Final = {
    "edp": "pJ s",
    "energy_to_accuracy": "pJ",
    "time_to_accuracy": "ps",
    "capacity": "B",
    "clock": "Hz",
    "temperature": "K",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """By what values are divided, and what is written beside the axis."""

    step: float
    label: str

    def of(self, values: Iterable[float]) -> list[float]:
        """Return the values in the scale's unit."""
        return [value / self.step for value in values]


def unit_of(figure: str) -> str:
    """Return the base unit of a figure; "" of numbers without one.

    >>> unit_of("energy_pj.by_role.weight"), unit_of("bank.mram.leakage_mw"), unit_of("cycles")
    ('pJ', 'mW', '')
    """
    for part in figure.split("."):
        found = _NAMED.get(part) or next((unit for end, unit in _ENDS.items() if part.endswith(end)), "")
        if found:
            return found
    return ""


def scale_of(name: str, values: Iterable[float], unit: str | None = None) -> Scale:
    """Return the scale for ``values`` of the figure ``name``, or of what has the base unit ``unit``.

    >>> scale_of("energy_pj.total", [2e8, 7e8]), scale_of("dram.latency", [5e4], "ps")
    (Scale(step=1000000.0, label='energy.total (uJ)'), Scale(step=1000.0, label='dram.latency (ns)'))
    >>> scale_of("cycles", [2e6]).label, scale_of("accuracy", [0.5]).label, scale_of("time_ps", [3.0]).label
    ('cycles (10^6)', 'accuracy', 'time_ps (ps)')
    """
    base = unit_of(name) if unit is None else unit
    steps = STEPS.get(base, ((1.0, base),))
    largest = max(map(abs, values), default=0.0)
    step, shown = next((s for s in steps if largest >= s[0]), steps[-1])
    if unit is None and shown != base:  # no energy_pj in uJ
        name = ".".join(part.removesuffix(f"_{base.lower()}") for part in name.split("."))
    return Scale(step, f"{name} ({shown})" if shown else name)
