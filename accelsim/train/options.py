"""Options of a training with errors: what they may be, under the names by which they were given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from accelsim.config.faults import either
from accelsim.errors import InputError
from accelsim.train.formats import FORMATS, field_bits
from accelsim.train.nonfinite import POLICIES

CODES: Final = ("secded",)
STORED: Final = ("fp32", "bf16", "fp16", "int8")  # networks and machines may have fp64 besides


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Say at which ``option`` the fault is that is found inside."""
    try:
        yield
    except InputError as fault:
        raise InputError(f"{option}: {fault}") from None


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse options of the command line that cannot be, before anything is made.

    Args:
        options: Arguments of ``ErrorInjector`` by name; None is what was not given.

    Raises:
        InputError: It names the option, what is allowed, and what was given.
    """
    for name, check in _CHECKS.items():
        if options.get(name) is not None:
            check(f"--{name.replace('_', '-')}", options[name])


def checked_norm(what: str, value: float) -> float:
    """Return ``value`` as a norm that gradients can be cut to.

    Raises:
        InputError: It is not finite, or not above 0: nothing would be learnt.
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what}: expected a finite number above 0, got {value:g}")
    return value


def _one_of(allowed: Sequence[str]) -> Callable[[str, Any], None]:
    def check(option: str, value: Any) -> None:
        for name in value.values() if isinstance(value, Mapping) else (value,):
            if name not in allowed:
                raise InputError(f'{option}: expected {either(allowed)}, got "{name}"')

    return check


def _protected(option: str, fields: str | Sequence[str]) -> None:
    for field in (fields,) if isinstance(fields, str) else fields:
        with naming(option):
            field_bits(field, FORMATS["fp32"])


_CHECKS: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "nonfinite": _one_of(POLICIES),
    "protect": _protected,
    "storage_format": _one_of(STORED),
    "ecc": _one_of(CODES),
    "clip_gradients": checked_norm,
}
