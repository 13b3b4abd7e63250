"""From the description of a tunnel junction to the device at a temperature."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Final

from accelsim.config.device import DeviceSpec, GeometrySpec
from accelsim.config.document import load_spec
from accelsim.config.faults import did_you_mean
from accelsim.config.locate import find
from accelsim.config.origins import Fault, Origins, error
from accelsim.config.positions import KeyPath
from accelsim.config.spec import Quantity
from accelsim.device.laws import Laws, known_laws, laws
from accelsim.device.mtj import (
    critical_current,
    intrinsic_time,
    retention_flip_probability,
    thermal_stability,
    thermal_stability_at,
    thermal_stability_from_geometry,
)
from accelsim.errors import InputError
from accelsim.resolve.ledger import ASSUMED
from accelsim.resolve.machine import Device, Sourced

MEAN: Final = "mean"
_BER: Final = "ber:"
_DELTA_RANGE: Final = (1e-3, 500.0)  # in which a retention's delta is sought
_ONE_OF: Final[tuple[tuple[str, ...], ...]] = (
    ("delta", "retention", "geometry"),
    ("pulse", "target_wer"),
    ("write_overdrive", "write_current"),
)


def load_device(name_or_path: str, temperature_k: float | None = None) -> Device:
    """Return the device of a shipped name (``mram-1s``) or of a file, at ``temperature_k``.

    Without a temperature: at its own reference temperature. ``cell_ohm`` is the junction's resistance; in a
    bank the macro's write path takes its place.

    Raises:
        InputError: No such name or file.
        ConfigError: Every fault of the description, a line each.
    """
    return described_device(name_or_path, temperature_k)[0]


def described_device(name_or_path: str, temperature_k: float | None) -> tuple[Device, tuple[Sourced, ...]]:
    """Return the device as ``load_device`` does, and the sources of its numbers by key of its file."""
    path = find("devices", name_or_path)
    spec, origins = load_spec(path, DeviceSpec, resolve_name=partial(find, "devices"))
    faults = [f for keys in _ONE_OF for f in _one_of(spec, origins, keys)] + _law_faults(spec, origins)
    if faults:
        raise error(faults)
    device = _Resolver(path.stem, spec, origins, temperature_k or spec.reference_temperature).device()
    return device, _sources(spec, origins)


def delta_of_retention(time_s: float, flipped: float, cv: float, tau0_s: float) -> float:
    """Return the mean delta with which a share ``flipped`` of the bits reads wrong after ``time_s``.

    >>> [round(delta_of_retention(1.0, 1e-6, cv, 1e-9), 1) for cv in (0.0, 0.05)]
    [34.5, 36.2]
    """
    low, high = _DELTA_RANGE
    for _ in range(60):
        middle = (low + high) / 2
        if float(retention_flip_probability(time_s, middle, cv=cv, tau0_s=tau0_s)) > flipped:
            low = middle
        else:
            high = middle
    return high


def share_of(text: str) -> float | None:
    """Return the share of bits in ``"ber:1e-6"``; None if it is no such text, or not between 0 and one half.

    >>> share_of("ber:1e-6"), share_of("mean"), share_of("ber:0.7")
    (1e-06, None, None)
    """
    try:
        share = float(text.removeprefix(_BER)) if text.startswith(_BER) else math.nan
    except ValueError:
        return None
    return share if 0 < share < 0.5 else None


def _one_of(spec: DeviceSpec, origins: Origins, keys: tuple[str, ...]) -> list[Fault]:
    given = [key for key in keys if getattr(spec, key) is not None]
    if len(given) == 1:
        return []
    names = ", ".join(keys[:-1]) + f" and {keys[-1]}"
    if not given:
        return [origins.fault((), f"give one of {names}")]
    return [origins.fault((key,), f"contradicts {given[0]}: give one of {names}") for key in given[1:]]


def _law_faults(spec: DeviceSpec, origins: Origins) -> list[Fault]:
    known = known_laws()
    if spec.law in known:
        return []
    hint = did_you_mean(spec.law, known) or f"; there are {', '.join(known)}"
    return [origins.fault(("law",), f'no device laws "{spec.law}"{hint}')]


def _sources(spec: DeviceSpec, origins: Origins) -> tuple[Sourced, ...]:
    """Return where each number comes from: the file's source for what it writes, else it is assumed."""
    claimed = origins.source_label(("source",))
    found = []
    for key, field in DeviceSpec.model_fields.items():
        value = getattr(spec, key)
        if key == "source" or not isinstance(value, int | float | GeometrySpec):
            continue
        written = claimed is not None and origins.source_label((key,)) == claimed and key not in spec.assumed
        number = value if isinstance(value, int | float) else "geometry"
        unit = next((m.dimension.base for m in field.metadata if isinstance(m, Quantity)), "")
        found.append(Sourced(key=key, value=number, unit=unit, source=spec.source if written else ASSUMED))
    return tuple(found)


