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
from accelsim.device.laws import OWN, Laws, flipped, known_laws, laws
from accelsim.device.mtj import (
    OutOfRange,
    critical_current,
    intrinsic_time,
    thermal_stability,
    thermal_stability_at,
    thermal_stability_from_geometry,
)
from accelsim.errors import ConfigError, InputError
from accelsim.resolve.bank_group import Device
from accelsim.resolve.ledger import ASSUMED
from accelsim.resolve.machine import Sourced
from accelsim.trace import human

MEAN: Final = "mean"
_BER: Final = "ber:"
_MOST_DELTA: Final = 500.0  # that a retention's delta is sought up to
_KEYS: Final = {  # of a device's file, by argument of the laws
    "alpha": "damping",
    "efficiency": "efficiency",
    "anisotropy_field_t": "anisotropy_field",
    "saturation_a_per_m": "geometry",
    "volume_m3": "geometry",
    "reference_k": "reference_temperature",
    "retention_s": "retention",
    "tau0_s": "attempt_time",
    "wer": "target_wer",
    "pulse_s": "pulse",
    "overdrive_sigma": "overdrive_sigma",
    "asymmetry": "write_asymmetry",
    "read_overdrive": "read_overdrive",
    "time_s": "read_time",
    "cv": "delta_cv",
}


def load_device(name_or_path: str, temperature_k: float | None = None) -> Device:
    """Return the device of a shipped name (``mram-1s``) or of a file, at ``temperature_k``.

    Without a temperature: at its own reference temperature. ``cell_ohm`` is the junction's resistance; in a
    bank the macro's write path takes its place.

    Raises:
        InputError: No such name or file.
        ConfigError: Every fault of the description, a line each.
        InputError: The laws do not reach that temperature.
    """
    return described_device(name_or_path, temperature_k)[0]


KNOWN: Final = 256  # devices that are remembered, as the candidates of a sweep have few
_known: dict[tuple[str, DeviceSpec, float], Device] = {}


def described_device(name_or_path: str, temperature_k: float | None) -> tuple[Device, tuple[Sourced, ...]]:
    """Return the device as ``load_device`` does, and the sources of its numbers by key of its file."""
    path = find("devices", name_or_path)
    spec, origins = load_spec(path, DeviceSpec, resolve_name=partial(find, "devices"))
    faults = [f for keys in DeviceSpec.ONE_OF for f in _one_of(spec, origins, keys)]
    faults += _law_faults(spec, origins) + _idle_faults(spec, origins)
    if faults:
        raise error(faults)
    kelvin = spec.reference_temperature if temperature_k is None else temperature_k
    about = path.stem, spec, kelvin
    device = _known.get(about)
    if device is None:
        device = _Resolver(path.stem, spec, origins, kelvin).device()
        if spec.law == OWN and len(_known) < KNOWN:  # others' laws may be anything
            _known[about] = device
    return device, _sources(spec, origins)


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
    if spec.law == OWN or spec.law in (known := known_laws()):  # looking for others takes milliseconds
        return []
    hint = did_you_mean(spec.law, known) or f"; there are {', '.join(known)}"
    return [origins.fault(("law",), f'no device laws "{spec.law}"{hint}')]


