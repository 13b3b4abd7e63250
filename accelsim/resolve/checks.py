"""Faults that take more than one key to see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from accelsim import plugins
from accelsim.config.arch import ArchSpec, VectorFunction
from accelsim.config.bitfields import SPLIT, split_fields
from accelsim.config.faults import did_you_mean
from accelsim.config.origins import Fault, Origins
from accelsim.config.positions import KeyPath
from accelsim.config.ranges import price_names, unfit
from accelsim.device.compute import NEW_NM, OLD_NM, in_range
from accelsim.resolve.cells import technique_faults
from accelsim.resolve.front import front_faults
from accelsim.resolve.layouts import layout_faults

POLICIES = ("roles", "sensitivity")  # of placement, built in


def cross_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return what is wrong between the keys of ``spec``, but for its banks' numbers."""
    faults = []
    if not spec.bank:
        what = "no bank group; a machine needs at least one table [bank.NAME]"
        faults.append(origins.fault(("bank",), what, at_key=True))
    elif not any(bank.count for bank in spec.bank.values()):
        what = "every bank group has count = 0; a machine needs at least one"
        faults.append(origins.fault(("bank",), what, at_key=True))
    if not in_range(spec.node):
        what = f"{spec.node} nm is outside the compute energy table, which has {NEW_NM} nm to {OLD_NM} nm"
        faults.append(origins.fault(("node",), what))
    for name, bank in spec.bank.items():
        if bank.iso_area and not spec.iso_area_with:
            what = "has no effect without iso_area_with, the machine whose bank area is to be matched"
            faults.append(origins.fault(("bank", name, "iso_area"), what))
        if bank.count:
            faults += technique_faults(name, bank, origins)
        if bank.model and plugins.find(plugins.BANKS, bank.model) is None:
            faults.append(_unknown(("bank", name, "model"), bank.model, plugins.BANKS, (), origins))
    faults += _policy_faults(spec, origins) + front_faults(spec, origins) + layout_faults(spec, origins)
    if "master_weight" in spec.placement.lists and "master_weight" not in spec.format:
        what = "has no effect without [format] master_weight: weights are then updated in place"
        faults.append(origins.fault(("placement", "master_weight"), what, at_key=True))
    buffered = [name for name, bank in spec.bank.items() if bank.write_buffer is not None]
    names = price_names(spec.bank, get_args(VectorFunction), buffered)
    faults += [
        origins.fault(("prices", p), what, at_key=True) for p, what in unfit(spec.prices, names).items()
    ]
    return faults + _field_faults(spec, origins) + _name_faults(spec, origins)


def _policy_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return the faults of a policy without its file, and of the file without its policy."""
    policy, file = spec.placement.policy, spec.placement.sensitivity
    if policy not in POLICIES and plugins.find(plugins.PLACEMENT, policy) is None:
        return [_unknown(("placement", "policy"), policy, plugins.PLACEMENT, POLICIES, origins)]
    if policy == "sensitivity" and not file:
        what = 'needs placement.sensitivity, the file of "accelsim sensitivity"'
        return [origins.fault(("placement", "policy"), what)]
    if file and policy != "sensitivity":
        return [origins.fault(("placement", "sensitivity"), 'has no effect without policy = "sensitivity"')]
    return []


def _unknown(keys: KeyPath, name: str, group: str, built_in: tuple[str, ...], origins: Origins) -> Fault:
    """Return the fault of a name that is neither built in nor an installed plug-in of ``group``."""
    known = [*built_in, *plugins.names(group)]
    hint = did_you_mean(name, known) or f"; there are: {', '.join(known) or 'none'}"
    what = f"neither {', '.join(built_in)} nor" if built_in else "not"
    return origins.fault(keys, f'"{name}" is {what} the name of an installed plug-in ({group}){hint}')


def _name_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return the faults of names of bank groups that do not exist, or that stand twice in one list."""
    names: list[tuple[KeyPath, str]] = []
    faults: list[Fault] = []
    if spec.accumulator.overflow:
        names.append((("accumulator", "overflow"), spec.accumulator.overflow))
    for keys, groups in _placements(spec):
        for i, group in enumerate(groups):
            names.append(((*keys, i), group))
            if group in groups[:i]:
                faults.append(origins.fault((*keys, i), f'"{group}" stands twice'))
    for keys, name in names:
        if name not in spec.bank:
            hint = did_you_mean(name, spec.bank) or f"; there are {', '.join(spec.bank)}"
            faults.append(origins.fault(keys, f'no bank group "{name}"{hint}'))
    return faults


def _placements(spec: ArchSpec) -> Iterator[tuple[KeyPath, tuple[str, ...]]]:
    """Yield every list of bank groups of ``[placement]``, those of bit fields too, and where it stands."""
    fields = spec.placement.fields
    for role, groups in spec.placement.lists.items():
        if role not in fields:
            yield ("placement", role), groups
    for role, table in fields.items():
        yield from ((("placement", role, name), groups) for name, groups in table.items())


def _field_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return the faults of bit fields that do not part their role's format."""
    faults: list[Fault] = []
    for role, table in spec.placement.fields.items():
        form, keys = spec.format.get(role), ("placement", role)
        if spec.placement.policy != "roles":
            what = f'policy = "{spec.placement.policy}" takes lists of bank groups, no bit fields'
            faults.append(origins.fault(keys, what))
        elif form is None or form not in SPLIT:
            known = ", ".join(SPLIT)
            what = f"bit fields need [format] {role}, one of {known}, which says what bits there are"
            faults.append(origins.fault(keys, what + (f"; it is {form}" if form else "")))
        else:
            for name, what in split_fields(tuple(table), form)[1]:
                faults.append(origins.fault((*keys, name) if name else keys, what, at_key=bool(name)))
        what = "an empty list: all bits of a tensor lie on chip, or none; name groups"
        faults += [origins.fault((*keys, name), what) for name, groups in table.items() if not groups]
    return faults


def without_empty_groups(spec: ArchSpec) -> ArchSpec:
    """Return ``spec`` without the groups of no banks; a list of nothing else is left to its default.

    Where such a group takes what the accumulator cannot hold, that goes to the output's group.
    """
    gone = {name for name, bank in spec.bank.items() if not bank.count}
    if not gone:
        return spec

    def left(groups: tuple[str, ...]) -> tuple[str, ...] | None:
        return None if groups and gone.issuperset(groups) else tuple(g for g in groups if g not in gone)

    lists: dict[str, Any] = {role: left(groups) for role, groups in spec.placement.lists.items()}
    there = tuple(name for name in spec.bank if name not in gone)
    lists |= {
        role: {name: left(groups) or there for name, groups in table.items()}
        for role, table in spec.placement.fields.items()
    }
    spill = "" if spec.accumulator.overflow in gone else spec.accumulator.overflow
    return spec.model_copy(
        update={
            "bank": {name: bank for name, bank in spec.bank.items() if name not in gone},
            "placement": spec.placement.model_copy(update=lists),
            "accumulator": spec.accumulator.model_copy(update={"overflow": spill}),
        }
    )
