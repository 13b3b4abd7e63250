"""Price ranges: what each price of the ledger may be, from a TOML file.

    [prices]
    "spad.mram write" = { low = 0.8, high = 1.5 }            # factors of the nominal price
    "spad.* leakage" = { low = 0.5, high = 3.0 }
    "dram read" = { sigma = 0.15 }                           # lognormal, of the logarithm

    [timings]
    "bank.mram.write_cycle" = { low = "8 ns", high = "12 ns" }  # keys of the machine: simulated again

A key is a component and an action as in ``energy.parquet``, with ``*`` and ``?``; the first that fits counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from accelsim.config.document import load_spec
from accelsim.config.locate import find
from accelsim.config.origins import error
from accelsim.config.spec import CountOrZero, Spec, Text

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
DEFAULTS: Final[dict[str, tuple[float, float]]] = {  # where no file is given: assumed
    "spad.* leakage": (0.5, 2.0),
    "spad.* *": (0.8, 1.25),
    "dram *": (0.75, 1.33),
    "pe_array *": (0.7, 1.4),
    "* *": (0.5, 2.0),
}


class RangeSpec(Spec):
    """What one price may be, as factors of its nominal value, or as a distribution."""

    low: Positive | None = None
    """At the least; the nominal value is 1."""
    nominal: Positive = 1.0
    """Where the middle is."""
    high: Positive | None = None
    """At the most."""
    sigma: Positive | None = None
    """Of the logarithm: a lognormal distribution instead of low and high."""
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


class EndsSpec(Spec):
    """What a key of the machine may be."""

    low: Text
    """One end, as the machine's file would give it."""
    high: Text
    """The other end."""


class PricesSpec(Spec):
    """A file of price ranges."""

    seed: CountOrZero = 0
    """Of the samples."""
    prices: dict[str, RangeSpec] = Field(default_factory=dict)
    """Ranges by component and action."""
    timings: dict[str, EndsSpec] = Field(default_factory=dict)
    """Ranges of keys of the machine that decide times: each run is simulated again at both ends."""


@dataclass(frozen=True, slots=True)
class Range:
    """The range of one price: factors, triangular between low and high, or lognormal."""

    low: float
    nominal: float
    high: float
    sigma: float = 0.0

    def draws(self, uniform: Floats) -> Floats:
        """Return the factors at shares ``uniform`` of the distribution."""
        if self.sigma:
            from scipy.stats import norm

            found: Floats = self.nominal * np.exp(self.sigma * norm.ppf(uniform))
            return found
        width = self.high - self.low
        if width == 0:
            return np.full_like(uniform, self.nominal)
        turn = (self.nominal - self.low) / width
        rising = self.low + np.sqrt(uniform * width * (self.nominal - self.low))
        falling = self.high - np.sqrt((1 - uniform) * width * (self.high - self.nominal))
        return np.where(uniform < turn, rising, falling)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges by pattern, the first that fits counting."""

    patterns: tuple[tuple[str, Range], ...]
    seed: int = 0
    timings: tuple[tuple[str, str, str], ...] = ()  # key, low, high

    def of(self, name: str) -> Range:
        """Return the range of the price ``name``; one that is not named is exact."""
        return next((r for pattern, r in self.patterns if fnmatchcase(name, pattern)), Range(1.0, 1.0, 1.0))

    def unused(self, names: Sequence[str]) -> list[str]:
        """Return the patterns that fit none of ``names``."""
        return [pattern for pattern, _ in self.patterns if not any(fnmatchcase(n, pattern) for n in names)]


def load_ranges(path: Path | None) -> Ranges:
    """Return the ranges of a file, or the assumed ones.

    Raises:
        InputError: The file cannot be read.
        ConfigError: Every fault of it, a line each.
    """
    if path is None:
        return Ranges(tuple((name, Range(low, 1.0, high)) for name, (low, high) in DEFAULTS.items()))
    spec, origins = load_spec(path, PricesSpec, resolve_name=partial(find, "arch"))
    if not spec.prices and not spec.timings:
        raise error([origins.fault(("prices",), "no prices, and no timings")])
    prices = tuple((name, _range(given)) for name, given in spec.prices.items())
    return Ranges(prices, spec.seed, tuple((name, t.low, t.high) for name, t in spec.timings.items()))


def _range(given: RangeSpec) -> Range:
    if given.sigma is not None:
        return Range(given.nominal, given.nominal, given.nominal, given.sigma)
    assert given.low is not None
    assert given.high is not None
    return Range(given.low, given.nominal, given.high)
