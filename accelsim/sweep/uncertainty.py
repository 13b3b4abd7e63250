"""Error bars of energies: intervals, what they come from, and how sure it is which machine needs less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.sweep.ledger import Ledger
from accelsim.sweep.prices import Ranges

Floats = NDArray[np.float64]
SAMPLES: Final = 20_000
LOW, HIGH = 0.05, 0.95  # the interval


@dataclass(frozen=True, slots=True)
class Interval:
    """A run's energy in pJ: at nominal prices, and its 5th, 50th and 95th percentile."""

    run: str
    nominal: float
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Swing:
    """What one price alone does to a run's energy: at its low and its high end."""

    price: str
    low: float
    high: float

    @property
    def size(self) -> float:
        """How far apart both ends are."""
        return self.high - self.low


@dataclass(frozen=True)
class Uncertain:
    """Runs under the same draws of the prices: prices that two runs share are equal in both."""

    ledgers: tuple[Ledger, ...]
    names: list[str]
    totals: Mapping[str, Floats]
    ranges: Ranges

    def intervals(self) -> list[Interval]:
        """Return the interval of every run."""
        found = []
        for led in self.ledgers:
            low, median, high = np.quantile(self.totals[led.run], [LOW, 0.5, HIGH]).tolist()
            found.append(Interval(led.run, led.total_pj, low, median, high))
        return found

    def less(self, a: str, b: str) -> float:
        """Return the probability that run ``a`` needs less energy than run ``b``."""
        return float(np.mean(self.totals[a] < self.totals[b]))

    def tornado(self, run: str, top: int) -> list[Swing]:
        """Return the prices that matter most to a run, each at its 5th and 95th percentile alone.

        Those without any effect are left out.
        """
        led = next(x for x in self.ledgers if x.run == run)
        swings = []
        for name, energy in led.energy_pj.items():
            ends = self.ranges.of(name).draws(np.array([LOW, HIGH]))
            low, high = (led.total_pj + (f - 1) * energy for f in ends.tolist())
            if low != high:
                swings.append(Swing(name, min(low, high), max(low, high)))
        return sorted(swings, key=lambda s: (-s.size, s.price))[:top]


def uncertain(ledgers: Sequence[Ledger], ranges: Ranges, samples: int = SAMPLES) -> Uncertain:
    """Return the energies of runs for ``samples`` draws of all prices."""
    names = sorted({name for led in ledgers for name in led.energy_pj})
    shares = np.random.default_rng([ranges.seed, 2]).random((samples, len(names)))
    columns = [ranges.of(name).draws(shares[:, i]) for i, name in enumerate(names)]
    factors = np.stack(columns, axis=1) if columns else np.ones((samples, 0))
    totals = {led.run: led.totals(names, factors) for led in ledgers}
    return Uncertain(tuple(ledgers), names, totals, ranges)