class _Resolver:
    """One device on its way: each number from what is given, faults placed at the key that gives it."""

    def __init__(self, name: str, spec: DeviceSpec, origins: Origins, temperature_k: float) -> None:
        self.name = name
        self.spec = spec
        self.origins = origins
        self.temperature_k = temperature_k

    def device(self) -> Device:
        """Return the device.

        Raises:
            ConfigError: if the laws do not hold for it.
        """
        spec = self.spec
        delta = self._delta()
        ic0 = float(
            critical_current(
                self._at(delta),
                alpha=spec.damping,
                efficiency=spec.efficiency,
                temperature_k=self.temperature_k,
            )
        )
        overdrive = spec.write_overdrive or (spec.write_current or math.nan) / ic0
        device = Device(
            name=self.name,
            law=spec.law,
            temperature_k=self.temperature_k,
            reference_k=spec.reference_temperature,
            delta=delta,
            state_asymmetry=spec.state_asymmetry,
            delta_cv=spec.delta_cv,
            tau0_s=spec.attempt_time,
            intrinsic_time_s=float(intrinsic_time(spec.damping, spec.anisotropy_field)),
            overdrive=overdrive,
            write_asymmetry=spec.write_asymmetry,
            overdrive_sigma=spec.overdrive_sigma,
            pulse_s=spec.pulse or math.nan,
            write_current_a=overdrive * ic0,
            cell_ohm=spec.resistance,
            read_overdrive=spec.read_overdrive,
            read_s=spec.read_time,
            read_disturbs=spec.read_disturbs,
            sense_error=spec.sense_error,
            endurance=spec.endurance,
        )
        return self._with_pulse(device, laws(spec.law))

    def _at(self, delta: float) -> float:
        return float(thermal_stability_at(delta, self.temperature_k, self.spec.reference_temperature))

    def _fault(self, key: str, what: str) -> Exception:
        keys: KeyPath = (key,)
        return error([self.origins.fault(keys, what)])

    def _delta(self) -> float:
        spec = self.spec
        if spec.delta is not None:
            return spec.delta
        if spec.geometry is not None:
            volume = math.pi / 4 * spec.geometry.diameter**2 * spec.geometry.thickness
            return float(
                thermal_stability_from_geometry(
                    volume,
                    spec.anisotropy_field,
                    spec.geometry.saturation,
                    temperature_k=spec.reference_temperature,
                )
            )
        assert spec.retention is not None
        if spec.retention <= spec.attempt_time:
            raise self._fault("retention", f"{spec.retention:g} s is no longer than the attempt time")
        if spec.retention_means == MEAN:
            return float(thermal_stability(spec.retention, tau0_s=spec.attempt_time))
        share = share_of(spec.retention_means)
        if share is None:
            given = spec.retention_means
            what = f'expected "mean" or "ber:" and a share below 0.5 such as "ber:1e-6", got "{given}"'
            raise self._fault("retention_means", what)
        return delta_of_retention(spec.retention, share, spec.delta_cv, spec.attempt_time)

    def _with_pulse(self, device: Device, law: Laws) -> Device:
        """Return the device with the pulse that its target error rate needs; the laws must know it."""
        driven = "write_overdrive" if self.spec.write_overdrive is not None else "write_current"
        try:
            if self.spec.target_wer is not None:
                pulse = float(law.write_pulse(device, self.spec.target_wer))
                device = replace(device, pulse_s=pulse)
            law.write_error_rate(device, 0, 1)
        except InputError as exc:
            raise self._fault(driven, str(exc)) from None
        return device
