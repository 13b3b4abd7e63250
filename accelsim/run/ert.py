"""A run's counts priced by an energy reference table of Accelergy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, get_args

from accelsim.config.arch import VectorFunction
from accelsim.config.document import load_spec
from accelsim.config.ert import ErtComponent, ErtEntrySpec, ErtMapSpec, find_component, load_ert
from accelsim.config.faults import did_you_mean, listed
from accelsim.config.origins import Fault, Origins, error
from accelsim.config.ranges import price_names, unfit
from accelsim.errors import InputError
from accelsim.resolve.prices import MAC
from accelsim.run.energy import PER_BIT
from accelsim.trace.runs import Run

IN_BITS: Final = tuple(sorted(PER_BIT))  # components that are counted in bits


@dataclass(frozen=True, slots=True, kw_only=True)
class ErtPrice:
    """What an action of ours comes to.

    Attributes:
        amount: Of the table's actions; of standing power, cycles times instances.
        own_pj: What the run itself paid.
    """

    component: str
    action: str
    count: int
    ert: str  # its component and action; empty: free
    amount: float
    price_pj: float
    energy_pj: float
    own_pj: float


@dataclass(frozen=True, slots=True)
class _Sum:
    """All rows of one component and action."""

    count: float  # without what zero gating spared
    whole: int
    powered_ps: float  # at full power: what power gating spared is left out
    own_pj: float


def ert_prices(run: Run, ert: Path, mapping: Path | None = None) -> list[ErtPrice]:
    """Return the energies of ``run`` by the table ``ert``, in the order of components and actions.

    Args:
        mapping: Which of the table's actions price ours; without it, what has the same name.

    Raises:
        InputError: What has no price, all at once.
        ConfigError: What is wrong in either file, a line each.
    """
    tables = load_ert(ert)
    spec, origins = ErtMapSpec(), Origins("")
    sums = _sums(run)
    if mapping is not None:
        spec, origins = load_spec(mapping, ErtMapSpec, resolve_name=_no_names)
        if faults := [*_unknown_ours(run, spec, origins, sums), *_unknown_theirs(spec, origins, tables)]:
            raise error(faults)
    found: list[ErtPrice] = []
    missing: list[str] = []
    for (component, action), total in sums.items():
        priced = _priced(run, component, action, total, spec, origins, tables)
        if isinstance(priced, str):
            missing.append(priced)
        else:
            found.append(priced)
    if missing:
        there = listed([f"{t.leaf} ({listed(t.actions)})" for t in tables], most=20, by="; ")
        raise InputError(
            f"{ert}: no price for {len(missing)} of {len(missing) + len(found)} actions of {run.path}; "
            'say what prices each in --map FILE.toml, [price."COMPONENT ACTION"], or list it in free:\n  '
            + "\n  ".join(missing)
            + f"\nthe table has {there}"
        )
    return found


def _unknown_ours(
    run: Run, spec: ErtMapSpec, origins: Origins, ours: Iterable[tuple[str, str]]
) -> Iterator[Fault]:
    """Yield the keys of a map that name no action which the run's machine can have."""
    banks = run.manifest["machine"]["banks"]
    names = {f"{component} {action}" for component, action in ours}
    names |= set(price_names(banks, get_args(VectorFunction), banks))
    places = {key: ("price", key) for key in spec.price} | {
        key: ("free", i) for i, key in enumerate(spec.free)
    }
    for key, what in unfit(places, sorted(names)).items():
        yield origins.fault(places[key], what, at_key=True)


def _unknown_theirs(spec: ErtMapSpec, origins: Origins, tables: tuple[ErtComponent, ...]) -> Iterator[Fault]:
    """Yield the components and actions of a map's prices that the table lacks."""
    for key, entry in spec.price.items():
        try:
            table = find_component(tables, entry.component)
        except InputError as exc:
            yield origins.fault(("price", key, "component"), str(exc))
            continue
        if entry.action not in table.actions:
            hint = did_you_mean(entry.action, table.actions) or f", only {listed(table.actions)}"
            what = f'{table.leaf} has no action "{entry.action}"{hint}'
            yield origins.fault(("price", key, "action"), what)


def ert_totals(prices: list[ErtPrice]) -> dict[str, tuple[float, float]]:
    """Return the energies by component: by the table, and as the run itself paid."""
    by: dict[str, list[ErtPrice]] = {}
    for price in prices:
        by.setdefault(price.component, []).append(price)
    return {
        name: (math.fsum(p.energy_pj for p in of), math.fsum(p.own_pj for p in of)) for name, of in by.items()
    }


def _no_names(name: str) -> Path:
    raise InputError(f'"{name}" is no path; a file ends in .toml')


