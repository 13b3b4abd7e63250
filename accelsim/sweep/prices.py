"""Price ranges: what each price of the ledger may be, from the runs' machines or from a TOML file.

    [prices]
    "spad.mram write" = { low = 0.8, high = 1.5 }            # factors of the nominal price
    "spad.* leakage" = { low = 0.5, high = 3.0 }
    "dram read" = { sigma = 0.15 }                           # lognormal, of the logarithm

    [timings]
    "bank.mram.write_cycle" = { low = "8 ns", high = "12 ns" }  # keys of the machine: simulated again

A key is a component and an action as in ``energy.parquet``, with ``*`` and ``?``; of several that fit, the
one with the most letters counts. A machine has the first of these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from accelsim.config.document import load_spec
from accelsim.config.faults import did_you_mean, listed, what_is_wrong
from accelsim.config.locate import find
from accelsim.config.origins import Fault, Origins, error
from accelsim.config.positions import KeyPath
from accelsim.config.ranges import RangeSpec, letters
from accelsim.config.spec import CountOrZero, Spec, Text
from accelsim.errors import InputError
from accelsim.sweep.ledger import Ledger
from accelsim.trace.runs import Run

Floats = NDArray[np.float64]
DEFAULTS: Final[dict[str, tuple[float, float]]] = {  # where no file is given: assumed
    "spad.* leakage": (0.5, 2.0),
    "spad.* *": (0.8, 1.25),
    "dram *": (0.75, 1.33),
    "pe_array *": (0.7, 1.4),
    "* *": (0.5, 2.0),
}


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

    def __str__(self) -> str:
        """Return it as it is written."""
        if self.sigma:
            return f"sigma {self.sigma:g}" + (f" about {self.nominal:g}" if self.nominal != 1 else "")
        return f"{self.low:g} to {self.high:g}" + (f" about {self.nominal:g}" if self.nominal != 1 else "")

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
    """Ranges by pattern; of those that fit, the one with the most letters counts, of equal ones the first."""

    patterns: tuple[tuple[str, Range], ...]
    seed: int = 0
    timings: tuple[tuple[str, str, str], ...] = ()  # key, low, high
    sources: tuple[str, ...] = ()
    origins: Origins = field(default_factory=lambda: Origins(""), compare=False)  # of a file's keys

    def of(self, name: str) -> Range:
        """Return the range of the price ``name``; one that is not named is exact."""
        fitting = [(letters(pattern), r) for pattern, r in self.patterns if fnmatchcase(name, pattern)]
        return max(fitting, key=itemgetter(0), default=(0, Range(1.0, 1.0, 1.0)))[1]

    def names(self, name: str) -> bool:
        """Return whether a pattern fits ``name``."""
        return any(fnmatchcase(name, pattern) for pattern, _ in self.patterns)

    def fault(self, keys: KeyPath, what: str) -> Fault:
        """Return the fault ``what`` of a key of the file: at its value, or of a table at its key."""
        return self.origins.fault(keys, what, at_key=len(keys) < 3)

    def check(self, names: Sequence[str]) -> None:
        """Refuse patterns that fit none of ``names``.

        Raises:
            ConfigError: A line for each, where it stands.
        """
        faults = [
            self.fault(
                ("prices", pattern),
                f'no run has a price "{pattern}"'
                + (did_you_mean(pattern, names) or f"; there are {listed(names, most=40)}"),
            )
            for pattern, _ in self.patterns
            if not any(fnmatchcase(name, pattern) for name in names)
        ]
        if faults:
            raise error(faults)


def assumed_ranges() -> Ranges:
    """Return the ranges that are taken where nobody gives any."""
    return Ranges(tuple((name, Range(low, 1.0, high)) for name, (low, high) in DEFAULTS.items()))


def machine_ranges(runs: Sequence[Run], ledgers: Sequence[Ledger]) -> tuple[Ranges, int]:
    """Return the ranges of all prices of runs, by their machines' own tables, and how many are from there.

    A price that several runs have is one price, drawn once. It has the range that a machine gives it, and
    the assumed one if none does.

    Raises:
        InputError: Two machines give a price that both have different ranges.
    """
    own = [(led.run, led.energy_pj, _of(run)) for run, led in zip(runs, ledgers, strict=True)]
    other, given, found = assumed_ranges(), 0, []
    for name in sorted({name for led in ledgers for name in led.energy_pj}):
        told = [(run, r.of(name)) for run, energy, r in own if name in energy and r.names(name)]
        for run, one in told[1:]:
            if one != told[0][1]:
                raise InputError(
                    f'the price "{name}" is one for all runs, but the machine of {told[0][0]} says '
                    f"{told[0][1]} and that of {run} {one}; say what holds with --prices FILE"
                )
        given += bool(told)
        found.append((escape(name), told[0][1] if told else other.of(name)))
    return Ranges(tuple(found)), given


def _of(run: Run) -> Ranges:
    """Return what a run's machine says of its prices, from its manifest."""
    found = []
    for name, given in run.manifest.get("prices", {}).items():
        try:
            found.append((name, _range(RangeSpec.model_validate(given))))
        except ValidationError as fault:
            wrong = what_is_wrong(fault.errors(include_url=False)[0])
            raise InputError(
                f'{run.path}: the run\'s machine says of the price "{name}": {wrong}; another version '
                "allowed it: run it again, or say what holds with --prices FILE"
            ) from None
    return Ranges(tuple(found))


def load_ranges(path: Path) -> Ranges:
    """Return the ranges of a file.

    Raises:
        InputError: The file cannot be read.
        ConfigError: Every fault of it, a line each.
    """
    spec, origins = load_spec(path, PricesSpec, resolve_name=partial(find, "arch"))
    if not spec.prices and not spec.timings:
        raise error([origins.fault(("prices",), "no prices, and no timings")])
    prices = tuple((name, _range(given)) for name, given in spec.prices.items())
    timings = tuple((name, t.low, t.high) for name, t in spec.timings.items())
    sources = tuple(dict.fromkeys(given.source for given in spec.prices.values()))
    return Ranges(prices, spec.seed, timings, sources, origins)


def _range(given: RangeSpec) -> Range:
    if given.sigma is not None:
        return Range(given.nominal, given.nominal, given.nominal, given.sigma)
    assert given.low is not None
    assert given.high is not None
    return Range(given.low, given.nominal, given.high)
