"""How the leakage of a macro follows temperature.

leak(T) = S + (leak(350 K) - S) r(T): S is the sense amplifiers' constant, r a factor of transistors and node.
Source: docs/sources.md#nvsim-macros (NVSim runs at 300 to 400 K, one organisation).
"""

from __future__ import annotations

import math
from typing import Final

Flavour = tuple[int, str]  # node in nm, transistors

MIN_K: Final = 300.0
MAX_K: Final = 400.0
HP_MAX_K: Final = 350.0  # NVSim's HP factors have a kink there

_STEP_K: Final = 10.0
_FACTORS: Final[dict[Flavour, tuple[float, ...]]] = {  # r at 300, 310 ... 400 K
    (22, "HP"): (0.565, 0.576, 0.591, 0.625, 0.706, 1, 1.978, 3.792, 6.022, 10.149, 22.677),
    (22, "LOP"): (0.481, 0.567, 0.662, 0.765, 0.877, 1, 1.136, 1.290, 1.482, 1.725, 1.995),
    (45, "LOP"): (0.373, 0.465, 0.572, 0.695, 0.837, 1, 1.176, 1.361, 1.537, 1.704, 1.880),
}


def max_kelvin(flavour: str) -> float:
    """Return the highest temperature of the law for ``flavour``."""
    return HP_MAX_K if flavour == "HP" else MAX_K


def factor(node_nm: int, flavour: str, kelvin: float) -> float:
    """Return r(T): leakage at ``kelvin`` over leakage at 350 K, log-linear between the table's temperatures.

    ``kelvin`` lies between 300 K and ``max_kelvin``; node and flavour are in the array table.

    >>> factor(22, "LOP", 350.0), factor(22, "LOP", 300.0)
    (1.0, 0.481)
    """
    row = _FACTORS[node_nm, flavour]
    low = min(int((kelvin - MIN_K) // _STEP_K), len(row) - 2)
    share = (kelvin - MIN_K) / _STEP_K - low
    return (
        float(row[low])
        if share == 0
        else math.exp(math.log(row[low]) * (1 - share) + math.log(row[low + 1]) * share)
    )


def leakage_mw(at_350_mw: float, sense_mw: float, node_nm: int, flavour: str, kelvin: float) -> float:
    """Return the leakage at ``kelvin`` of a macro that leaks ``at_350_mw`` at 350 K.

    ``sense_mw`` of it is in sense amplifiers and does not follow the temperature.
    """
    return sense_mw + (at_350_mw - sense_mw) * factor(node_nm, flavour, kelvin)
