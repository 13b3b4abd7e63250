"""The STT-MRAM cells behind the array tables: what their pulse, current and energy are without a device.

Source: docs/sources.md#nvsim-macros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import tomli

from accelsim.config.locate import shipped
from accelsim.units import CURRENT, ENERGY, LIFETIME, real

F2_PER_WIDTH: Final = (54 - 34.5) / (8 - 4.5)  # of cell area per feature size of access width: the two cells


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as the array table assumes it: one bit's write, the area in F2, the access width in F."""

    name: str
    set_current_a: float
    set_pulse_s: float
    set_energy_pj: float
    area_f2: float
    access_width_f: float

    @property
    def path_ohm(self) -> float:
        """Resistance of the whole write path that gives the energy at this current and pulse.

        >>> round(cell("stt34").path_ohm)
        30247
        """
        return self.set_energy_pj * 1e-12 / (self.set_current_a**2 * self.set_pulse_s)

    def added_mm2(self, width_scale: float, bits: int, node_nm: int) -> float:
        """Return by how much ``bits`` cells grow with access transistors ``width_scale`` times as wide.

        >>> wider = cell("stt34").added_mm2(8 / 4.5, 2**23, 22)  # to the other cell's width
        >>> round(wider / (2**23 * (22e-6) ** 2), 1) == round(54 - 34.5, 1)
        True
        """
        grown_f2 = (width_scale - 1) * self.access_width_f * F2_PER_WIDTH
        return bits * grown_f2 * (node_nm * 1e-6) ** 2


def cell(name: str) -> Cell:
    """Return the cell ``name`` of the array table: ``stt34`` or ``stt54``."""
    return cells()[name]


@lru_cache(maxsize=1)
def cells() -> dict[str, Cell]:
    """Return the shipped cells by name."""
    found = tomli.loads((shipped("arch") / "macros" / "cells.toml").read_text())
    return {
        name: Cell(
            name=name,
            set_current_a=real(of["set_current"], CURRENT),
            set_pulse_s=real(of["set_pulse"], LIFETIME),
            set_energy_pj=real(of["set_energy"], ENERGY),
            area_f2=of["area_f2"],
            access_width_f=of["access_width_f"],
        )
        for name, of in found.items()
    }
