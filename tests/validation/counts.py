"""Counts of an imposed run beside another tool's, level by level."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from accelsim.frontend.topology import parse
from accelsim.machine import run_program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run.energy import price_pj
from tests.validation.imposed import Tile, imposed_program

PEERS = Path(__file__).parents[1] / "golden" / "peers"
CONV_HEADER = "Layer,ifmap height,ifmap width,filter height,filter width,channels,filters,stride"
GEMM_HEADER = "Layer,M,N,K"


@dataclass(frozen=True)
class Line:
    """One level and action: their accesses and energy beside ours.

    ``apart`` is what theirs counts and ours does not (negative: the other way round), by the reason that
    ``why`` gives; it is a product of the layer's shape, never a difference of the two.
    """

    level: str
    theirs: int
    ours: int
    their_pj: float
    price_pj: float
    apart: int = 0
    why: str = ""

    @property
    def our_pj(self) -> float:
        """Return our energy, of the accesses counted as theirs are."""
        return (self.ours + self.apart) * self.price_pj


class Imposed:
    """One layer run on a machine of ``golden/peers`` with one tile imposed, ``times`` over."""

    def __init__(
        self, machine: str, layer: str, tile: Tile, times: int = 1, overrides: tuple[str, ...] = ()
    ) -> None:
        self.machine: Machine = load_machine(str(PEERS / f"{machine}.toml"), overrides)
        header = CONV_HEADER if layer.count(",") > 2 else GEMM_HEADER
        graph = parse(f"{header}\nlayer,{layer}\n", "layer", "layer")
        recorder = run_program(self.machine, imposed_program(graph, self.machine, tile))
        self.counts: Counter[tuple[str, str, str]] = Counter()
        for (component, action, _, role), n in recorder.counts.items():
            self.counts[component, action, role] += n * times

    def count(self, component: str, action: str, role: str = "") -> int:
        """Return one count."""
        return self.counts[component, action, role]

    def price(self, component: str, action: str, role: str = "") -> float:
        """Return the energy of one such action in pJ."""
        return price_pj(self.machine, component, action, role)

    def moved(self, action: str, role: str, unit_bytes: int) -> int:
        """Return what went over DRAM's channel, in units of ``unit_bytes``."""
        bits = self.count("dram", action, role)
        assert bits % (8 * unit_bytes) == 0
        return bits // (8 * unit_bytes)
