"""What the prices of a machine may be: its table ``[prices]``, which changes no result of a run.

A key is a component and an action as in ``energy.parquet``, with ``*`` and ``?``; of several that fit, the
one with the most letters counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Final, Self, get_args

from pydantic import Field, Strict, model_validator

from accelsim.config.faults import did_you_mean
from accelsim.config.spec import Spec, Text
from accelsim.words import Format

_ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "accumulator": ("rmw",),
    "dma": ("read", "write"),
    "dram": ("read", "write", "background"),
    "im2col": ("read", "write"),
    "noc": ("transfer",),
    "static": ("logic",),
    "transpose": ("turn",),
}
_BANK: Final = ("read", "write", "rmw", "leakage", "scrub")
_BUFFER: Final = ("write", "drain", "forward")
_ARRAY: Final = ("mac", "operand_register", "psum_register", "shift", "clock")

Factor = Annotated[float, Strict(), Field(gt=0, le=1000)]


class RangeSpec(Spec):
    """``[prices] "COMPONENT ACTION"``: what one price may be, as factors of its nominal value, up to 1000."""

    low: Factor | None = None
    """At the least; the nominal value is 1."""
    nominal: Factor = 1.0
    """Where the middle is."""
    high: Factor | None = None
    """At the most."""
    sigma: Annotated[float, Strict(), Field(gt=0, le=3)] | None = None
    """Of the logarithm: a lognormal distribution instead of low and high. At most 3, whose 5 % and 95 %
    quantiles are a 140th of the nominal value and 140 times it."""
    source: Text = "assumed"
    """Key of docs/sources.md."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        ends = (self.low, self.high)
        if (self.sigma is None) == (ends == (None, None)) or (self.sigma is None and None in ends):
            raise ValueError("expected low and high, or sigma")
        if self.low is not None and self.high is not None and not self.low <= self.nominal <= self.high:
            raise ValueError(f"expected low <= nominal <= high, got {self.low}, {self.nominal}, {self.high}")
        return self


def price_names(
    banks: Iterable[str], functions: Iterable[str], buffered: Iterable[str] = ()
) -> Iterator[str]:
    """Yield the names of all prices that a machine can have.

    Args:
        banks: The names of its bank groups.
        functions: Those of the vector unit.
        buffered: Of the groups, those with write buffers.
    """
    for component, actions in _ACTIONS.items():
        yield from (f"{component} {action}" for action in actions)
    yield from (f"spad.{bank} {action}" for bank in banks for action in _BANK)
    yield from (f"spad.{bank}.buffer {action}" for bank in buffered for action in _BUFFER)
    yield from (f"pe_array {kind}.{form}" for kind in _ARRAY for form in get_args(Format))
    yield from (f"vector {function}" for function in functions)


def unfit(patterns: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with the patterns that fit none of ``names``."""
    listed = list(names)
    near = [*listed, *dict.fromkeys(f"{name.partition(' ')[0]} *" for name in listed)]
    return {
        p: f'no price of this machine is called "{p}"{did_you_mean(p, near) or f"; one is {listed[0]}"}'
        for p in patterns
        if not any(fnmatchcase(name, p) for name in listed)
    }


def letters(pattern: str) -> int:
    """Return how much a pattern says: its characters but for wildcards.

    >>> letters("spad.* leakage") > letters("spad.* *") > letters("* *")
    True
    """
    return len(pattern) - pattern.count("*") - pattern.count("?")
