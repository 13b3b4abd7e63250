"""What passes through storage while a model trains: zeros, ones, toggled bits, ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.trace.schema import ACTIVITY
from accelsim.trace.tables import write_table
from accelsim.train.copies import Copy, Words
from accelsim.train.formats import StorageFormat, as_words, rounded

SAMPLE: Final = 1 << 14  # elements of a tensor that are looked at, evenly spread


@dataclass(slots=True)
class _Site:
    form: StorageFormat
    tensor: str
    reads: int = 0
    elements: int = 0
    zeros: int = 0
    ones: int = 0
    compared: int = 0
    toggled: int = 0
    rose: int = 0
    low: float = float("inf")
    high: float = float("-inf")


class Activity:
    """Sums over all copies of a site (role, layer, parameter), looked at every ``every``-th step."""

    def __init__(self, formats: dict[str, StorageFormat], every: int = 1) -> None:
        self._formats = formats
        self._every = every
        self._sites: dict[tuple[str, str, str], _Site] = {}
        self._last: dict[str, NDArray[Any]] = {}

    def see(self, copy: Copy, words: Words, step: int) -> None:
        """Look at the content of ``copy`` before its bits flip."""
        if step % self._every:
            return
        form = self._formats.get(copy.role, copy.form)
        values = words.values[:: max(1, copy.elements // SAMPLE)].cpu()
        key = (copy.role, copy.layer, copy.tensor)
        site = self._sites.setdefault(key, _Site(form, copy.tensor))
        if not form.exponent:
            scale = copy.scale if copy.scale != 1.0 else rounded(words.values, form)[1]
        steps = values.float() / scale if not form.exponent else values
        stored = as_words(steps.round() if not form.exponent else steps, form)
        self._add(site, values, stored)
        self._compare(site, copy.name, stored)

    def _add(self, site: _Site, values: torch.Tensor, stored: NDArray[Any]) -> None:
        site.reads += 1
        site.elements += values.numel()
        site.zeros += int((values == 0).sum())
        site.ones += int(np.bitwise_count(stored).sum())
        finite = values[torch.isfinite(values)]
        if finite.numel():
            site.low = min(site.low, float(finite.min()))
            site.high = max(site.high, float(finite.max()))

    def _compare(self, site: _Site, name: str, stored: NDArray[Any]) -> None:
        before = self._last.get(name)
        if before is not None and before.shape == stored.shape:
            changed = stored ^ before
            site.toggled += int(np.bitwise_count(changed).sum())
            site.rose += int(np.bitwise_count(changed & stored).sum())
            site.compared += stored.size * site.form.width
        self._last[name] = stored.copy()

    def state(self) -> dict[str, Any]:
        """Return the sums so far, for a checkpoint."""
        return {"sites": self._sites, "last": self._last}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._sites, self._last = state["sites"], state["last"]

    def columns(self) -> dict[str, list[Any]]:
        """Return the columns of ``ACTIVITY``, a row per site, sorted; toggles are 0.5 where unknown."""
        rows = [_row(key, site) for key, site in sorted(self._sites.items())]
        return {name: [row[name] for row in rows] for name in ACTIVITY}

    def write(self, path: Path) -> None:
        """Write ``activity.parquet``."""
        write_table(path, ACTIVITY, self.columns())


def _row(key: tuple[str, str, str], site: _Site) -> dict[str, Any]:
    bits = site.elements * site.form.width
    return {
        "role": key[0],
        "layer": key[1],
        "tensor": site.tensor,
        "format": site.form.name,
        "reads": site.reads,
        "elements": site.elements,
        "zeros": site.zeros / site.elements if site.elements else 0.0,
        "ones": site.ones / bits if bits else 0.0,
        "toggles": site.toggled / site.compared if site.compared else 0.5,
        "rises": site.rose / site.toggled if site.toggled else 0.5,
        "low": site.low,
        "high": site.high,
    }