def _idle_faults(spec: DeviceSpec, origins: Origins) -> list[Fault]:
    """Return the keys that have no effect, and the names in ``assumed`` that are no keys."""
    found = []
    if spec.retention is None and origins.source_label(("retention_means",)):
        found.append(origins.fault(("retention_means",), "has no effect without retention"))
    if spec.target_wer is None and spec.pulse_temperature is not None:
        found.append(origins.fault(("pulse_temperature",), "has no effect without target_wer"))
    for i, name in enumerate(spec.assumed):
        if name not in DeviceSpec.model_fields:
            hint = did_you_mean(name, list(DeviceSpec.model_fields)) or ""
            found.append(origins.fault(("assumed", i), f'no key "{name}"{hint}'))
    return found


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
        self.driven = "write_overdrive" if spec.write_overdrive is not None else "write_current"
        self.stable = next(key for key in DeviceSpec.ONE_OF[0] if getattr(spec, key) is not None)

    def device(self) -> Device:
        """Return the device.

        Raises:
            ConfigError: if the laws do not hold for it, placed at the key to blame.
            InputError: if they do not reach its temperature.
        """
        try:
            return self._device()
        except OutOfRange as exc:
            if exc.argument == "temperature_k":  # which the file does not give
                raise InputError(f"device {self.name}: the temperature {exc.told}") from None
            key = self._blamed(exc.argument)
            own = key and exc.argument.startswith(key)  # it is the key's value that is told
            raise self._fault(key, exc.told if own else str(exc)) from None
        except ConfigError:
            raise
        except InputError as exc:  # of laws that do not say which argument it is
            raise self._fault(self.driven, str(exc)) from None

    def _device(self) -> Device:
        law = laws(self.spec.law)
        device = self._driven(self._stable(law))
        if self.spec.target_wer is not None:
            at = self.spec.pulse_temperature or self.temperature_k
            pulse = float(law.write_pulse(replace(device, temperature_k=at), self.spec.target_wer))
            device = replace(device, pulse_s=pulse)
        nodes, _ = law.nodes(device)
        law.rates_per_s(device, nodes)
        law.read_disturb_probability(device, nodes)
        for old in (0, 1):
            law.write_error_rate(device, old, 1 - old)
        return device

    def _stable(self, law: Laws) -> Device:
        """Return the device with its thermal stability, not yet driven."""
        bare = self._bare()
        spec = self.spec
        if spec.delta is not None:
            return replace(bare, delta=spec.delta)
        if spec.geometry is not None:
            volume = math.pi / 4 * spec.geometry.diameter**2 * spec.geometry.thickness
            of = (volume, spec.anisotropy_field, spec.geometry.saturation)
            kelvin = spec.reference_temperature
            return replace(bare, delta=float(thermal_stability_from_geometry(*of, temperature_k=kelvin)))
        assert spec.retention is not None
        if spec.retention <= spec.attempt_time:
            what = f"expected more than attempt_time, {human.seconds(spec.attempt_time)}"
            raise self._fault("retention", f"{what}, got {human.seconds(spec.retention)}")
        mean = float(thermal_stability(spec.retention, tau0_s=spec.attempt_time))
        if spec.retention_means == MEAN:
            return replace(bare, delta=mean)
        share = share_of(spec.retention_means)
        if share is None:
            given = spec.retention_means
            what = f'expected "mean" or "ber:" and a share below 0.5 such as "ber:1e-6", got "{given}"'
            raise self._fault("retention_means", what)
        return _lasting(law, replace(bare, delta=mean), spec.retention, share)

    def _bare(self) -> Device:
        spec = self.spec
        return Device(
            name=self.name,
            law=spec.law,
            temperature_k=self.temperature_k,
            reference_k=spec.reference_temperature,
            delta=math.nan,
            state_asymmetry=spec.state_asymmetry,
            delta_cv=spec.delta_cv,
            tau0_s=spec.attempt_time,
            intrinsic_time_s=float(intrinsic_time(spec.damping, spec.anisotropy_field)),
            overdrive=math.nan,
            write_asymmetry=spec.write_asymmetry,
            overdrive_sigma=spec.overdrive_sigma,
            pulse_s=math.nan if spec.pulse is None else spec.pulse,
            write_current_a=math.nan,
            cell_ohm=spec.resistance,
            read_overdrive=spec.read_overdrive,
            read_s=spec.read_time,
            read_disturbs=spec.read_disturbs,
            sense_error=spec.sense_error,
            endurance=spec.endurance,
        )

    def _driven(self, device: Device) -> Device:
        """Return the device with its write current: over that of the harder direction."""
        spec = self.spec
        ic0 = float(
            critical_current(
                thermal_stability_at(device.delta, self.temperature_k, spec.reference_temperature),
                alpha=spec.damping,
                efficiency=spec.efficiency,
                temperature_k=self.temperature_k,
                direction="p_to_ap",
                asymmetry=spec.write_asymmetry,
            )
        )
        overdrive = (
            (spec.write_current or 0.0) / ic0 if spec.write_overdrive is None else spec.write_overdrive
        )
        return replace(device, overdrive=overdrive, write_current_a=overdrive * ic0)

    def _fault(self, key: str, what: str) -> Exception:
        keys: KeyPath = (key,) if key else ()
        return error([self.origins.fault(keys, what)])

    def _blamed(self, argument: str) -> str:
        """Return the key that gives an argument of the laws; none gives the temperature."""
        return {"overdrive": self.driven, "delta": self.stable, **_KEYS}.get(argument, "")


def _lasting(law: Laws, device: Device, time_s: float, share: float) -> Device:
    """Return the device with the delta with which ``share`` of its bits read wrong after ``time_s``."""
    low, high = device.delta / 2, _MOST_DELTA
    for _ in range(60):
        middle = (low + high) / 2
        trial = replace(device, delta=middle, temperature_k=device.reference_k)
        low, high = (middle, high) if flipped(law, trial, time_s) > share else (low, middle)
    return replace(device, delta=high)
