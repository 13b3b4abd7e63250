"""From the options of ``accelsim train`` to cases: no errors, those of a profile, by role, or by rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.train.laws import Profile, checked_rate
from accelsim.train.options import naming
from accelsim.train.summary import CLEAN
from accelsim.train.table import TableProfile
from accelsim.train.trainer import Case
from accelsim.words import ROLES

PROFILE = "profile"


def table_of(text: str) -> dict[str, float]:
    """Return ``"activation=1e-5,weight=1e-6"`` as a table."""
    table = {}
    for part in text.split(","):
        role, equals, rate = part.partition("=")
        if not equals:
            hint = did_you_mean(part, (PROFILE, CLEAN)) or ""
            raise InputError(f'--errors: expected "profile", "none" or role=rate,..., got "{part}"{hint}')
        if role.strip() in table:
            raise InputError(f"--errors: {role.strip()} has two rates; give it one, or compare with --rates")
        table[role.strip()] = _number(rate, f"--errors {role.strip()}")
    return table


def rates_of(text: str) -> list[float]:
    """Return ``"1e-7,1e-6"`` as rates."""
    rates = [checked_rate(_number(part, "--rates"), "--rates") for part in text.split(",")]
    names = [rate_name(rate) for rate in rates]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--rates: {name} is given twice")
    return rates


def rate_name(rate: float) -> str:
    """Return what the case of ``rate`` is called."""
    return f"{rate:g}"


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f'{what}: expected a bit error probability such as 1e-6, got "{text}"') from None


def target_table(rate: float, target: str, glob: str | None) -> dict[str, dict[str, float]]:
    """Return the table of one rate of one role, for the readers that ``glob`` names.

    The input of a layer is an activation, that of the first layer the step's input: a glob means both.
    """
    if target not in ROLES:
        hint = did_you_mean(target, ROLES) or f"; there are {', '.join(ROLES)}"
        raise InputError(f'--target: unknown role "{target}"{hint}')
    roles = [target, "input"] if target == "activation" and glob is not None else [target]
    return {role: {glob or "*": rate} for role in roles}


def cases_of(
    errors: str | None, rates: Sequence[float], target: str, layers: str | None, profile: Profile | None
) -> list[Case]:
    """Return the error-free case and those with errors beside it.

    Args:
        errors: ``profile``, ``none``, ``role=rate,...``; None: ``profile`` unless there are rates.
        profile: What ``profile`` means.
    """
    cases = [Case(CLEAN, None)]
    if profile is not None:
        cases.append(Case(PROFILE, profile))
    elif errors not in (None, CLEAN, PROFILE):
        table = table_of(str(errors))
        by_glob = {role: {layers: rate} for role, rate in table.items()} if layers else table
        with naming("--errors"):
            cases.append(Case(str(errors), TableProfile(by_glob)))
    for rate in rates:
        cases.append(Case(rate_name(rate), TableProfile(target_table(rate, target, layers))))
    return cases


def check_wanted(
    errors: str | None, rates: Sequence[float], layers: str | None, options: Mapping[str, Any]
) -> None:
    """Refuse options that contradict each other, or change nothing.

    Args:
        options: Arguments of ``ErrorInjector``.

    Raises:
        InputError: It names both.
    """
    if errors == CLEAN and rates:
        raise InputError("--errors none: contradicts --rates; leave out one of them")
    if layers is not None and not rates and errors in (None, CLEAN, PROFILE):
        raise InputError("--layers: has no effect without --rates or --errors role=rate,...")
    if errors == CLEAN:
        idle = {key: options.get(key) for key in ("protect", "ecc", "storage_format")}
        idle["nonfinite"] = options.get("nonfinite", "raw") != "raw"
        idle["storage_format"] = idle["storage_format"] and not options.get("measure")
        for key in (key for key, given in idle.items() if given):
            raise InputError(f"--{key.replace('_', '-')}: has no effect with --errors none")


def wants_profile(errors: str | None, rates: Sequence[float]) -> bool:
    """Return whether the run's own profile is asked for."""
    return errors == PROFILE or (errors is None and not rates)
