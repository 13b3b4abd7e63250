"""Physical constants in SI units. Source: docs/sources.md#codata-2018."""

from __future__ import annotations

from typing import Final

BOLTZMANN_J_PER_K: Final = 1.380649e-23
CHARGE_C: Final = 1.602176634e-19
HBAR_J_S: Final = 1.054571817e-34
GYROMAGNETIC_RAD_PER_S_T: Final = 1.760859e11