def _sums(run: Run) -> dict[tuple[str, str], _Sum]:
    """Return the run's energy table by component and action."""
    machine = run.manifest["machine"]
    macs, banks = machine["pe_array"]["mac_pj"], machine["banks"]
    rows: dict[tuple[str, str], list[tuple[float, int, float, float]]] = {}
    for row in run.table("energy").to_pylist():
        component, action = row["component"], row["action"]
        full_pj = macs.get(action.removeprefix(MAC), 0.0) if component == "pe_array" else 0.0
        spared = row["price_pj"] / full_pj if full_pj and action.startswith(MAC) else 1.0
        full_w = banks[component.removeprefix("spad.")]["leakage_mw"] * 1e-3 if action == "leakage" else 0.0
        on = row["price_w"] / full_w if full_w else 1.0
        of = (row["count"] * spared, row["count"], row["powered_ps"] * on, row["energy_pj"])
        rows.setdefault((component, action), []).append(of)
    return {
        key: _Sum(
            math.fsum(r[0] for r in of),
            sum(r[1] for r in of),
            math.fsum(r[2] for r in of),
            math.fsum(r[3] for r in of),
        )
        for key, of in sorted(rows.items())
    }


def _priced(
    run: Run,
    component: str,
    action: str,
    total: _Sum,
    spec: ErtMapSpec,
    origins: Origins,
    tables: tuple[ErtComponent, ...],
) -> ErtPrice | str:
    """Return the price of an action, or a line on why there is none."""
    name = f"{component} {action}"
    fits = [glob for glob in (*spec.price, *spec.free) if fnmatchcase(name, glob)]
    chosen = max(fits, key=len, default="")
    if chosen and chosen not in spec.price:
        return ErtPrice(
            component=component,
            action=action,
            count=total.whole,
            ert="",
            amount=0.0,
            price_pj=0.0,
            energy_pj=0.0,
            own_pj=total.own_pj,
        )
    entry = spec.price.get(chosen) or _by_name(component, action, tables)
    if entry is None:
        return name + (" (counted in bits: say width)" if component in IN_BITS and total.whole else "")
    try:
        table = find_component(tables, entry.component)
        what = f"{table.leaf} {entry.action}"
        price = table.actions[entry.action].pj(entry.arguments, what)
        amount = _amount(run, component, total, entry, table, spec)
    except InputError as exc:
        if chosen:
            raise error([origins.fault(("price", chosen), str(exc))]) from None
        return f"{name} ({exc})"
    return ErtPrice(
        component=component,
        action=action,
        count=total.whole,
        ert=what,
        amount=amount,
        price_pj=price,
        energy_pj=amount * price,
        own_pj=total.own_pj,
    )


def _by_name(component: str, action: str, tables: tuple[ErtComponent, ...]) -> ErtEntrySpec | None:
    """Return the action of the same name of a component of the same name, if there is one.

    A multiply-accumulate is ``mac compute``, leakage ``leak``; what is counted in bits has to say a width.
    """
    if component in IN_BITS:
        return None
    ours, theirs = {component, component.rpartition(".")[2]}, action
    if component == "pe_array" and action.startswith(MAC):
        ours, theirs = {"mac"}, "compute"
    if action == "leakage":
        theirs = "leak"
    found = [t for t in tables if t.leaf.lower() in ours and theirs in t.actions]
    return ErtEntrySpec(component=found[0].name, action=theirs) if len(found) == 1 else None


def _amount(
    run: Run, component: str, total: _Sum, entry: ErtEntrySpec, table: ErtComponent, spec: ErtMapSpec
) -> float:
    """Return how many of the table's actions ours come to."""
    machine: Mapping[str, Any] = run.manifest["machine"]
    if not total.whole:
        cycle_ps = spec.cycle * 1e12 if spec.cycle is not None else 1e12 / machine["clock_hz"]
        return total.powered_ps / cycle_ps * (entry.instances or table.instances)
    bits = next(_bits(machine, component), 0)
    if entry.width is None:
        if component in IN_BITS:
            raise InputError("we count bits; say width, the bits that one of its actions moves")
        return total.count
    if not bits:
        raise InputError("width has no effect: we count neither words nor bits")
    return total.count * bits / (entry.width * 8)


def _bits(machine: Mapping[str, Any], component: str) -> Iterator[int]:
    """Yield the bits of what we count, where it is words or bits."""
    if component in IN_BITS:
        yield 1
    if component.startswith("spad."):
        yield machine["banks"][component.removeprefix("spad.").removesuffix(".buffer")]["word_bytes"] * 8
    if component == "im2col":
        yield 8
    if component == "accumulator":
        yield machine["accumulator"]["element_bytes"] * 8
