"""The keys of docs/sources.md, which an installed accelsim does not have beside it; others are users' own.

A test holds them against that page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SOURCES: Final = frozenset(
    {
        "accelergy-cacti",
        "accelergy-ert",
        "accelforge",
        "assumed",
        "bishnoi-2014",
        "butler-2012",
        "cacti-output",
        "choice",
        "codata-2018",
        "critical-current",
        "drowsy-sram",
        "horowitz-2014",
        "hsiao-secded",
        "intel-l4-2019",
        "low-retention-cache",
        "macrospin-fokker-planck",
        "mtj-points",
        "nangate-45",
        "neel-arrhenius",
        "nvsim-macros",
        "nvsim-macros-read-edp",
        "nvsim-output",
        "onnxim",
        "pebbling",
        "read-disturb",
        "scale-sim",
        "timeloop",
        "tpu-v1",
        "tpuv4i-2021",
        "zigzag",
    }
)


def unknown_sources(sources: Iterable[str]) -> list[str]:
    """Return those of ``sources`` that docs/sources.md does not have, sorted.

    >>> unknown_sources(["nvsim-macros", "assumed", "my-datasheet"])
    ['my-datasheet']
    """
    return sorted(set(sources) - SOURCES)
