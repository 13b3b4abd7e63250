"""Capacity at equal area: how much memory the iso-area groups hold in the banks' area of another machine.

Numbers of banks and subbanks and all other groups stay. The solved groups get macros of one size, the
largest on a grid of 1 KiB with which all banks together take no more than the other machine's area; the
array table gives the area of a macro of that size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.origins import Fault, error
from accelsim.device.macros import NotInTable
from accelsim.resolve.banks import Where, resolve_bank, series_of
from accelsim.resolve.cells import added_mm2
from accelsim.resolve.front import buffer_mm2, mux_area
from accelsim.resolve.ledger import Ledger
from accelsim.resolve.machine import Machine
from accelsim.resolve.tables import table_of
from accelsim.resolve.techniques import area_factor
from accelsim.units import size_text

_GRID: Final = 1024
_KEY: Final = ("iso_area_with",)


def solved_capacities(where: Where, other: Machine) -> dict[str, int]:
    """Return the capacity in bytes of each solved group, for the bank area of ``other``.

    Raises:
        ConfigError: No group to solve, another node, or no macro of the table fits.
    """
    groups = _groups(where.spec)
    faults = _faults(where, other, groups)
    if faults:
        raise error(faults)
    left = other.area_mm2 - _fixed_area(where, groups)
    left -= sum(buffer_mm2(bank, where.spec.node) * area_factor(bank) for bank in groups.values())
    size = _macro_bytes(where, other, groups, left)
    return {name: size * bank.count * bank.subbanks for name, bank in groups.items()}


def _groups(spec: ArchSpec) -> dict[str, BankSpec]:
    """Return the groups to solve: those that say so, else the STT-MRAM ones."""
    said = {name: bank for name, bank in spec.bank.items() if bank.iso_area}
    mram = {
        name: bank
        for name, bank in spec.bank.items()
        if bank.technology == "stt-mram" and bank.iso_area is not False
    }
    return said or mram


def _faults(where: Where, other: Machine, groups: dict[str, BankSpec]) -> list[Fault]:
    origins, faults = where.origins, []
    if not groups:
        what = "no bank group to solve: none is stt-mram and none has iso_area = true"
        faults.append(origins.fault(_KEY, what))
    if where.spec.node != other.node_nm:
        what = f"{other.name} is at {other.node_nm} nm, this machine at {where.spec.node} nm"
        faults.append(origins.fault(_KEY, what))
    for name, bank in groups.items():
        if bank.area is not None:
            faults.append(
                where.fault(name, "area", "cannot be given where iso_area_with solves the capacity")
            )
        if origins.is_set(("bank", name, "capacity")):
            what = 'has no effect: iso_area_with solves it; add --set iso_area_with=""'
            faults.append(where.fault(name, "capacity", what))
    return faults


def _fixed_area(where: Where, groups: dict[str, BankSpec]) -> float:
    area = 0.0
    for name, bank in where.spec.bank.items():
        if name not in groups:
            group = resolve_bank(name, bank, bank.capacity, where, Ledger(where.spec, where.origins))
            if isinstance(group, list):
                raise error(group)
            area += group.area_mm2
    return area


def _macro_bytes(where: Where, other: Machine, groups: dict[str, BankSpec], left: float) -> int:
    """Return the largest macro, in bytes, of which all of ``groups`` fit in ``left`` mm2."""
    tables, macros = {}, {}
    for name, bank in groups.items():
        macros[name] = table_of(name, bank, where.spec, where.origins)
        try:
            tables[name] = series_of(bank, macros[name], where.spec)
        except NotInTable as exc:
            raise error([where.fault(name, exc.key, str(exc))]) from None
    low = max(table.capacities[0] for table in tables.values())
    high = min(table.capacities[1] for table in tables.values())

    def area(size: int) -> float:
        lanes = {n: b.count * b.subbanks for n, b in groups.items()}
        return sum(
            area_factor(b)
            * mux_area(b)
            * (
                lanes[n] * tables[n].area_mm2(size)
                + added_mm2(b, macros[n], lanes[n] * size, where.spec.node)
            )
            for n, b in groups.items()
        )

    if area(low) > left or area(high) < left:
        end, which = (low, "smallest") if area(low) > left else (high, "largest")
        what = (
            f"macros of {size_text(end)}, the {which} of the array table, take {area(end):.4g} mm2 where "
            f"{other.name} leaves {left:.4g} mm2; change count or subbanks of {', '.join(groups)}"
        )
        raise error([where.origins.fault(_KEY, what)])
    return _largest(low // _GRID, high // _GRID, lambda grid: area(grid * _GRID) <= left) * _GRID


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number in [low, high] that fits; ``low`` does, and what is below one that fits."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
