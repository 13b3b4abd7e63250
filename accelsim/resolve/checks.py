"""Faults that take more than one key to see."""

from __future__ import annotations

from typing import get_args

from accelsim import plugins
from accelsim.config.arch import ArchSpec, VectorFunction
from accelsim.config.faults import did_you_mean
from accelsim.config.origins import Fault, Origins
from accelsim.config.positions import KeyPath
from accelsim.config.ranges import price_names, unfit
from accelsim.device.compute import NEW_NM, OLD_NM, in_range
from accelsim.resolve.front import front_faults

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
        if bank.model and plugins.find(plugins.BANKS, bank.model) is None:
            faults.append(_unknown(("bank", name, "model"), bank.model, plugins.BANKS, (), origins))
    faults += _policy_faults(spec, origins) + front_faults(spec, origins)
    if "master_weight" in spec.placement.lists and "master_weight" not in spec.format:
        what = "has no effect without [format] master_weight: weights are then updated in place"
        faults.append(origins.fault(("placement", "master_weight"), what, at_key=True))
    buffered = [name for name, bank in spec.bank.items() if bank.write_buffer is not None]
    names = price_names(spec.bank, get_args(VectorFunction), buffered)
    faults += [
        origins.fault(("prices", p), what, at_key=True) for p, what in unfit(spec.prices, names).items()
    ]
    return faults + _name_faults(spec, origins)


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
    for role, groups in spec.placement.lists.items():
        for i, group in enumerate(groups):
            names.append((("placement", role, i), group))
            if group in groups[:i]:
                faults.append(origins.fault(("placement", role, i), f'"{group}" stands twice'))
    for keys, name in names:
        if name not in spec.bank:
            hint = did_you_mean(name, spec.bank) or f"; there are {', '.join(spec.bank)}"
            faults.append(origins.fault(keys, f'no bank group "{name}"{hint}'))
    return faults


def without_empty_groups(spec: ArchSpec) -> ArchSpec:
    """Return ``spec`` without the groups of no banks; a list of nothing else is left to its default.

    Where such a group takes what the accumulator cannot hold, that goes to the output's group.
    """
    gone = {name for name, bank in spec.bank.items() if not bank.count}
    if not gone:
        return spec
    lists: dict[str, tuple[str, ...] | None] = {
        role: None if groups and gone.issuperset(groups) else tuple(g for g in groups if g not in gone)
        for role, groups in spec.placement.lists.items()
    }
    spill = "" if spec.accumulator.overflow in gone else spec.accumulator.overflow
    return spec.model_copy(
        update={
            "bank": {name: bank for name, bank in spec.bank.items() if name not in gone},
            "placement": spec.placement.model_copy(update=lists),
            "accumulator": spec.accumulator.model_copy(update={"overflow": spill}),
        }
    )
