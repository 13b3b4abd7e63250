"""Device laws behind one interface, so that an installed package can bring its own.

A package offers laws under the entry point group ``accelsim.device_laws``; the name of the entry is what a
device writes as ``law``, the object has the methods of ``Laws``. ``accelsim.device.contract`` holds checks
that any laws must pass.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.device.mtj import (
    MAX_OVERDRIVE,
    delta_nodes,
    read_disturb_probability,
    thermal_stability_at,
    write_error_rate,
    write_pulse,
)
from accelsim.errors import InputError

Float = NDArray[np.float64]
_SIGMAS: Final = np.arange(-8.0, 5.0 + 1e-9, 0.25)  # of a spread of overdrives
GROUP: Final = "accelsim.device_laws"
OWN: Final = "macrospin"


class Junction(Protocol):
    """What laws read of a device; see ``accelsim.resolve.bank_group.Device``."""

    @property
    def temperature_k(self) -> float: ...
    @property
    def reference_k(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def state_asymmetry(self) -> float: ...
    @property
    def delta_cv(self) -> float: ...
    @property
    def tau0_s(self) -> float: ...
    @property
    def intrinsic_time_s(self) -> float: ...
    @property
    def overdrive(self) -> float: ...
    @property
    def write_asymmetry(self) -> float: ...
    @property
    def overdrive_sigma(self) -> float: ...
    @property
    def pulse_s(self) -> float: ...
    @property
    def read_overdrive(self) -> float: ...
    @property
    def read_s(self) -> float: ...
    @property
    def read_disturbs(self) -> int: ...


class Laws(Protocol):
    """Error laws of a device. Cells differ in static ``nodes``; every law is given per node."""

    def nodes(self, device: Junction) -> tuple[Float, Float]:
        """Return nodes that stand for the cells, shape (n,), and their weights, which add up to 1."""

    def rates_per_s(self, device: Junction, nodes: Float) -> tuple[Float, Float]:
        """Return the rates of thermal flips 0 -> 1 and 1 -> 0 per second, each of shape (n,)."""

    def write_error_rate(self, device: Junction, old: int, new: int) -> float:
        """Return the probability that one pulse leaves ``old`` where ``new``, the other value, is written."""

    def write_pulse(self, device: Junction, wer: ArrayLike) -> Float:
        """Return the pulse in seconds after which the harder direction fails with probability ``wer``."""

    def read_disturb_probability(self, device: Junction, nodes: Float) -> Float:
        """Return the probability that one read flips a bit of the vulnerable value, shape (n,)."""


METHODS: Final = ("nodes", "rates_per_s", "write_error_rate", "write_pulse", "read_disturb_probability")


class Macrospin:
    """The laws of ``accelsim.device.mtj``; nodes are delta at the device's temperature, of both states."""

    def nodes(self, device: Junction) -> tuple[Float, Float]:
        """Return values of delta and their weights."""
        return delta_nodes(self._delta(device), device.delta_cv)

    def rates_per_s(self, device: Junction, nodes: Float) -> tuple[Float, Float]:
        """Return 1 / (tau0 exp(delta)), each state with its own delta."""
        per_s = 1 / device.tau0_s
        parallel = np.exp(-nodes * (1 + device.state_asymmetry))
        antiparallel = np.exp(-nodes * (1 - device.state_asymmetry))
        return per_s * parallel, per_s * antiparallel

    def write_error_rate(self, device: Junction, old: int, new: int) -> float:
        """Return the write error rate at the mean delta; its spread enters through ``overdrive_sigma``."""
        easier = (old, new) == (1, 0)
        overdrive = device.overdrive
        if easier:  # beyond the table a write is no worse than at its end
            overdrive = max(overdrive, min(overdrive * device.write_asymmetry, MAX_OVERDRIVE))
        return float(
            write_error_rate(
                device.pulse_s,
                overdrive,
                self._delta(device),
                intrinsic_time_s=device.intrinsic_time_s,
                overdrive_sigma=device.overdrive_sigma,
                direction="ap_to_p" if easier else "p_to_ap",
            )
        )

    def write_pulse(self, device: Junction, wer: ArrayLike) -> Float:
        """Return the pulse for a write error rate of 0 -> 1."""
        pulse = write_pulse(
            wer,
            device.overdrive,
            self._delta(device),
            intrinsic_time_s=device.intrinsic_time_s,
            overdrive_sigma=device.overdrive_sigma,
        )
        return np.asarray(pulse, dtype=np.float64)

    def read_disturb_probability(self, device: Junction, nodes: Float) -> Float:
        """Return 1 - exp(-(t / tau0) exp(-delta (1 - i)^2)); 0 without a read current."""
        if not device.read_overdrive:
            return np.zeros_like(nodes)
        sign = -1 if device.read_disturbs else 1  # of the asymmetry in the state that is disturbed
        delta = nodes * (1 + sign * device.state_asymmetry)
        disturbed = read_disturb_probability(
            device.read_s, device.read_overdrive, delta, tau0_s=device.tau0_s
        )
        return np.asarray(disturbed, dtype=np.float64)

    def _delta(self, device: Junction) -> float:
        return float(thermal_stability_at(device.delta, device.temperature_k, device.reference_k))


