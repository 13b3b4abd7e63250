"""A device in figures: what its laws say at one temperature."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from accelsim.device.laws import Laws, flipped, laws, mean_rate
from accelsim.device.mtj import thermal_stability_at
from accelsim.errors import InputError
from accelsim.resolve.bank_group import Device

PULSES: Final = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5)  # of the device's own
VOLTAGES: Final = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
TIMES_S: Final = tuple(10.0**k for k in range(-7, 2))


@dataclass(frozen=True, slots=True)
class WritePoint:
    """A write with another pulse or voltage: its error rate in the harder direction, and a bit's energy.

    ``wer`` is None where the laws do not reach.
    """

    share: float  # of the device's own pulse or voltage
    pulse_s: float
    voltage_v: float
    overdrive: float
    wer: float | None
    energy_j: float


@dataclass(frozen=True, slots=True)
class FlipPoint:
    """Probability that a bit reads wrong ``time_s`` after its write: the mean cell, and with the spread."""

    time_s: float
    nominal: float
    spread: float


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """A device at one temperature. ``delta`` is the mean of both states."""

    name: str
    law: str
    temperature_k: float
    reference_k: float
    delta: float
    delta_cv: float
    retention_s: float
    critical_current_a: float
    write_current_a: float
    write_voltage_v: float
    overdrive: float
    pulse_s: float
    write_error_rate: dict[str, float]
    write_energy_j: float
    read_overdrive: float
    read_s: float
    read_disturb: float
    sense_error: float
    endurance: float
    by_pulse: tuple[WritePoint, ...]
    by_voltage: tuple[WritePoint, ...]
    flips: tuple[FlipPoint, ...]

    def json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def figures(device: Device) -> DeviceFigures:
    """Return what the device's laws say of it."""
    law = laws(device.law)
    delta = float(thermal_stability_at(device.delta, device.temperature_k, device.reference_k))
    nodes, weights = law.nodes(device)
    nominal = replace(device, delta_cv=0.0, state_asymmetry=0.0)
    rate = mean_rate(law, nominal)
    return DeviceFigures(
        name=device.name,
        law=device.law,
        temperature_k=device.temperature_k,
        reference_k=device.reference_k,
        delta=delta,
        delta_cv=device.delta_cv,
        retention_s=1 / rate,
        critical_current_a=device.write_current_a / device.overdrive,
        write_current_a=device.write_current_a,
        write_voltage_v=device.write_current_a * device.cell_ohm,
        overdrive=device.overdrive,
        pulse_s=device.pulse_s,
        write_error_rate={
            "0->1": law.write_error_rate(device, 0, 1),
            "1->0": law.write_error_rate(device, 1, 0),
        },
        write_energy_j=_energy(device),
        read_overdrive=device.read_overdrive,
        read_s=device.read_s,
        read_disturb=float(np.dot(weights, law.read_disturb_probability(device, nodes))),
        sense_error=device.sense_error,
        endurance=device.endurance,
        by_pulse=tuple(_point(law, device, s, pulse=True) for s in PULSES),
        by_voltage=tuple(_point(law, device, s, pulse=False) for s in VOLTAGES),
        flips=tuple(FlipPoint(t, flipped(law, nominal, t), flipped(law, device, t)) for t in TIMES_S),
    )


def _energy(device: Device) -> float:
    return device.write_current_a**2 * device.cell_ohm * device.pulse_s


def _point(law: Laws, device: Device, share: float, pulse: bool) -> WritePoint:
    other = (
        replace(device, pulse_s=device.pulse_s * share)
        if pulse
        else replace(
            device, overdrive=device.overdrive * share, write_current_a=device.write_current_a * share
        )
    )
    try:
        wer: float | None = law.write_error_rate(other, 0, 1)
    except InputError:  # too little current, or too much: outside the laws' range
        wer = None
    voltage = other.write_current_a * other.cell_ohm
    return WritePoint(share, other.pulse_s, voltage, other.overdrive, wer, _energy(other))
