"""What the closed loop may change about a machine: places, pulses, scrubs, as settings by level."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from accelsim.config.arch import ArchSpec
from accelsim.config.device import DeviceSpec
from accelsim.config.document import load_spec, parse_override
from accelsim.config.locate import find
from accelsim.config.machinefile import machine_toml, toml
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.beside import beside
from accelsim.resolve.drive import LEAST_WER
from accelsim.resolve.machine import Machine
from accelsim.resolve.techniques import TOGGLE
from accelsim.resolve.tolerance import GroupErrors
from accelsim.train.files import DEVICES, write_whole
from accelsim.units import duration_text
from accelsim.words import ROLES, Role

LONGER: Final = 1.25  # a level of pulse, where a device gives its pulse
SURER: Final = 0.01  # a level of target_wer, where it gives that
PULSES: Final = 4
SCRUBS: Final = 4  # levels, each halving the interval

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Remedy:
    """One remedy: its settings by level, from level 1."""

    name: str
    levels: tuple[Settings, ...]


class Remedies:
    """The remedies of one machine.

    Args:
        arch, overrides: The base machine, as for ``load_machine``.
        folder: Where devices with other pulses are written, below ``devices/``.
    """

    def __init__(self, arch: str, overrides: Sequence[str], folder: Path) -> None:
        self._arch, self._base, self._folder = arch, tuple(overrides), folder
        self._path = find("arch", arch)
        self._spec, self._origins = load_spec(
            self._path, ArchSpec, overrides=overrides, resolve_name=partial(find, "arch")
        )
        machine = load_machine(arch, overrides)
        found = [*_places(machine), *self._pulses(machine), *_scrubs(machine)]
        self._by_name = {remedy.name: remedy for remedy in found if remedy.levels}

    @property
    def most(self) -> dict[str, int]:
        """The highest level of every remedy."""
        return {name: len(remedy.levels) for name, remedy in self._by_name.items()}

    def settings(self, levels: Mapping[str, int]) -> Settings:
        """Return what the levels set beside the base, by key."""
        found: Settings = {}
        for name, remedy in self._by_name.items():
            if level := levels.get(name, 0):
                found |= remedy.levels[level - 1]
        return found

    def overrides(self, levels: Mapping[str, int]) -> tuple[str, ...]:
        """Return the base's overrides and those of the levels."""
        return (*self._base, *(f"{key}={toml(value)}" for key, value in self.settings(levels).items()))

    def write(self, levels: Mapping[str, int], path: Path, comment: str) -> None:
        """Write the machine of the levels as a file that extends the base."""
        settings: Settings = {}
        if _is_path(self._spec.iso_area_with):  # relative to the machine's file, which is another one now
            settings["iso_area_with"] = str(self._path.parent / self._spec.iso_area_with)
        for text in self._base:
            keys, value = parse_override(text)
            if keys != ["iso_area_with"]:
                settings |= _flat(".".join(keys), value)
        settings |= self.settings(levels)
        settings = {key: _seen_from(path.parent, key, value) for key, value in settings.items()}
        write_whole(path, machine_toml(self._arch, settings, comment, path).encode())

    def _pulses(self, machine: Machine) -> list[Remedy]:
        return [
            Remedy(f"bank.{name}.pulse", tuple(self._longer(name)))
            for name, bank in machine.banks.items()
            if bank.device is not None
        ]

    def _longer(self, name: str) -> list[Settings]:
        """Return the settings of longer pulses; the devices are written, each extending the base's."""
        given = beside(self._spec.bank[name].device, self._origins, ("bank", name, "device"))
        spec, _ = load_spec(find("devices", given), DeviceSpec, resolve_name=partial(find, "devices"))
        found = []
        for level in range(1, PULSES + 1):
            path = self._folder / DEVICES / f"{name}-pulse-{level}.toml"
            if spec.pulse is not None:
                changed: Settings = {"pulse": f"{spec.pulse * 1e9 * LONGER**level:.6g} ns"}
            else:
                assert spec.target_wer is not None
                wer = spec.target_wer * SURER**level
                if wer < LEAST_WER:
                    break
                changed = {"target_wer": float(f"{wer:.6g}")}
            path.parent.mkdir(parents=True, exist_ok=True)
            comment = f"{Path(given).stem} with a longer pulse, level {level} of a closed loop."
            write_whole(path, machine_toml(given, changed, comment, path).encode())
            found.append({f"bank.{name}.device": str(path)})
        return found


def _places(machine: Machine) -> list[Remedy]:
    """Return, per role, its list of groups with one after the other of those that err taken out.

    The one that errs most first; what is left of a list of these alone are the groups that do not err, or
    DRAM.
    """
    errs = {n: _errors(b, machine.host_gap_ps) for n, b in machine.banks.items() if b.device is not None}
    safe = [name for name in machine.banks if name not in errs]
    found = []
    for role in _roles(machine):
        groups = machine.placement[role]
        frail = sorted((g for g in groups if g in errs), key=lambda g: -errs[g])
        levels: list[Settings] = []
        for taken in range(1, len(frail) + 1):
            levels.append({f"placement.{role}": _left(machine, role, frail[:taken], safe)})
        found.append(Remedy(f"placement.{role}", tuple(levels)))
    return found


def _left(machine: Machine, role: Role, taken: Sequence[str], safe: list[str]) -> Any:
    """Return the placement of a role without the groups ``taken``: a list, or one per bit field."""
    fields = machine.fields_of(role)
    if not fields or not safe:  # what is not safe for one field goes to DRAM with all of them
        return [g for g in machine.placement[role] if g not in taken] or safe
    return {field.name: [g for g in field.groups if g not in taken] or safe for field in fields}


def _roles(machine: Machine) -> list[Role]:
    separate = machine.formats.get("master_weight") not in (None, machine.formats.get("weight"))
    return [role for role in ROLES if role != "master_weight" or separate]


def _errors(bank: BankGroup, gap_ps: int) -> float:
    """Return how often a bit of a group is wrong a millisecond after its write, and the gap between steps."""
    assert bank.device is not None
    return GroupErrors(bank, bank.device, TOGGLE).at(10**9 + gap_ps)


def _scrubs(machine: Machine) -> list[Remedy]:
    return [
        Remedy(
            f"bank.{name}.scrub_interval",
            tuple(
                {f"bank.{name}.scrub_interval": duration_text(bank.scrub_ps // 2**level)}
                for level in range(1, SCRUBS + 1)
                if bank.scrub_ps // 2**level
            ),
        )
        for name, bank in machine.banks.items()
        if bank.ecc is not None and bank.scrub_ps
    ]


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or value.endswith(".toml"))


def _flat(key: str, value: Any) -> Settings:
    """Return the values of a table by their dotted keys."""
    if not isinstance(value, dict) or key.startswith("placement."):  # bit fields belong together
        return {key: value}
    found: Settings = {}
    for name, inner in value.items():
        found |= _flat(f"{key}.{name}", inner)
    return found


def _seen_from(folder: Path, key: str, value: Any) -> Any:
    """Return ``value``, or, if it is the path of a file, that path as a file in ``folder`` names it."""
    names_file = key.endswith(".device") or key in ("placement.sensitivity", "iso_area_with")
    if not (names_file and _is_path(value)):
        return value
    path = os.path.relpath(Path(value).resolve(), folder.resolve())
    return path if "/" in path else f"./{path}"