def write_failure(law: Laws, device: Any, old: int, retries: int) -> float:
    """Return the probability that a bit which is to change from ``old`` does not, by any of its writes.

    A spread of the overdrive is one over cells: a cell that fails once fails more likely again, so that the
    average is of the power, not the power of the average. An overdrive that the laws do not cover never
    writes where it is below the mean. ``device`` is a dataclass that keeps ``Junction``.
    """
    new, sigma = 1 - old, device.overdrive_sigma
    if retries == 0 or sigma == 0:
        return law.write_error_rate(device, old, new) ** (retries + 1)
    weights = np.exp(-(_SIGMAS**2) / 2)
    each = np.array([_failure_at(law, device, float(x), old) for x in _SIGMAS])
    return float(weights @ each ** (retries + 1) / weights.sum())


def _failure_at(law: Laws, device: Any, sigmas: float, old: int) -> float:
    overdrive = device.overdrive + sigmas * device.overdrive_sigma
    try:
        return law.write_error_rate(replace(device, overdrive=overdrive, overdrive_sigma=0.0), old, 1 - old)
    except InputError:
        return float(sigmas < 0)


def mean_rate(law: Laws, device: Junction) -> float:
    """Return the rate of thermal flips per second, the mean of both states and of all cells."""
    nodes, weights = law.nodes(device)
    up, down = law.rates_per_s(device, nodes)
    return float(np.dot(weights, (up + down) / 2))


def flipped(law: Laws, device: Junction, time_s: float) -> float:
    """Return the probability that a bit, 0 or 1 alike, reads wrong ``time_s`` after its write."""
    nodes, weights = law.nodes(device)
    up, down = law.rates_per_s(device, nodes)
    return float(np.dot(weights, -np.expm1(-(up + down) * time_s) / 2))


def time_to_flip(law: Laws, device: Junction, share: float) -> float:
    """Return the seconds after which a ``share`` of the bits, below one half, reads wrong."""
    low = high = 1e-15
    while flipped(law, device, high) < share:
        low, high = high, high * 10
    for _ in range(50):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if flipped(law, device, middle) < share else (low, middle)
    return low


def known_laws() -> tuple[str, ...]:
    """Return the names of all laws, the own ones first."""
    return (OWN, *sorted(entry.name for entry in entry_points(group=GROUP) if entry.name != OWN))


def _loaded(name: str, entry: EntryPoint) -> Laws:
    """Return what an entry point stands for; whatever a foreign package raises is told as its fault."""
    try:
        found: Any = entry.load()
        made: Laws = found() if isinstance(found, type) else found
    except Exception as exc:
        cause = f"{type(exc).__name__}: {exc}"
        raise InputError(f'device laws "{name}" of {entry.value} cannot be loaded: {cause}') from exc
    lacking = [method for method in METHODS if not callable(getattr(made, method, None))]
    if lacking:
        raise InputError(f'device laws "{name}" of {entry.value} lack {", ".join(lacking)}')
    return made


@lru_cache(maxsize=16)
def laws(name: str) -> Laws:
    """Return the laws ``name``.

    Raises:
        InputError: No package offers such laws, or it cannot be imported.
    """
    if name == OWN:
        return Macrospin()
    for entry in entry_points(group=GROUP, name=name):
        return _loaded(name, entry)
    raise InputError(f'no device laws "{name}"; there are {", ".join(known_laws())}')
